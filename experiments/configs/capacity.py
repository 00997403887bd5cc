"""Width × depth: does the simulation get worse where the network gets larger?

  python -m experiments.capacity --workdir=runs/capacity

Two objectives: the default's, and the paper's with the force read at a raised level. A stopped
study goes on; about half an hour on 2 CPU cores.
"""

from ml_collections import ConfigDict

from experiments.configs import consistency, study

OBJECTIVES = {
  'consistent': {},
  'plain': {'loss': consistency.PLAIN, 'simulate': {'level': consistency.RAISED_LEVEL}},
}


def get_config(variant: str = 'default') -> ConfigDict:
  return ConfigDict({
    'objectives': OBJECTIVES,
    'widths': (16, 64, 256) if variant == 'default' else (8, 16),
    'depths': (1, 3) if variant == 'default' else (1,),
    'seeds': (0,),
    'ala2': study.get_base(variant, study.SMALL),
  }, convert_dict=True)
