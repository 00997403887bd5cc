"""Toys against tabulated values: stationary points, moments, basin weights; exact draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone.datasets import potentials


@functools.cache
def density(name, kT):
  toy = {'mueller_brown': potentials.MUELLER_BROWN, 'double_well': potentials.DOUBLE_WELL}[name]
  return potentials.grid_density(toy._replace(kT=kT), (600, 600))


# Minima and saddles of 0.1 U, computed to five digits.
@pytest.mark.parametrize('point, tenth', [
  ((-0.55822, 1.44173), -14.66995), ((0.62350, 0.02804), -10.81667),
  ((-0.05001, 0.46669), -8.07678), ((-0.82200, 0.62431), -4.06648),
  ((0.21249, 0.29299), -7.22489)])
def test_mueller_brown_at_its_stationary_points(point, tenth):
  x = jnp.array(point)
  value, gradient = jax.value_and_grad(potentials.mueller_brown)(x)
  np.testing.assert_allclose(value / 10, tenth, atol=2e-5)
  assert jnp.abs(gradient).max() < 0.05  # curvature of some 10³ times rounding of the point


@pytest.mark.parametrize('x, value', [
  (-1.772303, -10.752406), (0.083528, 0.041715), (1.688776, -7.289309)])
def test_double_well_at_its_stationary_points(x, value):
  found, slope = jax.value_and_grad(potentials.double_well)(jnp.array([x, 0.0]))
  np.testing.assert_allclose(found, value, atol=1e-4)
  assert abs(slope[0]) < 1e-3
  np.testing.assert_allclose(potentials.double_well(jnp.array([x, 2.0])), value + 2, atol=1e-4)


def test_mueller_brown_density_has_the_known_moments_and_basin_weights():
  # At kT = 10; the cells of 1/150 limit the weights to about 1e-3.
  found = density('mueller_brown', 10.0)
  x, y = np.moveaxis(potentials.grid_points(found), -1, 0)
  mean = [np.sum(found.probability * v) for v in (x, y)]
  np.testing.assert_allclose(mean, (-0.54366, 1.39451), atol=2e-3)
  std = [np.sqrt(np.sum(found.probability * (v - m) ** 2)) for v, m in zip((x, y), mean,
                                                                          strict=True)]
  np.testing.assert_allclose(std, (0.2115, 0.2449), atol=2e-3)
  s = 0.7 * (x - y)
  weights = [found.probability[part].sum() for part in
             (s < -0.99, (s >= -0.99) & (s < -0.07), s >= -0.07)]
  np.testing.assert_allclose(weights, (0.9744, 0.0032, 0.0224), atol=2e-4)


@pytest.mark.parametrize('kT, left', [(1.0, 0.967074), (4.0, 0.685003)])
def test_double_well_density_has_the_known_basin_weight(kT, left):
  found = density('double_well', kT)
  np.testing.assert_allclose(found.probability[found.x < 0.083528].sum(), left, atol=2e-3)


def test_the_box_holds_all_of_the_density():
  for toy in (potentials.MUELLER_BROWN, potentials.DOUBLE_WELL):
    p = potentials.grid_density(toy, (400, 400)).probability
    edge = np.concatenate([p[0], p[-1], p[:, 0], p[:, -1]])
    np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-12)
    assert edge.max() < 1e-3 * p.max() and edge.sum() < 1e-4


def test_draws_follow_the_density_and_are_not_bound_to_cell_centres():
  found, count = density('mueller_brown', 23.0), 40_000
  x = potentials.draw(found, count, seed=1)
  assert x.shape == (count, 1, 2) and x.dtype == np.float32
  points = potentials.grid_points(found)
  for power in (1, 2):
    sample = x[:, 0].astype(np.float64) ** power
    expected = np.sum(found.probability[..., None] * points**power, axis=(0, 1))
    error = sample.std(axis=0) / np.sqrt(count)
    assert (np.abs(sample.mean(axis=0) - expected) < 4 * error + 1e-4).all()  # cell² / 12
  # The place inside a cell is uniform.
  inside = (x[:, 0, 0].astype(np.float64) - found.x[0]) / (found.x[1] - found.x[0]) + 0.5
  inside -= np.floor(inside)
  assert abs(inside.mean() - 0.5) < 4 / np.sqrt(12 * count)
  assert abs(inside.var() - 1 / 12) < 4 / np.sqrt(180 * count)


def test_draws_repeat_with_their_seed():
  found = density('double_well', 1.0)
  a, b, c = (potentials.draw(found, 100, seed) for seed in (0, 0, 1))
  assert (a == b).all() and (a != c).any()


def test_a_bad_grid_is_named():
  with pytest.raises(ValueError, match='grid: found shape'):
    potentials.grid_density(potentials.DOUBLE_WELL, (0, 10))
