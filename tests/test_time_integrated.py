"""The study of learned steps, made small: data, training, rollouts and report of both systems."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
  alanine_contest,
  polymer_contest,
  polymer_md,
  step_models,
  step_speed,
  step_symmetry,
  step_world,
  time_integrated,
)
from experiments.configs import time_integrated as configs
from twoforone.baselines.time_integrated.graph import Scales, make_system
from twoforone.baselines.time_integrated.history import Example, make_take
from twoforone.datasets import ala2, polymer_file
from twoforone.datasets import polymers as polymers_data
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


@pytest.mark.slow
def test_a_simulation_that_is_the_held_out_run_has_its_passage_times(monkeypatch):
  loaded = ala2.load_ala2()
  order = np.random.default_rng(0).permutation(len(loaded.x))[:4000]  # no memory: all basins meet
  x = loaded.x[order][:, None]
  config = configs.get_config('ala2')
  runs = alanine_contest.Runs(x[:, 0], [], config.interval, 1.0, 0)
  monkeypatch.setattr(alanine_contest.evaluate_ala2, 'evaluate_ala2',
                      lambda *arguments, **options: [])
  _, rows = alanine_contest.list_rows(config, SimpleNamespace(reference=runs), {
    'model': {0: time_integrated.Row({}, x, x)}})
  ours, true = ({row.metric: row for row in rows if row.sample == sample}
                for sample in ('model', 'held-out run'))
  assert set(true) == set(ours) - {'molecules lost'} and len(config.lags) == 3
  assert all(ours[name].value == ours[name].reference == true[name].value for name in true)
  inside = (structure.phi_psi(x)[..., 0] > 0).mean()
  for lag in config.lags:  # of independent frames: one in 1 / p lags is inside
    into, out = (true[f'mean first passage {way} φ > 0 at {lag:g} ps']
                 for way in ('into', 'out of'))
    assert abs(into.value - lag / inside) < 5 * into.error  # k = 5 over five blocks and three lags
    assert abs(out.value - lag / (1 - inside)) < 5 * out.error


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


def large(name):
  """Config, setup and shapes of the parameters of a network of the paper's variant."""
  config = configs.get_config('paper')
  setup = step_models.make_setup(config, config.networks[name], Scales(3.0, 0.3, 0.3), 5.0)
  frames = jnp.zeros((config.history, 3, 3))
  return config, setup, jax.eval_shape(setup.model.init, jax.random.key(0), six_particles(), frames)


def six_particles():
  bonds = np.stack([np.arange(5), np.arange(1, 6)], axis=1)
  return make_system(np.zeros(6, int), bonds, np.arange(6) // 2, np.ones(6),
                     num_particles=6, num_beads=3, num_bonds=5)


@pytest.mark.slow
def test_every_network_that_the_large_variant_names_can_be_trained():
  for name in {model.network for model in configs.get_config('paper').models.values()}:
    config, setup, params = large(name)
    example = Example(six_particles(), jnp.zeros((2, config.history + 1, 3, 3)), jnp.ones(2))
    loss = jax.eval_shape(setup.loss, params, jax.random.key(0), example)
    assert loss.shape == () and ('radius' in params) == (config.radius_width > 0)


@pytest.mark.slow
def test_the_large_variant_has_the_published_numbers_of_parameters():
  config, _, params = large('gns')
  count = {part: sum(leaf.size for leaf in jax.tree.leaves(leaves))
           for part, leaves in params.items()}
  # Codes of five species and of two kinds of edges are counted on their own in the original.
  assert count['embedding'] == 300_288 + 5 * 32
  assert count['dynamics'] == 1_173_894 + 2 * 32
  assert count['radius'] == 99_073
  assert count['embedding'] + count['dynamics'] + count['radius'] == 1_573_479
  # The original has a score for batteries alone: this one does not see the mass, a row of weights.
  assert count['score'] == 1_162_499 - 128 + 2 * 32
  assert config.history == 30 and config.train.batch_size * config.windows_per_molecule == 32


def write_walks(folder, frames):
  """Random walks of two chains of four beads in place of polymers, two replicas for the test."""
  random = np.random.default_rng(0)
  bonds, cluster = polymers_data.linear_bonds(24), np.arange(24) // 6
  for split, replicas in (('train', 1), ('val', 1), ('test', 2)):
    x = 3 * np.arange(4)[:, None] + 0.3 * random.normal(
      size=(2, replicas, frames, 4, 3)).cumsum(axis=2)
    molecules = [polymer_file.Molecule(np.zeros(24, int), cluster, np.ones(24), bonds, chain,
                                       np.ones((replicas, frames))) for chain in np.float32(x)]
    with open(folder / f'{split}.npz', 'wb') as file:
      polymer_file.write(file, molecules, interval=1.0 if split == 'test' else 0.5, friction=0.5)


def test_histories_of_thirty_frames_are_cut_and_started_from(tmp_path, monkeypatch):
  write_walks(tmp_path, 160)
  config = small('smoke', history=configs.get_config('paper').history, data=str(tmp_path))
  world = polymer_contest.make_world(config, tmp_path)
  assert world.histories.shape == (2, 30, 4, 3)
  np.testing.assert_array_equal(world.histories[1], world.reference.x[0, :30, 1])
  for windows, dilation in ((world.train, 2), (world.validation, 2), (world.test, 1)):
    take = make_take(num_frames=31, dilation=dilation, per_molecule=1)
    frames = take(windows, np.array([len(windows.start) - 1])).frames
    assert frames.shape == (1, 1, 31, 4, 3)
    np.testing.assert_array_equal(frames[0, 0, -1], windows.x[-1, -1])  # the last reaches the end
  short = polymer_md.Frames(np.zeros((1, 1, 6, 4, 3)), np.zeros((1, 1, 6)), np.zeros((1, 1, 6)))
  monkeypatch.setattr(
    polymer_md, 'simulate_chains', lambda *arguments, **options: (short, 1.0))
  with pytest.raises(ValueError, match='found 6 frames of the dynamics, expected at least 30'):
    step_speed.compare_long(config, None, None, None)


@pytest.mark.slow
def test_only_the_equivariant_step_turns_with_the_molecule(tmp_path):
  write_walks(tmp_path, 160)
  config = small('smoke', data=str(tmp_path))
  world, found, random = polymer_contest.make_world(config, tmp_path), {}, np.random.default_rng(0)
  for name in ('gns', 'equivariant'):
    model = step_models.make_setup(config, config.networks[name], world.scales, world.r_max).model
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.tree.map(
      lambda a: a[0], world.systems), world.histories[0])
    # Not those of the start, where the last layers are zero and the score has no direction.
    params = jax.tree.map(lambda leaf: jnp.float32(0.3 * random.normal(size=leaf.shape)), shapes)
    found[name] = step_symmetry.turning_error(config, world, model, params)
  assert found['equivariant'] < 1e-4 and found['gns'] > 1e-2  # P10 of the spec, float32


def test_the_baseline_is_the_message_passing_model_with_the_same_step():
  config = configs.get_config('default')
  assert polymer_contest.list_baselines(config, config.runs) == {
    'equivariant': 'GNS', 'equivariant, refined': 'PnR'}
  assert polymer_contest.list_baselines(config, ('GNS', 'equivariant, refined')) == {}


def test_unknown_runs_are_refused_before_anything_is_made(tmp_path):
  config = small('smoke', runs=('nonsense',))
  with pytest.raises(ValueError, match='nonsense'):
    time_integrated.run(config, str(tmp_path / 'new'))
  assert not (tmp_path / 'new').exists()
