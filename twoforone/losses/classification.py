"""Noise-level classification: makes the energy a log-density across noise levels.

Score matching is nearly blind to the relative weight of separated basins. Asking which of two noise
levels a noised configuration came from fixes it: with l(x, t) = -energy(x, t) + offset(t), the loss
softplus(l(x_t, s) - l(x_t, t)) is least when l(x, t) - l(x, s) = log p_t(x) / p_s(x) for every pair
(DiffCLF: Ouyang, Grenioux, Hernández-Lobato, ICML 2026, arXiv 2601.21025).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.geometry import centre
from twoforone.losses.denoising import LabelFn, noise_label
from twoforone.losses.noise_levels import constant_weight
from twoforone.schedule import Schedule, perturb
from twoforone.types import EnergyFn, LossFn, NoiseLevelFn, ProjectFn, Scalar, WeightFn

OtherLevelFn = Callable[..., Scalar]
"""`draw_other(key, t) -> s[]`: the level that competes with t."""


def near_or_far(
  schedule: Schedule, draw_level: NoiseLevelFn, *, width: float, near_fraction: float = 0.5
) -> OtherLevelFn:
  """A neighbour of t, normal in log sigma with `width`, or a free draw from `draw_level`.

  Near pairs keep the logits unsaturated (|log sigma_s / sigma_t| of about 1/sqrt(3n)); far pairs
  carry the absolute heights.
  """

  def draw_other(key, t):
    key_choice, key_near, key_far = jax.random.split(key, 3)
    low, high = schedule.sigma(jnp.zeros_like(t)), schedule.sigma(jnp.ones_like(t) * 0.999)
    sigma = schedule.sigma(t) * jnp.exp(width * jax.random.normal(key_near))
    near = schedule.time(jnp.clip(sigma, low, high))
    take = jax.random.bernoulli(key_choice, near_fraction)
    return jnp.where(take, near, draw_level(key_far))

  return draw_other


def make_offset(schedule: Schedule, num_knots: int = 32):
  """The learned normaliser offset(params, t), linear between knots in log sigma.

  Returns:
    (init, offset): `init()` gives zeros [num_knots]; forces do not depend on them.
  """
  lowest = jnp.log(schedule.sigma(jnp.float32(0.0)))

  def init() -> Float[Array, ' knots']:
    return jnp.zeros(num_knots)

  def offset(knots: Float[Array, ' knots'], t: Scalar) -> Scalar:
    place = (1 - jnp.log(schedule.sigma(t)) / lowest) * (num_knots - 1)
    return jnp.interp(place, jnp.arange(num_knots), knots)

  return init, offset


def make_denoising_classification_loss(
  energy: EnergyFn,
  offset: Callable,
  schedule: Schedule,
  *,
  draw_level: NoiseLevelFn,
  draw_other: OtherLevelFn,
  weight: WeightFn = constant_weight,
  strength: float = 1.0,
  distance: Callable = jnp.square,
  label: LabelFn = noise_label,
  project: ProjectFn = centre,
) -> LossFn:
  """Denoising plus `strength` × classification on one noised example.

  Energy and score at (x_t, t) come from one value-and-gradient; the classification costs one more
  energy. `params` is {'energy': ..., 'offset': ...}; `label` is that of `make_denoising_loss`.
  """

  def loss(params, key, example):
    x = jax.tree.leaves(example)[0]
    key_level, key_other, key_swap, key_noise = jax.random.split(key, 4)
    t = draw_level(key_level)
    s = draw_other(key_other, t)
    # The class tells levels apart only if (t, s) is as likely as (s, t).
    t, s = jax.lax.cond(jax.random.bernoulli(key_swap), lambda: (t, s), lambda: (s, t))
    noise = project(jax.random.normal(key_noise, x.shape, x.dtype))
    x_t = perturb(schedule, project(x), noise, t)
    energy_t, gradient = jax.value_and_grad(energy, argnums=1)(params['energy'], x_t, t)
    log_density_t = offset(params['offset'], t) - energy_t
    log_density_s = offset(params['offset'], s) - energy(params['energy'], x_t, s)
    error = label(example, noise, x_t, t) - schedule.sigma(t) * gradient
    denoising = jnp.mean(distance(error))
    return (weight(t) * denoising
            + strength * jax.nn.softplus(log_density_s - log_density_t))

  return loss
