import json

import jax
import jax.numpy as jnp
import pytest

from experiments import benchmark, measure
from experiments.configs.benchmark import get_config


def test_gemm_counts_its_work():
  loop = measure.make_gemm(64, steps=3)
  seconds = measure.time_in_turn({'gemm': loop}, repeats=2)['gemm']
  assert loop.flops == 2 * 64**3 and len(seconds) == 2 and min(seconds) > 0


def test_loop_counts_one_step_and_goes_on_from_its_result():
  seen = []

  def carry(arguments, result):
    seen.append(float(result[0, 0]))
    return result, arguments[1]

  def products(a, b):
    return jax.lax.scan(lambda a, _: (a @ b, None), a, length=5)[0]

  arguments = (jnp.ones((64, 64)), 2 * jnp.eye(64))
  loop = measure.compile_loop(jax.jit(products), arguments, carry, steps=5, batch=1)
  loop.advance()
  loop.advance()
  assert seen == [2.0**5, 2.0**10]
  assert abs(loop.flops / (2 * 64**3) - 1) < 0.01  # the loop's counter is counted too


def test_ratio_is_taken_round_by_round():
  # A machine three times slower in the second round leaves the ratio as it was.
  assert measure.median_ratio([2.0, 6.0], [1.0, 3.0]) == 2.0


def test_unknown_variant():
  with pytest.raises(ValueError, match='variant'):
    get_config('huge')


@pytest.mark.slow
def test_smoke_writes_its_tables(tmp_path):
  benchmark.run(get_config('smoke'), tmp_path)
  table = json.loads((tmp_path / 'benchmark.json').read_text())
  forms = {(row['kind'], row['form']) for row in table['rows']}
  assert forms == {('force', 'factorised'), ('force', 'literal'), ('simulate', 'invariant'),
                   ('simulate', 'factorised')}
  assert all(row['seconds'] > 0 and row['gflop'] > 0 for row in table['rows'])
  assert '| 5 | invariant |' in (tmp_path / 'benchmark.md').read_text()
