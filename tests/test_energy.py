"""Scores are gradients of energies, except the direct one, which must be seen to be none."""

import jax
import jax.numpy as jnp
import numpy as np

from tests import systems
from twoforone import checks, energy
from twoforone.schedule import cosine_schedule

SCHEDULE = cosine_schedule()
SPECIES = np.arange(5)
T = 0.1


def hidden(params, x, t, species):
  """A small network that sees absolute positions, the time and the species."""
  return jnp.tanh(params['in'] @ jnp.append(x.ravel(), t) + params['species'] @ species)


def network(params, x, t, species):
  return params['out'].sum(axis=0) @ hidden(params, x, t, species)


def direct_network(params, x, t, species):
  return (params['out'] @ hidden(params, x, t, species)).reshape(x.shape)


def start(dtype=np.float32):
  rng = np.random.default_rng(0)
  shapes = {'in': (20, 16), 'species': (20, 5), 'out': (15, 20)}
  params = {name: jnp.asarray(0.3 * rng.standard_normal(shape), dtype)
            for name, shape in shapes.items()}
  return params, jnp.asarray(rng.standard_normal((5, 3)), dtype), jnp.asarray(T, dtype)


ENERGY = energy.make_energy(network, SCHEDULE, SPECIES)
SCORE = energy.make_score(ENERGY)
DIRECT = energy.make_direct_score(direct_network, SCHEDULE, SPECIES)
curl = jax.jit(checks.curl, static_argnums=0)


@jax.jit
def central_differences(params, x, t, step):
  shifts = step * jnp.eye(x.size, dtype=x.dtype).reshape(-1, *x.shape)
  along = jax.vmap(lambda shift: ENERGY(params, x + shift, t) - ENERGY(params, x - shift, t))
  return along(shifts).reshape(x.shape) / (2 * step)


def test_score_is_minus_the_central_difference_of_the_energy():
  with jax.enable_x64():
    params, x, t = start(np.float64)
    difference = np.asarray(central_differences(params, x, t, 1e-5))
    # Truncation is of order step² = 1e-10, round-off 1e-16 / step = 1e-11.
    np.testing.assert_allclose(jax.jit(SCORE)(params, x, t), -difference,
                               atol=1e-6 * np.abs(difference).max())


def test_energy_is_the_network_over_sigma_and_does_not_move():
  params, x, t = start()
  value = jax.jit(ENERGY)
  expected = network(params, x - x.mean(axis=0), t, SPECIES) / SCHEDULE.sigma(t)
  np.testing.assert_allclose(value(params, x, t), expected, rtol=1e-5)
  np.testing.assert_allclose(value(params, x + 2.0, t), expected, rtol=1e-4)  # float32


def test_the_score_has_no_curl_and_the_direct_one_has():
  params, x, t = start()
  assert curl(SCORE, params, x, t) < 3e-6  # float32
  assert curl(DIRECT, params, x, t) > 1e-2


def test_score_and_noise_are_centred():
  params, x, t = start()
  for score in (SCORE, DIRECT):
    value = np.asarray(jax.jit(score)(params, x, t))
    assert np.abs(value).max() > 0.1
    np.testing.assert_allclose(value.mean(axis=0), 0, atol=1e-6 * np.abs(value).max())


def test_predicted_noise_is_the_gradient_of_the_network():
  params, x, t = start()
  noise = jax.jit(energy.make_noise(SCORE, SCHEDULE))(params, x, t)
  gradient = jax.jit(jax.grad(network, argnums=1))(params, x - x.mean(axis=0), t, SPECIES)
  np.testing.assert_allclose(noise, gradient - gradient.mean(axis=0), atol=1e-6)


def test_score_of_a_gaussian():
  x, t = jax.random.normal(jax.random.key(1), (5, 3)), jnp.float32(0.4)
  np.testing.assert_allclose(
    energy.make_score(systems.make_gaussian_energy(SCHEDULE, 0.7))(None, x, t),
    systems.make_gaussian_score(SCHEDULE, 0.7)(None, x, t), rtol=1e-5, atol=1e-6)


def test_energies_and_scores_add_up():
  params, x, t = start()
  prior = systems.make_gaussian_energy(SCHEDULE, 0.7)
  both = energy.make_score(energy.add_energies(ENERGY, prior))
  expected = SCORE(params, x, t) + systems.make_gaussian_score(SCHEDULE, 0.7)(None, x, t)
  np.testing.assert_allclose(jax.jit(both)(params, x, t), expected, rtol=1e-4, atol=1e-5)  # float32
