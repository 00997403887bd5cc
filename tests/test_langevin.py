"""BAOAB in a harmonic well, whose answers are known at every time step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import harmonic_force
from twoforone.langevin import (
  automatic_time_step,
  diffusion_time_step,
  make_langevin,
  make_overdamped,
)

KT, MASS, FRICTION, STIFFNESS = 3.7, np.array([2.5, 9.0, 30.0]), 4.0, jnp.float32(800.0)


def variances(dt, replicas=3000, steps=600):
  """<x²> and <p²> of each bead and <kinetic> after `steps`, with their standard errors."""
  integrator = make_langevin(harmonic_force, mass=MASS, dt=dt, friction=FRICTION)

  def one(key):
    key, start = jax.random.split(key)
    x = jnp.sqrt(KT / STIFFNESS) * jax.random.normal(start, (3, 3))
    state = integrator.init(STIFFNESS, key, x, KT)
    state, _ = jax.lax.scan(
      lambda s, _: (integrator.step(STIFFNESS, s, KT), None), state, length=steps)
    return state.position, state.momentum, integrator.kinetic(state)

  *vectors, kinetic = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), replicas))
  squares = [np.moveaxis(np.asarray(a, float) ** 2, 1, 0).reshape(3, -1) for a in vectors]
  squares.append(np.asarray(kinetic, float)[None])
  return [(s.mean(axis=1), s.std(axis=1) / np.sqrt(s.shape[1])) for s in squares]


@pytest.mark.parametrize('fraction', [0.2, 1.0])
def test_harmonic_well_at_any_stable_step(fraction):
  """var x = kT/k and <kinetic> = 9 kT/2 exactly; <p²> = m kT (1 - (ω dt)²/4), per bead."""
  dt = fraction / np.sqrt(float(STIFFNESS) / MASS.min())
  (x2, x2_error), (p2, p2_error), (kinetic, kinetic_error) = variances(dt)
  omega_dt = np.sqrt(float(STIFFNESS) / MASS) * dt
  # Four standard errors: seven numbers, so a chance of 4e-4 of failing when all is right.
  np.testing.assert_array_less(np.abs(x2 - KT / float(STIFFNESS)), 4 * x2_error)
  np.testing.assert_array_less(np.abs(p2 - MASS * KT * (1 - omega_dt**2 / 4)), 4 * p2_error)
  assert abs(kinetic[0] - 4.5 * KT) < 4 * kinetic_error[0]


def test_momenta_start_from_maxwell_boltzmann_with_free_centre():
  """<p_i p_j> = m_i kT δ_ij: jax-md's own start would correlate beads."""
  integrator = make_langevin(harmonic_force, mass=MASS, dt=0.001, friction=1.0)
  init = jax.jit(jax.vmap(integrator.init, in_axes=(None, 0, None, None)))
  state = init(STIFFNESS, jax.random.split(jax.random.key(0), 20000), jnp.zeros((3, 3)), KT)
  p = np.moveaxis(np.asarray(state.momentum, float), 1, 0).reshape(3, -1)
  products = p[:, None] * p[None]
  error = products.std(axis=-1) / np.sqrt(p.shape[1])
  np.testing.assert_array_less(np.abs(products.mean(axis=-1) - np.diag(MASS * KT)), 4 * error)


def test_without_friction_the_energy_error_is_of_second_order():
  """Velocity Verlet: half the step, a quarter of the largest energy error."""
  errors = []
  for halvings in (0, 1):
    dt = 0.01 / 2**halvings
    integrator = make_langevin(harmonic_force, mass=MASS, dt=dt, friction=0.0)
    x = jnp.array([[0.1, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, -0.1]], jnp.float32)

    def energies(integrator=integrator, x=x, halvings=halvings):
      state = integrator.init(STIFFNESS, jax.random.key(0), x, KT)

      def body(s, _):
        s = integrator.step(STIFFNESS, s, KT)
        kinetic = 0.5 * jnp.sum(s.momentum**2 / s.mass)
        return s, kinetic + 0.5 * STIFFNESS * jnp.sum(s.position**2)

      return jax.lax.scan(body, state, length=100 * 2**halvings)[1]

    total = np.asarray(jax.jit(energies)())
    errors.append(np.ptp(total))
  # The next term is of order (ω dt)² ~ 3 % of the leading one for the lightest bead.
  assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.05)


