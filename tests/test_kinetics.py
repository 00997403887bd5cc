"""Kinetics of chains whose timescales, passage times and metastable sets are known."""

import numpy as np
import pytest

from twoforone.evaluation import kinetics

TWO = np.array([[0.95, 0.05], [0.10, 0.90]])  # eigenvalue 0.85, stationary (2/3, 1/3)
# Detailed balance with the uniform distribution; eigenvalues 1, 0.97 and 0.79.
THREE = np.array([[0.95, 0.05, 0.0], [0.05, 0.85, 0.10], [0.0, 0.10, 0.90]])


def simulate(transition, num_frames, replicas, seed):
  """Labels [F, R] of independent chains from random starts."""
  rng = np.random.default_rng(seed)
  threshold = transition.cumsum(axis=1)
  labels = np.empty((num_frames, replicas), np.int64)
  labels[0] = rng.integers(len(transition), size=replicas)
  for k in range(1, num_frames):
    labels[k] = (rng.random(replicas)[:, None] > threshold[labels[k - 1]]).sum(axis=1)
  return labels


def exact_timescales(transition):
  values = np.sort(np.abs(np.linalg.eigvals(transition)))[::-1][1:]
  return -1 / np.log(values)


@pytest.mark.parametrize('transition', [TWO, THREE], ids=['two states', 'three states'])
@pytest.mark.parametrize('lag', [1, 3])
def test_timescales_of_a_chain_at_any_lag(transition, lag):
  labels = simulate(transition, 3000, 20, seed=1)
  counts = kinetics.count_transitions(labels, lag, len(transition))
  found = kinetics.bootstrap(lambda c: kinetics.timescales(c, lag), counts, seed=0)
  exact = exact_timescales(transition)
  assert found.num_failed == 0
  np.testing.assert_array_less(np.abs(found.value - exact), 4 * found.error)  # k = 4
  np.testing.assert_array_less(found.error, 0.2 * exact)  # so that the line above says something


def test_bootstrap_errors_are_those_of_repeated_experiments():
  def experiment(seed):
    return kinetics.count_transitions(simulate(TWO, 500, 20, seed), 1, 2)

  def leaving(counts):
    return counts[0, 1] / counts[0].sum()

  spread = np.std([leaving(experiment(seed).sum(axis=0)) for seed in range(40)], ddof=1)
  found = [kinetics.bootstrap(leaving, experiment(seed), seed=0).error for seed in range(10)]
  # A deviation of 40 values has a relative error of 1/sqrt(80) = 0.11, one of 20 replicas 0.16,
  # and ten of the latter are averaged: k = 3 of 0.12.
  assert abs(np.mean(found) / spread - 1) < 0.36


def test_the_interval_is_that_of_the_draws_and_the_error_their_spread():
  # One trajectory in twenty holds the event: a draw has Poisson(1) of them, near enough, whose
  # 97.5th percentile is 3 and whose 2.5th is 0; mean ± 2 errors would begin below 0.
  counts = np.zeros((20, 2, 2))
  counts[:, 0, 0] = 1
  counts[0, 0, 1] = 1
  found = kinetics.bootstrap(lambda c: c[0, 1], counts, seed=0, repeats=1000)
  assert (found.value, found.low, found.high) == (1, 0, 3)
  # Binomial(20, 1/20): a deviation of 1000 draws is known to 3 %, k = 4.
  assert abs(found.error / np.sqrt(0.95) - 1) < 0.12
  labels = simulate(TWO, 500, 20, seed=3)
  leaving = kinetics.bootstrap(lambda c: c[0, 1] / c[0].sum(), kinetics.count_transitions(
    labels, 1, 2), seed=0, repeats=1000)
  # Of a plain mean draws are normal: 1.96 errors either way, each end known to 6 % (1000 draws).
  ends = np.array([leaving.value - leaving.low, leaving.high - leaving.value])
  np.testing.assert_allclose(ends, 1.96 * leaving.error, rtol=0.24)  # k = 4


def test_a_matrix_its_stationary_distribution_and_passage_times():
  labels = simulate(TWO, 2000, 50, seed=2)
  counts = kinetics.count_transitions(labels, 1, 2)

  def everything(c):
    matrix = kinetics.transition_matrix(c)
    return np.array([matrix[0, 1], matrix[1, 0], kinetics.stationary(matrix)[0],
                     kinetics.first_passage_time(matrix, 1, [0], [1])])

  found = kinetics.bootstrap(everything, counts, seed=0)
  exact = [0.05, 0.10, 2 / 3, 1 / 0.05]  # leaving state 0 takes 1/0.05 frames in the mean
  np.testing.assert_array_less(np.abs(found.value - exact), 4 * found.error)  # k = 4


