"""What a run on a protein leaves for a person: report, tables, plots, trajectories for viewers."""

import pathlib
from collections.abc import Mapping

import numpy as np

from experiments import evaluate_protein, report, report_parts
from twoforone import maps, plots, trajectory
from twoforone.datasets.dataset import Dataset, Split
from twoforone.evaluation import densities, folding, kinetics, structure
from twoforone.simulate import BlowUp, Info
from twoforone.units import NM_PER_ANGSTROM

HIGHEST = 8.0  # kT, of the landscapes


def write_results(
  config, folder: pathlib.Path, split: Split, view: evaluate_protein.View, samples: np.ndarray,
  x: np.ndarray, info: Info, lost: list[BlowUp]
) -> list[report.Row]:
  """Scores both uses against the held-out runs and writes everything into `folder`.

  Args as `report_ala2.write_results`, and `view`: how the molecule is looked at.
  """
  system, settings = split.test.system, config.simulate
  interval = settings.stride * settings.dt
  sets = report_parts.sound_sets(samples, x)
  rows = evaluate_protein.evaluate_protein(
    sets, view, reference=split.test.x, training=[split.train.x], seed=config.seed)
  if 'simulation' in sets:
    rows += report_parts.temperature_rows(
      info, report_parts.sound_replicas(x), len(system.beads), settings.temperature)
  rows += report_parts.count_rows(lost, len(samples), len(sets['i.i.d.']))
  pictures = figures({'held out': split.test.x, **sets}, view)
  pictures |= report_parts.training_figures(folder / 'model' / 'metrics.csv')
  if 'simulation' in sets:
    if view.native is not None:
      rows += folding_rows(config, sets['simulation'], view.native, interval)
      pictures['traces'] = trace_figure(sets['simulation'], view.native, interval)
    trajectory.export(folder / 'trajectory.xtc', sets['simulation'][:, 0], system,
                      interval=interval)
  trajectory.export(folder / 'samples.xtc', samples[:1000], system, interval=1.0)
  held_out = f'runs {", ".join(map(str, np.unique(split.test.run)))}'
  report.write_report(folder, f'{system.name}: two for one', rows, pictures,
                      report_parts.notes(config, folder, split, x, lost, held_out))
  return rows


def make_view(config, data: Dataset, native: np.ndarray | None) -> evaluate_protein.View:
  """TICA of all runs in order of time, and the limits of `config.evaluation`.

  The held-out runs are among them: the plane is a way of looking, nothing is trained on it.
  """
  settings = config.evaluation
  runs = [data.x[data.run == k] for k in np.unique(data.run)]
  tica = kinetics.fit_tica(runs, settings.tica_lag, 2, features=structure.chain_features)
  edges = densities.plane_edges(tica(data.x), settings.tica_bins)
  return evaluate_protein.View(tica, edges, native, settings.folded, settings.contact)


def folding_rows(config, x: np.ndarray, native: np.ndarray, interval: float) -> list[report.Row]:
  """Folding events and times of the simulation [ps of CG dynamics]."""
  states = folding.fold_states(
    folding.native_rmsd(x, native), config.evaluation.folded, config.evaluation.unfolded)
  found = folding.folding_times(states, interval)
  return [report.Row('simulation', 'foldings', found.foldings),
          report.Row('simulation', 'unfoldings', found.unfoldings),
          report.Row('simulation', 'folding time', found.folding_time, 'ps'),
          report.Row('simulation', 'unfolding time', found.unfolding_time, 'ps')]


def figures(
  sets: Mapping[str, np.ndarray], view: evaluate_protein.View
) -> dict[str, tuple[str, plots.Figure]]:
  """Name -> (caption, figure): landscape, contacts, sizes, bonds; RMSD where there is a fold."""
  mark = None if view.native is None else tuple(view.tica(view.native[None])[0])
  landscape = {name: densities.free_energy(
    densities.plane_histogram(view.tica(x), view.edges), 1.0) for name, x in sets.items()}
  centres = [(edge[:-1] + edge[1:]) / 2 for edge in view.edges]
  panels = {'radius of gyration [Å]': folding.radius_of_gyration, 'bonds [Å]': lambda x:
            structure.internal_coordinates(x).bonds, 'pair distances, offset 3 [Å]': lambda x:
            structure.pair_distances(x[::max(1, len(x) // 5000)], offset=3)}
  if view.native is not None:
    panels['RMSD to native [Å]'] = lambda x: folding.native_rmsd(x, view.native)
  found = {label: {name: look(x).ravel() / NM_PER_ANGSTROM for name, x in sets.items()}
           for label, look in panels.items()}
  pictures = {
    'landscape': (
      'Free energy of the two slowest coordinates of the runs [kT]; cross: native state.',
      maps.free_energy_maps(landscape, *centres, highest=HIGHEST, mark=mark,
                            axes_labels=('TIC 1', 'TIC 2'))),
    'contacts': (f'Probability that two beads are within {10 * view.contact:g} Å.',
                 maps.contact_maps({name: folding.contact_probability(x, view.contact)
                                    for name, x in sets.items()})),
    'distributions': ('Size, bonds and distances.', plots.histograms(found))}
  if view.native is not None:
    pictures['rmsd'] = ('Free energy of the RMSD to the native structure [kT].',
                        profile_figure(found['RMSD to native [Å]']))
  return pictures


def profile_figure(rmsd: Mapping[str, np.ndarray]) -> plots.Figure:
  """-ln p of each set in 100 common bins, p a density in 1/Å."""
  edges = np.linspace(0, max(values.max() for values in rmsd.values()), 101)
  named = {}
  for name, values in rmsd.items():
    counts = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
    named[name] = plots.Curve(((edges[:-1] + edges[1:]) / 2)[counts > 0],
                              -np.log(counts[counts > 0]))
  return plots.curves({'': named}, x_label='RMSD to native [Å]', y_label='free energy [kT]')


def trace_figure(
  x: np.ndarray, native: np.ndarray, interval: float, count: int = 4
) -> tuple[str, plots.Figure]:
  """RMSD over time of the first replicas."""
  rmsd = folding.native_rmsd(x[:, :count], native) / NM_PER_ANGSTROM
  time = interval * np.arange(1, len(x) + 1)
  return 'RMSD to the native structure of the first replicas.', plots.curves(
    {'': {f'replica {k}': plots.Curve(time, rmsd[:, k]) for k in range(rmsd.shape[1])}},
    x_label='time [ps]', y_label='RMSD [Å]')
