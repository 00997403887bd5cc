"""Two-dimensional toys whose density is known on a grid: Müller-Brown and a double well.

p(x, y) ∝ exp(-U / kT). Draws are independent and exact: a cell of a fine grid by its weight, then a
uniform point in it. One particle in an external field is a configuration [1, 2].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Müller and Brown (1979), Theor. Chim. Acta 53, 75: A, a, b, c, X, Y of each term.
_MUELLER_BROWN = (
  (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
  (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
  (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
  (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
)


class Toy(NamedTuple):
  """A potential with the temperature at which it is used.

  Attributes:
    potential: x[..., 2] -> U[...].
    kT: thermal energy in the unit of U.
    box: ((x_low, x_high), (y_low, y_high)), which holds all but a negligible weight.
  """

  potential: Callable[[Float[Array, '*shape 2']], Float[Array, '*shape']]
  kT: float
  box: tuple[tuple[float, float], tuple[float, float]]


class GridDensity(NamedTuple):
  """Probability of the cells of a grid.

  Attributes:
    x, y: centres of the cells along each axis.
    probability: [x, y], sums to one.
  """

  x: Float[np.ndarray, ' nx']
  y: Float[np.ndarray, ' ny']
  probability: Float[np.ndarray, 'nx ny']


def mueller_brown(x: Float[Array, '*shape 2']) -> Float[Array, '*shape']:
  """U = Σ_j A_j exp(a_j dx² + b_j dx dy + c_j dy²), dx = x - X_j (Müller and Brown 1979)."""
  height, a, b, c, x_0, y_0 = jnp.array(_MUELLER_BROWN).T
  dx, dy = x[..., :1] - x_0, x[..., 1:] - y_0
  return jnp.sum(height * jnp.exp(a * dx**2 + b * dx * dy + c * dy**2), axis=-1)


def mueller(x: Float[Array, '*shape 2']) -> Float[Array, '*shape']:
  """U = 0.1 `mueller_brown`, in kT: the depth of the wells that Noé et al. (2019) use."""
  return 0.1 * mueller_brown(x)


def quartic(x: Float[Array | np.ndarray, '*shape']) -> Float[Array | np.ndarray, '*shape']:
  """x⁴ - 6 x² + x: the potential of mean force of `double_well` along x, at every temperature."""
  return x**4 - 6 * x**2 + x


def double_well(x: Float[Array, '*shape 2']) -> Float[Array, '*shape']:
  """U = x⁴ - 6 x² + x + y²/2 (Noé et al. 2019, as in their code; their print has other factors)."""
  return quartic(x[..., 0]) + 0.5 * x[..., 1] ** 2


MUELLER_BROWN = Toy(mueller_brown, 23.0, ((-2.5, 1.5), (-1.0, 3.0)))
"""At kT = 23 (Plainer et al. 2025) barriers are a few kT and every basin is seen."""

MUELLER = Toy(mueller, 1.0, ((-2.0, 1.4), (-0.8, 2.5)))
"""Barriers of 10 kT along MUELLER_AXIS (Noé et al. 2019)."""

DOUBLE_WELL = Toy(double_well, 1.0, ((-3.2, 3.2), (-5.5, 5.5)))

DOUBLE_WELL_AXIS = (1.0, 0.0)
DOUBLE_WELL_BARRIER = 0.083528
"""x of the maximum of `quartic`."""

MUELLER_AXIS = (0.7, -0.7)
"""s = 0.7 x - 0.7 y, not normalised (as in the figures of Noé et al. 2019)."""
MUELLER_BARRIERS = (-0.99, -0.07)
"""s between the main and the middle well, and between the middle and the right one."""


def cell_centres(low: float, high: float, count: int) -> Float[np.ndarray, ' {count}']:
  """Centres of `count` equal cells over [low, high]."""
  return low + (high - low) * (np.arange(count) + 0.5) / count


def grid_points(density: GridDensity) -> Float[np.ndarray, 'nx ny 2']:
  """The centre (x, y) of every cell."""
  return np.stack(np.meshgrid(density.x, density.y, indexing='ij'), axis=-1)


def grid_density(toy: Toy, shape: tuple[int, int] = (1500, 1500)) -> GridDensity:
  """exp(-U / kT) at the centres of equal cells over the toy's box, normalised to a sum of one.

  Raises:
    ValueError: for a grid without cells or a temperature that is not positive.
  """
  if min(shape) < 1 or not toy.kT > 0:
    raise ValueError(f'grid: found shape {shape} and kT {toy.kT}, expected positive numbers')
  x, y = (cell_centres(*side, count) for side, count in zip(toy.box, shape, strict=True))
  points = np.stack(np.meshgrid(x, y, indexing='ij'), axis=-1)
  energy = np.asarray(toy.potential(jnp.asarray(points)), np.float64) / toy.kT
  weight = np.exp(energy.min() - energy)
  return GridDensity(x, y, weight / weight.sum())


def draw(density: GridDensity, count: int, seed: int) -> Float[np.ndarray, '{count} 1 2']:
  """Independent draws [F, 1, 2], float32: a cell by its probability, a uniform point inside."""
  random = np.random.default_rng(seed)
  cumulative = np.cumsum(density.probability.ravel())
  cell = np.searchsorted(cumulative, random.uniform(0, cumulative[-1], count), side='right')
  rows, columns = np.unravel_index(np.minimum(cell, cumulative.size - 1), density.probability.shape)
  centres = np.stack([density.x[rows], density.y[columns]], axis=-1)
  width = np.array([density.x[1] - density.x[0], density.y[1] - density.y[0]])
  return (centres + width * random.uniform(-0.5, 0.5, (count, 2)))[:, None].astype(np.float32)
