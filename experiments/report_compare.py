"""The table and the figures of `experiments.compare`, written after every row."""

import pathlib
import re

import numpy as np

from experiments import study
from twoforone import plots
from twoforone.trajectory import write_json


def write(
  folder: pathlib.Path, table: dict[str, dict], columns: dict[str, str], text: tuple[str, str],
  figures: dict[str, plots.Figure]
) -> None:
  """compare.json, compare.md and a .png for each figure; `text` is title and legend."""
  write_json(folder / 'compare.json', table)
  found, (title, legend) = study.format_table(table, columns), text
  shown = '\n\n'.join(f'![{name}]({name}.png)' for name in figures)
  (folder / 'compare.md').write_text('\n\n'.join(
    [f'# {title}', found, legend, *further_numbers(table, columns), shown]) + '\n')
  for name, figure in figures.items():
    plots.save(figure, folder / f'{name}.png')
  print(found, flush=True)


def further_numbers(table: dict[str, dict], columns: dict[str, str]) -> list[str]:
  """A line for each method that has numbers beside the columns; nothing where none has."""
  lines = []
  for name, seeds in table.items():
    keys = dict.fromkeys(key for row in seeds.values() for key in row if key not in columns)
    numbers = {key: study.cell(study.values(seeds, key), '{:.3g}') for key in keys}
    shown = ', '.join(f'{key} {number}' for key, number in numbers.items() if number)
    lines += [f'- {name}: {shown}'] if shown else []
  return ['Further numbers of single methods:', '\n'.join(lines)] if lines else []


def read_arrays(folder: pathlib.Path, table: dict[str, dict]) -> dict[str, dict[str, np.ndarray]]:
  """Method -> the arrays of its first seed."""
  found = {}
  for name, seeds in table.items():
    with np.load(row_path(folder, name, min(seeds)).with_suffix('.npz')) as arrays:
      found[name] = dict(arrays)
  return found


def row_path(folder: pathlib.Path, name: str, seed: int) -> pathlib.Path:
  """Of a row's numbers; its arrays lie beside it as .npz."""
  slug = re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')
  return folder / 'rows' / f'{slug}_{seed}.json'
