"""The molecule that a study of one finished model is about: alanine dipeptide or any other."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments import ala2, milestones, molecules
from twoforone.datasets.dataset import Split


class Subject(NamedTuple):
  """Frames and what a training on them needs, see `stages.get_model`.

  Attributes:
    split: training, validation and held-out frames.
    js: of two sets of frames.
    make_feed: where the training frames are on disk, else None.
  """

  split: Split
  js: Callable[[np.ndarray, np.ndarray], float]
  make_feed: Callable | None


def is_alanine(config: ConfigDict) -> bool:
  """Whether the config is one of `experiments.ala2`, whose data have no kinds."""
  return 'kind' not in config.data


def load(config: ConfigDict) -> Subject:
  """What `config.data` names; a temperature of 0 in `config.simulate` becomes that of the data."""
  if is_alanine(config):
    return Subject(ala2.load_split(config), milestones.torsion_js, None)
  found = molecules.load(config)
  config.simulate.temperature = config.simulate.temperature or found.data.system.temperature
  split, make_feed = molecules.divide(config, found)
  return Subject(split, milestones.pair_js, make_feed)
