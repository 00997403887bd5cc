"""The Gaussians of a step: densities and draws against known ones, symmetry, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from twoforone.baselines.time_integrated.graph import BeadGraph
from twoforone.baselines.time_integrated.noise import (
  DiagonalGaussian,
  MarkovGaussian,
  markov_gaussian,
)

BONDS = ((0, 1), (1, 2), (2, 3), (0, 3), (3, 4))  # a ring with a tail: not a tree


@pytest.fixture(autouse=True)
def x64():
  with jax.enable_x64(True):
    yield


def make_beads(num_beads=5):
  bonded = np.zeros((num_beads, num_beads), bool)
  for i, j in BONDS:
    bonded[i, j] = bonded[j, i] = True
  mask = np.arange(num_beads) < 5
  return BeadGraph(mask, mask.astype(np.float32), bonded)


def pad(array, axes, size):
  """`array` with rubbish behind it along `axes`."""
  widths = [(0, size if axis in axes else 0) for axis in range(array.ndim)]
  return jnp.pad(array, widths, constant_values=3.0)


def unit_vectors(x):
  difference = x[None] - x[:, None]
  return difference / jnp.sqrt(jnp.sum(difference**2, axis=-1, keepdims=True) + 1e-6)


def make_markov(x, padding=0, **options):
  rng = np.random.default_rng(1)
  mean, local, pair = (jnp.asarray(rng.standard_normal(s)) for s in ((5, 3), 5, (2, 5, 5)))
  return markov_gaussian(
    pad(mean, (0,), padding), pad(local, (0,), padding), pad(pair, (1, 2), padding),
    pad(unit_vectors(x), (0, 1), padding), make_beads(5 + padding), **options)


def make_diagonal(axes, padding=0):
  rng = np.random.default_rng(2)
  mean, std = rng.standard_normal((5, 3)), np.exp(rng.standard_normal((5, axes)))
  return DiagonalGaussian(pad(jnp.asarray(mean), (0,), padding),
                          pad(jnp.asarray(std), (0,), padding), make_beads(5 + padding).mask)


X = np.random.default_rng(0).standard_normal((5, 3))
A = np.random.default_rng(3).standard_normal((5, 3))
density = jax.jit(lambda noise, a: noise.log_density(a))
draw = jax.jit(lambda noise, key: noise.sample(key))
covariance = jax.jit(lambda noise: noise.covariance())
pull = jax.jit(jax.grad(lambda noise, a: noise.log_density(a), argnums=1))
ALL = {'markov': lambda padding: make_markov(X, padding),
       'diagonal': lambda padding: make_diagonal(3, padding),
       'isotropic': lambda padding: make_diagonal(1, padding)}


@pytest.mark.parametrize('name', ALL)
def test_density_is_that_of_the_normal_distribution(name):
  noise = ALL[name](0)
  expected = scipy.stats.multivariate_normal(
    np.ravel(noise.mean), np.asarray(covariance(noise))).logpdf(np.ravel(A))
  np.testing.assert_allclose(density(noise, A), expected, rtol=1e-10)


def test_precision_is_the_sum_over_bonds():
  noise = make_markov(X)
  expected = np.kron(np.diag(noise.local), np.eye(3))
  for i, j in BONDS:
    e = np.eye(5)[i] - np.eye(5)[j]
    r = np.asarray(X[j] - X[i]) / np.linalg.norm(X[j] - X[i])
    block = noise.bond[i, j] * np.eye(3) + noise.stretch[i, j] * np.outer(r, r)
    expected += np.kron(np.outer(e, e), block)
  # The unit vectors above are rounded off at 1e-3 of the distance.
  np.testing.assert_allclose(noise.precision(), expected, atol=1e-5)


def test_stretch_holds_the_bond_and_nothing_else():
  x = jnp.asarray([[0.0, 0, 0], [1, 0, 0]])
  bonded = jnp.asarray([[0.0, 1], [1, 0]])
  found = covariance(MarkovGaussian(jnp.zeros((2, 3)), jnp.ones(2), 0 * bonded, 50 * bonded,
                                    unit_vectors(x), np.ones(2, bool)))
  # Relative motion has precision l + 2u along the bond (1 across), common motion has l.
  along = found[0, 0] - found[0, 3], found[0, 0] + found[0, 3]
  np.testing.assert_allclose(along, (1 / 101, 1), rtol=1e-3)
  np.testing.assert_allclose(found[1, 1] - found[1, 4], 1)


@pytest.mark.parametrize('name', ALL)
def test_draws_have_the_mean_and_the_covariance(name):
  noise, num = ALL[name](0), 4000
  draws = jax.jit(jax.vmap(noise.sample))(jax.random.split(jax.random.key(0), num))
  draws = np.asarray(draws).reshape(num, -1)
  expected = np.asarray(covariance(noise))
  variance = np.diag(expected)
  error = np.sqrt(variance / num)
  assert np.all(np.abs(draws.mean(axis=0) - np.ravel(noise.mean)) < 4 * error)
  # Variance of a sampled covariance (Isserlis); 225 of them, so five standard errors.
  error = np.sqrt((np.outer(variance, variance) + expected**2) / num)
  assert np.all(np.abs(np.cov(draws.T) - expected) < 5 * error)


@pytest.mark.parametrize('name', ALL)
def test_padding_adds_nothing(name):
  small, large = ALL[name](0), ALL[name](3)
  a = pad(A, (0,), 3)
  np.testing.assert_allclose(density(large, a), density(small, A), rtol=1e-14)
  np.testing.assert_allclose(covariance(large)[:15, :15], covariance(small), rtol=1e-12)
  assert not np.any(covariance(large)[15:])
  key = jax.random.key(1)
  np.testing.assert_allclose(draw(large, key)[:5], draw(small, key), rtol=1e-12)
  assert not np.any(draw(large, key)[5:])
  assert not np.any(pull(large, a)[5:])


def test_markov_noise_turns_with_the_molecule():
  rotation, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((3, 3)))
  noise, turned = make_markov(X), make_markov(X @ rotation.T)
  wide = np.kron(np.eye(5), rotation)
  np.testing.assert_allclose(covariance(turned), wide @ covariance(noise) @ wide.T, atol=1e-12)
  turned = turned._replace(mean=noise.mean @ rotation.T)
  np.testing.assert_allclose(density(turned, A @ rotation.T), density(noise, A), rtol=1e-12)


def test_noise_of_each_axis_does_not_turn():
  """What the isotropic and the Markov Gaussian are for."""
  rotation, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((3, 3)))
  gap = []
  for noise in (make_diagonal(3), make_diagonal(1)):
    turned = noise._replace(mean=noise.mean @ rotation.T)
    gap.append(abs(density(turned, A @ rotation.T) - density(noise, A)))
  assert gap[0] > 1 and gap[1] < 1e-12


def test_floor_and_cap_hold_for_any_numbers():
  pair = jnp.full((2, 5, 5), 1e4)
  noise = markov_gaussian(jnp.zeros((5, 3)), jnp.full(5, -1e4), pair, unit_vectors(X),
                          make_beads(), floor=0.1, cap=7.0)
  np.testing.assert_allclose(noise.local, 0.1)
  np.testing.assert_allclose(noise.stretch, 7.0 * make_beads().bonded)
  np.testing.assert_allclose(noise.bond, 7.0 * make_beads().bonded)
  eigenvalues = np.linalg.eigvalsh(jax.jit(lambda noise: noise.precision())(noise))
  # Common translation is held by l alone.
  np.testing.assert_allclose(eigenvalues[:3], 0.1, rtol=1e-10)


def test_density_in_single_precision():
  """The worst condition that floor and cap allow still factorises."""
  noise = markov_gaussian(
    jnp.zeros((5, 3), jnp.float32), jnp.full(5, -1e4, jnp.float32),
    jnp.full((2, 5, 5), 1e4, jnp.float32), unit_vectors(X).astype(jnp.float32), make_beads())
  single = density(noise, jnp.zeros((5, 3), jnp.float32))
  wide = MarkovGaussian(*(leaf.astype(float) for leaf in noise[:-1]), noise.mask)
  double = density(wide, jnp.zeros((5, 3)))
  # Condition 2e5 × rounding 6e-8 is the relative error of the smallest pivot, of some 30.
  np.testing.assert_allclose(single, double, atol=0.1)
