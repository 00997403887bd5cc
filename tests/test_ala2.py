"""The experiment on alanine, from a small training to its report, and what it refuses."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
  ala2,
  checks,
  kinetics,
  models,
  noise_level,
  objectives,
  residual,
  stages,
  training,
  uses,
)
from experiments.configs import ala2 as ala2_config
from experiments.configs import checks as checks_config
from experiments.configs import kinetics as kinetics_config
from experiments.configs import noise_level as noise_level_config
from experiments.configs.published_sizes import PUBLISHED_SIZES
from twoforone import checkpoint, trajectory
from twoforone.datasets import ala2 as embedded
from twoforone.train import Auxiliary

ROOT = pathlib.Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(
  not (embedded.DIRECTORY / f'{embedded.NAME}_beads.npz').exists(),
  reason='the embedded data are not in data/')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A finished smoke run: its folder and its rows."""
  folder = tmp_path_factory.mktemp('ala2')
  return folder, ala2.run(ala2_config.get_config('smoke'), str(folder))


@pytest.mark.slow
def test_smoke_leaves_a_folder_a_person_can_read(finished):
  folder, rows = finished
  left = {path.name for path in folder.iterdir()}
  assert left >= {'config.json', 'model', 'samples', 'simulation', 'report.md', 'metrics.csv',
                  'metrics.json', 'ramachandran.png', 'profiles.png', 'internal_coordinates.png',
                  'replicas.png', 'training.png', 'trajectory.xtc', 'trajectory.pdb'}
  assert all(np.isfinite(row.value) for row in rows)
  values = {(row.sample, row.metric): row for row in rows}
  for sample in ('i.i.d.', 'simulation'):
    js = values[sample, 'JS(φ, ψ) 60×60']
    assert js.frames >= 1500 and js.floor > 0
  assert values['simulation', 'replicas lost'].value == 0
  # 400 steps do not make a force field; a thermostat that works shows even so.
  kinetic = values['simulation', 'kinetic temperature']
  assert abs(kinetic.value - 300) < 5 * kinetic.error


@pytest.mark.slow
def test_a_finished_run_started_again_gives_the_same_rows(finished):
  folder, rows = finished
  assert ala2.run(ala2_config.get_config('smoke'), str(folder)) == rows


@pytest.mark.slow
def test_training_stopped_and_resumed_equals_one_that_never_stopped(finished, tmp_path):
  folder, _ = finished
  config = ala2_config.get_config('smoke')
  config.train.milestone.update({'samples': 0, 'levels': ()})  # looking does not change the weights
  system, split = embedded.ala2_system(), ala2.load_split(config)
  half = config.copy_and_resolve_references()
  original = training.train.fit

  def fit_half(*args, num_steps, **options):
    original(*args, num_steps=num_steps // 2, **options)
    raise KeyboardInterrupt

  training.train.fit = fit_half
  try:
    with pytest.raises(KeyboardInterrupt):
      stages.get_model(half, split, system, tmp_path)
  finally:
    training.train.fit = original
  model, resumed = stages.get_model(config, split, system, tmp_path)
  never_stopped = training.load_params(model, folder / 'model' / 'best')
  assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), resumed, never_stopped))
  steps = [row['step'] for row in training.read_metrics(tmp_path / 'metrics.csv')]
  assert steps == [100, 200, 300, 400]


@pytest.mark.slow
def test_a_training_starts_from_the_weights_of_another_for_its_own_loss(finished, tmp_path):
  folder, config = finished[0] / 'model' / 'best', ala2_config.get_config('smoke')
  config.train.update({'start': str(folder), 'num_steps': 100, 'validate_every': 100,
                       'learning_rate': 1e-12, 'final_learning_rate': 1e-12})
  config.train.milestone.update({'samples': 0, 'levels': ()})
  config.network.widths = (8,)  # network and schedule are those of the weights
  config.loss.classification = 0.0
  system, split = embedded.ala2_system(), ala2.load_split(config)
  system = system._replace(temperature=310.0)  # that of the weights is 300 K
  split = split._replace(train=split.train._replace(x=split.train.x[:5000]))
  _, params = stages.get_model(config, split, system, tmp_path)
  card, before = checkpoint.read_card(tmp_path / 'best'), checkpoint.read_card(folder)
  assert card['statistics'] == before['statistics'] and card['scale'] == before['scale']
  assert tuple(card['config']['network']['widths']) == (64, 64)
  assert card['config']['loss']['classification'] == 0.0
  # The rate is as good as zero.
  start = training.load_params(models.model_from_card(before, config, split.train.system), folder)
  assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.allclose(a, b, atol=1e-8)), params, start))


