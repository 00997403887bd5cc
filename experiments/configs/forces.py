"""What force labels add to denoising, by the number of training frames.

  python -m experiments.forces --workdir=runs/forces

On the embedded data; other frames of the five beads, with their forces, by
--config.ala2.data.path=... --config.ala2.data.forces_path=... (their units are fields beside them).
About half an hour on 2 CPU cores.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2

LABELS = {'noise': '', 'noise and forces': 'all', 'noise and forces off the bonds': 'no_bonds'}


def get_config(variant: str = 'default') -> ConfigDict:
  if variant not in ('default', 'smoke'):
    raise ValueError(f'variant: found {variant!r}, expected one of [\'default\', \'smoke\']')
  base = ala2.get_config(variant)
  if variant == 'default':
    base.train.update({'num_steps': 3000, 'validate_every': 250, 'milestone': {'samples': 0}})
    base.sample.num_samples = 50_000
    base.simulate.update({'replicas': 500, 'parts': 6, 'frames_per_part': 20,
                          'burn_in_frames': 20, 'stride': 100})
  return ConfigDict({
    'labels': LABELS,
    'sizes': (1000, 5000, 0) if variant == 'default' else (1000, 2000),  # 0: all frames
    'seeds': (0,),
    'ala2': base,
  }, convert_dict=True)
