"""Optimizers with a falling rate, averages of the parameters, a constraint that updates keep."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


def cosine(start: float, end: float, num_steps: int) -> optax.Schedule:
  """end + (start - end) (1 + cos(π step / num_steps)) / 2, then constant."""
  return optax.cosine_decay_schedule(start, num_steps, alpha=end / start)


def exponential(start: float, floor: float, num_steps: int) -> optax.Schedule:
  """floor + (start - floor) 10^(-step / (4 num_steps)): the last rate is still 0.56 of the first.

  Fu et al. (2022) fall tenfold in 2M steps and train their polymer model for 0.5M.
  """
  fall = optax.exponential_decay(start - floor, 4 * num_steps, 0.1)
  return lambda step: floor + fall(step)


def adamw(
  *, learning_rate: float, final_learning_rate: float, num_steps: int,
  weight_decay: float = 1e-12, max_norm: float | None = None,
  schedule: Callable[[float, float, int], optax.Schedule] = cosine,
) -> optax.GradientTransformation:
  """AdamW with a falling learning rate, to `final_learning_rate`, and optional norm clipping.

  Args:
    learning_rate, final_learning_rate, num_steps: what `schedule` is called with.
    weight_decay: decoupled, times the learning rate.
    max_norm: of the gradient of all parameters together.
    schedule: `cosine` or `exponential`.
  """
  rate = schedule(learning_rate, final_learning_rate, num_steps)
  return optax.chain(_clip(max_norm), optax.adamw(rate, weight_decay=weight_decay))


def muon(
  *, learning_rate: float, final_learning_rate: float, num_steps: int,
  weight_decay: float = 1e-12, max_norm: float | None = None,
) -> optax.GradientTransformation:
  """Muon with cosine annealing: orthogonalised momentum for matrices, Adam for the rest.

  Jordan et al. (2024), as in `optax.contrib`. It fits small networks in fewer steps than AdamW.
  """
  rate = cosine(learning_rate, final_learning_rate, num_steps)
  return optax.chain(_clip(max_norm), optax.contrib.muon(
    rate, adam_b1=0.9, adam_b2=0.999, weight_decay=weight_decay))


def _clip(max_norm: float | None) -> optax.GradientTransformation:
  return optax.identity() if max_norm is None else optax.clip_by_global_norm(max_norm)


def warmup_ema(decay: float, power: float = 2 / 3) -> Callable:
  """min(decay, 1 - (1 + step)^-power): short memory first, `decay` in the end."""

  def ema_decay(step):
    return jnp.minimum(decay, 1 - (1.0 + step) ** -power)

  return ema_decay


def sparse_ema(
  decay: float, *, every: int = 10, copies: int = 100, power: float = 2 / 3
) -> Callable:
  """The average of Arts et al. (2023): updated each `every` steps, a plain copy for `copies` steps.

  The decay then grows with the steps, not with the updates (as in ema-pytorch 0.0.8).
  """

  def ema_decay(step):
    warm = jnp.clip(1 - (1.0 + jnp.maximum(step - copies, 0)) ** -power, 0.0, decay)
    return jnp.where(step % every == 0, warm, 1.0)

  return ema_decay


def with_projection(
  optimizer: optax.GradientTransformation, init: Callable, project: Callable
) -> optax.GradientTransformation:
  """The optimizer, followed by params <- project(params): a constraint that every update keeps.

  To rounding, for an update is a difference. The average of a convex set stays inside it.

  Args:
    optimizer: any optax transformation.
    init: params -> the projection's memory.
    project: (params, memory) -> (params, memory), e.g. of `baselines.lipschitz`.
  """

  def init_both(params):
    return optimizer.init(params), init(params)

  def update(gradient, state, params):
    opt_state, memory = state
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    target, memory = project(optax.apply_updates(params, updates), memory)
    return jax.tree.map(jnp.subtract, target, params), (opt_state, memory)

  return optax.GradientTransformation(init_both, update)
