"""The project's compact file of frames: int16 positions and forces, one npz.

`positions` is [runs, frames, beads, 3] at 1e-4 nm, `forces` the same shape at 0.25 kJ/mol/nm;
each frame is centred on its mean position before it is rounded.
"""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from twoforone.datasets import array_file

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


def read(path: str | os.PathLike) -> BeadFrames:
  """The frames of a compact file as float32, in nm and kJ/mol/nm.

  Raises:
    ValueError: for a file that is missing, truncated or of another kind, a missing field,
      forces without positions, a wrong shape, forces of another shape than the positions.
  """
  arrays = array_file.read(path)
  if 'forces' in arrays and 'positions' not in arrays:
    raise ValueError(f'{path}: found forces without positions, expected both')
  positions = _from_counts(path, arrays, 'positions', 'position_unit')
  if 'forces' not in arrays:
    return BeadFrames(positions, None)
  forces = _from_counts(path, arrays, 'forces', 'force_unit')
  if forces.shape != positions.shape:
    raise ValueError(f'{path}: forces: found shape {forces.shape}, expected {positions.shape}, '
                     'that of positions')
  return BeadFrames(positions, forces)


def _from_counts(
  path: str | os.PathLike, arrays: array_file.Arrays, name: str, unit: str
) -> np.ndarray:
  missing = [field for field in (name, unit) if field not in arrays]
  if missing:
    raise ValueError(f'{path}: {missing[0]}: the field is missing, found {sorted(arrays)}')
  counts = arrays[name]
  if counts.dtype != np.int16 or counts.ndim != 4 or counts.shape[-1] != 3:
    raise ValueError(f'{path}: {name}: found {counts.dtype} of shape {counts.shape}, '
                     'expected int16 [runs, frames, beads, 3]')
  return counts * np.float32(arrays[unit])


def _to_counts(name: str, values: np.ndarray, unit: float) -> np.ndarray:
  counts = np.rint(values / unit)
  if not np.isfinite(counts).all() or np.abs(counts).max() > np.iinfo(np.int16).max:
    raise ValueError(f'{name}: found values that are not finite or beyond '
                     f'{np.iinfo(np.int16).max * unit:g}, which int16 at {unit:g} cannot hold')
  return counts.astype(np.int16)
