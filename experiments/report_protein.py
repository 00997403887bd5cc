"""What a run on a protein leaves for a person: report, tables, plots, trajectories for viewers."""

import functools
import pathlib
from collections.abc import Mapping

import numpy as np

from experiments import correcting, evaluate_protein, kinetics_protein, report, report_parts
from twoforone import maps, plots, trajectory
from twoforone.datasets.dataset import Dataset, Split
from twoforone.evaluation import densities, folding, kinetics, structure, uncertainty
from twoforone.simulate import BlowUp, Info
from twoforone.units import NM_PER_ANGSTROM

HIGHEST = 8.0  # kT, of the landscapes
SHOWN = 5000  # frames whose distances are drawn


def write_results(
  config, folder: pathlib.Path, data: Dataset, split: Split, view: evaluate_protein.View,
  samples: np.ndarray, x: np.ndarray, info: Info, lost: list[BlowUp]
) -> list[report.Row]:
  """Scores both uses against the held-out runs and writes everything into `folder`.

  Args as `report_ala2.write_results`, and `data`: all frames in order of time; `view`: how the
  molecule is looked at.
  """
  system, settings = split.test.system, config.simulate
  interval = settings.stride * settings.dt
  sets = report_parts.sound_sets(samples, x) | correcting.uncorrected(config, folder)
  found = {name: evaluate_protein.measure(frames, view) for name, frames in sets.items()}
  reference, training = (evaluate_protein.measure(part.x, view)
                         for part in (split.test, split.train))
  rows = evaluate_protein.evaluate_protein(
    found, view, reference=reference, training=training, seed=config.seed)
  if 'simulation' in sets:
    sound = report_parts.sound_replicas(x)
    rows += report_parts.thermal_rows(info, sound, len(system.beads), settings.temperature)
  rows += report_parts.count_rows(lost, len(samples), len(sets['i.i.d.']))
  moved, motion, remarks = describe_motion(
    config, kinetics_protein.time_runs(data, split, view, reference, training),
    {**found, 'held-out runs': reference, 'training frames': training}, interval)
  rows += moved
  pictures = figures({'held out': reference, **found}, view) | motion
  pictures |= report_parts.training_figures(folder / 'model' / 'metrics.csv')
  if 'simulation' in sets:
    pictures |= trace_figure(found['simulation'].rmsd, info.potential[:, sound], interval)
    trajectory.export(folder / 'trajectory.xtc', sets['simulation'][:, 0], system,
                      interval=interval)
  trajectory.export(folder / 'samples.xtc', sets['i.i.d.'][:1000], system, interval=1.0)
  notes = report_parts.notes(config, folder, split, x, lost, *name_parts(config, split))
  notes += correcting.notes(config, folder) + remarks
  report.write_report(folder, f'{system.name}: two for one', rows, pictures, notes)
  return rows


def describe_motion(
  config, timed: Mapping[str, kinetics_protein.Timed],
  sets: Mapping[str, evaluate_protein.Measured], interval: float
) -> tuple[list[report.Row], dict[str, tuple[str, plots.Figure]], list[str]]:
  """Rows, figures and notes of states, transitions and folding.

  Args:
    timed: the runs as trajectories.
    sets: training and held-out frames, and what was drawn and simulated.
    interval: ps between frames of the simulation.
  """
  settings = config.evaluation
  states = kinetics_protein.find_states(
    np.concatenate([sets[name].tics for name in ('training frames', 'held-out runs')]), config.seed)
  ladder = config.simulate.tempering.rungs > 1
  if 'simulation' in sets and not ladder:
    timed = {**timed, 'simulation': kinetics_protein.time_replicas(sets['simulation'], interval)}
  counted = kinetics_protein.count_lags(timed, states, settings.lags)
  rows = [*kinetics_protein.state_rows(sets, states, 'held-out runs'),
          *kinetics_protein.all_transition_rows(counted)]
  notes = kinetics_protein.notes(states, counted)
  if ladder:
    notes.append('No transitions or folding times of the simulation: the frames of its lowest rung '
                 'are of one replica after another.')
  if sets['training frames'].rmsd is not None:
    notes.append(kinetics_protein.folded_note(sets['training frames'], states, settings.folded))
    folds, remarks = kinetics_protein.folding_rows(timed, settings.folded, settings.unfolded)
    rows, notes = rows + folds, notes + remarks
  return rows, kinetics_protein.figures(states, counted), notes


