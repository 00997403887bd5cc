"""How a network sees the noise level: the time itself, or features smooth in sigma²."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.schedule import Schedule
from twoforone.types import Scalar

TimeFeatures = Callable[[Scalar], Float[Array, ' features']]


def scalar_time(t: Scalar) -> Float[Array, ' 1']:
  """The diffusion time itself, as in Arts et al. (2023)."""
  return t[None]


def make_noise_features(schedule: Schedule, widths: tuple[float, ...]) -> TimeFeatures:
  """features(t)_k = sigma² / (sigma² + width_k²): smooth in sigma² at low noise, within [0, 1).

  Each width resolves the noise levels around it; below the smallest one all features are linear
  in sigma², as a density changes under diffusion, so the network cannot turn wild there.

  Raises:
    ValueError: when a width is not positive.
  """
  if not widths or min(widths) <= 0:
    raise ValueError(f'widths: found {widths}, expected positive numbers')

  def features(t):
    variance = schedule.sigma(t) ** 2
    return variance / (variance + jnp.asarray(widths) ** 2)

  return features
