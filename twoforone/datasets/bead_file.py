"""The project's compact file of frames: int16 positions and forces, one npz.

`positions` is [runs, frames, beads, 3] at 1e-4 nm, `forces` the same shape at 0.25 kJ/mol/nm;
each frame is centred on its mean position before it is rounded.
"""

import os
import pathlib
from typing import NamedTuple

import numpy as np

POSITION_UNIT = 1e-4  # nm per count
FORCE_UNIT = 0.25  # kJ/mol/nm per count


class BeadFrames(NamedTuple):
  """positions [runs, frames, beads, 3] in nm; forces likewise in kJ/mol/nm, or None."""

  positions: np.ndarray
  forces: np.ndarray | None


def write(path: str | os.PathLike, positions: np.ndarray, forces: np.ndarray | None = None) -> None:
  """Writes frames [runs, frames, beads, 3] (nm) and optional mapped forces (kJ/mol/nm).

  Raises:
    ValueError: when a value is not finite or does not fit into int16 at the file's resolution.
  """
  centred = positions - positions.mean(axis=-2, keepdims=True)
  arrays = {'positions': _to_counts('positions', centred, POSITION_UNIT),
            'position_unit': np.float64(POSITION_UNIT)}
  if forces is not None:
    arrays |= {'forces': _to_counts('forces', forces, FORCE_UNIT),
               'force_unit': np.float64(FORCE_UNIT)}
  np.savez_compressed(pathlib.Path(path), **arrays)


def _to_counts(name: str, values: np.ndarray, unit: float) -> np.ndarray:
  counts = np.rint(values / unit)
  if not np.isfinite(counts).all() or np.abs(counts).max() > np.iinfo(np.int16).max:
    raise ValueError(f'{name}: found values that are not finite or beyond '
                     f'{np.iinfo(np.int16).max * unit:g}, which int16 at {unit:g} cannot hold')
  return counts.astype(np.int16)
