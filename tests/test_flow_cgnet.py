"""Labels from densities with auxiliary coordinates whose marginals are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone.baselines import bonded, cgnet, flow_cgnet

KEY, COUNT = jax.random.key(0), 20_000
MEANS = jnp.array([[-1.5, 0.5], [1.0, -1.0]])
ROOTS = jnp.array([[[0.6, 0.0], [0.5, 0.8]], [[0.4, 0.0], [-0.6, 0.5]]])  # of the covariances
SHARES = jnp.array([0.7, 0.3])


def log_density(params, z):
  """A mixture of two correlated normal laws of z = (x, eta)."""
  del params

  def term(mean, root, share):
    u = jax.scipy.linalg.solve_triangular(root, z - mean, lower=True)
    return jnp.log(share) - 0.5 * u @ u - jnp.log(jnp.diag(root)).sum() - jnp.log(2 * jnp.pi)

  return jax.scipy.special.logsumexp(jax.vmap(term)(MEANS, ROOTS, SHARES))


def sample(params, key):
  key_choice, key_normal = jax.random.split(key)
  k = jax.random.categorical(key_choice, jnp.log(SHARES))
  z = MEANS[k] + ROOTS[k] @ jax.random.normal(key_normal, (2,))
  return z, log_density(params, z)


def marginal_score(x):
  """d/dx ln q(x), the auxiliary integrated out by hand."""
  width = np.asarray(ROOTS[:, 0, 0])
  gap = x[:, None] - np.asarray(MEANS[:, 0])
  weight = np.asarray(SHARES) / width * np.exp(-0.5 * (gap / width) ** 2)
  return -(weight * gap / width**2).sum(axis=1) / weight.sum(axis=1)


FLOW = flow_cgnet.make_augmented(log_density, sample, (1, 1))
DRAW = jax.jit(jax.vmap(flow_cgnet.make_force_draw(FLOW), in_axes=(None, 0)))
X, F = (np.asarray(a, np.float64) for a in DRAW(None, jax.random.split(KEY, COUNT)))


def z_scores(x, difference, num_bins=40):
  """Mean of `difference` in equally filled bins of x over its standard error."""
  bins = np.array_split(np.argsort(x), num_bins)
  return np.array([difference[b].mean() / difference[b].std() * np.sqrt(len(b)) for b in bins])


def test_labels_are_forces_at_fixed_auxiliaries():
  x, f = flow_cgnet.make_force_draw(FLOW)(None, KEY)
  z, _ = sample(None, KEY)
  step = jnp.array([1e-3, 0.0])
  slope = (log_density(None, z + step) - log_density(None, z - step)) / 2e-3
  assert x.shape == f.shape == (1, 1)
  np.testing.assert_allclose(x[0, 0], z[0])
  np.testing.assert_allclose(f[0, 0], slope, rtol=0.01)  # float32 differences


def test_their_mean_given_x_is_the_score_of_the_marginal():
  x, f = X[:, 0, 0], F[:, 0, 0]
  truth = marginal_score(x)
  assert f.std() > 1.2 * truth.std()  # single labels are not the score
  z = z_scores(x, f - truth)
  assert abs(z).max() < 4 and np.mean(z**2) < 1 + 4 * np.sqrt(2 / len(z))
  # At an auxiliary of the prior instead of that drawn with x it is not.
  eta = jax.random.normal(KEY, (COUNT,))
  apart = jax.jit(jax.vmap(lambda x, e: jax.grad(log_density, 1)(None, jnp.stack([x, e]))[0]))
  assert abs(z_scores(x, np.asarray(apart(jnp.asarray(x, jnp.float32), eta)) - truth)).max() > 20


def test_they_obey_the_virial_identity():
  # <x d/dx ln q> = -1 for every density.
  product = (X * F)[:, 0, 0]
  assert abs(product.mean() + 1) < 4 * product.std() / np.sqrt(COUNT)


def test_force_matching_on_them_is_least_at_the_marginal():
  def score(params, x, t):
    """The marginal's score, scaled."""
    width, gap = ROOTS[:, 0, 0], x[0, 0] - MEANS[:, 0]
    weight = SHARES / width * jnp.exp(-0.5 * (gap / width) ** 2)
    return -params * jnp.sum(weight * gap / width**2).reshape(1, 1) / weight.sum()

  examples, _ = flow_cgnet.make_examples(
    X.astype(np.float32), F.astype(np.float32), max_square=np.inf)
  loss = cgnet.with_weight(cgnet.make_force_matching_loss(score))
  gradient = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0, 0)))
  keys = jax.random.split(KEY, COUNT)
  for params, sign in ((1.0, 0), (1.1, 1), (0.9, -1)):
    found = np.asarray(gradient(params, keys, examples), np.float64)
    error = found.std() / np.sqrt(COUNT)
    if sign:
      assert sign * found.mean() > 4 * error
    else:
      assert abs(found.mean()) < 4 * error


