"""The force read from a noised Gaussian, for which everything is known.

Data of whitened variance v at level t: the model density of x_t has variance alpha² v + sigma², so
as a density of positions it has v + sigma² / alpha²: the well of the data, blurred by the noise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import systems
from twoforone import force, units
from twoforone.schedule import cosine_schedule, level_time

SCHEDULE = cosine_schedule()
VARIANCE = 0.3
SCALE = 0.2  # nm
KT = units.thermal_energy(300.0)
LEVEL = level_time(SCHEDULE, 20)
ALPHA, SIGMA = (float(f(jnp.float32(LEVEL))) for f in (SCHEDULE.alpha, SCHEDULE.sigma))
SCORE = systems.make_gaussian_score(SCHEDULE, VARIANCE)
ENERGY = systems.make_gaussian_energy(SCHEDULE, VARIANCE)
X = SCALE * jax.random.normal(jax.random.key(0), (5, 3))
X = X - X.mean(axis=0)


def test_exact_force_is_that_of_the_blurred_well():
  f = force.make_force_field(SCORE, t=LEVEL, kT=KT, scale=SCALE, alpha=ALPHA)(None, X)
  stiffness = KT / (SCALE**2 * (VARIANCE + SIGMA**2 / ALPHA**2))
  np.testing.assert_allclose(f, -stiffness * X, rtol=2e-6, atol=1e-5)  # float32, forces of 100


def test_the_published_form_differs_by_alpha_squared_on_a_gaussian():
  # Arts et al. (2023) read the score at the unscaled x: (kT / scale) score(x / scale, t).
  exact, published = (
    force.make_force_field(SCORE, t=LEVEL, kT=KT, scale=SCALE, alpha=alpha)(None, X)
    for alpha in (ALPHA, 1.0))
  np.testing.assert_allclose(exact, ALPHA**2 * published, rtol=2e-6, atol=1e-5)
  assert 1e-3 < 1 - ALPHA**2 < 3e-3


def test_force_becomes_that_of_the_data_as_the_noise_goes():
  t = level_time(SCHEDULE, 0)
  alpha, sigma = (float(f(jnp.float32(t))) for f in (SCHEDULE.alpha, SCHEDULE.sigma))
  f = force.make_force_field(SCORE, t=t, kT=KT, scale=SCALE, alpha=alpha)(None, X)
  # What is left of the blur is sigma² / v.
  np.testing.assert_allclose(f, -KT / (SCALE**2 * VARIANCE) * X, rtol=2 * sigma**2 / VARIANCE)


@pytest.mark.parametrize('alpha', [ALPHA, 1.0])
def test_force_is_minus_the_gradient_of_the_potential(alpha):
  options = {'t': LEVEL, 'kT': KT, 'scale': SCALE, 'alpha': alpha}
  potential = force.make_potential(ENERGY, **options)
  f = force.make_force_field(SCORE, **options)(None, X)
  np.testing.assert_allclose(f, -jax.grad(potential, argnums=1)(None, X), rtol=2e-6, atol=1e-5)


def test_potential_of_the_blurred_well():
  potential = force.make_potential(ENERGY, t=LEVEL, kT=KT, scale=SCALE, alpha=ALPHA)
  stiffness = KT / (SCALE**2 * (VARIANCE + SIGMA**2 / ALPHA**2))
  np.testing.assert_allclose(potential(None, X), 0.5 * stiffness * jnp.sum(X**2), rtol=1e-5)


@pytest.mark.parametrize('make, model', [
  (force.make_force_field, SCORE), (force.make_potential, ENERGY)])
@pytest.mark.parametrize('field, value', [
  ('t', -0.1), ('t', 1.5), ('t', float('nan')), ('kT', 0.0), ('kT', -2.5), ('scale', 0.0),
  ('alpha', 0.0), ('alpha', float('nan'))])
def test_a_number_out_of_range_is_named(make, model, field, value):
  options = {'t': LEVEL, 'kT': KT, 'scale': SCALE, 'alpha': ALPHA} | {field: value}
  with pytest.raises(ValueError, match=f'{field}: found {value}, expected'):
    make(model, **options)


def test_pieces_give_the_same_forces_in_less_memory():
  def field(params, x):
    return jax.grad(lambda x: -jnp.sum(jnp.tanh(x @ params) ** 2))(x)

  params, x = jax.random.normal(jax.random.key(0), (3, 2000)), jax.random.normal(
    jax.random.key(1), (51, 8, 3))
  found, memory = {}, {}
  for at_once in (51, 4):  # 4 leaves three over
    forces = jax.jit(jax.vmap(force.in_pieces(field, at_once), in_axes=(None, 0)))
    found[at_once] = forces(params, x)
    memory[at_once] = forces.lower(params, x).compile().memory_analysis().temp_size_in_bytes
  # The order of float32 sums over 2000 terms of order one.
  np.testing.assert_allclose(found[4], found[51], atol=1e-3)
  np.testing.assert_allclose(found[51], jax.vmap(field, (None, 0))(params, x), atol=1e-3)
  assert memory[4] < 0.25 * memory[51]
  ladders = jax.jit(jax.vmap(jax.vmap(force.in_pieces(field, 4), (None, 0)), (None, 0)))
  rungs = x[:48].reshape(12, 4, 8, 3)
  np.testing.assert_allclose(ladders(params, rungs), found[51][:48].reshape(rungs.shape), atol=1e-3)
  compiled = ladders.lower(params, rungs).compile()
  assert compiled.memory_analysis().temp_size_in_bytes < 0.25 * memory[51]
  np.testing.assert_allclose(  # the stiffness of one configuration
    *(jax.jit(jax.jacfwd(functools.partial(f, params)))(x[0])
      for f in (force.in_pieces(field, 4), field)), rtol=1e-4, atol=1e-3)
  with pytest.raises(ValueError, match='at_once: found 0, expected at least 1'):
    force.in_pieces(field, 0)


@pytest.mark.parametrize('at_once', [4, 20])
def test_pieces_of_a_network_with_derivatives_of_its_own(at_once):
  def field(params, x):
    return jax.grad(lambda x: jnp.sum(jax.scipy.special.log_ndtr(x @ params)))(x)

  params, x = jax.random.normal(jax.random.key(0), (3, 5)), jax.random.normal(
    jax.random.key(1), (10, 8, 3))
  every = [jax.jit(jax.vmap(f, (None, 0)))(params, x)
           for f in (field, force.in_pieces(field, at_once))]
  np.testing.assert_allclose(*every, rtol=1e-5, atol=1e-6)
