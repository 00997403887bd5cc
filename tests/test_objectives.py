"""From the fields of a config to what is minimised, and when."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import milestones, models, objectives, training, uses
from experiments.configs import ala2 as ala2_config
from twoforone import checkpoint
from twoforone.datasets import ala2 as embedded
from twoforone.datasets import dataset

SYSTEM = embedded.ala2_system()


@pytest.fixture(scope='module')
def frames():
  return embedded.load_ala2().x[:2000]


def small(**changes):
  config = ala2_config.get_config('smoke')
  config.train.batch_size = 16
  config.network.update({
    'widths': (16,), 'width': 16, 'num_layers': 1, 'heads': 2, 'head_dim': 8, 'vectors': 4})
  config.update(changes)
  return config


def fit(config, frames):
  model = models.fit_model(config, SYSTEM, frames, 0.1)
  return model, model.init(jax.random.key(0))


def test_terms_come_in_at_whole_chunks(frames):
  config = small(loss={'classification_from': 0.24, 'fokker_planck': 1e-3})
  model, _ = fit(config, frames)
  phases = objectives.make_phases(config, model)
  # 400 steps in chunks of 100: 0.24 rounds to one chunk, 0.9 to all four, of which it has the last.
  assert [(phase.start, phase.auxiliary is not None) for phase in phases] == [
    (0, False), (100, False), (300, True)]


def test_the_chunk_follows_the_step_also_of_a_resumed_state(frames):
  config = small(loss={'classification_from': 0.5})
  model, params = fit(config, frames)
  phases = objectives.make_phases(config, model)
  optimizer = training.make_optimizer(config.train)
  chunk = training.make_chunk(config.train, phases, optimizer)
  x, key = jnp.asarray(frames / 0.1), jax.random.key(1)
  state = training.train.init_train_state(params, optimizer)
  for step, offset_moves in ((0, False), (200, True)):
    before = state._replace(step=jnp.asarray(step))
    after, _ = chunk(jax.tree.map(jnp.copy, before), key, x)
    # Only the classification sees the offset.
    moved = bool(np.abs(after.params['offset'] - params['offset']).max() > 0)
    assert moved == offset_moves


@pytest.mark.parametrize('schedule, count', [
  ({'num_steps': 10_000}, 7), ({'num_steps': 1000}, 5), ({'kind': 'linear', 'num_steps': 1000}, 5),
], ids=str)
def test_milestones_look_at_every_sigma_that_the_schedule_reaches(schedule, count, frames):
  config = small(schedule=schedule)
  config.train.milestone.update({'samples': 0, 'levels': ()})
  model, params = fit(config, frames)
  found = milestones.make_milestone(config, model, SYSTEM, frames[:64], milestones.torsion_js)(
    params['energy'], jax.random.key(2))
  assert list(found) == [f'loss sigma={sigma:g}' for sigma in milestones.SIGMAS[-count:]]
  assert np.isfinite(list(found.values())).all()


def test_milestones_leave_out_samples_that_are_not_finite(frames, monkeypatch):
  config = small()
  config.train.milestone.update({'samples': 4, 'levels': ()})
  model, params = fit(config, frames)

  def score(drawn):
    monkeypatch.setattr(uses, 'make_sampler', lambda *_: (
      lambda params, key, shape: jnp.asarray(drawn, jnp.float32) / model.scale))
    return milestones.make_milestone(config, model, SYSTEM, frames[:64], milestones.torsion_js)(
      params['energy'], jax.random.key(2))

  broken = np.concatenate([frames[:3], np.full_like(frames[:1], np.nan)])
  found = score(broken)
  assert found['samples not finite'] == 1
  assert found['js iid'] == pytest.approx(milestones.torsion_js(frames[:3], frames[:64]), abs=1e-6)
  found = score(broken[[3, 3, 3, 3]])
  assert found['samples not finite'] == 4 and 'js iid' not in found


@pytest.mark.parametrize('objective, distance', [('clean', 'squared'), ('clean', 'absolute')])
def test_clean_is_the_error_of_the_noise_times_sigma_over_alpha(objective, distance, frames):
  config = small(loss={'objective': objective, 'distance': distance, 'weight_strength': 0.0})
  noise = models.make_schedule(config.schedule)
  t = jnp.float32(0.3)
  ratio = float(noise.sigma(t) / noise.alpha(t))
  found = float(objectives.make_weight(config.loss, noise)(t))
  assert found == pytest.approx(ratio ** (2 if distance == 'squared' else 1), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('changes', [
  {'network': {'kind': 'transformer', 'prior': True}},
  {'network': {'kind': 'invariant', 'prior': True}},
  {'network': {'kind': 'equivariant'}},
  {'network': {'kind': 'equivariant', 'prior': True}},
  {'loss': {'fokker_planck': 1e-3, 'fokker_planck_from': 0.0}},
  {'loss': {'classification': 0.0, 'fokker_planck': 1e-3, 'fokker_planck_from': 0.0}},
], ids=str)
def test_every_network_and_term_has_a_gradient_and_comes_back_from_its_card(
    changes, frames, tmp_path):
  config = small(**changes)
  model, params = fit(config, frames)
  phase, x = objectives.make_phases(config, model)[-1], jnp.asarray(frames[0] / 0.1)
  losses = [phase.loss] + ([phase.auxiliary.loss] if phase.auxiliary else [])
  gradient = jax.jit(jax.grad(lambda params: sum(
    loss(params, jax.random.key(1), x) for loss in losses)))(params)
  size = float(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
  assert np.isfinite(size) and size > 0
  params = jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient)['energy']
  checkpoint.write_card(tmp_path, models.model_card(config, model, SYSTEM, 2.5))
  again = models.model_from_card(checkpoint.read_card(tmp_path), small(), SYSTEM)
  t = jnp.float32(0.1)
  first, second = (jax.jit(found.score)(params, x, t) for found in (model, again))
  np.testing.assert_array_equal(first, second)


def test_a_prior_makes_the_first_score_that_of_the_noised_gaussian(frames):
  """At zero output the transformer with a prior starts right at high noise."""
  config = small(network={'kind': 'transformer', 'prior': True})
  model, params = fit(config, frames)
  x = jax.random.normal(jax.random.key(3), (5, 3))
  x = x - x.mean(axis=0)
  t = jnp.float32(0.97)
  # alpha² is 0.002 there, times a whitened variance of order one.
  np.testing.assert_allclose(model.score(params['energy'], x, t), -x, atol=0.05)


@pytest.mark.parametrize('forces', ['all', 'no_angles'])
def test_forces_narrow_the_label_at_low_noise_and_leave_it_at_high(forces):
  """The scatter of the label about the trained score falls where forces say more than noise."""
  data = dataset.subset(embedded.load_ala2(), 2000, 0)
  config = small(loss={'forces': forces})
  scale = dataset.data_scale(data.x)
  examples = objectives.make_examples(config, data, scale)
  model = models.fit_model(config, SYSTEM, data.x, scale)
  label = objectives.make_label(config, model, examples, SYSTEM)
  noise = jax.random.normal(jax.random.key(0), examples[0].shape)
  noise = noise - noise.mean(axis=1, keepdims=True)
  for t, narrows in ((0.0, True), (0.95, False)):
    t = jnp.float32(t)
    x_t = model.schedule.alpha(t) * examples[0] + model.schedule.sigma(t) * noise
    found = jax.vmap(label, in_axes=((0, 0), 0, 0, None))(examples, noise, x_t, t)
    ratio = float(jnp.var(found) / jnp.var(noise))
    assert ratio < 0.9 if narrows else ratio == pytest.approx(1.0, abs=0.01)


def test_forces_that_are_not_there_are_missed():
  data = embedded.load_ala2()._replace(forces=None)
  with pytest.raises(ValueError, match=r"loss.forces: found 'all'.* the data have no forces"):
    objectives.make_examples(small(loss={'forces': 'all'}), data, 0.1)
