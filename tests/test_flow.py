"""Flows: inverses, log-determinants against dense Jacobians, densities that integrate to one."""

import functools
import math

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import paramax
import pytest
from flowjax.bijections import RationalQuadraticSpline

from twoforone.baselines import couplings, flow, splines

TRANSFORMS = {
  'affine': couplings.affine(), 'learned affine': couplings.learned_affine(),
  'additive': couplings.additive(), 'scaling': couplings.scaling(),
  'spline': couplings.spline(6, low=-2.0, high=2.0),
  'free spline': couplings.free_spline(1, low=-2.0, high=2.0),
  'circular': couplings.circular_spline(6)}
CONTEXT = jnp.array([0.4])
POINTS = jax.random.uniform(jax.random.key(0), (64, 4), minval=-3.1, maxval=3.1)


def shaken(params, size, seed=0):
  """Parameters away from the start, at which every flow is the identity."""
  random = np.random.default_rng(seed)
  return jax.tree.map(
    lambda a: a + size * random.standard_normal(a.shape).astype(np.float32), params)


def make_layer(transform):
  """Two coordinates given a number, an angle and a context."""
  return couplings.coupling(transform, moved=(0, 2), given=(1, 3), angles=(3,), context_size=1,
                            widths=(8,))


@functools.cache
def there_and_back(name):
  """The start, and a compiled params -> (z, log_det, x again, its log_det, dense log-det)."""
  layer = make_layer(TRANSFORMS[name])

  def one(params, x):
    z, log_det = layer.forward(params, x, CONTEXT)
    jacobian = jax.jacfwd(lambda x: layer.forward(params, x, CONTEXT)[0])(x)
    return z, log_det, *layer.inverse(params, z, CONTEXT), jnp.linalg.slogdet(jacobian)[1]

  return layer.init(jax.random.key(1)), jax.jit(jax.vmap(one, in_axes=(None, 0)))


@pytest.mark.parametrize('name', TRANSFORMS)
def test_a_coupling_has_its_inverse_and_its_log_determinant(name):
  start, run = there_and_back(name)
  z, log_det, x, back, dense = run(shaken(start, 0.15), POINTS)
  assert float(jnp.abs(z - POINTS).max()) > 0.3
  # Float32: 1e-6 of a number of order one, times slopes of up to some tens.
  np.testing.assert_allclose(x, POINTS, atol=1e-4)
  np.testing.assert_allclose(back, -log_det, atol=1e-4)
  np.testing.assert_allclose(log_det, dense, atol=1e-4)
  np.testing.assert_array_equal(z[:, [1, 3]], POINTS[:, [1, 3]])
  if name != 'additive':
    assert float(jnp.abs(log_det).max()) > 0.1


@pytest.mark.parametrize('name', TRANSFORMS)
def test_a_coupling_starts_as_the_identity(name):
  start, run = there_and_back(name)
  z, log_det, *_ = run(start, POINTS)
  np.testing.assert_allclose(z, POINTS, atol=2e-6)
  np.testing.assert_allclose(log_det, 0.0, atol=2e-6)


