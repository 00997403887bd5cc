"""The studies' bookkeeping: columns from rows, entries and timescales from angles."""

import json

import numpy as np
import pytest

from experiments import consistency, kinetics, report_kinetics
from experiments.configs import consistency as consistency_config
from experiments.configs import kinetics as kinetics_config


def row(sample, metric, value, **fields):
  return {'sample': sample, 'metric': metric, 'value': value} | fields


def test_summary_takes_floors_ratios_and_means_from_the_rows():
  rows = [row('i.i.d.', consistency.JS, 0.007, floor=0.006),
          row('simulation', consistency.JS, 0.010, floor=0.005),
          row('i.i.d.', 'W1 bond 1', 0.001), row('i.i.d.', 'W1 bond 2', 0.003),
          row('simulation', 'W1 bond 1', 0.002), row('simulation', 'W1 bond 2', 0.004),
          row('simulation', 'replicas lost', 3), row('simulation', 'kinetic temperature', 299.0)]
  found = consistency.summarise(rows)
  assert found['i.i.d. - floor'] == pytest.approx(0.001)
  assert found['sim. - i.i.d.'] == pytest.approx(0.003)
  assert found['bond W1 ratio'] == pytest.approx(1.5)
  assert found['lost'] == 3 and np.isnan(found['angle W1 ratio'])


def test_an_objective_changes_its_fields_and_no_other():
  config = consistency_config.get_config('smoke')
  plain, ours = (consistency.configure(config, name, 5) for name in ('plain', 'consistent'))
  assert plain.loss.classification == 0 and ours.loss.classification == 1
  assert plain.seed == ours.seed == 5 and plain.network == ours.network
  with pytest.raises(ValueError, match=r"objectives: found 'best', expected some of"):
    consistency.configure(config, 'best', 0)


@pytest.mark.slow
def test_the_table_of_finished_runs_is_written_without_running_them(tmp_path):
  config = consistency_config.get_config('smoke')
  config.seeds = (0, 1)
  for objective, js in (('consistent', 0.01), ('plain', 0.03)):
    for seed in config.seeds:
      folder = tmp_path / objective / f'seed_{seed}'
      (folder / 'model').mkdir(parents=True)
      (folder / 'metrics.json').write_text(json.dumps({'rows': [
        row(use, consistency.JS, js + 0.002 * seed, floor=0.005)
        for use in ('i.i.d.', 'simulation')]}))
      (folder / 'model' / 'metrics.csv').write_text(
        'step,steps_per_second\n100,10\n200,50\n300,25\n')
  table = consistency.run(config, str(tmp_path))
  assert table['plain'][1]['sim. JS'] == pytest.approx(0.032)
  # Chunks of 100 steps; the first also compiles and is not counted.
  assert table['plain'][0]['training [s]'] == pytest.approx(100 / 50 + 100 / 25)
  text = (tmp_path / 'consistency.md').read_text()
  assert '| plain | 2 | 0.0310 ± 0.0014 |' in text
  assert (tmp_path / 'consistency.png').exists()


ANGLES = np.array([[-1.2, -0.5], [1.0, 0.5], [-1.2, 2.5]])  # one point in each basin


def hops(rng, steps, leave):
  """A chain over the basins that leaves its state with probability `leave`, to either other."""
  move = rng.random(steps) < leave
  return np.cumsum(np.where(move, rng.integers(1, 3, steps), 0)) % 3


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
  for result in found['rows'][:1]:
    error = np.array(result['timescales_errors'])
    # The two are sorted, so the larger is high by about an error: five of them.
    assert (np.abs(np.array(result['timescales']) - exact) < 5 * error).all()


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
  assert 'simulation at 2 ps: counts: found states not connected' in (
    tmp_path / 'kinetics.md').read_text()
