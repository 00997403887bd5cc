"""States, transitions and folding times of runs and replicas that hop as they are told."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import kinetics_protein, report_protein
from experiments.configs import protein as protein_config
from experiments.kinetics_protein import Timed
from twoforone.datasets.dataset import Dataset, Split
from twoforone.evaluation import folding
from twoforone.system import make_chain

LEAVE = np.array([0.02, 0.05])  # per frame, of the unfolded and the folded state
PLACES = np.array([[0.0, 0.0], [4.0, 0.0]])
SYSTEM = make_chain('hops', ('CA',) * 4, (12.0,) * 4, 300.0)


def hop(rng, frames, replicas):
  """States [F, R] of a two-state chain, 0 unfolded and 1 folded, from its equilibrium."""
  states = np.empty((frames, replicas), int)
  states[0] = rng.random(replicas) < LEAVE[0] / LEAVE.sum()
  for k in range(1, frames):
    leave = rng.random(replicas) < LEAVE[states[k - 1]]
    states[k] = np.where(leave, 1 - states[k - 1], states[k - 1])
  return states


def look(rng, states):
  """What is measured of states: points of the plane around two places, and the RMSD [nm]."""
  tics = PLACES[states] + 0.3 * rng.normal(size=(*states.shape, 2))
  return SimpleNamespace(tics=tics, rmsd=np.where(states == folding.FOLDED, 0.1, 0.6))


def part(run, interval, **changes):
  x = np.zeros((len(run), 4, 3), np.float32)
  return Dataset(x, None, run, interval, SYSTEM, **changes)


def make_sets(frames=3000, replicas=50, interval=2.0):
  """Four runs, the first held out, and a simulation of half their interval, the same chain."""
  rng = np.random.default_rng(0)
  runs = look(rng, hop(rng, frames, 4).T.reshape(-1))
  run = np.repeat(np.arange(4), frames)
  test, train = (SimpleNamespace(tics=runs.tics[chosen], rmsd=runs.rmsd[chosen])
                 for chosen in (run == 0, run > 0))
  split = Split(part(run[run > 0], interval), None, part(run[run == 0], interval))
  simulated = look(rng, hop(rng, frames, replicas))
  return part(run, interval), split, test, train, simulated


VIEW = SimpleNamespace(native=None, tica=None)


def describe(data, split, test, train, simulated=None, interval=1.0):
  config = protein_config.get_config('smoke')
  config.evaluation.lags = (20,)
  sets = {'held-out runs': test, 'training frames': train}
  if simulated is not None:
    sets = {'simulation': simulated, **sets}
  timed = kinetics_protein.time_runs(data, split, VIEW, test, train)
  rows, pictures, notes = report_protein.describe_motion(config, timed, sets, interval)
  rows = {(row.sample, row.metric): row for row in rows}
  # Whoever has a probability in the table has a panel.
  moving = {sample for sample, metric in rows if metric.startswith('P(')}
  panels = pictures['transitions'][1].axes if 'transitions' in pictures else []
  assert {axis.get_title() for axis in panels if axis.get_title()} == moving
  return rows, notes


def within(row, exact, errors=4):  # k standard errors
  return row.error > 0 and abs(row.value - exact) < errors * row.error


def test_probabilities_times_and_folding_are_those_of_the_chain():
  rows, notes = describe(*make_sets())
  assert '2 by the elbow' in notes[0] and len(notes) == 2
  assert notes[1].endswith('in each state: 0.00, 1.00.')
  # State 1 is the unfolded one. The longest lag is 20 intervals of the runs: 20 steps of their
  # chain and 40 of the simulation's, whose frames are half as far apart.
  decay = 1 - LEAVE.sum()
  for name, steps, interval in (('held-out runs', 20, 2.0), ('training frames', 20, 2.0),
                                ('simulation', 40, 1.0)):
    leave = LEAVE[0] / LEAVE.sum() * (1 - decay**steps)
    assert within(rows[name, 'P(state 1 → 2) in 40 ps'], leave)
    assert within(rows[name, 'folding time'], interval / LEAVE[0])
    assert within(rows[name, 'unfolding time'], interval / LEAVE[1])
    assert within(rows[name, 'population state 2'], LEAVE[0] / LEAVE.sum())
  held_out = rows['held-out runs', 'folding time']
  assert rows['simulation', 'folding time'].reference == held_out.value
  # Errors of a mean waiting time are 1/sqrt(events) of it; ten stretches say so to a quarter or so.
  events = rows['held-out runs', 'foldings'].value
  assert held_out.error == pytest.approx(held_out.value / np.sqrt(events), rel=0.75)


def test_training_frames_are_never_the_reference():
  data, split, test, train, simulated = make_sets(frames=300)
  # Held-out runs that stay in one state have no times, and none are put in their place.
  still = SimpleNamespace(tics=np.zeros_like(test.tics), rmsd=np.full(len(test.rmsd), 0.6))
  rows, _ = describe(data, split, still, train, simulated)
  moving = [row for (_, metric), row in rows.items() if metric.startswith(('relaxation', 'P('))]
  assert moving and all(row.reference is None for row in moving)
  assert rows['training frames', 'folding time'].reference == float('inf')
  rows, _ = kinetics_protein.folding_rows(
    {'training frames': Timed([], [train.rmsd], 1.0)}, 0.2, 0.4)
  assert len(rows) == 4 and all(row.reference is None for row in rows)


def test_folding_times_are_the_librarys_however_the_runs_are_cut():
  states = hop(np.random.default_rng(1), 400, 3)
  rmsd = np.where(states == folding.FOLDED, 0.1, 0.6)
  expected = folding.folding_times(folding.fold_states(rmsd, 0.2, 0.4), 0.5)
  rows, _ = kinetics_protein.folding_rows({'runs': Timed([], [*rmsd.T], 0.5)}, 0.2, 0.4)
  assert [row.value for row in rows] == pytest.approx([
    expected.foldings, expected.folding_time, expected.unfoldings, expected.unfolding_time])


def test_what_never_folds_has_no_time_and_no_error():
  never = Timed([], [np.full(30, 0.6)], 1.0)
  once = Timed([], [np.array([0.6] * 10 + [0.1] * 5)], 1.0)
  rows, _ = kinetics_protein.folding_rows({'never': never, 'once': once}, 0.2, 0.4)
  found = {(row.sample, row.metric): row for row in rows}
  assert found['never', 'folding time'][2:5] == (float('inf'), 'ps', None)
  assert found['once', 'folding time'].value == 10.0
  assert kinetics_protein.folding_rows({'a frame': Timed([], [np.ones(1)], 1.0)}, 0.2, 0.4) == (
    [], [])


def test_shuffled_parts_leave_all_runs_and_frames_without_an_interval_none():
  data, split, test, train, _ = make_sets(frames=300)
  shuffled = Split(*(part and part._replace(interval=None) for part in split))
  view = SimpleNamespace(native=None, tica=lambda x: np.concatenate([test.tics, train.tics]))
  found = kinetics_protein.time_runs(data, shuffled, view, test, train)
  assert list(found) == ['all runs'] and found['all runs'].rmsd is None
  assert [len(piece) for piece in found['all runs'].plane] == [300] * 4
  for changes in ({'interval': None}, {'weight': np.ones(len(data.x))}):
    assert kinetics_protein.time_runs(
      data._replace(**changes), shuffled, view, test, train) == {}


def test_nothing_breaks_without_interval_simulation_or_enough_frames():
  data, split, test, train, simulated = make_sets(frames=300, replicas=1)
  unknown = Split(*(part and part._replace(interval=None) for part in split))
  rows, notes = describe(data._replace(interval=None), unknown, test, train)
  assert {sample for sample, _ in rows} == {'held-out runs', 'training frames'}
  assert not any('time' in metric for _, metric in rows) and len(notes) == 2
  # One replica, and runs of unknown time: the simulation alone has transitions.
  rows, _ = describe(data._replace(interval=None), unknown, test, train, simulated)
  assert rows['simulation', 'P(state 1 → 2) in 20 ps'].error > 0
  # A simulation shorter than the shortest lag is said to be so.
  short = SimpleNamespace(tics=simulated.tics[:2], rmsd=simulated.rmsd[:2])
  rows, notes = describe(data, split, test, train, short)
  assert 'simulation: no trajectory is longer than the lag of 40 ps.' in notes
  assert ('held-out runs', 'P(state 1 → 2) in 40 ps') in rows
  # One that stays where it is has populations, and the runs keep their numbers.
  still = SimpleNamespace(tics=np.zeros((300, 5, 2)), rmsd=np.full((300, 5), 0.6))
  rows, notes = describe(data, split, test, train, still)
  assert rows['simulation', 'population state 1'].value == 1
  said = 'simulation at 40 ps: counts: found states not connected'
  assert any(note.startswith(said) for note in notes)
  assert ('held-out runs', 'P(state 1 → 2) in 40 ps') in rows
