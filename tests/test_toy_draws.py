"""Data of the toys: exact draws have the tabulated weights, trajectories those of where they began.

Tolerances are standard errors unless a comment says otherwise.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone.datasets import potentials, toy_draws

# P(left), mean and standard deviation of x at each temperature, by quadrature.
DOUBLE_WELL = {0.5: (0.998941, -1.75181, 0.18118), 1.0: (0.967074, -1.62536, 0.63790),
               1.5: (0.901784, -1.38804, 1.02484), 2.0: (0.836641, -1.15530, 1.24979),
               3.0: (0.741816, -0.81928, 1.44207), 4.0: (0.685003, -0.61855, 1.50475)}
COUNT = 40_000


@pytest.mark.parametrize('kT', DOUBLE_WELL)
def test_double_well_draws_have_the_known_weight_and_moments(kT):
  x = toy_draws.draw_double_well(COUNT, 1, kT)
  assert x.shape == (COUNT, 1, 2) and x.dtype == np.float32
  x = x[:, 0].astype(np.float64)
  left, mean, std = DOUBLE_WELL[kT]
  share = np.mean(x[:, 0] < potentials.DOUBLE_WELL_BARRIER)
  assert abs(share - left) < 4 * np.sqrt(left * (1 - left) / COUNT)
  assert abs(x[:, 0].mean() - mean) < 4 * std / np.sqrt(COUNT)
  squares = (x[:, 0] - mean) ** 2
  assert abs(squares.mean() - std**2) < 4 * squares.std() / np.sqrt(COUNT)
  assert abs(np.mean(x[:, 1] ** 2) - kT) < 4 * kT * np.sqrt(2 / COUNT)
  assert abs(np.corrcoef(x.T)[0, 1]) < 4 / np.sqrt(COUNT)


def test_a_ladder_holds_every_temperature_with_its_own_seed():
  kT = (1.0, 1.5, 2.0, 3.0)
  x = toy_draws.draw_ladder(toy_draws.draw_double_well, kT, 1000, 7)
  assert x.shape == (1000, 4, 1, 2)
  np.testing.assert_array_equal(x[:, 2], toy_draws.draw_double_well(1000, 9, 2.0))
  assert abs(np.corrcoef(x[:, 0, 0, 1], x[:, 1, 0, 1])[0, 1]) < 4 / np.sqrt(1000)


def test_metropolis_from_both_basins_holds_equal_counts_not_the_weights():
  start = jnp.array(toy_draws.DOUBLE_WELL_STARTS)
  x = toy_draws.metropolis(
    potentials.DOUBLE_WELL, jax.random.key(0), start, num_frames=500, stride=10)
  assert x.shape == (500, 2, 1, 2)
  right = np.asarray(x[:, :, 0, 0] > potentials.DOUBLE_WELL_BARRIER)
  assert right[:, 1].all() and not right[:, 0].any()  # nothing crosses 7 kT: P(right) is half
  assert (np.asarray(x[1:]) != np.asarray(x[:-1])).any(axis=(0, 2, 3)).all()


@pytest.mark.parametrize('draw', [
  lambda toy, key, start: toy_draws.metropolis(
    toy, key, start, num_frames=40, stride=20, width=0.3),
  lambda toy, key, start: toy_draws.overdamped_langevin(
    toy, key, start, num_frames=40, stride=50, dt=0.01)], ids=['metropolis', 'langevin'])
def test_trajectories_have_the_moments_of_their_basin(draw):
  """At kT = 1 inside the left well; y is N(0, 1) exactly, x by quadrature."""
  replicas = 200
  x = draw(potentials.DOUBLE_WELL, jax.random.key(1), jnp.tile(jnp.array([[-1.77, 0.0]]),
                                                              (replicas, 1)))
  squares = np.asarray(x, np.float64)[20:, :, 0]
  grid = np.linspace(-4, potentials.DOUBLE_WELL_BARRIER, 4001)
  weight = np.exp(-potentials.quartic(grid))
  weight /= weight.sum()
  exact = np.array([weight @ grid, weight @ grid**2, 1.0])
  seen = np.stack([squares[..., 0], squares[..., 0] ** 2, squares[..., 1] ** 2], -1).mean(axis=0)
  error = seen.std(axis=0) / np.sqrt(replicas)
  # The step of Langevin leaves (U'' dt)² ~ 6 % of the width of x, 0.2² in <x²>.
  np.testing.assert_array_less(np.abs(seen.mean(axis=0) - exact), 4 * error + [1e-3, 3e-3, 1e-9])


def test_coarse_grained_positions_and_forces():
  """Along x the label has no noise: f = -dF/dx; the Müller one is divided by |v|² = 0.98."""
  x = toy_draws.draw_double_well(50, 3)
  s, f = toy_draws.coarse_grain(potentials.DOUBLE_WELL, x, potentials.DOUBLE_WELL_AXIS)
  assert s.shape == f.shape == (50, 1, 1)
  np.testing.assert_array_equal(s[:, 0, 0], x[:, 0, 0])
  exact = -jax.vmap(jax.grad(potentials.quartic))(jnp.asarray(x[:, 0, 0]))
  np.testing.assert_allclose(f[:, 0, 0], exact, rtol=1e-5, atol=1e-4)  # terms up to 50
  s, f = toy_draws.coarse_grain(potentials.MUELLER, x, potentials.MUELLER_AXIS)
  np.testing.assert_allclose(s[:, 0, 0], 0.7 * (x[:, 0, 0] - x[:, 0, 1]), atol=1e-6)
  one = -jax.grad(potentials.mueller)(jnp.asarray(x[0, 0]))
  np.testing.assert_allclose(f[0, 0, 0], 0.7 * (one[0] - one[1]) / 0.98, rtol=1e-5)


def test_a_bad_temperature_is_named():
  with pytest.raises(ValueError, match='kT: found 0'):
    toy_draws.draw_double_well(10, 0, 0.0)
