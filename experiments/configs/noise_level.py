"""Which noise level to read the force at, chosen on validation data.

  python -m experiments.noise_level --workdir=runs/level --config.pretrained=runs/ala2/model/best
  python -m experiments.noise_level --config=experiments/configs/noise_level.py:metadynamics
    --workdir=runs/level --config.data.path=... --config.pretrained=runs/mine/model/best

About a minute per level of alanine dipeptide on 2 CPU cores with the default network, three of
chignolin (10 million replica-steps). Variants: those of `configs/subject.py`, which take the same
`--config.data` as the run that left the model. `smoke` and `protein_smoke` train a little first.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2, subject

ALANINE = {
  'sample': {'num_samples': 10_000},
  'simulate': {'replicas': 1000, 'parts': 4, 'frames_per_part': 20, 'burn_in_frames': 10}}
PROTEIN = {
  'sample': {'num_samples': 2000, 'batch_size': 2000},
  'simulate': {'replicas': 100, 'parts': 20, 'frames_per_part': 20, 'burn_in_frames': 40}}
LEVELS = (0, 20, 50, 100, 200)  # of a protein, where the schedule has 10,000


def get_config(variant: str = 'pretrained') -> ConfigDict:
  config = subject.get_config(variant)
  if variant in ala2.VARIANTS:
    config.levels = (0, 20, 50) if variant == 'smoke' else (0, 3, 10, 30, 60, 100, 200)
  else:
    config.levels = tuple(level * config.schedule.num_steps // 10_000 for level in LEVELS)
  if not variant.endswith('smoke'):
    config.update(ALANINE if variant in ala2.VARIANTS else PROTEIN)
  return config
