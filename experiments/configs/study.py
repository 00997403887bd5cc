"""What the configs of the studies share: their variants and a run that is cheap to repeat."""

from ml_collections import ConfigDict

from experiments.configs import ala2


def get_base(variant: str, default: dict, more: dict[str, dict] | None = None) -> ConfigDict:
  """The config of one run of `experiments.ala2`.

  Args:
    variant: `default`; `smoke`, that run's own and quick; or one of `more`.
    default: the fields that the study changes.
    more: variant -> the fields that it changes beside those.

  Raises:
    ValueError: for a variant that the study does not have.
  """
  changes = {'default': [default], 'smoke': []}
  changes |= {name: [default, fields] for name, fields in (more or {}).items()}
  if variant not in changes:
    raise ValueError(f'variant: found {variant!r}, expected one of {list(changes)}')
  base = ala2.get_config('smoke' if variant == 'smoke' else 'default')
  for fields in changes[variant]:
    base.update(fields)
  return base


# Enough to tell runs apart, not to show what one of them can reach.
SMALL = {
  'train': {'num_steps': 3000, 'milestone': {'samples': 0}},
  'sample': {'num_samples': 50_000},
  'simulate': {'replicas': 500, 'parts': 6, 'frames_per_part': 20, 'burn_in_frames': 20,
               'stride': 100},
}
