"""Transitions at a lag: what is cut loses none, and draws without a number are said."""

import numpy as np
import pytest

from experiments import transitions
from twoforone.evaluation import kinetics


@pytest.mark.parametrize('frames, blocks, lag', [(50, 4, 3), (10, 20, 7), (6, 1, 5)])
def test_the_stretches_of_a_trajectory_count_what_it_counts(frames, blocks, lag):
  labels = np.random.default_rng(0).integers(3, size=frames)
  pieces = transitions.cut(labels, blocks, lag)
  assert len(pieces) == min(blocks, frames - lag)
  np.testing.assert_array_equal(kinetics.count_transitions(pieces, lag, 3).sum(axis=0),
                                kinetics.count_transitions(labels, lag, 3)[0])


def test_draws_without_a_number_are_said_of_timescales_and_matrix():
  # Only the last of three trajectories connects the states: (2/3)^3 of the draws are without it.
  labels = [np.zeros(9, int), np.ones(9, int), np.array([0, 1, 0, 1, 1, 0, 0, 1, 0])]
  row = transitions.count(labels, 2, 1, 0.5)
  assert row['timescales_failed_draws'] == row['matrix_failed_draws'] > 0
  said = transitions.complaints('runs', row)
  assert len(said) == 2 and all('runs at 0.5 ps' in line for line in said)
  assert f'{row["matrix_failed_draws"]} of 100 draws' in said[1]
  whole = transitions.count(labels[2:] * 3, 2, 1, 0.5)
  assert transitions.complaints('runs', whole) == []
  never = transitions.count(labels[:2], 2, 1, 0.5)
  assert np.isnan(never['matrix']).all() and 'not connected' in transitions.complaints('', never)[0]
