"""The report of the Müller-Brown study: table, maps, residuals and spreads."""

import csv
import pathlib

import numpy as np

from experiments import markdown
from experiments.toy_objectives import TERMS
from experiments.toy_scores import World
from twoforone import maps, plots
from twoforone.trajectory import write_json

GATE = {'js': 0.002, 'force_error': 0.02, 'basin': 0.01, 'cpu_minutes': 10.0}
COLUMNS = {
  'objective': '{}', 'JS': '{}', 'force error [%]': '{}', 'PMF variance [kT²]': '{}',
  'upper-left basin': '{}', 'validation nll': '{}', 'MFLOP per step': '{:.0f}',
  'ms per step': '{:.1f}', 'of the cheapest': '{:.2f}', 'CPU min': '{:.1f}', 'gate': '{}'}


def write(config, folder: pathlib.Path, world: World, results: list[dict]) -> None:
  """Writes results.json, results.csv, the figures and report.md."""
  write_json(folder / 'results.json', results)
  rows = table_rows(results, world)
  with open(folder / 'results.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows(row.values() for row in rows)
  figures = make_figures(config, folder, world, results)
  for name, (_, figure) in figures.items():
    plots.save(figure, folder / f'{name}.png')
  sections = ['# Müller-Brown', *notes(config, world), table(rows)]
  sections += [f'![{text}]({name}.png)\n\n{text}' for name, (text, _) in figures.items()]
  (folder / 'report.md').write_text('\n\n'.join(sections) + '\n')
  print(f'report: {folder / "report.md"}')


def notes(config, world: World) -> list[str]:
  """What the numbers are, and what the exact density would score."""
  exact = float(world.density.probability[world.basin].sum())
  return [
    f'{config.num_seeds} seeds (mean ± standard deviation), each on its own '
    f'{config.data.train:,} exact draws at kT = 23; {config.train.num_steps:,} steps of '
    f'{config.train.batch_size}. exp(-energy) at t = 1e-5 against the exact density on '
    f'{config.score.bins}² cells, no simulation. Exact upper-left basin: {exact:.4f}; validation '
    f'nll of the exact density: {world.validation_nll:.4f} (nats per draw; what is above it is '
    'the divergence KL, measured on validation draws alone). Cost is of one seed; steps of all '
    'objectives were timed in turn, CPU minutes one training after the other. Gate: JS ≤ '
    f'{GATE["js"]}, force error ≤ {100 * GATE["force_error"]:.0f} %, basin within '
    f'{GATE["basin"]}, under {GATE["cpu_minutes"]:.0f} CPU minutes.',
    '\n'.join(f'- `{name}`: {text}' for name, text in TERMS.items())]


def table_rows(results: list[dict], world: World) -> list[dict]:
  """The cells of every objective, by column; None for a time that was not taken in turn."""
  least = min((result['ms_in_turn'] for result in results if 'ms_in_turn' in result), default=None)
  return [table_row(result, world, least) for result in results]


def table_row(result: dict, world: World, least: float | None) -> dict:
  """One objective's cells; `least` is the step time of the cheapest [ms]."""
  exact = world.density.probability[world.basin].sum()
  passed = ((np.array(result['js']) <= GATE['js'])
            & (np.array(result['force_error']) <= GATE['force_error'])
            & (np.abs(np.array(result['basin']) - exact) <= GATE['basin'])
            & (result['cpu_seconds'] / 60 <= GATE['cpu_minutes']))
  step = result.get('ms_in_turn')  # not in the rows of older runs
  return dict(zip(COLUMNS, (
    result['objective'], spread(result['js'], 5), spread(100 * np.array(result['force_error']), 2),
    spread(result['pmf_variance'], 4), spread(result['basin'], 4),
    spread(result['validation_nll'], 4), result['mflop_per_step'], step,
    step and step / least, result['cpu_seconds'] / 60,
    f'{passed.sum()} of {len(passed)} seeds pass'),
    strict=True))


def spread(values, digits: int) -> str:
  """Mean ± standard deviation over seeds."""
  values = np.asarray(values)
  error = values.std(ddof=1) if len(values) > 1 else 0.0
  return f'{values.mean():.{digits}f} ± {error:.{digits}f}'


def table(rows: list[dict]) -> str:
  return markdown.table(COLUMNS, (
    ['' if row[name] is None else form.format(row[name]) for name, form in COLUMNS.items()]
    for row in rows))


def summary(result: dict) -> str:
  """One line for the terminal."""
  return (f'{result["objective"]}: JS {spread(result["js"], 5)}, force error '
          f'{spread(result["force_error"], 4)}, basin {spread(result["basin"], 4)}, '
          f'{result["cpu_seconds"] / 60:.1f} CPU minutes')


def make_figures(config, folder, world: World, results) -> dict[str, tuple[str, plots.Figure]]:
  """File name -> (caption, figure)."""
  density = world.density
  free = {'exact': -np.log(np.maximum(density.probability / density.probability.max(), 1e-300))}
  for result in results:
    with np.load(folder / 'objectives' / f'{result["objective"]}.npz') as stored:
      free[result['objective']] = stored['free_energy']
  bars = {result['objective']: {'JS': np.array(result['js'])} for result in results}
  residuals = {
    f'residual_{family}': (
      f'Fokker-Planck residual of the objectives that begin with `{family}`, rms / D on validation '
      'draws, its mean over them removed: how far the energy is from moving with the noise as a '
      'density must.', residual_figure(config, results, family))
    for family in dict.fromkeys(result['objective'].split('+')[0] for result in results)}
  return {
    'maps': ('Free energy of the first seed [kT] at t = 1e-5.',
             maps.free_energy_maps(free, density.x, density.y, highest=8.0)),
    'js': ('JS of each seed and their mean.', plots.groups(bars, y_label='JS', y_log=True)),
    **residuals}


def residual_figure(config, results: list[dict], family: str) -> plots.Figure:
  """Residual over sigma, mean over seeds with its standard error, of 'family+...'."""
  named = {}
  for result in results:
    first, *rest = result['objective'].split('+')
    if first == family:
      values = np.array(result['residual'])
      error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
      named['+'.join(rest) or 'alone'] = plots.Curve(
        np.array(config.score.sigmas), values.mean(axis=0), error)
  return plots.curves({family: named}, x_label='sigma', y_label='residual / D', x_log=True,
                      y_log=True)
