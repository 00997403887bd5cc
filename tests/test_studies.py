"""The studies' bookkeeping: columns from rows, entries and timescales from angles."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
  ala2,
  capacity,
  choices,
  compare,
  consistency,
  cost,
  data_efficiency,
  forces,
  kinetics,
  models,
  networks,
  report_kinetics,
  residual,
  study,
)
from experiments.configs import ala2 as ala2_config
from experiments.configs import capacity as capacity_config
from experiments.configs import choices as choices_config
from experiments.configs import consistency as consistency_config
from experiments.configs import data_efficiency as data_efficiency_config
from experiments.configs import forces as forces_config
from experiments.configs import kinetics as kinetics_config
from experiments.configs import networks as networks_config
from twoforone import energy
from twoforone.datasets.ala2 import ala2_system
from twoforone.prior import make_prior


def row(sample, metric, value, **fields):
  return {'sample': sample, 'metric': metric, 'value': value} | fields


def test_summary_takes_floors_ratios_and_means_from_the_rows():
  rows = [row('i.i.d.', study.JS, 0.007, floor=0.006),
          row('simulation', study.JS, 0.010, floor=0.005),
          row('i.i.d.', 'W1 bond 1', 0.001), row('i.i.d.', 'W1 bond 2', 0.003),
          row('simulation', 'W1 bond 1', 0.002), row('simulation', 'W1 bond 2', 0.004),
          row('simulation', 'replicas lost', 3), row('simulation', 'kinetic temperature', 299.0)]
  found = study.summarise(rows)
  assert found['i.i.d. - floor'] == pytest.approx(0.001)
  assert found['sim. - i.i.d.'] == pytest.approx(0.003)
  assert found['bond W1 ratio'] == pytest.approx(1.5)
  assert found['lost'] == 3 and np.isnan(found['angle W1 ratio'])


def test_the_floor_of_the_pmf_stands_beside_it_where_there_is_one():
  old = study.summarise([row('i.i.d.', study.PMF, 0.1), row('simulation', study.PMF, 0.2)])
  assert old['sim. PMF'] == 0.2 and np.isnan(old['sim. PMF floor'])
  new = study.summarise([row('i.i.d.', study.PMF, 0.1, floor=0.05),
                         row('simulation', study.PMF, 0.2, floor=None)])
  assert new['i.i.d. PMF floor'] == 0.05 and np.isnan(new['sim. PMF floor'])
  columns = {name: form for name, form in study.COLUMNS.items() if 'PMF' in name}
  del old['i.i.d. PMF floor']  # as in the JSON of an older table
  text = study.format_table({'old': {0: old}, 'new': {0: new}}, columns)
  assert 'i.i.d. PMF floor [(kcal/mol)²]' in text
  assert '| old | 1 | 0.100 |  | 0.200 |  |' in text and '| new | 1 | 0.100 | 0.050 |' in text


def test_a_run_changes_its_fields_and_no_other(tmp_path):
  config = consistency_config.get_config('smoke')
  plain, ours = (study.configure(config, name, 5, tmp_path) for name in ('plain', 'consistent'))
  assert plain.loss.classification == 0 and ours.loss.classification == 1
  assert plain.seed == ours.seed == 5 and plain.network == ours.network
  with pytest.raises(ValueError, match=r"runs: found 'best', expected some of"):
    study.configure(config, 'best', 0, tmp_path)


def test_a_run_that_reads_another_takes_its_weights(tmp_path):
  config = consistency_config.get_config('smoke')
  found = study.configure(config, 'plain, raised level', 3, tmp_path)
  assert found.pretrained == str(tmp_path / 'plain' / 'seed_3' / 'model' / 'best')
  assert found.simulate.level == consistency_config.RAISED_LEVEL


def finish(folder, js, seconds=50.0):
  """Leaves what a finished run of `experiments.ala2` leaves, as far as a study reads it."""
  (folder / 'model').mkdir(parents=True)
  (folder / 'metrics.json').write_text(json.dumps({'rows': [
    row(use, study.JS, js, floor=0.005) for use in ('i.i.d.', 'simulation')]}))
  (folder / 'model' / 'metrics.csv').write_text(
    f'step,steps_per_second,validation_loss\n100,10,\n200,{seconds},1.5\n300,25,1.4\n')


def test_the_table_of_finished_runs_is_written_without_running_them(tmp_path):
  config = consistency_config.get_config('smoke')
  config.seeds = (0, 1)
  for name, js in (('consistent', 0.01), ('plain', 0.03)):
    for seed in config.seeds:
      finish(tmp_path / name / f'seed_{seed}', js + 0.002 * seed)
  table = study.run_all(config, tmp_path, lambda table: consistency.write(tmp_path, table))
  assert table['plain'][1]['sim. JS'] == pytest.approx(0.032)
  # Chunks of 100 steps; the first also compiles and is not counted.
  assert table['plain'][0]['training [s]'] == pytest.approx(100 / 50 + 100 / 25)
  assert table['plain'][0]['validation loss'] == 1.4
  text = (tmp_path / 'consistency.md').read_text()
  assert '| plain | 2 | 0.0310 ± 0.0014 |' in text
  assert (tmp_path / 'consistency.png').exists()


def test_a_run_that_starts_from_another_costs_both_trainings(tmp_path):
  config = consistency_config.get_config('transformer')
  names = ('plain', 'plain, then consistent')
  for name in names:
    finish(tmp_path / name / 'seed_0', 0.01)
  found = study.configure(config, names[1], 0, tmp_path)
  assert found.train.start == str(tmp_path / names[0] / 'seed_0' / 'model' / 'best')
  assert found.loss.classification == 1 and found.pretrained == ''
  first, both = (study.run_one(config, name, 0, tmp_path)['training [s]'] for name in names)
  assert both == pytest.approx(2 * first)


def test_energies_of_another_first_seed_are_measured_anew(tmp_path, monkeypatch):
  measured = []

  def get_model(config, split, system, folder):
    measured.append(config.seed)
    assert f'seed_{config.seed}' in config.pretrained
    return None, config.seed

  monkeypatch.setattr(consistency.ala2, 'load_split', lambda config: SimpleNamespace(
    validation=SimpleNamespace(x=np.zeros((40, 5, 3)))))
  monkeypatch.setattr(consistency.stages, 'get_model', get_model)
  monkeypatch.setattr(consistency.residual, 'residual_curve',
                      lambda model, params, x: consistency.Curve(*np.ones((3, 2))))
  monkeypatch.setattr(consistency.uses, 'automatic_dt', lambda *rest: 1e-3 * (1 + rest[3]))
  monkeypatch.setattr(consistency.time_steps, 'measure_steps', lambda *_: {})
  monkeypatch.setattr(consistency.populations, 'energy_population',
                      lambda *_, **options: consistency.Curve(0.0, 0.0, 0.0))
  config = consistency_config.get_config('smoke')
  found = []
  for runs, seeds in ((('consistent', 'plain'), (0,)), (('plain',), (1, 2)), (('plain',), (1,))):
    config.runs, config.seeds = runs, seeds
    found.append(consistency.measure_energies(config, tmp_path))
  assert measured == [0, 0, 1]
  # What is of another seed is not shown.
  assert [{name: row['stable step [fs]'] for name, row in rows.items()} for rows in found] == [
    {'consistent': 4.0, 'plain': 4.0}, {'plain': 8.0}, {'plain': 8.0}]


def test_capacity_names_each_size_once_and_draws_it(tmp_path):
  config = capacity_config.get_config('smoke')
  for objective in config.objectives:
    for width in config.widths:
      finish(tmp_path / capacity.run_name(objective, width, 1) / 'seed_0', 1 / width)
  table = capacity.run(config, str(tmp_path))
  assert set(table) == {'consistent 1x8', 'consistent 1x16', 'plain 1x8', 'plain 1x16'}
  lines = {'depth 1': {8: 'plain 1x8', 16: 'plain 1x16', 32: 'plain 1x32'}}
  curve = study.curves(table, lines, 'sim. JS')['depth 1']  # 32 is not done
  assert curve.x.tolist() == [8, 16] and curve.y.tolist() == [1 / 8, 1 / 16]
  assert (tmp_path / 'capacity.png').exists()


def test_choices_change_one_number_each_and_never_see_the_held_out_run(tmp_path):
  config = choices_config.get_config('smoke')
  for name in config.runs:
    finish(tmp_path / name / 'seed_0', 0.01)
  assert set(choices.run(config, str(tmp_path))) == {'consistent', 'classification 3'}
  assert '| classification 3 | 1 | 0.0100 |' in (tmp_path / 'choices.md').read_text()
  base = study.configure(config, 'consistent', 0, tmp_path)
  whole, seen = (ala2.load_split(chosen) for chosen in (ala2_config.get_config(), base))
  np.testing.assert_array_equal(seen.test.x, whole.validation.x)
  assert not set(seen.test.run) & set(whole.test.run)
  numbers = set(choices_config.CHANGES) - set(consistency_config.CHANGES)
  assert {'consistent', 'plain', 'with prior'} < set(choices_config.CHANGES) - numbers
  for name in numbers:
    chosen = study.configure(config, name, 0, tmp_path).to_dict()
    differ = [field for part in ('loss', 'train') for field, value in chosen[part].items()
              if value != base.to_dict()[part][field]]
    assert differ == [name.split()[0]]
  base.data.scored_on = 'test'
  with pytest.raises(ValueError, match='scored_on'):
    ala2.load_split(base)


def test_forces_compare_labels_at_each_number_of_frames(tmp_path):
  config = forces_config.get_config('smoke')
  for label in config.labels:
    for size in config.sizes:
      finish(tmp_path / forces.run_name(label, size) / 'seed_0', 10 / size)
  table = forces.run(config, str(tmp_path))
  assert len(table) == 10 and table['noise, 1000 frames'][0]['i.i.d. JS'] == 0.01
  assert 'held out: 50,000' in (tmp_path / 'forces.md').read_text()


def test_forces_have_a_run_with_bonds_in_the_prior_at_each_number_of_frames(tmp_path):
  config = forces_config.get_config()
  made = study.make_config(config, forces.make_changes(config))
  runs = [study.configure(made, name, 0, tmp_path) for name in made.runs]
  found = {(run.data.train_size, run.network.prior, run.loss.forces) for run in runs}
  assert found == {(size, prior, part) for size in config.sizes for prior, part in (
    (False, ''), (False, 'all'), (False, 'no_bonds'), (True, ''), (True, 'no_bonds'))}
  assert len(runs) == len(found)


def test_every_method_has_a_curve_over_the_number_of_frames(tmp_path, monkeypatch):
  config = data_efficiency_config.get_config('smoke')
  seen = []

  def made(_, contest, world, name, seed, folder):
    size = len(world.split.train.x)
    seen.append((name, size, folder.name))
    js = {'i.i.d. JS': 5 / size, 'i.i.d. floor': 4 / size, 'sim. JS': 9 / size, 'sim. floor': 0.01}
    none = 'i.i.d.' if name == 'CGNet' else 'sim.' if name == 'Flow i.i.d.' else '-'
    return dict.fromkeys(contest.COLUMNS, 1.0) | {
      column: float('nan') if column.startswith(none) else value for column, value in js.items()}

  monkeypatch.setattr(compare, 'run_one', made)
  table = data_efficiency.run(config, str(tmp_path))
  assert [found[1:] for found in seen[::5]] == [(500, 'frames_500'), (1000, 'frames_1000')]
  assert table['1000: Flow i.i.d.'][0]['i.i.d. JS'] == 0.005 and len(table) == 10
  lines = {'CGNet': {500: '500: CGNet'}, 'Flow-CGNet': {500: '500: Flow-CGNet'}}
  floor = data_efficiency.floor(table, lines, 'i.i.d. JS')['training frames themselves']
  assert floor.y.tolist() == [0.008]  # CGNet has none
  left = {path.name for path in tmp_path.iterdir()}
  assert left >= {'data_efficiency.md', 'data_efficiency.json', 'data_efficiency.png'}


def test_methods_whose_frames_are_not_drawn_are_refused(tmp_path):
  config = data_efficiency_config.get_config('smoke')
  config.compare.methods = ('CGNet', 'BG-REM 4 atoms')
  with pytest.raises(ValueError, match="methods: found 'BG-REM 4 atoms', expected"):
    data_efficiency.run(config, str(tmp_path))


def test_a_network_twice_as_dear_gets_half_the_steps():
  config = networks_config.get_config()
  cheap, dear = (networks.add_budget(config, {}, {'train': 10.0 * k, 'simulate': 0.5 * k})
                 for k in (1, 2))
  assert cheap['train']['num_steps'] == 48_000 == 2 * dear['train']['num_steps']
  assert cheap['simulate']['parts'] == 180 == 2 * dear['simulate']['parts']
  # What a network changes itself stays, and a frame of twice the steps costs twice as much.
  own = networks.add_budget(config, {'simulate': {'level': 200, 'stride': 200}},
                            {'train': 10.0, 'simulate': 0.5})
  assert own['simulate'] == {'level': 200, 'stride': 200, 'parts': 90}
  text = [networks.describe(config, {'one': {'train': 10.0, 'simulate': 0.5}}, {'one': found})
          for found in (cheap, own)]
  assert text[0] == text[1]  # as many picoseconds
  # A network that the budget hardly pays for still takes a chunk and passes its burn-in.
  poor = networks.add_budget(config, {}, {'train': 1e9, 'simulate': 1e9})
  assert poor == {'train': {'num_steps': 50, 'validate_every': 50}, 'simulate': {'parts': 2}}


@pytest.mark.slow
def test_a_phase_costs_by_its_share_of_the_steps():
  config = forces_config.get_config('smoke').ala2
  config.update({'network': {'widths': (8,)}, 'train': {'batch_size': 32, 'optimizer': 'adamw'},
                 'loss': {'classification': 0.0}, 'data': {'train_size': 1000}})
  config.loss.update(
    {'fokker_planck': 1e-3, 'fokker_planck_from': 0.75, 'fokker_planck_examples': 8})
  phases = cost.training_loops(config, 1)
  (share, first), (rest, second) = phases
  assert (share, rest) == (0.75, 0.25) and second.flops > first.flops
  found = cost.average(phases, [[0.01, 0.02, 0.01], [0.03, 0.03, 0.09]])
  assert found['ms per step'] == pytest.approx(0.75 * 10 + 0.25 * 30)
  assert found['GFLOP per step'] == pytest.approx(
    (0.75 * first.flops + 0.25 * second.flops) / 1e9)


def test_the_residual_of_a_direct_score_is_refused():
  config = networks_config.get_config('smoke').ala2
  config.network.kind = 'direct_transformer'
  model = models.make_model(config, ala2_system(), 0.1, models.Statistics())
  with pytest.raises(ValueError, match='residual: a direct score has no energy'):
    residual.residual_curve(model, {}, np.zeros((2, 5, 3)))


def test_a_direct_score_has_the_prior_too():
  config = networks_config.get_config('smoke').ala2
  config.network.update({'kind': 'direct_transformer', 'prior': True, 'width': 8, 'num_layers': 1,
                         'heads': 2, 'head_dim': 4})
  x = ala2.load_split(config).train.x[:200]
  model = models.fit_model(config, ala2_system(), x, 0.1)
  one, t = jnp.asarray(x[0] / 0.1), jnp.float32(0.2)
  prior = energy.make_score(make_prior(model.statistics.prior, model.schedule))(None, one, t)
  params = model.init(jax.random.key(0))['energy']  # a network that starts at zero
  np.testing.assert_allclose(model.score(params, one, t), prior, rtol=1e-5, atol=1e-5)


def test_lags_between_frames_are_refused():
  kinetics.check_lags((10.0, 20.0), 0.4)
  for lags, interval in (((10.0,), 4.0), ((1.0,), 2.0), ((10.0,), 0.0)):
    with pytest.raises(ValueError, match='lags: found'):
      kinetics.check_lags(lags, interval)
  config = kinetics_config.get_config('smoke')
  config.simulate.tempering.rungs = 3
  with pytest.raises(ValueError, match='one replica after another'):
    kinetics.run(config, 'unused')


@pytest.mark.parametrize('variant', ['default', 'transformer'])
def test_every_residual_that_the_config_names_is_drawn_and_no_other(variant):
  config = consistency_config.get_config(variant)
  energies = {name: {'sigma': [0.01, 0.1], 'rms': [2.0, 1.0], 'mean': [0.0, 0.1]}
              for name in config.runs}
  axis, = consistency.residual_figure(config, energies).axes
  drawn = [container.get_label() for container in axis.containers]
  assert drawn == list(config.curves) and set(drawn) <= set(config.runs)
  assert any('with prior' in name for name in drawn)
  colours = {container.lines[0].get_color() for container in axis.containers}
  assert len(colours) == len(drawn)


ANGLES = np.array([[-1.2, -0.5], [1.0, 0.5], [-1.2, 2.5]])  # one point in each basin


def hops(rng, steps, leave):
  """A chain over the basins that leaves its state with probability `leave`, to either other."""
  move = rng.random(steps) < leave
  return np.cumsum(np.where(move, rng.integers(1, 3, steps), 0)) % 3


def passages_of_hops(lag):
  """Mean first passage into and out of one of three states, [ps], frames of 0.5 ps."""
  stay = (1 + 2 * (1 - 1.5 * 0.1) ** lag) / 3
  return 0.5 * lag / np.array([(1 - stay) / 2, 1 - stay])


def test_entries_and_timescales_of_a_known_chain():
  rng = np.random.default_rng(0)
  labels = [hops(rng, 2000, 0.1) for _ in range(20)]
  config = kinetics_config.get_config()
  config.lags = (2.0, 10.0)
  found = kinetics.describe(config, [ANGLES[piece] for piece in labels], 0.5)
  entries = sum(((a[1:] == 1) & (a[:-1] != 1)).sum() for a in labels)
  assert found['entries'] == entries and found['frames'] == 40_000
  # Both eigenvalues of the chain are 1 - 1.5 × 0.1 per frame of 0.5 ps.
  exact = -0.5 / np.log(1 - 1.5 * 0.1)
  for result, lag in zip(found['rows'], (4, 20), strict=True):  # frames
    error = np.array(result['timescales_errors'])
    # The two are sorted, so the larger is high by about an error: five of them.
    assert (np.abs(np.array(result['timescales']) - exact) < 5 * error).all()
    # Into φ > 0 from either other basin, and out of it: a hop of 0.1 goes to each with one half.
    times, error = (np.array(result[name]) for name in ('passages', 'passages_errors'))
    # From the chain seen every so many frames, k = 5 errors.
    assert (np.abs(times - passages_of_hops(lag)) < 5 * error).all()


@pytest.mark.parametrize('spread', [(0.03, 0.04), (0.1, 0.5)])
def test_the_interval_of_a_ratio_is_that_of_repeated_experiments(spread):
  # Positive numbers known to a factor, as times of rare events are: normal in the logarithm.
  rng = np.random.default_rng(0)
  draws = [size * np.exp(width * rng.normal(size=100_000))
           for size, width in zip((10.0, 20.0), spread, strict=True)]
  first, second = (report_kinetics.Interval(size, *np.percentile(found, (2.5, 97.5)))
                   for size, found in zip((10.0, 20.0), draws, strict=True))
  value, *limits = report_kinetics.ratio(first, second)
  assert value == pytest.approx(0.5)
  # There the two combine exactly; a percentile of 100,000 draws is known to 1 % of the spread.
  expected = np.percentile(draws[0] / draws[1], (2.5, 97.5))
  np.testing.assert_allclose(np.log(limits), np.log(expected), atol=0.04 * np.hypot(*spread))


def test_a_simulation_that_never_crosses_says_so_and_keeps_its_populations(tmp_path):
  rng = np.random.default_rng(1)
  config = kinetics_config.get_config()
  config.lags, config.cluster_sizes, config.cluster_stride = (2.0,), (2, 3, 4, 5), 1
  pieces = {'all-atom': [ANGLES[hops(rng, 500, 0.1)] + 0.1 * rng.normal(size=(500, 2))
                         for _ in range(10)],
            'simulation': [np.repeat(ANGLES[:1], 50, axis=0)] * 3}
  found = {'lost': 0, 'sets': {name: kinetics.describe(config, piece, 1.0)
                               for name, piece in pieces.items()},
           'clusters': kinetics.cluster(config, pieces, {'all-atom': 1.0, 'simulation': 1.0})}
  assert found['clusters']['chosen'] == 3
  assert found['sets']['simulation']['populations']['alpha_R'] == 1.0
  report_kinetics.write(tmp_path, found, 'samples', pieces['simulation'], 1.0)
  text = (tmp_path / 'kinetics.md').read_text()
  assert 'simulation at 2 ps: counts: found states not connected' in text
  passages = found['sets']['all-atom']['rows'][0]['passages']
  assert f'| 2 | first passage into φ > 0 | {passages[0]:.1f} [' in text
  # Three points, spread by 0.1 about each: a state and a set of each, at 6° / sqrt(1500) = 0.15°.
  clusters = found['clusters']
  assert sorted(clusters['sets']) == [0, 1, 2]
  start = clusters['state_populations']['simulation'].index(1.0)
  np.testing.assert_allclose(
    clusters['centres_degrees'][start], np.degrees(ANGLES[0]), atol=0.6 + 0.05)  # k = 4; printed
  # A chain with one timescale, twice: -2 / ln 0.7225, of 5,000 steps to some 5 %, k = 4.
  np.testing.assert_allclose(clusters['timescales'], -1 / np.log(1 - 1.5 * 0.1), rtol=0.2)
  assert text.count('| 1.0000 |') == 3  # in the basin, its state and its set
