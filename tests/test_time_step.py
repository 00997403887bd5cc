"""The learned step around its networks: windows, noise, likelihood, integration, long runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone.baselines.time_integrated.graph import Scales, make_system
from twoforone.baselines.time_integrated.guard import Guard
from twoforone.baselines.time_integrated.history import (
  Example,
  fit_scales,
  make_perturb,
  make_take,
  make_windows,
)
from twoforone.baselines.time_integrated.model import (
  StepModel,
  make_step,
  make_step_loss,
  with_guard,
)
from twoforone.baselines.time_integrated.noise import DiagonalGaussian
from twoforone.baselines.time_integrated.rollout import init_rollout, observe, rollout

SCALES = Scales(length=2.0, velocity=0.5, acceleration=0.25)


def chain(real=3, padded=4):
  """Two particles to a bead, in a line."""
  count = 2 * real
  bonds = np.stack([np.arange(count - 1), np.arange(1, count)], axis=1)
  return make_system(
    np.zeros(count, int), bonds, np.arange(count) // 2, np.ones(count),
    num_particles=2 * padded, num_beads=padded, num_bonds=2 * padded)


def stack(systems):
  return jax.tree.map(lambda *leaves: np.stack(leaves), *systems)


def make_constant(std=1.0):
  """Acceleration N(params['dynamics'], std²) on every axis, whatever the history."""

  def predict(params, history, embedding, beads):
    mean = jnp.where(beads.mask[:, None], params['dynamics'], 0.0) + 0 * history[-1]
    return DiagonalGaussian(mean, jnp.full_like(mean, std), beads.mask), params['dynamics'] + mean

  return StepModel(lambda key, system, history: {'dynamics': jnp.zeros(()), 'score': jnp.ones(())},
                   lambda params, fine, num_beads: jnp.zeros((num_beads, 1)), predict, None)


def test_a_system_is_padded_and_its_beads_bonded_where_bonds_cross():
  fine, beads = chain()
  assert beads.mask.tolist() == [True, True, True, False]
  assert beads.mass.tolist() == [2, 2, 2, 0]
  assert np.argwhere(beads.bonded).tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]
  assert fine.cluster.tolist() == [0, 0, 1, 1, 2, 2, 4, 4]
  assert (fine.senders[10:] == 8).all() and len(fine.senders) == 16
  with pytest.raises(ValueError, match='num_particles: found a molecule of 10, expected at most 8'):
    chain(real=5)


def test_windows_stay_within_a_trajectory_and_keep_their_spacing():
  frames = np.arange(2 * 9, dtype=np.float32).reshape(2, 9, 1, 1) * np.ones((1, 1, 4, 3), 'f')
  windows = make_windows(frames, stack([chain(), chain(real=2)]), num_frames=3, dilation=2)
  take = make_take(num_frames=3, dilation=2, per_molecule=2)
  assert len(windows.chain) == 2 * 5
  examples = take(windows, jnp.arange(10))
  found = examples.frames[..., 0, 0]
  assert found.shape == (10, 2, 3)
  assert (np.diff(found, axis=-1) == 2).all()
  assert ((found // 9) == np.repeat([0, 1], 5)[:, None, None]).all()
  assert sorted(found[:5, 0, 0].tolist()) == sorted(found[:5, 1, 0].tolist()) == [0, 1, 2, 3, 4]
  assert examples.system.beads.mask.sum(axis=1).tolist() == [3] * 5 + [2] * 5
  assert examples.square_radius is None
  known = windows._replace(square_radius=10 * frames[..., 0, 0])
  np.testing.assert_array_equal(take(known, jnp.arange(10)).square_radius, 10 * found[..., 1])
  with pytest.raises(ValueError, match='found 4 frames, a window needs 5'):
    make_windows(frames[:, :4], windows.systems, num_frames=3, dilation=2)


def test_scales_are_those_of_a_uniform_acceleration():
  t = np.arange(41) / 2.0
  systems = stack([chain()])
  x = np.zeros((1, 41, 4, 3))
  x[0, :, :3] = np.arange(3)[:, None] * np.array([3.0, 0, 0]) + 0.5 * (t**2)[:, None, None]
  scales = fit_scales(x, systems.beads, dilation=2)
  # x = t²/2 on every axis at t = 0, 1, 2, ...: steps of t + 1/2, accelerations of one.
  assert scales.length == pytest.approx(3.0)
  assert scales.velocity == pytest.approx(np.sqrt(np.mean((np.arange(20) + 0.5) ** 2)))
  assert scales.acceleration == pytest.approx(1.0)


def test_noise_has_its_range_of_scales_and_leaves_padding_alone():
  perturb = make_perturb(0.1, 0.4)
  beads = chain().beads
  history = jnp.zeros((5, 4, 3))
  keys = jax.random.split(jax.random.key(0), 4000)
  noise = jax.vmap(perturb, (0, None, None))(keys, history, beads)
  assert (noise[:, :, 3] == 0).all()
  variance = jnp.mean(noise[:, :, :3] ** 2, axis=(1, 2, 3))
  expected = (0.4**2 - 0.1**2) / (2 * np.log(4.0))  # of s² for ln s uniform
  assert abs(variance.mean() - expected) < 4 * variance.std() / np.sqrt(4000)
  with pytest.raises(ValueError, match=r'noise: found 0\.2 to 0\.1'):
    make_perturb(0.2, 0.1)


def test_the_loss_is_the_entropy_where_the_model_is_true():
  model, system = make_constant(std=0.7), chain()
  keys = jax.random.split(jax.random.key(1), 2000)

  def one(key):
    a = SCALES.acceleration * (0.3 + 0.7 * jax.random.normal(key, (4, 3)))
    x = jnp.ones((2, 4, 3))
    return make_step_loss(model, SCALES)(
      {'dynamics': jnp.asarray(0.3)}, key,
      Example(system, jnp.concatenate([x, (x[:1] + a)])[None]))

  values = jax.vmap(one)(keys)
  entropy = 0.5 * np.log(2 * np.pi * np.e * 0.7**2)
  assert abs(values.mean() - entropy) < 4 * values.std() / np.sqrt(2000)


@pytest.mark.parametrize('share_latent', [False, True])
def test_only_a_shared_latent_lets_the_score_train_the_step(share_latent):
  model, system = make_constant(), chain()
  example = Example(system, jax.random.normal(jax.random.key(2), (3, 3, 4, 3)))

  def score_loss(params, key, target):
    return jnp.mean((params['score'] - target[1]) ** 2)

  params = {'dynamics': jnp.asarray(0.2), 'score': jnp.asarray(2.0)}

  def gradient(**settings):
    return jax.grad(make_step_loss(model, SCALES, **settings))(params, jax.random.key(0), example)

  alone, both = gradient(), gradient(score_loss=score_loss, share_latent=share_latent)
  assert (both['dynamics'] == alone['dynamics']) != share_latent
  assert alone['score'] == 0 and both['score'] != 0


def test_the_radius_is_learned_from_the_clean_frame_before_the_step():
  model, system = make_constant(), chain()
  frames = jax.random.normal(jax.random.key(2), (3, 3, 4, 3))
  example = Example(system, frames, jnp.arange(3.0))
  params = {'dynamics': jnp.asarray(0.2)}

  def radius_loss(params, seen):
    x, latent, _, square_radius = seen
    return jnp.sum(x) + jnp.mean(latent) * params['dynamics'] + square_radius

  def perturb(key, history, beads):
    return history + 1e-3 * beads.mask[:, None]

  key = jax.random.key(0)
  plain, with_radius = (make_step_loss(model, SCALES, perturb=perturb, radius_loss=loss)(
    params, key, example) for loss in (None, radius_loss))
  # The latent is twice the mean of the acceleration, 0.2, and once for the bead of padding.
  expected = frames[:, 1].sum(axis=(1, 2)).mean() + 0.2 * (0.4 * 3 + 0.2) / 4 + 1.0
  np.testing.assert_allclose(with_radius - plain, expected, atol=1e-5)  # float32 sums


def test_rotated_windows_keep_the_loss_of_a_model_that_sees_no_direction():
  model, system = make_constant(), chain()
  example = Example(system, jax.random.normal(jax.random.key(3), (4, 3, 4, 3)))
  params = {'dynamics': jnp.zeros(())}
  plain, turned = (make_step_loss(model, SCALES, rotate=rotate)(params, jax.random.key(0), example)
                   for rotate in (False, True))
  assert float(turned) == pytest.approx(float(plain), rel=1e-5)  # rounding of one rotation
  shifted = {'dynamics': jnp.ones(())}
  plain, turned = (make_step_loss(model, SCALES, rotate=rotate)(shifted, jax.random.key(0), example)
                   for rotate in (False, True))
  assert abs(turned - plain) > 1e-3


def test_without_noise_a_step_goes_on_with_the_velocity_and_the_mean():
  step = make_step(make_constant(), SCALES, spread=0.0)
  beads = chain().beads
  history = jnp.stack([jnp.zeros((4, 3)), jnp.ones((4, 3)), 3 * jnp.ones((4, 3))])
  after = step({'dynamics': jnp.asarray(2.0)}, jax.random.key(0), history, None, beads)
  assert (after[:2] == history[1:]).all()
  assert (after[2, :3] == 3 + 2 + 2.0 * SCALES.acceleration).all() and (after[2, 3] == 0).all()


def test_a_refined_step_stores_what_the_refinement_made():
  step = make_step(make_constant(), SCALES, refine=lambda params, key, x, latent, beads: 0 * x + 7)
  after = step({'dynamics': jnp.zeros(())}, jax.random.key(0), jnp.zeros((2, 4, 3)), None,
               chain().beads)
  assert (after[-1, :3] == 7).all() and (after[-1, 3] == 0).all()


def start(replicas=3):
  systems = stack([chain()] * replicas)
  history = jax.random.normal(jax.random.key(4), (replicas, 2, 4, 3))
  history = jnp.where(systems.beads.mask[:, None, :, None], history, 0)
  return init_rollout(jax.random.key(5), history), jnp.zeros((replicas, 4, 1)), systems.beads


def damped(explode=-1.0):
  """A pull to the origin with noise; from `explode` on a molecule beyond it runs away."""

  def step(params, key, history, embedding, beads):
    noise = jax.random.normal(key, history.shape[1:])
    far = (explode > 0) & (jnp.abs(history[-1]).max() > explode)
    x = jnp.where(far, 10 * history[-1], params * history[-1] + noise)
    return jnp.concatenate([history[1:], jnp.where(beads.mask[:, None], x, 0)[None]])

  return step


def test_chunks_chain_bit_for_bit():
  state, embedding, beads = start()
  run = jax.jit(lambda state, n: rollout(
    damped(), 0.9, state, embedding, beads, num_frames=n, stride=3), static_argnums=1)
  _, whole, _ = run(state, 6)
  state, first, _ = run(state, 4)
  state, second, info = run(state, 2)
  assert (whole == jnp.concatenate([first, second])).all()
  assert int(state.frame) == 6
  seen = observe(second[-1, 0], jax.tree.map(lambda a: a[0], beads))
  assert seen.closest == info.closest[-1, 0] and seen.longest == info.longest[-1, 0]


def test_the_stride_only_skips_frames():
  state, embedding, beads = start()
  _, every, _ = rollout(damped(), 0.9, state, embedding, beads, num_frames=6)
  _, third, _ = rollout(damped(), 0.9, state, embedding, beads, num_frames=2, stride=3)
  # Two programs, whose float32 rounding may differ: six steps, each of which forgets a tenth.
  np.testing.assert_allclose(every[2::3], third, rtol=1e-5, atol=1e-5)


def test_a_molecule_that_runs_away_is_frozen_and_touches_no_other():
  state, embedding, beads = start()
  walk = state.dynamics
  state = state._replace(
    dynamics=walk._replace(history=walk.history.at[1].multiply(100.0)))
  _, healthy, _ = rollout(damped(), 0.9, state, embedding, beads, num_frames=8)
  after, x, info = rollout(
    damped(explode=30.0), 0.9, state, embedding, beads, num_frames=8, max_bond=1e4)
  assert after.lost_frame.tolist()[0] == after.lost_frame.tolist()[2] == -1
  lost = int(after.lost_frame[1])
  assert 0 <= lost < 8 and int(after.reason[1]) == 2
  assert jnp.isnan(x[lost:, 1]).all() and jnp.isfinite(x[:lost, 1]).all()
  assert jnp.isnan(info.longest[lost:, 1]).all() and jnp.isfinite(after.dynamics.history[1]).all()
  assert (x[:, jnp.array([0, 2])] == healthy[:, jnp.array([0, 2])]).all()


def test_observed_distances():
  beads = chain().beads
  x = jnp.array([[0.0, 0, 0], [2, 0, 0], [2, 3, 0], [0, 0, 0.1]])
  seen = observe(x, beads)
  assert seen.closest == pytest.approx(2.0) and seen.longest == pytest.approx(3.0)


def test_the_guard_only_adds_its_pull_to_the_mean():
  model, beads = make_constant(), chain().beads
  history = jnp.array([[0.0, 0, 0], [5, 0, 0], [6, 0, 0], [0, 0, 0]])[None].repeat(2, axis=0)
  params = {'dynamics': jnp.asarray(0.3)}
  plain, latent = model.predict(params, history, None, beads)
  guarded, same = with_guard(model, Guard(r_max=4.0, rate=0.25), SCALES).predict(
    params, history, None, beads)
  pull = np.array([[0.25, 0, 0], [-0.25, 0, 0], [0, 0, 0], [0, 0, 0]]) / SCALES.acceleration
  np.testing.assert_allclose(guarded.mean - plain.mean, pull, atol=1e-5)  # rounding of 1/0.25
  assert (latent == same).all() and (guarded.std == plain.std).all()
