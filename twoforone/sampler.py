"""One: i.i.d. structures from the score, by ancestral sampling or a fast solver.

All but the flow walk down a grid of diffusion times with an estimate of the clean structure,
x_0 = (x_t + sigma² score) / alpha (Tweedie). At the last level alpha is 5e-5 and an imperfect score
throws that estimate out by hundreds of Å, so it is held inside a `bound`, in whitened units; the
bound never acts once alpha is of order one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.geometry import centre
from twoforone.schedule import Schedule
from twoforone.types import Params, PRNGKey, ProjectFn, ScoreFn

Sampler = Callable[..., Float[Array, 'samples beads dim']]
Times = Float[np.ndarray, ' times']


def table_times(schedule: Schedule) -> Times:
  """Every level of the table, highest first: the grid of DDPM."""
  return np.arange(schedule.num_steps)[::-1] / schedule.num_steps


def log_snr_times(schedule: Schedule, num_steps: int) -> Times:
  """`num_steps` times, highest first, even in log(alpha / sigma); t = 0 is the last.

  The table leaps by whole multiples of sigma² near t = 0, where stiff bonds live; this does not.
  """
  if num_steps < 2:
    raise ValueError(f'num_steps: found {num_steps}, expected at least 2')
  t_max = (schedule.num_steps - 1) / schedule.num_steps
  ends = jnp.array([t_max, 0.0])
  high, low = np.asarray(jnp.log(schedule.sigma(ends)) - jnp.log(schedule.alpha(ends)), np.float64)
  start = min(high, 4.0)  # sigma/alpha = 55: pure noise to all purposes
  ramp = np.linspace(start, low, num_steps)
  sigma = np.exp(ramp) / np.sqrt(1 + np.exp(2 * ramp))
  return np.clip(np.asarray(schedule.time(jnp.asarray(sigma, jnp.float32))), 0.0, t_max)


def make_ancestral_sampler(
  score: ScoreFn, schedule: Schedule, *, times: Times | None = None, bound: float = 10.0,
  project: ProjectFn = centre
) -> Sampler:
  """sample(params, key, shape) -> x: the DDPM reverse chain (Ho et al. 2020, algorithm 2).

  From t to s: x_s = mean of q(x_s | x_t, x_0) + its standard deviation × noise, and x_0 itself at
  the end. One score call per time.

  Args:
    score: of the whitened positions.
    schedule: of the noise.
    times: the grid, highest first; the whole table if not given.
    bound: limit on each coordinate of the x_0 estimate, whitened.
    project: of noise and estimates, as the energy's.

  Returns:
    sample(params, key, (samples, beads, 3)) in whitened units.
  """
  grid = table_times(schedule) if times is None else times
  denoise = _make_denoiser(score, schedule, bound, project)

  def step(params, x, key, t, s):
    (alpha_t, sigma_t), (alpha_s, sigma_s) = _levels(schedule, t), _levels(schedule, s)
    ratio = (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2
    mean = alpha_s * (1 - ratio) * denoise(params, x, t) + ratio * (alpha_s / alpha_t) * x
    std = sigma_s * jnp.sqrt(jnp.maximum(1 - ratio, 0.0))
    return project(mean + std * jax.random.normal(key, x.shape, x.dtype))

  return _make_sampler(step, denoise, grid, project)


def make_dpm_sampler(
  score: ScoreFn, schedule: Schedule, *, num_steps: int = 100, stochastic_above: float = 0.1,
  bound: float = 10.0, project: ProjectFn = centre
) -> Sampler:
  """sample(params, key, shape) -> x: DPM-Solver++(2M), stochastic first, then along the flow.

  Second-order multistep in log(alpha / sigma) with the data prediction (Lu et al. 2022, algorithm
  2; the stochastic form is their SDE-DPM-Solver++), `num_steps` score calls. Fresh noise forgets
  errors made at high noise, the deterministic flow keeps the width of stiff bonds at low noise.
  The last step goes from t = 0 to no noise along the flow, x + sigma² score / 2: a Tweedie step
  takes sigma² / (v + sigma²) off a variance v, 4 to 10 % of stiff bonds.

  Args:
    score: of the whitened positions.
    schedule: of the noise.
    num_steps: number of score calls.
    stochastic_above: sigma above which steps are stochastic; 1 for the flow alone.
    bound: limit on each coordinate of the x_0 estimate, whitened.
    project: of noise and estimates, as the energy's.
  """
  walk = make_walk(score, schedule, num_steps, stochastic_above, bound, project)

  def sample_one(params, key, shape):
    key_start, key_steps = jax.random.split(key)
    x = project(jax.random.normal(key_start, shape))
    return walk.descend(params, key_steps, (x, jnp.zeros_like(x), walk.pairs[0, 0]), walk.pairs)

  return _batched(sample_one)


def make_ode_sampler(
  score: ScoreFn, schedule: Schedule, *, num_steps: int = 50, project: ProjectFn = centre
) -> tuple[Sampler, Callable]:
  """(sample, log_density) of the probability flow dy/du = noise(alpha y, t(u)), y = x / alpha.

  Both are of p_t at t = 0, noise sigma(0) included, and of each other: Heun's method on one grid,
  even in log u, u = sigma / alpha. Source: Song et al. (2021), eq. 13 and 39, in the variables of
  Karras et al. (2022).

  Args:
    score: of the whitened positions.
    schedule: of the noise.
    num_steps: steps of two score calls each.
    project: of the noise, as the energy's. The density is on its range, 3 (n - 1) dimensions for
      centred beads.

  Returns:
    sample(params, key, (samples, beads, 3)) in whitened units and
    log_density(params, x[n, 3]) -> [], which takes 3n Jacobian products at each score call.
  """
  times = jnp.asarray(log_snr_times(schedule, num_steps + 1), jnp.float32)

  def ratio(t):
    return schedule.sigma(t) / schedule.alpha(t)

  def flow(params, y, t):
    alpha, sigma = _levels(schedule, t)
    return -sigma * score(params, alpha * project(y), t)

  def heun(params, y, t, s):
    h = ratio(s) - ratio(t)
    first = flow(params, y, t)
    return y + 0.5 * h * (first + flow(params, y + h * first, s))

  def sample_one(params, key, shape):
    y = project(jax.random.normal(key, shape)) / schedule.alpha(times[0])
    y, _ = jax.lax.scan(
      lambda y, pair: (heun(params, y, *pair), None), y, (times[:-1], times[1:]))
    return schedule.alpha(times[-1]) * y

  def log_density(params, x):
    def step(y, pair):
      following, (t, s) = heun(params, y, *pair), pair
      ends = [ratio(t) * _divergence(lambda y, t=t: flow(params, y, t), end)
              for end, t in zip((y, following), pair, strict=True)]
      # In log u, where u × divergence is flat at both ends, the trapezium is exact there.
      return following, 0.5 * jnp.log(ratio(s) / ratio(t)) * sum(ends)

    # The volume of y grows along the flow; its log is what the density lost.
    y, growth = jax.lax.scan(
      step, project(x) / schedule.alpha(times[-1]), (times[::-1][:-1], times[::-1][1:]))
    dimensions = _divergence(project, x)
    end = schedule.alpha(times[0]) * y
    base = -0.5 * jnp.sum(end**2) - 0.5 * dimensions * jnp.log(2 * jnp.pi)
    shrink = jnp.log(schedule.alpha(times[0])) - jnp.log(schedule.alpha(times[-1]))
    return base + jnp.sum(growth) + dimensions * shrink

  return _batched(sample_one), log_density


class Walk(NamedTuple):
  """The DPM-Solver's way down: its times [steps, 2], one step, and all that are left."""

  pairs: Array
  step: Callable
  descend: Callable


