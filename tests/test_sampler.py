"""A Gaussian score gives that Gaussian; what the grid costs follows from its own recursion.

With a linear score every step is linear, so the variance of the samples is known in closed form
from the grid alone; it must be met within the standard error, and be near that of the data.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import systems
from twoforone import energy, resampled, sampler
from twoforone.geometry import keep
from twoforone.schedule import cosine_schedule, vp_schedule

SCHEDULE = cosine_schedule()
SHAPE = (500, 5, 3)
FREEDOM = 500 * 12  # the centre of mass does not move
TABLE = sampler.table_times(SCHEDULE)
FINE = sampler.log_snr_times(SCHEDULE, 1000)
SOFT, STIFF = 0.5, 0.001


def grid(times, variance):
  """alpha, sigma and the gain c of the exact x_0 estimate, c x_t, at each time."""
  t = jnp.asarray(times, jnp.float32)
  alpha, sigma = (np.asarray(f(t), np.float64) for f in (SCHEDULE.alpha, SCHEDULE.sigma))
  return alpha, sigma, alpha * variance / (alpha**2 * variance + sigma**2)


def ancestral_variance(times, variance):
  """Of the reverse chain: each step multiplies x by a gain and adds noise of known variance."""
  alpha, sigma, c = grid(times, variance)
  found = 1.0
  for k in range(len(times) - 1):
    ratio = (alpha[k] * sigma[k + 1] / (alpha[k + 1] * sigma[k])) ** 2
    gain = alpha[k + 1] * (1 - ratio) * c[k] + ratio * alpha[k + 1] / alpha[k]
    found = gain**2 * found + sigma[k + 1] ** 2 * (1 - ratio)
  return c[-1] ** 2 * found


def variance_of(x):
  """Per degree of freedom, and its standard error for Gaussian samples of that variance."""
  value = float(np.sum(np.asarray(x, np.float64) ** 2)) / FREEDOM
  return value, value * np.sqrt(2 / FREEDOM)


def pushed_score(params, x, t):
  """The score of a Gaussian, `push` off at the first level and, like a network, blind far out."""
  score = systems.make_gaussian_score(SCHEDULE, params['variance'])(None, x, t)
  push = jnp.array([1.0, -1.0, 0.0, 0.0, 0.0])[:, None] * params['push'] * (t > 0.9985)
  return jnp.where(jnp.abs(x) < 6, score, 0.0) + push


@functools.cache
def compiled(name, bound=10.0):
  make = {
    'table': lambda: sampler.make_ancestral_sampler(pushed_score, SCHEDULE, bound=bound),
    'fine': lambda: sampler.make_ancestral_sampler(pushed_score, SCHEDULE, times=FINE, bound=bound),
    'dpm_solver': lambda: sampler.make_dpm_sampler(pushed_score, SCHEDULE, bound=bound)}[name]
  return jax.jit(make(), static_argnums=2)


def draw(name, variance, push=0.0, **options):
  params = {'variance': jnp.float32(variance), 'push': jnp.float32(push)}
  return compiled(name, **options)(params, jax.random.key(0), SHAPE)


# On the table 1000 steps lose 0.6 % of a soft variance; of a stiff one (a bond of 3 % of the width
# of the molecule) 13 %, a third of it in the last step to x_0. A grid even in log SNR loses less.
@pytest.mark.parametrize('name, times, variance, loss', [
  ('table', TABLE, SOFT, 0.01), ('table', TABLE, STIFF, 0.14), ('fine', FINE, STIFF, 0.05)])
def test_ancestral_sampler_gives_the_gaussian(name, times, variance, loss):
  x = draw(name, variance)
  found, error = variance_of(x)
  expected = ancestral_variance(times, variance)
  assert abs(found - expected) < 4 * error
  assert (1 - loss) * variance < expected < variance
  np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-6)


@pytest.mark.parametrize('variance', [SOFT, STIFF])
def test_dpm_sampler_gives_the_gaussian_soft_and_stiff(variance):
  x = draw('dpm_solver', variance)
  found, error = variance_of(x)
  # Second order: 0.5 % at 50 steps.
  assert abs(found - variance) < 4 * error + 0.006 * variance
  np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-6)


def test_dpm_sampler_is_of_second_order():
  # The flow alone is deterministic: one sample has the whole gain from noise to data.
  score = systems.make_gaussian_score(SCHEDULE, SOFT)
  key = jax.random.split(jax.random.key(0), 1)[0]
  start = jax.random.normal(jax.random.split(key)[0], (5, 3))
  start = start - start.mean(axis=0)
  error = []
  for num_steps in (20, 40):
    sample = sampler.make_dpm_sampler(
      score, SCHEDULE, num_steps=num_steps, stochastic_above=1.0)
    x = sample(None, jax.random.key(0), (1, 5, 3))[0]
    error.append(abs(float(jnp.vdot(x, start) / jnp.vdot(start, start)) - np.sqrt(SOFT)))
  assert 3 < error[0] / error[1] < 5


def test_samplers_work_where_the_closed_form_schedule_has_almost_no_noise():
  schedule = vp_schedule()
  sample = sampler.make_dpm_sampler(systems.make_gaussian_score(schedule, SOFT), schedule)
  found, error = variance_of(jax.jit(sample, static_argnums=2)(None, jax.random.key(0), SHAPE))
  assert abs(found - SOFT) < 4 * error + 0.01 * SOFT


@pytest.mark.parametrize('name', ['table', 'dpm_solver'])
def test_the_bound_does_not_act_on_a_good_score(name):
  np.testing.assert_array_equal(draw(name, SOFT), draw(name, SOFT, bound=1e6))


def test_a_bad_score_at_the_first_level_does_not_throw_samples_out():
  # An error of one standard deviation at alpha = 5e-5 is 20,000 in x_0.
  found, error = variance_of(draw('table', SOFT, push=1.0))
  assert abs(found - ancestral_variance(TABLE, SOFT)) < 4 * error
  assert variance_of(draw('table', SOFT, push=1.0, bound=1e6))[0] > 10 * found


def test_grids_start_at_noise_and_end_at_time_zero():
  assert TABLE[0] == 0.999 and TABLE[-1] == 0 and len(TABLE) == 1000
  times = sampler.log_snr_times(SCHEDULE, 50)
  assert len(times) == 50 and (np.diff(times) < 0).all()
  assert times[-1] < 1e-4 and SCHEDULE.alpha(jnp.float32(times[0])) < 0.02
  log_snr = np.log(SCHEDULE.alpha(jnp.asarray(times)) / SCHEDULE.sigma(jnp.asarray(times)))
  np.testing.assert_allclose(np.diff(log_snr), np.diff(log_snr).mean(), rtol=0.02)  # float32
  with pytest.raises(ValueError, match='num_steps: found 1'):
    sampler.log_snr_times(SCHEDULE, 1)


@pytest.mark.parametrize('variance', [SOFT, STIFF])
def test_the_flow_samples_a_gaussian_and_knows_its_density(variance):
  score = systems.make_gaussian_score(SCHEDULE, variance)
  sample, log_density = sampler.make_ode_sampler(score, SCHEDULE, num_steps=100)
  x = jax.jit(sample, static_argnums=2)(None, jax.random.key(4), SHAPE)
  noised = float(SCHEDULE.alpha(0.0) ** 2 * variance + SCHEDULE.sigma(0.0) ** 2)
  found, error = variance_of(x)
  # Heun's 100 steps leave a relative error of the standard deviation of about (Δ log u)²/6
  # = 0.001; the grid starts at sigma/alpha = 55, where the data are 1/55² of the noise.
  assert abs(found - noised) < 4 * error + 0.003 * noised
  exact = -0.5 * np.sum(np.asarray(x[:20], float) ** 2, axis=(1, 2)) / noised \
    - 6 * np.log(2 * np.pi * noised)
  density = jax.jit(jax.vmap(log_density, in_axes=(None, 0)))(None, x[:20])
  # Twelve dimensions, each wrong by the relative error above.
  np.testing.assert_allclose(density, exact, atol=12 * 0.003)


def test_the_density_counts_the_dimensions_of_the_projection():
  """Uncentred toys keep all their dimensions: N(0, v) in 2-D at its own mean."""
  schedule, v = vp_schedule(), 0.3

  def score(params, x, t):
    return -x / (schedule.alpha(t) ** 2 * v + schedule.sigma(t) ** 2)

  _, log_density = sampler.make_ode_sampler(score, schedule, num_steps=100, project=keep)
  noised = float(schedule.alpha(0.0) ** 2 * v + schedule.sigma(0.0) ** 2)
  np.testing.assert_allclose(log_density(None, jnp.zeros((1, 2))), -np.log(2 * np.pi * noised),
                             atol=2 * 0.003)  # as above


PEAK, WIDTH, SHARE, WRONG = 2.0, 0.2, 0.8, 0.5


def two_peaks(params, x, t):
  """-log p_t of two normal peaks on a line, with a wrong share above sigma = 0.7, plus a level."""
  alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
  share = jnp.where(sigma > 0.7, params['share'], SHARE)
  logs = -0.5 * (x[0, 0] - alpha * PEAK * jnp.array([1.0, -1.0])) ** 2 / (
    (alpha * WIDTH) ** 2 + sigma**2)
  rest = 0.5 * jnp.sum(x[0, 1:] ** 2)
  return rest + params['level'] * t - jax.nn.logsumexp(
    logs, b=jnp.stack([share, 1 - share])) + 0.5 * jnp.log((alpha * WIDTH) ** 2 + sigma**2)


@functools.cache
def peaks(resample_above, threshold):
  """The resampled walk, or for 0 the plain one."""
  score = energy.make_score(two_peaks)
  if resample_above:
    return jax.jit(resampled.make_resampled_sampler(
      two_peaks, score, SCHEDULE, num_steps=60, resample_above=resample_above,
      threshold=threshold, project=keep), static_argnums=2)
  return jax.jit(sampler.make_dpm_sampler(
    score, SCHEDULE, num_steps=60, stochastic_above=0.01, project=keep), static_argnums=2)


def share_of_the_right_peak(resample_above, share, level=0.0, threshold=0.5, count=4000):
  params = {'share': jnp.float32(share), 'level': jnp.float32(level)}
  draw = peaks(resample_above, threshold)
  x = np.asarray(draw(params, jax.random.key(0), (count, 1, 2)))[:, 0, 0]
  assert np.isfinite(x).all() and (np.abs(np.abs(x) - PEAK) < 6 * WIDTH).all()
  assert len(np.unique(x)) > 0.99 * count  # copies have parted; float32 has equal ones by chance
  return np.mean(x > 0), np.std(np.abs(x))


def test_resampling_gives_what_the_energy_says_where_the_walk_does_not():
  error = np.sqrt(SHARE * (1 - SHARE) / 4000)
  walked, _ = share_of_the_right_peak(0, WRONG)
  assert walked < SHARE - 20 * error  # a wrong score at high noise spoils the populations
  found, width = share_of_the_right_peak(0.4, WRONG)
  # Copies are not independent: over seeds the share scatters by 0.009, 1.4 of the `error`.
  assert abs(found - SHARE) < 4 * 2 * error
  assert abs(width - WIDTH) < 4 * WIDTH / np.sqrt(2 * 1000)
  # Weights that are used but once, at the end, say the same.
  assert abs(share_of_the_right_peak(0.4, WRONG, threshold=0.0)[0] - SHARE) < 4 * 2 * error
  # Above 0.75 the energy is wrong too, and resampling there follows it.
  assert share_of_the_right_peak(0.75, WRONG)[0] < SHARE - 20 * error


def test_resampling_leaves_a_right_walk_alone_and_levels_have_no_say():
  found, width = share_of_the_right_peak(0.4, SHARE)
  assert abs(found - SHARE) < 4 * np.sqrt(SHARE * (1 - SHARE) / 4000)
  assert abs(width - WIDTH) < 4 * WIDTH / np.sqrt(2 * 4000)
  # A constant of each level cancels in the weights, to float32.
  np.testing.assert_allclose(share_of_the_right_peak(0.4, WRONG, level=30.0),
                             share_of_the_right_peak(0.4, WRONG), atol=2e-3)


def test_samples_without_finite_energy_have_no_weight():
  def broken(params, x, t):
    is_lost = (x[0, 0] > 1) & (SCHEDULE.sigma(t) > 0.9)
    return jnp.where(is_lost, jnp.nan, 0.5) * jnp.sum(x**2)

  sample = jax.jit(resampled.make_resampled_sampler(
    broken, energy.make_score(broken), SCHEDULE, num_steps=30, project=keep), static_argnums=2)
  x = np.asarray(sample(None, jax.random.key(0), (500, 1, 2)))
  # Not the offspring of a single one: those that are left are normal, of width one.
  assert np.isfinite(x).all() and abs(x[:, 0, 1].std() - 1) < 0.2
  assert np.isnan(np.asarray(resampled.make_resampled_sampler(
    lambda params, x, t: jnp.nan * jnp.sum(x), lambda params, x, t: jnp.nan * x, SCHEDULE,
    num_steps=30, project=keep)(None, jax.random.key(0), (3, 1, 2)))).all()


def test_the_resampled_walk_of_centred_beads_gives_their_gaussian():
  def gaussian(params, x, t):
    variance = SCHEDULE.alpha(t) ** 2 * SOFT + SCHEDULE.sigma(t) ** 2
    return 0.5 * jnp.sum((x - x.mean(axis=0)) ** 2) / variance

  sample = jax.jit(resampled.make_resampled_sampler(
    gaussian, energy.make_score(gaussian), SCHEDULE), static_argnums=2)
  x = sample(None, jax.random.key(0), SHAPE)
  np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-5)
  found, error = variance_of(x)
  # The walk alone is right to 2 %; a resampling copies some, which doubles the error at most.
  assert abs(found - SOFT) < 4 * 2 * error + 0.02 * SOFT


def test_copies_stand_in_no_order():
  w = jnp.array([0.0, 0.5, 0.0, 0.25, 0.25])
  found = np.asarray(resampled._draw_again(jax.random.key(0), w))
  assert sorted(found)[0] >= 1 and not np.isin(found, 2).any()
  counts = np.bincount(found, minlength=5)
  assert counts.sum() == 5 and counts[1] in (2, 3)
  # With one heavy ancestor its copies are spread over the samples, not side by side.
  x = np.asarray(peaks(0.4, 0.0)({'share': jnp.float32(WRONG), 'level': jnp.float32(0)},
                                 jax.random.key(0), (4000, 1, 2)))[:, 0]
  gap = np.linalg.norm(np.diff(x, axis=0), axis=1)
  apart = np.linalg.norm(x[1:] - np.random.default_rng(0).permutation(x)[1:], axis=1)
  assert abs(np.mean(gap) / np.mean(apart) - 1) < 0.1


@pytest.mark.parametrize('above, beyond', [(0.01, 0.01), (0.9999, 0.01), (0.0, 0.01)])
def test_weights_need_steps_above_and_copies_steps_below(above, beyond):
  with pytest.raises(ValueError, match=f'resample_above: found {above} in 30 steps, expected one'):
    resampled.make_resampled_sampler(
      two_peaks, energy.make_score(two_peaks), SCHEDULE, num_steps=30, resample_above=above,
      stochastic_above=beyond)
