"""How many frames each method needs: samples and simulation of alanine over the number of frames.

The methods of `experiments.compare`, each trained on fewer and fewer frames and scored in the same
way. Leaves data_efficiency.md, .json and .png, and a folder of rows for each number of frames.
"""

import pathlib

import numpy as np
from ml_collections import ConfigDict

from experiments import ala2_contest, command_line, compare, study
from twoforone import plots

HEADING = """\
# Data efficiency

JS of (φ, ψ) in 60 × 60 bins against the held-out run [nat] of i.i.d. samples and of simulations
over the number of training frames (first number of a row's name). Every training is stopped at its
best of the same {validation:,} validation frames, which are not counted. Mean over the seeds ±
their standard deviation; all columns as in `experiments.compare`. The weight decay of the
diffusion models is {decay:g} / frames; `consistent` has the fitted prior here."""


def run(config: ConfigDict, workdir: str) -> dict[str, dict]:
  """Makes what is missing, seed by seed and size by size; returns row -> seed -> numbers.

  Raises:
    ValueError: for a method that trains on all atoms, whose frames are not drawn.
  """
  for name in config.compare.methods:
    if name in ala2_contest.ALL_ATOM:
      raise ValueError(f'compare.methods: found {name!r}, expected methods of beads; of all atoms '
                       'every frame of the training runs is taken')
  folder = command_line.prepare_workdir(
    workdir, config, may_change=('seeds', 'sizes', 'compare.methods'))
  table = {}
  for seed in config.seeds:
    for size in config.sizes:
      chosen = config.compare.copy_and_resolve_references()
      chosen.ala2.data.train_size = size
      world, own = ala2_contest.make_world(chosen, seed), folder / f'frames_{size or "all"}'
      chosen.ala2.train.weight_decay = config.decay / len(world.split.train.x)
      for name in chosen.methods:
        row = compare.run_one(chosen, ala2_contest, world, name, seed, own)
        table.setdefault(row_name(size, name), {})[seed] = row | {
          'frames': len(world.split.train.x)}
        write(config, folder, table, len(world.split.validation.x))
  return table


def row_name(size: int, method: str) -> str:
  """For example '1000: CGNet'."""
  return f'{size or "all"}: {method}'


def write(config, folder: pathlib.Path, table: dict, validation: int) -> None:
  """The table so far, and JS over the number of frames for each method and use."""
  lines = {}
  for name in config.compare.methods:
    rows = [row_name(size, name) for size in config.sizes]
    lines[name] = {next(iter(table[row].values()))['frames']: row for row in rows if row in table}
  panels = {use: study.curves(table, lines, column) | floor(table, lines, column)
            for use, column in study.USES.items()}
  panels = {use: named for use, named in panels.items()  # nothing to draw at first
            if any(np.isfinite(curve.y).any() for curve in named.values())}
  figure = plots.curves(
    panels, x_label='training frames', y_label=study.JS, x_log=True, y_log=True)
  study.write(folder, 'data_efficiency', HEADING.format(
    validation=validation, decay=config.decay), table, figure, ala2_contest.COLUMNS)


def floor(table: dict, lines: dict[str, dict[int, str]], column: str) -> dict[str, plots.Curve]:
  """The JS of the training frames themselves, of the first method that was scored in this use."""
  floors = study.curves(table, lines, column.replace('JS', 'floor'))
  scored = [curve for curve in floors.values() if np.isfinite(curve.y).all()]
  return {'training frames themselves': scored[0]} if scored else {}


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/data_efficiency.py')
