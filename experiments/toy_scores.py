"""Data of a two-dimensional toy and scores of a learned energy against its exact density."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.toy_objectives import NOISE
from twoforone import geometry
from twoforone.datasets import potentials
from twoforone.evaluation import densities
from twoforone.losses import fokker_planck
from twoforone.types import EnergyFn

BATCH = 8192


class World(NamedTuple):
  """Draws, whitened as (x - mean) / scale, and the exact answer.

  Attributes:
    train: [seeds, F, 1, 2].
    validation: [F, 1, 2].
    mean: [2].
    scale: one number for both coordinates.
    density: exact, on the grid of the scores.
    score: exact, [x, y, 2], of the positions before whitening.
    basin: mask of the upper-left basin.
    validation_nll: mean -log of the exact probability of a validation draw's cell.
  """

  train: Float[Array, 'seeds frames 1 2']
  validation: Float[Array, 'frames 1 2']
  mean: np.ndarray
  scale: float
  density: potentials.GridDensity
  score: np.ndarray
  basin: np.ndarray
  validation_nll: float


def make_world(config, toy: potentials.Toy = potentials.MUELLER_BROWN) -> World:
  """Exact draws of the toy, every seed its own, and the density on the grid of the scores."""
  fine = potentials.grid_density(toy)
  train = np.stack([potentials.draw(fine, config.data.train, config.seed + 1 + k)
                    for k in range(config.num_seeds)])
  validation = potentials.draw(fine, config.data.validation, config.seed)
  mean = train.mean(axis=(0, 1))
  scale = float((train - mean).std())
  density = potentials.grid_density(toy, (config.score.bins, config.score.bins))
  points = jnp.asarray(potentials.grid_points(density), jnp.float32)

  def log_weight(x):
    return -toy.potential(x) / toy.kT

  values = np.asarray(log_weight(points), np.float64)
  nll = _log_sum(values) - float(np.asarray(log_weight(jnp.asarray(validation))).mean())
  return World(
    jnp.asarray((train - mean) / scale), jnp.asarray((validation - mean) / scale), mean[0], scale,
    density, np.asarray(jax.vmap(jax.vmap(jax.grad(log_weight)))(points), np.float64),
    # Beyond the line through the saddle at (-0.82, 0.62), along x = y.
    np.asarray(points[..., 1] - points[..., 0] > np.sqrt(2)), nll)


def make_scorer(config, reduced: EnergyFn, world: World, t: float) -> Callable:
  """score(params [S]) -> (name -> [S], free energy [x, y] of the first seed), read at t."""
  points = jnp.asarray(
    (potentials.grid_points(world.density) - world.mean) / world.scale, jnp.float32)
  values_and_gradients = jax.value_and_grad(reduced, argnums=1)
  residual = fokker_planck.make_exact_residual(reduced, NOISE, project=geometry.keep)

  @jax.jit
  def look(params):
    time, every = jnp.float32(t), {'batch_size': BATCH}
    values, gradients = jax.lax.map(
      lambda x: values_and_gradients(params, x[None], time), points.reshape(-1, 2), **every)
    drawn = jax.lax.map(lambda x: reduced(params, x, time), world.validation, **every)
    curve = fokker_planck.fokker_planck_curve(
      residual, NOISE, params, jax.random.key(config.seed),
      world.validation[:config.score.frames], jnp.asarray(config.score.sigmas),
      project=geometry.keep)
    return values, gradients, jnp.mean(drawn), curve.rms

  def score_seed(params):
    values, gradients, drawn, rms = (np.asarray(a, np.float64) for a in look(params))
    values = values.reshape(world.basin.shape)
    row = compare(world, values, -gradients.reshape(world.score.shape) / world.scale)
    row |= {'validation_nll': float(drawn) + _log_sum(-values), 'residual': rms.tolist()}
    return row, np.float32(values - values.min())

  def score(params):
    rows, maps = zip(*(score_seed(jax.tree.map(lambda a, k=k: a[k], params))
                       for k in range(config.num_seeds)), strict=True)
    return {name: [row[name] for row in rows] for name in rows[0]}, maps[0]

  return score


def compare(world: World, values: np.ndarray, score: np.ndarray) -> dict[str, float]:
  """JS, relative squared force error, variance of the free energy [kT²] and basin weight.

  Averages are over the exact density.

  Args:
    values: energy on the grid, in kT.
    score: on the grid, before whitening.
  """
  p = world.density.probability
  q = np.exp(-values - _log_sum(-values))
  error = values + np.log(np.maximum(p, 1e-300))  # of the free energy, up to a constant
  squared = np.sum((score - world.score) ** 2, axis=-1)
  return {
    'js': densities.js_divergence(p, q),
    'force_error': float(np.sum(p * squared) / np.sum(p * np.sum(world.score**2, axis=-1))),
    'pmf_variance': float(np.sum(p * error**2) - np.sum(p * error) ** 2),
    'basin': float(q[world.basin].sum())}


def _log_sum(values: np.ndarray) -> float:
  """log Σ exp(values), without overflow."""
  return float(values.max() + np.log(np.exp(values - values.max()).sum()))
