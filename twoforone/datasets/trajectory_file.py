"""Reads topologies and trajectories of any format that mdtraj knows, chunk by chunk.

Whatever is wrong with a file ends in one ValueError that names it: absent, of an unknown kind,
truncated, of other atoms, without frames, NaN, uneven in time.
"""

import os
import pathlib
import re
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import mdtraj
import numpy as np
from mdtraj.formats.registry import FormatRegistry

CHUNK_VALUES = 2_000_000  # atoms × frames in memory at once
TIMED = ('.xtc', '.trr', '.nc', '.ncdf', '.netcdf', '.h5', '.hdf5', '.lh5')  # store ps


class Chunk(NamedTuple):
  """Frames one after the other.

  Attributes:
    start: number in the file of the first one.
    r: positions of the chosen atoms [frames, atoms, 3] in nm; a stride may leave no frames.
    stop: one beyond the number of the last frame read, also where a stride left it out.
  """

  start: int
  r: np.ndarray
  stop: int


def read_topology(path: str | os.PathLike) -> mdtraj.Topology:
  """Atoms and bonds of a topology (.pdb, .cif, .gro, .prmtop, .psf, .h5, ...).

  Raises:
    ValueError: for a file that is absent, damaged or holds no topology.
  """
  path = _existing(path)
  try:
    topology = mdtraj.load_topology(str(path))
  except Exception as error:
    raise ValueError(f'{path}: cannot be read as a topology ({_brief(error)})') from error
  if topology is None or topology.n_atoms == 0:
    raise ValueError(f'{path}: found no atoms, expected a topology')
  return topology


def check_file(
  path: str | os.PathLike, topology: mdtraj.Topology, atoms: Iterable[int] = ()
) -> float | None:
  """Passes when the first frames can be read and belong to the topology.

  Args:
    path: of the trajectory.
    topology: of all atoms in the file.
    atoms: indices of those whose names are compared where the file has names (.pdb, .h5, .gro).

  Returns:
    ps between the first two frames, None where the format stores no time or there is one frame.

  Raises:
    ValueError: says what is wrong with the file.
  """
  path = _existing(path)
  suffixes = sorted(FormatRegistry.fileobjects)
  if not path.name.lower().endswith(tuple(suffixes)):
    raise ValueError(f'{path}: found the suffix {path.suffix!r}, expected one of '
                     f'{", ".join(suffixes)}')
  first = next(_iterload(path, topology, 2, None), None)
  if first is None or len(first) == 0:
    raise ValueError(f'{path}: found no frames, expected at least one')
  if first.n_atoms != topology.n_atoms:  # files that carry their own topology
    raise ValueError(f'{path}: found {first.n_atoms} atoms, expected {topology.n_atoms}, '
                     'those of the topology')
  if first.topology is not None:
    _check_names(path, first.topology, topology, atoms)
  interval = float(first.time[-1] - first.time[0])
  return interval if interval > 0 and path.name.lower().endswith(TIMED) else None


