"""What force labels add to denoising, by the number of training frames.

  python -m experiments.forces --workdir=runs/forces

On the embedded data; other frames of the five beads, with their forces, by
--config.ala2.data.path=... --config.ala2.data.forces_path=... (their units are fields beside them).
Under an hour on 2 CPU cores.
"""

from ml_collections import ConfigDict

from experiments.configs import study

# What a run changes of `config.ala2`. With the prior the bonds are fitted harmonics, so that the
# labels need not hold them; the noise alone with that prior tells the two apart.
LABELS = {
  'noise': {},
  'noise and forces': {'loss': {'forces': 'all'}},
  'noise and forces off the bonds': {'loss': {'forces': 'no_bonds'}},
  'noise, bonds in the prior': {'network': {'prior': True}},
  'noise and forces off the bonds, bonds in the prior': {
    'network': {'prior': True}, 'loss': {'forces': 'no_bonds'}},
}


def get_config(variant: str = 'default') -> ConfigDict:
  train = study.SMALL['train'] | {'validate_every': 250}
  return ConfigDict({
    'labels': LABELS,
    'sizes': (1000, 5000, 0) if variant == 'default' else (1000, 2000),  # 0: all frames
    'seeds': (0,),
    'ala2': study.get_base(variant, study.SMALL | {'train': train}),
  }, convert_dict=True)
