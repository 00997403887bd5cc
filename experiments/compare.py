"""Every method on one system: the same data, the same scores, one table.

Leaves in `workdir`: rows/ (a .json and an .npz for each method and seed, written as it finishes, so
that a killed run goes on with the next), runs/ (trainings and simulations that are long enough to
be taken up again), compare.json, compare.md and its figures: compare.png and those of the study of
Boltzmann generators as coarse-grained models, drawn from the rows (figure_1 of the double well,
figure_2 of Müller, figure_3 of alanine).
"""

import json
import pathlib

import numpy as np
from ml_collections import ConfigDict

from experiments import (
  ala2_contest,
  command_line,
  criteria_compare,
  report_compare,
  toy_contest,
)
from experiments.models import pick
from twoforone.trajectory import write_atomically, write_json

CONTESTS = {'double_well': toy_contest, 'mueller': toy_contest, 'ala2': ala2_contest}


def run(config: ConfigDict, workdir: str) -> dict[str, dict]:
  """Makes what is missing, seed by seed; returns method -> seed -> numbers."""
  contest = pick('system', config.system, CONTESTS)
  for name in config.methods:
    pick('methods', name, contest.METHODS)
  folder = command_line.prepare_workdir(workdir, config, may_change=('methods', 'seeds'))
  table, last = {}, (config.seeds[-1], config.methods[-1])
  for seed in config.seeds:
    world = contest.make_world(config, seed)
    for name in config.methods:
      is_new = not report_compare.row_path(folder, name, seed).exists()
      table.setdefault(name, {})[seed] = run_one(config, contest, world, name, seed, folder)
      if is_new or (seed, name) == last:
        title, legend = contest.describe(config, world)
        report_compare.write(
          folder, table, contest.COLUMNS,
          (title, f'{legend}\n\n{criteria_compare.judge(config.system, table)}'),
          contest.draw(config, world, report_compare.read_arrays(folder, table)))
  return table


def run_one(
  config: ConfigDict, contest, world, name: str, seed: int, folder: pathlib.Path
) -> dict[str, float]:
  """The numbers of one method and seed, made now or found in the folder."""
  path = report_compare.row_path(folder, name, seed)
  if not path.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers, arrays = contest.run_method(
      config, world, name, seed, folder / 'runs' / path.stem)
    write_atomically(path.with_suffix('.npz'), lambda file: np.savez(file, **arrays))
    write_json(path, numbers)
  return json.loads(path.read_text())


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/compare.py')
