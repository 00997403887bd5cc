"""Force labels beside the noise: what they change for few and for many training frames.

The best step of a training is chosen on validation frames. Leaves forces.md, .json and .png, and a
folder for each run (`experiments.study`).
"""

import pathlib

from ml_collections import ConfigDict

from experiments import ala2, command_line, study
from twoforone import plots


def run(config: ConfigDict, workdir: str) -> dict:
  """Runs what is missing and returns run -> seed -> numbers."""
  folder = command_line.prepare_workdir(workdir, config, may_change=('seeds', 'sizes'))
  split = ala2.load_split(config.ala2)
  return study.run_all(study.make_config(config, make_changes(config)), folder,
                       lambda table: write(config, folder, table, split))


def make_changes(config: ConfigDict) -> dict[str, dict]:
  """run -> what it changes, for every number of frames and every kind of label."""
  return {run_name(label, size): {**changes.to_dict(), 'data': {'train_size': size}}
          for size in config.sizes for label, changes in config.labels.items()}


def run_name(label: str, size: int) -> str:
  """For example 'noise, 1000 frames'."""
  return f'{label}, {size or "all"} frames'


def write(config, folder: pathlib.Path, table: dict, split) -> None:
  """The table so far, and JS over the number of frames for each kind of label and use."""
  lines = {label: {size or len(split.train.x): run_name(label, size) for size in config.sizes}
           for label in config.labels}
  panels = {use: study.curves(table, lines, column) for use, column in study.USES.items()}
  heading = (f'# Forces beside the noise\n\nAll frames: {len(split.train.x):,}; held out: '
             f'{len(split.test.x):,}.')
  study.write(folder, 'forces', heading, table, plots.curves(
    panels, x_label='training frames', y_label=study.JS))


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/forces.py')
