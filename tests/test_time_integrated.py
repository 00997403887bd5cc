"""The study of learned steps, made small: data, training, rollouts and report of both systems."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
  alanine_contest,
  polymer_contest,
  step_models,
  step_world,
  time_integrated,
)
from experiments.configs import time_integrated as configs
from twoforone.baselines.time_integrated.graph import Scales, make_system
from twoforone.baselines.time_integrated.history import Example
from twoforone.evaluation import structure


def small(variant, **changes):
  """A few steps of tiny networks."""
  config = configs.get_config(variant)
  sizes = {'gns': {'width': 8, 'num_layers': 1},
           'equivariant': {'width': 8, 'vectors': 4, 'num_layers': 1}}
  for network in config.networks.values():
    network.embedding.update({'features': 4, 'width': 8, 'num_layers': 1})
    network.sizes.update(sizes[network.kind])
  config.train.update({'num_steps': 4, 'validate_every': 2, 'batch_size': 4})
  config.polymers.update({'num_train': 2, 'num_val': 1, 'num_test': 3, 'equilibration': 2.0,
                          'length': 60.0, 'test_length': 60.0, 'chunk': 2.0})
  config.rollout.update({'frames': 60, 'frames_per_part': 30})
  config.speed.update({'frames': 2, 'time': 2.0})
  config.update(changes)
  return config


@pytest.fixture(scope='module')
def polymers(tmp_path_factory):
  folder = tmp_path_factory.mktemp('polymers')
  config = small('smoke', runs=('PnR',))
  return folder, config, time_integrated.run(config, str(folder))


@pytest.mark.slow
def test_polymers_leave_a_report_of_every_model(polymers):
  folder, config, table = polymers
  assert set(table) == set(config.runs)
  text = (folder / 'report.md').read_text()
  for name in config.runs:
    assert name in text
  for name in ('radius', 'relaxation', 'correlation', 'pairs', 'bonds', 'collisions', 'contacts'):
    assert (folder / f'{name}.png').stat().st_size > 1000
  costs = json.loads((folder / 'rows' / 'pnr_0.json').read_text())
  assert np.isfinite(costs['NLL']) and costs['speed'] > 0 and costs['parameters'] > 100
  assert costs['speed, long chain'] > 0 and costs['fine Rg² error, constant'] > 0
  assert costs['fine Rg² error'] > 0 and '| criterion | pass | target | floor | short MD |' in text


@pytest.mark.slow
def test_one_training_serves_the_step_with_and_without_refinement(polymers):
  folder, config, _ = polymers
  config = config.copy_and_resolve_references()
  config.speed.length = config.speed.long.chains = 0  # the row before timed its own
  world = polymer_contest.make_world(config, folder)
  before = {path: path.stat().st_mtime_ns for path in (folder / 'networks').rglob('costs.json')}
  plain = time_integrated.run_one(config, polymer_contest, world, 'GNS', 0, folder)
  assert {path: path.stat().st_mtime_ns
          for path in (folder / 'networks').rglob('costs.json')} == before
  refined = json.loads((folder / 'rows' / 'pnr_0.json').read_text())
  assert plain.costs['NLL'] == refined['NLL'] and plain.costs['step'] == refined['step']
  frames = np.load(folder / 'rollouts' / 'pnr_0' / 'part_00000.npz')['x']
  assert (plain.x[:len(frames)] != frames).any()


@pytest.mark.slow
def test_a_second_call_reads_what_the_first_made(polymers):
  folder, config, table = polymers
  before = {path: path.stat().st_mtime_ns for path in folder.rglob('part_*.npz')}
  again = time_integrated.run(config, str(folder))
  assert {path: path.stat().st_mtime_ns for path in folder.rglob('part_*.npz')} == before
  assert json.dumps(again, default=str) == json.dumps(table, default=str)


@pytest.mark.slow
def test_alanine_leaves_a_report(tmp_path):
  config = small('ala2_smoke', runs=('equivariant',))
  rows = time_integrated.run(config, str(tmp_path))
  metrics = {(row.sample, row.metric) for row in rows}
  assert ('held-out run', 'timescale 1 at 10 ps') in metrics
  assert ('equivariant', 'molecules lost') in metrics
  assert (tmp_path / 'ramachandran.png').exists()


def test_aligned_frames_keep_their_shape_and_lose_their_turning():
  random = np.random.default_rng(0)
  shape = random.normal(size=(5, 3))
  turned = [shape]
  for _ in range(6):
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    turned.append(shape @ (rotation * np.sign(np.linalg.det(rotation))))
  x = np.stack(turned).astype(np.float32) + 0.01 * random.normal(size=(7, 5, 3)).astype(np.float32)
  aligned = alanine_contest.align(x)
  # Noise of 0.01 on beads one apart; five standard deviations of a coordinate of the difference.
  assert np.abs(np.diff(aligned, axis=0)).max() < 5 * 0.01 * np.sqrt(2)
  assert np.abs(np.diff(x, axis=0)).max() > 0.5
  first, second = (structure.internal_coordinates(frames) for frames in (x, aligned))
  np.testing.assert_allclose(first.dihedrals, second.dihedrals, atol=1e-4)  # float32 rotations


def test_a_step_that_is_no_multiple_of_the_interval_is_refused():
  assert step_world.steps_of(1.0, 0.5) == 2
  with pytest.raises(ValueError, match=r'interval: found 0\.7, expected a multiple of the 0\.5'):
    step_world.steps_of(0.7, 0.5)


@pytest.mark.slow
def test_every_network_that_the_large_variant_names_can_be_trained():
  config = configs.get_config('paper')
  bonds = np.stack([np.arange(5), np.arange(1, 6)], axis=1)
  system = make_system(np.zeros(6, int), bonds, np.arange(6) // 2, np.ones(6),
                       num_particles=6, num_beads=3, num_bonds=5)
  frames, key = jnp.zeros((2, config.history + 1, 3, 3)), jax.random.key(0)
  for name in {model.network for model in config.models.values()}:
    setup = step_models.make_setup(config, config.networks[name], Scales(3.0, 0.3, 0.3), 5.0)
    params = jax.eval_shape(setup.model.init, key, system, frames[0, :-1])
    loss = jax.eval_shape(setup.loss, params, key, Example(system, frames, jnp.ones(2)))
    assert loss.shape == () and ('radius' in params) == (config.radius_width > 0)


def test_unknown_runs_are_refused_before_anything_is_made(tmp_path):
  config = small('smoke', runs=('nonsense',))
  with pytest.raises(ValueError, match='nonsense'):
    time_integrated.run(config, str(tmp_path / 'new'))
  assert not (tmp_path / 'new').exists()
