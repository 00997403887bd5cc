"""Relative entropy: known stationary points and Newton steps, the reweighting, and the two toys.

The toys have 10^5 draws and 26 splines; chains that cross no barrier are seen to fail.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from twoforone.baselines import basis, relative_entropy, walkers
from twoforone.datasets import potentials, toy_draws
from twoforone.evaluation import profiles
from twoforone.geometry import centre
from twoforone.langevin import make_overdamped
from twoforone.optimizers import adamw

GRID = jnp.linspace(-6, 6, 1201)[:, None, None]
KEY = jax.random.key(0)


def harmonic(params, x, t):
  """k x²/2: <x²> = 1/k."""
  return 0.5 * params['k'] * jnp.sum(x**2)


def second_moment(params, key, data):
  """<U>_data from <x²>, exact."""
  return 0.5 * params['k'] * data


class World(NamedTuple):
  energy: Callable
  mean_basis: jax.Array
  exact: profiles.Profile
  barrier: float


def make_world(s, x, exact, barrier):
  ends = s[0], s[-1]
  splines = basis.make_cubic_splines(*ends, 26)
  energy = basis.make_linear_energy(splines, basis.make_walls(*ends))
  return World(energy, basis.mean_basis(splines, jnp.asarray(x)), exact, barrier)


@functools.cache
def double_well():
  s = np.linspace(-2.7, 2.6, 1061)
  exact = profiles.Profile(s, profiles.normalise(s, potentials.quartic(s)), -4 * s**3 + 12 * s - 1)
  x = toy_draws.draw_double_well(100_000, 1)[:, :, :1]
  return make_world(s, x, exact, potentials.DOUBLE_WELL_BARRIER)


@functools.cache
def mueller():
  s = np.linspace(-1.75, 0.8, 511)
  exact = profiles.line_profile(
    potentials.mueller, 1.0, potentials.MUELLER_AXIS, s, np.linspace(-1.6, 2.6, 401))
  x = potentials.draw(potentials.grid_density(potentials.MUELLER, (700, 700)), 100_000, 1)
  s, _ = toy_draws.coarse_grain(potentials.MUELLER, x, potentials.MUELLER_AXIS)
  return make_world(exact.s, s, exact, potentials.MUELLER_BARRIERS[0])


def train_newton(world, sampler, start, num_updates):
  """(scores against the exact profile, log) of Newton from a flat energy."""
  energy, mean, exact, barrier = world
  newton = relative_entropy.make_newton(energy)
  update = relative_entropy.make_update(
    energy, relative_entropy.linear_mean, sampler, newton, ratio=1.1,
    observe=lambda x: (x[0, 0] > barrier).astype(float))
  state = relative_entropy.init_state(sampler, newton, jnp.zeros(26), start)
  state, log = relative_entropy.make_run(update, num_updates)(state, KEY, mean)
  learned = jax.vmap(energy, (None, 0, None))(
    state.params, jnp.asarray(exact.s, jnp.float32)[:, None, None], jnp.float32(0))
  return profiles.compare(exact, np.asarray(learned, np.float64), barrier), log


def test_splines_sum_to_one_and_represent_cubics():
  """A cubic on [low, high] is a combination of them (de Boor 1978); the value is kept outside."""
  splines = basis.make_cubic_splines(-1.0, 2.0, 9)
  x = jnp.linspace(-1, 2, 61)
  values = np.asarray(jax.vmap(splines)(x[:, None, None]), np.float64)
  np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)
  cubic = np.asarray(x, float) ** 3 - 2 * np.asarray(x, float)
  coefficients = np.linalg.lstsq(values, cubic)[0]
  np.testing.assert_allclose(values @ coefficients, cubic, atol=1e-5)
  assert ((values > 0).sum(axis=1) <= 4).all()
  np.testing.assert_array_equal(splines(jnp.full((1, 1), 5.0)), splines(jnp.full((1, 1), 2.0)))


def test_walls_are_harmonic_and_flat_inside():
  wall = basis.make_walls(-1.0, 2.0, 200.0)
  np.testing.assert_allclose(
    [wall(jnp.full((1, 1), v)) for v in (-1.5, -1.0, 0.3, 2.0, 2.1)], (25, 0, 0, 0, 1), rtol=1e-5)
  for bad in (lambda: basis.make_walls(2.0, 2.0), lambda: basis.make_cubic_splines(1.0, 0.0, 9)):
    with pytest.raises(ValueError, match='low, high'):
      bad()
  with pytest.raises(ValueError, match='at least 4'):
    basis.make_cubic_splines(0.0, 1.0, 3)


def test_newton_brings_a_harmonic_model_to_one_over_the_variance():
  """Each step is k <- 2 k - k² <x²>, whose error squares; the gradient is (<x²> - 1/k) / 2."""
  variance, k = 0.7, [1.0]
  sampler = walkers.make_quadrature(GRID)
  newton = relative_entropy.make_newton(harmonic, ridge=1e-7)
  update = jax.jit(relative_entropy.make_update(
    harmonic, second_moment, sampler, newton, ratio=1.1, observe=lambda x: x[0, 0]))
  state = relative_entropy.init_state(sampler, newton, {'k': jnp.float32(1.0)}, ())
  for step in range(5):
    state, log = update(state, jax.random.fold_in(KEY, step), jnp.float32(variance))
    np.testing.assert_allclose(log.gradient_norm, abs(variance - 1 / k[-1]) / 2, atol=1e-5)
    k.append(2 * k[-1] - k[-1] ** 2 * variance)
    np.testing.assert_allclose(state.params['k'], k[-1], rtol=1e-4)  # rounding of 1201 terms
  np.testing.assert_allclose(state.params['k'], 1 / variance, rtol=1e-4)


def test_the_gradient_vanishes_at_the_exact_potential_and_not_beside_it():
  energy = double_well().energy
  objective = relative_entropy.make_objective(energy, relative_entropy.linear_mean)
  grid = jnp.linspace(-3.2, 3.1, 1261)[:, None, None]
  draw = walkers.make_quadrature(grid)(None, KEY, ())
  params = jnp.asarray(np.random.default_rng(0).normal(size=26), jnp.float32)
  weights = jnp.exp(relative_entropy.log_weights(energy, params, draw))
  exact_mean = weights @ jax.vmap(basis.make_cubic_splines(-2.7, 2.6, 26))(grid)
  gradient = jax.grad(objective)
  np.testing.assert_allclose(gradient(params, KEY, exact_mean, draw), 0, atol=1e-6)
  assert jnp.abs(gradient(params.at[10].add(0.5), KEY, exact_mean, draw)).max() > 1e-3


def test_the_gradient_is_that_of_finite_differences_and_the_reweighted_average():
  """Of the free-energy perturbation, for samples drawn at other parameters; in float64."""
  with jax.enable_x64():
    x = jax.random.normal(KEY, (400, 1, 1)) / jnp.sqrt(1.3)
    data = jax.random.normal(jax.random.key(1), (300, 1, 1))

    def energy(params, x, t):
      return 0.5 * params[0] * jnp.sum(x**2) + params[1] * jnp.sum(jnp.sin(x))

    draw = walkers.Draw((), x, -0.5 * 1.3 * x[:, 0, 0] ** 2 + 4.2, jnp.zeros((), jnp.int32))
    objective = relative_entropy.make_objective(
      energy, relative_entropy.make_mean_energy(energy, 300))
    params = jnp.array([1.1, 0.4])
    gradient = jax.grad(objective)(params, KEY, data, draw)
    step = 1e-5
    for i in range(2):
      up, down = (objective(params.at[i].add(d), KEY, data, draw) for d in (step, -step))
      np.testing.assert_allclose(gradient[i], (up - down) / (2 * step), rtol=1e-7)
    weights = jnp.exp(relative_entropy.log_weights(energy, params, draw))
    slopes = jax.vmap(jax.grad(energy), (None, 0, None))(params, x, 0.0)
    same = jax.grad(relative_entropy.make_mean_energy(energy, 300))(params, KEY, data)
    np.testing.assert_allclose(gradient, same - weights @ slopes, rtol=1e-10)


def test_the_objective_is_the_free_energy_difference():
  """A - A_old = ln(k / k_old) / 2 of two harmonic wells, by perturbation from either's samples."""
  count, old, new = 50_000, 1.0, 1.5
  x = jax.random.normal(KEY, (count, 1, 1)) / np.sqrt(old)
  draw = walkers.Draw((), x, -0.5 * old * x[:, 0, 0] ** 2, jnp.zeros((), jnp.int32))
  objective = relative_entropy.make_objective(harmonic, lambda params, key, data: 0.0)
  found = objective({'k': jnp.float32(new)}, KEY, None, draw)
  # Var of exp(-dU) over its mean², from Gaussian integrals.
  spread = new / np.sqrt(old * (2 * new - old)) - 1
  assert abs(found + 0.5 * np.log(new / old)) < 4 * np.sqrt(spread / count)
  weights = relative_entropy.log_weights(harmonic, {'k': jnp.float32(new)}, draw)
  moment = np.asarray(jnp.exp(weights) * x[:, 0, 0] ** 2, np.float64).sum()
  assert abs(moment - 1 / new) < 4 * np.sqrt(2) / new * np.sqrt((1 + spread) / count)


