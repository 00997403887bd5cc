"""The learned step: embed once, predict how acceleration is distributed, draw, integrate, refine.

  a ~ p(a | x_t, x_(t-1), ...),   x_(t+1) = 2 x_t - x_(t-1) + a,   then annealed Langevin

(Fu, Xie, Rebello, Olsen and Jaakkola 2022). Networks plug in through `make_step_model`; with the
baseline's or the equivariant ones all else is the same.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.baselines.time_integrated.graph import BeadGraph, Scales, System
from twoforone.baselines.time_integrated.guard import Guard, stretch_guard
from twoforone.baselines.time_integrated.history import Example, History, acceleration
from twoforone.geometry import random_rotation
from twoforone.types import Beads, LossFn, Params, PRNGKey, Scalar


class StepModel(NamedTuple):
  """The networks of one learned step, for one molecule.

  Attributes:
    init: (key, system, history) -> params.
    embed: (params, fine) -> embedding [n, e], the same for all times.
    predict: (params, history, embedding, beads) -> (distribution of a / scales.acceleration,
      latent).
    score: (params, x, latent, beads, sigma) -> s[n, 3]; s / sigma is the score of the next frame
      blurred by sigma. None without refinement.
    radius: (params, x, latent, beads) -> Rg of the fine particles in the last frame x. None
      without a head.
  """

  init: Callable[[PRNGKey, System, History], Params]
  embed: Callable[..., Float[Array, 'n e']]
  predict: Callable[..., tuple[Any, Any]]
  score: Callable[..., Beads] | None
  radius: Callable[..., Scalar] | None = None


def make_step_model(embedding, dynamics, score=None, radius=None) -> StepModel:
  """The model of two to four flax modules; their parameters lie side by side in one dictionary."""

  def init(key, system, history):
    keys = jax.random.split(key, 4)
    fine, beads = system
    params = {'embedding': embedding.init(keys[0], fine, len(beads.mask))}
    nodes = embedding.apply(params['embedding'], fine, len(beads.mask))
    params['dynamics'] = dynamics.init(keys[1], history, nodes, beads)
    _, latent = dynamics.apply(params['dynamics'], history, nodes, beads)
    if score is not None:
      params['score'] = score.init(keys[2], history[-1], latent, beads, jnp.ones(()))
    if radius is not None:
      params['radius'] = radius.init(keys[3], history[-1], latent, beads)
    return params

  def embed(params, fine, num_beads):
    return embedding.apply(params['embedding'], fine, num_beads)

  def predict(params, history, nodes, beads):
    return dynamics.apply(params['dynamics'], history, nodes, beads)

  def evaluate_score(params, x, latent, beads, sigma):
    return score.apply(params['score'], x, latent, beads, sigma)

  def evaluate_radius(params, x, latent, beads):
    return radius.apply(params['radius'], x, latent, beads)

  return StepModel(init, embed, predict, None if score is None else evaluate_score,
                   None if radius is None else evaluate_radius)


def with_guard(model: StepModel, guard: Guard, scales: Scales) -> StepModel:
  """The model with the stretch guard added to the mean of its accelerations."""

  def predict(params, history, embedding, beads):
    distribution, latent = model.predict(params, history, embedding, beads)
    pull = stretch_guard(history[-1], beads, *guard) / scales.acceleration
    return distribution._replace(mean=distribution.mean + pull), latent

  return model._replace(predict=predict)


def make_nll(model: StepModel, scales: Scales) -> Callable[..., tuple[Scalar, Any]]:
  """nll(params, history, x_next, embedding, beads) -> (-ln p(a) per coordinate, latent).

  Of the whitened acceleration; add ln(scales.acceleration) for the data's unit.
  """

  def nll(params, history, x_next, embedding, beads):
    distribution, latent = model.predict(params, history, embedding, beads)
    a = acceleration(history, x_next) / scales.acceleration
    return -distribution.log_density(a) / (3 * beads.mask.sum()), latent

  return nll


def make_step_loss(
  model: StepModel, scales: Scales, *, perturb: Callable | None = None, rotate: bool = False,
  score_loss: Callable | None = None, score_windows: int | None = None, share_latent: bool = False,
  radius_loss: Callable | None = None
) -> LossFn:
  """-ln p of the step + loss of the score + loss of the radius, means over an example's windows.

  Args:
    model: networks.
    scales: of the training data.
    perturb: noise on the history, from `make_perturb`; None for clean histories.
    rotate: turns every window at random, for networks that are not equivariant.
    score_loss: (params, key, (x_next, latent, beads)) -> [], for refinement.
    score_windows: how many windows of an example the score is trained on; None for all.
    share_latent: let the loss of the score train the dynamics network too, as the original does;
      otherwise the steps that are learned do not depend on whether a score is.
    radius_loss: (params, (x, latent, beads, square_radius)) -> [], of the last clean frame x.
  """
  nll = make_nll(model, scales)

  def window(params, key, frames, embedding, beads):
    key_rotation, key_noise = jax.random.split(key)
    if rotate:
      frames = frames @ random_rotation(key_rotation).astype(frames.dtype)
    history, x_next = frames[:-1], frames[-1]
    if perturb is not None:
      # Held, or XLA would draw the noise anew wherever the networks read it: twice the time.
      history = jax.lax.optimization_barrier(perturb(key_noise, history, beads))
    value, latent = nll(params, history, x_next, embedding, beads)
    return value, (x_next, latent if share_latent else jax.lax.stop_gradient(latent))

  def loss(params, key, example: Example):
    fine, beads = example.system
    embedding = model.embed(params, fine, len(beads.mask))
    keys = jax.random.split(key, (2, len(example.frames)))
    values, seen = jax.vmap(window, (None, 0, 0, None, None))(
      params, keys[0], example.frames, embedding, beads)
    total = values.mean()
    if score_loss is not None:
      some = jax.tree.map(lambda a: a[:score_windows], (keys[1], seen))
      total += jax.vmap(lambda key, seen: score_loss(params, key, (*seen, beads)))(*some).mean()
    if radius_loss is not None:
      known = example.frames[:, -2], seen[1], example.square_radius
      total += jax.vmap(
        lambda x, latent, true: radius_loss(params, (x, latent, beads, true)))(*known).mean()
    return total

  return loss


def make_step(
  model: StepModel, scales: Scales, *, refine: Callable | None = None, spread: float = 1.0
) -> Callable[[Params, PRNGKey, History, Float[Array, 'n e'], BeadGraph], History]:
  """step(params, key, history, embedding, beads) -> history, one frame later.

  The last two do not change along a run: with functools.partial(step, embedding=..., beads=...) of
  one molecule it is step(params, key, history).

  Args:
    model: networks.
    scales: of the training data.
    refine: (params, key, x, latent, beads) -> x, from `refinement.make_refine`.
    spread: of the noise; 0 takes the mean.
  """

  def step(params, key, history, embedding, beads):
    key_draw, key_refine = jax.random.split(key)
    distribution, latent = model.predict(params, history, embedding, beads)
    a = distribution.mean + spread * (distribution.sample(key_draw) - distribution.mean)
    x = 2 * history[-1] - history[-2] + scales.acceleration * a
    if refine is not None:
      x = refine(params, key_refine, x, latent, beads)
    x = jnp.where(beads.mask[:, None], x, 0)
    return jnp.concatenate([history[1:], x[None]])

  return step
