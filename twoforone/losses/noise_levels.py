"""How the diffusion time of a training example is drawn.

`draw_level(key) -> t`. The published models (Arts et al. 2023) use importance sampling of the
discrete level *without* re-weighting the loss; the families below are theirs. The low-noise
families make the score accurate where the force is read.
"""

import jax
import jax.numpy as jnp
import numpy as np

from twoforone.schedule import Schedule
from twoforone.types import NoiseLevelFn, WeightFn


def p2_weights(schedule: Schedule, *, gamma: float = 0.0, k: float = 1.0) -> np.ndarray:
  """(k + SNR)^(-gamma) per level (P2, Choi et al. 2022, eq. 8); uniform for gamma = 0."""
  alpha, sigma = _table(schedule)
  return (k + alpha**2 / sigma**2) ** -gamma


def score_matching_weights(schedule: Schedule) -> np.ndarray:
  """1 / sigma² per level: the denoising loss becomes the unweighted score error."""
  return 1 / _table(schedule)[1] ** 2


def higher_until_weights(schedule: Schedule, level: int = 100) -> np.ndarray:
  """Half of all draws below `level`, half above: what the published models use.

  Raises:
    ValueError: when the level is not inside the table.
  """
  if not 0 < level < schedule.num_steps:
    raise ValueError(f'level: found {level}, expected 1 to {schedule.num_steps - 1}')
  below = np.arange(schedule.num_steps) < level
  return np.where(below, 1 / level, 1 / (schedule.num_steps - level))


def lower_bound_weights(schedule: Schedule, ceiling: float = 1000.0) -> np.ndarray:
  """min(1 / (sigma² (1 - beta)), ceiling) per level: the weights of the likelihood bound."""
  alpha, sigma = _table(schedule)
  rate = 1 - (alpha / np.concatenate([[1.0], alpha[:-1]])) ** 2
  return np.minimum(1 / (sigma**2 * (1 - rate)), ceiling)


def categorical_levels(weights: np.ndarray) -> NoiseLevelFn:
  """Draws level k with probability weights[k] / sum and returns t = k / len(weights).

  Raises:
    ValueError: for weights that are negative or not finite.
  """
  if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
    raise ValueError('weights: expected finite, non-negative numbers with a positive sum')
  cumulative = np.cumsum(weights / weights.sum())

  def draw_level(key):
    level = jnp.searchsorted(jnp.asarray(cumulative, jnp.float32), jax.random.uniform(key))
    return jnp.minimum(level, len(weights) - 1) / len(weights)

  return draw_level


def uniform_times(t_min: float, t_max: float) -> NoiseLevelFn:
  """t uniform in [t_min, t_max]: the continuous form of uniform levels."""

  def draw_level(key):
    return jax.random.uniform(key, minval=t_min, maxval=t_max)

  return draw_level


def log_uniform_sigma(schedule: Schedule, sigma_min: float, sigma_max: float) -> NoiseLevelFn:
  """log sigma uniform in [log sigma_min, log sigma_max]: dense where the force is read.

  `sigma_min` is best about half the stiffest whitened standard deviation of the data.

  Raises:
    ValueError: when the range is empty or outside the schedule.
  """
  lowest = float(schedule.sigma(jnp.float32(0.0)))
  if not lowest * (1 - 1e-3) <= sigma_min < sigma_max < 1:
    raise ValueError(f'sigma: found [{sigma_min}, {sigma_max}], expected a range inside '
                     f'[{lowest:.4g}, 1)')

  def draw_level(key):
    log_sigma = jax.random.uniform(key, minval=np.log(sigma_min), maxval=np.log(sigma_max))
    return schedule.time(jnp.exp(log_sigma))

  return draw_level


def mix_levels(first: NoiseLevelFn, second: NoiseLevelFn, fraction: float = 0.5) -> NoiseLevelFn:
  """Draws from `second` with probability `fraction`, else from `first`.

  Raises:
    ValueError: when the fraction is outside [0, 1].
  """
  if not 0 <= fraction <= 1:
    raise ValueError(f'fraction: found {fraction}, expected a number in [0, 1]')

  def draw_level(key):
    key_choice, key_level = jax.random.split(key)
    take = jax.random.bernoulli(key_choice, fraction)
    return jnp.where(take, second(key_level), first(key_level))

  return draw_level


def constant_weight(t):
  """Weight 1 at every level."""
  return jnp.ones_like(t)


def clean_weight(schedule: Schedule, *, power: int = 2) -> WeightFn:
  """(sigma/alpha)^power: turns the error of the noise into that of the clean structure x_0.

  Source: Ho et al. (2020), eq. 9: x_0 = (x_t - sigma noise) / alpha. `power` is 2 for squared and 1
  for absolute errors.
  """

  def weight(t):
    return (schedule.sigma(t) / schedule.alpha(t)) ** power

  return weight


def low_noise_weight(
  schedule: Schedule, *, strength: float, sigma_floor: float, maximum: float
) -> WeightFn:
  """min(1 + strength / (sigma² + sigma_floor²), maximum): lifts the score error near t = 0."""

  def weight(t):
    return jnp.minimum(1 + strength / (schedule.sigma(t) ** 2 + sigma_floor**2), maximum)

  return weight


def _table(schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
  t = jnp.arange(schedule.num_steps) / schedule.num_steps
  return (np.asarray(jax.vmap(schedule.alpha)(t), np.float64),
          np.asarray(jax.vmap(schedule.sigma)(t), np.float64))
