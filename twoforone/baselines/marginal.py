"""Marginals of a flow by quadrature: over auxiliary channels, or across a direction in the plane.

  ln q(s) = ln ∫ q(x(s, o)) do

A profile read so has no sampling noise, so barriers of many kT come out as the flow has them.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.baselines.flow import LogDensityFn


class Grid(NamedTuple):
  """Centres [Q, k] of equal cells, and the logarithm of their volume."""

  points: Float[np.ndarray, 'Q k']
  log_cell: float


def make_grid(low: Sequence[float], high: Sequence[float], count: Sequence[int]) -> Grid:
  """Midpoints of equal cells in a box, one entry of each argument for each axis.

  Raises:
    ValueError: when a side is empty or without cells, or the arguments differ in length.
  """
  if not all(b > a and n > 0 for a, b, n in zip(low, high, count, strict=True)):
    raise ValueError(f'grid: found {count} cells from {low} to {high}, expected at least one cell '
                     'and high > low')
  sides = [a + (b - a) * (np.arange(n) + 0.5) / n
           for a, b, n in zip(low, high, count, strict=True)]
  points = np.stack(np.meshgrid(*sides, indexing='ij'), axis=-1).reshape(-1, len(sides))
  log_cell = sum(math.log((b - a) / n) for a, b, n in zip(low, high, count, strict=True))
  return Grid(points, log_cell)


def append(x: Float[Array, ' d'], rest: Float[Array, ' k']) -> Float[Array, ' d_and_k']:
  """(x, rest): the completion where what is integrated over are auxiliary channels."""
  return jnp.concatenate([x, rest])


def make_marginal(
  log_density: LogDensityFn, grid: Grid, *, complete: Callable = append
) -> LogDensityFn:
  """log_marginal(params, s, temperature=1.0, context=None) = ln ∫ q(complete(s, o)) do on a grid.

  The midpoint rule is exact to rounding once cells are narrower than the density is.

  Args:
    log_density: of the whole x.
    grid: of o; it must hold all of its weight.
    complete: complete(s[m], o[k]) -> x[d], a map of constant volume one.
  """
  points = np.asarray(grid.points)

  def log_marginal(params, s, temperature=1.0, context=None):
    def at(o):
      return log_density(params, complete(s, o), temperature, context)
    return jax.nn.logsumexp(jax.vmap(at)(jnp.asarray(points, s.dtype))) + grid.log_cell

  return log_marginal


def make_projected(
  log_density: LogDensityFn, direction: Float[np.ndarray, '2'], grid: Grid
) -> LogDensityFn:
  """The log-density of s = direction · x in the plane, the other coordinate integrated out.

  x = s v/|v|² + o n with n the unit vector across v, and dx = ds do / |v|: v need not have length
  one. `grid` is of o = n · x, s has shape [1].

  Raises:
    ValueError: for a direction of length zero.
  """
  length = float(np.linalg.norm(direction))
  if not length > 0:
    raise ValueError(f'direction: found {direction.tolist()}, expected a length above zero')
  along, across = direction / length**2, np.array([-direction[1], direction[0]]) / length

  def complete(s, o):
    return s * jnp.asarray(along, s.dtype) + o * jnp.asarray(across, s.dtype)

  return make_marginal(
    log_density, grid._replace(log_cell=grid.log_cell - math.log(length)), complete=complete)
