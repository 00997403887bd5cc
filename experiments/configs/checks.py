"""Checks of a trained model.

  python -m experiments.checks --workdir=runs/checks --config.pretrained=runs/ala2/model/best
  python -m experiments.checks --config=experiments/configs/checks.py:metadynamics
    --workdir=runs/checks --config.data.path=... --config.pretrained=runs/mine/model/best

Without --config.pretrained the first checks the committed checkpoint. Variants: those of
`configs/subject.py`, which take the same `--config.data` as the run that left the model. Limits are
for float64.
"""

from ml_collections import ConfigDict

from experiments.configs import subject

CHECKS = {
  'level': 0,                   # noise level at which the score is checked
  'num_frames': 20,             # held-out, all at once: 5 GiB for a transformer of 56 beads
  'num_rotations': 100,
  'curl_limit': 1e-6,
  'exact_limit': 1e-12,         # relative squared error of an exact symmetry
  'rotation_limit': 1e-12,      # 1e-6 is what augmentation reaches (Arts et al. 2023)
  'mirror_limit': 1e-6,
  'consistency_limit': 1e-5,    # central differences of width 1e-5
}


def get_config(variant: str = 'pretrained') -> ConfigDict:
  config = subject.get_config(variant)
  config.update(CHECKS)
  return config
