"""Transitions of a set of trajectories at a lag: timescales and probabilities with errors."""

from collections.abc import Callable, Sequence

import numpy as np

from twoforone.evaluation import kinetics


def count(
  labels: Sequence[np.ndarray], num_states: int, lag: int, interval: float,
  passages: Callable[[np.ndarray, int], np.ndarray] | None = None
) -> dict:
  """Timescales [ps] and transition matrix at a lag; NaN where states never meet.

  Args:
    labels: states of each trajectory, which errors draw on.
    lag: in frames.
    interval: ps between frames.
    passages: (matrix, lag) -> two mean first passage times in frames, into a set and out of it.

  Returns:
    Beside `timescales`, `matrix` and, where asked for, `passages` [ps] their `_errors`, `_low` and
    `_high` (2.5 and 97.5 % of the draws) and `_failed_draws`, of which there were a hundred;
    `missing` says why there is no number.
  """
  def timescales(counts):
    return interval * kinetics.timescales(counts, lag)

  statistics = {'timescales': (timescales, (num_states - 1,)),
                'matrix': (kinetics.transition_matrix, (num_states,) * 2)}
  if passages is not None:
    statistics['passages'] = (
      lambda counts: interval * passages(kinetics.transition_matrix(counts), lag), (2,))
  counts = kinetics.count_transitions(labels, lag, num_states)
  row = {'lag': lag * interval, 'missing': ''}
  for name, (statistic, shape) in statistics.items():
    try:
      found = kinetics.bootstrap(statistic, counts, seed=0)
    except ValueError as error:  # a simulation too short to cross still has its populations
      found = kinetics.Bootstrap(*[np.full(shape, np.nan)] * 4, 0)
      row['missing'] = str(error)
    row |= {name: found.value.tolist(), f'{name}_errors': found.error.tolist(),
            f'{name}_low': found.low.tolist(), f'{name}_high': found.high.tolist(),
            f'{name}_failed_draws': found.num_failed}
  return row


def complaints(name: str, row: dict) -> list[str]:
  """Of the numbers of a set at a lag: why there are none, and draws that had none."""
  where = f'{name} at {row["lag"]:g} ps'
  failed = {key.removesuffix('_failed_draws'): number for key, number in row.items()
            if key.endswith('_failed_draws')}
  return [f'{where}: {row["missing"]}'] * bool(row['missing']) + [
    f'{where}: {number} of 100 draws behind the errors of the {kind} had none'
    for kind, number in failed.items() if number]


def cut(piece: np.ndarray, blocks: int, lag: int) -> list[np.ndarray]:
  """Stretches of a trajectory, each `lag` frames into the next: together they lose no transition.

  As many as there are pairs of frames a lag apart, if those are fewer.
  """
  starts = np.array_split(np.arange(len(piece) - lag), min(blocks, len(piece) - lag))
  return [piece[part[0]:part[-1] + lag + 1] for part in starts]
