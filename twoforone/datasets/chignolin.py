"""Public frames of chignolin (CLN025) as ten C-alpha beads, from well-tempered metadynamics.

25 walkers of 2,000 frames at 340 K in explicit water, with the weight of each frame (M. Sultan,
repository SML_CV, MIT). Read from a file of int16 positions in 0.001 nm; not part of the project.
"""

import os

import numpy as np

from twoforone.datasets import array_file
from twoforone.datasets.dataset import Dataset, make_dataset
from twoforone.system import System, make_chain

TEMPERATURE = 340.0  # K
UNIT = 1e-3  # nm per count


def chignolin_system() -> System:
  """YYDPETGTWY, a bead of 12 amu per residue."""
  return make_chain('chignolin', tuple('YYDPETGTWY'), (12.0,) * 10, TEMPERATURE)


def load_chignolin(path: str | os.PathLike) -> Dataset:
  """The walkers as runs, each frame with its weight.

  Raises:
    ValueError: for a damaged file, a missing field, a wrong shape or weights that are not positive.
  """
  arrays = array_file.read(path)
  missing = [field for field in ('xyz', 'weight') if field not in arrays]
  if missing:
    raise ValueError(f'{path}: {missing[0]}: the field is missing, found {sorted(arrays)}')
  xyz, weight = arrays['xyz'], arrays['weight']
  if xyz.dtype != np.int16 or xyz.ndim != 4 or xyz.shape[2:] != (10, 3):
    raise ValueError(f'{path}: xyz: found {xyz.dtype} of shape {xyz.shape}, expected int16 '
                     '[walkers, frames, 10, 3]')
  if weight.shape != xyz.shape[:2] or not (np.isfinite(weight) & (weight > 0)).all():
    raise ValueError(f'{path}: weight: found shape {weight.shape}, expected {xyz.shape[:2]} '
                     'positive numbers')
  dataset = make_dataset(
    xyz.reshape(-1, 10, 3) * np.float32(UNIT), chignolin_system(), num_runs=len(xyz),
    labels=(f'{path}: xyz', 'forces'))
  return dataset._replace(weight=weight.ravel())
