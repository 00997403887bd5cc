"""The equivariant energy: its symmetries, where it is smooth, what it sees, and that it learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import systems
from twoforone import checks, energy, geometry, optimizers, train
from twoforone.datasets import ala2, dataset
from twoforone.losses import denoising, noise_levels
from twoforone.networks.equivariant import EquivariantEnergy, fit_pair_statistics
from twoforone.schedule import cosine_schedule

SCHEDULE = cosine_schedule()
T = jnp.float32(0.1)
SPECIES = np.array([0, 1, 2, 0, 1])  # two species twice: neither a chain nor all different


def make_model(**options):
  chain = np.asarray(systems.stretched_chain(20, 5)) + 0.05 * np.random.default_rng(1).normal(
    size=(20, 5, 3))
  x = (chain - chain.mean(axis=1, keepdims=True)).astype(np.float32)
  x = x / x.std()
  statistics = fit_pair_statistics(x, SPECIES)
  return EquivariantEnergy(SCHEDULE, statistics, width=8, vectors=3, **options), jnp.asarray(x[0])


@functools.cache
def start(**options):
  """The energy, parameters at the start, the same shaken (the last layer starts at zero), frame."""
  model, x = make_model(**options)
  params = jax.jit(model.init)(jax.random.key(0), x, T, jnp.asarray(SPECIES))
  rng = np.random.default_rng(0)
  shaken = jax.tree.map(lambda a: a + 0.3 * rng.standard_normal(a.shape).astype(np.float32), params)
  return energy.make_energy(model.apply, SCHEDULE, SPECIES), params, shaken, x


ENERGY, PARAMS, SHAKEN, X = start()
SCORE = energy.make_score(ENERGY)
value = jax.jit(ENERGY)
score = jax.jit(SCORE)


def test_statistics_are_those_of_all_pairs_of_two_species():
  x = np.random.default_rng(0).standard_normal((50, 5, 3)).astype(np.float32)
  found = fit_pair_statistics(x, SPECIES)
  d = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
  pooled = np.concatenate([d[:, 0, 1], d[:, 0, 4], d[:, 3, 1], d[:, 3, 4]])
  np.testing.assert_allclose(found.distance_mean[0, 1], pooled.mean(), rtol=1e-5)
  np.testing.assert_allclose(found.distance_std[1, 0], pooled.std(), rtol=1e-5)
  np.testing.assert_allclose(found.distance_mean[0, 0], d[:, 0, 3].mean(), rtol=1e-5)
  # Species 2 has one bead: its pairs with itself get the values of all pairs.
  np.testing.assert_allclose(
    found.distance_mean[2, 2], d[:, *np.triu_indices(5, 1)].mean(), rtol=1e-5)


@pytest.mark.parametrize('shape, species, message', [
  ((10, 1, 3), [0], 'x: found 10 frames of 1 beads'),
  ((1, 5, 3), SPECIES, 'x: found 1 frames of 5 beads'),
  ((10, 5, 3), [0, 1], 'species: found 2, expected 5')])
def test_data_that_have_no_statistics_are_named(shape, species, message):
  with pytest.raises(ValueError, match=message):
    fit_pair_statistics(np.zeros(shape, np.float32), np.array(species))


def test_energy_and_score_turn_and_move_with_the_beads():
  rotation = geometry.random_rotation(jax.random.key(2))
  moved = X @ rotation.T + 0.5
  # float32, sums of some thousand terms: 1e-4 of the largest value.
  np.testing.assert_allclose(value(SHAKEN, moved, T), value(SHAKEN, X, T), rtol=1e-4)
  expected = np.asarray(score(SHAKEN, X, T) @ rotation.T)
  np.testing.assert_allclose(
    score(SHAKEN, moved, T), expected, atol=1e-4 * np.abs(expected).max())


def test_equal_beads_can_be_exchanged_and_others_cannot():
  same, other = jnp.array([3, 4, 2, 0, 1]), jnp.array([1, 0, 2, 3, 4])
  np.testing.assert_allclose(value(SHAKEN, X[same], T), value(SHAKEN, X, T), rtol=1e-4)  # float32
  expected = np.asarray(score(SHAKEN, X, T)[same])
  np.testing.assert_allclose(
    score(SHAKEN, X[same], T), expected, atol=1e-4 * np.abs(expected).max())
  assert abs(value(SHAKEN, X[other], T) / value(SHAKEN, X, T) - 1) > 1e-2


def test_it_sees_chirality_and_without_pseudoscalars_it_is_blind():
  assert checks.mirror_gap(score, SHAKEN, X, T) > 1e-2  # a tenth of the score, squared
  # Before training it has no preference: rounding, 1e-6 squared.
  assert checks.mirror_gap(score, PARAMS, X, T) < 1e-12
  blind, _, shaken, x = start(chiral=False)
  blind_score = jax.jit(energy.make_score(blind))
  assert checks.mirror_gap(blind_score, shaken, x, T) < 1e-12  # rounding is mirrored too


def test_there_is_no_net_force():
  found = np.asarray(score(SHAKEN, X, T))
  np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-4 * np.abs(found).max())  # float32


LINE = jnp.array([0.0, 0.9, 2.0, 3.1, 4.0])[:, None] * jnp.array([1.0, 0.0, 0.0])


def test_second_derivatives_are_finite_wherever_the_beads_are():
  reduced, _, shaken, _ = start(cutoff=1.5)
  places = jnp.stack([X, jnp.zeros((5, 3)), X.at[1].set(X[0]), LINE, 100 * X])
  direction = jax.random.normal(jax.random.key(4), (5, 3))

  def second(x, t):
    return jax.jvp(lambda x: jax.grad(reduced, argnums=1)(shaken, x, t), (x,), (direction,))[1]

  found = jax.jit(jax.vmap(jax.vmap(second, in_axes=(0, None)), in_axes=(None, 0)))(
    places, jnp.array([0.0, 0.999]))
  assert jnp.isfinite(found).all()


def test_groups_beyond_the_cutoff_do_not_feel_each_other_and_it_is_crossed_smoothly():
  reduced, _, shaken, _ = start(cutoff=1.5)
  pull = jnp.array([0, 0, 0, 1, 1])[:, None] * jnp.array([1.0, 0.0, 0.0])
  near = 0.3 * jnp.roll(X, 1, axis=1)

  def residual(a):
    x = near + a * pull
    return reduced(shaken, x, jnp.float32(0.0)) - 0.5 * jnp.sum(geometry.centre(x) ** 2)

  along = np.asarray(jax.jit(jax.vmap(jax.grad(residual)))(jnp.linspace(0.0, 6.0, 3001)))
  size = np.abs(along).max()
  assert size > 0.1 and np.abs(along[-1]) < 1e-4 * size  # float32
  assert np.abs(np.diff(along)).max() < 0.05 * size  # a step in the force would be of its size


def test_it_starts_at_pure_noise_where_there_is_only_noise():
  # phi = |x|²/2 at sigma = 1, so that the predicted noise is x itself: what pairs add is small.
  for x in systems.gaussian_data(jax.random.key(3), (20, 5, 3), 1.0):
    np.testing.assert_allclose(
      value(PARAMS, x, jnp.float32(0.999)), 0.5 * jnp.sum(x**2), rtol=0.05)


@pytest.mark.slow
def test_it_learns_alanine_better_than_a_gaussian():
  split = dataset.split_fold(ala2.load_ala2(), 2)
  scale = dataset.data_scale(split.train.x)
  x, held_out = (part.x[::100] / scale for part in (split.train, split.validation))
  species = np.arange(5)
  model = EquivariantEnergy(SCHEDULE, fit_pair_statistics(x, species), width=16, vectors=4,
                            num_layers=1)
  draw_level = noise_levels.log_uniform_sigma(SCHEDULE, 0.03, 0.9)

  def make_loss(score):
    return denoising.make_denoising_loss(score, SCHEDULE, draw_level=draw_level)

  loss = make_loss(energy.make_score(energy.make_energy(model.apply, SCHEDULE, species)))
  gaussian = make_loss(systems.make_gaussian_score(SCHEDULE, 1.0))
  optimizer = optimizers.muon(
    learning_rate=1e-2, final_learning_rate=1e-4, num_steps=150, max_norm=10.0)
  chunk = train.make_train_chunk(
    train.make_train_step(loss, optimizer, ema_decay=optimizers.warmup_ema(0.99)),
    batch_size=64, num_steps=150)
  params = jax.jit(model.init)(jax.random.key(0), jnp.asarray(x[0]), T, jnp.asarray(species))

  def validate(loss):
    run = train.make_validation(loss, batch_size=256, num_batches=8)
    return lambda params: float(run(params, jax.random.key(2), jnp.asarray(held_out)))

  validation = validate(loss)
  before = validation(params)
  state, _ = chunk(train.init_train_state(params, optimizer), jax.random.key(1), jnp.asarray(x))
  after = validation(state.ema_params)
  # The same 2048 draws for all; one spreads by about its mean, so that each loss is known to 2 %.
  assert after < 0.9 * before and after < 0.8 * validate(gaussian)(None)