def name_parts(config, split: Split) -> tuple[str, ...]:
  """What the test part is and, of parts that share runs, where the training part is from."""
  if config.data.split == 'published':
    return ('a part of all frames shuffled, as Arts et al. (2023); the parts share runs and leak',
            'of the same runs')
  return (f'runs {", ".join(map(str, np.unique(split.test.run)))}',)


def make_view(config, data: Dataset, native: np.ndarray | None) -> evaluate_protein.View:
  """TICA of all runs in order of time, and the limits of `config.evaluation`.

  The held-out runs are among them: the plane is a way of looking, nothing is trained on it.

  Raises:
    ValueError: for an offset that no pair of beads has.
  """
  settings, num_beads = config.evaluation, len(data.system.beads)
  if not 1 <= settings.offset < num_beads:
    raise ValueError(f'evaluation.offset: found {settings.offset}, expected 1 to {num_beads - 1} '
                     f'for {num_beads} beads')
  features = functools.partial(structure.chain_features, raw=settings.raw_angles)
  tica = kinetics.fit_tica(
    kinetics.split_runs(data.x, data.run), settings.tica_lag, 2, features=features)
  edges = densities.plane_edges(tica(data.x), settings.tica_bins)
  return evaluate_protein.View(tica, edges, native, settings.folded, settings.contact,
                               settings.offset, settings.closest)


def figures(
  sets: Mapping[str, evaluate_protein.Measured], view: evaluate_protein.View
) -> dict[str, tuple[str, plots.Figure]]:
  """Name -> (caption, figure): landscape, contacts, sizes, bonds; RMSD where there is a fold."""
  mark = None if view.native is None else tuple(view.tica(view.native[None])[0])
  contacts = {} if view.native is None else {
    'native structure': folding.contact_probability(view.native[None], view.contact)}
  contacts |= {name: found.contacts for name, found in sets.items()}
  landscape = {name: densities.free_energy(found.plane, 1.0) for name, found in sets.items()}
  centres = [(edge[:-1] + edge[1:]) / 2 for edge in view.edges]
  pictures = {
    'landscape': (
      'Free energy of the two slowest coordinates of the runs [kT]; cross: native state.',
      maps.free_energy_maps(landscape, *centres, highest=HIGHEST, mark=mark,
                            axes_labels=('TIC 1', 'TIC 2'))),
    'contacts': (f'Probability that two beads are within {10 * view.contact:g} Å.',
                 maps.contact_maps(contacts)),
    'distributions': ('Size, bonds and distances.',
                      plots.histograms(distributions(sets, view.offset)))}
  if view.native is not None:
    pictures['rmsd'] = ('Free energy of the RMSD to the native structure [kT].', profile_figure(
      {name: found.rmsd.ravel() / NM_PER_ANGSTROM for name, found in sets.items()}))
  return pictures


def distributions(
  sets: Mapping[str, evaluate_protein.Measured], offset: int
) -> dict[str, dict[str, np.ndarray]]:
  """Panel -> set -> values [Å]; bonds and pair distances of a few thousand frames."""
  def thin(x):
    return uncertainty.thinned(x.reshape(-1, *x.shape[-2:]), SHOWN, seed=0)

  panels = {
    'radius of gyration [Å]': lambda found: found.gyration,
    'bonds [Å]': lambda found: structure.internal_coordinates(thin(found.x)).bonds,
    f'pair distances, offset {offset} [Å]': lambda found: structure.pair_distances(
      thin(found.x), offset=offset),
    'RMSD to native [Å]': lambda found: found.rmsd}
  if any(found.rmsd is None for found in sets.values()):
    del panels['RMSD to native [Å]']
  return {label: {name: look(found).ravel() / NM_PER_ANGSTROM for name, found in sets.items()}
          for label, look in panels.items()}


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
  rmsd: np.ndarray | None, potential: np.ndarray, interval: float, count: int = 4
) -> dict[str, tuple[str, plots.Figure]]:
  """RMSD and potential energy [F, R] of the first replicas over time, where there are such."""
  panels = {} if rmsd is None else {'RMSD to native [Å]': rmsd / NM_PER_ANGSTROM}
  if np.isfinite(potential).all():
    panels['potential energy [kJ/mol]'] = potential
  if not panels:
    return {}
  time = interval * np.arange(1, len(potential) + 1)
  named = {label: {f'replica {k}': plots.Curve(time, trace)
                   for k, trace in enumerate(values.T[:count])}
           for label, values in panels.items()}
  return {'traces': ('The first replicas over time.',
                     plots.curves(named, x_label='time [ps]', y_label=''))}
