"""Replicas, chunks, lost replicas, temperatures: properties of the map from state to state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import (
  CHAIN,
  centred_harmonic_force,
  centred_harmonic_potential,
  stretched_chain,
)
from twoforone.langevin import make_langevin
from twoforone.simulate import (
  blow_ups,
  check_finite,
  init_replicas,
  make_bond_check,
  make_simulation,
  simulate,
)

STIFFNESS = jnp.float32(400.0)


def make_integrator(force=centred_harmonic_force, mass=CHAIN.mass):
  return make_langevin(force, mass=mass, dt=0.004, friction=5.0)


def leaves(tree):
  return [np.asarray(jax.random.key_data(a)) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
          else np.asarray(a) for a in jax.tree.leaves(tree)]


def assert_equal(a, b):
  for left, right in zip(leaves(a), leaves(b), strict=True):
    np.testing.assert_array_equal(left, right)


def test_replicas_are_runs_of_one():
  """Each replica of three follows its own run with its own key and kT."""
  integrator = make_integrator()
  key, x, kT = jax.random.key(0), stretched_chain(3), jnp.array([1.0, 2.5, 6.0])
  state = init_replicas(integrator, STIFFNESS, key, x, kT)
  _, many, _ = simulate(integrator, STIFFNESS, state, kT, num_frames=2, stride=5)
  for r, replica_key in enumerate(jax.random.split(key, 3)):
    one = integrator.init(STIFFNESS, replica_key, x[r] - x[r].mean(axis=0), kT[r])
    for _ in range(10):
      one = integrator.step(STIFFNESS, one, kT[r])
    position = one.position - one.position.mean(axis=0)
    # Float32 rounding of positions of 0.1 to 1 nm: the run of one is never recentred.
    np.testing.assert_allclose(many[-1, r], position, atol=1e-6)


def test_chunks_chain_bit_for_bit_and_trace_once():
  """Three chunks of two frames are one of six, whatever the parameters; one trace in all."""
  traces = []

  def force(params, x):
    traces.append(1)
    return centred_harmonic_force(params, x)

  integrator, kT = make_integrator(force), jnp.full(4, 2.5)
  start = lambda: init_replicas(integrator, STIFFNESS, jax.random.key(3), stretched_chain(4), kT)  # noqa: E731
  whole, x_whole, info_whole = make_simulation(integrator, num_frames=6, stride=3)(
    STIFFNESS, start(), kT)
  run = make_simulation(integrator, num_frames=2, stride=3)
  state, parts = start(), []
  for chunk in range(3):
    state, x, info = run(STIFFNESS, state, kT)
    parts.append((np.asarray(x), jax.device_get(info)))
    if chunk == 0:
      count = len(traces)
  assert_equal(state, whole)
  assert_equal(jax.tree.map(lambda *a: np.concatenate(a), *parts), (x_whole, info_whole))
  run(2 * STIFFNESS, state, 1.1 * kT)
  assert len(traces) == count
  assert run._cache_size() == 1


def test_each_replica_has_the_temperature_of_its_thermostat():
  """<kinetic> = 3n kT/2, <virial> = -3(n - 1) kT and <U> = 3(n - 1) kT/2, for each of four kT."""
  replicas = 400
  kT = jnp.repeat(jnp.array([0.7, 2.5, 5.0, 11.0]), replicas)
  integrator = make_integrator()
  x = 0.1 * jax.random.normal(jax.random.key(2), (4 * replicas, 5, 3))
  state = init_replicas(integrator, STIFFNESS, jax.random.key(4), x, kT)
  run = make_simulation(integrator, num_frames=2, stride=200, potential=centred_harmonic_potential)
  _, x, info = run(STIFFNESS, state, kT)
  for measured, expected in (
      (info.kinetic[-1], 7.5), (info.virial[-1], -12.0), (info.potential[-1], 6.0)):
    ratio = np.asarray(measured / kT, float).reshape(4, replicas)
    error = ratio.std(axis=1) / np.sqrt(replicas)
    np.testing.assert_array_less(np.abs(ratio.mean(axis=1) - expected), 4 * error)
  np.testing.assert_allclose(x.mean(axis=2), 0.0, atol=1e-6)


def test_the_potential_is_that_of_each_stored_frame():
  calls = []

  def potential(params, x):
    calls.append(1)
    return centred_harmonic_potential(params, x)

  integrator, kT = make_integrator(), jnp.full(3, 2.5)
  state = init_replicas(integrator, STIFFNESS, jax.random.key(0), stretched_chain(3), kT)
  numbers = {'num_frames': 4, 'stride': 5}
  _, x, info = simulate(integrator, STIFFNESS, state, kT, potential=potential, **numbers)
  own = jax.vmap(jax.vmap(centred_harmonic_potential, (None, 0)), (None, 0))(STIFFNESS, x)
  np.testing.assert_allclose(info.potential, own, rtol=1e-5)  # order of a float32 sum
  assert len(calls) == 1  # outside the loop over steps, whose body would be traced again
  _, same, without = simulate(integrator, STIFFNESS, state, kT, **numbers)
  assert np.isnan(without.potential).all() and without.potential.shape == (4, 3)
  np.testing.assert_array_equal(same, x)


def failing_force(params, x):
  """Harmonic, but not a number for the molecule whose first bond starts longer than 0.4 nm."""
  bond = jnp.linalg.norm(x[1] - x[0])
  return centred_harmonic_force(params, x) + jnp.where(bond > 0.4, jnp.nan, 0.0)


def test_a_lost_replica_is_reported_and_touches_no_other():
  integrator, kT = make_integrator(failing_force), jnp.full(3, 0.01)
  good = stretched_chain(3)
  bad = good.at[1, 0, 0].add(-0.6)
  run = make_simulation(integrator, num_frames=4, stride=2, potential=lambda params, x: params)
  state = init_replicas(integrator, STIFFNESS, jax.random.key(0), bad, kT)
  frozen = np.asarray(state.dynamics.position[1])
  state, x, info = run(STIFFNESS, state, kT)
  reference, x_good, _ = run(
    STIFFNESS, init_replicas(integrator, STIFFNESS, jax.random.key(0), good, kT), kT)
  np.testing.assert_array_equal(x[:, [0, 2]], x_good[:, [0, 2]])
  assert np.isnan(x[:, 1]).all() and all(np.isnan(values[:, 1]).all() for values in info)
  assert (info.potential[:, [0, 2]] == STIFFNESS).all()
  np.testing.assert_array_equal(state.dynamics.position[1], frozen)
  (lost,) = blow_ups(state, interval=0.008)
  assert lost == (1, 0, pytest.approx(0.008), 'not finite')
  assert blow_ups(reference, interval=0.008) == []


def test_a_broken_bond_is_found_at_its_frame():
  """A free pair of beads flies apart: the bond passes the limit at a frame known in advance."""
  integrator = make_langevin(lambda params, x: jnp.zeros_like(x), mass=np.ones(2), dt=0.01,
                             friction=0.0)
  x = jnp.zeros((2, 2, 3)).at[:, 1, 0].set(0.1)
  kT = jnp.array([1e-12, 1e-12])
  state = init_replicas(integrator, None, jax.random.key(0), x, kT)
  momentum = jnp.zeros((2, 2, 3)).at[1, 1, 0].set(1.0)  # replica 1: 0.1 nm apart per frame
  state = state._replace(dynamics=state.dynamics.set(momentum=momentum))
  check = make_bond_check(np.array([[0, 1]]), 0.45)
  state, x, _ = simulate(integrator, None, state, kT, num_frames=6, stride=10, check=check)
  assert blow_ups(state, 0.1) == [(1, 3, pytest.approx(0.4), 'bond too long')]
  assert np.isfinite(x[:, 0]).all() and np.isfinite(x[:3, 1]).all() and np.isnan(x[3:, 1]).all()
  # Goes on in the next chunk as it was: the first loss is the one remembered.
  state, x, _ = simulate(integrator, None, state, kT, num_frames=2, stride=10, check=check)
  assert blow_ups(state, 0.1)[0].frame == 3 and np.isnan(x[:, 1]).all()


def test_ten_thousand_replicas():
  integrator, kT = make_integrator(), jnp.full(10_000, 2.5)
  state = init_replicas(integrator, STIFFNESS, jax.random.key(0), stretched_chain(10_000), kT)
  state, x, _ = make_simulation(integrator, num_frames=2, stride=2)(STIFFNESS, state, kT)
  assert x.shape == (2, 10_000, 5, 3) and not blow_ups(state, 1.0) and np.isfinite(x).all()


def test_bad_numbers_are_named():
  integrator, x, kT = make_integrator(), stretched_chain(2), jnp.full(2, 2.5)
  with pytest.raises(ValueError, match='kT'):
    init_replicas(integrator, STIFFNESS, jax.random.key(0), x, -kT)
  with pytest.raises(ValueError, match=r'x: .* replicas \[1\]'):
    init_replicas(integrator, STIFFNESS, jax.random.key(0), x.at[1, 2].set(jnp.nan), kT)
  state = init_replicas(integrator, STIFFNESS, jax.random.key(0), x, kT)
  with pytest.raises(ValueError, match='stride'):
    simulate(integrator, STIFFNESS, state, kT, num_frames=1, stride=0, check=check_finite)
  with pytest.raises(ValueError, match='max_length'):
    make_bond_check(CHAIN.bonds, 0.0)