def test_the_learned_bound_is_the_fixed_one_at_its_logarithm():
  _, fixed = there_and_back('affine')
  start, learned = there_and_back('learned affine')
  params = shaken(start, 0.15)
  params['own'] = jnp.log(jnp.float32(2.0))
  np.testing.assert_allclose(learned(params, POINTS)[0], fixed({**params, 'own': ()}, POINTS)[0],
                             rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('moved, given, angles, context_size, match', [
  ((), (0,), (), 0, 'coupling'), ((0, 1), (1,), (), 0, 'coupling'),
  ((0, 0), (1,), (), 0, 'coupling'), ((-1,), (1,), (), 0, 'coupling'),
  ((0,), (1,), (2,), 0, 'angles'), ((0,), (), (), 0, 'nothing')])
def test_groups_that_make_no_sense_are_named(moved, given, angles, context_size, match):
  with pytest.raises(ValueError, match=match):
    couplings.coupling(couplings.affine(), moved=moved, given=given, angles=angles,
                       context_size=context_size)


def test_an_index_beyond_the_coordinates_is_named():
  # JAX would clamp it in silence.
  layer = couplings.coupling(couplings.affine(), moved=(0,), given=(2,), widths=(4,))
  params = layer.init(jax.random.key(0))
  with pytest.raises(ValueError, match='found 2 coordinates, expected more than 2'):
    layer.forward(params, jnp.zeros(2))


@pytest.mark.parametrize('make', [
  lambda: couplings.spline(1, low=-1.0, high=1.0), lambda: couplings.spline(8, low=1.0, high=1.0),
  lambda: couplings.free_spline(0, low=0.0, high=1.0), lambda: couplings.circular_spline(1),
  lambda: couplings.alternate(couplings.affine(), size=1, num_blocks=1)])
def test_empty_splines_and_lonely_coordinates_are_refused(make):
  with pytest.raises(ValueError, match='expected'):
    make()


def knots_of(kind, seed=2):
  raw = np.random.default_rng(seed).standard_normal(
    {'interval': 14, 'free': 16, 'circular': 15}[kind])
  raw = jnp.asarray(raw, jnp.float32)
  return {'interval': lambda: splines.interval_knots(raw, -2.0, 3.0),
          'free': lambda: splines.free_knots(raw, -2.0, 3.0),
          'circular': lambda: splines.circular_knots(raw)}[kind]()


evaluate = jax.jit(jax.vmap(splines.evaluate, in_axes=(None, 0)))


@pytest.mark.parametrize('kind', ['interval', 'free', 'circular'])
def test_a_spline_goes_through_its_knots_with_their_slopes_and_on_as_a_line(kind):
  knots = knots_of(kind)
  assert len(knots.x) == 6
  y, log_slope = evaluate(knots, knots.x)
  np.testing.assert_allclose(y, knots.y, atol=1e-5)
  np.testing.assert_allclose(jnp.exp(log_slope), knots.slope, rtol=1e-4)
  ends = knots.x[jnp.array([0, -1])]
  assert (knots.y[0], knots.y[-1]) == tuple(ends)
  far, log_far = evaluate(knots, ends + jnp.array([-2.0, 2.0]))
  slope = knots.slope[jnp.array([0, -1])]
  np.testing.assert_allclose(far, ends + slope * jnp.array([-2.0, 2.0]), rtol=1e-5)
  np.testing.assert_allclose(jnp.exp(log_far), slope, rtol=1e-5)
  if kind == 'interval':
    np.testing.assert_array_equal(slope, 1.0)


def test_the_slope_of_a_spline_is_its_derivative():
  knots, places = knots_of('free'), jnp.linspace(-2.4, 3.4, 41)
  derivative = jax.jit(jax.vmap(jax.grad(lambda x: splines.evaluate(knots, x)[0])))(places)
  np.testing.assert_allclose(jnp.exp(evaluate(knots, places)[1]), derivative, rtol=1e-4)


@functools.cache
def circle():
  """A density of two angles, and its compiled value and slopes."""
  layers = flow.chain(
    couplings.coupling(couplings.circular_spline(5), moved=(0,), given=(1,), angles=(1,),
                       widths=(8,)),
    couplings.coupling(couplings.circular_spline(5), moved=(1,), given=(0,), angles=(0,),
                       widths=(8,)))
  density = flow.make_log_density(layers, flow.uniform_prior(2))
  params = shaken(layers.init(jax.random.key(0)), 0.15)
  return params, jax.jit(jax.vmap(jax.value_and_grad(density, argnums=1), in_axes=(None, 0)))


def test_a_circular_density_has_no_seam():
  params, run = circle()
  step, other = 1e-5, jnp.linspace(-3.0, 3.0, 13)
  for axis in (0, 1):
    sides = [jnp.stack([jnp.full(13, seam), other], axis=1)[:, ::1 if axis == 0 else -1]
             for seam in (math.pi - step, -math.pi + step)]
    (low, low_slope), (high, high_slope) = (run(params, x) for x in sides)
      # 2e-5 apart with slopes of order ten; float32.
    np.testing.assert_allclose(low, high, atol=2e-3)
    np.testing.assert_allclose(low_slope, high_slope, atol=2e-2, rtol=1e-2)
    assert float(jnp.abs(low_slope).max()) > 0.1


def test_a_spline_of_the_interval_has_a_seam():
  # What `circular_spline` is for: here the slopes of the ends differ.
  knots = knots_of('free')
  assert abs(float(knots.slope[0] - knots.slope[-1])) > 0.1


def test_a_circular_density_integrates_to_one():
  params, run = circle()
  side = -math.pi + 2 * math.pi * (np.arange(200) + 0.5) / 200
  points = jnp.asarray(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2), jnp.float32)
  mean = np.exp(np.asarray(run(params, points)[0], np.float64)).mean()
  np.testing.assert_allclose(mean * (2 * math.pi) ** 2, 1.0, atol=1e-3)


