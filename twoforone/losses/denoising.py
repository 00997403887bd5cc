"""The denoising loss and what wraps any loss: augmentation and weighted sums."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twoforone.geometry import centre, random_rotation
from twoforone.losses.noise_levels import constant_weight
from twoforone.schedule import Schedule, perturb
from twoforone.types import Beads, LossFn, NoiseLevelFn, ProjectFn, Scalar, ScoreFn, WeightFn

LabelFn = Callable[[Any, Beads, Beads, Scalar], Beads]
"""`label(example, noise, x_t, t) -> [n,3]`: its mean given x_t is -sigma score(x_t, t)."""


def noise_label(example: Any, noise: Beads, x_t: Beads, t: Scalar) -> Beads:
  """The noise itself: plain denoising."""
  return noise


def make_denoising_loss(
  score: ScoreFn,
  schedule: Schedule,
  *,
  draw_level: NoiseLevelFn,
  weight: WeightFn = constant_weight,
  distance: Callable = jnp.square,
  label: LabelFn = noise_label,
  project: ProjectFn = centre,
) -> LossFn:
  """w(t) mean |sigma score(x_t, t) + noise|²: noise prediction (Ho et al. 2020, eq. 14).

  The noise is centred (3 (n - 1) degrees of freedom); the mean runs over all 3n coordinates, as in
  Arts et al. (2023). Predicting x_0 instead is the weight sigma²/alpha².

  Args:
    score: of the whitened positions; any ScoreFn, conservative or not.
    schedule: of the noise.
    draw_level: draws t for an example.
    weight: multiplies the loss at t.
    distance: of one coordinate's error, `jnp.square` (L2) or `jnp.abs` (L1).
    label: what is predicted; one that uses more than x takes examples (x, ...).
    project: of data and noise, as the energy's.
  """

  def loss(params, key, example):
    x = jax.tree.leaves(example)[0]
    key_level, key_noise = jax.random.split(key)
    t = draw_level(key_level)
    noise = project(jax.random.normal(key_noise, x.shape, x.dtype))
    x_t = perturb(schedule, project(x), noise, t)
    error = schedule.sigma(t) * score(params, x_t, t) + label(example, noise, x_t, t)
    return weight(t) * jnp.mean(distance(error))

  return loss


def make_loss_by_sigma(
  score: ScoreFn, schedule: Schedule, sigmas: np.ndarray, *, project: ProjectFn = centre
) -> Callable:
  """curve(params, key, x[B, n, 3]) -> [K]: the plain denoising loss at each sigma.

  Each value is between 0 and about 1; where it stays at 1 the network has learned nothing.

  Args:
    score: of the whitened positions.
    schedule: of the noise.
    sigmas: where to look, [K].
    project: of data and noise, as the energy's.
  """
  times = schedule.time(jnp.asarray(sigmas, jnp.float32))

  def curve(params, key, x):
    def at(t):
      loss = make_denoising_loss(score, schedule, draw_level=lambda _: t, project=project)
      keys = jax.random.split(key, len(x))
      return jnp.mean(jax.vmap(loss, in_axes=(None, 0, 0))(params, keys, x))
    return jax.lax.map(at, times)

  return curve


def with_random_rotation(loss: LossFn) -> LossFn:
  """Turns every [n, 3] array of the example by one Haar-uniform proper rotation.

  Never a reflection: chirality must stay visible (Arts et al. 2023 augment by Euler angles that are
  not uniform).
  """

  def rotated_loss(params, key, example):
    key_rotation, key_loss = jax.random.split(key)
    rotation = random_rotation(key_rotation)
    return loss(params, key_loss, jax.tree.map(lambda v: v @ rotation.T, example))

  return rotated_loss


def on_energy(loss: LossFn) -> LossFn:
  """The loss of params['energy'] alone, where other parameters (an offset) are learned beside."""

  def energy_loss(params, key, example):
    return loss(params['energy'], key, example)

  return energy_loss


def add_losses(*terms: tuple[float, LossFn]) -> LossFn:
  """sum_k weight_k loss_k, each with its own key."""

  def total_loss(params, key, example):
    keys = jax.random.split(key, len(terms))
    return sum(weight * loss(params, k, example)
               for k, (weight, loss) in zip(keys, terms, strict=True))

  return total_loss
