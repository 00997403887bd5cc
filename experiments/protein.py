"""Any molecule in: its trajectories, a model, i.i.d. samples, a simulation and a report.

Leaves in `workdir`: config.json, model/, samples/, simulation/, trajectory.xtc and samples.xtc with
their .pdb, report.md, metrics.json, metrics.csv and the plots. Run the same command again after an
interruption: every stage goes on where it stopped.
"""

from ml_collections import ConfigDict

from experiments import command_line, milestones, molecules, report, report_protein, stages


def run(config: ConfigDict, workdir: str) -> list[report.Row]:
  """Trains (or loads), samples, simulates and evaluates; returns the rows of the report."""
  stages.check_alone()
  found = molecules.load(config)
  system = found.data.system
  config.simulate.temperature = config.simulate.temperature or system.temperature
  stages.check_config(config, system)
  folder = command_line.prepare_workdir(workdir, config, may_change=(
    *stages.EXTENDABLE, 'data.native', *(f'evaluation.{name}' for name in config.evaluation)))
  split, make_feed = molecules.divide(config, found)
  view = report_protein.make_view(config, found.data, found.native)
  samples, x, info, lost = stages.make_frames(
    config, split, system, folder, milestones.pair_js, make_feed)
  rows = report_protein.write_results(
    config, folder, found.data, split, view, samples, x, info, lost)
  print(f'report: {folder / "report.md"}')
  return rows


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/protein.py')
