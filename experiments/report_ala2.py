"""What a run on alanine leaves for a person: report, tables, plots, a trajectory for viewers."""

import pathlib

import numpy as np

from experiments import correcting, evaluate_ala2, figures_ala2, report, report_parts
from twoforone import trajectory
from twoforone.datasets.dataset import Split
from twoforone.simulate import BlowUp, Info
from twoforone.units import thermal_energy


def write_results(
  config, folder: pathlib.Path, split: Split, samples: np.ndarray, x: np.ndarray, info: Info,
  lost: list[BlowUp]
) -> list[report.Row]:
  """Scores both uses against the held-out run and writes everything into `folder`.

  Args:
    config: of the run.
    folder: the workdir.
    split: the data.
    samples: i.i.d. structures [F, n, 3] in nm.
    x: simulated frames [F, R, n, 3] in nm; NaN where a replica is lost.
    info: energies and virial of the same frames.
    lost: the replicas lost.
  """
  system, settings = split.test.system, config.simulate
  kT, interval = thermal_energy(system.temperature), settings.stride * settings.dt
  sets = report_parts.sound_sets(samples, x) | correcting.uncorrected(config, folder)
  runs = [split.train.x[split.train.run == k] for k in np.unique(split.train.run)]
  rows = evaluate_ala2.evaluate_ala2(
    sets, reference=split.test.x, training=runs, kT=kT, seed=config.seed)
  if 'simulation' in sets:
    rows += report_parts.thermal_rows(
      info, report_parts.sound_replicas(x), len(system.beads), settings.temperature)
  rows += report_parts.count_rows(lost, len(samples), len(sets['i.i.d.']))
  pictures = figures_ala2.ala2_figures(
    sets, reference=split.test.x, training=runs, kT=kT, system=system)
  pictures |= report_parts.training_figures(folder / 'model' / 'metrics.csv')
  if 'simulation' in sets:
    pictures['replicas'] = figures_ala2.replica_figure(sets['simulation'], interval)
    trajectory.export(folder / 'trajectory.xtc', sets['simulation'][:, 0], system,
                      interval=interval)
  trajectory.export(folder / 'samples.xtc', sets['i.i.d.'][:1000], system, interval=1.0)
  held_out = (f'run {config.data.fold}' if config.data.scored_on == 'held_out' else
              f'validation frames of all runs but {config.data.fold}')
  report.write_report(folder, 'Alanine dipeptide: two for one', rows, pictures,
                      report_parts.notes(config, folder, split, x, lost, held_out)
                      + correcting.notes(config, folder))
  return rows