def test_the_filter_drops_large_and_broken_labels():
  f = np.ones((4, 2, 3))
  f[1], f[2, 0, 0], f[3] = 2.0, np.nan, 1.5
  assert flow_cgnet.moderate(f, 3.0).tolist() == [True, False, False, True]
  examples, seen = flow_cgnet.make_examples(np.zeros_like(f), f, max_square=3.0)
  np.testing.assert_array_equal(examples.f, f[[0, 3]])
  np.testing.assert_array_equal(examples.weight, [1.0, 1.0])
  assert seen == (0.5, 2.0)
  with pytest.raises(ValueError, match='no draw of 4 with a mean square'):
    flow_cgnet.make_examples(np.zeros_like(f), f, max_square=0.1)


def test_a_repulsion_changes_weights_and_labels_to_its_own_target():
  # A well about zero is a "repulsion" from afar: q exp(-x²/2) is known in one dimension.
  def well(params, x, t):
    return 0.5 * jnp.sum(x**2)

  examples, seen = flow_cgnet.make_examples(
    X.astype(np.float32), F.astype(np.float32), max_square=np.inf, repulsion=well)
  np.testing.assert_allclose(examples.weight.mean(), 1, rtol=1e-5)
  x, weight = X[:, 0, 0], np.exp(-0.5 * X[:, 0, 0] ** 2)
  np.testing.assert_allclose(seen.effective, weight.sum() ** 2 / (weight**2).sum(), rtol=1e-4)
  assert seen.kept == 1 and seen.effective < 0.95 * COUNT
  difference = examples.f[:, 0, 0] - (marginal_score(x) - x)
  z = z_scores(x, difference)
  assert abs(z).max() < 4
  # <x f> = -1 for the new target too, with its weights; without them not.
  product = examples.f[:, 0, 0] * x
  weighted = examples.weight * (product + 1)
  assert abs(weighted.mean()) < 4 * weighted.std() / np.sqrt(COUNT)
  assert abs(product.mean() + 1) > 10 * product.std() / np.sqrt(COUNT)


def test_a_repulsion_of_beads_lowers_the_weight_of_close_ones():
  repulsion = bonded.make_quadratic_repulsion(np.array([[0, 1]]), radius=0.4, strength=400.0)
  x = np.zeros((2, 2, 3), np.float32)
  x[:, 1, 0] = 0.35, 0.5
  examples, _ = flow_cgnet.make_examples(x, 0 * x, max_square=1.0, repulsion=repulsion)
  np.testing.assert_allclose(examples.weight[0] / examples.weight[1], np.exp(-1), rtol=1e-4)
  np.testing.assert_allclose(examples.f[0, :, 0], [-40.0, 40.0], rtol=1e-4)
  np.testing.assert_array_equal(examples.f[1], 0)


def test_the_effective_size():
  assert flow_cgnet.effective_size(np.ones(7)) == pytest.approx(7)
  assert flow_cgnet.effective_size(np.array([5.0, 0, 0])) == pytest.approx(1)
