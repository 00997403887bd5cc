"""How good samples and simulation are as the network grows in width and depth.

Arts et al. (2023) see the simulation at its best at an intermediate size. Leaves capacity.md, .json
and .png, and a folder for each run (`experiments.study`).
"""

import pathlib

from ml_collections import ConfigDict

from experiments import command_line, study
from twoforone import plots


def run(config: ConfigDict, workdir: str) -> dict:
  """Runs what is missing and returns run -> seed -> numbers."""
  folder = command_line.prepare_workdir(workdir, config, may_change=('seeds', 'widths', 'depths'))
  changes = {
    run_name(objective, width, depth): {**fields, 'network': {'widths': (width,) * depth}}
    for objective, fields in config.objectives.to_dict().items()
    for depth in config.depths for width in config.widths}
  return study.run_all(study.make_config(config, changes), folder,
                       lambda table: write(config, folder, table))


def run_name(objective: str, width: int, depth: int) -> str:
  """For example 'plain 3x64': three hidden layers of 64."""
  return f'{objective} {depth}x{width}'


def write(config, folder: pathlib.Path, table: dict) -> None:
  """The table so far, and JS over width for each depth, objective and use."""
  panels = {}
  for objective in config.objectives:
    lines = {f'depth {depth}': {width: run_name(objective, width, depth) for width in config.widths}
             for depth in config.depths}
    panels |= {f'{objective}, {use}': study.curves(table, lines, column)
               for use, column in study.USES.items()}
  panels = {title: named for title, named in panels.items() if named}
  study.write(folder, 'capacity', '# Width and depth\n\nHidden layers × their width.', table,
              plots.curves(panels, x_label='width', y_label=study.JS, x_log=True, y_log=True))


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/capacity.py')
