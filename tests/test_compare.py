"""The comparison: exact answers score zero, trainings resume, a small table is made and resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments import (
  ala2_contest,
  ala2_flows,
  ala2_methods,
  compare,
  criteria_compare,
  figures_compare,
  fit,
  report_compare,
  toy_chains,
  toy_contest,
  toy_flows,
  toy_methods,
  toys,
)
from experiments.configs import compare as compare_config
from twoforone import trajectory
from twoforone.baselines import ala2_atoms, walkers
from twoforone.datasets import dataset, potentials
from twoforone.datasets.ala2 import ala2_system
from twoforone.evaluation import structure


@pytest.fixture(scope='module')
def problem():
  return toys.make_problem('double_well', 10_000, seed=1)


@pytest.mark.parametrize('name, difference, weight', [
  ('double_well', 3.3800, 1 - 0.967074), ('mueller', -np.log(0.0256 / 0.9744), 0.0256)])
def test_the_exact_profile_scores_zero(name, difference, weight):
  problem = toys.make_problem(name, 2000, seed=0)
  exact = problem.exact
  found = toys.Found(exact.energy + 5.0, exact.force, exact.s, 0.0)
  row = toys.score(problem, found)
  assert set(toy_contest.COLUMNS) <= set(row)
  assert row['rms_4'] < 1e-9 and row['rms_8'] < 1e-9 and row['force error'] < 1e-9
  # The tabulated weight of Müller has four digits.
  np.testing.assert_allclose(row['difference'], difference, atol=2e-3)
  np.testing.assert_allclose(row['weight_above'], weight, atol=5e-5)


def test_draws_of_a_problem_are_apart_and_of_the_right_weight(problem):
  parts = problem[3:]
  assert [len(part.s) for part in parts] == [8000, 2000, 10_000]
  for k, part in enumerate(parts):  # a few float32 draws are equal by chance
    assert np.isin(part.r[:, 1], parts[k - 1].r[:, 1]).mean() < 0.01
  share, exact = np.mean(problem.test.s > problem.barrier), 1 - 0.967074
  assert abs(share - exact) < 4 * np.sqrt(exact * (1 - exact) / 10_000)


def test_the_negative_control_has_equal_counts_and_the_exact_histogram_has_not(problem):
  config = compare_config.get_config('smoke')
  control = toys.with_trajectories('double_well', problem, jax.random.key(0))
  assert [len(part.s) for part in control[3:]] == [2000, 2000, 10_000]
  for part in (control.train, control.validation):  # nothing crosses 7 kT in 10,000 steps
    assert np.mean(part.s > problem.barrier) == 0.5
  assert (control.train.r != control.validation.r).any() and control.test is problem.test
  rows = [toys.score(problem, method(config, problem, jax.random.key(0))) for method in (
    toy_methods.histogram, toy_methods.on_trajectories(toy_methods.histogram))]
  # Empty bins count as half a draw each, 0.5 / 2000 of a weight of one half.
  assert rows[1]['difference'] == pytest.approx(0.0, abs=0.15)
  assert rows[0]['difference'] == pytest.approx(3.38, abs=4 / np.sqrt(0.033 * 8000))
  assert rows[1]['kl'] > 0.5 > 10 * rows[0]['kl']


def test_chains_see_the_slope_of_an_energy_and_keep_the_populations_of_their_start(problem):
  """On the exact energy lowered by 4 kT on the right: wrong offset, right shape within basins."""
  config = compare_config.get_config('smoke')
  config.entropy.update({'walkers': 2000, 'num_frames': 10, 'stride': 20})

  def model(params, x, t):
    return potentials.quartic(x[0, 0]) - params * jax.nn.sigmoid(20 * x[0, 0])

  s = toy_chains.simulate(config, problem, model, jnp.float32(4.0), jax.random.key(0))
  assert s.shape == (20_000,)
  start = np.mean(problem.train.s[:2000] > problem.barrier)
  assert np.mean(s > problem.barrier) == pytest.approx(start, abs=2e-3)  # 4 of 2000 walkers
  left = s[s < problem.barrier]
  grid = problem.exact.s[problem.exact.s < problem.barrier]
  weight = np.exp(-potentials.quartic(grid))
  mean = weight @ grid / weight.sum()
  # Chains of 2000 walkers: at least so many independent values.
  assert left.mean() == pytest.approx(mean, abs=4 * left.std() / np.sqrt(1900))
  values, force = toys.on_grid(problem, lambda x: model(jnp.float32(4.0), x, 0.0))
  row = toys.score(problem, toys.Found(values, force, None, 0.0, simulated=s))
  assert row['rms_4'] > 0.5 > 2 * row['simulated rms_4'] and row['difference'] < 0


def test_a_tabulated_energy_is_the_curve_it_was_made_of():
  s = np.linspace(-3, 3, 1201)
  model = toy_chains.make_tabulated_energy(
    s, potentials.quartic(s) + 7.0, -4 * s**3 + 12 * s - 1)
  lowest = potentials.quartic(s).min()

  at = jax.jit(jax.vmap(jax.value_and_grad(lambda x: model(None, x[None, None], 0.0))))
  x = jnp.linspace(-2.9, 2.9, 777)
  u, slope = at(x)
  # A cubic between points h = 0.005 is exact up to h⁴ / 384 of the fourth derivative, 24; the rest
  # is float32 of energies up to 40 kT and of slopes up to 65, differences over h.
  np.testing.assert_allclose(u, potentials.quartic(x) - lowest, atol=1e-4)
  np.testing.assert_allclose(slope, 4 * x**3 - 12 * x + 1, atol=5e-3)
  # In a straight line beyond the ends.
  (end, beyond), (slope_end, slope) = at(jnp.array([3.0, 3.5]))
  np.testing.assert_allclose((beyond, slope), (end + 0.5 * slope_end, slope_end), rtol=1e-4)


def test_chains_of_a_flow_keep_the_shape_of_its_basins(problem):
  """Made of the exact curve the columns are those of exact chains: shape right, share as begun."""
  config = compare_config.get_config('smoke')
  config.entropy.update({'walkers': 2000, 'num_frames': 10, 'stride': 20})
  exact = problem.exact
  s = toy_flows.simulate_grid(config, problem, exact.energy, exact.force, jax.random.key(0))
  row = toys.score(problem, toys.Found(exact.energy, exact.force, None, 0.0, simulated=s))
  start = np.mean(problem.train.s[:2000] > problem.barrier)
  assert row['simulated above'] == pytest.approx(start, abs=2e-3)  # 4 of 2000 walkers
  # 20,000 values of which half count as independent, within a bin of 0.05 at 4 kT some 10.
  assert row['simulated rms_4'] < 0.25


@pytest.mark.parametrize('name, label', [('double_well', 's = x'), ('mueller', '0.7 x -0.7 y')])
def test_the_figure_of_a_toy_has_its_minimum_on_the_line(name, label):
  found = toys.define(name)
  figure = figures_compare.toy_figure(found, {'exact': figures_compare.toy_curve(
    found.grid, (found.grid - 0.5) ** 2)})
  plane, profile = figure.axes[:2]
  first, last = plane.lines[-1].get_xydata()
  along = last - first
  assert along[0] * found.axis[1] == pytest.approx(along[1] * found.axis[0], abs=1e-9)
  points = first + np.linspace(0, 1, 4001)[:, None] * along
  lowest = {'double_well': -10.752406, 'mueller': -14.66995}[name]
  # The line passes through the lowest point of a grid of 0.03: curvatures of up to 60 kT.
  assert float(found.toy.potential(jnp.asarray(points)).min()) == pytest.approx(lowest, abs=0.02)
  assert label in profile.get_xlabel()


def test_draws_at_several_temperatures_have_the_weights_of_each():
  x, temperature = toy_flows.draw_temperatures(40_000, 7)
  assert x.shape == (40_000, 1, 2) and set(temperature) == set(toy_flows.LADDER)
  for kT, exact in zip(toy_flows.LADDER, (0.967074, 0.901784, 0.836641, 0.741816), strict=True):
    found = x[temperature == kT][:, 0]
    assert len(found) == 10_000
    left = np.mean(found[:, 0] < potentials.DOUBLE_WELL_BARRIER)
    assert abs(left - exact) < 4 * np.sqrt(exact * (1 - exact) / 10_000)
    assert abs(found[:, 1].var() / kT - 1) < 4 * np.sqrt(2 / 10_000)


def test_the_exact_density_has_the_difference_of_the_basins_at_each_temperature(problem):
  def density(slope, x, temperature, context=None):
    return -(potentials.double_well(x) + slope * x[0]) / temperature

  notes = toy_flows.compare_temperatures(problem, 0.0, density)
  assert len(notes) == 8
  for kT, difference in zip(toy_flows.LADDER, (3.3800, 2.2172, 1.6334, 1.0554), strict=True):
    found, exact = (notes[f'difference at kT {kT:g}, {name}'] for name in ('found', 'exact'))
    assert exact == pytest.approx(difference, abs=1e-4)  # digits; trapezoids of 0.005
    assert found == pytest.approx(exact, abs=1e-4)  # float32, and 5e-5 of y beyond 7 at kT = 3
  other = toy_flows.compare_temperatures(problem, 0.2, density)
  # The wells are 3.46 apart, a slope of 0.2 raises the right by 0.69 kT.
  assert other['difference at kT 1, found'] == pytest.approx(3.38 + 0.69, abs=0.02)


def test_the_updates_of_relative_entropy_are_kept_and_drawn(problem):
  config = compare_config.get_config('smoke')
  found = {name: toy_methods.METHODS[name](config, problem, jax.random.key(0))
           for name in ('RE quadrature', 'RE Langevin')}
  arrays = {name: {'s': problem.exact.s, 'energy': row.energy} | row.arrays
            for name, row in found.items()}
  old = {'RE quadrature': {'s': problem.exact.s, 'energy': problem.exact.energy}}
  assert 'figure_resampling' not in toy_contest.draw(config, problem, old)
  figure = toy_contest.draw(config, problem, arrays | old)['figure_resampling']
  # A row made before is left out.
  assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ['RE Langevin']
  population, cost = toy_contest.draw(config, problem, arrays)['figure_resampling'].axes
  lines = [np.asarray(line.get_ydata()) for line in population.lines[:3]]
  for line, name in zip(lines, arrays, strict=False):
    np.testing.assert_array_equal(line, arrays[name]['population'])
    assert line.shape == (config.entropy.updates,)
    assert line.min() == pytest.approx(found[name].notes['lowest population below'])
  np.testing.assert_allclose(lines[2], 0.967074, atol=2e-6)  # of the trapezoidal rule
  totals = [line.get_ydata()[-1] for line in cost.lines[:2]]
  settings = config.entropy
  chains = settings.walkers * (1 + settings.num_frames * settings.stride)
  assert totals == [0, settings.updates * chains] == [row.evaluations for row in found.values()]
  log = arrays['RE Langevin']
  assert log['resampled'].all() and np.isnan(log['effective'][0])
  assert ((log['effective'][1:] > 0) & (log['effective'][1:] <= 1)).all()


def test_parameters_of_relative_entropy_are_fitted_once(tmp_path, monkeypatch):
  seen = []

  def simulate(config, world, model, params, key, folder):
    seen.append(params)
    return ala2_flows.Made(None, None, 0, 0.0)

  def make_sampler(model):
    reduced = jax.vmap(walkers.make_reduced(model), (None, 0))
    return lambda params, key, x: walkers.Draw(
      x, x, -reduced(params, x), jnp.asarray(7, jnp.int32))

  monkeypatch.setattr(ala2_methods, 'simulate', simulate)
  config = compare_config.get_config('ala2_smoke')
  config.matching.widths = (4,)
  x = np.random.default_rng(0).normal(size=(50, 5, 3)).astype(np.float32)
  part = dataset.Dataset(x, None, np.zeros(50, int), 1.0, ala2_system())
  world = ala2_flows.World(dataset.Split(part, part, part), None, 1, None, (), 2.5)
  first, again = (ala2_methods.minimise_entropy(
    config, world, jax.random.key(0), tmp_path, make_sampler, ()) for _ in range(2))
  jax.tree.map(np.testing.assert_array_equal, *seen)
  assert first == again  # with the seconds, which a second fit would not repeat
  assert first.evaluations == 7 * first.notes['resamplings'] > 0


def test_chains_on_a_density_have_its_widths_and_stay_on_the_circle():
  """A narrow and a wide normal coordinate, and an angle drawn from exp(2 cos(angle - 3))."""
  def density(params, q, temperature, context=None):
    return -(q[0] ** 2 / 0.18 + q[1] ** 2 / 2) + params * jnp.cos(q[2] - 3)

  settings = ConfigDict({'replicas': 500, 'burn_in_frames': 10, 'frames': 20, 'stride': 20,
                         'step': 0.3})
  start = np.zeros((600, 3), np.float32)
  x, accepted = ala2_flows.simulate_density(
    settings, density, jnp.float32(2.0), jax.random.key(0), start, 1)
  assert x.shape == (20, 500, 3) and 0.7 < accepted < 0.99
  # 500 chains of some 10 independent frames each.
  np.testing.assert_allclose(x[..., :2].std(axis=(0, 1)), (0.3, 1.0), rtol=4 / np.sqrt(2 * 5000))
  assert (np.abs(x[..., 2]) <= np.pi + 1e-6).all()
  # <cos> of a von Mises distribution of concentration 2: I_1(2) / I_0(2).
  assert np.cos(x[..., 2] - 3).mean() == pytest.approx(0.697775, abs=4 * 0.4 / np.sqrt(5000))
  assert (x[..., 2] < 0).mean() == pytest.approx(0.42, abs=0.05)  # both sides of the seam


def test_a_part_that_was_found_has_no_time(tmp_path):
  assert ala2_flows.timed(lambda: 7, tmp_path)[0] == 7
  assert ala2_flows.timed(lambda: 7, tmp_path)[1] >= 0
  trajectory.write_part(tmp_path, 0, {'x': np.zeros(1)})
  assert np.isnan(ala2_flows.timed(lambda: 7, tmp_path)[1])


def test_torsions_of_frames_are_counted_and_their_profiles_compared():
  flat = np.random.default_rng(0).normal(size=(400, 22, 3)).astype(np.float32)
  counts = ala2_flows.count_torsions(flat, ala2_atoms.CENTRAL_4)
  assert set(counts) == set(ala2_atoms.FLEXIBLE.values())
  assert all(found.sum() == 400 for found in counts.values())
  # phi as the five beads have it: the same torsion read from the other end.
  order = [ala2_atoms.ATOMS.index(name) for name in ('ACE:C', 'ALA:N', 'ALA:CA', 'ALA:C')]
  angle = jax.vmap(ala2_flows.dihedral)(*(flat[:, k] for k in order))
  np.testing.assert_array_equal(counts['phi'], np.histogram(angle, ala2_flows.TORSION_EDGES)[0])
  errors = ala2_flows.torsion_errors(counts, {name: 3 * found for name, found in counts.items()})
  assert len(errors) == 7 and max(errors.values()) < 1e-12  # a constant factor is no error
  one = np.eye(60, dtype=int)[0]  # empty bins are no hole in the error
  assert 5 < ala2_flows.torsion_errors({'phi': 4000 * one}, {'phi': np.full(60, 50)})[
    'rms F<4 of phi'] * 60 / np.log(8000) < 10
  even, wave = np.full(60, 100), np.tile([200, 100], 30)
  assert ala2_flows.torsion_errors({'phi': wave}, {'phi': even})[
    'rms F<4 of phi'] == pytest.approx(np.log(2) / 2)


def test_rows_of_alanine_have_numbers_of_each_use_that_there_is():
  random = np.random.default_rng(3)

  def draw(*shape):  # ψ is drawn to zero, φ is not
    x = random.normal(size=(*shape, 5, 3))
    x[..., 4, :] += 2.0 * (x[..., 1, :] - x[..., 2, :])
    return x.astype(np.float32)

  frames = draw(2000)
  part = dataset.Dataset(frames, None, np.zeros(2000, int), None, None)
  world = ala2_flows.World(dataset.Split(part, part, part), frames, 1, frames, (), 2.5)
  x = draw(40, 100)
  made = ala2_flows.Made(None, x, 0, 1.0, simulating=5.0, notes={'kept': 0.9})
  sets = ala2_contest.finite_sets(made)
  planes = {use: ala2_contest.histogram(part) for use, part in sets.items()}
  found = ala2_contest.score(world, made, sets, planes, 0)
  assert set(ala2_contest.COLUMNS) <= set(found)
  assert np.isnan(found['i.i.d. JS']) and np.isnan(found['sampling [s]'])
  assert (found['simulation [s]'], found['kept']) == (5.0, 0.9)
  assert all(np.isfinite(found[f'simulation {name}']) for name in ala2_contest.FURTHER)
  # The same density twice: JS of the 3600 bins of 4000 frames is mostly counting, of 400 less.
  assert 0 < found['simulation JS(φ, ψ) 20×20'] < found['sim. JS'] < 0.4
  helix = structure.basins(structure.phi_psi(x))['alpha_R']
  assert found['simulation population alpha_R'] == pytest.approx(helix.mean())
  # Of 60 bins with 67 of 4000 draws, a logarithm is known to 0.12, of 33 of 2000 to 0.17.
  assert found['simulation rms F<4 of φ'] == pytest.approx(np.hypot(0.12, 0.17), abs=0.1)
  for k, name in enumerate(('φ', 'ψ')):
    one = np.histogram(structure.phi_psi(x)[..., k], ala2_flows.TORSION_EDGES)[0]
    np.testing.assert_array_equal(ala2_contest.count_backbone(planes['simulation'])[name], one)
    assert (one.std() > 30) == (name == 'ψ')  # flat: counting alone makes 8


def test_figure_3_is_drawn_as_far_as_its_rows_are_there():
  plane = np.ones((60, 60))
  torsions = {f'torsion {name}': np.arange(1, 61) for name in ala2_atoms.FLEXIBLE.values()}
  frames = np.random.default_rng(1).normal(size=(50, 22, 3)).astype(np.float32)
  beads = frames[:, [4, 6, 8, 10, 16]]
  world = ala2_flows.World(
    dataset.Split(*[dataset.Dataset(beads, None, np.zeros(50, int), None, None)] * 3), frames, 1,
    frames, (), 2.5)

  def draw(arrays):
    return set(ala2_contest.draw(None, world, arrays))

  assert draw({'CGNet': {'simulation': plane}}) == {'compare'}
  old = {'BG-REM 4 atoms': {'i.i.d.': plane}}
  assert draw(old) == {'compare', 'figure_3abc'}
  old['BG-REM 4 atoms'] |= torsions
  assert draw(old) == {'compare', 'figure_3abc', 'figure_3d'}


def test_numbers_beside_the_columns_are_listed_with_how_many_seeds_have_them():
  table = {'a': {0: {'x': 1.0, 'kept': 0.5, 'lost': np.nan}, 1: {'x': 2.0, 'kept': 0.7, 'y': 3.0}},
           'b': {0: {'x': 1.0}}}
  assert report_compare.further_numbers(table, {'x': '{}'})[1] == (
    '- a: kept 0.6 ± 0.141, y 3 (1 of 2)')
  assert report_compare.further_numbers({'b': table['b']}, {'x': '{}'}) == []


def quadratic(params, key, example):
  return jnp.sum((params - example) ** 2)


def make_settings(num_steps):
  settings = compare_config.get_config('smoke').matching
  settings.update({'num_steps': num_steps, 'validate_every': 10, 'batch_size': 32})
  return settings


def test_a_fit_goes_on_where_it_stopped(tmp_path, monkeypatch):
  x = np.random.default_rng(0).normal(3.0, 1.0, size=(500, 2)).astype(np.float32)

  def run(folder):
    return fit.fit(quadratic, jnp.zeros(2), x, x, make_settings(40), jax.random.key(0),
                   folder=folder)

  whole, save, saved = run(tmp_path / 'whole'), fit.checkpoint.save, []

  def stop_after_two(*args, **keywords):
    save(*args, **keywords)
    saved.append(args)
    if len(saved) == 2:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(fit.checkpoint, 'save', stop_after_two)
    run(tmp_path / 'parts')
  again = run(tmp_path / 'parts')
  np.testing.assert_array_equal(whole.params, again.params)
  assert (whole.validation, whole.step) == (again.validation, again.step)
  assert (whole.params > 0.03).all()  # towards the mean, 3; 40 steps of 3e-3 at most


def test_a_fit_that_begins_with_no_number_keeps_its_best(monkeypatch):
  values = iter([np.nan, 2.0, np.nan, 3.0])
  monkeypatch.setattr(fit.train, 'make_validation', lambda *_, **__: (
    lambda *_: jnp.asarray(next(values))))
  x = np.zeros((500, 2), np.float32)
  found = fit.fit(quadratic, jnp.ones(2), x, x, make_settings(30), jax.random.key(0))
  assert (found.validation, found.step) == (2.0, 10)


def test_a_fit_ends_at_a_validation():
  x = np.zeros((500, 2), np.float32)
  with pytest.raises(ValueError, match='found 45, expected a multiple of validate_every = 10'):
    fit.fit(quadratic, jnp.zeros(2), x, x, make_settings(45), jax.random.key(0))


@pytest.mark.parametrize('variant', ['ala2', 'ala2_paper', 'ala2_smoke'])
def test_the_config_of_alanine_fills_the_legend_and_its_ladders(variant):
  config = compare_config.get_config(variant)
  part = dataset.Dataset(np.random.default_rng(0).normal(size=(10, 5, 3)), *[None] * 4)
  atoms = np.zeros((60, 22, 3))  # of three runs
  world = ala2_flows.World(dataset.Split(part, part, part), atoms, 3, None, (), 2.5)
  _, legend = ala2_contest.describe(config, world)
  assert 'on 10 frames, Boltzmann generators on 54 of all atoms' in legend
  assert '{' not in legend and f'{config.ala2.sample.num_samples:,}' in legend
  rungs = len(config.entropy.ladder)
  assert config.entropy.ladder[0] == 1.0 and config.entropy.walkers // rungs > 1
  assert config.entropy.stride % 5 == 0  # of the exchanges


@pytest.mark.slow
def test_a_small_table_is_made_and_read_again(tmp_path, monkeypatch):
  config = compare_config.get_config('smoke')
  config.methods = ('histogram', 'BG-REM spline', 'CGNet', 'RE quadrature')
  table = compare.run(config, str(tmp_path))
  assert table['RE quadrature'][0]['evaluations'] == 0
  assert np.isfinite(table['CGNet'][0]['force error'])
  for column in ('sampled above', 'simulated above', 'simulated rms_4'):
    assert np.isfinite(table['BG-REM spline'][0][column])
  left = {path.name for path in tmp_path.iterdir()}
  assert left >= {'compare.md', 'compare.json', 'compare.png', 'figure_1.png',
                  'figure_resampling.png', 'rows'}
  monkeypatch.setattr(compare, 'CONTESTS', {  # nothing is made a second time
    'double_well': compare.CONTESTS['double_well']})
  monkeypatch.setattr(compare.CONTESTS['double_well'], 'run_method', None)
  assert compare.run(config, str(tmp_path)) == table


def test_unknown_methods_and_systems_are_named(tmp_path):
  config = compare_config.get_config('smoke')
  config.methods = ('CGNET',)
  with pytest.raises(ValueError, match="methods: found 'CGNET'"):
    compare.run(config, str(tmp_path))
  config.system = 'villin'
  with pytest.raises(ValueError, match="system: found 'villin'"):
    compare.run(config, str(tmp_path))


def test_limits_are_of_the_median_and_of_methods_that_are_there():
  def row(error, difference):
    return {'rms_4': error, 'rms_6': error, 'difference': difference}

  table = {'BG-REM spline': {0: row(0.01, 3.3), 1: row(0.09, 3.6), 2: row(0.1, 3.46)}}
  lines = criteria_compare.judge('double_well', table).splitlines()[4:]
  assert lines == ['| BG-REM spline | rms_4 | 0.09 | 0.08 | not met |',
                   '| BG-REM spline | rms_6 | 0.09 | 0.12 | met |',
                   '| BG-REM spline | difference - 3.380 | 0.08 | 0.1 | met |']
  for name, (methods, columns) in {
      'double_well': (toy_contest.METHODS, toy_contest.COLUMNS),
      'mueller': (toy_contest.METHODS, toy_contest.COLUMNS),
      'ala2': (ala2_contest.METHODS, ala2_contest.COLUMNS)}.items():
    for criterion in criteria_compare.CRITERIA[name]:
      assert criterion.method in methods
      full = dict.fromkeys(columns, 1.0) | {
        'rms F<4 of psi': 1.0, 'validation force error': 1.0, 'of the prior alone': 1.0,
        ala2_flows.JS_OF_FRAMES: 1.0}
      assert np.isfinite(criterion.value(full))


def test_a_row_without_its_number_meets_nothing():
  assert 'not met' in criteria_compare.judge('ala2', {'BG-REM 4 atoms': {0: {'i.i.d. JS': 0.01}}})
