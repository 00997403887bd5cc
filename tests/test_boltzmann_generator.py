"""Boltzmann generators on Gaussians with known answers; temperatures, marginals, forces."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from twoforone import checks, energy, force, optimizers, train
from twoforone.baselines import boltzmann_generator as bg
from twoforone.baselines import couplings, flow, marginal, splines
from twoforone.datasets import potentials, toy_draws

KEY = jax.random.key(0)


def shaken(params, size, seed=0):
  """Parameters away from the start, at which every flow is the identity."""
  random = np.random.default_rng(seed)
  return jax.tree.map(
    lambda a: a + size * random.standard_normal(a.shape).astype(np.float32), params)


def gaussian(matrix):
  """Log-density and samples of N(0, T A Aᵀ); the flow x = A z has nothing to train."""
  layer, prior = flow.fixed_affine(np.zeros(len(matrix)), matrix), flow.normal_prior(len(matrix))
  return flow.make_log_density(layer, prior), flow.make_sample(layer, prior)


def log_normal(x, covariance):
  x = np.atleast_1d(np.asarray(x, np.float64))
  return -0.5 * (x @ np.linalg.solve(covariance, x)
                 + np.linalg.slogdet(2 * math.pi * covariance)[1])


@functools.cache
def two_channels():
  """A shaken RealNVP of one number and one auxiliary channel."""
  layers = bg.real_nvp(2, num_blocks=1, widths=(8,))
  return (flow.make_log_density(layers, flow.normal_prior(2)), shaken(layers.init(KEY), 0.15))


ETA = marginal.make_grid([-12.0], [12.0], [600])


def test_the_loss_keeps_the_normaliser_of_each_temperature():
  matrix = np.array([[0.5, 0.2], [0.0, 2.0]])
  loss = bg.make_likelihood_loss(gaussian(matrix)[0])
  x = jnp.array([[0.3, -1.0]])  # a configuration of one bead
  np.testing.assert_allclose(loss((), KEY, x), -log_normal(x[0], matrix @ matrix.T), rtol=1e-5)
  np.testing.assert_allclose(loss((), KEY, (x, jnp.float32(3.0))),
                             -log_normal(x[0], 3 * matrix @ matrix.T), rtol=1e-5)


def test_auxiliary_channels_bound_the_loss_of_the_marginal_from_above():
  density, params = two_channels()
  loss = bg.make_likelihood_loss(density, num_auxiliary=1)
  log_marginal = marginal.make_marginal(density, ETA)
  for temperature in (1.0, 2.0):
    example = (jnp.array([0.7]), jnp.float32(temperature))
    values = np.asarray(jax.jit(jax.vmap(lambda key: loss(params, key, example)))(  # noqa: B023
      jax.random.split(KEY, 2000)), np.float64)
    exact = -float(jax.jit(log_marginal)(params, *example))
    error = values.std() / math.sqrt(len(values))
    assert values.mean() > exact + 4 * error
    assert values.mean() < exact + 1.0  # it would be a whole entropy of eta without its density


def test_auxiliary_channels_that_do_nothing_cost_nothing():
  loss = bg.make_likelihood_loss(gaussian(np.eye(2))[0], num_auxiliary=1)
  for temperature in (1.0, 2.0):
    found = loss((), KEY, (jnp.array([0.7]), jnp.float32(temperature)))
    np.testing.assert_allclose(found, -log_normal(0.7, np.eye(1) * temperature), rtol=1e-5)


@pytest.mark.parametrize('make, obeys', [(bg.nice, True), (bg.real_nvp, False)])
def test_a_volume_preserving_flow_obeys_the_rule_of_temperature(make, obeys):
  # ln q_T - (ln q_1) / T is the same everywhere.
  layers = make(2, num_blocks=1, widths=(8,))
  params = shaken(layers.init(KEY), 0.15)
  density = jax.jit(jax.vmap(flow.make_log_density(layers, flow.normal_prior(2)),
                             in_axes=(None, 0, None)))
  x = 2 * jax.random.normal(KEY, (50, 2))
  rest = density(params, x, 2.0) - density(params, x, 1.0) / 2
  spread = float(rest.max() - rest.min())
  assert spread < 1e-4 if obeys else spread > 0.05  # float32 of numbers up to 50


def test_sets_of_several_temperatures_are_joined_and_must_be_equal():
  sets = [np.zeros((3, 1, 2), np.float32), np.ones((3, 1, 2), np.float32)]
  x, temperature = bg.join_temperatures(sets, (1.0, 2.5))
  assert x.shape == (6, 1, 2) and temperature.dtype == np.float32
  np.testing.assert_array_equal(temperature, [1, 1, 1, 2.5, 2.5, 2.5])
  short = [sets[0], sets[1][:2]]
  for wrong, temperatures in ((sets, (1.0,)), (sets, (1.0, 0.0)), (short, (1.0, 2.0))):
    with pytest.raises(ValueError, match='temperatures: found'):
      bg.join_temperatures(wrong, temperatures)


@pytest.mark.parametrize('temperature', [1.0, 2.0])
def test_the_energy_loss_of_the_exact_flow_is_minus_log_z_for_every_draw(temperature):
  width = 0.6
  _, sample = gaussian(width * np.eye(3))
  loss = bg.make_energy_loss(
    sample, lambda x: 0.5 * jnp.sum(x**2) / width**2, temperature=temperature)
  values = jax.vmap(lambda key: loss((), key, None))(jax.random.split(KEY, 10))
  log_z = 1.5 * math.log(2 * math.pi * temperature * width**2)
  np.testing.assert_allclose(values, -log_z, rtol=1e-5)
  # Another flow is worse by KL(q ‖ p) = (3/2)(v - 1 - ln v), v the ratio of variances.
  _, wrong = gaussian(1.5 * width * np.eye(3))
  loss = bg.make_energy_loss(wrong, lambda x: 0.5 * jnp.sum(x**2) / width**2,
                             temperature=temperature)
  values = np.asarray(jax.vmap(lambda key: loss((), key, None))(jax.random.split(KEY, 4000)),
                      np.float64)
  expected = -log_z + 1.5 * (2.25 - 1 - math.log(2.25))
  assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values))


def test_high_energies_are_capped():
  found = bg.cap_energy(jnp.array([-5.0, 50.0, 100.0, 200.0, 1e30, jnp.inf]))
  highest = 100 + math.log1p(1e10 - 100)
  np.testing.assert_allclose(found, [-5, 50, 100, 100 + math.log(101), highest, highest], rtol=1e-6)
  slope = jax.vmap(jax.grad(bg.cap_energy))(jnp.array([50.0, 100.5, 1e30]))
  np.testing.assert_allclose(slope, [1.0, 1 / 1.5, 0.0], rtol=1e-5)


def entropy_loss(low, high, top=1.0):
  """Of draws uniform in [low, high], by kernels on [-1, top]."""
  prior = flow.uniform_prior(1, low=low, high=high)
  sample = flow.make_sample(flow.fixed_affine(np.zeros(1), np.ones(1)), prior)
  loss = bg.make_coordinate_entropy_loss(
    sample, lambda x: x[0], low=-1.0, high=top, num_samples=4000)
  return float(loss((), KEY, None))


def test_the_coordinate_entropy_is_best_for_draws_spread_over_the_range():
  centres = np.linspace(-1, 1, 11)
  kernel = np.exp(-0.5 * (centres / (2 / 11)) ** 2) + 1e-6
  at_zero = -np.log(kernel / kernel.sum()).sum()
  # The draws are within 1e-6 of zero.
  np.testing.assert_allclose(entropy_loss(-1e-6, 1e-6), at_zero, rtol=1e-3)
  spread = entropy_loss(-1.1, 1.1)
  assert spread < entropy_loss(-0.5, 0.5) < at_zero
  # Equal occupation of eleven kernels is the least there is; the outer ones share with no further.
  assert 0 <= spread - 11 * math.log(11) < 0.5
  with pytest.raises(ValueError, match='coordinate: found'):
    entropy_loss(-1.0, 1.0, top=-1.0)


def test_weights_turn_draws_into_those_of_the_energy():
  _, sample = gaussian(1.5 * np.eye(1))
  x, log_density = jax.vmap(lambda key: sample((), key))(jax.random.split(KEY, 4000))
  log_w = bg.log_weights(0.5 * x[:, 0] ** 2, log_density)
  weight, square = np.exp(np.asarray(log_w, np.float64)), np.asarray(x[:, 0], np.float64) ** 2
  np.testing.assert_allclose(weight.sum(), 1.0, rtol=1e-4)
  error = math.sqrt(np.sum(weight**2 * (square - 1) ** 2))
  assert abs(np.sum(weight * square) - 1) < 4 * error
  assert abs(square.mean() - 1) > 10 * error  # without weights


def test_marginals_of_a_gaussian():
  matrix = np.array([[0.5, 0.2], [-0.4, 1.0]])
  covariance = matrix @ matrix.T
  density, _ = gaussian(matrix)
  s = jnp.array([0.4])
  grid = marginal.make_grid([-12.0], [12.0], [400])
  found = marginal.make_marginal(density, grid)((), s)
  np.testing.assert_allclose(found, log_normal(s, covariance[:1, :1]), rtol=1e-4)
  direction = np.array([0.7, -0.7])  # not of length one
  found = marginal.make_projected(density, direction, grid)((), s)
  variance = np.reshape(direction @ covariance @ direction, (1, 1))
  np.testing.assert_allclose(found, log_normal(s, variance), rtol=1e-4)
  with pytest.raises(ValueError, match='direction: found'):
    marginal.make_projected(density, np.zeros(2), grid)
  with pytest.raises(ValueError, match='grid: found'):
    marginal.make_grid([0.0], [0.0], [10])


def test_a_grid_covers_its_box():
  grid = marginal.make_grid([0.0, -1.0], [1.0, 3.0], [2, 4])
  assert grid.points.shape == (8, 2)
  np.testing.assert_allclose(math.exp(grid.log_cell) * 8, 4.0)
  np.testing.assert_allclose(grid.points[0], [0.25, -0.5])
  np.testing.assert_allclose(grid.points.mean(axis=0), [0.5, 1.0])


def test_the_augmented_score_has_the_mean_of_the_score():
  # <∂ ln q(x, eta) / ∂x | x> = ∂ ln q(x) / ∂x, which makes forces at drawn eta labels for CGNet.
  density, params = two_channels()
  log_marginal = marginal.make_marginal(density, ETA)

  def compare(x):
    at = jax.value_and_grad(lambda x, eta: density(params, jnp.concatenate([x, eta])))
    log_q, score = jax.vmap(at, in_axes=(None, 0))(x, jnp.asarray(ETA.points, x.dtype))
    mean = jnp.sum(jax.nn.softmax(log_q)[:, None] * score, axis=0)
    return mean, score, jax.grad(log_marginal, argnums=1)(params, x)

  mean, score, exact = jax.jit(jax.vmap(compare))(jnp.array([[-1.0], [0.2], [1.5]]))
  np.testing.assert_allclose(mean, exact, rtol=1e-4, atol=1e-4)
  assert float(score.std(axis=1).min()) > 0.05  # a single label is not it


def test_the_force_is_the_gradient_of_the_potential():
  with jax.enable_x64():
    bend = couplings.elementwise(2, couplings.spline(4, low=-3.0, high=3.0))
    layers = flow.chain(bg.real_nvp(2, num_blocks=1, widths=(8,)), bend)
    params = shaken(layers.init(KEY), 0.15)
    u = bg.make_flow_energy(flow.make_log_density(layers, flow.normal_prior(2)))
    score = energy.make_score(u)
    made = force.make_force_field(score, t=0.0, kT=2.5, scale=1.0, alpha=1.0)
    potential = force.make_potential(u, t=0.0, kT=2.5, scale=1.0, alpha=1.0)

    def both(params, x):
      gradient = jax.grad(potential, argnums=1)(params, x)
      error = checks.energy_force_consistency(u, score, params, x, jnp.asarray(0.0))
      return error, made(params, x), gradient

    error, found, gradient = jax.jit(both)(params, jnp.array([[0.3, -0.8]]))
    # Differences of width 2e-4 in float64, third derivatives of order 100.
    assert error < 1e-6
    np.testing.assert_allclose(found, -gradient, rtol=1e-9)


def test_the_box_of_a_fitted_flow_holds_a_far_basin():
  x = np.random.default_rng(0).normal(size=(1000, 2))
  x[:20, 0] += 8.0
  farthest = jnp.asarray(x[np.argmax(x[:, 0])], jnp.float32)
  layers = bg.fit_spline_flow(x, num_blocks=1, num_bins=4, widths=(4,))
  start, forward = layers.init(KEY), jax.jit(layers.forward)
  moved = forward(shaken(start, 0.15), farthest)[0] - forward(start, farthest)[0]
  assert float(jnp.abs(moved).min()) > 1e-3  # on an identity tail it would be zero


def fit_by_likelihood(layers, density, x, *, rate, batch_size, num_steps):
  """The parameters of a flow after a training by Adam."""
  optimizer = optax.adam(optax.cosine_decay_schedule(rate, num_steps, alpha=0.01))
  step = train.make_train_step(bg.make_likelihood_loss(density), optimizer,
                               ema_decay=optimizers.warmup_ema(0.0))
  chunk = train.make_train_chunk(step, batch_size=batch_size, num_steps=num_steps)
  return train.fit(chunk, train.init_train_state(layers.init(KEY), optimizer), KEY, jnp.asarray(x),
                   num_steps=num_steps, progress=lambda *_: None).params


@pytest.mark.slow
def test_a_spline_learns_the_double_well_by_likelihood():
  # U = x⁴ - 6x² + x: the left basin is 3.380 kT lower, 3.3 % of the data are on the right.
  random, grid = np.random.default_rng(0), np.linspace(-3, 3, 6001)
  exact = np.exp(-(grid**4 - 6 * grid**2 + grid))
  exact /= exact.sum()
  cumulative = np.cumsum(exact)
  x = np.interp(random.uniform(0, cumulative[-1], 100_000), cumulative, grid)[:, None]
  x = x.astype(np.float32)
  layers = bg.monotone_spline(box=splines.fit_box(x))
  density = flow.make_log_density(layers, flow.normal_prior(1))
  params = fit_by_likelihood(layers, density, x, rate=0.02, batch_size=1024, num_steps=1500)
  values = jax.jit(jax.vmap(density, in_axes=(None, 0)))(
    params, jnp.asarray(grid, jnp.float32)[:, None])
  found = np.exp(np.asarray(values, np.float64)) * (grid[1] - grid[0])
  right = grid > 0.083528
  # The data alone give 0.02 for the weight and 0.03 for the profile; the rest is 16 bins.
  np.testing.assert_allclose(math.log(found[~right].sum() / found[right].sum()), 3.380, atol=0.1)
  low = exact > exact.max() * math.exp(-4)
  assert np.log(exact[low] / found[low]).std() < 0.08


def volume_limit(num_channels, kT):
  """F_right - F_left of the double well at kT by the best flow of constant Jacobian [kT].

  Fitted at kT = 1, beside channels of N(0, kT). Such a flow keeps volumes up to a factor, so -ln q
  at a level of the target that encloses the volume V is that of the Gaussian's ball: c V^(2/d).
  Among these, likelihood is highest with the level sets of the target, and c = d / 2<V^(2/d)>.
  """
  x, u = np.linspace(-4, 4, 2001), np.linspace(0, 60, 3001)
  energy = x**4 - 6 * x**2 + x
  height = np.maximum(u[:, None] - (energy - energy.min()), 0) ** ((num_channels - 1) / 2)
  left, right = (height[:, side].sum(axis=1) for side in (x < 0.083528, x >= 0.083528))
  ball = (left + right) ** (2 / num_channels)
  weight = np.exp(-u) * np.diff(left + right, prepend=0)
  q = np.exp(-num_channels / 2 / (weight @ ball / weight.sum()) * ball / kT)
  return math.log(q @ np.diff(left, prepend=0) / (q @ np.diff(right, prepend=0)))


def test_level_sets_of_a_volume_preserving_flow_limit_its_temperatures():
  # Two channels cannot have the exact 1.633 at kT = 2; more come closer.
  limits = [volume_limit(d, 2.0) - 1.633 for d in (2, 4, 8, 20)]
  assert 0.36 < limits[0] < 0.39 and limits[-1] < 0.07
  assert (np.diff(limits) < 0).all()


@pytest.mark.slow
def test_a_volume_preserving_flow_trained_at_one_temperature_knows_another():
  x = toy_draws.draw_double_well(50_000, 1)[:, 0]
  layers = bg.nice(2, num_blocks=3, widths=(32, 32))
  density = flow.make_log_density(layers, flow.normal_prior(2))
  params = fit_by_likelihood(layers, density, x, rate=0.01, batch_size=256, num_steps=800)
  draw = jax.jit(jax.vmap(flow.make_sample(layers, flow.normal_prior(2)), (None, 0, None)))

  def difference(kT):
    s = draw(params, jax.random.split(KEY, 50_000), kT)[0][:, 0]
    right = float(np.mean(s > potentials.DOUBLE_WELL_BARRIER))
    return math.log((1 - right) / right)

  # Short training leaves 0.15 at kT = 1, where 3 % of the draws are on the right (0.03 of noise),
  # and 0.2 at kT = 2, where tails between the wells count; five times as many draws and networks
  # twice as wide leave 0.03 and 0.07.
  np.testing.assert_allclose(difference(1.0), volume_limit(2, 1.0), atol=0.3)
  found = difference(2.0)
  np.testing.assert_allclose(found, volume_limit(2, 2.0), atol=0.4)
  # So 1.633 within that and the 0.37 which volumes forbid; unscaled it would be 3.4.
  np.testing.assert_allclose(found, 1.633, atol=0.77)
