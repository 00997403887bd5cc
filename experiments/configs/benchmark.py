"""Speed of training and simulation at every published size, and of the default network.

  python -m experiments.benchmark --config=experiments/configs/benchmark.py --workdir=/tmp/benchmark

About twenty minutes on two quiet CPU cores; `kinds`, `sizes` and `published_batch` cut it. Raise
`max_pairs` on a GPU; the literal form then needs about 20 kB of memory for each pair in a
simulated step and several times that in training.
"""

from ml_collections import ConfigDict

SIZES = ('alanine_dipeptide', 'chignolin', 'trp_cage', 'bba', 'villin', 'protein_g')

VARIANTS = {
  'default': {},
  'smoke': {
    'kinds': ('force',), 'sizes': SIZES[:1], 'published_batch': (), 'replicas': (2,),
    'literal_replicas': 0, 'invariant_batch': (), 'repeats': 1, 'max_pairs': 500,
    'replica_steps': 4, 'gemm_size': 256, 'imports': ('twoforone.energy',)},
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
    'imports': ('twoforone.energy', 'twoforone.train', 'twoforone.networks.invariant',
                'twoforone.simulate'),
  })
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  config.update(VARIANTS[variant])
  return config
