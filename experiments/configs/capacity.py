"""Width × depth: does the simulation get worse where the network gets larger?

  python -m experiments.capacity --workdir=runs/capacity

Two objectives: the default's, and the paper's with the force read at a raised level. A stopped
study goes on; about half an hour on 2 CPU cores.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2, consistency

OBJECTIVES = {
  'consistent': {},
  'plain': {'loss': consistency.PLAIN, 'simulate': {'level': consistency.RAISED_LEVEL}},
}


def get_config(variant: str = 'default') -> ConfigDict:
  if variant not in ('default', 'smoke'):
    raise ValueError(f'variant: found {variant!r}, expected one of [\'default\', \'smoke\']')
  base = ala2.get_config(variant)
  if variant == 'default':
    base.train.update({'num_steps': 3000, 'milestone': {'samples': 0}})
    base.sample.num_samples = 50_000
    base.simulate.update({'replicas': 500, 'parts': 6, 'frames_per_part': 20,
                          'burn_in_frames': 20, 'stride': 100})
  return ConfigDict({
    'objectives': OBJECTIVES,
    'widths': (16, 64, 256) if variant == 'default' else (8, 16),
    'depths': (1, 3) if variant == 'default' else (1,),
    'seeds': (0,),
    'ala2': base,
  }, convert_dict=True)
