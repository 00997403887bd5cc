"""The comparison: exact answers score zero, trainings resume, a small table is made and resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import compare, fit, toy_contest, toys
from experiments.configs import compare as compare_config


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


def test_draws_of_a_problem_are_apart_and_of_the_right_weight():
  problem = toys.make_problem('double_well', 10_000, seed=1)
  parts = problem[3:]
  assert [len(part.s) for part in parts] == [8000, 2000, 10_000]
  for k, part in enumerate(parts):  # a few float32 draws are equal by chance
    assert np.isin(part.r[:, 1], parts[k - 1].r[:, 1]).mean() < 0.01
  share, exact = np.mean(problem.test.s > problem.barrier), 1 - 0.967074
  assert abs(share - exact) < 4 * np.sqrt(exact * (1 - exact) / 10_000)


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


@pytest.mark.slow
def test_a_small_table_is_made_and_read_again(tmp_path, monkeypatch):
  config = compare_config.get_config('smoke')
  config.methods = ('histogram', 'BG-REM spline', 'CGNet', 'RE quadrature')
  table = compare.run(config, str(tmp_path))
  assert table['RE quadrature'][0]['evaluations'] == 0
  assert np.isfinite(table['CGNet'][0]['force error'])
  assert np.isfinite(table['BG-REM spline'][0]['sampled above'])
  left = {path.name for path in tmp_path.iterdir()}
  assert left >= {'compare.md', 'compare.json', 'compare.png', 'rows'}
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