def test_effective_size():
  np.testing.assert_allclose(relative_entropy.effective_size(jnp.full(8, -jnp.log(8.0))), 8,
                             rtol=1e-6)
  one = jnp.array([0.0, -jnp.inf, -jnp.inf])
  np.testing.assert_allclose(relative_entropy.effective_size(one), 1)


def test_the_samples_are_drawn_anew_only_where_few_are_left():
  """Each update moves k by 5 %; the ratio decides whether that is enough."""
  sampler = walkers.make_simulated(
    walkers.make_mala(harmonic, 1.0), harmonic, kT=1.0, num_frames=4, stride=5)
  step = optax.with_extra_args_support(optax.stateless(
    lambda gradient, params: jax.tree.map(lambda p: 0.05 * p, params)))
  drawn = []
  for ratio in (1.1, 0.95, 0.5):
    update = relative_entropy.make_update(
      harmonic, second_moment, sampler, step, ratio=ratio, observe=lambda x: x[0, 0])
    state = relative_entropy.init_state(
      sampler, step, {'k': jnp.float32(1.0)}, jax.random.normal(KEY, (200, 1, 1)))
    state, log = relative_entropy.make_run(update, 12)(state, KEY, jnp.float32(1.0))
    drawn.append(int(log.resampled.sum()))
    np.testing.assert_array_equal(log.evaluations, np.where(log.resampled, 200 * 21, 0))
    assert relative_entropy.total_evaluations(log) == drawn[-1] * 200 * 21
    np.testing.assert_array_equal(log.resampled[1:], log.effective[1:] < ratio)
    assert log.resampled[0] and np.isnan(log.effective[0])
  assert drawn[0] == 12 > drawn[1] > drawn[2] == 1