def make_walk(
  score: ScoreFn, schedule: Schedule, num_steps: int, stochastic_above: float, bound: float,
  project: ProjectFn
) -> Walk:
  """step(params, (x, last, last_t), key, t, s) -> ((x_s, clean, t), the noise that it added).

  descend(params, key, (x, last, last_t), pairs) -> x_0 takes the steps of `pairs` and the last one,
  from t = 0 to no noise.
  """
  times = log_snr_times(schedule, num_steps)
  denoise = _make_denoiser(score, schedule, bound, project)

  def step(params, carry, key, t, s):
    x, last, last_t = carry
    sigma_t, (alpha_s, sigma_s) = schedule.sigma(t), _levels(schedule, s)
    clean = denoise(params, x, t)
    log_snr = [_log_snr(schedule, time) for time in (last_t, t, s)]
    h = log_snr[2] - log_snr[1]
    r = (log_snr[1] - log_snr[0]) / h
    multistep = (1 + 1 / (2 * r)) * clean - 1 / (2 * r) * last
    estimate = jnp.where(r > 0, multistep, clean)
    eta = jnp.where(sigma_s > stochastic_above, 1.0, 0.0)
    x = (sigma_s / sigma_t) * jnp.exp(-eta * h) * x - alpha_s * jnp.expm1(-(1 + eta) * h) * estimate
    noise = jax.random.normal(key, x.shape, x.dtype)
    x = project(x + sigma_s * jnp.sqrt(-jnp.expm1(-2 * eta * h)) * noise)
    return (x, clean, t), project(noise)

  def descend(params, key, carry, pairs):
    (x, _, _), _ = jax.lax.scan(
      lambda carry, inputs: (step(params, carry, inputs[0], *inputs[1])[0], None),
      carry, (jax.random.split(key, len(pairs)), pairs))
    end = jnp.float32(times[-1])
    return 0.5 * (x / schedule.alpha(end) + denoise(params, x, end))

  pairs = np.stack([times[:-1], times[1:]], axis=1)
  return Walk(jnp.asarray(pairs, jnp.float32), step, descend)


