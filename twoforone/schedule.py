"""Noise schedules: x_t = alpha(t) x_0 + sigma(t) noise, alpha² + sigma² = 1, t in [0, 1].

The DDPM tables (cosine, linear) are defined at the levels t = level / num_steps and interpolated
between them linearly in the log signal-to-noise ratio; the VP-SDE is closed-form. `beta` is the
noise rate and appears in this module only.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twoforone.types import Beads, Scalar


class Schedule(NamedTuple):
  """A variance-preserving schedule.

  Attributes:
    alpha: t -> sqrt(abar), the factor of the signal.
    sigma: t -> sqrt(1 - abar), the standard deviation of the noise.
    time: sigma -> t, the inverse of `sigma`.
    num_steps: number of discrete levels; level k is t = k / num_steps.
  """

  alpha: Callable[[Scalar], Scalar]
  sigma: Callable[[Scalar], Scalar]
  time: Callable[[Scalar], Scalar]
  num_steps: int


def cosine_schedule(num_steps: int = 1000, offset: float = 0.008) -> Schedule:
  """Cosine DDPM table: beta_k = min(1 - f(k+1)/f(k), 0.999), f = cos²(pi/2 (k/T + s)/(1 + s)).

  Nichol and Dhariwal (2021), eq. 17; the values of Arts et al. (2023).
  """
  k = np.arange(num_steps + 1, dtype=np.float64) / num_steps
  f = np.cos((k + offset) / (1 + offset) * np.pi / 2) ** 2
  return _from_rates(np.clip(1 - f[1:] / f[:-1], 0.0, 0.999))


def linear_schedule(
  num_steps: int = 1000, beta_min: float = 1e-4, beta_max: float = 0.02
) -> Schedule:
  """Linear DDPM table, the rates scaled by 1000 / num_steps (Ho et al. 2020, section 4)."""
  scale = 1000 / num_steps
  return _from_rates(np.linspace(scale * beta_min, scale * beta_max, num_steps))


def vp_schedule(
  beta_min: float = 0.1, beta_max: float = 20.0, num_steps: int = 1000, t_min: float = 1e-5
) -> Schedule:
  """VP-SDE: alpha = exp(-beta_min t/2 - (beta_max - beta_min) t²/4) (Song et al. 2021, eq. 33).

  Constant below `t_min`: at t = 0 sigma would be zero, and the score phi / sigma undefined.
  """
  slope = beta_max - beta_min

  def log_abar(t):
    t = jnp.maximum(t, t_min)
    return -(beta_min * t + 0.5 * slope * t**2)

  def time(sigma):
    rate = -jnp.log1p(-(sigma**2))
    return 2 * rate / (beta_min + jnp.sqrt(beta_min**2 + 2 * slope * rate))

  return Schedule(
    alpha=lambda t: jnp.exp(0.5 * log_abar(t)),
    sigma=lambda t: jnp.sqrt(-jnp.expm1(log_abar(t))),
    time=time, num_steps=num_steps)


def perturb(schedule: Schedule, x: Beads, noise: Beads, t: Scalar) -> Beads:
  """x_t = alpha(t) x + sigma(t) noise (Ho et al. 2020, eq. 4)."""
  return schedule.alpha(t) * x + schedule.sigma(t) * noise


def level_time(schedule: Schedule, level: int) -> float:
  """The diffusion time of a discrete level.

  Raises:
    ValueError: when the level is outside the table.
  """
  if not 0 <= level < schedule.num_steps:
    raise ValueError(f'level: found {level}, expected 0 to {schedule.num_steps - 1}')
  return level / schedule.num_steps


def reached(schedule: Schedule, sigmas: Sequence[float]) -> list[float]:
  """Those of the sigmas that the schedule does not start above."""
  lowest = float(schedule.sigma(jnp.float32(0.0))) * (1 - 1e-3)  # rounding
  return [sigma for sigma in sigmas if sigma >= lowest]


def _from_rates(beta: np.ndarray) -> Schedule:
  """A schedule whose table is abar_k = prod_{m <= k} (1 - beta_m)."""
  if not ((beta > 0) & (beta < 1)).all():
    raise ValueError(f'beta: found {beta.min():g} to {beta.max():g}, expected rates in (0, 1)')
  log_abar = np.cumsum(np.log1p(-beta))
  log_snr = log_abar - np.log(-np.expm1(log_abar))  # falls with the level
  num_steps = len(beta)
  levels = np.arange(num_steps) / num_steps

  def at(t):
    return _interpolate(t, levels, log_snr)

  def time(sigma):
    log_nsr = 2 * jnp.log(sigma) - jnp.log1p(-(sigma**2))
    return _interpolate(log_nsr, -log_snr, levels)

  return Schedule(
    alpha=lambda t: jnp.sqrt(jax.nn.sigmoid(at(t))),
    sigma=lambda t: jnp.sqrt(jax.nn.sigmoid(-at(t))),
    time=time, num_steps=num_steps)


def _interpolate(x, xs: np.ndarray, ys: np.ndarray):
  """ys at x, linear between the xs and constant outside, in the precision of x."""
  x = jnp.asarray(x)
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  return jnp.interp(x, xs.astype(dtype), ys.astype(dtype))
