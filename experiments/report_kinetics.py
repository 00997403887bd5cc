"""The report of `experiments.kinetics`: tables, JSON and one figure."""

import pathlib
from typing import NamedTuple

import numpy as np

from experiments import markdown, transitions
from twoforone import plots
from twoforone.evaluation import kinetics, structure, uncertainty
from twoforone.trajectory import write_json

BASINS = tuple(structure.basins(np.zeros((1, 2))))  # the order of kinetics.basin_labels
PHI_POSITIVE = BASINS.index('phi_positive')
WAYS = ('into', 'out of')  # the order of kinetics.passages


class Interval(NamedTuple):
  """A number between its 2.5th and its 97.5th percentile."""

  value: float
  low: float
  high: float


def write(
  folder: pathlib.Path, found: dict, start: str, torsions: list[np.ndarray], interval: float
) -> None:
  """The report, its numbers and its figure."""
  write_json(folder / 'kinetics.json', found)
  text = describe(found, start)
  (folder / 'kinetics.md').write_text(text)
  plots.save(figure(found, torsions, interval), folder / 'kinetics.png')
  print(text, end='')


def describe(found: dict, start: str) -> str:
  """The report from the numbers of kinetics.json."""
  atoms, simulated = found['sets']['all-atom'], found['sets']['simulation']
  lines = ['# Kinetics', '', f'Replicas lost: {found["lost"]}. Start: {start}.', '',
           set_table(found['sets']), '', time_table(atoms['rows'], simulated['rows']), '',
           'In brackets: 2.5 to 97.5 % of 100 draws of whole trajectories with replacement; of a '
           'ratio, the two intervals combined.']
  lines += [f'\n{line}' for name, s in found['sets'].items() for row in s['rows']
            for line in transitions.complaints(name, row)]
  lines += ['', transition_table(found['sets']), '', cluster_tables(found['clusters']), '',
            '![kinetics](kinetics.png)']
  return '\n'.join(lines) + '\n'


def set_table(sets: dict) -> str:
  """How long each set is, how often it enters the basin, and who is where."""
  return markdown.table(('set', 'frames', 'interval [ps]', 'entries into φ > 0', *BASINS), (
    (name, f'{s["frames"]:,}', f'{s["interval"]:g}', str(s['entries']),
     *(f'{p:.4f}' for p in s['populations'].values()))
    for name, s in sets.items()))


def time_table(atoms: list[dict], simulated: list[dict]) -> str:
  """Relaxation and mean first passage times at each lag, and their ratios."""
  named = [(f'relaxation {k + 1}', 'timescales', k) for k in range(len(BASINS) - 1)]
  named += [(f'first passage {way} φ > 0', 'passages', k) for k, way in enumerate(WAYS)]
  cells = []
  for rows in zip(atoms, simulated, strict=True):
    for label, field, k in named:
      slow, fast = (look_up(row, field, k) for row in rows)
      cells.append((f'{rows[0]["lag"]:g}', label, cell(slow, '.1f'), cell(fast, '.1f'),
                    cell(ratio(fast, slow), '.3f')))
  return markdown.table(('lag [ps]', 'time', 'all-atom [ps]', 'simulation [ps]', 'ratio'), cells)


def look_up(row: dict, field: str, *place: int) -> Interval:
  """A number of `transitions.count` and its limits."""
  return Interval(*(float(np.array(row[name])[place])
                    for name in (field, f'{field}_low', f'{field}_high')))


def cell(found: Interval, form: str) -> str:
  """A number and its limits as a table has them."""
  return f'{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]'


def ratio(first: Interval, second: Interval) -> Interval:
  """first / second of two independent positive numbers.

  Each limit lies off the ratio by the distances of the two limits that lead there, added in
  quadrature on the logarithm (Zou and Donner 2008).
  """
  a, b = np.log(first), np.log(second)
  value, low, high = a[0] - b[0], np.hypot(a[1] - a[0], b[2] - b[0]), np.hypot(
    a[2] - a[0], b[1] - b[0])
  return Interval(*np.exp([value, value - low, value + high]).tolist())


def transition_table(sets: dict) -> str:
  """Transition probabilities at the longest lag."""
  rows = {name: found['rows'][-1] for name, found in sets.items()}
  lag = rows['all-atom']['lag']
  return markdown.table((f'from → to in {lag:g} ps', *rows), (
    (f'{start} → {end}', *(cell(look_up(row, 'matrix', i, j), '.4f') for row in rows.values()))
    for i, start in enumerate(BASINS) for j, end in enumerate(BASINS)))


def cluster_tables(clusters: dict) -> str:
  """The states of k-means, where they are and who is in them, and the sets that PCCA+ makes."""
  states, sets = clusters['state_populations'], clusters['set_populations']
  times = ', '.join(f'{time:.1f}' for time in clusters['timescales'])
  text = (f'k-means: {clusters["chosen"]} states by the elbow; {len(BASINS)} PCCA+ sets of them '
          f'by all-atom transitions in {clusters["lag"]:g} ps, which relax in {times} ps.')
  of_states = markdown.table(('state', 'φ [°]', 'ψ [°]', 'PCCA+ set', *states), (
    (str(k + 1), f'{phi:.1f}', f'{psi:.1f}', str(member + 1),
     *(f'{shares[k]:.4f}' for shares in states.values()))
    for k, ((phi, psi), member) in enumerate(
      zip(clusters['centres_degrees'], clusters['sets'], strict=True))))
  of_sets = markdown.table(('PCCA+ set', 'states', *sets), (
    (str(k + 1), ', '.join(str(i + 1) for i, member in enumerate(clusters['sets']) if member == k),
     *(f'{shares[k]:.4f}' for shares in sets.values()))
    for k in range(len(BASINS))))
  return '\n\n'.join([text, of_states, of_sets])


def figure(found: dict, torsions: list[np.ndarray], interval: float) -> plots.Figure:
  """Timescales over the lag, the elbow, and how P(φ > 0) of the replicas goes on."""
  def scale(name, k):
    rows = found['sets'][name]['rows']
    times = np.array([look_up(row, 'timescales', k) for row in rows])
    return plots.Curve(np.array([row['lag'] for row in rows]), times[:, 0],
                       np.abs(times[:, 1:] - times[:, :1]).T)

  inside = np.stack([kinetics.basin_labels(piece) == PHI_POSITIVE for piece in torsions], axis=1)
  blocks = np.array_split(inside, min(20, len(inside)))
  population = [uncertainty.estimate(block) for block in blocks]
  time = interval * np.cumsum([len(block) for block in blocks])
  clusters = found['clusters']
  return plots.curves(
    {'timescale [ps]': {f'{name} {k + 1}': scale(name, k) for name in found['sets']
                        for k in range(len(BASINS) - 1)},
     'k-means inertia': {'': plots.Curve(np.array(clusters['sizes'], float),
                                         np.array(clusters['inertia']))},
     'P(φ > 0) over time [ps]': {'simulation': plots.Curve(
       time, np.array([p.mean for p in population]), np.array([p.error for p in population]))}},
    x_label='lag [ps] / number of states / time [ps]', y_label='', y_log=True)
