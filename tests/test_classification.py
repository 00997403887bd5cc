"""Classification on a Gaussian: the true log-densities are a stationary point, others are worse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import systems
from twoforone.losses import noise_levels
from twoforone.losses.classification import (
  make_denoising_classification_loss,
  make_offset,
  near_or_far,
)
from twoforone.losses.denoising import make_denoising_loss
from twoforone.schedule import cosine_schedule

SCHEDULE = cosine_schedule()
VARIANCE = 0.5
BEADS = 5
COUNT = 10_000
KEYS = jax.random.split(jax.random.key(0), COUNT)
DATA = systems.gaussian_data(jax.random.key(1), (COUNT, BEADS, 3), VARIANCE)
GAUSSIAN = systems.make_gaussian_energy(SCHEDULE, VARIANCE)
LOW = noise_levels.log_uniform_sigma(SCHEDULE, 0.02, 0.6)
MIXED = noise_levels.mix_levels(noise_levels.uniform_times(0.0, 0.999), LOW)


def energy(params, x, t):
  """The true energy times `params`."""
  return params * GAUSSIAN(None, x, t)


def offset(params, t):
  """-log of the normaliser of the true density, off by params log sigma."""
  variance = SCHEDULE.alpha(t) ** 2 * VARIANCE + SCHEDULE.sigma(t) ** 2
  return -1.5 * (BEADS - 1) * jnp.log(variance) + params * jnp.log(SCHEDULE.sigma(t))


@functools.cache
def compiled(draw_level, near_fraction):
  """The classification alone."""
  loss = make_denoising_classification_loss(
    energy, offset, SCHEDULE, draw_level=draw_level, weight=lambda t: 0.0 * t,
    draw_other=near_or_far(SCHEDULE, draw_level, width=0.3, near_fraction=near_fraction))
  return jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0, 0)))


def values_and_gradients(scale, tilt, *, draw_level=MIXED, near_fraction=1.0):
  """Per example: losses [N] and gradients {'energy', 'offset'} [N]."""
  params = {'energy': jnp.float32(scale), 'offset': jnp.float32(tilt)}
  found = compiled(draw_level, near_fraction)(params, KEYS, DATA)
  return jax.tree.map(lambda a: np.asarray(a, np.float64), found)


def standard_error(sample):
  return sample.std() / np.sqrt(len(sample))


@pytest.mark.parametrize('draw_level, near_fraction', [(LOW, 1.0), (MIXED, 1.0), (MIXED, 0.0)],
                         ids=['low and near', 'mixed and near', 'mixed and far'])
def test_the_truth_is_stationary(draw_level, near_fraction):
  # Near pairs would fail this (by 50 standard errors) if (t, s) were likelier than (s, t).
  _, gradients = values_and_gradients(
    1.0, 0.0, draw_level=draw_level, near_fraction=near_fraction)
  for gradient in gradients.values():
    assert standard_error(gradient) > 0
    assert abs(gradient.mean()) < 4 * standard_error(gradient)


@pytest.mark.parametrize('scale, tilt', [(1.5, 0.0), (0.6, 0.0), (1.0, 1.0), (1.0, -1.0)])
def test_a_wrong_scale_or_relative_normaliser_is_worse(scale, tilt):
  truth, _ = values_and_gradients(1.0, 0.0)
  wrong, _ = values_and_gradients(scale, tilt)
  assert (wrong - truth).mean() > 4 * standard_error(wrong - truth)


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
