"""A study: runs of `experiments.ala2` that differ in a few fields, each with several seeds.

Every run has its folder `<name>/seed_<k>` and is scored against the held-out run. Finished runs are
read, not repeated, so a study that was stopped goes on. Processes with different runs or seeds can
share a folder, but nothing keeps two out of one run, and the table is of the rows of the last to
write it until the study is started with all.
"""

import json
import pathlib
from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict

from experiments import ala2, markdown, training
from twoforone import plots
from twoforone.trajectory import write_json

JS, PMF = 'JS(φ, ψ) 60×60', 'free-energy MSE'
USES = {'i.i.d.': 'i.i.d. JS', 'simulation': 'sim. JS'}
COLUMNS = {
  'i.i.d. JS': '{:.4f}', 'sim. JS': '{:.4f}', 'i.i.d. - floor': '{:+.4f}',
  'sim. - floor': '{:+.4f}', 'sim. - i.i.d.': '{:+.4f}', 'i.i.d. PMF': '{:.3f}',
  'i.i.d. PMF floor': '{:.3f}', 'sim. PMF': '{:.3f}', 'sim. PMF floor': '{:.3f}',
  'bond W1 ratio': '{:.2f}', 'sim. bond W1 [Å]': '{:.4f}',
  'angle W1 ratio': '{:.2f}', 'P(φ > 0) i.i.d.': '{:.4f}', 'P(φ > 0) sim.': '{:.4f}',
  'kinetic [K]': '{:.1f}', 'configurational [K]': '{:.1f}', 'lost': '{:.0f}',
  'validation loss': '{:.4f}', 'training [s]': '{:.0f}'}
# Of the columns whose name, a key of the JSON, does not say it.
UNITS = {name: '(kcal/mol)²' for name in COLUMNS if 'PMF' in name}


def run_all(config: ConfigDict, folder: pathlib.Path, write) -> dict[str, dict]:
  """Makes what is missing, seed by seed; returns name -> seed -> numbers.

  Args:
    config: `runs` and `seeds` to make; `ala2`, the config they share; `changes`, name -> the fields
      that a run changes. A run that `reads` another takes that one's weights, one that `starts`
      from another trains on from them.
    folder: of the study.
    write: called with the table after each run.

  Raises:
    ValueError: for a run that `changes` does not name.
  """
  for name in config.runs:
    configure(config, name, 0, folder)
  table = {}
  for seed in config.seeds:
    for name in config.runs:
      table.setdefault(name, {})[seed] = run_one(config, name, seed, folder)
      write(table)
  return table


def make_config(config: ConfigDict, changes: dict[str, dict]) -> ConfigDict:
  """What `run_all` needs, for the runs that `changes` describes."""
  return ConfigDict({'runs': tuple(changes), 'changes': changes, 'seeds': config.seeds,
                     'ala2': config.ala2}, convert_dict=True)


def run_one(config: ConfigDict, name: str, seed: int, folder: pathlib.Path) -> dict[str, float]:
  """The numbers of one run, made now or found in its folder."""
  own = folder / name / f'seed_{seed}'
  if not (own / 'metrics.json').exists():
    ala2.run(configure(config, name, seed, folder), str(own))
  rows = json.loads((own / 'metrics.json').read_text())['rows']
  trained = source(config, name)
  costs = training_cost(model_folder(folder, trained, seed))
  while trained := config.changes[trained].get('starts', ''):
    costs['training [s]'] += training_cost(model_folder(folder, trained, seed))['training [s]']
  return summarise(rows) | costs


def configure(config: ConfigDict, name: str, seed: int, folder: pathlib.Path) -> ConfigDict:
  """The config of one run of `experiments.ala2`."""
  if name not in config.changes:
    raise ValueError(f'runs: found {name!r}, expected some of {sorted(config.changes)}')
  chosen = config.ala2.copy_and_resolve_references()
  changes = config.changes[name].to_dict()
  if changes.pop('reads', ''):
    chosen.pretrained = str(model_folder(folder, source(config, name), seed) / 'best')
  if other := changes.pop('starts', ''):
    chosen.train.start = str(model_folder(folder, other, seed) / 'best')
  chosen.update(changes)
  chosen.seed = seed
  return chosen


def source(config: ConfigDict, name: str) -> str:
  """The run whose weights a run uses: mostly its own."""
  return config.changes[name].get('reads', name)


def model_folder(folder: pathlib.Path, name: str, seed: int) -> pathlib.Path:
  """Where the training of a run leaves its model."""
  return folder / name / f'seed_{seed}' / 'model'


def training_cost(model: pathlib.Path) -> dict[str, float]:
  """Seconds of the training without validations, and its best validation loss.

  The first chunk, which compiles, is left out; those of a second phase and of a training taken up
  again, which compile too, are not.
  """
  rows = training.read_metrics(model / 'metrics.csv')
  size = rows[1]['step'] - rows[0]['step'] if len(rows) > 1 else rows[0]['step']
  losses = [row['validation_loss'] for row in rows if row.get('validation_loss') is not None]
  return {'training [s]': sum(size / row['steps_per_second'] for row in rows[1:]),
          'validation loss': min(losses, default=float('nan'))}


