"""One energy for both uses: does the simulation equal the i.i.d. samples, and which term does it?

Every objective of the config is trained with every seed by `experiments.ala2`, in its own folder
`<objective>/seed_<k>`, and scored against the held-out run. Finished runs are read, not repeated.
Leaves consistency.md, .json and .png.
"""

import json
import pathlib

import numpy as np
from ml_collections import ConfigDict

from experiments import ala2, command_line, training
from twoforone import plots

JS = 'JS(φ, ψ) 60×60'
COLUMNS = {
  'i.i.d. JS': '{:.4f}', 'sim. JS': '{:.4f}', 'i.i.d. - floor': '{:+.4f}',
  'sim. - floor': '{:+.4f}', 'sim. - i.i.d.': '{:+.4f}', 'i.i.d. PMF': '{:.3f}',
  'sim. PMF': '{:.3f}', 'bond W1 ratio': '{:.2f}', 'angle W1 ratio': '{:.2f}',
  'P(φ > 0) i.i.d.': '{:.4f}', 'P(φ > 0) sim.': '{:.4f}', 'kinetic [K]': '{:.1f}',
  'configurational [K]': '{:.1f}', 'lost': '{:.0f}', 'training [s]': '{:.0f}'}


def run(config: ConfigDict, workdir: str) -> dict:
  """Runs what is missing and returns objective -> seed -> numbers."""
  folder = command_line.prepare_workdir(workdir, config, may_change=('objectives', 'seeds'))
  table = {}
  for objective in config.objectives:
    for seed in config.seeds:
      rows = run_one(config, objective, seed, folder / objective / f'seed_{seed}')
      table.setdefault(objective, {})[seed] = rows
      write(folder, table)
  return table


def run_one(config: ConfigDict, objective: str, seed: int, folder: pathlib.Path) -> dict:
  """The numbers of one training, made now or found in its folder."""
  if not (folder / 'metrics.json').exists():
    ala2.run(configure(config, objective, seed), str(folder))
  rows = json.loads((folder / 'metrics.json').read_text())['rows']
  seconds = sum(config.ala2.train.chunk / row['steps_per_second']
                for row in training.read_metrics(folder / 'model' / 'metrics.csv')[1:])
  return summarise(rows) | {'training [s]': seconds}


def configure(config: ConfigDict, objective: str, seed: int) -> ConfigDict:
  """The config of one run of `experiments.ala2`."""
  if objective not in config.changes:
    raise ValueError(f'objectives: found {objective!r}, expected some of {sorted(config.changes)}')
  chosen = config.ala2.copy_and_resolve_references()
  chosen.update(config.changes[objective].to_dict())
  chosen.seed = seed
  return chosen


def summarise(rows: list[dict]) -> dict[str, float]:
  """The columns of the table from the rows of one report."""
  values = {(row['sample'], row['metric']): row for row in rows}

  def value(sample, metric, field='value'):
    return values.get((sample, metric), {}).get(field, float('nan'))

  def mean(sample, kind):
    found = [row['value'] for (s, metric), row in values.items()
             if s == sample and metric.startswith(f'W1 {kind}')]
    return float(np.mean(found)) if found else float('nan')

  iid, sim = (value(sample, JS) for sample in ('i.i.d.', 'simulation'))
  return {
    'i.i.d. JS': iid, 'sim. JS': sim,
    'i.i.d. - floor': iid - value('i.i.d.', JS, 'floor'),
    'sim. - floor': sim - value('simulation', JS, 'floor'), 'sim. - i.i.d.': sim - iid,
    'i.i.d. PMF': value('i.i.d.', 'free-energy MSE'),
    'sim. PMF': value('simulation', 'free-energy MSE'),
    'bond W1 ratio': mean('simulation', 'bond') / mean('i.i.d.', 'bond'),
    'angle W1 ratio': mean('simulation', 'angle') / mean('i.i.d.', 'angle'),
    'P(φ > 0) i.i.d.': value('i.i.d.', 'population phi_positive'),
    'P(φ > 0) sim.': value('simulation', 'population phi_positive'),
    'kinetic [K]': value('simulation', 'kinetic temperature'),
    'configurational [K]': value('simulation', 'configurational temperature'),
    'lost': value('simulation', 'replicas lost')}


def write(folder: pathlib.Path, table: dict) -> None:
  """The table so far as Markdown and JSON, and the JS of both uses."""
  (folder / 'consistency.json').write_text(json.dumps(table, indent=2) + '\n')
  lines = ['# One energy, two uses', '', 'Mean over the training seeds ± their standard deviation.',
           '', f'| objective | seeds | {" | ".join(COLUMNS)} |',
           '|---' * (len(COLUMNS) + 2) + '|']
  lines += [f'| {name} | {len(seeds)} | {" | ".join(cells(seeds))} |'
            for name, seeds in table.items()]
  (folder / 'consistency.md').write_text('\n'.join([*lines, '', '![JS](consistency.png)', '']))
  groups = {name: {use: np.array([row[column] for row in seeds.values()])
                   for use, column in (('i.i.d.', 'i.i.d. JS'), ('simulation', 'sim. JS'))}
            for name, seeds in table.items()}
  plots.save(plots.groups(groups, y_label=JS, y_log=True), folder / 'consistency.png')
  print('\n'.join(lines), flush=True)


def cells(seeds: dict) -> list[str]:
  """One cell per column: mean, and spread where there are several seeds."""
  found = []
  for column, form in COLUMNS.items():
    values = np.array([row[column] for row in seeds.values()])
    spread = f' ± {form.replace("+", "").format(values.std(ddof=1))}' if len(values) > 1 else ''
    found.append(form.format(values.mean()) + spread)
  return found


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/consistency.py')
