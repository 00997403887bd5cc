"""A correction of an energy by relative entropy: its ensemble gets the pair distances of the data.

Score matching is nearly blind to the weight of separated basins, and noise-level classification
only as good as the network generalises: a force field read at low noise can be off by half a kT
between folds. Frames of its own simulation show by how much. With c · basis(x) added, basis splines
of the pair distances, the relative entropy of data and simulation is convex in c:

  S(c) = c · <basis>_data + ln <exp(-c · basis)>_simulation + Σ_k variance_k c_k² / 2,

and at its least the reweighted simulation has the data's means, to the errors of the two (the last
term). Sources: Shell, J. Chem. Phys. 129, 144108 (2008); the errors: Cesari, Reißer and Bussi,
Computation 6, 15 (2018), eq. 20 for Gaussian errors.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import optimize, special

from twoforone.baselines.basis import BasisFn, cardinal_cubic
from twoforone.types import EnergyFn

CHUNK = 2000  # frames whose basis is held at once


class PairSplines(NamedTuple):
  """Which pairs of beads, and where their distances lie.

  Attributes:
    pairs: [P, 2].
    low, high: ends of the splines, [P]; in the unit of the frames they were read off.
  """

  pairs: Int[np.ndarray, 'P 2']
  low: Float[np.ndarray, ' P']
  high: Float[np.ndarray, ' P']


class Fit(NamedTuple):
  """A correction and how it was found.

  Attributes:
    coefficients: c, [k].
    effective_share: N_eff / S of the reweighted simulation, exp of the entropy of its weights.
    size: standard deviation of c · basis over the simulation [kT].
  """

  coefficients: Float[np.ndarray, ' k']
  effective_share: float
  size: float


def fit_pair_splines(
  x: Float[np.ndarray, 'F n 3'], bonds: Int[np.ndarray, 'bonds 2'], *, tail: float = 0.005
) -> PairSplines:
  """All pairs but the bonded ones, each between two quantiles of its distance.

  Args:
    x: training frames.
    bonds: pairs left out; the network holds them to a hundredth of their width.
    tail: part of the frames beyond each end, where the correction has no force.

  Raises:
    ValueError: when every pair is bonded.
  """
  pairs = np.stack(np.triu_indices(x.shape[1], 1), axis=1)
  bonded = {tuple(sorted(map(int, bond))) for bond in bonds}
  pairs = np.array([pair for pair in pairs if tuple(map(int, pair)) not in bonded])
  if not len(pairs):
    raise ValueError(f'bonds: found all pairs of {x.shape[1]} beads, expected some that are not')
  ends = [np.quantile(np.linalg.norm(x[:, i] - x[:, j], axis=-1), (tail, 1 - tail))
          for i, j in pairs]
  return PairSplines(pairs, *np.array(ends).T)


def make_pair_basis(splines: PairSplines, count: int = 8) -> BasisFn:
  """basis(x[n,3]) -> [P count]: cubic B-splines of each distance, on count - 3 equal pieces.

  Beyond an end the value at the end is kept. Twice differentiable inside; at an end the force of a
  pair ends.

  Raises:
    ValueError: for fewer than four splines of a distance.
  """
  if count < 4:
    raise ValueError(f'count: found {count} coefficients, expected at least 4 for cubic splines')
  low, high = jnp.asarray(splines.low), jnp.asarray(splines.high)
  first, second = splines.pairs.T

  def basis(x):
    distance = jnp.linalg.norm(x[first] - x[second], axis=-1)
    place = (jnp.clip(distance, low, high) - low) / (high - low) * (count - 3)
    return cardinal_cubic(place[:, None] - (jnp.arange(count) - 1)).ravel()

  return basis


def make_correction(basis: BasisFn) -> EnergyFn:
  """correction(c, x, t) = c · basis(x) in kT, for the one noise level it was fitted at."""

  def correction(c, x, t):
    del t
    return jnp.sum(c * basis(x))  # a product of matrices may lose digits

  return correction


def correct_energy(energy: EnergyFn, correction: EnergyFn) -> EnergyFn:
  """corrected((params, c), x, t) = energy(params, x, t) + correction(c, x, t)."""

  def corrected(params, x, t):
    return energy(params[0], x, t) + correction(params[1], x, t)

  return corrected


def evaluate_basis(basis: BasisFn, x: Float[np.ndarray, 'F n 3']) -> Float[np.ndarray, 'F k']:
  """The basis of every frame, some thousand frames at a time."""
  return np.concatenate(list(_chunks(basis, x)))


def measure_means(
  basis: BasisFn, x: Float[np.ndarray, 'F n 3'], run: Int[np.ndarray, ' F']
) -> tuple[Float[np.ndarray, ' k'], Float[np.ndarray, ' k']]:
  """<basis> over frames and the variance of that mean, from how independent runs differ.

  With shares p_r of the frames, Σ_r p_r² (mean_r - mean)² R / (R - 1), and never less than one
  frame in F would make, (1 / F)². A single run is cut into ten pieces of time.

  Args:
    x: frames in order of time within a run.
    run: index of the run of each frame.

  Raises:
    ValueError: for a single frame.
  """
  if len(np.unique(run)) == 1:
    run = np.arange(len(x)) * 10 // len(x)
  names, place = np.unique(run, return_inverse=True)
  if len(names) < 2:
    raise ValueError(f'x: found {len(x)} frames of one run, expected at least 2')
  total, begin = np.zeros((len(names), basis_size(basis, x))), 0
  for values in _chunks(basis, x):
    np.add.at(total, place[begin:begin + len(values)], values)
    begin += len(values)
  counts = np.bincount(place)
  share, mean = counts / len(x), total.sum(axis=0) / len(x)
  scatter = share[:, None] ** 2 * (total / counts[:, None] - mean) ** 2
  variance = scatter.sum(axis=0) * len(names) / (len(names) - 1)
  return mean, np.maximum(variance, 1 / len(x) ** 2)


def fit_correction(
  values: Float[np.ndarray, 'S k'], mean: Float[np.ndarray, ' k'],
  variance: Float[np.ndarray, ' k']
) -> Fit:
  """argmin_c S(c), by L-BFGS from c = 0.

  Args:
    values: basis of simulated frames, which are drawn from the energy to be corrected.
    mean: <basis> of the data.
    variance: of its difference from the mean of the values by chance, positive.

  Raises:
    ValueError: for values that are not finite, or a variance that is not positive.
  """
  if not np.isfinite(values).all():
    raise ValueError('values: found NaN or infinity, expected frames of sound replicas')
  if not (variance > 0).all():
    raise ValueError(f'variance: found {variance.min()}, expected positive numbers')
  scale = 1 / np.sqrt(np.var(values, axis=0, dtype=np.float64) + variance)  # even curvatures

  def objective(scaled):
    c = scale * scaled
    exponent = -(values @ c.astype(values.dtype)).astype(np.float64)
    w = special.softmax(exponent)
    loss = (c @ mean + special.logsumexp(exponent) - np.log(len(values))
            + 0.5 * np.sum(variance * c**2))
    return loss, scale * (mean - w.astype(values.dtype) @ values + variance * c)

  found = optimize.minimize(objective, np.zeros(len(mean)), jac=True, method='L-BFGS-B',
                            options={'maxiter': 2000, 'maxfun': 4000, 'ftol': 1e-12, 'gtol': 1e-7})
  c = scale * found.x
  energy = (values @ c.astype(values.dtype)).astype(np.float64)
  w = special.softmax(-energy)
  return Fit(c, float(np.exp(special.entr(w).sum()) / len(w)), float(energy.std()))


def likelihood_gain(
  basis: BasisFn, c: Float[np.ndarray, ' k'], simulated: Float[np.ndarray, 'S n 3'],
  x: Float[np.ndarray, 'F n 3']
) -> float:
  """Mean over x of ln p_corrected - ln p, in nat per frame: -c·<basis>_x - ln <exp(-c·basis)>.

  On frames that the fit has not seen it tells a better force field from one learned by heart.
  """
  energy = [np.concatenate([values @ c for values in _chunks(basis, frames)])
            for frames in (x, simulated)]
  return float(-energy[0].mean() - special.logsumexp(-energy[1]) + np.log(len(simulated)))


def basis_size(basis: BasisFn, x: Float[np.ndarray, 'F n 3']) -> int:
  """k, the length of the basis of one frame."""
  return jax.eval_shape(basis, jax.ShapeDtypeStruct(x.shape[1:], jnp.float32)).shape[0]


def _chunks(basis: BasisFn, x: np.ndarray):
  """The basis of the frames, [CHUNK, k] at a time."""
  many: Callable[[Array], Array] = jax.jit(jax.vmap(basis))
  for begin in range(0, len(x), CHUNK):
    yield np.asarray(many(jnp.asarray(x[begin:begin + CHUNK], jnp.float32)))