def _divergence(field: Callable, x: Float[Array, '*shape']) -> Float[Array, '']:
  """Σ_i ∂field_i/∂x_i, exact."""
  basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
  columns = jax.vmap(lambda v: jnp.vdot(v, jax.jvp(field, (x,), (v,))[1]))(basis)
  return jnp.sum(columns)


def _make_denoiser(score: ScoreFn, schedule: Schedule, bound: float, project: ProjectFn):
  """denoise(params, x_t, t) = clip((x_t + sigma² score) / alpha, ±bound), projected."""
  def denoise(params, x, t):
    alpha, sigma = _levels(schedule, t)
    clean = (x + sigma**2 * score(params, x, t)) / alpha
    return project(jnp.clip(clean, -bound, bound))
  return denoise


def _make_sampler(step, denoise, times: Times, project: ProjectFn) -> Sampler:
  """Scans `step` down the grid and ends on the x_0 estimate."""
  def sample_one(params, key, shape):
    key_start, key_steps = jax.random.split(key)
    x = project(jax.random.normal(key_start, shape))
    pairs = jnp.asarray(np.stack([times[:-1], times[1:]], axis=1), jnp.float32)
    keys = jax.random.split(key_steps, len(pairs))
    x, _ = jax.lax.scan(
      lambda x, inputs: (step(params, x, inputs[0], *inputs[1]), None), x, (keys, pairs))
    return denoise(params, x, jnp.float32(times[-1]))
  return _batched(sample_one)


def _batched(sample_one) -> Sampler:
  def sample(params: Params, key: PRNGKey, shape: tuple[int, int, int]):
    keys = jax.random.split(key, shape[0])
    return jax.vmap(lambda key: sample_one(params, key, shape[1:]))(keys)
  return sample


def _levels(schedule: Schedule, t):
  return schedule.alpha(t), schedule.sigma(t)


def _log_snr(schedule: Schedule, t):
  return jnp.log(schedule.alpha(t)) - jnp.log(schedule.sigma(t))
