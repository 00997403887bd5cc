"""The table and the figure of `experiments.compare`, written after every row."""

import json
import pathlib
import re

import numpy as np

from experiments import study
from twoforone import plots


def write(
  folder: pathlib.Path, table: dict[str, dict], columns: dict[str, str], text: tuple[str, str],
  figure: plots.Figure
) -> None:
  """compare.json, compare.md and compare.png of the rows so far; `text` is title and legend."""
  (folder / 'compare.json').write_text(json.dumps(table, indent=2) + '\n')
  found, (title, legend) = study.format_table(table, columns), text
  (folder / 'compare.md').write_text(
    f'# {title}\n\n{found}\n\n{legend}\n\n![{title}](compare.png)\n')
  plots.save(figure, folder / 'compare.png')
  print(found, flush=True)


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
