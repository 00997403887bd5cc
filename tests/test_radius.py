"""The radius of the fine particles: the beads' own and a residual that learns, alone."""

import jax
import jax.numpy as jnp
import numpy as np

from twoforone.baselines.time_integrated.graph import BeadGraph, Scales
from twoforone.baselines.time_integrated.latent import Latent
from twoforone.baselines.time_integrated.radius import RadiusHead, bead_radius, make_radius_loss
from twoforone.evaluation import polymers

SCALES = Scales(length=2.0, velocity=0.5, acceleration=0.7)
MASS = np.array([2.0, 1.0, 3.0, 0.0])
BEADS = BeadGraph(MASS > 0, MASS, np.zeros((4, 4), bool))
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
LATENT = Latent(jnp.ones((4, 5)), None, jnp.zeros((4, 3)))
HEAD = RadiusHead(SCALES, width=8)
PARAMS = HEAD.init(jax.random.key(0), X, LATENT, BEADS)


def test_the_radius_is_that_of_the_beads_and_a_residual_without_gradient():
  silent = jax.tree.map(jnp.zeros_like, PARAMS)
  expected = np.sqrt(polymers.squared_radius(np.asarray(X)[None], MASS))[0]
  np.testing.assert_allclose(HEAD.apply(silent, X, LATENT, BEADS), expected, rtol=1e-5)
  silent['params']['residual']['out']['bias'] = jnp.array([0.25])
  np.testing.assert_allclose(HEAD.apply(silent, X, LATENT, BEADS), expected + 0.5, rtol=1e-5)
  gradient = jax.grad(lambda latent: HEAD.apply(PARAMS, X, latent, BEADS))(LATENT)
  np.testing.assert_array_equal(gradient.scalars, 0)


def test_beads_and_what_lies_within_them_make_the_whole_radius():
  random = np.random.default_rng(1)
  mass, bead = random.uniform(1, 2, 9), np.arange(9) // 3
  x = random.normal(size=(9, 3))
  total = np.bincount(bead, mass)
  centre = np.stack([np.bincount(bead, mass * axis) / total for axis in x.T], axis=1)
  within = mass @ np.sum((x - centre[bead]) ** 2, axis=1) / mass.sum()
  beads = BeadGraph(np.ones(3, bool), total, np.zeros((3, 3), bool))
  np.testing.assert_allclose(  # float32
    bead_radius(jnp.asarray(centre, jnp.float32), beads) + within,
    polymers.squared_radius(x[None], mass)[0], rtol=1e-5)


def test_training_finds_a_residual_that_depends_on_the_latent():
  def apply(params, x, latent, beads):
    return HEAD.apply(params, x, latent, beads)

  kinds = jax.random.normal(jax.random.key(1), (32, 5))
  frames = X + 0.5 * jax.random.normal(jax.random.key(2), (32, 4, 3))
  latents = jax.vmap(lambda kind: LATENT._replace(scalars=kind * LATENT.scalars))(kinds)
  own = jax.vmap(bead_radius, (0, None))(frames, BEADS)
  true = (jnp.sqrt(own) + 0.3 + 0.2 * jnp.tanh(kinds[:, 0])) ** 2
  loss = make_radius_loss(apply, SCALES)

  @jax.jit
  def mean(params):
    return jax.vmap(lambda *example: loss(params, (*example[:2], BEADS, example[2])))(
      frames, latents, true).mean()

  params, step = PARAMS, jax.jit(lambda p: jax.tree.map(
    lambda leaf, slope: leaf - 0.3 * slope, p, jax.grad(mean)(p)))
  for _ in range(300):
    params = step(params)
  # A constant residual leaves the variance of 0.2 tanh of a normal, 0.016, over length².
  assert mean(params) < 0.2 * 0.016 / SCALES.length**2 < mean(PARAMS)
