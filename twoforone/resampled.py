"""Structures from the DPM-Solver's walk, its errors weighed by the energies of the noise levels.

A step from t to s multiplies the weight of a sample by

  w = exp(energy(x_t, t) - energy(x_s, s)) q(x_t | x_s) / p(x_s | x_t),

q the noising and p the step that was drawn, both normal, so that the samples of a level follow its
energy in the limit of many, whatever errors the steps made. Source: sequential Monte Carlo samplers
(Del Moral, Doucet and Jasra 2006) along the reverse diffusion, as in particle denoising diffusion
(Phillips et al. 2024).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twoforone.geometry import centre
from twoforone.sampler import Sampler, Walk, make_walk
from twoforone.schedule import Schedule
from twoforone.types import Beads, EnergyFn, PRNGKey, ProjectFn, Scalar, ScoreFn


def make_resampled_sampler(
  energy: EnergyFn, score: ScoreFn, schedule: Schedule, *, num_steps: int = 100,
  resample_above: float = 0.4, threshold: float = 0.5, stochastic_above: float = 0.01,
  bound: float = 10.0, project: ProjectFn = centre
) -> Sampler:
  """sample(params, key, shape) -> x: `sampler.make_dpm_sampler`, weighed while the noise is high.

  While sigma is above `resample_above`, where the folds of a chain are decided, all samples of a
  call are one population, drawn again by their normalised weights W (systematically) whenever
  1 / Σ W² falls below `threshold` of their number, and once at the end, in random order. Below,
  each goes its own way, and copies part. Energies may differ from -log p_t by a constant of each
  level. Each weighed step takes a call of the energy beside that of the score. Samples of one call
  are not independent of each other; one whose energy is not finite has no weight, unless none is.

  Args:
    energy: of the whitened positions.
    score: likewise; how good it is decides how even the weights are.
    schedule: of the noise.
    num_steps: number of score calls.
    resample_above: sigma above which there are weights.
    threshold: effective share of the population at which it is drawn again.
    stochastic_above: sigma above which steps are stochastic.
    bound: limit on each coordinate of the x_0 estimate, whitened.
    project: of noise and estimates, as the energy's.

  Raises:
    ValueError: when no step would be weighed, or none that follows would part the copies.
  """
  walk = make_walk(score, schedule, num_steps, stochastic_above, bound, project)
  weighed = _count_weighed(walk, schedule, resample_above, stochastic_above)
  move = _make_weighed_step(energy, schedule, walk)

  def begin(key, shape):
    x = project(jax.random.normal(key, shape))
    return x, jnp.zeros_like(x), 0.5 * jnp.sum(x**2), 0.0  # -log of what x was drawn from

  def sample(params, key, shape):
    key_start, key_above, key_order, key_below = jax.random.split(key, 4)

    def above(carry, inputs):
      population, last_t = carry
      key, (t, s), end = inputs
      key, key_again = jax.random.split(key)
      population = jax.vmap(lambda key, one: move(params, key, one, last_t, t, s))(
        jax.random.split(key, shape[0]), population)
      return (_draw_population(key_again, population, threshold, end), t), None

    population = jax.vmap(lambda key: begin(key, shape[1:]))(
      jax.random.split(key_start, shape[0]))
    ((x, last, *_), last_t), _ = jax.lax.scan(
      above, (population, walk.pairs[0, 0]),
      (jax.random.split(key_above, weighed), walk.pairs[:weighed],
       jnp.arange(weighed) == weighed - 1))
    order = jax.random.permutation(key_order, shape[0])  # copies lie side by side
    return jax.vmap(lambda key, x, last: walk.descend(
      params, key, (x, last, last_t), walk.pairs[weighed:]))(
        jax.random.split(key_below, shape[0]), x[order], last[order])

  return sample


def _count_weighed(
  walk: Walk, schedule: Schedule, resample_above: float, stochastic_above: float
) -> int:
  """How many steps end above `resample_above`."""
  sigma = schedule.sigma(walk.pairs[:, 1])
  weighed = int(jnp.sum(sigma > resample_above))
  if not 0 < weighed < int(jnp.sum(sigma > stochastic_above)):
    raise ValueError(f'resample_above: found {resample_above} in {len(walk.pairs) + 1} steps, '
                     'expected one with steps above it, and below it down to stochastic_above = '
                     f'{stochastic_above}')
  return weighed


def _make_weighed_step(energy: EnergyFn, schedule: Schedule, walk: Walk) -> Callable:
  """move(params, key, (x, last, reduced, log_w), last_t, t, s) -> the same at s."""

  def move(params, key, one, last_t, t, s):
    x, last, reduced, log_w = one
    (y, clean, _), noise = walk.step(params, (x, last, last_t), key, t, s)
    ahead = energy(params, y, s)
    log_w = log_w + reduced - ahead + _log_transition(schedule, x, y, noise, t, s)
    return y, clean, ahead, jnp.where(jnp.isfinite(log_w), log_w, -jnp.inf)

  return move


def _draw_population(key: PRNGKey, population: tuple, threshold: float, end: Bool[Array, '']):
  """The population drawn again by its weights where they are uneven, and at the end."""
  *state, log_w = population
  w = jax.nn.softmax(log_w)
  again = ((1 / jnp.sum(w**2) < threshold * len(w)) | end) & jnp.isfinite(jnp.sum(w))
  chosen = jnp.where(again, _draw_again(key, w), jnp.arange(len(w)))
  return *(values[chosen] for values in state), jnp.where(again, 0.0, log_w)


def _log_transition(schedule: Schedule, x: Beads, y: Beads, noise: Beads, t, s) -> Scalar:
  """log q(x | y) - log p(y | x) of a step from x at t to y at s, up to a constant of the levels."""
  ratio = schedule.alpha(t) / schedule.alpha(s)
  variance = schedule.sigma(t) ** 2 - (ratio * schedule.sigma(s)) ** 2
  return -0.5 * jnp.sum((x - ratio * y) ** 2) / variance + 0.5 * jnp.sum(noise**2)


def _draw_again(key: PRNGKey, w: Float[Array, ' samples']) -> Int[Array, ' samples']:
  """Systematic resampling: index k comes floor or ceil of samples × w_k times."""
  count, total = len(w), jnp.cumsum(w)
  places = (jnp.arange(count) + 1 - jax.random.uniform(key)) / count * total[-1]
  return jnp.clip(jnp.searchsorted(total, places), 0, count - 1)
