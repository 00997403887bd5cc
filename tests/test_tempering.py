"""Every rung has its own Boltzmann distribution; what is exchanged, with whom, and how often."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import betainc

from tests.systems import (
  CHAIN,
  centred_harmonic_force,
  centred_harmonic_potential,
  harmonic_force,
  stretched_chain,
)
from tests.test_simulate import assert_equal, failing_force
from twoforone.geometry import keep
from twoforone.langevin import make_langevin, make_overdamped
from twoforone.simulate import init_replicas, simulate
from twoforone.tempering import (
  LostCopy,
  acceptance,
  exchange,
  geometric_ladder,
  init_ladders,
  lost_copies,
  make_parallel_tempering,
  parallel_tempering,
  round_trip_times,
)

MASS, FRICTION, STIFFNESS = np.array([2.5, 30.0]), 4.0, jnp.float32(800.0)
KT = np.array([1.3, 1.9, 4.2, 7.5], np.float32)


def harmonic_potential(params, x):
  return 0.5 * params * jnp.sum(x**2)


def mean_and_error(samples):
  """Mean over the ladders (the first axis), which are independent, and its standard error."""
  samples = np.asarray(samples, float)
  return samples.mean(axis=0), samples.std(axis=0) / np.sqrt(len(samples))


def assert_mean(samples, expected):
  mean, error = mean_and_error(samples)
  # Four standard errors: 6e-5 per number, some fifty numbers in this file.
  np.testing.assert_array_less(np.abs(mean - expected), 4 * error)


def test_a_geometric_ladder_has_equal_ratios():
  kT = np.asarray(geometric_ladder(1.3, 7.5, 5))
  np.testing.assert_allclose(kT[1:] / kT[:-1], (7.5 / 1.3) ** 0.25, rtol=1e-6)  # float32
  np.testing.assert_array_equal(kT[[0, -1]], np.float32([1.3, 7.5]))


LANGEVIN = make_langevin(harmonic_force, mass=MASS, dt=0.5 / np.sqrt(800 / 2.5), friction=FRICTION)
OVERDAMPED = make_overdamped(
  harmonic_force, mass=MASS, dt=2.5 * FRICTION / 800, friction=FRICTION)  # h k = 1, 1/12


@pytest.fixture(scope='module', params=[LANGEVIN, OVERDAMPED], ids=['langevin', 'overdamped'])
def well(request):
  """300 ladders that start in equilibrium in a harmonic well and exchange at every step."""
  integrator, kT = request.param, jnp.asarray(KT)
  start, key = jax.random.split(jax.random.key(1))
  x = jnp.sqrt(kT / STIFFNESS)[:, None, None] * jax.random.normal(start, (300, 4, 2, 3))
  state = init_ladders(integrator, STIFFNESS, key, x, kT, project=keep)
  run = make_parallel_tempering(
    integrator, harmonic_potential, num_frames=20, stride=25, exchange_every=1, project=keep)
  state, x, info = run(STIFFNESS, state, kT)
  return SimpleNamespace(integrator=integrator, state=state, x=np.asarray(x, float), info=info)


def test_each_rung_has_its_own_variances(well):
  """<x²> = kT_m / k of each bead, <kinetic> = 3n kT_m / 2; exact at any stable step."""
  assert_mean((well.x[4:] ** 2).mean(axis=(0, 4)), KT[:, None] / float(STIFFNESS))
  if well.integrator is LANGEVIN:
    assert_mean(np.asarray(well.info.kinetic)[4:].mean(axis=0), 3 * KT)
    omega_dt = 0.5 * np.sqrt(MASS.min() / MASS)
    momentum = np.asarray(well.state.copies.dynamics.momentum, float)
    assert_mean((momentum**2).mean(axis=3), KT[:, None] * MASS * (1 - omega_dt**2 / 4))
  else:
    assert np.isnan(well.info.kinetic).all()
  u = 0.5 * float(STIFFNESS) * (well.x**2).sum(axis=(3, 4))
  np.testing.assert_allclose(well.info.potential, u, rtol=1e-5)  # order of a float32 sum


def test_neighbours_exchange_as_often_as_their_integral(well):
  """2 I_z(d/2, d/2), z = kT_a / (kT_a + kT_b), I the regularised incomplete beta function.

  By detailed balance the moves that gain count as much as those that lose: twice P(U_a > U_b).
  U_a / kT_a and U_b / kT_b are Gamma(d/2), so U_a > U_b when a Beta(d/2, d/2) is below z.
  """
  rate = np.asarray(well.state.accepted) / np.asarray(well.state.attempted)
  assert_mean(rate, 2 * betainc(3, 3, KT[:-1] / (KT[:-1] + KT[1:])))
  np.testing.assert_allclose(acceptance(well.state), rate.mean(axis=0), rtol=1e-6)
  np.testing.assert_array_equal(well.state.attempted, 250)


def test_walkers_are_a_permutation_in_every_frame(well):
  np.testing.assert_array_equal(np.sort(well.info.walker, axis=2), np.broadcast_to(
    np.arange(4), well.info.walker.shape))
  np.testing.assert_array_equal(well.info.walker[-1], well.state.walker)


def certain_ladder(integrator, rungs=5, lost=()):
  """One ladder, states with axes [M], whose every attempt is accepted: cold rungs lie higher."""
  kT = geometric_ladder(1.3, 7.5, rungs)
  x = jnp.arange(3.0 * rungs, 2.0 * rungs, -1.0)[:, None, None] * jnp.ones((rungs, 2, 3))
  state = init_ladders(integrator, STIFFNESS, jax.random.key(0), x[None], kT, project=keep)
  state = jax.tree.map(lambda a: a[0] if a.ndim else a, state)
  lost_frame = state.copies.lost_frame.at[jnp.array(lost, int)].set(0)
  return state._replace(copies=state.copies._replace(lost_frame=lost_frame)), kT


@pytest.mark.parametrize('integrator', [LANGEVIN, OVERDAMPED], ids=['langevin', 'overdamped'])
def test_forces_and_momenta_follow_the_swap_and_keys_stay(integrator):
  before, kT = certain_ladder(integrator)
  after = exchange(integrator, harmonic_potential, STIFFNESS, before, kT)
  np.testing.assert_array_equal(after.walker, [1, 0, 3, 2, 4])
  new, old = after.copies.dynamics, before.copies.dynamics
  np.testing.assert_array_equal(new.position, old.position[after.walker])
  np.testing.assert_array_equal(new.force, harmonic_force(STIFFNESS, new.position))
  if integrator is LANGEVIN:
    assert_equal(new.rng, old.rng)
    ratio = np.sqrt(kT / kT[after.walker])[:, None, None]
    np.testing.assert_allclose(new.momentum, ratio * old.momentum[after.walker], rtol=1e-6)
  else:
    assert_equal(new.key, old.key)
    np.testing.assert_array_equal(new.noise[4], old.noise[4])  # not exchanged, not changed


def test_parities_alternate_and_ends_never_wrap():
  """Where all is accepted walkers march to the ends and turn there, one rung in each round."""
  state, kT = certain_ladder(LANGEVIN, rungs=4)
  for frame, walker in enumerate(([1, 0, 3, 2], [1, 3, 0, 2])):
    copies = state.copies._replace(frame=jnp.int32(frame))
    state = exchange(
      LANGEVIN, lambda params, x: jnp.zeros(()), STIFFNESS, state._replace(copies=copies), kT)
    np.testing.assert_array_equal(state.walker, walker)
  np.testing.assert_array_equal(state.attempted, [1, 1, 1])
  np.testing.assert_array_equal(state.accepted, [1, 1, 1])


def test_a_lost_copy_and_a_higher_energy_are_not_exchanged():
  state, kT = certain_ladder(LANGEVIN, lost=[2])
  state = exchange(LANGEVIN, harmonic_potential, STIFFNESS, state, kT)
  np.testing.assert_array_equal(state.walker, [1, 0, 2, 3, 4])
  np.testing.assert_array_equal(state.attempted, [1, 0, 0, 0])
  up, kT = certain_ladder(LANGEVIN)
  for potential in (lambda params, x: -harmonic_potential(params, x),  # exp(-thousands)
                    lambda params, x: jnp.full((), jnp.nan)):
    after = exchange(LANGEVIN, potential, STIFFNESS, up, kT)
    np.testing.assert_array_equal(after.walker, np.arange(5))
    np.testing.assert_array_equal(after.attempted, [1, 0, 1, 0])


HEIGHT, TILT = 9.0, 0.35


def wells_potential(params, x):
  return jnp.sum(HEIGHT * (x**2 - 1) ** 2 + TILT * x)


def wells_force(params, x):
  return -jax.grad(wells_potential, argnums=1)(params, x)


@pytest.mark.slow
def test_tempering_finds_the_well_that_the_cold_rung_alone_does_not():
  """U = 9 (x² - 1)² + 0.35 x, all start in the upper well, kT = 0.6: a barrier of 15 kT."""
  kT = geometric_ladder(0.6, 6.0, 5)
  cold = jnp.repeat(kT[:1], 100)
  integrator = make_langevin(wells_force, mass=np.array([3.0]), dt=0.05, friction=2.0)
  key, numbers = jax.random.key(0), {'num_frames': 40, 'stride': 100}
  start = init_replicas(integrator, None, key, jnp.ones((100, 1, 1)), cold,
                        project=keep)
  _, alone, _ = simulate(integrator, None, start, cold, project=keep, **numbers)
  assert (np.asarray(alone) > 0).all()
  state = init_ladders(integrator, None, key, jnp.ones((100, 5, 1, 1)), kT, project=keep)
  run = make_parallel_tempering(
    integrator, wells_potential, exchange_every=10, project=keep, **numbers)
  _, x, _ = run(None, state, kT)
  grid = np.linspace(-3, 3, 6001)
  weight = np.exp(-(HEIGHT * (grid**2 - 1) ** 2 + TILT * grid) / np.asarray(kT, float)[:, None])
  # The first ten frames, fifty barrier crossings at the hottest rung, are left out.
  assert_mean((np.asarray(x)[10:, ..., 0, 0] < 0).mean(axis=0),
              weight[:, grid < 0].sum(axis=1) / weight.sum(axis=1))


def chain_run(force=centred_harmonic_force, num_frames=6):
  integrator = make_langevin(force, mass=CHAIN.mass, dt=0.004, friction=5.0)
  run = make_parallel_tempering(integrator, centred_harmonic_potential, num_frames=num_frames,
                                stride=6, exchange_every=2)
  x = stretched_chain(8).reshape(2, 4, 5, 3)
  return integrator, run, x, geometric_ladder(1.3, 7.5, 4)


def test_chunks_chain_bit_for_bit_and_trace_once():
  """Two chunks of three frames, nine rounds each, are one of six."""
  traces = []

  def force(params, x):
    traces.append(1)
    return centred_harmonic_force(params, x)

  integrator, run, x, kT = chain_run(force)
  start = lambda: init_ladders(integrator, STIFFNESS, jax.random.key(3), x, kT)  # noqa: E731
  whole, *frames_whole = run(STIFFNESS, start(), kT)
  _, run, *_ = chain_run(force, num_frames=3)
  state, *first = jax.device_get(run(STIFFNESS, start(), kT))
  count = len(traces)
  state, *second = run(STIFFNESS, jax.device_put(state), kT)
  assert_equal(state, whole)
  assert_equal(jax.tree.map(lambda *a: np.concatenate(a), first, second), frames_whole)
  assert state.accepted.sum() > 0
  run(2 * STIFFNESS, state, 1.1 * kT)
  assert len(traces) == count
  assert run._cache_size() == 1


def test_a_ladder_of_one_rung_is_a_simulation():
  integrator, _, x, kT = chain_run()
  state = init_ladders(integrator, STIFFNESS, jax.random.key(3), x[:, :1], kT[:1])
  alone = jax.tree.map(lambda a: a[:, 0] if a.ndim else a, state.copies)
  _, expected, info = simulate(
    integrator, STIFFNESS, alone, jnp.repeat(kT[:1], 2), num_frames=3, stride=4)
  _, x, ladder = parallel_tempering(integrator, centred_harmonic_potential, STIFFNESS, state,
                                    kT[:1], num_frames=3, stride=4, exchange_every=4)
  # Float32 rounding: another batch shape may be vectorised in another order.
  np.testing.assert_allclose(x[:, :, 0], expected, atol=1e-6)
  np.testing.assert_allclose(ladder.kinetic[..., 0], info.kinetic, rtol=1e-5)


def test_a_lost_copy_is_reported_and_touches_no_other():
  """Rung 1 of ladder 1 blows up: its ladder is cut there, the other ladder never knows."""
  integrator, run, good, kT = chain_run(failing_force)
  bad = good.at[1, 1, 0, 0].add(-1.0)  # a high energy: it does not move to the colder rung
  start = lambda x: init_ladders(integrator, STIFFNESS, jax.random.key(0), x, kT)  # noqa: E731
  state, x, info = run(STIFFNESS, start(bad), kT)
  reference, x_good, _ = run(STIFFNESS, start(good), kT)
  np.testing.assert_array_equal(x[:, 0], x_good[:, 0])
  assert np.isfinite(x[:, 1, [0, 2, 3]]).all() and np.isnan(x[:, 1, 1]).all()
  assert all(np.isnan(values[:, 1, 1]).all() for values in info[:3])
  numbers = {'stride': 6, 'exchange_every': 2, 'dt': 0.004}
  assert lost_copies(state, **numbers) == [
    LostCopy(1, 1, 0, pytest.approx(0.008), 'not finite')]
  np.testing.assert_array_equal(state.walker[1, :2], [0, 1])
  np.testing.assert_array_equal(state.attempted[1], [1, 0, 9])  # once before it was found
  assert lost_copies(reference, **numbers) == []


def test_the_frame_of_a_loss_counts_stored_frames():
  state, _ = certain_ladder(LANGEVIN)
  state = jax.tree.map(lambda a: a[None] if a.ndim else a, state)
  copies = state.copies._replace(
    lost_frame=state.copies.lost_frame.at[0, 3].set(7), reason=state.copies.reason.at[0, 3].set(2))
  (lost,) = lost_copies(state._replace(copies=copies), stride=30, exchange_every=10, dt=0.5)
  assert lost == (0, 3, 2, pytest.approx(40.0), 'bond too long')  # the third round of frame 2


def test_round_trips_of_a_trace_made_by_hand():
  """Walker 0 starts at the bottom; up at 2, home at 5; up at 6, home at 8: trips of 5 and 3."""
  rung = np.array([[0, 1, 2, 1, 1, 0, 2, 1, 0, 1, 2],
                   [2, 0, 0, 2, 2, 1, 0, 0, 1, 2, 1]])  # walker 1: first home at 1, up 3, home 6
  walker = np.argsort(np.vstack([rung, 3 - rung.sum(axis=0)]), axis=0).T[:, None]
  # Walker 2: at the bottom at 3, up at 5 and 7; home again at 9: six frames.
  times = round_trip_times(walker, interval=0.5)
  np.testing.assert_array_equal(times, [2.5, 1.5, 2.5, 3.0])
  still = np.tile(np.arange(3), (5, 2, 1))
  assert round_trip_times(still, 0.5).size == 0


def test_bad_numbers_are_named():
  integrator, _, x, kT = chain_run()
  for bad, name in (((2.0, 1.0, 3), 'kT_min'), ((0.0, 1.0, 3), 'kT_min'), ((1.0, 2.0, 1), 'num')):
    with pytest.raises(ValueError, match=name):
      geometric_ladder(*bad)
  with pytest.raises(ValueError, match=r'x: .* \[replica, rung\] \[\[1, 2\]\]'):
    init_ladders(integrator, STIFFNESS, jax.random.key(0), x.at[1, 2, 3].set(jnp.nan), kT)
  state = init_ladders(integrator, STIFFNESS, jax.random.key(0), x, kT)
  good = {'num_frames': 1, 'stride': 10, 'exchange_every': 5}
  for bad, match in (({'exchange_every': 0}, 'exchange_every: found 0'),
                     ({'num_frames': 0}, 'num_frames'),
                     ({'exchange_every': 4}, 'stride: found 10, .* multiple of 4')):
    with pytest.raises(ValueError, match=match):
      parallel_tempering(
        integrator, centred_harmonic_potential, STIFFNESS, state, kT, **{**good, **bad})


PROGRAM = """
import jax
from tests.test_tempering import STIFFNESS, chain_run, init_ladders
from twoforone import sharding

integrator, run, x, kT = chain_run()
state = init_ladders(integrator, STIFFNESS, jax.random.key(0), x, kT)
mesh = sharding.make_mesh(size=2)
assert mesh.size == 2
state, params, kT = sharding.shard(mesh, state), *sharding.replicate(mesh, (STIFFNESS, kT))
program = run.lower(params, state, kT).compile()
text = program.as_text()
for word in ('all-gather', 'all-reduce', 'all-to-all', 'collective-permute'):
  assert word not in text, word
state, *_ = program(params, state, kT)
assert len(state.copies.dynamics.position.sharding.device_set) == 2
"""


@pytest.mark.slow
def test_ladders_on_two_devices_do_not_communicate(environment):
  subprocess.run([sys.executable, '-c', PROGRAM], check=True, env=environment(2))