@functools.cache
def plane(name):
  """A density of the plane behind a fixed affine layer, and its samples."""
  transform = {'affine': couplings.affine(bound=0.7),
               'spline': couplings.spline(6, low=-4.0, high=4.0)}[name]
  layers = flow.chain(
    flow.fixed_affine(np.array([0.5, -1.0]), np.array([[0.8, 0.3], [0.0, 1.2]])),
    couplings.alternate(transform, size=2, num_blocks=1, widths=(8,)),
    couplings.elementwise(2, couplings.scaling()))
  prior = flow.normal_prior(2, reference=2.0)
  density, sample = flow.make_log_density(layers, prior), flow.make_sample(layers, prior)
  params = shaken(layers.init(jax.random.key(0)), 0.15)
  return (params, jax.jit(jax.vmap(density, in_axes=(None, 0, None))),
          jax.jit(jax.vmap(sample, in_axes=(None, 0, None))))


@pytest.mark.parametrize('name', ['affine', 'spline'])
@pytest.mark.parametrize('temperature', [1.0, 3.0])
def test_the_density_integrates_to_one_and_is_that_of_the_samples(name, temperature):
  params, density, sample = plane(name)
  side = -12 + 24 * (np.arange(480) + 0.5) / 480
  points = jnp.asarray(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2), jnp.float32)
  weight = np.exp(np.asarray(density(params, points, temperature), np.float64)) * 0.05**2
  np.testing.assert_allclose(weight.sum(), 1.0, atol=1e-3)
  x, log_density = sample(params, jax.random.split(jax.random.key(0), 4000), temperature)
  np.testing.assert_allclose(log_density, density(params, x, temperature), atol=1e-4)
  for power in (1, 2):  # moments of the samples against the integral
    moment = np.asarray(x, np.float64) ** power
    error = moment.std(axis=0) / math.sqrt(len(x))
    expected = (weight[:, None] * np.asarray(points, np.float64) ** power).sum(axis=0)
    assert (np.abs(moment.mean(axis=0) - expected) < 4 * error).all()


def test_gradients_are_finite_on_tails_and_knots_and_far_away():
  layer = couplings.elementwise(1, TRANSFORMS['spline'])
  density = flow.make_log_density(layer, flow.normal_prior(1))
  places = jnp.array([-2.0, 2.0, 0.0, -2.5, 1e3, -1e3])[:, None]
  run = jax.jit(jax.vmap(jax.grad(density, argnums=(0, 1)), in_axes=(None, 0)))
  for size in (0.0, 0.5, 30.0):
    found = run(shaken(layer.init(jax.random.key(0)), size), places)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))


def test_a_chain_takes_its_layers_in_order():
  twice = flow.fixed_affine(np.zeros(2), np.full(2, 0.5))
  shift = flow.fixed_affine(np.array([1.0, 2.0]), np.ones(2))
  both = flow.chain(shift, twice)
  params = both.init(jax.random.key(0))
  x = jnp.array([3.0, 1.0])
  z, log_det = both.forward(params, x)
  np.testing.assert_allclose(z, [4.0, -2.0])
  np.testing.assert_allclose(log_det, 2 * math.log(2), rtol=1e-6)
  np.testing.assert_allclose(both.inverse(params, z)[0], x)
  np.testing.assert_allclose(both.inverse(params, z)[1], -log_det)