@pytest.mark.slow
def test_the_best_of_a_training_lies_in_its_last_phase(tmp_path, monkeypatch):
  config, make_phases = ala2_config.get_config('smoke'), objectives.make_phases
  config.network.widths = (8,)
  config.train.update({'num_steps': 200, 'validate_every': 100})
  config.train.milestone.update({'samples': 0, 'levels': ()})

  def spoil(*args):
    loss = make_phases(*args)[0].loss
    worse = Auxiliary(lambda *args: -100 * loss(*args), config.train.batch_size)
    return [objectives.Phase(0, loss, None), objectives.Phase(100, loss, worse)]

  monkeypatch.setattr(objectives, 'make_phases', spoil)
  system, split = embedded.ala2_system(), ala2.load_split(config)
  stages.get_model(config, split, system, tmp_path)
  rows = training.read_metrics(tmp_path / 'metrics.csv')
  first, second = (row['validation_loss'] for row in rows)
  assert second > first and checkpoint.latest_step(tmp_path / 'best') == 200


@pytest.mark.slow
def test_milestones_tell_what_samples_and_a_short_simulation_are_worth(finished):
  rows = training.read_metrics(finished[0] / 'model' / 'metrics.csv')
  assert [row['js iid'] is None for row in rows] == [True, False, True, False]
  assert rows[3]['js iid'] < rows[1]['js iid'] and rows[3]['lost level 0'] == 0


def test_patience_counts_validations_since_the_best_and_survives_a_restart(tmp_path):
  settings = ala2_config.get_config('smoke').train
  settings.patience = 2
  metrics = training.train.Metrics(np.ones(3), np.ones(3))
  log = training.Log(tmp_path, settings, 0)
  for step, (found, patience_ends) in enumerate(
      [(np.nan, False), (1.0, False), (2.0, False), (None, False), (2.0, True)], start=1):
    log.write(step, metrics, {} if found is None else {'validation_loss': found})
    assert log.out_of_patience() == patience_ends
  log.close()
  again = training.Log(tmp_path, settings, 5)
  assert again.out_of_patience() and again.best() == 1.0
  again.close()


@pytest.mark.slow
def test_tempering_reports_the_lowest_rung_and_resumes(finished, tmp_path):
  config = ala2_config.get_config('smoke')
  config.pretrained = str(finished[0] / 'model' / 'best')
  config.simulate.update({'replicas': 5, 'parts': 1, 'frames_per_part': 10, 'burn_in_frames': 2,
                          'formats': ('.xtc',), 'integrator': 'metropolis',
                          'tempering': {'rungs': 3, 'highest': 400.0, 'exchange_every': 10}})
  ala2.run(config, str(tmp_path))
  config.simulate.parts = 2
  rows = {(row.sample, row.metric): row for row in ala2.run(config, str(tmp_path))}
  assert rows['simulation', 'JS(φ, ψ) 60×60'].frames == 5 * 18
  parts = list(trajectory.read_parts(tmp_path / 'simulation'))
  assert [part['x'].shape for part in parts] == [(10, 5, 3, 5, 3)] * 2
  summary = json.loads((tmp_path / 'simulation' / 'tempering.json').read_text())
  assert summary['temperatures [K]'] == [300.0, 346.4, 400.0]
  # Rungs 15 % apart of some ten soft degrees of freedom: most attempts are accepted.
  assert all(0.2 < share <= 1 for share in summary['acceptance of neighbours'])
  written = sorted((tmp_path / 'simulation' / 'replica_00000').glob('*.xtc'))
  assert [path.name for path in written] == ['part_00000.xtc', 'part_00001.xtc']
  assert 'acceptance of neighbours' in (tmp_path / 'report.md').read_text()


@pytest.mark.slow
def test_checks_pass_on_the_trained_model(finished, tmp_path):
  config = checks_config.get_config('smoke')
  config.update({'pretrained': str(finished[0] / 'model' / 'best'), 'num_frames': 3,
                 'num_rotations': 5})
  rows = checks.run(config, str(tmp_path))
  assert [row['passed'] for row in rows] == [True] * 7
  found = json.loads((tmp_path / 'residual.json').read_text())
  assert found['sigma'] == list(residual.SIGMAS) and (np.array(found['rms']) > 0).all()
  assert (tmp_path / 'checks.md').read_text().count('\n| 0.') == len(residual.SIGMAS)
  assert (tmp_path / 'residual.png').exists()


