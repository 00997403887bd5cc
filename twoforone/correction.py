"""A correction of an energy by relative entropy: its ensemble gets the pair distances of the data.

Score matching is nearly blind to the weight of separated basins, and noise-level classification
only as good as the network generalises: a force field read at low noise can be off by half a kT
between folds. Frames of its own simulation show by how much. With c · B(x) added, B splines of the
pair distances, the relative entropy of data and simulation is convex in c:

  S(c) = c · <B>_data + ln <exp(-c · B)>_simulation + penalty Σ_k variance_k c_k² / 2

and at its least the reweighted simulation has the data's means, but for the errors of the two (the
last term). These are taken as independent, which they are not where all distances follow one fold,
so the penalty is chosen by replicas that the fit has not seen. The data are taken as they are: what
they have by chance the network has learned too. Sources: Shell, J. Chem. Phys. 129,
144108 (2008); the errors: Cesari, Reißer and Bussi, Computation 6, 15 (2018).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import optimize, special

from twoforone.baselines.basis import cardinal_cubic
from twoforone.geometry import distances
from twoforone.types import Beads, EnergyFn, Scalar

CHUNK = 2000  # frames whose basis is held at once
Basis = Float[np.ndarray, ' k']


class PairCorrection(NamedTuple):
  """The parameters of `pair_energy`, lengths in the unit of the positions.

  Attributes:
    pairs: which beads, [P, 2].
    low, high: ends of the splines of each distance, [P].
    coefficients: c in kT, [P, count].
  """

  pairs: Int[Array | np.ndarray, 'P 2']
  low: Float[Array | np.ndarray, ' P']
  high: Float[Array | np.ndarray, ' P']
  coefficients: Float[Array | np.ndarray, 'P count']


class Fit(NamedTuple):
  """A correction of some basis and how it was found.

  Attributes:
    coefficients: c, [k].
    penalty: the one chosen, or infinity where none gained anything: then c is zero.
    normaliser: ln <exp(-c · B)> with c of one half of the replicas over the other, mean of both
      ways; beside it -c · B of data gives an honest likelihood.
    cross: the coefficients of both halves, [2, k].
  """

  coefficients: Basis
  penalty: float
  normaliser: float
  cross: Float[np.ndarray, '2 k']

  def gain(self, mean: Basis) -> float:
    """ln p_corrected - ln p in nat per frame of data with <B> = mean, cross-fitted."""
    return float(-(self.cross @ mean).mean() - self.normaliser)


def pair_energy(params: PairCorrection, x: Beads, t: Scalar) -> Scalar:
  """Σ c · B(x) in kT, an `EnergyFn` at the one noise level that it was fitted at."""
  del t
  # A product of matrices may lose digits.
  return jnp.sum(params.coefficients * pair_splines(params, x))


def pair_splines(params: PairCorrection, x: Beads) -> Float[Array, 'P count']:
  """B: cubic B-splines of each distance, on count - 3 equal pieces between its ends.

  Those of one distance sum to one. Beyond an end the value at the end is kept.
  """
  low, high = jnp.asarray(params.low), jnp.asarray(params.high)
  count = params.coefficients.shape[1]
  distance = jnp.clip(distances(x, jnp.asarray(params.pairs)), low, high)
  place = (distance - low) / (high - low) * (count - 3)
  return cardinal_cubic(place[:, None] - (jnp.arange(count) - 1))


def correct_energy(energy: EnergyFn) -> EnergyFn:
  """corrected((params, c), x, t) = energy(params, x, t) + pair_energy(c, x, t)."""

  def corrected(params, x, t):
    return energy(params[0], x, t) + pair_energy(params[1], x, t)

  return corrected


def no_correction(
  x: Float[np.ndarray, 'F n 3'], bonds: Int[np.ndarray, 'bonds 2'], *, count: int = 8,
  narrowest: float = 0.0, tail: float = 0.005
) -> PairCorrection:
  """Zero coefficients for all pairs but bonded and rigid ones.

  Args:
    x: training frames, in the unit of the positions.
    bonds: pairs left out; the network holds them to a hundredth of their width.
    count: splines of each distance.
    narrowest: pairs whose ends are not further apart are left out.
    tail: part of the frames beyond each end, where the correction has no force.

  Raises:
    ValueError: for fewer than four splines, or when no pair is left.
  """
  if count < 4:
    raise ValueError(f'count: found {count} coefficients, expected at least 4 for cubic splines')
  bonded = {tuple(sorted(map(int, bond))) for bond in bonds}
  pairs = [pair for pair in zip(*np.triu_indices(x.shape[1], 1), strict=True)
           if tuple(map(int, pair)) not in bonded]
  ends = np.array([np.quantile(np.linalg.norm(x[:, i] - x[:, j], axis=-1), (tail, 1 - tail))
                   for i, j in pairs]).reshape(-1, 2)
  wide = ends[:, 1] - ends[:, 0] > narrowest
  if not wide.any():
    raise ValueError(f'x: found no pair of the {x.shape[1]} beads that is free to move, expected '
                     'some to correct')
  low, high = ends[wide].T.astype(np.float32)
  return PairCorrection(np.array(pairs)[wide], low, high,
                        np.zeros((wide.sum(), count), np.float32))


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


def minimise(
  values: Float[np.ndarray, 'S k'], mean: Basis, variance: Basis, chance: Basis,
  before: Basis | None = None, *, penalty: float = 1.0
) -> Basis:
  """argmin_c S(c), by L-BFGS from c = 0.

  Args:
    values: B of simulated frames, float64; they are of the energy to be corrected.
    mean: <B> of the data.
    variance: of that mean by chance; it holds the whole correction, before + c.
    chance: variance of the mean of the values, positive; it holds c.
    before: the correction that the simulation had; none if not given.
    penalty: a factor on both.

  Raises:
    ValueError: for values that are not finite, or a variance that is not positive.
  """
  if not np.isfinite(values).all():
    raise ValueError('values: found NaN or infinity, expected frames of sound replicas')
  curvature = penalty * (variance + chance)
  if not (curvature > 0).all():
    raise ValueError(f'variance, chance: found {curvature.min()}, expected positive numbers')
  pull = np.zeros_like(mean) if before is None else penalty * variance * before
  scale = 1 / np.sqrt(np.var(values, axis=0) + curvature)  # an even problem

  def objective(scaled):
    c = scale * scaled
    exponent = -(values @ c)
    slope = mean - special.softmax(exponent) @ values + curvature * c + pull
    loss = c @ mean + _log_mean_exp(exponent) + 0.5 * np.sum(curvature * c**2) + c @ pull
    return loss, scale * slope

  return scale * optimize.minimize(
    objective, np.zeros(len(mean)), jac=True, method='L-BFGS-B',
    options={'maxiter': 5000, 'maxfun': 10_000, 'gtol': 1e-5}).x


def fit_correction(
  values: Float[np.ndarray, 'S k'], replica: Int[np.ndarray, ' S'], mean: Basis, variance: Basis,
  chance: Basis, before: Basis | None = None, *, count: int,
  penalties: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)
) -> Fit:
  """The least of S(c) with the penalty of the best cross-fitted likelihood of the data.

  c of one half of the replicas is tried on the other half, both ways; where no penalty gains
  anything there is no correction. The final c is of all replicas. Splines that fewer than a tenth
  of the replicas (or two) have visited keep c = 0, and data there do not count: the simulation does
  not know the weight of what it has not seen.

  Args:
    values: B of simulated frames, float64.
    replica: of each frame, at least two.
    mean, variance, before: see `minimise`.
    chance: variance of the mean of the values, from `measure_means` with replicas for runs.
    count: splines of one distance, which sum to one.
    penalties: to choose from.

  Raises:
    ValueError: for a single replica; see `minimise`.
  """
  first = np.isin(replica, np.unique(replica)[::2])
  if first.all():
    raise ValueError('replica: found one, expected at least 2 to choose the penalty with')
  before = np.zeros_like(mean) if before is None else before
  known = _visited(values, replica)
  mean = _share_of(known, mean, count)
  halves = values[first], values[~first]

  def least(values, chance, penalty):
    c = np.zeros_like(mean)
    c[known] = minimise(values[:, known], mean[known], variance[known], chance[known],
                        before[known], penalty=penalty)
    return c

  def cross(penalty):
    c = np.array([least(half, 2 * chance, penalty) for half in halves])
    normaliser = np.mean([_log_mean_exp(-(other @ own))
                          for own, other in zip(c, halves[::-1], strict=True)])
    return Fit(c[0], penalty, float(normaliser), c)

  zero = np.zeros_like(mean)
  tried = [Fit(zero, np.inf, 0.0, np.stack([zero, zero])), *map(cross, penalties)]
  best = max(tried, key=lambda fit: fit.gain(mean))
  if best.penalty == np.inf:
    return best
  return best._replace(coefficients=least(values, chance, best.penalty))


def _visited(values: Float[np.ndarray, 'S k'], replica: Int[np.ndarray, ' S']) -> np.ndarray:
  """Which splines a tenth of the replicas, or two, have been in, [k]."""
  names = np.unique(replica)
  visits = sum((values[replica == k] > 0.01).any(axis=0).astype(int) for k in names)
  return visits >= max(2, len(names) // 10)


def _share_of(known: np.ndarray, mean: Basis, count: int) -> Basis:
  """The mean over those data whose distance lies in known splines, for each distance."""
  known, kept = known.reshape(-1, count), np.where(known, mean, 0).reshape(-1, count)
  total = np.where(known.all(axis=1), 1, kept.sum(axis=1))
  return (kept / np.maximum(total, np.finfo(float).tiny)[:, None]).ravel()


def _log_mean_exp(values: Float[np.ndarray, ' S']) -> float:
  return float(special.logsumexp(values) - np.log(len(values)))


def _chunks(params: PairCorrection, x: np.ndarray):
  """(first frame, B of CHUNK frames [CHUNK, k]) along x."""
  many = jax.jit(jax.vmap(lambda x: pair_splines(params, x).ravel()))
  for begin in range(0, len(x), CHUNK):
    yield begin, np.asarray(many(jnp.asarray(x[begin:begin + CHUNK], jnp.float32)))
