"""Metrics with a known answer, floors from the reference itself, and sets that must fail."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from twoforone import geometry
from twoforone.evaluation import densities, structure, temperature, uncertainty
from twoforone.units import BOLTZMANN

PUBLIC = (pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data'
          / 'cgnet_ala2_5bead_10ps_coordinates.npy')
kT = BOLTZMANN * 300.0


def synthetic_chain(count: int = 10_000) -> np.ndarray:
  """Five beads at 0.14 nm and 2 rad with phi near -1.3 and psi near 2.6: chiral."""
  rng = np.random.default_rng(3)
  phi, psi = -1.3 + 0.4 * rng.standard_normal(count), 2.6 + 0.4 * rng.standard_normal(count)
  beads = [np.zeros((count, 3)), np.tile([0.14, 0.0, 0.0], (count, 1))]
  for torsion in (np.zeros(count), phi, psi):
    a = beads[-3] if len(beads) > 2 else beads[0] + [0.0, 0.14, 0.0]
    b, c = beads[-2], beads[-1]
    beads.append(_place(a, b, c, torsion))
  return np.stack(beads, axis=1).astype(np.float32)


def _place(a, b, c, torsion, bond=0.14, bend=2.0):
  """The bead d with |cd|, angle b-c-d and torsion a-b-c-d as given."""
  along = (c - b) / np.linalg.norm(c - b, axis=1, keepdims=True)
  normal = np.cross(b - a, along)
  normal /= np.linalg.norm(normal, axis=1, keepdims=True)
  side = np.cross(normal, along)
  cos, sin = np.cos(torsion)[:, None], np.sin(torsion)[:, None]
  return c + bond * (-np.cos(bend) * along + np.sin(bend) * (cos * side + sin * normal))


@pytest.fixture(scope='module', params=['public', 'synthetic'])
def chain(request) -> np.ndarray:
  """[frames, 5, 3] in nm."""
  if request.param == 'synthetic':
    return synthetic_chain()
  if not PUBLIC.exists():
    pytest.skip('the public alanine frames are not beside this checkout')
  return np.load(PUBLIC) / 10


def torsion_counts(x: np.ndarray, bins: int = 60) -> np.ndarray:
  return densities.torsion_histogram(structure.internal_coordinates(x).dihedrals, bins)


def test_the_synthetic_chain_has_the_angles_it_was_built_with():
  internal = structure.internal_coordinates(synthetic_chain())
  np.testing.assert_allclose(internal.bonds, 0.14, atol=1e-5)
  np.testing.assert_allclose(internal.angles[:, 1:], 2.0, atol=1e-4)
  # k = 5 standard errors of a normal of deviation 0.4.
  np.testing.assert_allclose(internal.dihedrals[:, 0].mean(), -1.3, atol=5 * 0.4 / 100)


def test_js_of_equal_and_of_disjoint_histograms():
  p = np.arange(12.0).reshape(3, 4)
  assert densities.js_divergence(p, 7 * p) < 1e-12
  q = np.zeros((3, 4))
  q[0, 0] = 1.0  # empty in p
  # The 1e-10 in each bin changes the value by about 1e-9.
  np.testing.assert_allclose(densities.js_divergence(p, q), np.log(2), atol=1e-8)


def test_kl_and_free_energy_error_by_hand():
  p, q = np.array([1.0, 3.0, 0.0]), np.array([1.0, 1.0, 2.0])
  np.testing.assert_allclose(
    densities.kl_divergence(p, q), 0.25 * np.log(1.0) + 0.75 * np.log(3.0))
  np.testing.assert_allclose(densities.free_energy_error(p, q, kT), kT**2 * np.log(3.0) ** 2 / 2)
  np.testing.assert_allclose(densities.free_energy(p, kT), [kT * np.log(3.0), 0.0, np.inf])


def test_harmonic_free_energy_is_the_potential():
  edges = np.linspace(-2, 2, 41)
  centres = (edges[:-1] + edges[1:]) / 2
  count = 1_000_000
  draws = np.random.default_rng(0).normal(size=count)  # k = kT: U = kT x²/2
  histogram = np.histogram(draws, edges)[0]
  error = kT / np.sqrt(histogram) + kT / np.sqrt(histogram.max())
  difference = densities.free_energy(histogram, kT) - kT * centres**2 / 2
  # kT h²/24 U'' is the offset of averaging over a bin of 0.1; five standard errors beside it.
  assert (np.abs(difference - difference.mean()) < 5 * error + 0.01 * kT).all()


def test_torsion_histogram_counts_the_ends_and_refuses_nan():
  ends = np.array([[np.pi, -np.pi]], np.float32)
  assert densities.torsion_histogram(ends)[59, 0] == 1
  with pytest.raises(ValueError, match='phi_psi'):
    densities.torsion_histogram(np.array([[np.nan, 0.0]]))


def test_mirrored_trajectory_scores_near_ln_2(chain):
  mirrored = torsion_counts(chain * np.array([1, 1, -1], np.float32))
  p = densities.probability(torsion_counts(chain))
  np.testing.assert_allclose(mirrored, torsion_counts(chain)[::-1, ::-1], atol=2)
  # JS <= ln 2 · (total variation) (Lin 1991), which the few frames with phi > 0 keep below one.
  shared = np.minimum(p, p[::-1, ::-1]).sum()
  js = densities.js_divergence(torsion_counts(chain), mirrored)
  assert 0.94 * np.log(2) < js < np.log(2) * (1 - shared) + 1e-7


def test_halves_of_the_reference_give_the_floor_and_a_sheared_set_fails(chain):
  first, second = (torsion_counts(part, 20) for part in uncertainty.halves(chain))
  floor = uncertainty.counting_floor(
    densities.js_divergence, densities.probability(first + second), num_samples=len(chain) // 2,
    num_reference=len(chain) // 2, seed=0)
  js = densities.js_divergence(first, second)
  # Frames 10 ps apart are correlated, psi for longer: up to three times the counting floor.
  assert floor.mean() - 5 * floor.std() < js < 3 * floor.mean()
  shear = np.eye(3, dtype=np.float32) + np.eye(3, k=1, dtype=np.float32)
  assert densities.js_divergence(torsion_counts(chain @ shear, 20), first + second) > 5 * js


def test_counting_floor_is_its_expansion():
  """E[JS] = (occupied - 1)/8 (1/n1 + 1/n2) for many counts per bin."""
  p = np.full((6, 6), 1 / 36)
  floor = uncertainty.counting_floor(
    densities.js_divergence, p, num_samples=20_000, num_reference=50_000, seed=1, repeats=100)
  expected = 35 / 8 * (1 / 20_000 + 1 / 50_000)
  assert abs(floor.mean() - expected) < 5 * floor.std() / np.sqrt(100)


def test_wasserstein_of_shifted_gaussians_is_the_shift():
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=100_000), rng.normal(size=50_000) + 0.5
  error = np.sqrt(1 / 100_000 + 1 / 50_000)
  assert abs(densities.wasserstein(a, b) - 0.5) < 5 * error
  assert densities.wasserstein(a, a) == 0


def test_circular_wasserstein_sees_the_short_way_round():
  rng = np.random.default_rng(0)
  a = np.pi - 0.1 + 0.01 * rng.standard_normal(2000)
  b = -np.pi + 0.1 + 0.01 * rng.standard_normal(1000)
  error = 0.01 * np.sqrt(1 / 2000 + 1 / 1000)
  assert abs(densities.circular_wasserstein(a, b) - 0.2) < 5 * error
  shifted = np.angle(np.exp(1j * (a + 3.0)))
  np.testing.assert_allclose(densities.circular_wasserstein(a, shifted), 3.0, atol=1e-6)


def test_internal_coordinates_do_not_depend_on_the_chunk():
  x = synthetic_chain(12).reshape(4, 3, 5, 3)
  whole, chunked = (structure.internal_coordinates(x, chunk=chunk) for chunk in (100, 5))
  assert whole.dihedrals.shape == (4, 3, 2)
  for a, b in zip(whole, chunked, strict=True):
    np.testing.assert_array_equal(a, b)
  one = geometry.dihedrals(jnp.asarray(x[2, 1]))
  np.testing.assert_allclose(whole.dihedrals[2, 1], one, atol=1e-6)


def test_coordinates_one_by_one_are_those_made_at_once():
  x = synthetic_chain(12).reshape(4, 3, 5, 3)
  whole = structure.internal_coordinates(x)
  for field, values in whole._asdict().items():
    columns = list(structure.chain_columns(x, field, chunk=5))
    np.testing.assert_allclose(np.stack(columns, axis=-1), values.reshape(12, -1), atol=1e-6)


def test_the_closest_pair_of_each_frame():
  x = synthetic_chain(100)
  x[71, 4] = x[71, 0] + 0.003
  expected = structure.pair_distances(x, offset=3).min(axis=1)
  found = structure.closest_pairs(x.reshape(20, 5, *x.shape[1:]), offset=3, chunk=30)
  assert found.argmin() == 71
  np.testing.assert_allclose(found, expected.reshape(20, 5), rtol=1e-6)


def test_pair_histograms_count_every_pair_in_chunks():
  x = synthetic_chain(100)
  distance = structure.pair_distances(x)
  counts = structure.pair_histograms(x, chunk=30)
  assert counts.shape[0] == distance.shape[1] == 10
  np.testing.assert_array_equal(counts.sum(axis=1), 100)
  np.testing.assert_array_equal(counts[3], np.bincount(
    (distance[:, 3] / 0.01).astype(int), minlength=counts.shape[1]))
  zero = structure.pair_distance_js(counts, structure.pair_histograms(np.tile(x, (2, 1, 1))))
  np.testing.assert_allclose(zero, 0, atol=1e-12)
  far = structure.pair_distance_js(counts, structure.pair_histograms(3 * x))
  np.testing.assert_allclose(far, np.log(2), atol=1e-7)


def test_pairs_of_each_offset():
  assert [len(structure.pair_indices(5, offset)) for offset in (0, 1, 3)] == [15, 10, 3]


def test_basins_split_every_frame_once():
  phi_psi = np.array([[-1.0, 0.0], [1.0, 0.0], [-1.0, 2.5], [-1.0, -2.5]])
  found = structure.basins(phi_psi)
  np.testing.assert_array_equal(found['alpha_R'], [True, False, False, False])
  np.testing.assert_array_equal(found['phi_positive'], [False, True, False, False])
  np.testing.assert_array_equal(sum(value.astype(int) for value in found.values()), 1)


def test_block_error_of_correlated_values():
  """AR(1) of coefficient a: the error of the mean grows by sqrt((1 + a)/(1 - a))."""
  rng, a, count = np.random.default_rng(0), 0.9, 200_000
  noise = rng.standard_normal(count) * np.sqrt(1 - a**2)
  values = np.empty(count)
  values[0] = 0.0
  for k in range(1, count):
    values[k] = a * values[k - 1] + noise[k]
  expected = np.sqrt((1 + a) / (1 - a) / count)
  # An error from 100 blocks is itself uncertain by 1/sqrt(200) = 7 %; five of those.
  assert abs(uncertainty.block_error(values, 100) / expected - 1) < 5 / np.sqrt(200)
  with pytest.raises(ValueError, match='blocks'):
    uncertainty.block_error(values[:3], 10)


def test_estimate_takes_its_error_from_replicas():
  values = np.tile(np.array([1.0, 2.0, 3.0]), (50, 1))
  found = uncertainty.estimate(values)
  np.testing.assert_allclose(found, (2.0, 1 / np.sqrt(3)))


def test_kinetic_temperature_of_maxwell_momenta():
  rng, mass = np.random.default_rng(0), np.array([12.0, 14.0, 3.0])
  momentum = rng.standard_normal((20_000, 3, 3)) * np.sqrt(mass[:, None] * kT)
  found = uncertainty.estimate(
    temperature.kinetic_temperature(np.sum(momentum**2 / (2 * mass[:, None]), axis=(1, 2)), 3))
  error = 300.0 * np.sqrt(2 / 9 / 20_000)  # chi² of 9 degrees of freedom
  assert abs(found.mean - 300.0) < 5 * error
  assert abs(found.error / error - 1) < 5 / np.sqrt(2 * 9)


def test_configurational_temperature_of_exact_harmonic_draws():
  """Beads tied to their own centre, U = k Σ |x - x̄|²/2, wherever the centre is."""
  rng, k, count = np.random.default_rng(0), 800.0, 20_000
  x = rng.standard_normal((count, 4, 3)) * np.sqrt(kT / k)
  centred = x - x.mean(axis=1, keepdims=True)
  drifting = centred + 100 * rng.standard_normal((count, 1, 3))
  virial = np.sum(-k * centred * (drifting - drifting.mean(axis=1, keepdims=True)), axis=(1, 2))
  found = temperature.configurational_temperature(virial, 4)
  error = 300.0 * np.sqrt(2 / 9 / count)
  assert abs(found.mean() - 300.0) < 5 * error
  wrong = temperature.configurational_temperature(1.1 * virial, 4)
  assert abs(wrong.mean() - 300.0) > 5 * error


def test_positions_that_cannot_be_evaluated_are_refused():
  with pytest.raises(ValueError, match='found 3 beads'):
    structure.internal_coordinates(np.zeros((2, 3, 3)))
  with pytest.raises(ValueError, match='no frames'):
    structure.internal_coordinates(np.zeros((0, 5, 3)))
  with pytest.raises(ValueError, match='not finite'):
    structure.pair_histograms(np.full((1, 4, 3), np.nan))


def test_a_plane_histogram_loses_no_sample():
  reference = np.array([[0.0, 0.0], [1.0, 2.0]])
  edges = densities.plane_edges(reference, bins=4, margin=0.0)
  counts = densities.plane_histogram(np.array([[0.1, 0.1], [0.1, 9.0], [-7.0, 0.1]]), edges)
  assert counts.sum() == 3 and counts[0, 0] == 2 and counts[0, -1] == 1
  with pytest.raises(ValueError, match='points: found values that are not finite'):
    densities.plane_histogram(np.array([[np.nan, 0.0]]), edges)


def test_chain_features_are_smooth_where_a_raw_dihedral_jumps():
  def chain(angle):  # a planar trans chain whose end is turned by `angle`
    return np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0], [np.cos(angle), 1, np.sin(angle)]])

  x = np.stack([chain(np.pi - 1e-3), chain(np.pi + 1e-3)]).astype(np.float32)
  raw, smooth = (structure.chain_features(x, raw=flag) for flag in (True, False))
  assert raw.shape == (2, 1 + 6) and smooth.shape == (2, 2 + 6)
  assert abs(raw[0, 0] - raw[1, 0]) > 6 and np.abs(smooth[0] - smooth[1]).max() < 0.01


def test_long_chains_are_looked_at_in_smaller_pieces(monkeypatch):
  x = np.random.default_rng(0).standard_normal((50, 6, 3)).astype(np.float32)
  whole = structure.pair_histograms(x), structure.closest_pairs(x)
  monkeypatch.setattr(structure, 'MOST_PAIRS', 7 * 18)  # of six beads seven frames at a time
  assert [count for _, count in structure.chunks(x, 4096)] == 7 * [7] + [1]
  for one, other in zip((structure.pair_histograms(x), structure.closest_pairs(x)), whole,
                        strict=True):
    np.testing.assert_array_equal(one, other)


def test_features_of_a_long_chain_are_of_beads_evenly_along_it():
  x = np.random.default_rng(0).standard_normal((2, 127, 3)).astype(np.float32)
  found = structure.chain_features(x)
  assert found.shape == (2, 2 * 124 + 64 * 63 // 2)
  np.testing.assert_array_equal(found[:, 2 * 124:], structure.pair_distances(x[:, ::2]))
