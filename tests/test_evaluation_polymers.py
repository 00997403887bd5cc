"""Polymers: ideal chains, Ornstein-Uhlenbeck series and Brownian particles of known answers."""

import numpy as np
import pytest
from scipy.signal import lfilter

from twoforone.evaluation import agreement, densities, polymers, relaxation

RNG = np.random.default_rng(0)


def ornstein_uhlenbeck(
  rng: np.random.Generator, tau: float, frames: int, *shape: int
) -> np.ndarray:
  """Unit variance, C(t) = exp(-t / tau), started in equilibrium."""
  decay = np.exp(-1 / tau)
  noise = rng.normal(size=(frames, *shape))
  noise[1:] *= np.sqrt(1 - decay**2)
  return lfilter([1.0], [1.0, -decay], noise, axis=0)


def path_graph(count: int, padding: int = 0) -> tuple[np.ndarray, np.ndarray]:
  bonded = np.eye(count + padding, k=1, dtype=bool)
  bonded[count - 1:] = False
  return np.arange(count + padding) < count, bonded | bonded.T


def test_radius_of_an_ideal_chain():
  steps, beads = 20000, 10
  bond = RNG.normal(size=(steps, beads - 1, 3))  # b² = 3
  x = np.concatenate([np.zeros((steps, 1, 3)), bond.cumsum(axis=1)], axis=1)
  radius = polymers.squared_radius(x, np.ones(beads))
  error = radius.std() / np.sqrt(steps)
  assert abs(radius.mean() - 3 * (beads**2 - 1) / (6 * beads)) < 4 * error


def test_radius_weighs_masses_and_ignores_padding_and_place():
  x = np.zeros((2, 4, 3))
  x[:, :3, 0] = [0.0, 2.0, 4.0]
  x[:, 3] = 99.0  # padding
  mass = np.array([2.0, 1.0, 1.0, 0.0])
  np.testing.assert_allclose(polymers.centre_of_mass(x, mass)[0], [1.5, 0, 0])
  expected = (2 * 1.5**2 + 0.5**2 + 2.5**2) / 4
  np.testing.assert_allclose(polymers.squared_radius(x + 7, mass), expected)
  several = polymers.squared_radius(x, np.stack([mass, np.array([1.0, 1, 0, 0])]))
  np.testing.assert_allclose(several, [expected, 1.0])  # a mass for each chain
  x[1, 0] = np.nan
  np.testing.assert_array_equal(np.isnan(polymers.squared_radius(x, mass)), [False, True])


def test_pairs_and_ends_of_a_padded_path():
  bonds, others = polymers.split_pairs(*path_graph(4, padding=2))
  np.testing.assert_array_equal(bonds, [[0, 1], [1, 2], [2, 3]])
  np.testing.assert_array_equal(others, [[0, 2], [0, 3], [1, 3]])
  np.testing.assert_array_equal(polymers.chain_ends(path_graph(4, padding=2)[1]), [0, 3])


def test_distances_take_the_nearest_image():
  x = np.array([[0.5, 0, 0], [9.0, 0, 0], [0.5, 4.0, 0]])
  pairs = np.array([[0, 1], [0, 2]])
  np.testing.assert_allclose(polymers.distances(x, pairs), [8.5, 4.0])
  np.testing.assert_allclose(polymers.distances(x, pairs, box=np.full(3, 10.0)), [1.5, 4.0])


def test_an_ideal_gas_has_no_structure():
  box, frames = np.full(3, 6.0), 2000
  x = RNG.uniform(0, 6, (frames, 8, 3))
  pairs = np.argwhere(np.triu(np.ones((8, 8)), 1))
  edges = np.linspace(1, 3, 5)
  distance = polymers.distances(x, pairs, box=box)
  found = polymers.radial_distribution(distance, edges, 6.0**3)
  counts = distance.size * 4 / 3 * np.pi * np.diff(edges**3) / 6.0**3
  assert (np.abs(found - 1) < 4 / np.sqrt(counts)).all()  # pairs of distances are independent
  open_box = polymers.radial_distribution(polymers.distances(x, pairs), edges, 6.0**3)
  assert open_box[-1] < 0.8  # without images pairs across the walls are missed


def test_density_counts_what_is_outside():
  density = polymers.distance_density(np.array([0.5, 0.5, 1.5, 9.0]), np.array([0.0, 1, 2]))
  np.testing.assert_allclose(density, [0.5, 0.25])
  with pytest.raises(ValueError, match='not finite'):
    polymers.distance_density(np.array([np.nan, 1.0]), np.array([0.0, 1, 2]))


def test_soundness_counts_frames_that_are_not_finite():
  x = np.zeros((10, 3, 3))
  x[:, :, 0] = [0, 1, 2]
  bonds = polymers.split_pairs(*path_graph(3))[0]
  good = polymers.soundness(polymers.longest_distance(x, bonds), 1.5)
  assert good.sound and good == (10, 10, 0, 1.0)
  x[3, 2, 0], x[7, 1] = 5.0, np.nan
  assert polymers.soundness(polymers.longest_distance(x, bonds), 1.5) == (10, 9, 1, 4.0)
  lost = polymers.soundness(np.full(2, np.nan), 1.5)
  assert not lost.sound and lost.finite == 0 and np.isnan(lost.longest)