def look_up(rows: list[dict]) -> Callable[..., float]:
  """value(sample, metric, field='value') of the rows of a report, NaN where there is none."""
  values = {(row['sample'], row['metric']): row for row in rows}

  def value(sample, metric, field='value'):
    found = values.get((sample, metric), {}).get(field)
    return float('nan') if found is None else found

  return value


def summarise(rows: list[dict]) -> dict[str, float]:
  """The columns of the table from the rows of one report."""
  value = look_up(rows)

  def mean(sample, kind):
    found = [row['value'] for row in rows
             if row['sample'] == sample and row['metric'].startswith(f'W1 {kind}')]
    return float(np.mean(found)) if found else float('nan')

  iid, sim = (value(sample, JS) for sample in ('i.i.d.', 'simulation'))
  return {
    'i.i.d. JS': iid, 'sim. JS': sim,
    'i.i.d. - floor': iid - value('i.i.d.', JS, 'floor'),
    'sim. - floor': sim - value('simulation', JS, 'floor'), 'sim. - i.i.d.': sim - iid,
    'i.i.d. PMF': value('i.i.d.', PMF), 'i.i.d. PMF floor': value('i.i.d.', PMF, 'floor'),
    'sim. PMF': value('simulation', PMF), 'sim. PMF floor': value('simulation', PMF, 'floor'),
    'bond W1 ratio': mean('simulation', 'bond') / mean('i.i.d.', 'bond'),
    'sim. bond W1 [Å]': mean('simulation', 'bond'),
    'angle W1 ratio': mean('simulation', 'angle') / mean('i.i.d.', 'angle'),
    'P(φ > 0) i.i.d.': value('i.i.d.', 'population phi_positive'),
    'P(φ > 0) sim.': value('simulation', 'population phi_positive'),
    'kinetic [K]': value('simulation', 'kinetic temperature'),
    'configurational [K]': value('simulation', 'configurational temperature'),
    'lost': value('simulation', 'replicas lost'),
    'i.i.d. floor': value('i.i.d.', JS, 'floor'), 'sim. floor': value('simulation', JS, 'floor')}


def format_table(table: dict[str, dict], columns: dict[str, str] = COLUMNS) -> str:
  """Markdown: a line for each run, mean ± standard deviation over its seeds."""
  titles = (f'{name} [{UNITS[name]}]' if name in UNITS else name for name in columns)
  return markdown.table(('run', 'seeds', *titles), [
    (name, str(len(seeds)), *(cell(values(seeds, column), form)
                              for column, form in columns.items()))
    for name, seeds in table.items()])


def write(
  folder: pathlib.Path, name: str, heading: str, table: dict, figure,
  columns: dict[str, str] = COLUMNS
) -> None:
  """The table so far as `<name>`.json and .md, under a heading and with a figure."""
  write_json(folder / f'{name}.json', table)
  text = format_table(table, columns)
  (folder / f'{name}.md').write_text(f'{heading}\n\n{text}\n\n![JS]({name}.png)\n')
  plots.save(figure, folder / f'{name}.png')
  print(text, flush=True)


def values(seeds: dict[int, dict], column: str) -> np.ndarray:
  """One value per seed, nan where a row has none."""
  return np.array([row.get(column, float('nan')) for row in seeds.values()])


def use_figure(table: dict[str, dict]) -> plots.Figure:
  """The JS of both uses of every run, a point for each seed."""
  groups = {name: {use: values(seeds, column) for use, column in USES.items()}
            for name, seeds in table.items()}
  return plots.groups(groups, y_label=JS, y_log=True)


def curves(table: dict, lines: dict[str, dict[float, str]], column: str) -> dict[str, plots.Curve]:
  """A column over the x of `lines`, label -> x -> name of a run, as far as the runs are done."""
  found = {}
  for label, names in lines.items():
    done = {x: values(table[name], column) for x, name in names.items() if name in table}
    if done:
      y = [numbers.mean() for numbers in done.values()]
      error = [numbers.std(ddof=1) if len(numbers) > 1 else 0.0 for numbers in done.values()]
      found[label] = plots.Curve(np.array(list(done)), np.array(y), np.array(error))
  return found


def cell(found: np.ndarray, form: str) -> str:
  """Mean ± standard deviation of the numbers that there are, and of how many if some are NaN."""
  numbers = found[~np.isnan(found)]
  if len(numbers) == 0:
    return ''
  spread = f' ± {form.replace("+", "").format(numbers.std(ddof=1))}' if len(numbers) > 1 else ''
  few = '' if len(numbers) == len(found) else f' ({len(numbers)} of {len(found)})'
  return form.format(numbers.mean()) + spread + few
