"""One npz of coarse-grained trajectories of many molecules, each with its fine graph and its beads.

Positions are those of the beads, as they moved (never recentred), in the unit of the simulation.
Arrays are padded to the largest molecule of the file: indices with -1, all else with 0.
"""

import os
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from twoforone.datasets import array_file


class PolymerData(NamedTuple):
  """C molecules, R independent replicas of each, F frames.

  Attributes:
    x: bead positions, [C, R, F, n, 3] float32; 0 for padding.
    square_radius: Rg² of the fine particles, [C, R, F] float32.
    species, cluster, mass: of each fine particle, [C, N]; -1, -1 and 0 for padding.
    bonds: of the fine particles, each once, [C, E, 2]; -1 for padding.
    interval: time between frames.
    friction: collision rate of the fine particles, for the exact diffusion kT / (Σ m friction).
  """

  x: Float[np.ndarray, 'C R F n 3']
  square_radius: Float[np.ndarray, 'C R F']
  species: Int[np.ndarray, 'C N']
  cluster: Int[np.ndarray, 'C N']
  mass: Float[np.ndarray, 'C N']
  bonds: Int[np.ndarray, 'C E 2']
  interval: float
  friction: float


class Molecule(NamedTuple):
  """One molecule without padding: what `make_system` asks for, and its trajectory.

  Attributes:
    species, cluster, mass: of each fine particle, [N].
    bonds: each once, [E, 2].
    x: bead positions, [R, F, n, 3].
    square_radius: Rg² of the fine particles, [R, F].
  """

  species: Int[np.ndarray, ' N']
  cluster: Int[np.ndarray, ' N']
  mass: Float[np.ndarray, ' N']
  bonds: Int[np.ndarray, 'E 2']
  x: Float[np.ndarray, 'R F n 3']
  square_radius: Float[np.ndarray, 'R F']


def write(
  file: str | os.PathLike | IO[bytes], molecules: list[Molecule], *, interval: float,
  friction: float
) -> None:
  """Writes molecules of any sizes with equal numbers of replicas and frames.

  Raises:
    ValueError: where positions are not finite, with the place in the list.
  """
  for k, molecule in enumerate(molecules):
    if not (np.isfinite(molecule.x).all() and np.isfinite(molecule.square_radius).all()):
      raise ValueError(f'molecule {k}: x: found values that are not finite')

  def padded(name, fill, dtype):
    arrays = [getattr(molecule, name) for molecule in molecules]
    whole = np.full((len(arrays), *np.max([a.shape for a in arrays], axis=0)), fill, dtype)
    for row, array in zip(whole, arrays, strict=True):
      row[tuple(slice(size) for size in array.shape)] = array
    return whole

  fields = {'x': (0, np.float32), 'square_radius': (0, np.float32), 'species': (-1, np.int16),
            'cluster': (-1, np.int16), 'mass': (0, np.float32), 'bonds': (-1, np.int16)}
  np.savez(file, **{name: padded(name, *how) for name, how in fields.items()},
           interval=np.float64(interval), friction=np.float64(friction))


def read(path: str | os.PathLike) -> PolymerData:
  """The arrays of a file, checked against each other.

  Raises:
    ValueError: for a file that is missing or of another kind, a missing field, a shape that does
      not fit the others, positions that are not finite, an interval that is not positive.
  """
  arrays = array_file.read(path)
  missing = [name for name in PolymerData._fields if name not in arrays]
  if missing:
    raise ValueError(f'{path}: {missing[0]}: the field is missing, found {sorted(arrays)}')
  _check_shapes(path, arrays)
  for name in ('x', 'square_radius', 'mass'):
    if not np.isfinite(arrays[name]).all():
      raise ValueError(f'{path}: {name}: found values that are not finite')
  for name in ('interval', 'friction'):
    if not arrays[name] > 0:
      raise ValueError(f'{path}: {name}: found {arrays[name]}, expected a positive number')
    arrays[name] = float(arrays[name])
  return PolymerData(**{name: arrays[name] for name in PolymerData._fields})


def molecules(data: PolymerData) -> Iterator[Molecule]:
  """The molecules of the file in order, each without its padding."""
  for k, (species, cluster, mass, bonds) in enumerate(
      zip(data.species, data.cluster, data.mass, data.bonds, strict=True)):
    real = cluster >= 0
    num_beads = int(cluster.max()) + 1
    yield Molecule(
      species[real].astype(int), cluster[real].astype(int), mass[real],
      bonds[bonds[:, 0] >= 0].astype(int), data.x[k, :, :, :num_beads], data.square_radius[k])


def _check_shapes(path: str | os.PathLike, arrays: array_file.Arrays) -> None:
  """Raises ValueError at the first field whose shape is not [C, ...] of the others."""
  sizes = {}
  for name, axes in (('x', 'CRFn3'), ('square_radius', 'CRF'), ('species', 'CN'),
                     ('cluster', 'CN'), ('mass', 'CN'), ('bonds', 'CE2'), ('interval', ''),
                     ('friction', '')):
    found = arrays[name].shape
    expected = tuple(int(axis) if axis.isdigit() else sizes.get(axis, axis) for axis in axes)
    fits = len(found) == len(axes) and all(
      isinstance(size, str) or size == given for size, given in zip(expected, found, strict=True))
    if not fits:
      raise ValueError(f'{path}: {name}: found shape {found}, expected {list(expected)}')
    sizes |= {axis: size for axis, size in zip(axes, found, strict=True) if axis.isalpha()}
  beads = arrays['x'].shape[3]
  if arrays['cluster'].size and arrays['cluster'].max() >= beads:
    raise ValueError(f'{path}: cluster: found bead {arrays["cluster"].max()}, expected below '
                     f'{beads}, the beads of x')