def test_collisions_count_frames_that_are_not_finite():
  x = np.zeros((4, 3, 3))
  x[:, 1, 0], x[:, 2, 1] = [1.0, 0.2, 0.6, np.nan], 3.0
  pairs = np.array([[0, 1], [0, 2], [1, 2]])
  closest = polymers.closest_distance(x, pairs)
  np.testing.assert_allclose(closest, [1.0, 0.2, 0.6, np.nan])
  assert polymers.collision_fraction(closest, 0.5) == 0.5
  normal = RNG.normal(size=200_000)
  assert np.isclose(polymers.collision_fraction(normal, np.quantile(normal, 1e-3)), 1e-3)


def test_spread_of_a_gaussian():
  found = polymers.spread(RNG.normal(3.0, 0.5, 400_000))
  # 5 standard errors: sd/√F, sd/√(2F), and √(q(1-q)/F)/density at the quantile 3.090 sd
  error = np.abs(np.array(found) - [3.0, 0.5, 3.0 + 3.0902 * 0.5])
  assert (error < [4e-3, 3e-3, 4e-2]).all()


@pytest.mark.parametrize('tau', [3.4, 20.6])
def test_times_of_an_exact_exponential(tau):
  found = relaxation.relaxation_times(np.exp(-np.arange(16 * tau) / tau) - 1e-6, 0.5)
  # Straight lines between lags: an error of order interval/tau.
  np.testing.assert_allclose(found, 0.5 * tau, rtol=0.02)


def test_times_of_an_ornstein_uhlenbeck_series():
  tau = 8.0
  series = ornstein_uhlenbeck(RNG, tau, 4000, 40)
  single = np.array([relaxation.relaxation_times(relaxation.autocorrelation(
    relaxation.fluctuations(column)), 1.0) for column in series.T])
  together = relaxation.relaxation_times(
    relaxation.autocorrelation(relaxation.fluctuations(series)), 1.0)
  error = single.std(axis=0, ddof=1) / np.sqrt(40)
  # 0.02 tau: straight lines between lags; the mean of one series costs it up to 2 tau/F of C.
  assert (np.abs(np.array(together) - tau) < 4 * error + 0.02 * tau).all()
  squares = relaxation.relaxation_times(
    relaxation.autocorrelation(relaxation.fluctuations(series**2)), 1.0)
  assert abs(squares.crossing - tau / 2) < 0.1 * tau / 2  # C of a Gaussian's square is C²


def test_autocorrelation_is_unbiased_and_sums_parts():
  series = RNG.normal(size=(9, 2))
  expected = [np.mean(np.sum(series[:9 - t] * series[t:], axis=1)) for t in range(4)]
  np.testing.assert_allclose(
    relaxation.autocorrelation(series), np.array(expected) / expected[0], atol=1e-12)
  for wrong in (np.zeros(9), np.full(9, np.nan), np.ones(3)):
    with pytest.raises(ValueError, match='series: found'):
      relaxation.autocorrelation(wrong)


def test_a_correlation_that_never_falls_says_so():
  found = relaxation.relaxation_times(np.exp(-np.arange(50.0) / 100), 1.0)
  assert np.isnan(found.crossing) and np.isnan(found.integrated)
  np.testing.assert_allclose(found.fitted, 100, rtol=1e-3)  # the fit needs no crossing


def test_diffusion_of_brownian_particles_with_a_noisy_place():
  coefficient, interval = 0.3, 0.5
  steps = RNG.normal(size=(3000, 60, 3)) * np.sqrt(2 * coefficient * interval)
  position = steps.cumsum(axis=0) + RNG.normal(size=(3000, 60, 3))
  found = relaxation.diffusion_coefficient(position, window=(2, 20), interval=interval)
  error = found.std(ddof=1) / np.sqrt(60)
  assert abs(found.mean() - coefficient) < 4 * error < 0.1 * coefficient
  msd = relaxation.mean_squared_displacement(position, [2])
  assert (msd / (6 * 2 * interval) > 3 * coefficient).all()  # without the offset noise counts
  with pytest.raises(ValueError, match='lags: found'):
    relaxation.mean_squared_displacement(position, [3000])


def test_agreement_of_hand_counted_values():
  true = np.array([1.0, 2.0, 3.0])
  assert np.isclose(agreement.pearson_r2(2 * true + 5, true), 1.0)  # blind to scale and offset
  assert np.isclose(agreement.determination(true + 1, true), 1 - 3 / 2)
  assert agreement.determination(true, true) == 1.0
  assert np.isclose(agreement.mean_error(true + 1, true), 1.0)
  assert np.isclose(agreement.mean_relative_error(true * 1.2, true), 0.2)
  assert np.isnan(agreement.pearson_r2(np.ones(3), true))
  for wrong in (true[:2], np.array([1.0, np.nan, 2.0])):
    with pytest.raises(ValueError, match='values: found'):
      agreement.pearson_r2(wrong, true[:len(wrong)])


def test_length_alone_has_no_detrended_r2():
  length = np.log(np.repeat([24.0, 36, 48, 60, 72], 80))
  first, second = (2.2 * length + 0.2 * RNG.normal(size=400) for _ in range(2))
  assert agreement.pearson_r2(first, second) > 0.8
  assert agreement.detrended_r2(first, second, length) < 16 / 400  # 4 sd: r of noise is 1/√400
  assert np.isclose(agreement.detrended_r2(first + length, first, length), 1.0)


def test_wasserstein_of_two_gaussians():
  first, second = RNG.normal(0, 1, 50_000), RNG.normal(0.7, 1, 50_000)
  # equal shapes: the shift; each mean is known to 1/√50000
  assert abs(densities.wasserstein(first, second) - 0.7) < 4 * np.sqrt(2 / 50_000)
