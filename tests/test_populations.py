"""Basin weights of an energy by itself: of a Gaussian whose energy is tilted against its flow."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from experiments import populations
from experiments.models import Model, Statistics
from twoforone.schedule import cosine_schedule

SCHEDULE = cosine_schedule(num_steps=1000)
VARIANCE = 0.25


def gaussian_model(tilt: float) -> Model:
  """Beads at (u, -u) / √2, u ~ N(0, VARIANCE); the energy has tilt × u_x more than the score."""
  def variance(t):
    return SCHEDULE.alpha(t) ** 2 * VARIANCE + SCHEDULE.sigma(t) ** 2

  def energy(params, x, t):
    return jnp.sum(x**2) / (2 * variance(t)) + tilt * coordinate(x)

  return Model(SCHEDULE, energy, lambda params, x, t: -x / variance(t), lambda key: {}, 2.0,
               Statistics())


def coordinate(x):
  return (x[..., 0, 0] - x[..., 1, 0]) / np.sqrt(2)


@pytest.mark.parametrize('tilt', [0.0, 1.0])
def test_the_weight_of_a_basin_is_the_energys_not_the_flows(tilt):
  found = populations.energy_population(
    gaussian_model(tilt), {}, lambda x: coordinate(x) > 0, 2, num_samples=4000, num_steps=30)
  width = np.sqrt(SCHEDULE.alpha(0.0) ** 2 * VARIANCE + SCHEDULE.sigma(0.0) ** 2)
  expected = norm.cdf(-tilt * width)  # the tilt moves the mean to -tilt × variance
  assert abs(found.share - expected) < 4 * found.error
  assert 0.005 < found.error < 0.02  # 0.008 of 4000 independent samples
  # exp(-D) of the tilted against the untilted Gaussian, D = (tilt × width)² / 2.
  assert found.effective_share == pytest.approx(np.exp(-(tilt * width) ** 2 / 2), abs=0.02)


def test_a_sample_with_all_the_weight_decides():
  found = populations.weigh(np.array([True, False, False]), np.array([-800.0, 0.0, 0.0]))
  assert found.share == 1.0 and found.error == 0.0
  assert found.effective_share == pytest.approx(1 / 3)


def test_a_direct_score_has_no_populations():
  model = gaussian_model(0.0)._replace(energy=None)
  with pytest.raises(ValueError, match='a direct score has no energy'):
    populations.energy_population(model, {}, None, 2, num_samples=10, num_steps=5)
