"""On a Gaussian the residual vanishes at every noise level; with a wrong constant it does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import systems
from twoforone import geometry, schedule
from twoforone.losses import denoising, fokker_planck, noise_levels
from twoforone.losses.classification import make_offset

VARIANCE = 0.3
T_MIN = 1e-5
VP = schedule.vp_schedule()
COSINE = schedule.cosine_schedule()
X = systems.gaussian_data(jax.random.key(0), (5, 3), 1.0)
TIMES = (2e-5, 1e-4, 1e-3, 0.03, 0.5, 0.98)


def make_normalised_gaussian(noise, coordinates, project=geometry.centre):
  """`params` times -log of the density of `coordinates` Gaussian coordinates."""

  def energy(params, x, t):
    variance = noise.alpha(t) ** 2 * VARIANCE + noise.sigma(t) ** 2
    return params * (0.5 * jnp.sum(project(x) ** 2) / variance
                     + 0.5 * coordinates * jnp.log(variance))

  return energy


def log_variance(t):
  """log of the variance of a coordinate at t."""
  return jnp.log(VP.alpha(t) ** 2 * VARIANCE + VP.sigma(t) ** 2)


def in_float64(function, *arguments):
  with jax.enable_x64():
    cast = [jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), a) for a in arguments]
    return np.asarray(function(*cast))


def exact(energy, noise, times, x=X, scale=1.0, **options):
  """The exact residual of `scale` times the energy at each time, in float64."""
  residual = fokker_planck.make_exact_residual(energy, noise, **options)
  return in_float64(jax.jit(jax.vmap(residual, in_axes=(None, None, 0))), scale, x,
                    np.atleast_1d(times))


@pytest.mark.parametrize('t', TIMES)
def test_noise_rate_is_the_rate_of_the_schedule(t):
  found = fokker_planck.noise_rate(VP, jnp.float32(t))
  np.testing.assert_allclose(found, 0.1 + 19.9 * t, rtol=1e-3)  # float32, alpha near one


def test_noise_rate_of_a_table_is_the_slope_between_its_levels():
  with jax.enable_x64():
    t, step = jnp.float64(0.3004), 1e-6
    expected = -(jnp.log(COSINE.alpha(t + step)) - jnp.log(COSINE.alpha(t - step))) / step
    np.testing.assert_allclose(fokker_planck.noise_rate(COSINE, t), expected, rtol=1e-6)


@pytest.mark.parametrize('beads', [1, 2, 5])
def test_coordinates_of_a_centred_system_and_of_one_in_a_field(beads):
  x = jnp.zeros((beads, 3))
  np.testing.assert_allclose(
    fokker_planck.num_coordinates(geometry.centre, x), 3 * (beads - 1), atol=1e-5)
  assert fokker_planck.num_coordinates(geometry.keep, x) == 3 * beads


@pytest.mark.parametrize('noise, times', [(VP, TIMES), (COSINE, (0.0, 0.0004, 0.3004, 0.99))],
                         ids=['vp', 'cosine'])
def test_residual_of_a_gaussian_is_zero_at_every_noise_level(noise, times):
  assert np.abs(exact(make_normalised_gaussian(noise, 12), noise, times)).max() < 1e-8  # float64


@pytest.mark.parametrize('beads', [2, 4])
def test_residual_is_zero_for_any_number_of_beads_and_in_a_field(beads):
  x = jax.random.normal(jax.random.key(1), (beads, 3))
  assert abs(exact(make_normalised_gaussian(VP, 3 * beads - 3), VP, 0.2, x)) < 1e-8
  field = make_normalised_gaussian(VP, 3 * beads, geometry.keep)
  assert abs(exact(field, VP, 0.2, x, project=geometry.keep)) < 1e-8


def test_a_wrong_number_of_coordinates_or_variance_is_seen():
  # 3 n in place of 3 (n - 1): the normaliser moves at another rate, the same for every x.
  t = jnp.float32(0.2)
  slope = jax.grad(log_variance)(t)
  found = exact(make_normalised_gaussian(VP, 15), VP, 0.2)
  np.testing.assert_allclose(found, 1.5 * slope, rtol=1e-4)
  # An energy 10 % too steep at every level.
  steep = exact(make_normalised_gaussian(VP, 12), VP, 0.2, scale=1.1)
  assert abs(steep) > 0.1 * abs(slope)


@functools.cache
def compiled(constant):
  energy = make_normalised_gaussian(VP, 12)
  residuals = fokker_planck.make_fokker_planck_residual(energy, VP, constant=constant)
  exact = fokker_planck.make_exact_residual(energy, VP)
  return jax.jit(lambda scale, keys, x, t: (
    jax.vmap(residuals, in_axes=(None, 0, None, None))(scale, keys, x, t), exact(scale, x, t)))


def estimates(constant=None, scale=1.0, count=20_000):
  """Residuals [N, 2] of a Gaussian whose energy is wrong by `scale`, and the exact value."""
  with jax.enable_x64():
    keys = jax.random.split(jax.random.key(2), count)
    x, t, scale = (jnp.asarray(a, jnp.float64) for a in (X, 0.2, scale))
    return [np.asarray(a) for a in compiled(constant)(scale, keys, x, t)]


def standard_error(sample):
  return sample.std() / np.sqrt(len(sample))


@pytest.mark.parametrize('scale', [1.0, 1.3])
def test_probes_are_unbiased_and_so_is_their_product(scale):
  found, truth = estimates(scale=scale)
  product = found[:, 0] * found[:, 1]
  assert abs(found[:, 0].mean() - truth) < 4 * standard_error(found[:, 0])
  assert abs(product.mean() - truth**2) < 4 * standard_error(product)
  # The square of one estimate is not: it keeps the variance of the probe.
  square = found[:, 0] ** 2
  assert square.mean() - truth**2 > 10 * standard_error(square)


def test_the_published_constant_leaves_a_residual_in_a_normalised_density():
  found, _ = estimates(constant=1.0)
  expected = float(fokker_planck.noise_rate(VP, jnp.float32(0.2))) / 2 * (1 - 12)
  assert abs(found[:, 0].mean() - expected) < 4 * standard_error(found[:, 0])


def test_one_sided_stencil_is_right_at_the_ends_and_the_clamped_one_is_not():
  # A quadratic has an exact parabola; clamped points make its slope too small.
  def held(t):
    t = jnp.maximum(t, T_MIN)
    return 2 * t + 30 * t**2

  inside = fokker_planck.make_stencil(1e-3, 5e-4, lowest=T_MIN)
  clamped = fokker_planck.make_stencil(1e-3, 5e-4, lowest=-np.inf)
  for t in (T_MIN, 3e-4, 0.01, 0.9999, 1.0):
    np.testing.assert_allclose(in_float64(lambda t: inside(held, t), t), 2 + 60 * t, rtol=1e-9)
  assert in_float64(lambda t: clamped(held, t), 0.01) == pytest.approx(2.6)
  assert in_float64(lambda t: clamped(held, t), T_MIN) < 0.95 * 2


def test_stencil_agrees_with_the_exact_derivative_near_zero_noise():
  energy = make_normalised_gaussian(VP, 12)
  stencil = fokker_planck.make_stencil(1e-3, 5e-4, lowest=T_MIN)
  slope, found = (in_float64(jax.jit(jax.vmap(lambda t, derivative=derivative: derivative(
    lambda t: energy(1.0, X, t), t))), np.array([1.01 * T_MIN, 1e-4, 0.01, 0.999]))
    for derivative in (fokker_planck.exact_derivative, stencil))
  # The error is of order step² times a third derivative: (1e-3 / 0.03)² of the slope.
  np.testing.assert_allclose(found, slope, rtol=3e-3)


@pytest.mark.parametrize('before, after', [(0.0, 1e-3), (1e-3, -1e-3), (0.7, 0.4)])
def test_steps_that_do_not_fit_are_named(before, after):
  with pytest.raises(ValueError, match='stencil: found'):
    fokker_planck.make_stencil(before, after, lowest=0.0)


def test_loss_is_zero_at_the_truth_adds_up_and_its_gradient_is_finite():
  energy = make_normalised_gaussian(VP, 12)
  draw_level = noise_levels.uniform_times(T_MIN, 1.0)
  loss = fokker_planck.make_fokker_planck_loss(
    fokker_planck.make_fokker_planck_residual(energy, VP), VP, draw_level=draw_level)
  plain = denoising.make_denoising_loss(
    lambda params, x, t: -jax.grad(energy, argnums=1)(params, x, t), VP, draw_level=draw_level)
  total = denoising.add_losses((0.0, plain), (1.0, loss))
  keys = jax.random.split(jax.random.key(3), 4000)
  data = systems.gaussian_data(jax.random.key(4), (4000, 5, 3), VARIANCE)
  batched = jax.jit(jax.vmap(jax.value_and_grad(total), in_axes=(None, 0, 0)))
  value, gradient = (np.asarray(a, np.float64) for a in batched(jnp.float32(1.0), keys, data))
  for sample in (value, gradient):
    assert abs(sample.mean()) < 4 * standard_error(sample)
  wrong, gradient = (np.asarray(a, np.float64) for a in batched(jnp.float32(2.0), keys, data))
  for sample in (wrong, gradient):
    assert sample.mean() > 4 * standard_error(sample)
    assert np.isfinite(sample).all()


def test_an_offset_normalises_an_energy():
  # The energy without its normaliser leaves a residual; the offset -log Z(t) removes it.
  def offset(params, t):
    return -6 * params * log_variance(t)

  bare = systems.make_gaussian_energy(VP, VARIANCE)
  residual = jax.jit(fokker_planck.make_exact_residual(fokker_planck.normalise(bare, offset), VP))
  values = [in_float64(residual, {'energy': 1.0, 'offset': scale}, X, 0.2) for scale in (1.0, 0.0)]
  assert abs(values[0]) < 1e-8 < 1.0 < abs(values[1])
  init, learned = make_offset(VP)  # the learned one plugs into the same place
  residual = jax.jit(fokker_planck.make_exact_residual(fokker_planck.normalise(bare, learned), VP))
  assert jnp.isfinite(residual({'energy': 1.0, 'offset': init()}, X, jnp.float32(0.2)))


def test_curve_separates_what_a_normaliser_would_mend():
  residual = fokker_planck.make_exact_residual(systems.make_gaussian_energy(VP, VARIANCE), VP)
  data = systems.gaussian_data(jax.random.key(5), (50, 5, 3), VARIANCE)
  sigmas = jnp.array([0.01, 0.1, 0.9])
  curve = jax.jit(lambda x: fokker_planck.fokker_planck_curve(
    residual, VP, None, jax.random.key(6), x, sigmas))(data)
  assert curve.sigma.shape == curve.rms.shape == curve.mean.shape == (3,)
  t = VP.time(sigmas)
  slope = jax.vmap(jax.grad(log_variance))(t)
  np.testing.assert_allclose(curve.mean, -slope / 2, rtol=1e-3)  # float32
  assert (curve.rms < 1e-3 * jnp.abs(curve.mean)).all()