def test_quadrature_meets_the_accepted_error_on_the_double_well():
  sampler = walkers.make_quadrature(jnp.linspace(-3.2, 3.1, 1261)[:, None, None])
  scores, log = train_newton(double_well(), sampler, (), 60)
  assert scores['rms_4'] <= 0.08 and scores['rms_6'] <= 0.08
  assert abs(scores['difference'] - 3.3800) <= 0.06
  assert relative_entropy.total_evaluations(log) == 0


def test_quadrature_meets_the_accepted_error_on_mueller():
  sampler = walkers.make_quadrature(jnp.linspace(-2.1, 1.15, 651)[:, None, None])
  scores, _ = train_newton(mueller(), sampler, (), 60)
  assert scores['rms_4'] <= 0.08 and scores['rms_6'] <= 0.15
  assert 0.021 <= scores['weight_above'] <= 0.030


def test_chains_that_cross_no_barrier_lose_the_offset_of_the_basins():
  """They start from the data; each update follows the noise of their populations."""
  world = double_well()
  start = jnp.asarray(toy_draws.draw_double_well(100, 5)[:, :, :1])
  chains = walkers.make_simulated(
    walkers.make_mala(world.energy, 0.2), world.energy, kT=1.0, num_frames=10, stride=5)
  scores, log = train_newton(world, chains, start, 40)
  assert scores['rms_4'] > 0.4 and abs(scores['difference'] - 3.38) > 0.4
  assert relative_entropy.total_evaluations(log) == 40 * 100 * 51 and not log.lost.any()


