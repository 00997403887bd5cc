"""Which noise level to read the force at, chosen on validation data.

  python -m experiments.noise_level --workdir=runs/level --config.pretrained=runs/ala2/model/best

About a minute per level on 2 CPU cores with the default network. `smoke` trains a little first.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2


def get_config(variant: str = 'pretrained') -> ConfigDict:
  config = ala2.get_config(variant)
  config.levels = (0, 20, 50) if variant == 'smoke' else (0, 3, 10, 30, 60, 100, 200)
  if variant != 'smoke':
    config.sample.num_samples = 10_000
    config.simulate.update(
      {'replicas': 1000, 'parts': 4, 'frames_per_part': 20, 'burn_in_frames': 10})
  return config
