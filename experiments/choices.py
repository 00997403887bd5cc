"""What the `consistent` objective is chosen by: its parts and its numbers, each changed alone.

All runs are scored on validation frames. Leaves choices.md, .json and .png, and a folder for each
run (`experiments.study`).
"""

import pathlib

from ml_collections import ConfigDict

from experiments import command_line, study

HEADING = ('# Choices of the objective\n\nOne thing changed in each row, all against validation '
           'frames. Mean over the training seeds ± their standard deviation.')


def run(config: ConfigDict, workdir: str) -> dict:
  """Runs what is missing and returns run -> seed -> numbers."""
  folder = command_line.prepare_workdir(workdir, config, may_change=('runs', 'seeds'))
  return study.run_all(config, folder, lambda table: write(folder, table))


def write(folder: pathlib.Path, table: dict) -> None:
  """The table so far and the JS of both uses."""
  study.write(folder, 'choices', HEADING, table, study.use_figure(table))


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/choices.py')
