"""Force labels on normal data, where the score, the best share and the exact label are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import systems
from twoforone.geometry import centre, distances
from twoforone.losses import classification, target_score
from twoforone.losses.denoising import add_losses, make_denoising_loss, with_random_rotation
from twoforone.schedule import cosine_schedule

SCHEDULE = cosine_schedule()
VARIANCE, SCATTER, BEADS, COUNT = 0.05, 6.0, 5, 10_000  # 1/v = 20 against a scatter of 36
BEST = 1 / VARIANCE + SCATTER**2
KEYS = jax.random.split(jax.random.key(0), COUNT)
X = systems.gaussian_data(jax.random.key(1), (COUNT, BEADS, 3), VARIANCE)
MEAN_FORCE = -X / VARIANCE
# Labels scatter, with a net force that the projection takes off.
FORCE = MEAN_FORCE + SCATTER * jax.random.normal(jax.random.key(2), X.shape)
TRUTH = systems.make_gaussian_score(SCHEDULE, VARIANCE)
BONDS = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])


def scaled_score(params, x, t):
  """The true score times `params`."""
  return params * TRUTH(None, x, t)


def make_loss(t, variance=BEST, **options):
  return target_score.make_target_score_loss(
    scaled_score, SCHEDULE, draw_level=lambda key: jnp.float32(t), force_variance=variance,
    **options)


@functools.cache
def compiled(variance, part=target_score.whole):
  """Value and gradient per example at a level that is an argument, to compile once."""
  def loss(params, t, key, example):
    return make_loss(t, variance, part=part)(params, key, example)
  return jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(None, None, 0, 0)))


def values_and_gradients(params, t, variance=BEST, part=target_score.whole, force=FORCE):
  """Per example, [N] each."""
  found = compiled(variance, part)(jnp.float32(params), jnp.float32(t), KEYS, (X, force))
  return [np.asarray(a, np.float64) for a in found]


def standard_error(sample):
  return sample.std() / np.sqrt(len(sample))


@pytest.mark.parametrize('variance', [0.0, BEST, 1e4])
def test_the_truth_is_the_minimum_whatever_the_share_of_forces(variance):
  # Share 1 is the identity score(x_t) = <f | x_t> / alpha itself, from labels that scatter.
  for t in (0.01, 0.1, 0.3):
    loss, gradient = values_and_gradients(1.0, t, variance)
    assert abs(gradient.mean()) < 4 * standard_error(gradient)
    for params, sign in ((1.2, 1), (0.8, -1)):
      wrong, gradient = values_and_gradients(params, t, variance)
      assert (wrong - loss).mean() > 4 * standard_error(wrong - loss)
      assert sign * gradient.mean() > 4 * standard_error(gradient)


def test_biased_labels_move_the_minimum():
  _, gradient = values_and_gradients(1.0, 0.01, force=1.2 * FORCE)
  assert abs(gradient.mean()) > 10 * standard_error(gradient)


def test_without_scatter_the_best_share_makes_the_label_exact():
  for t in (0.001, 0.1, 0.5, 0.9):
    loss, _ = values_and_gradients(1.0, t, 1 / VARIANCE, force=MEAN_FORCE)
    assert loss.max() < 1e-8  # float32, squared


def test_the_fitted_variance_is_the_best_share():
  fitted = target_score.fit_force_variance(np.asarray(X), np.asarray(FORCE))
  # The centre of mass carries none of it; 3 · 10,000 draws each.
  np.testing.assert_allclose(fitted, (BEADS - 1) / BEADS * BEST, rtol=4 * np.sqrt(2 / 3 / COUNT))
  for t in (0.02, 0.1, 0.3):
    best, _ = values_and_gradients(1.0, t)
    for variance in (BEST / 3, 3 * BEST):
      other, _ = values_and_gradients(1.0, t, variance)
      assert (other - best).mean() > 4 * standard_error(other - best)


def test_infinite_variance_is_plain_denoising():
  plain = make_denoising_loss(scaled_score, SCHEDULE, draw_level=lambda key: jnp.float32(0.3))
  for k in range(3):
    found = make_loss(0.3, np.inf)(0.7, KEYS[k], (X[k], FORCE[k]))
    assert found == plain(0.7, KEYS[k], X[k])


def test_at_no_noise_the_label_is_the_force():
  label = target_score.make_force_label(SCHEDULE, force_variance=1.0)
  noise, t = centre(jax.random.normal(KEYS[0], (BEADS, 3))), jnp.float32(0.0)
  alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
  found = label((X[0], FORCE[0]), noise, X[0], t) / -sigma
  # A share of sigma² = 4e-5 is still noise, 4e-5 / sigma here.
  np.testing.assert_allclose(found, centre(FORCE[0]) / alpha, rtol=1e-3, atol=0.03)


def test_each_bead_may_have_its_own_variance():
  variance = BEST * jnp.linspace(0.2, 3, BEADS)[:, None]
  loss = jax.jit(jax.vmap(jax.grad(make_loss(0.1, variance)), in_axes=(None, 0, 0)))
  gradient = np.asarray(loss(jnp.float32(1.0), KEYS, (X, FORCE)), np.float64)
  assert abs(gradient.mean()) < 4 * standard_error(gradient)


def test_rotation_turns_positions_and_forces_together():
  rotated = with_random_rotation(make_loss(0.1, 1 / VARIANCE))
  for k in range(3):  # still exact, which needs f = -x / v
    assert rotated(1.0, KEYS[k], (X[k], MEAN_FORCE[k])) < 1e-8


def test_the_bond_filter_leaves_lengths_alone_and_the_rest_as_it_was():
  part = target_score.make_bond_filter(BONDS)
  x, v = 10 * X[0], FORCE[0]
  kept = jax.jit(part)(x, v)
  lengths = jax.jvp(lambda x: distances(x, BONDS), (x,), (kept,))[1]
  # The 1e-6 beside J Jᵀ, whose eigenvalues are above 2 - 2 cos(π/5) = 0.4 for four bonds: 3e-6 of
  # the vector; float32 adds less.
  size = float(jnp.linalg.norm(v))
  np.testing.assert_allclose(lengths, 0, atol=1e-5 * size)
  np.testing.assert_allclose(part(x, kept), kept, atol=1e-5 * size)
  np.testing.assert_allclose(jnp.sum(kept * (v - kept)), 0, atol=1e-5 * size**2)
  # Four of fifteen directions are gone, which a vector that does not know x fills evenly.
  vectors = jax.random.normal(KEYS[0], X.shape)
  share = jnp.sum(jax.vmap(part)(X, vectors) ** 2, axis=(1, 2)) / jnp.sum(vectors**2, axis=(1, 2))
  share = np.asarray(share, np.float64)
  assert abs(share.mean() - 11 / 15) < 4 * standard_error(share)
  assert jnp.isfinite(part(0 * x, v)).all()  # beads in one point


def test_with_the_bonds_filtered_the_truth_is_still_the_minimum():
  part = target_score.make_bond_filter(BONDS)
  fitted = target_score.fit_force_variance(np.asarray(X), np.asarray(FORCE), part=part)
  # Of the scatter 8 of 12 directions are left, of the mean force between none and all.
  assert 8 / 15 * SCATTER**2 < fitted.mean() < 8 / 15 * SCATTER**2 + 12 / 15 / VARIANCE
  for t in (0.02, 0.2):
    _, gradient = values_and_gradients(1.0, t, BEST, part)
    assert abs(gradient.mean()) < 4 * standard_error(gradient)


def test_it_adds_to_losses_of_positions():
  plain = make_denoising_loss(scaled_score, SCHEDULE, draw_level=lambda key: jnp.float32(0.3))
  total = add_losses((1.0, make_loss(0.1)), (0.5, target_score.on_positions(plain)))
  key, example = KEYS[0], (X[0], FORCE[0])
  first, second = jax.random.split(key)
  expected = make_loss(0.1)(0.9, first, example) + 0.5 * plain(0.9, second, X[0])
  np.testing.assert_allclose(total(0.9, key, example), expected, rtol=1e-6)


def test_classification_takes_the_label_and_shares_the_evaluation():
  gaussian = systems.make_gaussian_energy(SCHEDULE, VARIANCE)
  label = target_score.make_force_label(SCHEDULE, force_variance=1 / VARIANCE)
  def make(label):
    return classification.make_denoising_classification_loss(
      lambda params, x, t: params * gaussian(None, x, t), lambda params, t: 0.0, SCHEDULE,
      draw_level=lambda key: jnp.float32(0.1), draw_other=lambda key, t: t, label=label)
  loss = jax.jit(make(label))
  params = {'energy': 1.0, 'offset': 0.0}
  # The denoising part is exact; equal levels leave softplus(0).
  np.testing.assert_allclose(loss(params, KEYS[0], (X[0], MEAN_FORCE[0])), np.log(2), atol=1e-6)
  assert loss(params, KEYS[0], (X[0], FORCE[0])) > np.log(2) + 1e-3
