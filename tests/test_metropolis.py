"""The canonical averages hold at any time step, where BAOAB is wrong or blows up."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import harmonic_force
from twoforone.geometry import keep
from twoforone.langevin import make_langevin
from twoforone.metropolis import make_metropolis_langevin
from twoforone.tempering import geometric_ladder, init_ladders, parallel_tempering

KT, MASS, FRICTION, STIFFNESS = 3.7, np.array([2.5, 9.0]), 4.0, jnp.float32(800.0)
DT = 1.0 / np.sqrt(float(STIFFNESS) / MASS.min())


def harmonic_potential(params, x):
  return 0.5 * params * jnp.sum(x**2)


def quartic_potential(params, x):
  return params * jnp.sum(x**4)


def quartic_force(params, x):
  return -4 * params * x**3


def averages(integrator, params, width, steps=200, replicas=1500):
  """<x²>, <p²> of each bead, their standard errors, and the accepted part of the steps."""

  def one(key):
    key, start = jax.random.split(key)
    state = integrator.init(params, key, width * jax.random.normal(start, (2, 3)), KT)
    return jax.lax.scan(
      lambda s, _: (integrator.step(params, s, KT), None), state, length=steps)[0]

  state = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), replicas))
  squares = np.stack([np.asarray(a, float) ** 2 for a in (state.position, state.momentum)])
  squares = squares.mean(axis=-1)
  rate = np.mean(state.accepted) / steps if hasattr(state, 'accepted') else np.nan
  return squares.mean(axis=1), squares.std(axis=1) / np.sqrt(replicas), rate


def test_harmonic_well_has_exact_positions_and_momenta_at_a_large_step():
  """ω dt = 1 for the lightest bead: BAOAB's <p²> is a quarter too small there."""
  integrator = make_metropolis_langevin(
    harmonic_force, harmonic_potential, mass=MASS, dt=DT, friction=FRICTION)
  mean, error, rate = averages(integrator, STIFFNESS, np.sqrt(KT / float(STIFFNESS)))
  expected = np.stack([np.full(2, KT / float(STIFFNESS)), MASS * KT])
  np.testing.assert_array_less(np.abs(mean - expected), 4 * error)  # four numbers
  assert 0.5 < rate < 0.95


def test_quartic_well_that_baoab_flies_out_of():
  """U = a x⁴: <x²> = sqrt(kT / a) Γ(3/4) / Γ(1/4), by u = a x⁴ / kT; no step is stable far out."""
  stiffness, dt = jnp.float32(2000.0), 0.11
  expected = np.sqrt(KT / 2000.0) * 0.3379891200336424
  exact = make_metropolis_langevin(
    quartic_force, quartic_potential, mass=MASS, dt=dt, friction=FRICTION)
  mean, error, rate = averages(exact, stiffness, np.sqrt(expected))
  np.testing.assert_array_less(np.abs(mean[0] - expected), 4 * error[0])
  assert 0.3 < rate < 0.95
  unchecked = make_langevin(quartic_force, mass=MASS, dt=dt, friction=FRICTION)
  mean, *_ = averages(unchecked, stiffness, np.sqrt(expected))
  assert not np.isfinite(mean[0, 0])  # of the lightest bead


def test_rejections_fall_with_the_third_power_of_the_step():
  """ΔH of one Verlet step is of order dt³, and with it the part that is rejected."""
  rejected, error = [], []
  for dt in (0.4 * DT, 0.2 * DT):
    integrator = make_metropolis_langevin(
      harmonic_force, harmonic_potential, mass=MASS, dt=dt, friction=FRICTION)
    *_, rate = averages(integrator, STIFFNESS, np.sqrt(KT / float(STIFFNESS)))
    rejected.append(1 - rate)
    error.append(np.sqrt((1 - rate) / (200 * 1500)) / (1 - rate))
  ratio = rejected[0] / rejected[1]
  # The next order is (ω dt)² = 16 % at the larger step, a few percent in the ratio.
  assert abs(ratio - 8) < 0.05 * 8 + 4 * ratio * np.hypot(*error)


@pytest.mark.parametrize('height', [np.inf, np.nan])
def test_a_rejected_step_stays_and_turns_round(height):
  """Behind a wall at x = 0.01: without friction the momenta are the old ones, reversed."""

  def wall(params, x):
    return jnp.where((x > 0.01).any(), height, 0.0)

  integrator = make_metropolis_langevin(
    lambda params, x: jnp.zeros_like(x), wall, mass=MASS, dt=0.1, friction=0.0)
  before = integrator.init(None, jax.random.key(0), jnp.zeros((2, 3)), KT)
  before = dataclasses.replace(before, momentum=jnp.abs(before.momentum) + 1.0)
  after = integrator.step(None, before, KT)
  np.testing.assert_array_equal(after.position, before.position)
  np.testing.assert_array_equal(after.momentum, -before.momentum)
  assert after.accepted == 0 and after.potential == 0
  away = integrator.step(None, after, KT)
  np.testing.assert_allclose(away.position, 0.1 * after.momentum / MASS[:, None], rtol=1e-6)
  assert away.accepted == 1


def test_it_fits_the_socket_of_tempering():
  """The potential that a configuration owns goes along with it."""
  integrator = make_metropolis_langevin(
    harmonic_force, harmonic_potential, mass=MASS, dt=DT, friction=FRICTION)
  kT = geometric_ladder(1.3, 7.5, 3)
  x = 0.1 * jax.random.normal(jax.random.key(1), (50, 3, 2, 3))
  state = init_ladders(integrator, STIFFNESS, jax.random.key(0), x, kT, project=keep)
  state, _, info = parallel_tempering(
    integrator, harmonic_potential, STIFFNESS, state, kT, num_frames=30, stride=20,
    exchange_every=4, project=keep)
  dynamics = state.copies.dynamics
  own = jax.vmap(jax.vmap(harmonic_potential, (None, 0)), (None, 0))(STIFFNESS, dynamics.position)
  np.testing.assert_allclose(dynamics.potential, own, rtol=1e-5)  # order of a float32 sum
  kinetic = np.asarray(info.kinetic, float)[5:].mean(axis=0)
  error = kinetic.std(axis=0) / np.sqrt(50)
  np.testing.assert_array_less(np.abs(kinetic.mean(axis=0) - 3 * np.asarray(kT)), 4 * error)


def test_bad_numbers_are_named():
  good = {'mass': MASS, 'dt': 0.01, 'friction': 1.0}
  for name, bad in (('mass', np.array([1.0, 0.0])), ('dt', 0.0), ('friction', -1.0)):
    with pytest.raises(ValueError, match=name):
      make_metropolis_langevin(harmonic_force, harmonic_potential, **{**good, name: bad})
  integrator = make_metropolis_langevin(harmonic_force, harmonic_potential, **good)
  with pytest.raises(ValueError, match='one mass per bead'):
    integrator.init(STIFFNESS, jax.random.key(0), jnp.zeros((4, 3)), KT)
