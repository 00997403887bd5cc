"""Energies linear in their parameters: cubic B-splines of one coordinate between harmonic walls.

U(x) = Σ_i c_i B_i(x) + base(x), in kT. On equal knots B_i is the cardinal spline moved to knot i;
the B_i sum to one inside the interval, so the sum of the coefficients is the free constant of U.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.types import Beads, EnergyFn, Scalar

BasisFn = Callable[[Beads], Float[Array, ' count']]
"""`basis(x[n,d]) -> [count]`."""


def make_cubic_splines(low: float, high: float, count: int) -> BasisFn:
  """basis(x[1,1]) -> [count], cubic B-splines on count - 3 equal pieces of [low, high].

  Beyond an end the value at the end is kept: give the energy walls there.

  Source: de Boor, A Practical Guide to Splines (1978), ch. IX.

  Raises:
    ValueError: for an empty interval or fewer than four coefficients.
  """
  _check_interval(low, high)
  if count < 4:
    raise ValueError(f'count: found {count} coefficients, expected at least 4 for cubic splines')
  return lambda x: cubic_splines(x[0, 0], low, high, count)


def cubic_splines(
  x: Float[Array, '*shape'], low: Float[Array, '*shape'] | float,
  high: Float[Array, '*shape'] | float, count: int
) -> Float[Array, '*shape count']:
  """Cubic B-splines on count - 3 equal pieces of [low, high]; beyond an end their value there.

  Those of one x sum to one.
  """
  place = (jnp.clip(x, low, high) - low) / (high - low) * (count - 3)
  return cardinal_cubic(place[..., None] - (jnp.arange(count) - 1))


def cardinal_cubic(u: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """2/3 - u² + |u|³/2 for |u| < 1, (2 - |u|)³/6 for |u| < 2, else 0: twice differentiable."""
  far = jnp.abs(u)
  inner, outer = 2 / 3 - far**2 + far**3 / 2, jnp.maximum(2 - far, 0) ** 3 / 6
  return jnp.where(far < 1, inner, outer)


def make_walls(low: float, high: float, stiffness: float = 200.0) -> Callable[[Beads], Scalar]:
  """base(x) = stiffness/2 Σ d², d the distance of a coordinate from [low, high] [kT].

  Raises:
    ValueError: for an empty interval or a stiffness that is not positive.
  """
  _check_interval(low, high)
  if not stiffness > 0:
    raise ValueError(f'stiffness: found {stiffness}, expected a positive number')

  def base(x):
    return 0.5 * stiffness * jnp.sum((x - jnp.clip(x, low, high)) ** 2)

  return base


def make_linear_energy(basis: BasisFn, base: Callable[[Beads], Scalar]) -> EnergyFn:
  """energy(c, x, t) = c · basis(x) + base(x), at every t; only the first part is learned."""

  def energy(params, x, t):
    del t
    return jnp.sum(params * basis(x)) + base(x)  # a product of matrices may lose digits

  return energy


def mean_basis(basis: BasisFn, x: Float[Array, 'F n dim']) -> Float[Array, ' count']:
  """Mean of the basis over frames: all that relative entropy takes from the data."""
  return jax.jit(lambda x: jax.vmap(basis)(x).mean(axis=0))(x)


def _check_interval(low: float, high: float) -> None:
  if not low < high:
    raise ValueError(f'low, high: found {low} and {high}, expected low < high')
