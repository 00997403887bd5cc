"""Which part of the objective makes the simulation equal the i.i.d. samples.

  python -m experiments.consistency --workdir=runs/consistency

About six minutes for each objective and seed on 2 CPU cores; a stopped study goes on. Fields of
`experiments.ala2` are under `config.ala2`, what an objective changes under `config.changes`.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2

PLAIN_LEVELS = {'low_noise_fraction': 0.0, 'weight_strength': 0.0}
CHANGES = {
  'consistent': {},
  'no classification': {'loss': {'classification': 0.0}},
  'no low-noise levels': {'loss': PLAIN_LEVELS},
  'plain': {'loss': {'classification': 0.0} | PLAIN_LEVELS},
}


def get_config(variant: str = 'default') -> ConfigDict:
  if variant not in ('default', 'smoke'):
    raise ValueError(f'variant: found {variant!r}, expected one of [\'default\', \'smoke\']')
  base = ala2.get_config(variant)
  if variant == 'default':
    base.sample.num_samples = 200_000
    base.simulate.update(
      {'replicas': 1000, 'parts': 12, 'frames_per_part': 20, 'burn_in_frames': 20})
  return ConfigDict({
    'objectives': tuple(CHANGES) if variant == 'default' else ('consistent', 'plain'),
    'seeds': (0, 1, 2) if variant == 'default' else (0,),
    'changes': CHANGES,
    'ala2': base,
  }, convert_dict=True)
