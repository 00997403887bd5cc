"""Internal coordinates, pair distances and basins of any number of frames, in bounded memory.

Positions are numpy [..., n, 3] in nm with any leading axes (frame, replica, temperature). Frames
go through jit + vmap `CHUNK` at a time, of long chains fewer. Of very many frames take what is
counted (histograms, `closest_pairs`) or one internal coordinate after the other (`chain_columns`).
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from twoforone import geometry
from twoforone.evaluation import densities

CHUNK = 4096  # frames
MOST_PAIRS = CHUNK * 80 * 80 // 2  # distances at a time, 50 MB: fewer frames of longer chains
MOST_BEADS = 64  # whose distances TICA sees: its matrices are of all pairs of pairs

Positions = Float[np.ndarray, '*frames beads 3']


class Internal(NamedTuple):
  """Along the chain: bonds [..., n-1] in nm, angles [..., n-2] and dihedrals [..., n-3] in rad."""

  bonds: np.ndarray
  angles: np.ndarray
  dihedrals: np.ndarray


def internal_coordinates(x: Positions, *, chunk: int = CHUNK) -> Internal:
  """Bonds, angles and dihedrals along the chain, leading axes kept.

  For five backbone beads the dihedrals are (phi, psi).

  Raises:
    ValueError: for fewer than four beads or no frames.
  """
  if x.shape[-2] < 4:
    raise ValueError(f'x: found {x.shape[-2]} beads, expected at least 4')
  neighbours = np.stack([np.arange(x.shape[-2] - 1), np.arange(1, x.shape[-2])], axis=1)
  parts = [[np.asarray(value)[:count] for value in _internal(frames, neighbours)]
           for frames, count in chunks(x, chunk)]
  columns = (np.concatenate(column) for column in zip(*parts, strict=True))
  return Internal(*(column.reshape(*x.shape[:-2], -1) for column in columns))


def bond_widths(x: Positions) -> Float[np.ndarray, ' bonds']:
  """Standard deviation over frames of each bond along the chain [nm]."""
  return np.array([bond.std(dtype=np.float64) for bond in chain_columns(x, 'bonds')])


def chain_columns(
  x: Positions, field: str, *, chunk: int = 65536
) -> Iterator[Float[np.ndarray, ' _']]:
  """The values of one internal coordinate after the other, over all frames [F] each.

  Together they are as large as the positions; one at a time is enough to compare distributions.

  Args:
    field: 'bonds', 'angles' or 'dihedrals', as in `Internal`.
    chunk: frames at a time; only the two to four beads of a coordinate are taken of each.
  """
  size = {'bonds': 2, 'angles': 3, 'dihedrals': 4}[field]
  frames = x.reshape(-1, *x.shape[-2:])
  for first in range(x.shape[-2] - size + 1):
    window = frames[:, first:first + size]
    yield np.concatenate([np.asarray(_column(field, part))[:count]
                          for part, count in chunks(window, chunk)])


def pair_indices(num_beads: int, offset: int) -> np.ndarray:
  """Pairs (i, j) with j - i >= offset, row by row; offset 0 has the diagonal."""
  return np.stack(np.triu_indices(num_beads, offset), axis=1)


def pair_distances(
  x: Positions, *, offset: int = 1, chunk: int = CHUNK
) -> Float[np.ndarray, '*frames pairs']:
  """|x_i - x_j| in nm of the pairs of `pair_indices`."""
  pairs = pair_indices(x.shape[-2], offset)
  parts = [np.asarray(_distances(frames, pairs))[:count] for frames, count in chunks(x, chunk)]
  return np.concatenate(parts).reshape(*x.shape[:-2], -1)


def closest_pairs(
  x: Positions, *, offset: int = 1, chunk: int = CHUNK
) -> Float[np.ndarray, '*frames']:
  """The least |x_i - x_j| of each frame over the pairs of `pair_indices` [nm]."""
  pairs = pair_indices(x.shape[-2], offset)
  parts = [np.asarray(_distances(frames, pairs))[:count].min(axis=1)
           for frames, count in chunks(x, chunk)]
  return np.concatenate(parts).reshape(x.shape[:-2])


def pair_histograms(
  x: Positions, *, offset: int = 1, width: float = 0.01, chunk: int = CHUNK
) -> Float[np.ndarray, 'pairs bins']:
  """Counts of each pair distance in bins of `width` nm from zero; memory is one chunk's.

  Raises:
    ValueError: when a distance is not finite.
  """
  pairs = pair_indices(x.shape[-2], offset)
  rows = np.arange(len(pairs))
  counts = np.zeros((len(pairs), 1))
  for frames, count in chunks(x, chunk):
    distance = np.asarray(_distances(frames, pairs))[:count]
    if not np.isfinite(distance).all():
      raise ValueError('x: found pair distances that are not finite')
    bins = (distance / width).astype(np.int64)
    counts = _widen(counts, max(int(bins.max()) + 1, counts.shape[1]))
    cells = rows * counts.shape[1] + bins
    counts += np.bincount(cells.ravel(), minlength=counts.size).reshape(counts.shape)
  return counts


def pair_distance_js(
  first: Float[np.ndarray, 'pairs a'], second: Float[np.ndarray, 'pairs b']
) -> Float[np.ndarray, ' pairs']:
  """JS of each pair's two histograms of `pair_histograms`; the score (PWD JS) is its plain mean.

  Arts et al. (2023): bins of 0.1 Å from zero, as many as the larger maximum needs.
  """
  bins = max(first.shape[1], second.shape[1])
  return np.array([densities.js_divergence(p, q) for p, q in
                   zip(_widen(first, bins), _widen(second, bins), strict=True)])


def chain_features(x: Positions, *, raw: bool = False) -> Float[np.ndarray, '*frames features']:
  """Dihedrals along the chain as sine and cosine, then all pair distances [nm]: input for TICA.

  Of chains of more than 64 beads the distances of 64, evenly along the chain.

  Args:
    raw: the dihedrals themselves [rad], as Arts et al. (2023); they jump at ±pi.
  """
  dihedrals = internal_coordinates(x).dihedrals
  angles = [dihedrals] if raw else [np.sin(dihedrals), np.cos(dihedrals)]
  num_beads = x.shape[-2]
  beads = np.linspace(0, num_beads - 1, min(num_beads, MOST_BEADS)).round().astype(int)
  return np.concatenate([*angles, pair_distances(x[..., beads, :])], axis=-1)


def phi_psi(x: Float[np.ndarray, '*frames beads 3']) -> Float[np.ndarray, '*frames 2']:
  """The first two dihedrals of the chain [rad]: (phi, psi) of the five beads of alanine."""
  return internal_coordinates(x).dihedrals[..., :2]


def basins(phi_psi: Float[np.ndarray, '*frames 2']) -> dict[str, Bool[np.ndarray, '*frames']]:
  """In which basin of alanine dipeptide each frame is; the three make one.

  alpha_R: phi < 0 and -2 < psi < 1 rad. phi_positive: phi >= 0. extended: the rest.
  """
  phi, psi = phi_psi[..., 0], phi_psi[..., 1]
  helix = (phi < 0) & (psi > -2.0) & (psi < 1.0)
  return {'alpha_R': helix, 'phi_positive': phi >= 0, 'extended': (phi < 0) & ~helix}


@functools.partial(jax.jit, static_argnums=0)
def _column(field, x):
  coordinate = {'bonds': lambda x: geometry.distances(x, np.array([[0, 1]])),
                'angles': geometry.angles, 'dihedrals': geometry.dihedrals}[field]
  return jax.vmap(coordinate)(x)[:, 0]


@jax.jit
def _internal(x, neighbours):
  def internal(x):
    return geometry.distances(x, neighbours), geometry.angles(x), geometry.dihedrals(x)
  return jax.vmap(internal)(x)


@jax.jit
def _distances(x, pairs):
  return jax.vmap(geometry.distances, in_axes=(0, None))(x, pairs)


def chunks(x: Positions, chunk: int) -> Iterator[tuple[np.ndarray, int]]:
  """The frames in chunks of one shape, the last filled up with zeros, and how many are real.

  Chunks of long chains are smaller: no more than `MOST_PAIRS` distances each.
  """
  frames = x.reshape(-1, *x.shape[-2:])
  if not len(frames):
    raise ValueError('x: found no frames')
  most = max(1, 2 * MOST_PAIRS // x.shape[-2] ** 2)
  chunk = min(chunk, most, len(frames))
  for start in range(0, len(frames), chunk):
    part = frames[start:start + chunk]
    yield np.pad(part, ((0, chunk - len(part)), (0, 0), (0, 0))), len(part)


def _widen(counts: np.ndarray, bins: int) -> np.ndarray:
  return np.pad(counts, ((0, 0), (0, bins - counts.shape[1])))
