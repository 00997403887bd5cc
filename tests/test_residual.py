"""The residual of an energy over the noise, in units of D β/2, where it is known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import models, residual
from tests import systems
from twoforone import schedule

VARIANCE, SCALE, BEADS, COUNT = 0.3, 0.1, 5, 2000
D = 3 * BEADS - 3
SCHEDULES = {'cosine': schedule.cosine_schedule(10_000), 'vp': schedule.vp_schedule()}
X = SCALE * np.asarray(
  systems.gaussian_data(jax.random.key(0), (COUNT, BEADS, 3), VARIANCE), np.float64)


def curve(noise, *, factor=1.0, normalised=True):
  """Of `factor` times the energy of X, in float64."""
  gaussian = systems.make_gaussian_energy(noise, VARIANCE)

  def energy(params, x, t):
    variance = noise.alpha(t) ** 2 * VARIANCE + noise.sigma(t) ** 2
    return factor * gaussian(None, x, t) + normalised * 0.5 * D * jnp.log(variance)

  model = models.Model(noise, energy, None, None, SCALE, models.Statistics())
  with jax.enable_x64(True):
    return residual.residual_curve(model, None, X)


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_energy_of_a_normal_density_has_none(name):
  found = curve(SCHEDULES[name])
  np.testing.assert_array_equal(found.sigma, residual.SIGMAS)
  # Float64; alpha near 1 costs the slope of log alpha some five of its sixteen digits.
  assert found.rms.max() < 1e-9 and np.abs(found.mean).max() < 1e-9


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('factor', [1.0, 1.1])
def test_a_wrong_energy_has_the_residual_of_the_equation_over_half_the_noise_rate(name, factor):
  # Of factor |x|²/2v without normaliser R / (D β/2) = 1 - factor/v + factor (factor - 1) |x|²/D v²,
  # with |x|²/v of D degrees of freedom: β, which grows from one schedule to the next, is gone.
  found = curve(SCHEDULES[name], factor=factor, normalised=False)
  v = (1 - found.sigma**2) * VARIANCE + found.sigma**2
  slope = factor * (factor - 1) / v
  spread = slope * np.sqrt(2 / D)
  # k = 4 errors of a mean, and of a deviation: below 1/sqrt(N) for χ² of 12. 1e-9: as above.
  np.testing.assert_allclose(
    found.mean, 1 - factor / v + slope, atol=4 * spread.max() / np.sqrt(COUNT) + 1e-9)
  np.testing.assert_allclose(found.rms, spread, rtol=4 / np.sqrt(COUNT), atol=1e-9)


def test_only_noise_that_the_schedule_reaches_is_looked_at():
  found = curve(schedule.cosine_schedule(1000))  # begins at 0.0064
  np.testing.assert_array_equal(found.sigma, residual.SIGMAS[1:])
  assert found.rms.max() < 1e-9
