"""The equivariant networks of the step: their symmetries, padding, limits, and the bond guard."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone.baselines.time_integrated.equivariant import EquivariantDynamics, EquivariantScore
from twoforone.baselines.time_integrated.graph import BeadGraph, Scales
from twoforone.baselines.time_integrated.guard import stretch_guard
from twoforone.baselines.time_integrated.noise import isotropic_gaussian, markov_gaussian

SCALES = Scales(length=2.9, velocity=0.34, acceleration=0.33)
NUM_BEADS, FRAMES = 6, 4
SIGMA = jnp.float32(0.2)
SMALL = {'width': 16, 'vectors': 4, 'num_layers': 1}
ROTATION = np.linalg.qr(np.random.default_rng(5).standard_normal((3, 3)))[0].astype(np.float32)
ROTATION = ROTATION * np.linalg.det(ROTATION).round().astype(np.float32)
MIRROR = np.diag([1, 1, -1]).astype(np.float32)
OPTIONS = ({}, {'distribution': isotropic_gaussian, 'chiral': True})


def make_beads(size=NUM_BEADS):
  """A chain with a branch."""
  bonded = np.zeros((size, size), bool)
  for i, j in ((0, 1), (1, 2), (2, 3), (3, 4), (2, 5)):
    bonded[i, j] = bonded[j, i] = True
  mass = np.zeros(size, np.float32)
  mass[:NUM_BEADS] = np.linspace(5, 7, NUM_BEADS)
  return BeadGraph(np.arange(size) < NUM_BEADS, mass, bonded)


def make_history():
  rng = np.random.default_rng(0)
  x = np.cumsum(rng.standard_normal((NUM_BEADS, 3)), axis=0) * 1.7
  steps = 0.34 * rng.standard_normal((FRAMES, NUM_BEADS, 3))
  return (x + np.cumsum(steps, axis=0)).astype(np.float32)


BEADS, HISTORY = make_beads(), make_history()
EMBEDDING = np.random.default_rng(1).standard_normal((NUM_BEADS, 5)).astype(np.float32)
NEXT = HISTORY[-1] + 0.3 * np.random.default_rng(2).standard_normal((NUM_BEADS, 3)).astype(
  np.float32)


def random_like(shapes):
  """Random parameters: at the start the last layers are zero."""
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: jnp.float32(0.3 * rng.standard_normal(leaf.shape)), shapes)


@functools.cache
def start(scales=SCALES, distribution=markov_gaussian, chiral=False):
  """Jitted networks with random parameters: dynamics and score."""
  dynamics = EquivariantDynamics(scales, distribution=distribution, chiral=chiral, **SMALL)
  score = EquivariantScore(scales, chiral=chiral, **SMALL)
  key = jax.random.key(0)
  (_, latent), params = jax.eval_shape(dynamics.init_with_output, key, HISTORY, EMBEDDING, BEADS)
  score_params = jax.eval_shape(score.init, key, NEXT, latent, BEADS, SIGMA)
  return (functools.partial(jax.jit(dynamics.apply), random_like(params)),
          functools.partial(jax.jit(score.apply), random_like(score_params)))


def outcome(history, x, *, embedding=EMBEDDING, beads=BEADS, **options):
  """Mean, covariance and score."""
  dynamics, score = start(**options)
  found, latent = dynamics(history, embedding, beads)
  return found.mean, covariance(found), score(x, latent, beads, SIGMA)


covariance = jax.jit(lambda distribution: distribution.covariance())
density = jax.jit(lambda distribution, a: distribution.log_density(a))


def turn(values, matrix):
  mean, cov, score = values
  wide = np.kron(np.eye(NUM_BEADS, dtype=np.float32), matrix)
  return mean @ matrix.T, wide @ cov @ wide.T, score @ matrix.T


def errors(found, expected):
  return np.array([np.linalg.norm(f - e) / np.linalg.norm(e)
                   for f, e in zip(found, expected, strict=True)])


@pytest.mark.parametrize('options', OPTIONS)
def test_all_turns_and_moves_with_the_molecule(options):
  shift = np.array([3.0, -2.0, 1.0], np.float32)
  expected = turn(outcome(HISTORY, NEXT, **options), ROTATION)
  found = outcome(HISTORY @ ROTATION.T + shift, NEXT @ ROTATION.T + shift, **options)
  assert np.all(errors(found, expected) < 1e-5)


@pytest.mark.parametrize('options', OPTIONS)
def test_only_the_chiral_networks_see_the_mirror_image(options):
  expected = turn(outcome(HISTORY, NEXT, **options), MIRROR)
  error = errors(outcome(HISTORY @ MIRROR.T, NEXT @ MIRROR.T, **options), expected)
  assert np.all(error > 1e-3 if options.get('chiral') else error < 1e-5)


def test_order_of_beads_is_of_no_account():
  order = np.array([3, 0, 5, 1, 4, 2])
  beads = BeadGraph(BEADS.mask, BEADS.mass[order], BEADS.bonded[np.ix_(order, order)])
  mean, cov, score = outcome(HISTORY, NEXT)
  blocks = (3 * order[:, None] + np.arange(3)).ravel()
  found = outcome(HISTORY[:, order], NEXT[order], embedding=EMBEDDING[order], beads=beads)
  assert np.all(errors(found, (mean[order], cov[np.ix_(blocks, blocks)], score[order])) < 1e-5)


@pytest.mark.parametrize('options', OPTIONS)
def test_padding_changes_nothing(options):
  mean, cov, score = outcome(HISTORY, NEXT, **options)
  more = ((0, 2), (0, 0))
  found = outcome(
    np.pad(HISTORY, ((0, 0), *more)), np.pad(NEXT, more), embedding=np.pad(EMBEDDING, more),
    beads=make_beads(NUM_BEADS + 2), **options)
  expected = np.pad(mean, more), np.pad(cov, (0, 6)), np.pad(score, more)
  # Sums with more terms, all zero, may be added in another order: a few roundings.
  assert np.all(errors(found, expected) < 2e-6)
  assert not np.any(found[0][NUM_BEADS:]) and not np.any(found[2][NUM_BEADS:])


def test_density_of_a_step_does_not_turn():
  dynamics, _ = start()
  a = np.random.default_rng(3).standard_normal((NUM_BEADS, 3)).astype(np.float32)
  expected = density(dynamics(HISTORY, EMBEDDING, BEADS)[0], a)
  found = density(dynamics(HISTORY @ ROTATION.T, EMBEDDING, BEADS)[0], a @ ROTATION.T)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_unit_of_length_is_of_no_account():
  factor = 0.1
  dynamics, score = start(scales=Scales(*(factor * s for s in SCALES)))
  found, latent = dynamics(factor * HISTORY, EMBEDDING, BEADS)
  found = found.mean, covariance(found), score(factor * NEXT, latent, BEADS, factor * SIGMA)
  assert np.all(errors(found, outcome(HISTORY, NEXT)) < 1e-5)


def test_pair_at_rest_stays_on_its_line():
  axis = np.array([1.0, 2.0, -2.0], np.float32) / 3
  x = np.array([0.0, 2.5], np.float32)[:, None] * axis
  pair = BeadGraph(np.ones(2, bool), np.ones(2, np.float32), ~np.eye(2, dtype=bool))
  dynamics, score = start()
  found, latent = dynamics(np.repeat(x[None], FRAMES, axis=0), EMBEDDING[:2], pair)
  for vector in (found.mean, score(1.1 * x, latent, pair, SIGMA)):
    along = vector @ axis
    assert np.all(np.abs(along) > 1e-3)
    np.testing.assert_allclose(vector, along[:, None] * axis, atol=1e-6)


def test_score_is_centred_and_sees_the_expected_step():
  dynamics, score = start()
  found, latent = dynamics(HISTORY, EMBEDDING, BEADS)
  velocity = HISTORY[-1] - HISTORY[-2]
  expected = HISTORY[-1] + velocity + SCALES.acceleration * found.mean
  np.testing.assert_allclose(latent.expected, expected - expected.mean(axis=0), atol=1e-5)
  s = score(NEXT, latent, BEADS, SIGMA)
  np.testing.assert_allclose(s.sum(axis=0), 0, atol=1e-5)
  # At another level it is another score.
  assert np.linalg.norm(s - score(NEXT, latent, BEADS, 0.1 * SIGMA)) > 1e-2


def test_gradients_are_finite_where_beads_meet():
  dynamics, score = start(chiral=True)
  history = HISTORY.copy()
  history[:, 1] = history[:, 0]  # bonded, moving together
  history[:, 4] = history[:, 0]  # not bonded

  def total(params, score_params, history):
    found, latent = dynamics.func(params, history, EMBEDDING, BEADS)
    s = score.func(score_params, history[-1], latent, BEADS, SIGMA)
    return found.log_density(jnp.ones((NUM_BEADS, 3))) + jnp.sum(s**2)

  gradients = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(
    dynamics.args[0], score.args[0], jnp.asarray(history))
  for leaf in jax.tree.leaves(gradients):
    assert np.all(np.isfinite(leaf))


def test_noise_starts_as_a_constant():
  """At the start the mean is zero and all beads have the same isotropic noise."""
  net = EquivariantDynamics(SCALES, distribution=isotropic_gaussian, **SMALL)
  (found, _), _ = jax.jit(net.init_with_output)(jax.random.key(0), HISTORY, EMBEDDING, BEADS)
  assert not np.any(found.mean)
  np.testing.assert_allclose(found.std, 0.05 + np.log(2), rtol=1e-6)


def test_guard_pulls_stretched_bonds_back():
  x = jnp.asarray([[0.0, 0, 0], [3, 0, 0], [3, 7, 0], [8, 7, 0]])
  bonded = np.zeros((4, 4), bool)
  bonded[0, 1] = bonded[1, 0] = bonded[1, 2] = bonded[2, 1] = True  # within, beyond, not bonded
  beads = BeadGraph(np.ones(4, bool), np.ones(4, np.float32), bonded)
  guard = jax.jit(lambda x: stretch_guard(x, beads, 4.0, 0.25))
  expected = [[0, 0, 0], [0, 0.75, 0], [0, -0.75, 0], [0, 0, 0]]
  np.testing.assert_allclose(guard(x), expected, atol=1e-6)
  assert np.all(np.isfinite(jax.jit(jax.jacrev(guard))(0 * x)))
