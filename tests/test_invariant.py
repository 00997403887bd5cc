"""The invariant energy: what it must not see, what it must, where it starts, its sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import systems
from twoforone import checks, energy, geometry
from twoforone.networks import invariant
from twoforone.networks.invariant import InvariantEnergy, chain_quads, fit_invariants
from twoforone.schedule import cosine_schedule

SCHEDULE = cosine_schedule()
T = jnp.float32(0.1)


def make_model(beads):
  chain = np.asarray(systems.stretched_chain(20, beads))
  chain = chain - chain.mean(axis=1, keepdims=True)
  x = chain / chain.std()
  return InvariantEnergy(SCHEDULE, fit_invariants(x), widths=(16, 16)), jnp.asarray(x[0])


@functools.cache
def start(beads=5, seed=0):
  """phi, parameters at the start, the same shaken (the last layer starts at zero), and a frame."""
  model, x = make_model(beads)
  params = jax.jit(model.init)(jax.random.key(seed), x, T, jnp.arange(beads))
  rng = np.random.default_rng(seed)
  shaken = jax.tree.map(lambda a: a + 0.3 * rng.standard_normal(a.shape).astype(np.float32), params)
  return model.apply, params, shaken, x


PHI, PARAMS, SHAKEN, X = start()
ENERGY = energy.make_energy(PHI, SCHEDULE, np.arange(5))
SCORE = energy.make_score(ENERGY)
value = jax.jit(ENERGY)
score = jax.jit(SCORE)


@pytest.mark.parametrize('beads, count', [(4, 1), (5, 5), (6, 15), (10, 11), (56, 103)])
def test_quads_of_a_chain(beads, count):
  quads = chain_quads(beads)
  assert quads.shape == (count, 4)
  assert (np.diff(quads, axis=1) > 0).all() and quads.min() == 0 and quads.max() == beads - 1
  assert len({tuple(quad) for quad in quads}) == count


# 7 leaves one over; 70 distances are 7 frames of ten pairs.
@pytest.mark.parametrize('limits', [{}, {'FRAMES': 7}, {'VALUES': 70}])
def test_statistics_are_those_of_the_frames(limits, monkeypatch):
  for name, value in limits.items():
    monkeypatch.setattr(invariant, name, value)
  x = np.random.default_rng(0).standard_normal((50, 5, 3)).astype(np.float32)
  found = fit_invariants(x)
  d = np.linalg.norm(x[:, found.pairs[:, 0]] - x[:, found.pairs[:, 1]], axis=-1)
  np.testing.assert_allclose(found.distance_mean, d.mean(axis=0), rtol=1e-5)
  np.testing.assert_allclose(found.distance_std, d.std(axis=0), rtol=1e-4)
  a, b, c, d = (x[:, found.quads[:, k]] for k in range(4))
  volume = np.einsum('fqi,fqi->fq', b - a, np.cross(c - a, d - a))
  np.testing.assert_allclose(found.volume_rms, np.sqrt((volume**2).mean(axis=0)), rtol=1e-4)


@pytest.mark.parametrize('shape', [(10, 3, 3), (1, 5, 3)])
def test_too_few_beads_or_frames_are_named(shape):
  with pytest.raises(ValueError, match=f'x: found {shape[0]} frames of {shape[1]} beads'):
    fit_invariants(np.zeros(shape, np.float32))


def test_energy_and_score_turn_and_move_with_the_beads():
  rotation = geometry.random_rotation(jax.random.key(2))
  moved = X @ rotation.T + 0.5
  # float32; at this noise level the energy is some tens.
  np.testing.assert_allclose(value(SHAKEN, moved, T), value(SHAKEN, X, T), rtol=1e-4)
  expected = np.asarray(score(SHAKEN, X, T) @ rotation.T)
  np.testing.assert_allclose(
    score(SHAKEN, moved, T), expected, atol=1e-4 * np.abs(expected).max())


def test_it_sees_chirality():
  # Distances alone would not: the score of a mirror image is not the mirror image of the score.
  gap = jax.jit(checks.mirror_gap, static_argnums=0)
  assert gap(SCORE, SHAKEN, X, T) > 1e-2  # a tenth of the score, squared
  # Before training it has no preference: rounding, 1e-6 squared.
  assert gap(SCORE, PARAMS, X, T) < 1e-12


def test_score_has_no_curl_and_no_net_force():
  assert jax.jit(checks.curl, static_argnums=0)(SCORE, SHAKEN, X, T) < 1e-5  # float32
  found = np.asarray(score(SHAKEN, X, T))
  np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-4 * np.abs(found).max())


@pytest.mark.parametrize('x', [jnp.zeros((5, 3)), X.at[1].set(X[0]), 100 * X],
                         ids=['all in one point', 'a pair', 'far apart'])
def test_energy_and_score_are_finite_wherever_the_beads_are(x):
  for t in (0.0, 0.1, 0.999):
    assert jnp.isfinite(value(SHAKEN, x, jnp.float32(t)))
    assert jnp.isfinite(score(SHAKEN, x, jnp.float32(t))).all()


def test_it_starts_at_pure_noise_where_there_is_only_noise():
  # phi = |x|²/2 at sigma = 1, so that the predicted noise is x itself: what pairs add is small.
  x = systems.gaussian_data(jax.random.key(3), (50, 5, 3), 1.0)
  phi = jax.jit(jax.vmap(lambda x: PHI(PARAMS, x, jnp.float32(0.999), jnp.arange(5))))(x)
  np.testing.assert_allclose(phi, 0.5 * jnp.sum(x**2, axis=(1, 2)), rtol=0.05)


def test_parameters_get_a_gradient_from_the_first_step():
  def loss(params):
    return jnp.sum((SCORE(params, X, T) - 1.0) ** 2)

  gradient = jax.jit(jax.grad(loss))(PARAMS)
  norms = [float(jnp.linalg.norm(leaf)) for leaf in jax.tree.leaves(gradient)]
  assert np.isfinite(norms).all() and max(norms) > 0


def test_it_sees_squared_distances_when_asked():
  x = np.random.default_rng(0).standard_normal((4000, 5, 3)).astype(np.float32)
  plain = InvariantEnergy(SCHEDULE, fit_invariants(x), widths=(16,))
  squares = plain.copy(squares=True)
  shapes = [jax.eval_shape(model.init, jax.random.key(0), x[0], T, jnp.arange(5))['params']
            ['Dense_1']['kernel'].shape for model in (plain, squares)]
  assert shapes == [(10 + 10 + 5 + 5, 16), (10 + 10 + 10 + 5 + 5, 16)]
  # Whitened: the mean is 0 at any noise, the width of order one.
  frames, t = jnp.asarray(x), jnp.float32(0.5)
  alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
  noised = alpha * frames + sigma * jax.random.normal(jax.random.key(1), frames.shape)
  d = jax.vmap(lambda x: geometry.distances(x, squares.invariants.pairs))(noised)
  found = squares._whitened_squares(d, alpha, sigma)
  np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.06)  # of 4,000: 4 standard errors
  assert ((found.std(axis=0) > 0.5) & (found.std(axis=0) < 2)).all()


@pytest.mark.parametrize('beads', [4, 10, 56])
def test_any_bead_count(beads):
  phi, params, _, x = start(beads)
  found = jax.jit(jax.value_and_grad(lambda x: phi(params, x, T, jnp.arange(beads))))(x)
  assert found[0].shape == () and found[1].shape == (beads, 3)
  assert all(bool(jnp.isfinite(leaf).all()) for leaf in found)