@pytest.mark.slow
def test_noise_level_names_a_level_of_its_table(finished, tmp_path):
  config = noise_level_config.get_config('smoke')
  config.update({'pretrained': str(finished[0] / 'model' / 'best'), 'levels': (2, 20)})
  best = noise_level.run(config, str(tmp_path))
  table = json.loads((tmp_path / 'noise_level.json').read_text())
  assert best in (2, 20) and [row['level'] for row in table['rows']] == [2, 20]
  assert (tmp_path / 'noise_level.png').exists()


def test_noise_level_leaves_out_what_cannot_be_scored():
  rows = [{'level': 0, 'lost': 3, 'JS': float('nan'), 'error': float('nan')},
          {'level': 9, 'lost': 5, 'JS': 0.1, 'error': 0.01, 'bond W1 [Å]': 0.2}]
  assert noise_level.choose(rows, 'JS') == 9
  with pytest.raises(ValueError, match=r'levels: found \[0\], of which none kept 5 replicas'):
    noise_level.choose(rows[:1], 'JS')


@pytest.mark.parametrize('changes, expected', [
  ({}, 0),  # the sharpest bonds of all three, which are within 2 · 0.01 of 0.10
  ({0: {'lost': 1}}, 30),  # however sharp and near: it loses more
  ({0: {'JS': 0.13}}, 30),  # three errors of the least above it, though two of its own, 0.02
  ({30: {'error': 0.03}}, 0),  # the error that counts is that of the least JS, not of another
  ({0: {'JS': 0.13}, 100: {'error': 0.02}}, 0),  # within 2 · 0.02
  ({0: {'lost': 1, 'JS': 0.01}, 30: {'JS': 0.13}}, 100),  # the least of those kept, alone
])
def test_the_level_chosen_loses_the_fewest_then_is_near_then_sharp(changes, expected):
  rows = {0: {'lost': 0, 'JS': 0.115, 'error': 0.02, 'bond W1 [Å]': 0.01},
          30: {'lost': 0, 'JS': 0.11, 'error': 0.01, 'bond W1 [Å]': 0.02},
          100: {'lost': 0, 'JS': 0.10, 'error': 0.01, 'bond W1 [Å]': 0.03}}
  rows = [{'level': level, **row, **changes.get(level, {})} for level, row in rows.items()]
  assert noise_level.choose(rows, 'JS') == expected


@pytest.mark.parametrize('study, configs', [
  (checks, checks_config), (kinetics, kinetics_config), (noise_level, noise_level_config)])
def test_a_study_refuses_a_simulation_that_cannot_be_before_any_work(study, configs, tmp_path):
  config = configs.get_config('smoke')
  config.simulate.burn_in_frames = 40  # of 2 × 20
  with pytest.raises(ValueError, match=r'simulate\.burn_in_frames: found 40, expected fewer than'):
    study.run(config, str(tmp_path))
  assert not list(tmp_path.iterdir())


def test_a_direct_score_has_a_curl_also_where_the_model_has_a_prior():
  config = checks_config.get_config('smoke')
  config.network.prior = True
  x = ala2.load_data(config).x[:1]
  with jax.enable_x64(True):
    assert checks.check_direct_score(config, embedded.ala2_system(), x / x.std())['passed']


def test_replicas_start_from_samples_that_are_finite():
  config = ala2_config.get_config('smoke')
  config.simulate.replicas = 2
  samples = np.arange(60.0).reshape(4, 5, 3)
  samples[1, 2, 0] = np.nan
  np.testing.assert_array_equal(stages.choose_start(config, None, samples), samples[[0, 2]])
  config.simulate.replicas = 4
  with pytest.raises(ValueError, match='samples: found 3 finite ones of 4, expected 4'):
    stages.choose_start(config, None, samples)


def test_the_published_split_is_shuffled_outside_the_held_out_run():
  config = ala2_config.get_config('paper')
  split = ala2.load_split(config)
  assert len(split.train.x) == 2 * len(split.validation.x) and set(split.test.run) == {2}
  assert split.train.interval is None


def test_steps_that_no_chunk_ends_at_are_refused(tmp_path):
  for field in ('num_steps', 'validate_every', 'save_every'):
    config = ala2_config.get_config('smoke')
    config.train[field] = 350
    with pytest.raises(ValueError, match=f'train.{field}: found 350, expected a multiple'):
      ala2.run(config, str(tmp_path))


