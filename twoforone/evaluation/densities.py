"""Histograms of torsions and how far apart two densities are, in numpy float64.

JS and KL are in nats (at most ln 2 for JS); a free energy is -kT ln p in the unit of kT. A
distance between finite samples is never zero: print it beside its floor (`uncertainty`).
"""

import numpy as np
from jaxtyping import Float, Num

Histogram = Num[np.ndarray, '*bins']


def torsion_histogram(
  phi_psi: Float[np.ndarray, '*frames 2'], bins: int = 60
) -> Float[np.ndarray, '{bins} {bins}']:
  """Counts of (phi, psi) in equal bins over [-pi, pi]², phi along axis 0.

  Raises:
    ValueError: when an angle is not finite or outside [-pi, pi].
  """
  flat = phi_psi.reshape(-1, 2).astype(np.float64)
  if not (np.abs(flat) <= np.pi + 1e-6).all():
    raise ValueError('phi_psi: found angles that are not finite or outside [-pi, pi]')
  flat = flat.clip(-np.pi, np.pi)  # the float32 pi is above the float64 one
  edges = np.linspace(-np.pi, np.pi, bins + 1)
  return np.histogram2d(flat[:, 0], flat[:, 1], bins=(edges, edges))[0]


def plane_edges(
  points: Float[np.ndarray, '*frames 2'], bins: int = 101, margin: float = 0.05
) -> tuple[Float[np.ndarray, ' edges'], Float[np.ndarray, ' edges']]:
  """Equal bins over the range of the points along each axis, wider by a margin at each end."""
  flat = points.reshape(-1, 2).astype(np.float64)
  low, high = flat.min(axis=0), flat.max(axis=0)
  low, high = low - margin * (high - low), high + margin * (high - low)
  return tuple(np.linspace(a, b, bins + 1) for a, b in zip(low, high, strict=True))


def plane_histogram(
  points: Float[np.ndarray, '*frames 2'], edges: tuple[np.ndarray, np.ndarray]
) -> Float[np.ndarray, 'nx ny']:
  """Counts in a plane of two collective variables; what is outside goes to the border cells.

  Nothing vanishes: a sample outside the reference's range is as wrong as one in an empty cell.
  Arts et al. (2023) drop such samples.

  Raises:
    ValueError: when a point is not finite.
  """
  flat = points.reshape(-1, 2).astype(np.float64)
  if not np.isfinite(flat).all():
    raise ValueError('points: found values that are not finite')
  inside = [values.clip(edge[0], edge[-1]) for values, edge in zip(flat.T, edges, strict=True)]
  return np.histogram2d(*inside, bins=edges)[0]


def torsion_js(
  first: Float[np.ndarray, '*frames dihedrals'], second: Float[np.ndarray, '*other dihedrals'],
  bins: int = 60,
) -> float:
  """JS divergence [nat] of the first two angles of two sets, bins × bins cells."""
  return js_divergence(torsion_histogram(first, bins), torsion_histogram(second, bins))


def probability(histogram: Histogram) -> Float[np.ndarray, '*bins']:
  """The histogram divided by its sum.

  Raises:
    ValueError: when nothing was counted.
  """
  total = histogram.sum()
  if not total > 0:
    raise ValueError(f'histogram: found a total of {total}, expected a positive number')
  return histogram / total


def js_divergence(first: Histogram, second: Histogram) -> float:
  """(KL(p‖m) + KL(q‖m)) / 2 with m = (p + q) / 2; 1e-10 is added to every normalised bin.

  The form of Arts et al. (2023): no renormalisation after the addition, natural logarithm.
  """
  p, q = probability(first) + 1e-10, probability(second) + 1e-10
  m = (p + q) / 2
  return float(np.sum(p * np.log(p / m) + q * np.log(q / m)) / 2)


def kl_divergence(first: Histogram, second: Histogram) -> float:
  """Σ p ln(p/q) over the bins occupied in both; swap the arguments for the other direction."""
  p, q = probability(first), probability(second)
  both = (p > 0) & (q > 0)
  return float(np.sum(p[both] * np.log(p[both] / q[both])))


def free_energy(histogram: Histogram, kT: float) -> Float[np.ndarray, '*bins']:
  """-kT ln p, its minimum at zero, infinite in empty bins; unit of kT."""
  with np.errstate(divide='ignore'):
    energy = -kT * np.log(probability(histogram))
  return energy - energy.min()


def free_energy_error(first: Histogram, second: Histogram, kT: float) -> float:
  """Mean of (kT ln p - kT ln q)² over the bins occupied in both; unit of kT squared.

  No constant is removed (Arts et al. 2023). NaN when no bin is occupied in both.
  """
  p, q = probability(first), probability(second)
  both = (p > 0) & (q > 0)
  return float(np.mean((kT * np.log(p[both] / q[both])) ** 2)) if both.any() else float('nan')


def wasserstein(first: Float[np.ndarray, '*a'], second: Float[np.ndarray, '*b']) -> float:
  """∫ |F(v) - G(v)| dv, the 1-Wasserstein distance of two samples, in their unit."""
  step, width = _cdf_difference(first, second)
  return float(np.sum(np.abs(step) * width))


def circular_wasserstein(first: Float[np.ndarray, '*a'], second: Float[np.ndarray, '*b']) -> float:
  """min_c ∫ |F - G - c| over the circle: the 1-Wasserstein distance of angles, in rad.

  The minimum is at the median of F - G (Rabin, Delon and Gousseau 2011, eq. 10).

  Raises:
    ValueError: when an angle is outside [-pi, pi].
  """
  for angles in (first, second):
    if not (np.abs(angles) <= np.pi + 1e-6).all():
      raise ValueError('angles: found values that are not finite or outside [-pi, pi]')
  step, width = _cdf_difference(first, second, period=2 * np.pi)
  order = np.argsort(step)
  total = np.cumsum(width[order])
  median = step[order][np.searchsorted(total, total[-1] / 2)]
  return float(np.sum(np.abs(step - median) * width))


def _cdf_difference(first: np.ndarray, second: np.ndarray, period: float = 0.0):
  """F - G between neighbouring sample points, and the width of each interval.

  With a period the last interval closes the circle.
  """
  values = np.concatenate([first.ravel(), second.ravel()]).astype(np.float64)
  mass = np.repeat([1 / first.size, -1 / second.size], [first.size, second.size])
  order = np.argsort(values)
  values, step = values[order], np.cumsum(mass[order])
  closing = values[0] + period - values[-1] if period else 0.0
  return step, np.append(np.diff(values), closing)