def test_passage_times_count_the_lag():
  at_three = np.linalg.matrix_power(TWO, 3)
  expected = 3 / at_three[0, 1]  # leaving state 0 as seen every third frame
  np.testing.assert_allclose(
    kinetics.first_passage_time(at_three, 3, [0], [1]), expected, rtol=1e-9)


def test_no_transition_is_counted_across_a_seam():
  # Each replica and each run stays where it is: any count off the diagonal crossed a seam.
  replicas = np.tile(np.array([0, 1, 2]), (50, 1))
  run = np.repeat(np.arange(3), 50)
  for labels in (replicas, kinetics.split_runs(run.copy(), run), list(replicas.T)):
    counts = kinetics.count_transitions(labels, 7, 3).sum(axis=0)
    np.testing.assert_array_equal(counts, np.diag([43.0, 43.0, 43.0]))
  joined = kinetics.count_transitions(run.copy(), 7, 3).sum(axis=0)
  assert joined[0, 1] == joined[1, 2] == 7  # what concatenation would have counted


def test_each_replica_has_its_own_counts_and_a_lost_one_counts_until_it_is_lost():
  labels = np.array([[0, 1], [1, 1], [0, 0], [1, -1], [0, -1]])
  counts = kinetics.count_transitions(labels, 1, 2)
  np.testing.assert_array_equal(counts[0], [[0, 2], [2, 0]])
  np.testing.assert_array_equal(counts[1], [[0, 0], [1, 1]])


def test_runs_are_cut_into_contiguous_blocks():
  pieces = kinetics.split_runs(np.arange(10), np.repeat([5, 3], 5), blocks=2)
  assert [piece.tolist() for piece in pieces] == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9]]


@pytest.mark.parametrize('call, message', [
  (lambda: kinetics.count_transitions(np.zeros((10, 2), int), 10, 2), 'lag: found 10 frames'),
  (lambda: kinetics.count_transitions([np.zeros(30, int), np.zeros(5, int)], 5, 2),
   'lag: found 5 frames, expected at least 1 and fewer than the 5'),
  (lambda: kinetics.count_transitions(np.zeros(10, int), 0, 2), 'lag: found 0'),
  (lambda: kinetics.count_transitions(np.full(10, 3), 1, 3), 'labels: found state 3'),
  (lambda: kinetics.split_runs(np.zeros(5), np.zeros(4, int)), 'run: found 4 frames'),
  (lambda: kinetics.split_runs(np.zeros(5), np.zeros(5, int), blocks=6), 'blocks: found 6'),
  (lambda: kinetics.transition_matrix(np.eye(2)), 'counts: found states that are not connected'),
  (lambda: kinetics.transition_matrix(np.array([[1.0, 1.0], [0.0, 1.0]])), 'not connected'),
  (lambda: kinetics.coarse_states(TWO, 3), 'num_sets: found 3'),
  (lambda: kinetics.elbow(np.array([1, 2]), np.array([2.0, 1.0])), 'expected at least three'),
  (lambda: kinetics.elbow(np.array([1, 3, 3]), np.ones(3)), 'sizes: found .* numbers that rise'),
  (lambda: kinetics.bootstrap(np.sum, np.ones((1, 2, 2)), seed=0), 'counts: found 1 traj'),
  (lambda: kinetics.bootstrap(kinetics.transition_matrix, np.stack([np.eye(2)] * 3), seed=0),
   'not connected in 100 of 100'),
  (lambda: kinetics.fit_tica([np.zeros((5, 2))], 5, 1), 'lag: found 5 frames')])
def test_what_cannot_be_estimated_is_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()


def test_draws_without_a_statistic_are_counted():
  # Only the last of three trajectories connects the states: draws without it fail, (2/3)^3 of them.
  counts = np.stack([np.eye(2), np.eye(2), np.ones((2, 2))])
  found = kinetics.bootstrap(kinetics.transition_matrix, counts, seed=0, repeats=100)
  error = np.sqrt(100 * 8 / 27 * 19 / 27)
  assert abs(found.num_failed - 100 * 8 / 27) < 4 * error  # k = 4


def blobs(seed=0):
  centres = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
  rng = np.random.default_rng(seed)
  return centres, np.concatenate([c + 0.3 * rng.standard_normal((250, 2)) for c in centres])


