"""Profiles by quadrature against the tabulated values of both toys; the scores built on them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone.datasets import potentials
from twoforone.evaluation import profiles

BARRIER = potentials.DOUBLE_WELL_BARRIER


@functools.cache
def double_well(kT=1.0):
  with jax.enable_x64():
    return profiles.line_profile(
      potentials.double_well, kT, potentials.DOUBLE_WELL_AXIS, np.linspace(-4, 4, 8001),
      np.sqrt(kT) * np.linspace(-8, 8, 65))


@functools.cache
def mueller():
  with jax.enable_x64():
    return profiles.line_profile(
      potentials.mueller, 1.0, potentials.MUELLER_AXIS, np.linspace(-2.0, 1.0, 1501),
      np.linspace(-1.6, 2.6, 701))


def ends(s, mask):
  """First and last point of each piece of a mask."""
  edges = np.flatnonzero(np.diff(mask.astype(int)))
  return (s[edges] + s[edges + 1]) / 2


def test_the_double_well_profile_is_the_quartic_at_every_temperature():
  for kT in (1.0, 3.0):
    exact = double_well(kT)
    quartic = profiles.normalise(exact.s, potentials.quartic(exact.s) / kT)
    np.testing.assert_allclose(exact.energy, quartic, atol=1e-9)
    np.testing.assert_allclose(exact.force, -(4 * exact.s**3 - 12 * exact.s + 1) / kT, atol=1e-9)


@pytest.mark.parametrize('kT, left, difference', [
  (0.5, 0.998941, 6.8494), (1.0, 0.967074, 3.3800), (1.5, 0.901784, 2.2172),
  (2.0, 0.836641, 1.6334), (3.0, 0.741816, 1.0555), (4.0, 0.685003, 0.7769)])
def test_weights_and_differences_of_the_double_well(kT, left, difference):
  exact = double_well(kT)
  above = profiles.weight_above(exact.s, exact.energy, BARRIER)
  np.testing.assert_allclose(1 - above, left, atol=1e-6)
  np.testing.assert_allclose(profiles.basin_difference(above), difference, atol=1e-4)


@pytest.mark.parametrize('kT, density', [(0.5, 1.19e-9), (1.0, 3.93e-5), (1.5, 1.08e-3),
                                         (2.0, 5.17e-3), (3.0, 2.19e-2), (4.0, 4.21e-2)])
def test_density_at_the_barrier(kT, density):
  exact = double_well(kT)
  np.testing.assert_allclose(np.exp(-np.interp(BARRIER, exact.s, exact.energy)), density, rtol=5e-3)


@pytest.mark.parametrize('limit, pieces', [
  (4, (-2.264, -1.084, 1.452, 1.896)), (6, (-2.360, -0.860, 1.108, 2.112)),
  (8, (-2.439, -0.617, 0.819, 2.237))])
def test_masks_of_the_double_well(limit, pieces):
  exact = double_well()
  mask = profiles.below(exact.energy, limit)
  np.testing.assert_allclose(ends(exact.s, mask), pieces, atol=1.1e-3)  # a point of the grid


def test_the_mueller_profile_has_the_known_wells_barriers_and_weights():
  """Tabulated as a histogram of a grid in bins of 0.02: places to half a bin, heights to 0.03.

  Moving those bins by half a width moves the heights by as much.
  """
  s, energy, force = mueller()
  free = energy - energy.min()
  inner = free[1:-1]
  low = np.flatnonzero((inner < free[:-2]) & (inner < free[2:])) + 1
  high = np.flatnonzero((inner > free[:-2]) & (inner > free[2:])) + 1
  np.testing.assert_allclose(s[low], (-1.39, -0.35, 0.41), atol=0.011)
  np.testing.assert_allclose(free[low], (0, 6.98, 4.60), atol=0.03)
  barriers = high[free[high] < 15]
  np.testing.assert_allclose(s[barriers], potentials.MUELLER_BARRIERS, atol=0.011)
  np.testing.assert_allclose(free[barriers], (10.58, 7.49), atol=0.03)
  first, second = (profiles.weight_above(s, energy, b) for b in potentials.MUELLER_BARRIERS)
  np.testing.assert_allclose((1 - first, first - second, second), (0.9744, 0.0032, 0.0224),
                             atol=6e-5)
  # The two ways to the mean force agree; central differences leave F''' ds²/6.
  slope = -np.gradient(energy, s)
  well = profiles.below(energy, 12)
  np.testing.assert_allclose(force[well], slope[well], atol=0.02)


def test_means_and_standard_deviations_of_mueller():
  with jax.enable_x64():
    found = potentials.grid_density(potentials.MUELLER, (501, 501))
  x, y = np.moveaxis(potentials.grid_points(found), -1, 0)
  mean = np.array([np.sum(found.probability * v) for v in (x, y)])
  np.testing.assert_allclose(mean, (-0.54366, 1.39451), atol=1e-5)
  std = [np.sqrt(np.sum(found.probability * (v - m) ** 2))
         for v, m in zip((x, y), mean, strict=True)]
  np.testing.assert_allclose(std, (0.2115, 0.2449), atol=6e-5)
  energy = np.asarray(potentials.mueller(jnp.asarray(potentials.grid_points(found))))
  np.testing.assert_allclose(np.sum(found.probability * energy), -13.4934, atol=2e-4)
  outside = (x < -1.5) | (x > 1) | (y < -0.2) | (y > 2)
  np.testing.assert_allclose(found.probability[outside].sum(), 1.2e-5, rtol=0.1)


def test_a_constant_is_no_error_and_a_basin_offset_is_one():
  exact = double_well()
  scores = profiles.compare(exact, exact.energy + 5, BARRIER)
  np.testing.assert_allclose([v for k, v in scores.items() if 'rms' in k], 0, atol=1e-12)
  np.testing.assert_allclose(scores['kl'], 0, atol=1e-10)
  np.testing.assert_allclose(scores['difference'], 3.3800, atol=1e-4)
  shifted = profiles.compare(exact, exact.energy + (exact.s > BARRIER), BARRIER)
  np.testing.assert_allclose(shifted['difference'], 4.3800, atol=2e-3)  # a point at the jump
  part = np.mean(exact.s[profiles.below(exact.energy, 4)] > 0)
  np.testing.assert_allclose(shifted['rms_4'], np.sqrt(part * (1 - part)), rtol=1e-6)
  np.testing.assert_allclose((shifted['below_4'], shifted['above_4']), 0, atol=1e-12)


def test_kl_and_nll_of_gaussians():
  """KL = ln s + (1 + m²)/2s² - 1/2 of N(0, 1) to N(m, s²)."""
  s = np.linspace(-12, 12, 4801)
  model = 0.5 * ((s - 0.3) / 1.4) ** 2
  kl = np.log(1.4) + (1 + 0.09) / (2 * 1.96) - 0.5
  np.testing.assert_allclose(profiles.kl_quadrature(s, 0.5 * s**2, model), kl, atol=1e-9)
  values = np.array([-1.0, 0.5])
  nll = np.mean(0.5 * ((values - 0.3) / 1.4) ** 2) + np.log(1.4 * np.sqrt(2 * np.pi))
  np.testing.assert_allclose(profiles.held_out_nll(s, model, values), nll, atol=1e-5)
  with pytest.raises(ValueError, match='ends of the grid'):
    profiles.held_out_nll(s, model, np.array([13.0]))


def test_force_error_is_weighted_by_the_exact_density():
  exact = double_well()
  error, scale = profiles.force_rms(exact, exact.force + 0.5)
  np.testing.assert_allclose(error, 0.5, rtol=1e-12)
  np.testing.assert_allclose(scale, 4.96, atol=0.005)  # tabulated
  far = np.where(exact.s > 3, 100.0, 0.0)
  assert profiles.force_rms(exact, exact.force + far)[0] < 1e-6


def test_a_histogram_counts_what_is_outside_and_is_infinite_where_empty():
  s, energy = profiles.sample_profile(np.array([0.1, 0.2, 1.5, 9.0]), np.array([0.0, 1, 2, 3]))
  np.testing.assert_allclose(s, (0.5, 1.5, 2.5))
  np.testing.assert_allclose(np.exp(-energy), (0.5, 0.25, 0))
  with pytest.raises(ValueError, match='mask: found none'):
    profiles.aligned_rms(s, s, np.zeros(3, bool))
