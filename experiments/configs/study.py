"""What the configs of the studies share: their two variants and a run that is cheap to repeat."""

from ml_collections import ConfigDict

from experiments.configs import ala2

VARIANTS = ('default', 'smoke')


def get_base(variant: str, default: dict) -> ConfigDict:
  """The config of one run of `experiments.ala2`, with the fields of `default` in that variant.

  Raises:
    ValueError: for a variant that a study does not have.
  """
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {list(VARIANTS)}')
  base = ala2.get_config(variant)
  if variant == 'default':
    base.update(default)
  return base


# Enough to tell runs apart, not to show what one of them can reach.
SMALL = {
  'train': {'num_steps': 3000, 'milestone': {'samples': 0}},
  'sample': {'num_samples': 50_000},
  'simulate': {'replicas': 500, 'parts': 6, 'frames_per_part': 20, 'burn_in_frames': 20,
               'stride': 100},
}