def test_clusters_and_their_number_are_those_of_separate_blobs():
  centres, data = blobs()
  sizes = np.arange(1, 9)
  fits = [kinetics.fit_clusters(data, k, seed=0) for k in sizes.tolist()]
  best = kinetics.elbow(sizes, np.array([fit.inertia for fit in fits]))
  assert sizes[best] == 4
  found = fits[best].centres
  labels = kinetics.assign(data.reshape(4, 250, 2), found)
  assert labels.shape == (4, 250)
  # Each blob is one cluster; k = 5 standard errors of a mean of 250.
  for centre, row in zip(centres, labels, strict=True):
    assert (row == row[0]).all()
    np.testing.assert_allclose(found[row[0]], centre, atol=5 * 0.3 / np.sqrt(250))
  np.testing.assert_allclose(
    fits[best].inertia, np.sum((data - found[labels.ravel()]) ** 2), rtol=1e-6)


@pytest.mark.parametrize('corner', [3, 4, 5, 6, 8])
def test_the_elbow_is_the_corner_of_two_lines_however_far_apart_the_sizes_are(corner):
  sizes = np.array([2, 3, 4, 5, 6, 8, 10])
  lines = -0.5 * sizes + 0.2 * np.maximum(sizes - corner, 0)
  assert sizes[kinetics.elbow(sizes, np.exp(lines))] == corner
  # Where the step in sizes halves a straight line has no corner; over the index it has, of 0.5.
  sizes = np.array([2, 4, 5, 6, 7])
  lines = -0.5 * sizes + 0.2 * np.maximum(sizes - 6, 0)
  assert sizes[kinetics.elbow(sizes, np.exp(lines))] == 6


def test_coarse_states_are_the_blocks_of_a_metastable_chain():
  pair = np.array([[0.6, 0.4], [0.4, 0.6]])
  chain = np.kron(np.eye(3), pair)
  chain[1, 2] = chain[2, 1] = chain[3, 4] = chain[4, 3] = 0.01
  chain[range(6), range(6)] += 1 - chain.sum(axis=1)
  found = kinetics.coarse_states(chain, 3)
  assert (found[::2] == found[1::2]).all() and len(set(found)) == 3


def test_tica_finds_the_slow_direction():
  rng = np.random.default_rng(0)
  pieces = []
  for _ in range(2):
    y = np.zeros((20_000, 2))
    kick = rng.standard_normal(y.shape) * np.sqrt(1 - np.array([0.99, 0.5]) ** 2)
    for k in range(1, len(y)):
      y[k] = np.array([0.99, 0.5]) * y[k - 1] + kick[k]
    pieces.append(np.stack([y[:, 0] + 3 * y[:, 1], y[:, 1] - y[:, 0]], axis=1))
  tica = kinetics.fit_tica(pieces, lag=5, dim=1)
  found = tica(np.stack(pieces, axis=1))
  assert found.shape == (20_000, 2, 1)
  slow = np.stack([(p[:, 0] - 3 * p[:, 1]) / 4 for p in pieces], axis=1)  # y_0, by hand
  # The coefficient of y_1 is of the order of the noise of a correlation over the run, 1/100.
  assert abs(np.corrcoef(found.ravel(), slow.ravel())[0, 1]) > 0.99


def test_angles_beside_pi_are_neighbours():
  found = kinetics.periodic_features(np.array([[np.pi - 1e-3], [-np.pi + 1e-3]]))
  assert found.shape == (2, 2) and np.abs(found[0] - found[1]).max() < 3e-3


def test_basins_of_torsions():
  angles = np.array([[-1.3, -0.5], [1.0, 0.5], [-1.3, 2.6], [np.nan, 0.0]])
  assert kinetics.basin_labels(angles).tolist() == [0, 1, 2, -1]


def test_tica_of_chunks_of_features_is_that_of_the_whole():
  rng = np.random.default_rng(3)
  slow = np.cumsum(rng.normal(size=(500, 1)), axis=0)
  pieces = [np.concatenate([slow[::k], rng.normal(size=slow[::k].shape)], axis=1) for k in (1, 2)]
  whole = kinetics.fit_tica([2 * piece for piece in pieces], 5, 1)
  chunked = kinetics.fit_tica(pieces, 5, 1, features=lambda piece: 2 * piece, chunk=70)
  found, expected = chunked(pieces[0][:, None]), whole(2 * pieces[0])
  assert found.shape == (500, 1, 1)
  # The covariances are sums in another order.
  assert np.abs(np.abs(found[:, 0]) - np.abs(expected)).max() < 1e-6 * np.abs(expected).max()
