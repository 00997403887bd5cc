"""Transitions between the basins of alanine dipeptide in simulation and all-atom runs.

  python -m experiments.kinetics --workdir=runs/kinetics --config.pretrained=runs/ala2/model/best

About ten minutes on 2 CPU cores: 100 replicas of 2 ns. More with `--config.simulate.parts=...`.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2


def get_config(variant: str = 'pretrained') -> ConfigDict:
  config = ala2.get_config(variant)
  config.lags = (10.0, 20.0, 50.0, 100.0)        # ps
  config.blocks = 5                              # pieces of each all-atom run, for errors
  config.cluster_sizes = (2, 3, 4, 5, 6, 8, 10)  # k-means; the elbow chooses
  config.cluster_stride = 20                     # of the frames clustered
  config.sample.num_samples = config.sample.batch_size
  config.simulate.update({'replicas': 100, 'parts': 20, 'frames_per_part': 50, 'stride': 1000,
                          'burn_in_frames': 0})
  if variant == 'smoke':
    config.lags = (2.0, 4.0)
    config.simulate.update({'replicas': 50, 'parts': 2, 'frames_per_part': 20, 'stride': 100})
  return config
