"""The report of learned steps: each criterion met or not, beside the floor of two references.

Leaves report.md, metrics.json, metrics.csv (a line per model, seed and number), chains.csv (a line
per model, seed and chain) and the figures.
"""

import csv
import math
import pathlib
from collections.abc import Collection, Mapping, Sequence

from experiments import study
from experiments.criteria_time_integrated import (
  CRITERIA,
  LEGEND,
  Seeds,
  column,
  criteria_table,
  preconditions,
  verdict,
)
from experiments.score_time_integrated import (
  STRETCH,
  Measured,
  collision_excess,
  floor,
  short_dynamics,
  soundness,
)
from experiments.summary_time_integrated import Reference, Summary
from twoforone import plots
from twoforone.trajectory import write_json

COSTS = {'NLL': '{:.3f}', 'training [s]': '{:.0f}', 'rollout [s]': '{:.1f}', 'speed': '{:.1f}',
         'speed, long chain': '{:.1f}', 'fine Rg² r2': '{:.4f}', 'fine Rg² r2, constant': '{:.4f}',
         'fine Rg² error': '{:.3f}', 'fine Rg² error, constant': '{:.3f}'}
COSTS_LEGEND = (
  'NLL: -ln p of a test step per coordinate. Speed: time covered per second over that of the same '
  'molecular dynamics, timed in turn on one device; the long chain has weights trained on shorter '
  'ones, which changes nothing of the cost. Fine Rg²: that of the particles, by the head from the '
  'beads, and without a network, as Rg² of the beads plus one constant of the training data; r2 is '
  'of its mean over a rollout against the replicas, over chains; the error, root mean square, is '
  'of single frames of replica A.')


def write(
  folder: pathlib.Path, table: dict[str, Seeds], costs: dict[str, dict[int, dict[str, float]]],
  summaries: dict[str, dict[int, Summary]], reference: Reference,
  figures: Mapping[str, tuple[str, plots.Figure]], notes: Sequence[str] = (),
  *, baselines: Mapping[str, str], refined: Collection[str]
) -> pathlib.Path:
  """Writes everything into the folder; returns report.md.

  Args:
    table: model -> seed -> numbers of `score_time_integrated.score`.
    costs: model -> seed -> the columns of COSTS and 'turning'. One that is absent is left empty.
    summaries: model -> seed -> what the scores were made of.
    figures: file name without suffix -> (caption, figure).
    notes: paragraphs above the tables.
    baselines: model -> the one it must beat.
    refined: models whose speed is not judged.
  """
  folder.mkdir(parents=True, exist_ok=True)
  for name, (_, figure) in figures.items():
    plots.save(figure, folder / f'{name}.png')
  known = {'floor': floor(reference), 'short MD': short_dynamics(reference)}
  limits, chains = known['floor'], len(reference.size)
  table = add_costs(table, costs, baselines, refined, chains)
  verdicts = {name: {key: verdict(criterion, column(seeds, key), chains)
                     for key, criterion in CRITERIA.items()} for name, seeds in table.items()}
  _write_numbers(folder, table, known, verdicts, costs)
  rows = chain_rows(summaries, reference)
  _write_csv(folder / 'chains.csv', rows)
  sections = [
    '# Learned steps of unseen polymers', *notes, *preconditions(limits, chains), *unsound(rows),
    criteria_table(table, known, verdicts, chains), LEGEND, study.format_table(costs, COSTS),
    COSTS_LEGEND,
    *(f'![{caption}]({name}.png)\n\n{caption}' for name, (caption, _) in figures.items())]
  path = folder / 'report.md'
  path.write_text('\n\n'.join(sections) + '\n')
  return path


def add_costs(
  table: dict[str, Seeds], costs: dict[str, dict[int, dict[str, float]]],
  baselines: Mapping[str, str], refined: Collection[str], chains: int
) -> dict[str, Seeds]:
  """The table with the numbers of P10 to P12, as far as they are known; arguments: see `write`."""
  def beyond(name, seed):
    own, other = costs[name][seed], costs.get(baselines.get(name), {}).get(seed)
    found = {key: own.get(key, math.nan) for key in ('turning', 'speed', 'speed, long chain')
             if key == 'turning' or name not in refined}
    if other is not None:
      found['NLL gain'] = other.get('NLL', math.nan) - own.get('NLL', math.nan)
    return {key: Measured(value, chains) for key, value in found.items() if math.isfinite(value)}

  def gains(name, seed):
    other = table.get(baselines.get(name), {}).get(seed)
    pairs = {key: (table[name][seed][key], other[key])
             for key in ('radius r2', 'log tau r2', 'tau r2')} if other else {}
    return {f'{key} gain': Measured(a.value - b.value, min(a.chains, b.chains))
            for key, (a, b) in pairs.items()}

  return {name: {seed: numbers | beyond(name, seed) | gains(name, seed)
                 for seed, numbers in seeds.items()} for name, seeds in table.items()}


def chain_rows(
  summaries: dict[str, dict[int, Summary]], reference: Reference
) -> list[dict[str, float | str]]:
  """A line per model, seed and chain; replica A is held against B, all others against A."""
  first, second = reference.replicas
  sets = [('replica A', 0, first, second), ('replica B', 0, second, first)]
  sets += [(name, seed, found, first) for name, seeds in summaries.items()
           for seed, found in seeds.items()]
  rows = []
  for name, seed, found, other in sets:
    excess = collision_excess(found, other)
    for c, record in enumerate(soundness(found, other)):
      rows.append({
        'model': name, 'seed': seed, 'chain': c, 'particles': float(reference.size[c]),
        **record._asdict(), 'mean Rg2': float(found.radius[:, c].mean()),
        **dict(zip(('tau', 'integrated tau', 'fitted tau'), map(float, found.times[:, c]),
                   strict=True)),
        'end-to-end tau': float(found.ends[c]), 'collision excess': float(excess[c]),
        'bond mean': float(found.bonds[0, c]), 'bond sd': float(found.bonds[1, c]),
        'D': float(found.diffusion[c]), 'exact D': float(reference.diffusion[c])})
  return rows


def unsound(rows: list[dict]) -> list[str]:
  """A paragraph for each run with chains that were lost or stretched, which names them."""
  runs = {}
  for row in rows:
    if row['finite'] < row['frames'] or row['stretched']:
      runs.setdefault((row['model'], row['seed']), []).append(
        f'{row["chain"]} ({row["finite"]} of {row["frames"]} frames finite, {row["stretched"]} '
        f'with a bond over {STRETCH:g} q)')
  return [f'Not sound, {model}, seed {seed}: chain {"; chain ".join(found)}.'
          for (model, seed), found in runs.items()]


def _write_numbers(folder, table, known, verdicts, costs) -> None:
  numbers = {
    **{name: {key: m._asdict() for key, m in row.items()} for name, row in known.items()},
    'models': {name: {seed: {key: m._asdict() for key, m in row.items()}
                      for seed, row in seeds.items()} for name, seeds in table.items()},
    'verdicts': verdicts, 'costs': costs}
  write_json(folder / 'metrics.json', numbers, ensure_ascii=False)
  _write_csv(folder / 'metrics.csv', [
    {'model': name, 'seed': seed, 'id': CRITERIA[key].id, 'number': key, **m._asdict(),
     **{column: numbers[key].value if key in numbers else '' for column, numbers in known.items()},
     'verdict over seeds': verdicts[name][key]}
    for name, seeds in table.items() for seed, row in seeds.items() for key, m in row.items()])


def _write_csv(path: pathlib.Path, rows: list[dict]) -> None:
  with open(path, 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
