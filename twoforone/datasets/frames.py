"""Loads any .npy or .npz of frames, and the project's compact files, as a `Dataset`.

Lengths and forces change their unit here and nowhere else on the way in.
"""

import os

import numpy as np

from twoforone import units
from twoforone.datasets import array_file, bead_file
from twoforone.datasets.dataset import Dataset, make_dataset
from twoforone.system import System

POSITION_FIELDS = ('x', 'positions', 'coords')
FORCE_FIELDS = ('forces', 'aaFs', 'f')
LENGTH_UNITS = {'nm': 1.0, 'angstrom': units.NM_PER_ANGSTROM}
FORCE_UNITS = {'kJ/mol/nm': 1.0, 'kcal/mol/angstrom': units.KJ_PER_NM_FROM_KCAL_PER_ANGSTROM}


def load_frames(
  path: str | os.PathLike,
  system: System,
  *,
  forces_path: str | os.PathLike | None = None,
  length_unit: str = 'nm',
  force_unit: str = 'kJ/mol/nm',
  num_runs: int = 1,
  interval: float | None = None,
) -> Dataset:
  """Frames [frames, beads, 3] of an .npy, or of the field x, positions or coords of an .npz.

  Args:
    path: the file; forces are its field forces, aaFs or f, where it has one.
    system: the molecule of the frames.
    forces_path: another .npy or .npz with the forces.
    length_unit: of the positions in the file, 'nm' or 'angstrom'.
    force_unit: of the forces in the file, 'kJ/mol/nm' or 'kcal/mol/angstrom'.
    num_runs: number of equally long independent runs, one after the other.
    interval: ps between frames.

  Raises:
    ValueError: names the file and the field; see also `array_file.read` and `make_dataset`.
  """
  _check_unit('length_unit', length_unit, LENGTH_UNITS)
  _check_unit('force_unit', force_unit, FORCE_UNITS)
  arrays = array_file.read(path)
  field = _find(path, arrays, POSITION_FIELDS)
  x = _convert(arrays.pop(field), LENGTH_UNITS[length_unit])
  if forces_path is None:
    forces_path, force_field = path, _find(path, arrays, FORCE_FIELDS, required=False)
  else:
    arrays = array_file.read(forces_path)
    force_field = _find(forces_path, arrays, FORCE_FIELDS)
  forces = _convert(arrays[force_field], FORCE_UNITS[force_unit]) if force_field else None
  return make_dataset(
    x, system, forces=forces, num_runs=num_runs, interval=interval,
    labels=(f'{path}: {field}', f'{forces_path}: {force_field}'))


def load_bead_frames(
  path: str | os.PathLike, system: System, *, interval: float | None = None
) -> Dataset:
  """The frames of a compact file (see `bead_file`), its runs kept apart.

  Raises:
    ValueError: names the file and the field; see also `bead_file.read` and `make_dataset`.
  """
  positions, forces = bead_file.read(path)
  num_runs = len(positions)
  return make_dataset(
    positions.reshape(-1, *positions.shape[2:]), system,
    forces=None if forces is None else forces.reshape(-1, *forces.shape[2:]),
    num_runs=num_runs, interval=interval, labels=(f'{path}: positions', f'{path}: forces'))


def _check_unit(name: str, value: str, known: dict[str, float]) -> None:
  if value not in known:
    raise ValueError(f'{name}: found {value!r}, expected one of {sorted(known)}')


def _find(
  path: str | os.PathLike, arrays: array_file.Arrays, fields: tuple[str, ...],
  *, required: bool = True
) -> str | None:
  """The one field of `fields` that the file has; an .npy has one array of any name."""
  if 'position_unit' in arrays:
    raise ValueError(f'{path}: found a compact bead file, expected plain frames; '
                     'read it with load_bead_frames')
  if str(path).endswith('.npy'):
    return next(iter(arrays), None)
  found = [name for name in fields if name in arrays]
  if len(found) > 1:
    raise ValueError(f'{path}: found the fields {found}, expected one of them')
  if required and not found:
    without = 'forces without positions, ' if set(FORCE_FIELDS) & set(arrays) else ''
    raise ValueError(f'{path}: found {without}the fields {sorted(arrays)}, '
                     f'expected one of {fields}')
  return found[0] if found else None


def _convert(values: np.ndarray, factor: float) -> np.ndarray:
  """Integers pass as they are, to be refused with their name by the check of the frames."""
  return values * values.dtype.type(factor) if np.issubdtype(values.dtype, np.floating) else values
