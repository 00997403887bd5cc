"""The Müller-Brown study: its scores on the exact answer, and a small run to its report."""

import json

import numpy as np
import pytest

from experiments import mueller_brown, report_mueller_brown, toy_scores
from experiments.configs import mueller_brown as config_file


@pytest.fixture(scope='module')
def world():
  return toy_scores.make_world(config_file.get_config('smoke'))


def test_the_exact_energy_scores_zero(world):
  p = world.density.probability
  found = toy_scores.compare(world, -np.log(np.maximum(p, 1e-300)) + 3.0, world.score)
  assert abs(found['js']) < 1e-6 and found['force_error'] == 0.0  # 1e-10 is added to every bin
  assert abs(found['pmf_variance']) < 1e-8
  np.testing.assert_allclose(found['basin'], 0.756, atol=0.005)  # cells of 0.04


def test_a_wrong_energy_scores_what_it_should(world):
  # Twice the energy: the force is off by itself, and the deeper basin gains.
  values = -np.log(np.maximum(world.density.probability, 1e-300))
  found = toy_scores.compare(world, 2 * values, 2 * world.score)
  np.testing.assert_allclose(found['force_error'], 1.0, rtol=1e-9)
  assert found['js'] > 0.01 and found['basin'] > 0.8
  # One basin lifted by 1 kT: its weight falls by e before normalising, no force changes.
  lifted = toy_scores.compare(world, values + world.basin, world.score)
  weight = world.density.probability[world.basin].sum()
  np.testing.assert_allclose(
    lifted['basin'], weight / (weight + np.e * (1 - weight)), rtol=1e-6)
  np.testing.assert_allclose(lifted['pmf_variance'], weight * (1 - weight), rtol=1e-6)


def test_draws_are_whitened_and_differ_between_seeds(world):
  np.testing.assert_allclose(np.asarray(world.train).std(), 1.0, atol=1e-3)
  assert (np.asarray(world.train[0]) != np.asarray(world.train[1])).any()


def test_a_step_costs_relative_to_the_cheapest_and_older_rows_have_no_time(world):
  scores = {name: [0.001, 0.002] for name in (
    'js', 'force_error', 'pmf_variance', 'basin', 'validation_nll')}
  cost = {'mflop_per_step': 200.0, 'cpu_seconds': 30.0}
  old = {'objective': 'old', 'ms_per_step': 1.0, **scores, **cost}
  new = [{'objective': name, 'ms_in_turn': ms, **scores, **cost}
         for name, ms in (('plain', 4.0), ('dear', 10.0))]
  rows = report_mueller_brown.table_rows([old, *new], world)
  assert [row['of the cheapest'] for row in rows] == [None, 1.0, 2.5]
  assert [row['ms per step'] for row in rows] == [None, 4.0, 10.0]
  first, *_, last = report_mueller_brown.table(rows).splitlines()[2:]
  assert '| 200 |  |  | 0.5 |' in first and '| 200 | 10.0 | 2.50 | 0.5 |' in last
  alone = report_mueller_brown.table_rows([old], world)
  assert alone[0]['of the cheapest'] is None


def test_steps_are_timed_in_turn_once_for_all_objectives(world, tmp_path, monkeypatch):
  config = config_file.get_config('smoke')
  timed = []

  def time_in_turn(loops, *, repeats):
    timed.append((tuple(loops), repeats))
    return {name: [0.1, 0.2 * k, 9.0] for k, name in enumerate(loops, 1)}

  monkeypatch.setattr(mueller_brown, 'make_training', lambda *_: (None, ()))
  monkeypatch.setattr(mueller_brown.measure, 'compile_loop', lambda *_, **options: options)
  monkeypatch.setattr(mueller_brown.measure, 'time_in_turn', time_in_turn)
  found = [mueller_brown.measure_costs(config, tmp_path, None, None, world) for _ in range(2)]
  assert timed == [(tuple(config.objectives), config.timing_rounds)]  # then read from the folder
  # The median round, in ms of one of two seeds.
  assert found[0] == found[1] == dict(zip(config.objectives, (100.0, 200.0), strict=True))
  config.objectives = (*config.objectives, 'plain')
  mueller_brown.measure_costs(config, tmp_path, None, None, world)
  assert timed[1][0] == tuple(config.objectives)  # a new one is timed beside all the others


@pytest.mark.parametrize('objective', ['low_noise+clasification', ''])
def test_an_unknown_term_is_named_before_anything_is_written(objective, tmp_path):
  config = config_file.get_config('smoke')
  config.objectives = ('plain', objective)
  with pytest.raises(ValueError, match='objectives: found'):
    mueller_brown.run(config, str(tmp_path / 'run'))
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_smoke_leaves_a_report_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
  config = config_file.get_config('smoke')
  results = mueller_brown.run(config, str(tmp_path))
  left = {path.name for path in tmp_path.iterdir()}
  assert left >= {'config.json', 'objectives', 'results.json', 'results.csv', 'report.md',
                  'maps.png', 'residual_plain.png', 'residual_low_noise.png', 'js.png'}
  text = (tmp_path / 'report.md').read_text()
  for result in results:
    assert result['objective'] in text
    assert len(result['js']) == config.num_seeds and np.isfinite(result['js']).all()
    assert result['ms_in_turn'] > 0
  assert json.loads((tmp_path / 'results.json').read_text()) == results
  # A killed run finds what is done and does the rest.
  folder = tmp_path / 'objectives'
  done = folder / f'{results[0]["objective"]}.json'
  before = done.stat().st_mtime_ns
  (folder / f'{results[1]["objective"]}.json').unlink()
  trained, train_seeds = [], mueller_brown.train_seeds

  def counted(config, objective, *rest):
    trained.append(objective)
    return train_seeds(config, objective, *rest)

  monkeypatch.setattr(mueller_brown, 'train_seeds', counted)
  again = mueller_brown.run(config, str(tmp_path))
  assert trained == [results[1]['objective']] and done.stat().st_mtime_ns == before
  assert again[1]['js'] == results[1]['js']  # the same seeds, the same training
