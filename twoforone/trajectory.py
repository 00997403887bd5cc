"""Frames to disk while a simulation runs: numbered npz parts, and XTC, DCD or HDF5 for viewers.

Each file appears whole or not at all, so after a kill the complete parts are the trajectory so
far. `export` writes a file beside a PDB topology (the beads as atoms of one chain), `export_part`
the parts of single replicas as they appear.
"""

import json
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

import mdtraj
import numpy as np
from jaxtyping import Float

from twoforone.system import System

SUFFIXES = ('.xtc', '.dcd', '.h5')
# Numbers of each frame by the name that HDF5 files give them; the other formats hold none.
SERIES = {'kinetic': 'kineticEnergy', 'potential': 'potentialEnergy', 'temperature': 'temperature'}
_ELEMENTS = {'C': mdtraj.element.carbon, 'N': mdtraj.element.nitrogen,
             'O': mdtraj.element.oxygen, 'S': mdtraj.element.sulfur}


def write_atomically(path: str | os.PathLike, write: Callable[[IO[bytes]], object]) -> None:
  """Writes to a temporary file in the same folder, then renames: no torn file is ever seen.

  Raises:
    OSError: naming the file, when the disk is full for example; nothing of it is left.
  """
  path = pathlib.Path(path)
  handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
  try:
    with os.fdopen(handle, 'wb') as file:
      write(file)
      file.flush()
      os.fsync(file.fileno())
    os.chmod(name, 0o644)
    os.replace(name, path)
  except BaseException as error:
    pathlib.Path(name).unlink(missing_ok=True)
    if isinstance(error, OSError):
      raise OSError(f'{path}: cannot be written ({error})') from error
    raise


def write_json(path: str | os.PathLike, tree, *, ensure_ascii: bool = True) -> None:
  """Writes numbers, strings, lists and dicts as JSON, whole or not at all."""
  text = json.dumps(tree, indent=2, ensure_ascii=ensure_ascii) + '\n'
  write_atomically(path, lambda file: file.write(text.encode()))


def write_part(folder: str | os.PathLike, index: int, arrays: dict[str, np.ndarray]) -> None:
  """Writes part `index` (from zero) into the folder, which is made when it is absent.

  Raises:
    OSError: naming the part and how many there are before it.
  """
  path = _part_path(folder, index)
  path.parent.mkdir(parents=True, exist_ok=True)
  try:
    write_atomically(path, lambda file: np.savez(file, **arrays))
  except OSError as error:
    raise OSError(f'{error}; the {index} parts before it are complete, start again to go on after '
                  'them') from error


def remove_torn(folder: str | os.PathLike) -> None:
  """Removes what a kill left half written, of the folder's parts and those of its replicas."""
  for pattern in ('.part_*', 'replica_*/.part_*'):
    for path in pathlib.Path(folder).glob(pattern):
      path.unlink()


def count_parts(folder: str | os.PathLike) -> int:
  """How many parts the folder holds.

  Raises:
    ValueError: when a part before the last is missing.
  """
  parts = sorted(pathlib.Path(folder).glob('part_*.npz'))
  for k, path in enumerate(parts):
    if path != _part_path(folder, k):
      raise ValueError(f'{folder}: found {path.name}, expected {_part_path(folder, k).name}')
  return len(parts)


def read_part(folder: str | os.PathLike, index: int) -> dict[str, np.ndarray]:
  """The arrays of one part.

  Raises:
    ValueError: when the file is absent, truncated or not an npz.
  """
  path = _part_path(folder, index)
  try:
    with np.load(path) as part:
      return dict(part)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path}: cannot be read as a part of a trajectory: {error}') from error


def read_parts(folder: str | os.PathLike) -> Iterator[dict[str, np.ndarray]]:
  """The parts in order, one in memory at a time."""
  for index in range(count_parts(folder)):
    yield read_part(folder, index)


def join_parts(
  folder: str | os.PathLike, names: Sequence[str],
  take: Callable[[np.ndarray], np.ndarray] = lambda values: values
) -> list[np.ndarray]:
  """The arrays of these names, all parts one after the other.

  Made once and filled: the memory at the peak is that of what is returned and of two parts.

  Args:
    folder: of parts that have equally many frames.
    names: of arrays [F, ...].
    take: what is kept of each part's arrays.

  Raises:
    ValueError: when the folder holds no part, one that cannot be read, one without a field or one
      of another shape than the first.
  """
  count, joined = count_parts(folder), []
  if not count:
    raise ValueError(f'{folder}: found no part of a trajectory, expected part_00000.npz')
  for index, part in enumerate(read_parts(folder)):
    if missing := [name for name in names if name not in part]:
      raise ValueError(f'{folder}: {missing[0]}: found only {sorted(part)} in part {index}; '
                       'it was written before this was stored, simulate again in another folder')
    taken = [take(part[name]) for name in names]
    joined = joined or [np.empty((count, *values.shape), values.dtype) for values in taken]
    for name, values, whole in zip(names, taken, joined, strict=True):
      if values.shape != whole.shape[1:]:
        raise ValueError(f'{folder}: {name}: found {list(values.shape)} in part {index}, expected '
                         f'{list(whole.shape[1:])} as in part 0')
      whole[index] = values
  return [whole.reshape(-1, *whole.shape[2:]) for whole in joined]


