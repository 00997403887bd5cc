"""Classification: the true log-densities are a stationary point, others are worse.

On a Gaussian, and on two basins far apart, whose weights the denoising loss does not see.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import systems
from twoforone.geometry import keep
from twoforone.losses import noise_levels
from twoforone.losses.classification import (
  make_denoising_classification_loss,
  make_offset,
  near_or_far,
)
from twoforone.losses.denoising import make_denoising_loss
from twoforone.schedule import cosine_schedule, vp_schedule

SCHEDULE = cosine_schedule()
SCHEDULES = {'cosine': SCHEDULE, 'vp': vp_schedule()}  # a table, and continuous in time
VARIANCE = 0.5
BEADS = 5
COUNT = 10_000
KEYS = jax.random.split(jax.random.key(0), COUNT)
DATA = systems.gaussian_data(jax.random.key(1), (COUNT, BEADS, 3), VARIANCE)


def low_levels(noise):
  return noise_levels.log_uniform_sigma(noise, 0.02, 0.6)


def mixed_levels(noise):
  return noise_levels.mix_levels(noise_levels.uniform_times(0.0, 0.999), low_levels(noise))


LOW, MIXED = low_levels(SCHEDULE), mixed_levels(SCHEDULE)


def make_energy(noise):
  """The true energy times `params`."""
  gaussian = systems.make_gaussian_energy(noise, VARIANCE)
  return lambda params, x, t: params * gaussian(None, x, t)


def make_normaliser(noise):
  """-log of the normaliser of the true density, off by params log sigma."""

  def offset(params, t):
    variance = noise.alpha(t) ** 2 * VARIANCE + noise.sigma(t) ** 2
    return -1.5 * (BEADS - 1) * jnp.log(variance) + params * jnp.log(noise.sigma(t))

  return offset


energy, offset = make_energy(SCHEDULE), make_normaliser(SCHEDULE)


@functools.cache
def compiled(name, levels, near_fraction):
  """The classification alone."""
  noise = SCHEDULES[name]
  draw_level = levels(noise)
  loss = make_denoising_classification_loss(
    make_energy(noise), make_normaliser(noise), noise, draw_level=draw_level,
    weight=lambda t: 0.0 * t,
    draw_other=near_or_far(noise, draw_level, width=0.3, near_fraction=near_fraction))
  return jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0, 0)))


def values_and_gradients(name, scale, tilt, *, levels=mixed_levels, near_fraction=1.0):
  """Per example: losses [N] and gradients {'energy', 'offset'} [N]."""
  params = {'energy': jnp.float32(scale), 'offset': jnp.float32(tilt)}
  found = compiled(name, levels, near_fraction)(params, KEYS, DATA)
  return jax.tree.map(lambda a: np.asarray(a, np.float64), found)


def standard_error(sample):
  return sample.std() / np.sqrt(len(sample))


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('levels, near_fraction', [
  (low_levels, 1.0), (mixed_levels, 1.0), (mixed_levels, 0.0)],
  ids=['low and near', 'mixed and near', 'mixed and far'])
def test_the_truth_is_stationary(name, levels, near_fraction):
  # Near pairs would fail this (by 50 standard errors) if (t, s) were likelier than (s, t).
  _, gradients = values_and_gradients(name, 1.0, 0.0, levels=levels, near_fraction=near_fraction)
  for gradient in gradients.values():
    assert standard_error(gradient) > 0
    assert abs(gradient.mean()) < 4 * standard_error(gradient)


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('scale, tilt', [(1.5, 0.0), (0.6, 0.0), (1.0, 1.0), (1.0, -1.0)])
def test_a_wrong_scale_or_relative_normaliser_is_worse(name, scale, tilt):
  truth, _ = values_and_gradients(name, 1.0, 0.0)
  wrong, _ = values_and_gradients(name, scale, tilt)
  assert (wrong - truth).mean() > 4 * standard_error(wrong - truth)


WEIGHT, APART, WIDTH = 0.3, 2.0, 0.2  # of the right one of two basins at ±APART, and their width


def basins(noise):
  """energy(tilt, x[1, 1], t): normalised, the right basin's log odds off by `tilt` at low noise.

  Exact for any tilt above sigma = 0.3, where noised basins are still 11 widths apart.
  """

  def energy(tilt, x, t):
    alpha, sigma = noise.alpha(t), noise.sigma(t)
    variance = (alpha * WIDTH) ** 2 + sigma**2
    fade = jax.nn.sigmoid(20 * (jnp.log(0.15) - jnp.log(sigma)))  # exp(-14) at 0.3
    odds = np.log(WEIGHT / (1 - WEIGHT)) + tilt * fade
    right, left = ((x[0, 0] - sign * alpha * APART) ** 2 / (2 * variance) for sign in (1, -1))
    return 0.5 * jnp.log(variance) - jnp.logaddexp(
      jax.nn.log_sigmoid(odds) - right, jax.nn.log_sigmoid(-odds) - left)

  return energy


@pytest.mark.parametrize('name', SCHEDULES)
def test_denoising_is_blind_to_the_weights_of_basins_and_classification_is_not(name):
  noise = SCHEDULES[name]
  energy, draw_level = basins(noise), low_levels(noise)
  plain = make_denoising_loss(
    lambda tilt, x, t: -jax.grad(energy, argnums=1)(tilt, x, t), noise, draw_level=draw_level,
    project=keep)
  classification = make_denoising_classification_loss(
    energy, lambda params, t: 0.0, noise, draw_level=draw_level, weight=lambda t: 0.0 * t,
    draw_other=near_or_far(noise, draw_level, width=0.3), project=keep)
  rng = np.random.default_rng(0)
  x = APART * np.where(rng.random(COUNT) < WEIGHT, 1, -1) + WIDTH * rng.standard_normal(COUNT)

  def both(tilt, key, x):
    return [jax.value_and_grad(loss)(tilt, key, x) for loss in (
      plain, lambda tilt, *rest: classification({'energy': tilt, 'offset': 0.0}, *rest))]

  run = jax.jit(jax.vmap(both, in_axes=(None, 0, 0)))
  found = {tilt: [np.asarray(a, np.float64) for pair in run(
    jnp.float32(tilt), KEYS, jnp.asarray(x, jnp.float32)[:, None, None]) for a in pair]
    for tilt in (-2.0, 0.0, 2.0)}
  *_, truth, gradient = found[0.0]
  assert abs(gradient.mean()) < 4 * standard_error(gradient)
  for tilt, sign in ((-2.0, -1), (2.0, 1)):
    _, blind, wrong, gradient = found[tilt]
    assert (wrong - truth).mean() > 4 * standard_error(wrong - truth)
    assert sign * gradient.mean() > 4 * standard_error(gradient)
    # Half way between basins, where the tilt bends the score, are exp(-14) of the examples.
    assert abs(blind.mean()) < 1e-3 * abs(gradient.mean())


def test_a_constant_offset_changes_nothing():
  # Only ratios of densities are seen.
  options = {'draw_level': MIXED,
             'draw_other': near_or_far(SCHEDULE, MIXED, width=0.3)}
  losses = [make_denoising_classification_loss(energy, shifted, SCHEDULE, **options)
            for shifted in (offset, lambda params, t: offset(params, t) + 7.0)]
  params = {'energy': jnp.float32(1.0), 'offset': jnp.float32(0.3)}
  values = [loss(params, KEYS[0], DATA[0]) for loss in losses]
  np.testing.assert_allclose(*values, rtol=1e-5)


def test_without_strength_it_is_the_denoising_loss():
  t = jnp.float32(0.2)
  loss = make_denoising_classification_loss(
    energy, offset, SCHEDULE, draw_level=lambda key: t, draw_other=lambda key, t: t, strength=0.0)
  plain = make_denoising_loss(
    systems.make_gaussian_score(SCHEDULE, VARIANCE), SCHEDULE, draw_level=lambda key: t)
  params = {'energy': jnp.float32(1.0), 'offset': jnp.float32(0.0)}
  samples = [np.asarray(jax.jit(jax.vmap(f, in_axes=(None, 0, 0)))(params, KEYS, DATA), np.float64)
             for f in (loss, plain)]
  # The same mean from independent draws.
  error = np.hypot(*map(standard_error, samples))
  assert abs(samples[0].mean() - samples[1].mean()) < 4 * error


def test_near_levels_are_normal_in_log_sigma_and_stay_in_the_table():
  draw_other = jax.jit(jax.vmap(near_or_far(SCHEDULE, LOW, width=0.2, near_fraction=1.0)))
  t = jnp.full(COUNT, 0.1, jnp.float32)
  step = jnp.log(SCHEDULE.sigma(draw_other(KEYS, t)) / SCHEDULE.sigma(t))
  step = np.asarray(step, np.float64)
  assert abs(step.mean()) < 4 * standard_error(step)
  assert abs((step**2).mean() - 0.04) < 4 * standard_error(step**2)
  s = draw_other(KEYS, jnp.where(jnp.arange(COUNT) % 2, 0.0, 0.999))  # from both ends
  assert s.min() >= 0 and s.max() < 0.9995 and jnp.isfinite(s).all()


def test_offset_is_linear_between_knots_in_log_sigma():
  init, learned = make_offset(SCHEDULE, num_knots=5)
  assert init().shape == (5,) and not init().any()
  knots = jnp.array([1.0, 2.0, 4.0, -1.0, 3.0])
  lowest = np.log(float(SCHEDULE.sigma(jnp.float32(0.0))))
  place = np.array([0, 1, 1.5, 3])
  t = SCHEDULE.time(jnp.asarray(np.exp(lowest * (1 - place / 4)), jnp.float32))
  found = jax.jit(jax.vmap(learned, in_axes=(None, 0)))(knots, jnp.append(t, 0.999))
  # float32, and a slope of 4 per knot.
  np.testing.assert_allclose(found, [1.0, 2.0, 3.0, -1.0, 3.0], atol=1e-3)
