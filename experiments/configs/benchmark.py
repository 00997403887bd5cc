"""Speed of training and simulation at every published size, of the default network, and beyond.

  python -m experiments.benchmark --config=experiments/configs/benchmark.py --workdir=/tmp/benchmark

About twenty minutes on two quiet CPU cores, and as long for long chains and many replicas;
`:published` and `:large` make one half each, `kinds`, `sizes` and `published_batch` cut the first.
Raise `max_pairs` on a GPU; the literal form then needs about 20 kB of memory for each pair in a
simulated step and several times that in training.
"""

from ml_collections import ConfigDict

SIZES = ('alanine_dipeptide', 'chignolin', 'trp_cage', 'bba', 'villin', 'protein_g')

VARIANTS = {
  'default': {},
  'published': {'large': ()},
  'large': {'kinds': (), 'published_batch': (), 'replicas': (), 'invariant_batch': ()},
  'smoke': {
    'kinds': ('force',), 'sizes': SIZES[:1], 'published_batch': (), 'replicas': (2,),
    'literal_replicas': 0, 'invariant_batch': (), 'repeats': 1, 'max_pairs': 500,
    'replica_steps': 4, 'gemm_size': 256, 'imports': ('twoforone.energy',),
    'large': (('simulate', 7, 4, 2, 1),), 'large_forms': ('invariant',)},
}


def get_config(variant: str = 'default') -> ConfigDict:
  config = ConfigDict({
    'repeats': 3,               # rounds of each comparison, after one to warm up
    'gemm_size': 2048,          # of the square matrices that give the machine's rate
    'gemm_steps': 2,
    # Factorised against literal: what, at which published sizes, and the edges in one step.
    'kinds': ('train', 'force', 'simulate'),
    'sizes': SIZES,
    'max_pairs': 16_384,        # bounds the batch
    'pytorch': False,           # the literal form in PyTorch too (needs torch)
    'train_steps': 2,           # in one timed call
    'size_replicas': 100,       # simulated, if max_pairs allows
    'simulation_steps': 5,      # in one timed call
    # The factorised form trained at the published batch, too large for the literal one.
    'published_batch': SIZES,
    # Alanine with the default network as well.
    'replicas': (1, 10, 100, 1000, 10_000),
    'replica_steps': 10_000,    # steps × replicas in one timed call ...
    'most_steps': 2_000,        # ... but at most so many steps
    'literal_replicas': 1000,   # the literal form needs gigabytes beyond
    'invariant_batch': (1024,),
    'invariant_steps': 50,      # in one timed call
    # Long chains and crowds: what, beads, configurations in a step, so many of them at once (the
    # memory goes with these), steps in one timed call. 56 beads: protein G; 5: alanine.
    'large': (
      ('train', 128, 64, 16, 1), ('train', 256, 64, 8, 1),
      ('simulate', 128, 100, 50, 2), ('simulate', 256, 100, 20, 2),
      ('simulate', 56, 1000, 100, 2), ('simulate', 5, 100_000, 5000, 2)),
    'large_forms': ('invariant', 'equivariant', 'factorised'),
    'imports': ('twoforone.energy', 'twoforone.train', 'twoforone.networks.invariant',
                'twoforone.simulate'),
  })
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  config.update(VARIANTS[variant])
  return config
