"""Frames that do not fit into memory: numbered .npy files with an index, read by memory mapping.

`write_shards` takes the pieces that `molecule.read_beads` yields. Training then holds one block of
frames at a time, drawn from all files, and swaps it every so many steps (see `blocks`).
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from twoforone.datasets.dataset import Dataset
from twoforone.system import System

FIELDS = ('x', 'forces', 'weight')  # of a Dataset, those that are there
INDEX = 'index.json'


class Shards(NamedTuple):
  """Frames on disk.

  Attributes:
    files: by field (x, forces, weight), the memory-mapped arrays [frames of the file, ...].
    start: number of the first frame of each file, and that of all frames, [files + 1].
    run: which independent run each frame is of, [frames].
    interval: ps between frames of a run, None when unknown.
    system: the molecule.
    scale: the standard deviation of the positions, as `dataset.data_scale`, in nm.
  """

  files: dict[str, tuple[np.ndarray, ...]]
  start: np.ndarray
  run: np.ndarray
  interval: float | None
  system: System
  scale: float


def write_shards(
  folder: str | os.PathLike, data: Dataset | Iterable[Dataset], *, shard_size: int = 100_000
) -> None:
  """Writes frames in order, `shard_size` to a file; the index comes last and makes them valid.

  Args:
    folder: made when it is absent.
    data: all frames, or pieces of them of any size, with centred positions.
    shard_size: frames in each file but the last.

  Raises:
    ValueError: for a folder that holds shards, pieces that do not belong together, a full disk.
  """
  folder = pathlib.Path(folder)
  if (folder / INDEX).exists():
    raise ValueError(f'{folder}: found shards, expected an empty or new folder')
  if shard_size < 1:
    raise ValueError(f'shard_size: found {shard_size}, expected at least 1')
  index = {'shards': [], 'runs': []}
  square = 0.0
  try:
    folder.mkdir(parents=True, exist_ok=True)
    for k, part in enumerate(_regroup([data] if isinstance(data, Dataset) else data, shard_size)):
      index['shards'].append({'frames': len(part.x), 'sha256': _write(folder, k, part)})
      _append_runs(index['runs'], part.run)
      square += float(np.sum(np.square(part.x, dtype=np.float64)))
    if not index['shards']:
      raise ValueError('data: found no frames, expected at least one')
    count = sum(shard['frames'] for shard in index['shards']) * part.x[0].size
    index |= {'interval': part.interval, 'scale': (square / count) ** 0.5,
              'system': {name: np.asarray(value).tolist()
                         for name, value in part.system._asdict().items()}}
    unfinished = folder / f'{INDEX}.part'
    unfinished.write_text(json.dumps(index, indent=1))
    unfinished.replace(folder / INDEX)
  except OSError as error:
    raise ValueError(f'{folder}: cannot write to it: {error}') from error


def open_shards(folder: str | os.PathLike) -> Shards:
  """Maps all files into memory without reading their frames.

  Raises:
    ValueError: for a missing or unfinished folder, a file that is absent, truncated or of another
      shape than the index says.
  """
  folder = pathlib.Path(folder)
  index = _read_index(folder)
  try:
    system = index['system']
    beads = tuple(system['beads'])
    system = System(system['name'], beads, np.array(system['species']),
                    np.array(system['mass']), np.array(system['bonds'], int).reshape(-1, 2),
                    system['temperature'])
    files = {field: tuple(_map(folder, field, k, shard['frames'], len(beads))
                          for k, shard in enumerate(index['shards']))
             for field in index['shards'][0]['sha256']}
    run = np.concatenate([np.full(count, number) for number, count in index['runs']])
    start = np.cumsum([0] + [shard['frames'] for shard in index['shards']])
    return Shards(files, start, run, index['interval'], system, index['scale'])
  except (KeyError, IndexError, TypeError) as error:
    raise ValueError(f'{folder / INDEX}: a field is missing or wrong ({error!r})') from error


def check_shards(folder: str | os.PathLike) -> None:
  """Reads every byte and compares it with the sha256 in the index.

  Raises:
    ValueError: names the file that was changed.
  """
  folder = pathlib.Path(folder)
  open_shards(folder)
  for k, shard in enumerate(_read_index(folder)['shards']):
    for field, expected in shard['sha256'].items():
      found = _sha256(_path(folder, field, k))
      if found != expected:
        raise ValueError(f'{_path(folder, field, k)}: found sha256 {found}, expected {expected}; '
                         'the file is damaged or not the one the index describes')


def take(shards: Shards, frames: Int[np.ndarray, ' frames']) -> Dataset:
  """The frames of the given numbers, in that order, in memory; their interval is unknown.

  Raises:
    ValueError: for numbers beyond those of the shards.
  """
  if len(frames) and not 0 <= frames.min() <= frames.max() < shards.start[-1]:
    raise ValueError(f'frames: found numbers {frames.min()} to {frames.max()}, expected 0 to '
                     f'{shards.start[-1] - 1}')
  file = np.searchsorted(shards.start, frames, side='right') - 1
  values = {}
  for field, arrays in shards.files.items():
    values[field] = np.empty((len(frames), *arrays[0].shape[1:]), arrays[0].dtype)
    for k in np.unique(file):
      values[field][file == k] = arrays[k][frames[file == k] - shards.start[k]]
  return Dataset(values['x'], values.get('forces'), shards.run[frames], None, shards.system,
                 values.get('weight'))


def number_frames(shards: Shards) -> Dataset:
  """A dataset whose x are the numbers of the frames: split it, and `take` what is wanted.

  `dataset.split_fold(number_frames(shards), 0).train.x` are the numbers of the training frames.
  """
  number, weight = np.arange(shards.start[-1]), shards.files.get('weight')
  return Dataset(number, None, shards.run, shards.interval, shards.system,
                 None if weight is None else np.concatenate(weight))


def _regroup(parts: Iterable[Dataset], size: int) -> Iterator[Dataset]:
  """The frames of all parts in pieces of `size`, the last one shorter."""
  kept, count, first = [], 0, None
  for part in parts:
    first = part if first is None else first
    _check_same(first, part)
    while len(part.x):
      kept.append(_cut(part, slice(0, size - count)))
      part = _cut(part, slice(size - count, None))
      count += len(kept[-1].x)
      if count == size:
        yield _join(kept)
        kept, count = [], 0
  if kept:
    yield _join(kept)


def _check_same(first: Dataset, part: Dataset) -> None:
  for name, a, b in (
      ('beads', first.system.beads, part.system.beads), ('interval', first.interval, part.interval),
      ('temperature', first.system.temperature, part.system.temperature),
      ('fields', _fields(first), _fields(part))):
    if a != b:
      raise ValueError(f'data: {name}: found {b} in one piece and {a} in the first, '
                       'expected the same')


def _fields(part: Dataset) -> tuple[str, ...]:
  return tuple(field for field in FIELDS if getattr(part, field) is not None)


def _cut(part: Dataset, frames: slice) -> Dataset:
  return part._replace(run=part.run[frames],
                       **{field: getattr(part, field)[frames] for field in _fields(part)})


def _join(parts: list[Dataset]) -> Dataset:
  return parts[0]._replace(**{
    field: np.concatenate([getattr(part, field) for part in parts])
    for field in (*_fields(parts[0]), 'run')})


def _append_runs(runs: list[list[int]], run: np.ndarray) -> None:
  """Pairs (run, number of frames) in order, continued by those of `run`."""
  edges = np.flatnonzero(np.diff(run, prepend=run[0] - 1))
  for number, count in zip(run[edges], np.diff(edges, append=len(run)), strict=True):
    if runs and runs[-1][0] == number:
      runs[-1][1] += int(count)
    else:
      runs.append([int(number), int(count)])


def _path(folder: pathlib.Path, field: str, k: int) -> pathlib.Path:
  return folder / f'{field}_{k:05d}.npy'


def _write(folder: pathlib.Path, k: int, part: Dataset) -> dict[str, str]:
  """Writes one file per field; returns their sha256."""
  for field in _fields(part):
    np.save(_path(folder, field, k), getattr(part, field))
  return {field: _sha256(_path(folder, field, k)) for field in _fields(part)}


def _sha256(path: pathlib.Path) -> str:
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _read_index(folder: pathlib.Path) -> dict[str, Any]:
  path = folder / INDEX
  if not path.is_file():
    raise ValueError(f'{path}: no such file, the shards are unfinished or elsewhere')
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(f'{path}: cannot be read as JSON ({error})') from error


def _map(folder: pathlib.Path, field: str, k: int, frames: int, beads: int) -> np.ndarray:
  path = _path(folder, field, k)
  shape = (frames,) if field == 'weight' else (frames, beads, 3)
  try:
    array = np.load(path, mmap_mode='r')
  except (OSError, ValueError, EOFError) as error:
    raise ValueError(f'{path}: cannot be read, it is absent or truncated ({error})') from error
  if array.shape != shape:
    raise ValueError(f'{path}: found shape {array.shape}, expected {shape}')
  return array
