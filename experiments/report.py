"""Writes what a run found: report.md with table and figures, metrics.json, metrics.csv."""

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments import markdown
from twoforone import plots
from twoforone.trajectory import write_json

TO_TRAINING = 'to the training frames'  # in the name of a metric
LEGEND = {  # column -> what it is; absent where no row has it
  'floor': 'the same metric between the training runs, as many frames, and the held-out run',
  'halves': 'between the two halves of the held-out run',
  'counting': 'between multinomial draws of its histogram, a lower bound',
  'reference': 'the value of the held-out run'}
LEGEND_TO_TRAINING = (
  f'Floor of a distance {TO_TRAINING}: of as many frames drawn from them independently, with '
  'replacement; that is what i.i.d. frames are from them by chance, frames of a trajectory are '
  'further.')


class Row(NamedTuple):
  """One number of the report.

  Attributes:
    sample: the set it is about.
    metric, value, unit: what it is.
    error: its standard error, where there is one.
    floor: the same metric of the training runs, as many frames, against the held-out run, or of
      as many draws from the training frames against these.
    halves: of the first half of the held-out run against the second (half the frames).
    counting: of multinomial draws of the held-out histogram at the same counts.
    reference: the value of the held-out run, where the metric is not a distance to it.
    frames, floor_frames: frames of the set and of the draw behind `floor`.
  """

  sample: str
  metric: str
  value: float
  unit: str = ''
  error: float | None = None
  floor: float | None = None
  halves: float | None = None
  counting: float | None = None
  reference: float | None = None
  frames: int | None = None
  floor_frames: int | None = None


def write_report(
  workdir: pathlib.Path, title: str, rows: Sequence[Row],
  figures: Mapping[str, tuple[str, plots.Figure]], notes: Sequence[str] = ()
) -> pathlib.Path:
  """Writes the report, its figures and its numbers into `workdir`; returns report.md.

  Args:
    rows: grouped by `sample` in the order given.
    figures: file name without suffix -> (caption, figure).
    notes: paragraphs above the tables.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  for name, (_, figure) in figures.items():
    plots.save(figure, workdir / f'{name}.png')
  numbers = {'title': title, 'notes': list(notes), 'rows': [row._asdict() for row in rows]}
  write_json(workdir / 'metrics.json', numbers, ensure_ascii=False)
  with open(workdir / 'metrics.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(Row._fields)
    writer.writerows(rows)
  columns = [name for name in LEGEND if any(getattr(row, name) is not None for row in rows)]
  sections = [f'# {title}', *notes]
  for sample in dict.fromkeys(row.sample for row in rows):
    sections += _section(sample, [row for row in rows if row.sample == sample], columns)
  sections += _legend(rows, columns)
  sections += [f'![{caption}]({name}.png)\n\n{caption}' for name, (caption, _) in figures.items()]
  path = workdir / 'report.md'
  path.write_text('\n\n'.join(sections) + '\n')
  return path


def _legend(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
  return [f'{"; ".join(f"{name}: {LEGEND[name]}" for name in columns)}.'] * bool(columns) + [
    LEGEND_TO_TRAINING] * any(TO_TRAINING in row.metric for row in rows)


def _section(sample: str, rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
  frames = max((row.frames or 0 for row in rows), default=0)
  floors = sorted({row.floor_frames for row in rows if row.floor_frames})
  counts = [f'{frames:,} frames'] * bool(frames) + [
    f'floor from {" or ".join(f"{count:,}" for count in floors)} frames'] * bool(floors)
  cells = [_cells(row, columns) for row in rows]
  return [f'## {sample}', '; '.join(counts),
          markdown.table(cells[0], (row.values() for row in cells))]


def _cells(row: Row, columns: Sequence[str]) -> dict[str, str]:
  cells = {'metric': row.metric, 'unit': row.unit, 'value': _number(row.value)}
  if row.error is not None:
    cells['value'] += f' ± {_number(row.error)}'
  for name in columns:
    cells[name] = _number(getattr(row, name))
    if name == 'floor':
      cells['value / floor'] = f'{row.value / row.floor:.2f}' if row.floor else ''
  return cells


def _number(value: float | None) -> str:
  return '' if value is None else f'{value:.3g}' if abs(value) < 1000 else f'{value:.1f}'
