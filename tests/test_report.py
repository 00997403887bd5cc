"""The alanine report: rows with floors, units, and files that read back."""

import csv
import json

import numpy as np
import pytest
from test_evaluation import kT, synthetic_chain

from experiments import evaluate_ala2, figures_ala2, report
from twoforone.system import make_chain


@pytest.mark.slow
def test_report_of_a_good_and_a_mirrored_set(tmp_path):
  x = synthetic_chain(6000)
  runs = [x[:1500], x[1500:3000], x[3000:4500]]
  good = x[4500:].reshape(150, 10, 5, 3)
  samples = {'good': good, 'mirrored': good * np.array([1, 1, -1], np.float32)}
  sets = {'reference': runs[0], 'training': runs[1:], 'kT': kT}
  rows = evaluate_ala2.evaluate_ala2(samples, **sets)
  js = {row.sample: row for row in rows if row.metric == 'JS(φ, ψ) 20×20'}
  assert js['good'].value < 1.5 * js['good'].floor and js['good'].frames == 1500
  assert js['mirrored'].value > 0.6
  bond = next(row for row in rows if row.metric == 'W1 bond 1')
  assert bond.unit == 'Å' and bond.value < 1e-4  # all bonds are 1.4 Å

  system = make_chain('ala2', ('C', 'N', 'CA', 'C', 'N'), (12.0,) * 5, 300.0)
  drawn = figures_ala2.ala2_figures(samples, **sets, system=system)
  drawn['traces'] = figures_ala2.replica_figure(good, 2.0)
  path = report.write_report(tmp_path, 'Trial', rows, drawn, ['A note.'])
  assert all((tmp_path / f'{name}.png').exists() for name in drawn)
  assert '## mirrored' in path.read_text() and 'A note.' in path.read_text()
  numbers = json.loads((tmp_path / 'metrics.json').read_text())
  with open(tmp_path / 'metrics.csv') as file:
    table = list(csv.DictReader(file))
  assert len(numbers['rows']) == len(table) == len(rows)
  np.testing.assert_allclose(float(table[0]['value']), rows[0].value)


@pytest.mark.parametrize('used', [True, False])
def test_only_columns_that_some_row_has_are_shown_and_explained(tmp_path, used):
  metric = f'JS {report.TO_TRAINING}' if used else 'JS'
  rows = [report.Row('a', metric, 0.02, floor=0.01, counting=0.005 if used else None, frames=9,
                     floor_frames=9), report.Row('a', 'size', 2.0, reference=3.0, floor_frames=4)]
  text = report.write_report(tmp_path, 'Trial', rows, {}).read_text()
  header = next(line for line in text.splitlines() if line.startswith('| metric'))
  columns = ['floor', 'value / floor'] + ['counting'] * used + ['reference']
  assert header == f'| metric | unit | value | {" | ".join(columns)} |'
  assert ('counting: ' in text) == ('drawn from them independently' in text) == used
  assert 'halves' not in text and 'reference: the value' in text
  assert f'| {metric} |  | 0.02 | 0.01 | 2.00 |' in text
  assert '9 frames; floor from 4 or 9 frames' in text