def export(
  path: str | os.PathLike, x: Float[np.ndarray, 'frames beads 3'], system: System, *,
  interval: float = 1.0, start: float = 0.0, series: Mapping[str, np.ndarray] | None = None
) -> tuple[pathlib.Path, pathlib.Path]:
  """Writes frames as `path` (.xtc, .dcd or .h5) and a topology as `path` with .pdb; returns both.

  Each bead is one atom in a residue of its own, all in one chain, bonded as in the system. XTC
  keeps 0.001 nm; the PDB holds the first frame; DCD has no times.

  Args:
    x: positions [nm].
    interval: time between frames [ps].
    start: time of the first frame [ps].
    series: any of `SERIES` for each frame, [kJ/mol] and [K]; HDF5 alone keeps them, if finite.

  Raises:
    ValueError: for another suffix or bead count, or positions that are not finite.
    OSError: naming the file, when the disk is full for example; nothing torn is left.
  """
  path = pathlib.Path(path)
  _check_suffix(path, path.suffix)
  if x.shape[1] != len(system.beads):
    raise ValueError(f'x: found {x.shape[1]} beads, {system.name} has {len(system.beads)}')
  if not np.isfinite(x).all():
    raise ValueError('x: found positions that are not finite')
  trajectory = mdtraj.Trajectory(
    x, _topology(system), time=start + interval * np.arange(len(x)))
  topology_path = path.with_suffix('.pdb')
  for target, frames in ((topology_path, trajectory[0]), (path, trajectory)):
    with tempfile.TemporaryDirectory() as folder:
      # mdtraj writes by name, and XTC and DCD under ASCII names alone.
      made = pathlib.Path(folder) / f'frames{target.suffix}'
      try:
        _save(made, frames, series or {})
      except Exception as error:  # as many kinds as writers
        raise OSError(f'{target}: cannot be written by way of {made} ({error})') from error
      write_atomically(target, lambda file, made=made: file.write(made.read_bytes()))
  return path, topology_path


def export_part(
  folder: str | os.PathLike, index: int, read: Callable[[], Mapping[str, np.ndarray]],
  system: System, *, suffix: str, replicas: Sequence[int], interval: float
) -> list[pathlib.Path]:
  """Writes part `index` of some replicas as replica_<r>/part_<index><suffix>, if it is not there.

  Frames after the loss of a replica are not written. Times run on from part to part.

  Args:
    folder: of the parts.
    read: gives the frames x [F, R, n, 3] in nm of the part and any of `SERIES` [F, R]; called
      when something is missing.
    suffix: '.xtc', '.dcd' or '.h5'.
    interval: time between frames [ps].

  Returns:
    The files that were written now.

  Raises:
    ValueError: for another suffix, or a replica that is not there.
  """
  _check_suffix(folder, suffix)
  paths = {r: pathlib.Path(folder) / f'replica_{r:05d}' / f'part_{index:05d}{suffix}'
           for r in replicas}
  missing = {r: path for r, path in paths.items() if not path.exists()}
  if not missing:
    return []
  part, written = read(), []
  x = part['x']
  for replica, path in missing.items():
    if not 0 <= replica < x.shape[1]:
      raise ValueError(f'replicas: found {replica}, expected 0 to {x.shape[1] - 1}')
    sound = np.isfinite(x[:, replica]).all(axis=(1, 2))
    if sound.any():
      path.parent.mkdir(parents=True, exist_ok=True)
      series = {name: part[name][sound, replica] for name in SERIES if name in part}
      written.append(export(path, x[sound, replica], system, interval=interval, series=series,
                            start=interval * (index * len(x) + 1))[0])
  return written


def _save(
  path: pathlib.Path, frames: mdtraj.Trajectory, series: Mapping[str, np.ndarray]
) -> None:
  """As mdtraj's own `save`, then read again: not every writer says that the disk is full."""
  if path.suffix == '.h5':
    _save_hdf5(path, frames, series)
  else:
    frames.save(str(path))
  found = mdtraj.load(str(path), **({} if path.suffix == '.h5' else {'top': frames.topology}))
  if len(found) != len(frames):
    raise ValueError(f'found {len(found)} frames, expected {len(frames)}')


def _save_hdf5(
  path: pathlib.Path, frames: mdtraj.Trajectory, series: Mapping[str, np.ndarray]
) -> None:
  """As mdtraj's own `save`, which takes no energies."""
  finite = {SERIES[name]: values for name, values in series.items() if np.isfinite(values).all()}
  with mdtraj.formats.HDF5TrajectoryFile(str(path), 'w') as file:
    file.write(coordinates=frames.xyz, time=frames.time, **finite)
    file.topology = frames.topology


def _check_suffix(path: str | os.PathLike, suffix: str) -> None:
  if suffix not in SUFFIXES:
    raise ValueError(f'{path}: found suffix {suffix!r}, expected one of {list(SUFFIXES)}')


def _part_path(folder: str | os.PathLike, index: int) -> pathlib.Path:
  return pathlib.Path(folder) / f'part_{index:05d}.npz'


def _topology(system: System) -> mdtraj.Topology:
  topology = mdtraj.Topology()
  chain = topology.add_chain()
  atoms = []
  for bead in system.beads:
    # A residue per bead: readers merge atoms of the same name in one residue. The residue name is
    # not a standard one, so that CONECT records are written.
    name = bead.split(':')[-1][:4]
    element = _ELEMENTS.get(name[0], mdtraj.element.virtual)
    atoms.append(topology.add_atom(name, element, topology.add_residue('BEA', chain)))
  for i, j in system.bonds:
    topology.add_bond(atoms[i], atoms[j])
  return topology
