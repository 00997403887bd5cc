"""Data from the toys: exact draws, a ladder of temperatures, Metropolis and Langevin trajectories.

Likelihood training takes its data for the target, so the data must be equilibrium draws: the exact
ones. Short trajectories, one from each basin, hold equal counts of both whatever their weights
(Noé et al. 2019): the negative control.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.datasets.potentials import Toy, quartic
from twoforone.types import PRNGKey

DOUBLE_WELL_STARTS = ((-1.8, 0.0), (1.8, 0.0))
MUELLER_STARTS = ((-0.5, 1.5), (0.5, 0.0))
"""Where the trajectories of Noé et al. (2019) begin, one in each basin."""


def draw_line(
  s: Float[np.ndarray, ' n'], energy: Float[np.ndarray, ' n'], count: int,
  random: np.random.Generator
) -> Float[np.ndarray, ' {count}']:
  """Independent draws of exp(-energy) on equally spaced points, by its inverse CDF between them."""
  density = np.exp(energy.min() - energy)
  cumulative = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
  return np.interp(random.uniform(0, cumulative[-1], count), cumulative, s)


def draw_double_well(count: int, seed: int, kT: float = 1.0) -> Float[np.ndarray, '{count} 1 2']:
  """Independent draws of `potentials.double_well`: x by its inverse CDF, y from N(0, kT); float32.

  Raises:
    ValueError: for a temperature that is not positive.
  """
  if not kT > 0:
    raise ValueError(f'kT: found {kT}, expected a positive number')
  random = np.random.default_rng(seed)
  grid = np.linspace(-4, 4, 80_001)
  x = draw_line(grid, quartic(grid) / kT, count, random)
  y = np.sqrt(kT) * random.normal(size=count)
  return np.stack([x, y], axis=-1)[:, None].astype(np.float32)


def draw_ladder(
  draw: Callable[[int, int, float], np.ndarray], kT: tuple[float, ...], count: int, seed: int
) -> Float[np.ndarray, 'F M 1 2']:
  """draw(count, seed, kT) for each rung of the ladder, seeds one after another."""
  return np.stack([draw(count, seed + rung, value) for rung, value in enumerate(kT)], axis=1)


@functools.partial(jax.jit, static_argnames=('toy', 'num_frames', 'stride', 'width'))
def metropolis(
  toy: Toy, key: PRNGKey, start: Float[Array, 'R 2'], *, num_frames: int, stride: int = 10,
  width: float = 0.1
) -> Float[Array, 'F R 1 2']:
  """Metropolis chains x' = x + width ξ, accepted with min(1, exp(-ΔU / kT)), each from its start.

  Noé et al. (2019) keep each tenth of 10,000 steps. Metropolis et al., J. Chem. Phys. 21, 1087
  (1953).

  Args:
    start: of each replica, not among the frames.
    num_frames: F.
    stride: steps between frames.
    width: of a proposal in each coordinate.
  """

  def move(key, x):
    propose_key, accept_key = jax.random.split(key)
    new = x + width * jax.random.normal(propose_key, x.shape, x.dtype)
    fall = (toy.potential(x) - toy.potential(new)) / toy.kT
    accept = jnp.log(jax.random.uniform(accept_key, fall.shape, fall.dtype)) < fall
    return jnp.where(accept[:, None], new, x)

  return _walk(move, start, key, num_frames, stride, lambda x: x)


@functools.partial(jax.jit, static_argnames=('toy', 'num_frames', 'stride', 'dt'))
def overdamped_langevin(
  toy: Toy, key: PRNGKey, start: Float[Array, 'R 2'], *, num_frames: int, stride: int,
  dt: float = 4e-3
) -> Float[Array, 'F R 1 2']:
  """x += -dt ∇U + sqrt(2 kT dt) (ξ_k + ξ_{k+1}) / 2, unit mobility, each from its start.

  Second order in the averages (Leimkuhler and Matthews 2013, eq. 16).

  Args:
    start: of each replica, not among the frames.
    num_frames: F.
    stride: steps between frames.
    dt: time step, below 2 / U''.
  """
  force = jax.grad(lambda x: -toy.potential(x).sum())

  def move(key, state):
    x, old = state
    new = jax.random.normal(key, x.shape, x.dtype)
    return x + dt * force(x) + jnp.sqrt(0.5 * toy.kT * dt) * (old + new), new

  start_key, key = jax.random.split(key)
  state = start, jax.random.normal(start_key, start.shape, start.dtype)
  return _walk(move, state, key, num_frames, stride, lambda state: state[0])


def coarse_grain(
  toy: Toy, x: Float[Array | np.ndarray, 'F 1 2'], axis: tuple[float, float]
) -> tuple[Float[Array, 'F 1 1'], Float[Array, 'F 1 1']]:
  """Positions s = x·v and forces f = -∇U·v / (|v|² kT) along the axis v: one bead in one dimension.

  E[f | s] = -dF/ds in kT, with no curvature term since s is linear (Noid et al. 2008).
  """
  direction = jnp.asarray(axis, jnp.float32)
  force = jax.grad(lambda x: -toy.potential(x).sum())(jnp.asarray(x)) / toy.kT
  return (jnp.asarray(x) @ direction)[..., None], (
    force @ direction / jnp.sum(direction**2))[..., None]


def _walk(
  move: Callable, state: Any, key: PRNGKey, num_frames: int, stride: int, position: Callable
) -> Float[Array, 'F R 1 2']:
  """Every stride-th position of a chain of `move(key, state)`."""

  def frame(state, key):
    keys = jax.random.split(key, stride)
    state, _ = jax.lax.scan(lambda s, k: (move(k, s), None), state, keys)
    return state, position(state)[:, None]

  return jax.lax.scan(frame, state, jax.random.split(key, num_frames))[1]
