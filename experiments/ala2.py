"""Two for one on alanine dipeptide: one network, i.i.d. samples and a simulation.

Leaves in `workdir`: config.json, model/ (metrics.csv, checkpoints with card), samples/,
simulation/, trajectory.xtc with .pdb, report.md, metrics.json, metrics.csv and the plots. Run the
same command again after an interruption: every stage goes on where it stopped.
"""

from ml_collections import ConfigDict

from experiments import command_line, report, report_ala2, stages
from experiments.models import pick
from twoforone.datasets import ala2, dataset, frames


def run(config: ConfigDict, workdir: str) -> list[report.Row]:
  """Trains (or loads), samples, simulates and evaluates; returns the rows of the report."""
  stages.check_alone()
  system = ala2.ala2_system()
  stages.check_config(config, system)
  folder = command_line.prepare_workdir(workdir, config, may_change=stages.EXTENDABLE)
  split = load_split(config)
  samples, x, info, lost = stages.make_frames(config, split, system, folder)
  rows = report_ala2.write_results(config, folder, split, samples, x, info, lost)
  print(f'report: {folder / "report.md"}')
  return rows


def load_data(config: ConfigDict) -> dataset.Dataset:
  """The data of `config.data`, all runs."""
  data = config.data
  if not data.path:
    return ala2.load_ala2()
  if data.layout == 'fu_berlin':
    return ala2.load_fu_berlin(data.path, interval=data.interval)
  return frames.load_frames(
    data.path, ala2.ala2_system(), forces_path=data.forces_path or None,
    length_unit=data.length_unit, force_unit=data.force_unit, num_runs=data.num_runs,
    interval=data.interval)


def load_split(config: ConfigDict) -> dataset.Split:
  """The data of `config.data`, one run held out."""
  return split_data(config, load_data(config))


def split_data(config: ConfigDict, loaded: dataset.Dataset) -> dataset.Split:
  """One run held out, as `config.data` says, or the validation frames in its place."""
  data = config.data
  split = pick('data.split', data.split, {
    'runs': lambda: dataset.split_fold(
      loaded, data.fold, validation_fraction=data.validation_fraction),
    'published': lambda: dataset.split_shuffled(
      loaded, data.fold, config.seed, validation_fraction=data.validation_fraction)})()
  if data.train_size:
    split = split._replace(train=dataset.subset(split.train, data.train_size, config.seed))
  return pick('data.scored_on', data.scored_on, {
    'held_out': lambda: split,
    'validation': lambda: split._replace(test=split.validation)})()


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/ala2.py')
