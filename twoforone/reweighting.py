"""The linear correction of an energy by relative entropy, from frames of its own simulation.

With c · B(x) added to an energy, B any functions of a configuration, the relative entropy of data
and simulation is convex in c,

  S(c) = c · <B>_data + ln <exp(-c · B)>_simulation + penalty Σ_k variance_k c_k² / 2

and at its least the reweighted simulation has the data's means, but for the errors of the two (the
last term). These are taken as independent, which they are not where all of B follows one fold, so
the penalty is chosen by replicas that the fit has not seen. The data are taken as they are: what
they have by chance the network has learned too. Sources: Shell, J. Chem. Phys. 129, 144108 (2008);
the errors: Cesari, Reißer and Bussi, Computation 6, 15 (2018).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import optimize, special

Basis = Float[np.ndarray, ' k']


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
  penalties: tuple[float, ...] = (1.0, 10.0, 100.0, 1e3, 1e4), least_share: float = 0.2
) -> Fit:
  """The least of S(c) with the penalty of the best cross-fitted likelihood of the data.

  c of one half of the replicas is tried on the other half, both ways; where no penalty gains
  anything, or leaves enough of the other half when it is reweighted, there is no correction. The
  final c is of all replicas. Splines that fewer than a tenth of the replicas (or two) have visited
  keep c = 0, and data there do not count: the simulation does not know the weight of what it has
  not seen.

  Args:
    values: B of simulated frames, float64.
    replica: of each frame, at least two.
    mean, variance, before: see `minimise`.
    chance: variance of the mean of the values, from how replicas differ.
    count: splines of one distance, which sum to one.
    penalties: to choose from.
    least_share: of the other half, N_eff / S; below it the reweighted means rest on a few frames.

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
    energies = [other @ own for own, other in zip(c, halves[::-1], strict=True)]
    if min(map(effective_share, energies)) < least_share:
      return None
    return Fit(c[0], penalty, float(np.mean([_log_mean_exp(-found) for found in energies])), c)

  zero = np.zeros_like(mean)
  none = Fit(zero, np.inf, 0.0, np.stack([zero, zero]))
  tried = [none, *filter(None, map(cross, penalties))]
  best = max(tried, key=lambda fit: fit.gain(mean))
  if best.penalty == np.inf:
    return best
  return best._replace(coefficients=least(values, chance, best.penalty))


def effective_share(energy: Float[np.ndarray, ' S']) -> float:
  """N_eff / S of frames reweighted by exp(-energy), N_eff = exp(-Σ w ln w)."""
  return float(np.exp(special.entr(special.softmax(-energy)).sum()) / len(energy))


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
