"""Müller-Brown in two dimensions: which objective gives the right energy as the noise goes to zero?

  python -m experiments.mueller_brown --workdir=runs/mueller_brown

Nothing is simulated: exp(-energy) is compared with the exact density on a grid. Three seeds train
together; about 20 minutes on two quiet CPU cores for all objectives, two for `consistent` alone
(--config=experiments/configs/mueller_brown.py:consistent). `long` trains that one further, `smoke`
takes half a minute. An objective is a sum of terms, see `experiments.toy_objectives.TERMS`.
"""

from ml_collections import ConfigDict

CONSISTENT = 'low_noise+classification'

DEFAULT = {
  'seed': 0,
  'num_seeds': 3,               # trainings at once, each with its own draws
  'objectives': (
    'plain', 'plain+scoremd', 'plain+fokker_planck', 'plain+classification',
    'low_noise', 'low_noise+flat', CONSISTENT, 'low_noise+flat+classification',
    'low_noise+fokker_planck', 'plain+forces', CONSISTENT + '+forces'),
  'data': {'train': 100_000, 'validation': 100_000},  # independent draws
  'widths': (92, 92, 92),       # hidden layers, those of ScoreMD
  'noise_widths': (0.1, 0.3, 1.0),  # where in sigma the energy may change its form
  'loss': {
    'low_noise_fraction': 0.5,  # of draws log-uniform in sigma in the range below
    'sigma_min': 0.01, 'sigma_max': 0.3,
    'weight_strength': 0.02, 'weight_floor': 0.1, 'weight_maximum': 5.0,  # of the term 'flat'
    'classification': 1.0,      # strength
    'pair_width': 0.7,          # of near pairs, in log sigma
    'fokker_planck': 5e-4,      # strength, ScoreMD's for this potential
  },
  'train': {
    'num_steps': 5000, 'batch_size': 512,
    'optimizer': 'muon',        # 'muon' or 'adamw'
    'learning_rate': 2e-2, 'final_learning_rate': 1e-5, 'max_norm': 10.0, 'ema_decay': 0.999,
  },
  'timing_rounds': 50,          # each a training step of every objective, in turn
  'score': {
    'bins': 400,                # of the grid, along each axis
    'frames': 2000,             # behind the Fokker-Planck curve
    'sigmas': (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95),
  },
}

VARIANTS = {
  'default': {},
  'consistent': {'objectives': (CONSISTENT,)},
  'long': {'objectives': (CONSISTENT,), 'train': {'num_steps': 10_000, 'batch_size': 1024}},
  'smoke': {
    'num_seeds': 2, 'objectives': ('plain+scoremd', CONSISTENT + '+forces'), 'widths': (32, 32),
    'timing_rounds': 3,
    'data': {'train': 10_000, 'validation': 5000},
    'train': {'num_steps': 300, 'batch_size': 128, 'optimizer': 'adamw', 'learning_rate': 3e-3},
    'score': {'bins': 100, 'frames': 50, 'sigmas': (0.01, 0.1, 0.7)},
  },
}


def get_config(variant: str = 'default') -> ConfigDict:
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  config = ConfigDict(DEFAULT, convert_dict=True)
  config.update(VARIANTS[variant])
  return config
