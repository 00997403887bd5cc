"""Writes what a run found: report.md with table and figures, metrics.json, metrics.csv."""

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from twoforone import plots
from twoforone.trajectory import write_json

HEADER = ('metric', 'unit', 'value', 'floor', 'value / floor', 'halves', 'counting', 'reference')
LEGEND = (
  'floor: the same metric between the training runs, as many frames, and the held-out run; '
  'halves: between the two halves of the held-out run; counting: between multinomial draws of '
  'its histogram, a lower bound.')


class Row(NamedTuple):
  """One number of the report.

  Attributes:
    sample: the set it is about.
    metric, value, unit: what it is.
    error: its standard error, where there is one.
    floor: the same metric of the training runs, as many frames, against the held-out run.
    halves: of the first half of the held-out run against the second (half the frames).
    counting: of multinomial draws of the held-out histogram at the same counts.
    reference: the value of the held-out run, where the metric is not a distance.
    frames, floor_frames: frames of the set and of the training draw behind `floor`.
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
  sections = [f'# {title}', *notes]
  for sample in dict.fromkeys(row.sample for row in rows):
    sections += _section(sample, [row for row in rows if row.sample == sample])
  sections += [LEGEND]
  sections += [f'![{caption}]({name}.png)\n\n{caption}' for name, (caption, _) in figures.items()]
  path = workdir / 'report.md'
  path.write_text('\n\n'.join(sections) + '\n')
  return path


def _section(sample: str, rows: Sequence[Row]) -> list[str]:
  frames = max((row.frames or 0 for row in rows), default=0)
  floor_frames = max((row.floor_frames or 0 for row in rows), default=0)
  counts = [f'{frames:,} frames'] * bool(frames) + [
    f'floor from {floor_frames:,} frames'] * bool(floor_frames)
  table = [HEADER, ('---',) * len(HEADER), *map(_cells, rows)]
  return [f'## {sample}', '; '.join(counts),
          '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in table)]


def _cells(row: Row) -> tuple[str, ...]:
  value = _number(row.value) + (f' ± {_number(row.error)}' if row.error is not None else '')
  ratio = row.value / row.floor if row.floor else None
  return (row.metric, row.unit, value, _number(row.floor), f'{ratio:.2f}' if ratio else '',
          _number(row.halves), _number(row.counting), _number(row.reference))


def _number(value: float | None) -> str:
  return '' if value is None else f'{value:.3g}' if abs(value) < 1000 else f'{value:.1f}'
