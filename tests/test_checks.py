"""Checks pass a conservative, invariant, chiral energy and fail what breaks each property."""

import jax
import jax.numpy as jnp
import pytest

from experiments import models
from experiments.checks import check_model
from experiments.configs import checks as checks_config
from twoforone import checks, geometry

T = jnp.asarray(0.1)
X = jax.random.normal(jax.random.key(0), (5, 3))
PAIRS = jnp.stack(jnp.triu_indices(5, 1), axis=1)

curl, rotation_error, translation_error, net_force, mirror_gap = (
  jax.jit(check, static_argnums=0) for check in
  (checks.curl, checks.rotation_error, checks.translation_error, checks.net_force,
   checks.mirror_gap))


def chiral_energy(params, x, t):
  """Springs, weaker ones between far beads, and a term odd under reflection."""
  volume = geometry.signed_volumes(x, jnp.array([[0, 1, 2, 3], [1, 2, 3, 4]]))
  return jnp.sum((geometry.distances(x, PAIRS) - params) ** 2) + jnp.sum(jnp.sin(volume))


def score(params, x, t):
  return -jax.grad(chiral_energy, argnums=1)(params, x, t)


def direct(params, x, t):
  """A field that is no gradient: it turns every bead about z."""
  return score(params, x, t) + x @ jnp.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


def test_a_gradient_has_no_curl_and_a_direct_field_has():
  # Round-off of a 15 x 15 Jacobian in float32 is a few 1e-7.
  assert curl(score, 1.0, X, T) < 1e-5
  assert curl(direct, 1.0, X, T) > 1e-2


def test_invariant_energy_turns_and_moves_with_its_beads():
  errors = rotation_error(score, 1.0, X, T, jax.random.key(1))
  # Squared relative round-off; 1e-10 is (1e-5)².
  assert errors.shape == (100,) and errors.max() < 1e-10
  assert translation_error(score, 1.0, X, T, jnp.array([1.0, -2.0, 0.5])) < 1e-10
  assert net_force(score, 1.0, X, T) < 1e-10


def test_an_external_field_fails_rotation_translation_and_net_force():
  def external(params, x, t):
    return score(params, x, t) - x * jnp.array([1.0, 2.0, 3.0])
  assert rotation_error(external, 1.0, X, T, jax.random.key(1)).min() > 1e-4
  assert translation_error(external, 1.0, X, T, jnp.ones(3)) > 1e-2
  assert net_force(external, 1.0, X, T) > 1e-3


def test_mirror_gap_sees_chirality_and_only_chirality():
  def blind(params, x, t):
    return -jax.grad(lambda x: jnp.sum((geometry.distances(x, PAIRS) - params) ** 2))(x)
  assert mirror_gap(score, 1.0, X, T) > 1e-3
  assert mirror_gap(blind, 1.0, X, T) < 1e-10


@pytest.mark.parametrize('factor, agrees', [(1.0, True), (1.01, False)])
def test_force_is_minus_the_gradient_of_the_energy(factor, agrees):
  with jax.enable_x64():
    x, t = X.astype(jnp.float64), jnp.float64(0.1)
    consistency = jax.jit(checks.energy_force_consistency, static_argnums=(0, 1))
    error = float(consistency(chiral_energy, lambda *args: factor * score(*args), 1.0, x, t))
  # Central differences of step 1e-4: O(1e-8) of truncation; a 1 % error shows as 1 %.
  assert (error < 1e-6) == agrees


def test_a_model_that_is_chiral_at_one_frame_only_fails_the_mirror_gap():
  config = checks_config.get_config()
  config.num_rotations = 2
  with jax.enable_x64():
    frames = jnp.stack([1.2 * X, X]).astype(jnp.float64)
    size = geometry.distances(frames[1], PAIRS).sum()

    def energy(params, x, t):
      """Springs; a volume for beads as far apart as those of the second frame."""
      near = jnp.exp(-(10 * (geometry.distances(x, PAIRS).sum() - size)) ** 2)
      return near * chiral_energy(params, x, t) + jnp.sum(geometry.distances(x, PAIRS) ** 2)

    def score(params, x, t):
      return -jax.grad(energy, argnums=1)(params, x, t)

    model = models.Model(models.make_schedule(config.schedule), None, score, None, 1.0,
                         models.Statistics())
    rows = check_model(config, model, 1.0, frames)
    assert mirror_gap(score, 1.0, frames[1], T) > config.mirror_limit
  assert [row['check'] for row in rows if not row['passed']] == ['mirror gap']
