"""Free-energy profiles of one coordinate on a grid, and how far a model's is from the exact one.

F(s) = -ln p(s) in kT. Profiles are compared on masks (F < 4, 6, 8 kT), after their means on the
mask are made equal: barriers of 10 kT are beyond any sample. The quadrature is numpy float64; a
potential given as a function runs in its own precision.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

Grid = Float[np.ndarray, ' n']


class Profile(NamedTuple):
  """A free energy on equally spaced points.

  Attributes:
    s: the points.
    energy: -ln p(s), with ∫ p ds = 1 [kT].
    force: the mean force -dF/ds [kT per length].
  """

  s: Grid
  energy: Grid
  force: Grid


def line_profile(
  potential: Callable[[Float[Array, '*shape 2']], Float[Array, '*shape']], kT: float,
  axis: tuple[float, float], s: Grid, across: Float[np.ndarray, ' m']
) -> Profile:
  """F(s) = -ln ∫ exp(-U / kT) dr on the lines x·v = s, and E[-∇U·v / (|v|² kT) | s].

  Args:
    potential: x[..., 2] -> U[...].
    kT: in the unit of U.
    axis: v, of any length.
    s: equally spaced, holding all but a negligible weight.
    across: r, equally spaced signed distances along the lines, holding all but a negligible weight.
  """
  v = np.asarray(axis, np.float64)
  normal = np.array([-v[1], v[0]]) / np.sqrt(v @ v)
  points = s[:, None, None] * v / (v @ v) + across[:, None] * normal
  gradient = jax.grad(lambda x: potential(x).sum())
  energy, slope = (np.asarray(f(jnp.asarray(points)), np.float64) / kT
                   for f in (potential, gradient))
  weight = np.exp(energy.min(axis=1, keepdims=True) - energy)
  total = weight.sum(axis=1)
  free = energy.min(axis=1) - np.log(total)
  force = -np.einsum('sr,srd,d->s', weight, slope, v) / (v @ v) / total
  return Profile(s, normalise(s, free), force)


def normalise(s: Grid, energy: Grid) -> Grid:
  """energy + ln ∫ exp(-energy) ds, by the sum over points (exact for vanishing ends)."""
  lowest = energy.min()
  return energy - lowest + np.log(np.sum(np.exp(lowest - energy)) * (s[1] - s[0]))


def sample_profile(
  values: Float[np.ndarray, ' samples'], edges: Float[np.ndarray, ' edges']
) -> tuple[Grid, Grid]:
  """Centres of the bins and -ln of the histogram's density, infinite in empty bins.

  Samples outside the edges count in the normalisation.
  """
  counts, _ = np.histogram(values, edges)
  with np.errstate(divide='ignore'):
    energy = -np.log(counts / len(values) / np.diff(edges))
  return (edges[1:] + edges[:-1]) / 2, energy


def below(exact: Grid, limit: int) -> Bool[np.ndarray, ' n']:
  """The mask F - min F < limit of the exact profile."""
  return exact - exact.min() < limit


def aligned_rms(energy: Grid, exact: Grid, mask: Bool[np.ndarray, ' n']) -> float:
  """Root mean square of the difference of two profiles over a mask, its mean there removed [kT].

  Raises:
    ValueError: for a mask without points.
  """
  if not mask.any():
    raise ValueError(f'mask: found none of {mask.size} points, expected some')
  return float(np.std(energy[mask] - exact[mask]))


def weight_above(s: Grid, energy: Grid, barrier: float) -> float:
  """∫_{s > barrier} p ds / ∫ p ds, by the trapezoidal rule."""
  density = np.exp(energy.min() - energy)
  cumulative = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
  return float(1 - np.interp(barrier, s, cumulative) / cumulative[-1])


def basin_difference(above: float) -> float:
  """F_above - F_below = -ln(P_above / P_below) of two basins that share the whole weight [kT]."""
  return float(np.log1p(-above) - np.log(above))


def kl_quadrature(s: Grid, exact: Grid, energy: Grid) -> float:
  """KL(p‖q) = ∫ p (ln p - ln q) ds of the exact p = exp(-exact) and the model's q [nat]."""
  p, q = normalise(s, exact), normalise(s, energy)
  return float(np.sum(np.exp(-p) * (q - p)) * (s[1] - s[0]))


def force_rms(exact: Profile, force: Grid) -> tuple[float, float]:
  """Root mean square error of a force, and of the exact one for scale, over the exact density.

  NaN where the model has no force within the weight.
  """
  weight = np.exp(-exact.energy)
  weight /= weight.sum()
  return (float(np.sqrt(np.sum(weight * (force - exact.force) ** 2))),
          float(np.sqrt(np.sum(weight * exact.force**2))))


def held_out_nll(s: Grid, energy: Grid, values: Float[np.ndarray, ' samples']) -> float:
  """Mean of -ln q over samples, q = exp(-energy) normalised and interpolated on the grid [nat].

  Raises:
    ValueError: when a sample is outside the grid.
  """
  if values.min() < s[0] or values.max() > s[-1]:
    raise ValueError(f'values: found {values.min():g} to {values.max():g}, expected samples '
                     f'between {s[0]:g} and {s[-1]:g}, the ends of the grid')
  return float(np.mean(np.interp(values.astype(np.float64), s, normalise(s, energy))))


def compare(exact: Profile, energy: Grid, barrier: float) -> dict[str, float]:
  """What a table shows of a model's energy on the grid of the exact profile.

  Keys: rms_4, rms_6, rms_8 over the masks; below_4 and above_4, the same within either side of the
  barrier (aligned by itself, and left out without points); weight_above the barrier; difference of
  the basins; kl.
  """
  rms = {f'rms_{limit}': aligned_rms(energy, exact.energy, below(exact.energy, limit))
         for limit in (4, 6, 8)}
  well, right = below(exact.energy, 4), exact.s > barrier
  sides = {f'{name}_4': aligned_rms(energy, exact.energy, well & side)
           for name, side in (('below', ~right), ('above', right)) if (well & side).any()}
  above = weight_above(exact.s, energy, barrier)
  return rms | sides | {
    'weight_above': above, 'difference': basin_difference(above),
    'kl': kl_quadrature(exact.s, exact.energy, energy)}
