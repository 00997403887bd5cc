"""Distributions of noise levels against their formulas, weights against theirs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone.losses import noise_levels
from twoforone.schedule import cosine_schedule

SCHEDULE = cosine_schedule()
COUNT = 20_000
ABAR = np.cumprod(1 - np.clip(1 - np.divide(*(
  np.cos((np.arange(1000) + k + 8) / 1008 * np.pi / 2) ** 2 for k in (1, 0))), 0, 0.999))
RATE = 1 - ABAR / np.concatenate([[1.0], ABAR[:-1]])


def draw(draw_level, count=COUNT, seed=0):
  keys = jax.random.split(jax.random.key(seed), count)
  return np.asarray(jax.jit(jax.vmap(draw_level))(keys), np.float64)


def assert_fraction(flags, expected):
  """The fraction of set flags within 4 standard errors."""
  assert abs(np.mean(flags) - expected) < 4 * np.sqrt(expected * (1 - expected) / len(flags))


def assert_uniform(u):
  """Kolmogorov-Smirnov: sup |F_N - F| < 1.95 / sqrt(N) holds with probability 0.999."""
  u, n = np.sort(u), len(u)
  grid = np.arange(n) / n
  assert max(np.abs(u - grid).max(), np.abs(u - grid - 1 / n).max()) < 1.95 / np.sqrt(n)


@pytest.mark.parametrize('weights, formula', [
  (noise_levels.p2_weights(SCHEDULE), np.ones(1000)),
  (noise_levels.p2_weights(SCHEDULE, gamma=0.5, k=2.0), (2 + ABAR / (1 - ABAR)) ** -0.5),
  (noise_levels.score_matching_weights(SCHEDULE), 1 / (1 - ABAR)),
  (noise_levels.higher_until_weights(SCHEDULE, 100),
   np.where(np.arange(1000) < 100, 10.0, 10 / 9)),
  (noise_levels.lower_bound_weights(SCHEDULE, 1000.0),
   np.minimum(1 / ((1 - ABAR) * (1 - RATE)), 1000.0)),
], ids=['uniform', 'P2', 'score matching', 'higher until', 'lower bound'])
def test_weights_follow_their_formula(weights, formula):
  # The schedule is float32; sigma² at level 0 is 4e-5 and known to about 1e-4 of itself.
  np.testing.assert_allclose(weights / weights.sum(), formula / formula.sum(), rtol=1e-3)


def test_published_shares_of_score_matching():
  share = noise_levels.score_matching_weights(SCHEDULE)
  share = np.cumsum(share / share.sum())
  np.testing.assert_allclose(share[[0, 9, 99]], [0.28, 0.73, 0.96], atol=0.005)


def test_half_of_the_draws_are_below_level_100():
  weights = noise_levels.higher_until_weights(SCHEDULE, 100)
  assert weights[:100].sum() == pytest.approx(weights[100:].sum())
  t = draw(noise_levels.categorical_levels(weights))
  assert_fraction(t < 0.0995, 0.5)
  np.testing.assert_allclose(1000 * t, np.round(1000 * t), atol=1e-3)  # levels only
  assert t.min() >= 0 and t.max() < 0.9995


def test_categorical_draws_each_level_as_often_as_its_weight():
  t = draw(noise_levels.categorical_levels(np.array([1.0, 0.0, 2.0, 5.0])))
  for level, probability in ((0, 1 / 8), (2, 2 / 8), (3, 5 / 8)):
    assert_fraction(t == level / 4, probability)
  assert not (t == 1 / 4).any()


def test_uniform_times_are_uniform():
  assert_uniform((draw(noise_levels.uniform_times(0.2, 0.7)) - 0.2) / 0.5)


def test_log_uniform_sigma_is_log_uniform():
  t = draw(noise_levels.log_uniform_sigma(SCHEDULE, 0.01, 0.3))
  log_sigma = np.log(np.asarray(SCHEDULE.sigma(jnp.asarray(t, jnp.float32)), np.float64))
  assert_uniform((log_sigma - np.log(0.01)) / np.log(30.0))
  with pytest.raises(AssertionError):  # and the time itself is not
    assert_uniform((t - t.min()) / (t.max() - t.min()))


def test_mixture_takes_its_fraction_from_the_second():
  first, second = noise_levels.uniform_times(0.5, 1.0), noise_levels.uniform_times(0.0, 0.5)
  t = draw(noise_levels.mix_levels(first, second, 0.3))
  assert_fraction(t < 0.5, 0.3)
  assert_uniform(t[t < 0.5] / 0.5)


def test_low_noise_weight():
  weight = noise_levels.low_noise_weight(SCHEDULE, strength=0.01, sigma_floor=0.05, maximum=4.0)
  t = jnp.array([0.0, 0.02, 0.1, 0.9])
  sigma = np.asarray(SCHEDULE.sigma(t), np.float64)
  expected = np.minimum(1 + 0.01 / (sigma**2 + 0.05**2), 4.0)
  np.testing.assert_allclose(weight(t), expected, rtol=1e-5)
  assert expected[0] == 4.0 and expected[-1] < 1.02


@pytest.mark.parametrize('make, message', [
  (lambda: noise_levels.higher_until_weights(SCHEDULE, 1000), 'level: found 1000'),
  (lambda: noise_levels.categorical_levels(np.array([1.0, -1.0])), 'weights: expected'),
  (lambda: noise_levels.categorical_levels(np.zeros(3)), 'weights: expected'),
  (lambda: noise_levels.log_uniform_sigma(SCHEDULE, 0.001, 0.3), r'sigma: found \[0\.001, 0\.3\]'),
  (lambda: noise_levels.log_uniform_sigma(SCHEDULE, 0.3, 0.1), r'sigma: found \[0\.3, 0\.1\]'),
  (lambda: noise_levels.mix_levels(jax.random.uniform, jax.random.uniform, 1.5),
   r'fraction: found 1\.5'),
])
def test_bad_values_are_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()
