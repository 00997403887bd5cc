"""Denoising on a Gaussian, where the least loss is known; augmentation; sums of losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import systems
from twoforone import geometry
from twoforone.losses.denoising import (
  add_losses,
  make_denoising_loss,
  make_loss_by_sigma,
  with_random_rotation,
)
from twoforone.schedule import cosine_schedule

SCHEDULE = cosine_schedule()
VARIANCE = 0.6
BEADS = 5
COUNT = 10_000
KEYS = jax.random.split(jax.random.key(0), COUNT)
DATA = systems.gaussian_data(jax.random.key(1), (COUNT, BEADS, 3), VARIANCE)
TRUTH = systems.make_gaussian_score(SCHEDULE, VARIANCE)


def scaled_score(params, x, t):
  """The true score times `params`."""
  return params * TRUTH(None, x, t)


def denoising(t, **options):
  return make_denoising_loss(
    scaled_score, SCHEDULE, draw_level=lambda key: jnp.float32(t), **options)


@functools.cache
def compiled(t, distance=jnp.square):
  loss = denoising(t, distance=distance)
  return jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0, 0)))


def values_and_gradients(params, *options):
  """Per example, [N] each."""
  return [np.asarray(a, np.float64) for a in compiled(*options)(jnp.float32(params), KEYS, DATA)]


def standard_error(sample):
  return sample.std(axis=0) / np.sqrt(len(sample))


@pytest.mark.parametrize('t', [0.01, 0.3])
def test_least_denoising_loss_is_the_posterior_variance_of_the_noise(t):
  # The noise given x_t has variance alpha² v / (alpha² v + sigma²) in each of 3 (n - 1) directions.
  alpha, sigma = SCHEDULE.alpha(jnp.float32(t)), SCHEDULE.sigma(jnp.float32(t))
  least = (BEADS - 1) / BEADS * alpha**2 * VARIANCE / (alpha**2 * VARIANCE + sigma**2)
  loss, gradient = values_and_gradients(1.0, t)
  assert abs(loss.mean() - least) < 4 * standard_error(loss)
  assert abs(gradient.mean()) < 4 * standard_error(gradient)


def test_the_loss_at_each_sigma_is_the_posterior_variance_there():
  noise, sigmas = cosine_schedule(10_000), np.array([0.002, 0.004, 0.03, 0.3, 0.7])
  score = systems.make_gaussian_score(noise, VARIANCE)
  curve = jax.jit(make_loss_by_sigma(score, noise, sigmas))(None, KEYS[0], DATA)
  signal = (1 - sigmas**2) * VARIANCE
  least = (BEADS - 1) / BEADS * signal / (signal + sigmas**2)
  # A normal error in D = 3 (n - 1) directions: its mean square spreads by sqrt(2 / D); k = 4.
  error = np.sqrt(2 / (3 * BEADS - 3) / COUNT)
  np.testing.assert_allclose(curve, least, rtol=4 * error)
  # A score of zero has learned nothing: the whole of the centred noise is left at every sigma.
  nothing = make_loss_by_sigma(lambda params, x, t: jnp.zeros_like(x), noise, sigmas)
  np.testing.assert_allclose(
    jax.jit(nothing)(None, KEYS[0], DATA), (BEADS - 1) / BEADS, rtol=4 * error)


def test_a_wrong_scale_is_seen_in_loss_and_gradient():
  loss, _ = values_and_gradients(1.0, 0.3)
  for params, sign in ((1.1, 1), (0.9, -1)):
    wrong, gradient = values_and_gradients(params, 0.3)
    difference = wrong - loss
    assert difference.mean() > 4 * standard_error(difference)
    assert sign * gradient.mean() > 4 * standard_error(gradient)


def test_weight_and_distance_act_on_the_error():
  loss = denoising(0.3)(1.0, KEYS[0], DATA[0])
  weighted = denoising(0.3, weight=lambda t: 5 * t)(1.0, KEYS[0], DATA[0])
  np.testing.assert_allclose(weighted, 1.5 * loss, rtol=1e-5)
  # A score of zero leaves the noise itself: sqrt(2/pi) std for L1, variance for L2.
  std = np.sqrt((BEADS - 1) / BEADS)
  for distance, expected in ((jnp.abs, np.sqrt(2 / np.pi) * std), (jnp.square, std**2)):
    sample, _ = values_and_gradients(0.0, 0.3, distance)
    assert abs(sample.mean() - expected) < 4 * standard_error(sample)


def test_rotation_leaves_an_invariant_loss_alone_and_turns_vectors_together():
  x = DATA[0]
  quads = jnp.array([[0, 1, 2, 3], [1, 2, 3, 4]])

  def invariant(params, key, example):
    x, f = example
    return jnp.sum(geometry.signed_volumes(x, quads)) + jnp.sum(x * f)

  rotated = jax.jit(with_random_rotation(invariant))
  expected = invariant(None, None, (x, 2 * x))
  for key in KEYS[:3]:
    np.testing.assert_allclose(rotated(None, key, (x, 2 * x)), expected, rtol=1e-5)  # float32


def test_augmentation_turns_uniformly():
  # A coordinate of a uniform point of the sphere is uniform: means 0, 1/3 and 1/5 of its powers.
  arrow = jnp.zeros((BEADS, 3)).at[0].set(jnp.array([2.0, -1.0, 0.5]) / np.sqrt(5.25))
  turn = with_random_rotation(lambda params, key, x: x[0])
  seen = np.asarray(jax.jit(jax.vmap(turn, in_axes=(None, 0, None)))(None, KEYS, arrow), np.float64)
  for power, mean in ((1, 0.0), (2, 1 / 3), (3, 0.0), (4, 1 / 5)):
    sample = seen**power
    assert (np.abs(sample.mean(axis=0) - mean) < 4.5 * standard_error(sample)).all()


def test_losses_add_up_each_with_its_own_key():
  def plain(params, key, x):
    return params * jnp.sum(x**2)

  def noisy(params, key, x):
    return jax.random.normal(key)

  x = DATA[0]
  total = add_losses((2.0, plain), (0.5, plain))(3.0, KEYS[0], x)
  np.testing.assert_allclose(total, 2.5 * plain(3.0, None, x), rtol=1e-6)
  assert abs(add_losses((1.0, noisy), (-1.0, noisy))(None, KEYS[0], x)) > 1e-3
