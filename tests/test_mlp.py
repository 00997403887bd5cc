"""The MLP energy: the Gaussian it starts at, its smoothness in sigma², its gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from twoforone import energy, geometry
from twoforone.networks.mlp import MLPEnergy
from twoforone.schedule import vp_schedule

SCHEDULE = vp_schedule()
X = jnp.array([[0.7, -1.2]])


@functools.cache
def start():
  """Energy, parameters at the start, and the same shaken (the last layer starts at zero)."""
  network = MLPEnergy(SCHEDULE, widths=(16, 16))
  params = jax.jit(network.init)(jax.random.key(0), X, jnp.float32(0.5), jnp.zeros(1, int))
  random = np.random.default_rng(0)
  shaken = jax.tree.map(
    lambda a: a + 0.3 * random.standard_normal(a.shape).astype(np.float32), params)
  made = energy.make_energy(network.apply, SCHEDULE, np.zeros(1, int), project=geometry.keep)
  return jax.jit(made), params, shaken


def test_it_starts_at_the_unit_gaussian_at_every_noise_level():
  reduced, params, _ = start()
  for t in (1e-5, 0.01, 0.5, 1.0):
    np.testing.assert_allclose(reduced(params, X, jnp.float32(t)), 0.5 * jnp.sum(X**2), rtol=1e-5)


def test_it_sees_the_field_and_the_noise():
  reduced, _, shaken = start()
  t = jnp.float32(0.1)
  here = reduced(shaken, X, t)
  assert abs(reduced(shaken, X + 0.5, t) - here - 0.5 * jnp.sum((X + 0.5) ** 2 - X**2)) > 1e-3
  assert abs(reduced(shaken, X, jnp.float32(0.3)) - here) > 1e-3


def test_near_no_noise_it_is_linear_in_the_variance():
  # Halving sigma² twice: the steps halve, up to sigma² / 0.03² and float32.
  reduced, _, shaken = start()
  values = np.array([reduced(shaken, X, SCHEDULE.time(jnp.float32(np.sqrt(v))))
                     for v in (1e-4, 0.5e-4, 0.25e-4)], np.float64)
  first, second = -np.diff(values)
  assert abs(first) > 1e-5
  np.testing.assert_allclose(first / second, 2.0, rtol=0.15)


def test_score_and_parameter_gradients_are_finite_at_both_ends():
  reduced, params, shaken = start()
  score = jax.jit(energy.make_score(reduced))
  for t in (0.0, 1.0):
    for p in (params, shaken):
      assert jnp.isfinite(score(p, X, jnp.float32(t))).all()

  def loss(params):
    return jnp.sum((score(params, X, jnp.float32(0.1)) - 1.0) ** 2)

  gradient = jax.jit(jax.grad(loss))(params)
  assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
  assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 0