def test_bad_numbers_are_named():
  for name, kwargs in {
    'mass': {'mass': np.array([1.0, -1.0])}, 'dt': {'dt': 0.0}, 'friction': {'friction': -1.0},
  }.items():
    good = {'mass': MASS, 'dt': 0.001, 'friction': 1.0}
    with pytest.raises(ValueError, match=name):
      make_langevin(harmonic_force, **{**good, **kwargs})
  integrator = make_langevin(harmonic_force, mass=MASS, dt=0.001, friction=1.0)
  with pytest.raises(ValueError, match='one mass per bead'):
    integrator.init(STIFFNESS, jax.random.key(0), jnp.zeros((4, 3)), KT)


@pytest.mark.parametrize('fraction', [0.2, 1.5])
def test_overdamped_harmonic_well_at_any_stable_step(fraction):
  """var x = kT/k per bead; Euler-Maruyama would give kT/k / (1 - h k/2), 4 times it at 1.5."""
  dt = fraction * MASS.min() * FRICTION / float(STIFFNESS)
  integrator = make_overdamped(harmonic_force, mass=MASS, dt=dt, friction=FRICTION)

  def one(key):
    key, start = jax.random.split(key)
    x = jnp.sqrt(KT / STIFFNESS) * jax.random.normal(start, (3, 3))
    state = integrator.init(STIFFNESS, key, x, KT)
    state, _ = jax.lax.scan(
      lambda s, _: (integrator.step(STIFFNESS, s, KT), None), state, length=300)
    return state.position, integrator.kinetic(state)

  x, kinetic = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 4000))
  squares = np.moveaxis(np.asarray(x, float) ** 2, 1, 0).reshape(3, -1)
  error = squares.std(axis=1) / np.sqrt(squares.shape[1])
  np.testing.assert_array_less(np.abs(squares.mean(axis=1) - KT / float(STIFFNESS)), 4 * error)
  assert np.isnan(kinetic).all()


def test_overdamped_free_diffusion():
  """<(x - x_0)²> = 2 kT t / (m friction) per axis without a force."""
  dt, steps = 0.01, 400
  integrator = make_overdamped(
    lambda params, x: jnp.zeros_like(x), mass=MASS, dt=dt, friction=FRICTION)

  def one(key):
    state = integrator.init((), key, jnp.zeros((3, 3)), KT)
    return jax.lax.scan(lambda s, _: (integrator.step((), s, KT), None), state, length=steps)[0]

  x = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 3000)).position
  squares = np.moveaxis(np.asarray(x, float) ** 2, 1, 0).reshape(3, -1)
  error = squares.std(axis=1) / np.sqrt(squares.shape[1])
  # Neighbouring noises are shared, so only the first and the last count half: 1/(2 steps) of the
  # whole, far below the error.
  expected = 2 * KT * steps * dt / (MASS * FRICTION)
  np.testing.assert_array_less(np.abs(squares.mean(axis=1) - expected), 4 * error)


def test_overdamped_needs_friction():
  with pytest.raises(ValueError, match='friction: found 0'):
    make_overdamped(harmonic_force, mass=MASS, dt=0.01, friction=0.0)


def test_automatic_step_is_a_fraction_of_the_stability_limit():
  """In a well of stiffness k the lightest bead has ω² = k/m; the limit is ω dt = 2."""
  x = jax.random.normal(jax.random.key(0), (4, 3, 3))
  dt = automatic_time_step(harmonic_force, STIFFNESS, x, mass=MASS, fraction=0.5)
  assert dt == pytest.approx(1 / np.sqrt(float(STIFFNESS) / MASS.min()), rel=1e-5)  # float32

  def furthest(dt):
    integrator = make_langevin(harmonic_force, mass=MASS, dt=dt, friction=0.0)
    state = integrator.init(STIFFNESS, jax.random.key(0), x[0], KT)
    step = jax.jit(lambda s: jax.lax.fori_loop(
      0, 1000, lambda _, s: integrator.step(STIFFNESS, s, KT), s))
    return float(jnp.nan_to_num(jnp.abs(step(state).position).max(), nan=jnp.inf))

  assert furthest(2 * 0.98 * dt) < 100 < furthest(2 * 1.02 * dt)
  with pytest.raises(ValueError, match='x: found a largest stiffness of -'):
    automatic_time_step(harmonic_force, -STIFFNESS, x, mass=MASS)


def test_diffusion_step_of_the_published_alanine():
  # Level 8 of the cosine table, scale 0.0945 nm, 12.8 amu, 300 K, friction 1/ps.
  dt = diffusion_time_step(sigma=0.02337, scale=0.09449, kT=2.4943, mass=12.8, friction=1.0)
  assert dt == pytest.approx(2.5e-5, rel=0.01)
