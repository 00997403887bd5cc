"""Schedules against their published tables, their limits and their inverses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone import schedule

SCHEDULES = {
  'cosine': schedule.cosine_schedule(),
  'linear': schedule.linear_schedule(),
  'vp': schedule.vp_schedule(),
}
COSINE = SCHEDULES['cosine']

# level, sqrt(abar), sigma as printed for the published models (cosine, 1000 levels).
PUBLISHED = (
  (0, '0.999979', '0.00643'), (5, '0.999840', '0.01790'), (8, '0.999727', '0.02337'),
  (10, '0.999639', '0.02685'), (12, '0.999542', '0.03025'), (15, '0.999378', '0.03525'),
  (20, '0.999057', '0.04343'), (100, '0.985685', '0.16860'), (500, '0.701630', '0.71254'))

# t, sigma of the VP-SDE with beta from 0.1 to 20, as printed.
VP_PUBLISHED = ((1e-5, '0.0010'), (1e-4, '0.0032'), (1e-3, '0.0105'), (3e-3, '0.020'),
                (0.01, '0.045'), (0.03, '0.109'), (0.099, '0.319'), (0.3, '0.777'), (0.6, '0.987'))


def as_printed(value, text):
  """The value rounded to as many decimals as the text has."""
  return f'{float(value):.{len(text.split(".")[1])}f}' == text


@pytest.mark.parametrize('name', SCHEDULES)
def test_variance_is_preserved_and_signal_to_noise_falls(name):
  alpha, sigma, _, _ = SCHEDULES[name]
  t = jnp.linspace(1e-5, 1, 3001)  # the VP-SDE is constant below 1e-5
  np.testing.assert_allclose(alpha(t) ** 2 + sigma(t) ** 2, 1, atol=3e-7)  # float32
  log_snr = 2 * (np.log(alpha(t)) - np.log(sigma(t)))
  end = 3001 if name == 'vp' else 2998  # a table is constant above its last level
  assert (np.diff(log_snr[:end]) < 0).all()


@pytest.mark.parametrize('level, alpha, sigma', PUBLISHED)
def test_cosine_table_is_the_published_one(level, alpha, sigma):
  t = jnp.float32(schedule.level_time(COSINE, level))
  assert as_printed(COSINE.alpha(t), alpha)
  assert as_printed(COSINE.sigma(t), sigma)


def test_last_level_of_the_cosine_table():
  t = jnp.float32(schedule.level_time(COSINE, 999))
  assert f'{float(COSINE.alpha(t)):.2e}' == '4.93e-05'
  assert as_printed(COSINE.sigma(t), '1.00000')


def test_cosine_rates_are_the_published_ones():
  abar = np.asarray(COSINE.alpha(jnp.arange(1000) / 1000), np.float64) ** 2
  rate = 1 - abar[1:] / abar[:-1]
  # alpha is float32: 1 - ratio is known to a few 1e-7.
  for level, beta in ((20, 1.385e-4), (100, 5.319e-4), (500, 3.156e-3), (999, 0.999)):
    np.testing.assert_allclose(rate[level - 1], beta, atol=5e-7)


def test_linear_table_is_the_product_of_its_rates():
  linear = schedule.linear_schedule(500)
  abar = np.cumprod(1 - np.linspace(2e-4, 0.04, 500))
  np.testing.assert_allclose(linear.alpha(jnp.arange(500) / 500) ** 2, abar, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('t, sigma', VP_PUBLISHED)
def test_vp_sigma_is_the_published_one(t, sigma):
  assert as_printed(SCHEDULES['vp'].sigma(jnp.float32(t)), sigma)


@pytest.mark.parametrize('name', SCHEDULES)
def test_there_is_noise_at_time_zero(name):
  # The score is divided by sigma.
  assert 1e-4 < SCHEDULES[name].sigma(jnp.float32(0.0)) < 0.02


@pytest.mark.parametrize('name', SCHEDULES)
def test_time_is_the_inverse_of_sigma(name):
  s = SCHEDULES[name]
  with jax.enable_x64():
    t = jnp.linspace(1e-5, 0.999, 1001)
    np.testing.assert_allclose(s.time(s.sigma(t)), t, atol=1e-9)
  # In float32 sigma says nothing more about t once 1 - sigma is of the order of its rounding.
  t = jnp.linspace(1e-5, 0.9, 1001)
  np.testing.assert_allclose(s.time(s.sigma(t)), t, atol=1e-4)
  np.testing.assert_allclose(s.sigma(s.time(jnp.float32(0.02))), 0.02, rtol=1e-4)


def test_perturb_scales_signal_and_noise():
  x, noise = jax.random.normal(jax.random.key(0), (2, 5, 3))
  t = jnp.float32(0.3)
  np.testing.assert_allclose(
    schedule.perturb(COSINE, x, noise, t), COSINE.alpha(t) * x + COSINE.sigma(t) * noise)


@pytest.mark.parametrize('level', [-1, 1000])
def test_a_level_outside_the_table_is_named(level):
  with pytest.raises(ValueError, match=f'level: found {level}, expected 0 to 999'):
    schedule.level_time(COSINE, level)


def test_rates_outside_0_to_1_are_named():
  with pytest.raises(ValueError, match='beta: found'):
    schedule.linear_schedule(10)  # scaled by 100, the last rate is 2