def test_standardised_data_have_zero_mean_and_unit_spread():
  x = np.random.default_rng(0).normal([3.0, -1.0], [0.1, 7.0], (1000, 2)).astype(np.float32)
  layer = flow.fit_standardise(x)
  z, log_det = jax.vmap(layer.forward, in_axes=(None, 0))((), jnp.asarray(x))
  np.testing.assert_allclose(np.mean(z, axis=0), 0.0, atol=1e-4)
  np.testing.assert_allclose(np.std(z, axis=0), 1.0, rtol=1e-4)
  np.testing.assert_allclose(log_det, -np.log(x.std(axis=0, dtype=np.float64)).sum(), rtol=1e-4)
  with pytest.raises(ValueError, match='standard deviations'):
    flow.fit_standardise(np.ones((5, 2)))
  with pytest.raises(ValueError, match='inverted'):
    flow.fixed_affine(np.zeros(2), np.array([[1.0, 2.0], [2.0, 4.0]]))


def test_priors_join_and_only_the_normal_one_knows_the_temperature():
  prior = flow.join_priors(flow.normal_prior(2, reference=300.0), flow.uniform_prior(1))
  z = jnp.array([1.0, -2.0, 0.5])
  expected = -5.0 / 4 - math.log(2 * math.pi * 2.0) - math.log(2 * math.pi)
  np.testing.assert_allclose(prior.log_density(z, 600.0), expected, rtol=1e-6)
  assert prior.size == 3 and prior.log_density(z.at[2].set(4.0), 600.0) == -jnp.inf
  draws = jax.vmap(prior.sample, in_axes=(0, None))(
    jax.random.split(jax.random.key(0), 4000), 600.0)
  square = np.asarray(draws, np.float64) ** 2
  error = square.std(axis=0) / math.sqrt(4000)
  assert (np.abs(square.mean(axis=0) - [2.0, 2.0, math.pi**2 / 3]) < 4 * error).all()


@pytest.mark.parametrize('make', [
  lambda: flow.normal_prior(0), lambda: flow.normal_prior(2, reference=0.0),
  lambda: flow.uniform_prior(0), lambda: flow.uniform_prior(1, low=1.0, high=1.0)])
def test_priors_of_nothing_are_refused(make):
  with pytest.raises(ValueError, match='expected'):
    make()


def test_the_box_is_chosen_from_the_data_and_a_small_one_is_refused():
  z = np.array([[0.1, -5.5], [2.0, 0.3]])
  np.testing.assert_allclose(splines.fit_box(z), 1.3 * 5.5)
  splines.check_box(z, 9.0)
  with pytest.raises(ValueError, match=r'box: found 5, expected at least 7\.15'):
    splines.check_box(z, 5.0)
  with pytest.raises(ValueError, match='found a largest'):
    splines.fit_box(np.array([0.0, np.nan]))
  # Why: on the tail the density is the prior's, whatever the parameters.
  layer = couplings.elementwise(1, couplings.spline(6, low=-5.0, high=5.0))
  density = jax.jit(flow.make_log_density(layer, flow.normal_prior(1)))
  start = layer.init(jax.random.key(0))
  values = [[density(shaken(start, size), jnp.array([x])) for size in (0.0, 1.0)]
            for x in (5.5, 4.5)]
  assert values[0][0] == values[0][1] and abs(values[1][0] - values[1][1]) > 0.1


def test_flowjax_agrees_about_splines():
  random = np.random.default_rng(0)
  theirs = jax.tree.map(
    lambda a: a + random.standard_normal(a.shape).astype(np.float32)
    if equinox.is_inexact_array(a) else a, RationalQuadraticSpline(knots=6, interval=3))
  theirs = paramax.unwrap(theirs)
  ours = splines.Knots(theirs.x_pos, theirs.y_pos, theirs.derivatives)
  places = jnp.linspace(-2.95, 2.95, 60)
  backward = jax.jit(jax.vmap(splines.evaluate_inverse, in_axes=(None, 0)))
  for found, expected in ((evaluate(ours, places), jax.vmap(theirs.transform_and_log_det)(places)),
                          (backward(ours, places), jax.vmap(theirs.inverse_and_log_det)(places))):
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-3)
