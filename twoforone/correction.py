"""A correction of an energy in the pair distances: what to add so that its ensemble has the data's.

Score matching is nearly blind to the weight of separated basins, and noise-level classification
only as good as the network generalises: a force field read at low noise can be off by half a kT
between folds. Frames of its own simulation show by how much. Added is c · B(x), B splines of the
pair distances; `reweighting` finds c. And where no training frame has ever been, closer than its
closest, a network's energy is a guess: there stands a wall.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.baselines.basis import cubic_splines
from twoforone.geometry import distances, other_pairs
from twoforone.types import Beads, EnergyFn, Scalar

CHUNK = 2000  # frames whose basis is held at once
VALUES = 25_000_000  # of that basis: fewer frames of long chains
Basis = Float[np.ndarray, ' k']


class PairCorrection(NamedTuple):
  """The parameters of `pair_energy`, lengths in the unit of the positions.

  Attributes:
    pairs: which beads, [P, 2].
    low, high: ends of the splines of each distance, [P].
    coefficients: c in kT, [P, count].
    closest: where the wall of each distance begins, [P].
    wall: how far inside its energy is kT / 2, infinity for no wall.
  """

  pairs: Int[Array | np.ndarray, 'P 2']
  low: Float[Array | np.ndarray, ' P']
  high: Float[Array | np.ndarray, ' P']
  coefficients: Float[Array | np.ndarray, 'P count']
  closest: Float[Array | np.ndarray, ' P']
  wall: Scalar | float


def pair_energy(params: PairCorrection, x: Beads, t: Scalar) -> Scalar:
  """Σ c · B(x) + Σ max(0, closest - d)² / (2 wall²) in kT, at the noise level it was fitted at."""
  del t
  d = distances(x, jnp.asarray(params.pairs))
  inside = jnp.maximum(jnp.asarray(params.closest) - d, 0)
  # A product of matrices may lose digits.
  splines = jnp.sum(params.coefficients * _splines(params, d))
  return splines + 0.5 * jnp.sum((inside / params.wall) ** 2)


def pair_splines(params: PairCorrection, x: Beads) -> Float[Array, 'P count']:
  """B: cubic B-splines of each distance, on count - 3 equal pieces between its ends.

  Those of one distance sum to one. Beyond an end the value at the end is kept.
  """
  return _splines(params, distances(x, jnp.asarray(params.pairs)))


def correct_energy(energy: EnergyFn) -> EnergyFn:
  """corrected((params, c), x, t) = energy(params, x, t) + pair_energy(c, x, t)."""

  def corrected(params, x, t):
    return energy(params[0], x, t) + pair_energy(params[1], x, t)

  return corrected


def no_correction(
  x: Float[np.ndarray, 'F n 3'], bonds: Int[np.ndarray, 'bonds 2'], *, count: int = 8,
  narrowest: float = 0.0, tail: float = 0.005, wall: float = np.inf
) -> PairCorrection:
  """Zero coefficients for all pairs but bonded and rigid ones, and walls that no frame of x feels.

  Args:
    x: training frames, in the unit of the positions.
    bonds: pairs left out; the network holds them to a hundredth of their width.
    count: splines of each distance.
    narrowest: pairs whose ends are not further apart are left out.
    tail: part of the frames beyond each end, where the splines have no force.
    wall: see `PairCorrection`, in the unit of the positions; it is to be wide for a time step.

  Raises:
    ValueError: for fewer than four splines, or when no pair is left.
  """
  if count < 4:
    raise ValueError(f'count: found {count} coefficients, expected at least 4 for cubic splines')
  pairs = other_pairs(bonds, x.shape[1])
  ends = np.array([np.quantile(np.linalg.norm(x[:, i] - x[:, j], axis=-1), (0, tail, 1 - tail))
                   for i, j in pairs]).reshape(-1, 3)
  wide = ends[:, 2] - ends[:, 1] > narrowest
  if not wide.any():
    raise ValueError(f'x: found no pair of the {x.shape[1]} beads that is free to move, expected '
                     'some to correct')
  closest, low, high = ends[wide].T.astype(np.float32)
  return PairCorrection(pairs[wide], low, high,
                        np.zeros((wide.sum(), count), np.float32), closest, np.float32(wall))


def evaluate_splines(
  params: PairCorrection, x: Float[np.ndarray, 'F n 3']
) -> Float[np.ndarray, 'F k']:
  """B of every frame, flat, made some thousand frames at a time."""
  values = np.empty((len(x), params.coefficients.size))
  for begin, chunk in _chunks(params, x):
    values[begin:begin + len(chunk)] = chunk
  return values


def mean_splines(params: PairCorrection, x: Float[np.ndarray, 'F n 3']) -> Basis:
  """<B> over frames."""
  return sum(chunk.sum(axis=0, dtype=np.float64) for _, chunk in _chunks(params, x)) / len(x)


def measure_means(
  params: PairCorrection, x: Float[np.ndarray, 'F n 3'], run: Int[np.ndarray, ' F']
) -> tuple[Basis, Basis]:
  """<B> over frames and the variance of that mean, from how independent runs differ.

  With shares p_r of the frames, Σ_r p_r² (mean_r - mean)² R / (R - 1), and never less than one
  frame in F would make, (1 / F)². A single run is cut into ten pieces of time.

  Args:
    x: frames, in order of time within a run.
    run: index of the run of each frame.

  Raises:
    ValueError: for a single frame.
  """
  if len(np.unique(run)) == 1:
    run = np.arange(len(x)) * 10 // len(x)
  names, place = np.unique(run, return_inverse=True)
  if len(names) < 2:
    raise ValueError(f'x: found {len(x)} frames of one run, expected at least 2')
  total = np.zeros((len(names), params.coefficients.size))
  for begin, chunk in _chunks(params, x):
    here = place[begin:begin + len(chunk)]
    for k in np.unique(here):
      total[k] += chunk[here == k].sum(axis=0, dtype=np.float64)
  counts = np.bincount(place)
  share, mean = counts / len(x), total.sum(axis=0) / len(x)
  scatter = share[:, None] ** 2 * (total / counts[:, None] - mean) ** 2
  variance = scatter.sum(axis=0) * len(names) / (len(names) - 1)
  return mean, np.maximum(variance, 1 / len(x) ** 2)


def _splines(params: PairCorrection, d: Float[Array, ' P']) -> Float[Array, 'P count']:
  return cubic_splines(d, jnp.asarray(params.low), jnp.asarray(params.high),
                       params.coefficients.shape[1])


def _chunks(params: PairCorrection, x: np.ndarray):
  """(first frame, B of the frames of a chunk [size, k]) along x."""
  many = jax.jit(jax.vmap(lambda x: pair_splines(params, x).ravel()))
  size = min(CHUNK, max(1, VALUES // params.coefficients.size))
  for begin in range(0, len(x), size):
    yield begin, np.asarray(many(jnp.asarray(x[begin:begin + size], jnp.float32)))