def test_tempering_finds_the_weights_of_the_basins_and_chains_keep_where_they_began():
  """One draw of the exact double well, half of the walkers on each side."""

  def energy(params, x, t):
    return potentials.quartic(x[0, 0])

  mala = walkers.make_mala(energy, 0.2)
  start = jnp.where(jnp.arange(100) % 2, 1.7, -1.77)[:, None, None]
  chains = walkers.make_simulated(mala, energy, kT=1.0, num_frames=20, stride=10, skip=30)
  ladders = walkers.make_tempered(
    mala, energy, kT=(1.0, 1.6, 2.5, 4.0), num_frames=20, stride=10, skip=30)
  start_ladders = jnp.repeat(start[:, None], 4, axis=1)
  stuck, mixed = (jax.jit(sampler)(None, KEY, x) for sampler, x in
                  ((chains, start), (ladders, start_ladders)))
  assert stuck.x.shape == mixed.x.shape == (2000, 1, 1)
  assert (stuck.evaluations, mixed.evaluations) == (100 * 501, 400 * 501)
  assert mixed.walkers.shape == start_ladders.shape
  right = [np.reshape(draw.x > potentials.DOUBLE_WELL_BARRIER, (20, 100))
           for draw in (stuck, mixed)]
  np.testing.assert_array_equal(right[0], np.tile(start[:, 0, 0] > 0, (20, 1)))
  of_ladders = right[1].mean(axis=0)
  assert abs(of_ladders.mean() - 0.032926) < 4 * of_ladders.std() / np.sqrt(100)


def test_adam_on_chains_of_a_molecule():
  """Two beads in three dimensions, U = k |d|²/2: k = 3 / <d²>, with the dynamics of any model."""

  def energy(params, x, t):
    return 0.5 * jnp.exp(params['log_k']) * jnp.sum((x[1] - x[0]) ** 2)

  kT, replicas, k = 2.5, 300, 40.0
  integrator = make_overdamped(
    lambda params, x: -kT * jax.grad(energy, argnums=1)(params, x, 0.0),
    mass=np.ones(2), dt=2e-3, friction=1.0)
  sampler = walkers.make_simulated(
    integrator, energy, kT=kT, num_frames=10, stride=10, skip=2, project=centre)
  optimizer = optax.with_extra_args_support(adamw(
    learning_rate=0.1, final_learning_rate=1e-3, num_steps=60))
  d = jax.random.normal(KEY, (4000, 3)) / np.sqrt(k)
  data = jnp.stack([-d / 2, d / 2], axis=1)
  update = relative_entropy.make_update(
    energy, relative_entropy.make_mean_energy(energy, 1000), sampler, optimizer, ratio=0.9,
    observe=lambda x: jnp.sum((x[1] - x[0]) ** 2))
  state = relative_entropy.init_state(
    sampler, optimizer, {'log_k': jnp.log(20.0)}, data[:replicas])
  state, log = relative_entropy.make_run(update, 60)(state, jax.random.key(3), data)
  # 300 chains and the data's 4000 frames: 3 % and 1.3 % of k at one draw.
  np.testing.assert_allclose(jnp.exp(state.params['log_k']), k, rtol=0.1)
  assert 1 < log.resampled.sum() < 60 and not log.lost.any()


def test_lost_walkers_have_no_weight_and_are_counted():
  """A force that is not a number beyond x = 1."""
  integrator = make_overdamped(
    lambda params, x: jnp.where(x > 1, jnp.nan, -x), mass=np.ones(1), dt=0.1, friction=1.0)
  sampler = walkers.make_simulated(integrator, harmonic, kT=1.0, num_frames=5, stride=4)
  params = {'k': jnp.float32(1.0)}
  draw = sampler(params, KEY, jnp.zeros((100, 1, 1)))
  lost = np.isinf(draw.log_density)
  assert 0 < lost.mean() < 1
  assert np.isfinite(draw.x).all() and np.isfinite(draw.walkers).all()
  weights = np.exp(relative_entropy.log_weights(harmonic, params, draw))
  np.testing.assert_array_equal(weights[lost], 0)
  np.testing.assert_allclose(weights[~lost], 1 / (~lost).sum(), rtol=1e-4)


def test_bad_numbers_are_named():
  newton = relative_entropy.make_newton(harmonic)
  with pytest.raises(ValueError, match='ratio'):
    relative_entropy.make_update(
      harmonic, second_moment, walkers.make_quadrature(GRID), newton, ratio=0.0,
      observe=lambda x: x[0, 0])
  with pytest.raises(ValueError, match='ridge'):
    relative_entropy.make_newton(harmonic, ridge=0.0)
