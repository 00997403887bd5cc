"""The report of `experiments.kinetics`: tables, JSON and one figure."""

import pathlib

import numpy as np

from experiments import transitions
from twoforone import plots
from twoforone.evaluation import kinetics, structure, uncertainty
from twoforone.trajectory import write_json

BASINS = tuple(structure.basins(np.zeros((1, 2))))  # the order of kinetics.basin_labels
PHI_POSITIVE = BASINS.index('phi_positive')


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
           f'| set | frames | interval [ps] | entries into φ > 0 | {" | ".join(BASINS)} |',
           '|---' * 7 + '|']
  lines += [f'| {name} | {s["frames"]:,} | {s["interval"]:g} | {s["entries"]} | '
            + ' | '.join(f'{p:.4f}' for p in s['populations'].values()) + ' |'
            for name, s in found['sets'].items()]
  lines += ['', '| lag [ps] | process | all-atom [ps] | simulation [ps] | ratio |',
            '|---' * 5 + '|']
  for first, second in zip(atoms['rows'], simulated['rows'], strict=True):
    for k in range(len(BASINS) - 1):
      (slow, slow_error), (fast, fast_error) = (
        (row['timescales'][k], row['timescales_errors'][k]) for row in (first, second))
      lines.append(f'| {first["lag"]:g} | {k + 1} | {slow:.0f} ± {slow_error:.0f} | '
                   f'{fast:.1f} ± {fast_error:.1f} | '
                   f'{ratio(fast, fast_error, slow, slow_error)} |')
  lines += ['', '±: bootstrap over trajectories; of the ratio, both relative errors in quadrature.']
  lines += [f'\n{line}' for name, s in found['sets'].items() for row in s['rows']
            for line in transitions.complaints(name, row)]
  lines += ['', *transition_table(found['sets']), '',
            f'k-means: {found["clusters"]["chosen"]} states by the elbow; PCCA+ sets (all-atom, '
            f'simulation): {found["clusters"]["set_populations"]}', '', '![kinetics](kinetics.png)']
  return '\n'.join(lines) + '\n'


def ratio(first: float, first_error: float, second: float, second_error: float) -> str:
  """first / second of two independent numbers, the relative errors added in quadrature."""
  value = first / second
  return f'{value:.3f} ± {value * np.hypot(first_error / first, second_error / second):.3f}'


def transition_table(sets: dict) -> list[str]:
  """Transition probabilities at the longest lag."""
  rows = {name: found['rows'][-1] for name, found in sets.items()}
  lag = rows['all-atom']['lag']
  lines = [f'| from → to in {lag:g} ps | {" | ".join(rows)} |', '|---' * (1 + len(rows)) + '|']
  for i, start in enumerate(BASINS):
    for j, end in enumerate(BASINS):
      cells = (f'{row["matrix"][i][j]:.4f} ± {row["matrix_errors"][i][j]:.4f}'
               for row in rows.values())
      lines.append(f'| {start} → {end} | {" | ".join(cells)} |')
  return lines


def figure(found: dict, torsions: list[np.ndarray], interval: float) -> plots.Figure:
  """Timescales over the lag, the elbow, and how P(φ > 0) of the replicas goes on."""
  def scale(name, k):
    rows = found['sets'][name]['rows']
    return plots.Curve(*(np.array([row[field] if field == 'lag' else row[field][k] for row in rows])
                         for field in ('lag', 'timescales', 'timescales_errors')))

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
