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


# Of `double_well` at each kT, by quadrature: weight below the barrier, F_above - F_below [kT], mean
# and standard deviation of x, density at the barrier.
LADDER = {
  0.5: (0.998941, 6.8494, -1.75181, 0.18118, 1.19e-9),
  1.0: (0.967074, 3.3800, -1.62536, 0.63790, 3.93e-5),
  1.5: (0.901784, 2.2172, -1.38804, 1.02484, 1.08e-3),
  2.0: (0.836641, 1.6334, -1.15539, 1.24979, 5.17e-3),
  3.0: (0.741816, 1.0554, -0.81928, 1.44207, 2.19e-2),
  4.0: (0.685003, 0.7769, -0.61855, 1.50475, 4.21e-2)}


def test_the_quartic_has_its_stationary_points_to_all_digits():
  points = np.sort(np.roots([4, 0, -12, 1]))
  np.testing.assert_allclose(points, (-1.772303, 0.083528, 1.688776), atol=6e-7)
  values = potentials.quartic(points)
  np.testing.assert_allclose(values, (-10.752406, 0.041715, -7.289309), atol=6e-7)
  np.testing.assert_allclose(potentials.DOUBLE_WELL_BARRIER, points[1], atol=6e-7)
  np.testing.assert_allclose(values[1] - values[::2], (10.794, 7.331), atol=6e-4)


@pytest.mark.parametrize('kT', LADDER)
def test_the_quartic_has_its_weights_and_moments_to_all_digits(kT):
  left, difference, mean, std, at_barrier = LADDER[kT]
  # Half points: the barrier is an edge of cells.
  h = 1e-4
  x = potentials.DOUBLE_WELL_BARRIER + h * (np.arange(-45_000, 45_000) + 0.5)
  weight = np.exp(-potentials.quartic(x) / kT)
  whole = weight.sum()
  below = weight[:45_000].sum() / whole
  found_mean = weight @ x / whole
  # Tolerances: half a unit of the last digit printed.
  assert below == pytest.approx(left, abs=6e-7)
  assert np.log(below / (1 - below)) == pytest.approx(difference, abs=6e-5)
  assert found_mean == pytest.approx(mean, abs=6e-6)
  assert np.sqrt(weight @ (x - found_mean) ** 2 / whole) == pytest.approx(std, abs=6e-6)
  top = potentials.quartic(np.array([potentials.DOUBLE_WELL_BARRIER]))[0]
  barrier = np.exp(-top / kT) / (whole * h)
  assert barrier == pytest.approx(at_barrier, rel=5e-3)


@pytest.mark.parametrize('limit, ends', [
  (4, (-2.264, -1.084, 1.452, 1.896)), (6, (-2.360, -0.860, 1.108, 2.112)),
  (8, (-2.439, -0.617, 0.819, 2.237))])
def test_the_quartic_is_below_a_limit_between_the_known_ends(limit, ends):
  level = potentials.quartic(np.sort(np.roots([4, 0, -12, 1])))[0] + limit
  found = np.sort(np.roots([1, 0, -6, 1, -level]).real)
  np.testing.assert_allclose(found, ends, atol=6e-4)


def test_mueller_has_its_stationary_points_to_all_digits():
  points = np.array([(-0.55822, 1.44173), (0.62350, 0.02804), (-0.05001, 0.46669),
                     (-0.82200, 0.62431), (0.21249, 0.29299)])
  values = (-14.66995, -10.81667, -8.07678, -4.06648, -7.22489)
  with jax.enable_x64():
    @jax.jit
    @jax.vmap
    def newton(x):
      slope, curvature = jax.grad(potentials.mueller)(x), jax.hessian(potentials.mueller)(x)
      return x - jnp.linalg.solve(curvature, slope)

    found = jnp.asarray(points)
    for _ in range(4):
      found = newton(found)
    np.testing.assert_allclose(found, points, atol=6e-6)
    np.testing.assert_allclose(potentials.mueller(found), values, atol=6e-6)


def test_mueller_has_its_moments_to_all_digits():
  with jax.enable_x64():
    found = potentials.grid_density(potentials.MUELLER, (600, 600))
    points = potentials.grid_points(found)
    energy = np.asarray(potentials.mueller(jnp.asarray(points)))
  assert energy.dtype == np.float64
  mean = np.einsum('xy,xyd->d', found.probability, points)
  std = np.sqrt(np.einsum('xy,xyd->d', found.probability, (points - mean) ** 2))
  np.testing.assert_allclose(mean, (-0.54366, 1.39451), atol=6e-6)
  np.testing.assert_allclose(std, (0.2115, 0.2449), atol=6e-5)
  assert np.sum(found.probability * energy) == pytest.approx(-13.4934, abs=6e-5)
  x, y = np.moveaxis(points, -1, 0)
  outside = found.probability[(x < -1.5) | (x > 1) | (y < -0.2) | (y > 2)].sum()
  assert outside == pytest.approx(1.2e-5, abs=6e-7)


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
