"""How a protein moves: states of its slowest plane, transitions between them, folding times.

The states are k-means clusters of training and held-out frames, as many as the elbow says. Runs
and simulation are counted alike, within a trajectory, at one lag in ps; CG time has no scale of its
own, so ratios of times are what is measured. Errors come from drawing whole trajectories.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments import transitions
from experiments.evaluate_protein import Measured, View
from experiments.report import Row
from experiments.scores import population_rows
from twoforone import maps, plots
from twoforone.datasets.dataset import Dataset, Split
from twoforone.evaluation import folding, kinetics, uncertainty

SIZES = (1, 2, 3, 4, 5, 6)  # of k-means
POOL = 10_000  # frames that are clustered
PIECES = 10  # fewer trajectories are cut into so many stretches, as `uncertainty.estimate` does
REFERENCES = ('held-out runs', 'all runs')  # sets that others are compared with, never both


class Timed(NamedTuple):
  """Trajectories: `plane` and `rmsd` [nm] (or None) of each, frames `interval` ps apart."""

  plane: list[np.ndarray]
  rmsd: list[np.ndarray] | None
  interval: float


class States(NamedTuple):
  """The `centres` [k, 2] of the states, most populated first, and the `inertia` of all `SIZES`."""

  centres: np.ndarray
  inertia: np.ndarray


def time_runs(
  data: Dataset, split: Split, view: View, reference: Measured, training: Measured
) -> dict[str, Timed]:
  """The parts as trajectories; all runs where the parts are shuffled, none without an interval."""
  parts = {name: time_part(found, part) for name, found, part in (
    ('held-out runs', reference, split.test), ('training frames', training, split.train))
    if part.interval is not None}
  if parts or data.interval is None or data.weight is not None:
    return parts
  rmsd = None if view.native is None else folding.native_rmsd(data.x, view.native)
  return {'all runs': Timed(kinetics.split_runs(view.tica(data.x), data.run),
                            rmsd if rmsd is None else kinetics.split_runs(rmsd, data.run),
                            data.interval)}


def time_part(found: Measured, part: Dataset) -> Timed:
  """The runs of a part, each a trajectory."""
  return Timed(
    kinetics.split_runs(found.tics, part.run),
    None if found.rmsd is None else kinetics.split_runs(found.rmsd, part.run), part.interval)


def time_replicas(found: Measured, interval: float) -> Timed:
  """The replicas of a simulation, each a trajectory."""
  return Timed([*found.tics.swapaxes(0, 1)],
               None if found.rmsd is None else [*found.rmsd.T], interval)


def find_states(plane: np.ndarray, seed: int) -> States:
  """k-means of some of the points [F, 2], their number by the elbow."""
  pool = uncertainty.thinned(plane, POOL, seed)
  fits = [kinetics.fit_clusters(pool, size, seed=seed) for size in SIZES]
  inertia = np.array([fit.inertia for fit in fits])
  centres = fits[kinetics.elbow(np.array(SIZES), inertia)].centres
  counts = np.bincount(kinetics.assign(pool, centres), minlength=len(centres))
  return States(centres[np.argsort(-counts, kind='stable')], inertia)


def state_rows(sets: Mapping[str, Measured], states: States, expected: str) -> list[Row]:
  """Share of each set in each state, beside that of the set called `expected`."""
  labels = {name: kinetics.assign(found.tics, states.centres) for name, found in sets.items()}
  inside = {name: {f'state {k + 1}': found == k for k in range(len(states.centres))}
            for name, found in labels.items()}
  return [row for name in sets for row in population_rows(name, inside[name], inside[expected])]


def folded_note(found: Measured, states: States, folded: float) -> str:
  """How much of each state of the training frames has an RMSD below `folded`."""
  labels = kinetics.assign(found.tics, states.centres)
  shares = (np.mean(found.rmsd[labels == k] < folded) if (labels == k).any() else float('nan')
            for k in range(len(states.centres)))
  return ('Folded share of the training frames in each state: '
          f'{", ".join(f"{share:.2f}" for share in shares)}.')


def stretches(trajectories: Sequence[np.ndarray], lag: int) -> list[np.ndarray]:
  """Those longer than the lag, cut in time where they are fewer than `PIECES`."""
  long = [piece for piece in trajectories if len(piece) > lag]
  return [part for piece in long for part in transitions.cut(piece, -(-PIECES // len(long)), lag)]


def count_lags(
  timed: Mapping[str, Timed], states: States, multiples: Sequence[int]
) -> dict[str, dict[float, dict]]:
  """Set -> lag [ps] -> what `transitions.count` finds, at lags that its trajectories span.

  Lags are multiples of the longest interval, to the nearest frame.
  """
  longest = max((found.interval for found in timed.values()), default=0.0)
  counted = {}
  for name, found in timed.items():
    labels = [kinetics.assign(piece, states.centres) for piece in found.plane]
    lags = {k * longest: round(k * longest / found.interval) for k in multiples}
    counted[name] = {
      ps: transitions.count(stretches(labels, lag), len(states.centres), lag, found.interval)
      for ps, lag in lags.items() if stretches(labels, lag)}
  return counted


def choose_lag(counted: Mapping[str, Mapping[float, dict]]) -> float | None:
  """The longest of the lags at which most sets have numbers, None where no set has any."""
  known = [ps for rows in counted.values() for ps, row in rows.items() if not row['missing']]
  return max(known, key=lambda ps: (known.count(ps), ps), default=None)


def transition_rows(name: str, row: dict, expected: dict | None) -> list[Row]:
  """Relaxation times and transition probabilities at a lag, beside those of the reference."""
  def beside(field, *place):
    return None if expected is None else float(np.array(expected[field])[place])

  lag, size = f'{row["lag"]:g} ps', len(row['matrix'])
  times = [Row(name, f'relaxation time {k + 1}, lag {lag}', row['timescales'][k], 'ps',
               error=row['timescales_errors'][k], reference=beside('timescales', k))
           for k in range(size - 1)]
  return times + [
    Row(name, f'P(state {i + 1} → {j + 1}) in {lag}', row['matrix'][i][j],
        error=row['matrix_errors'][i][j], reference=beside('matrix', i, j))
    for i in range(size) for j in range(size)]


def at_chosen_lag(counted: Mapping[str, Mapping[float, dict]]) -> dict[str, dict]:
  """Set -> its numbers at the lag of `choose_lag`, of those that have any."""
  lag = choose_lag(counted)
  return {name: rows[lag] for name, rows in counted.items()
          if lag in rows and not rows[lag]['missing']}


def all_transition_rows(counted: Mapping[str, Mapping[float, dict]]) -> list[Row]:
  """`transition_rows` of all sets at the chosen lag, beside the reference if it has numbers."""
  known = at_chosen_lag(counted)
  expected = next((known[name] for name in REFERENCES if name in known), None)
  return [found for name, row in known.items() for found in transition_rows(name, row, expected)]


def folding_rows(
  timed: Mapping[str, Timed], folded: float, unfolded: float
) -> tuple[list[Row], list[str]]:
  """Folding events and times [ps] of each set beside those of the reference, and what to note."""
  rows, notes, expected = [], [], {}
  for name, found in timed.items():  # the reference comes first
    pieces = stretches([folding.fold_states(rmsd, folded, unfolded) for rmsd in found.rmsd], 1)
    if not pieces:
      continue
    counts = kinetics.count_transitions(pieces, 1, 2)
    for what, start in (('folding', folding.UNFOLDED), ('unfolding', folding.FOLDED)):
      value, error, failed = waiting_time(counts, start, found.interval)
      if name in REFERENCES:
        expected[what] = value
      rows += [Row(name, f'{what}s', int(counts[:, start, 1 - start].sum())),
               Row(name, f'{what} time', value, 'ps', error=error, reference=expected.get(what))]
      notes += [f'{name}: {failed} of 100 draws behind the error of the {what} time had no '
                'event.'] * bool(failed)
  return rows, notes


def waiting_time(
  counts: np.ndarray, start: int, interval: float
) -> tuple[float, float | None, int]:
  """Time in a state per exit from it, as `folding.folding_times`: value, error, draws without one.

  Args:
    counts: transitions [trajectories, 2, 2] in one frame.
    start: the state.
  """
  def mean_time(summed):
    if not summed[start, 1 - start]:
      raise ValueError('counts: found no event')
    return interval * summed[start].sum() / summed[start, 1 - start]

  total = counts.sum(axis=0)
  if not total[start, 1 - start]:
    return float('inf'), None, 0
  try:
    found = kinetics.bootstrap(mean_time, counts, seed=0)
  except ValueError:  # one trajectory, or an event in less than half of the draws
    return float(mean_time(total)), None, 0
  return float(found.value), float(found.error), found.num_failed


def notes(states: States, counted: Mapping[str, Mapping[float, dict]]) -> list[str]:
  """What the states are, where errors come from, and every number that is absent."""
  centres = ', '.join(f'({x:.2f}, {y:.2f})' for x, y in states.centres)
  lag = choose_lag(counted)
  short = [name for name, rows in counted.items() if lag is not None and lag not in rows]
  return [
    f'States: {len(states.centres)} by the elbow of k-means in the plane of the two slowest '
    f'coordinates, of training and held-out frames, the most populated first: {centres}. '
    f'Transitions are counted within runs and replicas; errors draw whole ones with replacement, '
    f'stretches of them where there are fewer than {PIECES}. CG time has no scale of its own.',
    *(f'{name}: no trajectory is longer than the lag of {lag:g} ps.' for name in short),
    *(f'{line}.' for name, rows in counted.items() for row in rows.values()
      for line in transitions.complaints(name, row))]


def figures(
  states: States, counted: Mapping[str, Mapping[float, dict]]
) -> dict[str, tuple[str, plots.Figure]]:
  """The elbow, over the lag the slowest relaxation time of each set, and transition matrices."""
  known = {name: [row for row in rows.values() if not row['missing']]
           for name, rows in counted.items()}
  panels = {'k-means inertia': {
    f'{len(states.centres)} states by the elbow': plots.Curve(np.array(SIZES), states.inertia)}}
  if any(known.values()):
    panels['slowest relaxation time [ps]'] = {
      name: plots.Curve(np.array([row['lag'] for row in rows]),
                        np.array([row['timescales'][0] for row in rows]),
                        np.array([row['timescales_errors'][0] for row in rows]))
      for name, rows in known.items() if rows}
  pictures = {'kinetics': (
    'k-means of the plane of the two slowest coordinates, and relaxation times between its states.',
    plots.curves(panels, x_label=['number of states', 'lag [ps]'][:len(panels)], y_label='',
                 y_log=True))}
  matrices = {name: (np.array(row['matrix']), np.array(row['matrix_errors']))
              for name, row in at_chosen_lag(counted).items()}
  if matrices:
    pictures['transitions'] = (
      f'Probability of a state {choose_lag(counted):g} ps after another, ± its standard error.',
      maps.transition_maps(matrices))
  return pictures