def read_chunks(
  path: str | os.PathLike, topology: mdtraj.Topology, atoms: np.ndarray, *,
  stride: int = 1, skip: int = 0, whole: mdtraj.Topology | None = None,
  interval: float | None = None
) -> Iterator[Chunk]:
  """The frames skip, skip + stride, ... of the chosen atoms, a few at a time.

  Args:
    path: a trajectory that has passed `check_file`.
    topology: of all atoms in the file.
    atoms: indices of those to keep.
    stride: frames are thinned here: readers differ in what they make of a stride.
    skip: frames to leave out at the start, fewer than stride.
    whole: the topology of the chosen atoms, whose bonds are closed across the periodic box; None
      leaves positions as they are.
    interval: ps between the frames in the file, checked where the format stores times.

  Raises:
    ValueError: for a file that ends too early, NaN, times that are not even, a missing box.
  """
  size = max(1, CHUNK_VALUES // topology.n_atoms)
  stop, last = 0, np.zeros(0)
  for part in _iterload(path, topology, size, atoms):
    if interval and str(path).lower().endswith(TIMED):
      _check_times(path, np.append(last, part.time), interval)
    first = (skip - stop) % stride
    start, stop, last = stop + first, stop + len(part), part.time[-1:]
    part = part[first::stride]
    _check_finite(path, part.xyz, start, stride)
    yield Chunk(start, _close(path, part, whole), stop)
  _check_dcd(path, stop)


def _iterload(path, topology: mdtraj.Topology, size: int, atoms) -> Iterator[mdtraj.Trajectory]:
  """mdtraj.iterload, its many kinds of error made one."""
  done = 0
  try:
    for part in mdtraj.iterload(str(path), chunk=size, top=topology, atom_indices=atoms):
      done += len(part)
      yield part
  except ImportError as error:
    raise ValueError(f'{path}: {path.suffix} files need a package that is not installed, '
                     'PyTables for .h5 (pip install tables)') from error
  except Exception as error:
    supplied = re.search(r'You supplied\s+\(\d+, (\d+), 3\)', str(error))
    if supplied:
      raise ValueError(f'{path}: found {supplied[1]} atoms, expected {topology.n_atoms}, those of '
                       'the topology') from error
    raise ValueError(f'{path}: cannot be read beyond frame {done}, it is truncated, damaged or of '
                     f'another kind ({_brief(error)})') from error


def _check_names(
  path, found: mdtraj.Topology, expected: mdtraj.Topology, atoms: Iterable[int]
) -> None:
  """Residues are not compared: programs differ in what they call one, HIS or HIE."""
  for k in atoms:
    if found.atom(k).name != expected.atom(k).name:
      raise ValueError(f'{path}: found atom {k} named {found.atom(k).name}, expected '
                       f'{expected.atom(k).name} as in the topology; the file carries its atoms, '
                       'so it can be the topology as well')


def _check_finite(path, r: np.ndarray, start: int, stride: int) -> None:
  bad = np.flatnonzero(~np.isfinite(r).all(axis=(1, 2)))
  if len(bad):
    raise ValueError(f'{path}: found {len(bad)} frames with NaN or infinite positions among '
                     f'{len(r)}, the first is frame {start + stride * bad[0]}; '
                     'expected finite numbers')


def _check_times(path, times: np.ndarray, interval: float) -> None:
  """Times are single precision, so late ones are coarse."""
  steps = np.diff(times.astype(np.float64))
  tolerance = 1e-3 * interval + 4 * np.finfo(np.float32).eps * np.abs(times).max()
  bad = np.flatnonzero(np.abs(steps - interval) > tolerance)
  if len(bad):
    raise ValueError(f'{path}: found {steps[bad[0]]:g} ps between frames at {times[bad[0]]:g} ps, '
                     f'expected {interval:g} ps as between the first frames; give interval to '
                     'trust it instead of the times in the file')


def _close(path, part: mdtraj.Trajectory, whole: mdtraj.Topology | None) -> np.ndarray:
  if whole is None:
    return part.xyz
  if part.unitcell_vectors is None:
    raise ValueError(f'{path}: found no periodic box, expected one to make molecules whole')
  closed = mdtraj.Trajectory(part.xyz, whole, unitcell_lengths=part.unitcell_lengths,
                             unitcell_angles=part.unitcell_angles)
  return closed.make_molecules_whole(inplace=True).xyz


def _check_dcd(path, found: int) -> None:
  """The reader of DCD ends quietly where the file does; the header says how many there were."""
  if not str(path).lower().endswith('.dcd'):
    return
  with open(path, 'rb') as file:
    head = file.read(12)  # the length of the record, which is 84, CORD, the number of frames
  order = {b'\x54\0\0\0CORD': '<', b'\0\0\0\x54CORD': '>'}.get(head[:8])
  promised = struct.unpack(f'{order}i', head[8:])[0] if order else 0
  if promised > found:
    raise ValueError(f'{path}: found {found} frames, expected the {promised} of its header; '
                     'the file is truncated')


def _existing(path: str | os.PathLike) -> pathlib.Path:
  path = pathlib.Path(path)
  if not path.is_file():
    raise ValueError(f'{path}: no such file')
  return path


def _brief(error: Exception) -> str:
  return ' '.join(str(error).split())[:200]