def test_paper_holds_the_published_values():
  config = ala2_config.get_config('paper')
  size = PUBLISHED_SIZES['alanine_dipeptide']
  assert (config.network.width, config.network.num_layers) == (size['width'], size['num_layers'])
  assert (config.network.heads, config.network.head_dim) == (8, 64)
  assert (config.train.batch_size, config.train.num_steps) == (size['batch'], size['iterations'])
  assert config.train.learning_rate == size['learning_rate']
  assert config.train.final_learning_rate == 1e-5 and config.train.weight_decay == 1e-12
  settings = config.simulate
  assert settings.level == size['level'] and settings.replicas == 100
  assert settings.parts * settings.frames_per_part * settings.stride == 1_000_000


def test_scoremd_holds_the_published_values():
  config = ala2_config.get_config('scoremd')
  network, loss, train, settings = config.network, config.loss, config.train, config.simulate
  assert (network.kind, network.width, network.num_layers) == ('transformer', 96, 2)
  assert (network.heads, network.head_dim, network.edges) == (8, 64, 'differences')
  assert config.data.train_size == 50_000 and loss.rotate
  # VP from t = 1e-5, where the force is read; half of all draws below t = 0.3.
  noise = models.make_schedule(config.schedule)
  assert settings.level == 0
  assert float(noise.sigma(jnp.float32(0.0))) == pytest.approx(1.0e-3, rel=1e-3)
  weights = objectives.level_weights(loss, noise)
  assert weights[:300].sum() == pytest.approx(weights.sum() / 2)
  assert not (loss.low_noise_fraction or loss.classification or network.prior)
  assert float(objectives.make_weight(loss, noise)(jnp.float32(0.0))) == 1.0
  # Strength, constant, probe; in every step, of every example.
  assert (loss.fokker_planck, loss.fokker_planck_from) == (5e-4, 0.0)
  assert loss.fokker_planck_examples == train.batch_size == 1024
  taken = objectives.RESIDUALS[loss.fokker_planck_residual]
  assert (taken['probe'], taken['constant']) == (1e-4, 1.0)
  assert (train.optimizer, train.num_steps, train.weight_decay) == ('adamw', 480_000, 1e-4)
  assert (train.learning_rate, train.final_learning_rate, train.max_norm) == (3e-4, 1e-5, 0.0)
  # The published average is that of the newest weights alone.
  assert not training.EMAS[train.ema](train.ema_decay)(jnp.array([0, 1000])).any()
  assert (config.sample.kind, config.sample.num_steps) == ('ancestral', 1000)
  assert (settings.start, settings.replicas, settings.integrator) == ('data', 100, 'langevin')
  assert (settings.dt, settings.friction, settings.temperature) == (0.002, 1.0, 300.0)
  assert settings.mass == (12.0, 14.0, 12.0, 12.0, 14.0)
  length = settings.parts * settings.frames_per_part * settings.stride * settings.dt
  assert length == pytest.approx(360.0)  # as its comment says; 12,000 there


@pytest.mark.slow
@pytest.mark.parametrize('kind, longest_bond, num_lost', [
  ('transformer', 100.0, 0), ('direct_transformer', 0.3, 8)])
def test_paper_made_small_runs_and_counts_what_it_loses(kind, longest_bond, num_lost, tmp_path):
  """20 steps leave no molecule: with a true limit on bonds every replica is lost, and reported."""
  config = ala2_config.get_config('paper')
  config.network.update({'kind': kind, 'width': 8, 'num_layers': 1, 'heads': 2, 'head_dim': 4})
  config.train.update({'num_steps': 20, 'chunk': 10, 'validate_every': 10, 'batch_size': 64,
                       'milestone': {'samples': 64}})
  config.sample.update({'num_samples': 64, 'batch_size': 64})
  config.simulate.update({'replicas': 8, 'parts': 1, 'frames_per_part': 5, 'stride': 2,
                          'dt': 1e-6, 'longest_bond': longest_bond})
  rows = ala2.run(config, str(tmp_path))
  assert {row.sample for row in rows} == {'i.i.d.', 'simulation', 'held-out run'}
  assert {row.metric: row.value for row in rows}['replicas lost'] == num_lost
  assert (tmp_path / 'report.md').read_text().count('bond too long') == num_lost


