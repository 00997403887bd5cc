"""Folds of chains whose RMSD, size, contacts and folding events are known."""

import numpy as np
import pytest

from twoforone.evaluation import folding


def helix(num_beads=8):
  k = np.arange(num_beads)
  return np.stack([0.23 * np.cos(1.745 * k), 0.23 * np.sin(1.745 * k), 0.15 * k], axis=1)


def rotation(angle):
  c, s = np.cos(angle), np.sin(angle)
  return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def test_rmsd_sees_no_rigid_motion_but_the_mirror_image():
  native = helix()
  moved = np.stack([native @ rotation(a).T + a for a in (0.0, 1.0, 2.5)])
  mirror = native * np.array([1, 1, -1])
  found = folding.native_rmsd(np.stack([*moved, mirror])[:, None], native, chunk=3)
  assert found.shape == (4, 1)
  assert found[:3].max() < 1e-3  # sqrt of float32 rounding
  assert found[3, 0] > 0.05


def test_rmsd_of_one_moved_bead():
  native = helix()
  moved = native.copy()
  moved[3, 2] += 1e-3
  # A bead moved by d: d/sqrt(n) without the fit, and a fit can only lower it, by O(1/n).
  found = float(folding.native_rmsd(moved[None], native)[0])
  assert 0.5e-3 / np.sqrt(8) < found < 1e-3 / np.sqrt(8) + 2e-5


def test_gyration_of_two_groups_is_half_their_distance():
  x = np.zeros((2, 3, 4, 3), np.float32)
  x[..., 2:, 0] = 0.6
  assert folding.radius_of_gyration(x) == pytest.approx(np.full((2, 3), 0.3), rel=1e-6)


def test_contacts_are_counted_over_all_chunks():
  x = np.zeros((10, 3, 3), np.float32)
  x[:, 1, 0] = 0.4
  x[:, 2, 0] = np.where(np.arange(10) < 3, 0.8, 2.0)  # in contact with bead 1 in 3 of 10 frames
  found = folding.contact_probability(x, 0.5, chunk=4)
  assert np.array_equal(found, np.array([[1, 1, 0], [1, 1, 0.3], [0, 0.3, 1]]))


def test_a_fluctuation_between_the_limits_is_no_event():
  rmsd = np.array([0.3, 0.1, 0.3, 0.1, 0.5, 0.3, 0.1, np.nan, 0.3])
  states = folding.fold_states(rmsd, 0.2, 0.4)
  assert states.tolist() == [-1, 1, 1, 1, 0, 0, 1, -1, 1]
  with pytest.raises(ValueError, match=r'folded: found 0.5, expected at most unfolded = 0.4'):
    folding.fold_states(rmsd, 0.5, 0.4)


def test_events_never_cross_from_one_replica_to_the_next():
  states = np.array([[1, 0], [1, 0], [0, 0], [0, 0]])
  found = folding.folding_times(states, 2.0)
  assert found == folding.FoldingTimes(0, 1, float('inf'), 2 * 2.0)


def test_times_of_a_two_state_chain_are_its_inverse_rates():
  rng = np.random.default_rng(0)
  fold, unfold, frames, replicas = 0.02, 0.05, 4000, 50
  states = np.zeros((frames, replicas), int)
  for k in range(1, frames):
    leave = rng.random(replicas) < np.where(states[k - 1] == 0, fold, unfold)
    states[k] = np.where(leave, 1 - states[k - 1], states[k - 1])
  found = folding.folding_times(states, 0.5)
  # The relative error of a mean waiting time is 1/sqrt(events).
  assert abs(found.folding_time / (0.5 / fold) - 1) < 4 / np.sqrt(found.foldings)
  assert abs(found.unfolding_time / (0.5 / unfold) - 1) < 4 / np.sqrt(found.unfoldings)
