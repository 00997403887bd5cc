"""Bead-spring polymers: 96 + 8 periodic chains to learn from, 20 irregular ones in two replicas.

  python -m experiments.generate_polymers --workdir=/tmp/polymers

Six minutes on one CPU core; expect train.npz, val.npz, test.npz (66 MB) and polymers.json in the
folder, and between the replicas r² 0.98 for mean Rg² and 0.88 for the logarithm of its relaxation
time. LJ units: σ = m = kT = 1, time in τ. `smoke` makes fourteen short chains in seconds.
"""

from ml_collections import ConfigDict

VARIANTS = {
  'default': {},
  'smoke': {'lengths': (24,), 'level': 4.0, 'num_train': 8, 'num_val': 2, 'num_test': 4,
            'equilibration': 20.0, 'length': 100.0, 'test_length': 400.0, 'chunk': 20.0},
}


def get_config(variant: str = 'default') -> ConfigDict:
  config = ConfigDict({
    'seed': 2204,
    'lengths': (24, 36, 48, 60, 72),  # beads of a chain, all lengths in turn
    'level': 6.0,             # fine beads for each coarse one
    'num_train': 96,          # class I, as validation
    'num_val': 8,
    'num_test': 20,           # class II
    'test_replicas': 2,       # independent runs, whose agreement is the floor of every comparison
    'dt': 0.01,               # τ
    'friction': 0.5,          # 1/τ
    'equilibration': 600.0,   # τ, discarded
    'length': 600.0,          # τ of each training and validation run
    'interval': 0.5,          # τ between their frames
    'test_length': 8000.0,
    'test_interval': 1.0,
    'chunk': 50.0,            # τ in one compiled run; a whole part of all times
  })
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  config.update(VARIANTS[variant])
  return config