@pytest.mark.slow
def test_a_checkpoint_of_another_system_is_refused(finished, tmp_path):
  shutil.copytree(finished[0] / 'model' / 'best', tmp_path / 'other')
  card = checkpoint.read_card(tmp_path / 'other')
  card['system']['beads'] = ['CA'] * 10
  checkpoint.write_card(tmp_path / 'other', card)
  config = ala2_config.get_config('smoke')
  config.pretrained = str(tmp_path / 'other')
  with pytest.raises(ValueError, match=r'checkpoint of another system: beads: found .*CA'):
    ala2.run(config, str(tmp_path / 'run'))


@pytest.mark.parametrize('field, value, message', [
  ('temperature', -300.0, 'temperature: found -300.0 K, expected a positive number'),
  ('level', 10_000, 'level: found 10000, expected 0 to 9999'),
  ('mass', (12.0,), 'simulate.mass: found 1 values, expected 5'),
  ('burn_in_frames', 10**6, 'simulate.burn_in_frames: found 1000000'),
  ('integrator', 'verlet', "simulate.integrator: found 'verlet', expected one of"),
  ('start', 'crystal', "simulate.start: found 'crystal', expected one of"),
  ('dt', -0.002, 'simulate.dt: found -0.002 ps'),
  ('formats', ('.gro',), "simulate.formats: found '.gro', expected one of"),
  ('tempering', {'rungs': 2, 'highest': 500.0, 'exchange_every': 7},
   'simulate.stride: found 20, expected a multiple of tempering.exchange_every = 7'),
  ('dt', 0.0, 'simulate.dt: found 0, expected a positive number: the simulations of'),
])
def test_a_simulation_that_cannot_be_is_refused_before_training(field, value, message, tmp_path):
  config = ala2_config.get_config('smoke')
  with config.unlocked():
    config.simulate.update({field: value})
  with pytest.raises(ValueError, match=message):
    ala2.run(config, str(tmp_path))
  assert not list(tmp_path.iterdir())


def test_data_with_nan_name_the_file_and_the_field(tmp_path):
  x = np.random.default_rng(0).normal(size=(40, 5, 3)) * 0.1
  x[7] = np.nan
  np.savez(tmp_path / 'mine.npz', positions=x)
  config = ala2_config.get_config('smoke')
  config.data.path = str(tmp_path / 'mine.npz')
  with pytest.raises(ValueError, match=r'mine\.npz: positions: found 1 frames with NaN'):
    ala2.run(config, str(tmp_path / 'run'))


def test_a_workdir_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match=r'workdir: cannot write to .*file/run'):
    ala2.run(ala2_config.get_config('smoke'), str(tmp_path / 'file' / 'run'))


def test_names_that_are_not_known_are_listed(tmp_path):
  with pytest.raises(ValueError, match=r'variant: found .nothing., expected one of'):
    ala2_config.get_config('nothing')
  config = ala2_config.get_config('smoke')
  config.network.kind = 'gnn'
  with pytest.raises(ValueError, match=r'network.kind: found .gnn., expected one of'):
    ala2.run(config, str(tmp_path))


@pytest.mark.slow
def test_an_unknown_config_field_ends_the_command_with_its_name(tmp_path):
  command = [sys.executable, '-m', 'experiments.ala2', '--config.train.epochs=3',
             f'--workdir={tmp_path / "run"}']
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode != 0
  assert "--config.train.epochs=3: the config has no field 'epochs'" in done.stderr
  assert not (tmp_path / 'run').exists()


def test_the_committed_checkpoint_is_a_small_force_field():
  folder = ROOT / 'data' / 'pretrained' / 'ala2'
  card = checkpoint.read_card(folder)
  checkpoint.check_card(card, embedded.ala2_system())
  assert sum(path.stat().st_size for path in folder.rglob('*')) < 1_000_000
  config = ala2_config.get_config('pretrained')
  system = embedded.ala2_system()
  model, params = stages.get_model(config, None, system, folder)
  force = jax.jit(uses.make_force(config, model, system, config.simulate.level))
  x = embedded.load_ala2().x[0]
  assert np.isfinite(force(params, x)).all()
  np.testing.assert_allclose(force(params, x).sum(axis=0), 0, atol=1e-2)  # of about 1000
  # A quarter of the largest stable step of CG bonds (8 fs by their fitted widths).
  assert 0.0015 < uses.automatic_dt(config, model, system, params, embedded.load_ala2().x) < 0.0025


