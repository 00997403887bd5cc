"""Clusters of bond graphs: connected, of nearly equal size, the same each time."""

import numpy as np
import pytest

from twoforone.datasets.clustering import cluster_graph
from twoforone.datasets.polymers import linear_bonds


def combs(count, pendant=0.5):
  """Chains with single side beads."""
  random = np.random.default_rng(0)
  for _ in range(count):
    backbone = int(random.integers(20, 80))
    sides = np.flatnonzero(random.random(backbone) < pendant)
    bonds = [*linear_bonds(backbone), *np.stack([sides, backbone + np.arange(len(sides))], axis=1)]
    yield np.array(bonds), backbone + len(sides)


def random_tree(random, size, most=3):
  """Atoms that bond one after another to one with fewer than `most` bonds."""
  degree, bonds = np.zeros(size, int), []
  for i in range(1, size):
    j = random.choice(np.flatnonzero(degree[:i] < most))
    bonds.append((j, i))
    degree[[i, j]] += 1
  return np.array(bonds)


def count_pieces(bonds, cluster):
  """Connected pieces of the graph without bonds between clusters."""
  piece = np.arange(len(cluster))
  inner = bonds[cluster[bonds[:, 0]] == cluster[bonds[:, 1]]]
  for _ in range(len(cluster)):
    low = np.minimum(piece[inner[:, 0]], piece[inner[:, 1]])
    np.minimum.at(piece, inner[:, 0], low)
    np.minimum.at(piece, inner[:, 1], low)
  return len(np.unique(piece))


@pytest.mark.parametrize('length, level', [
  (24, 6), (72, 6), (50, 6), (7, 3), (100, 7), (240, 30), (5, 1), (3, 100)])
def test_linear_chain_falls_into_equal_pieces_in_order(length, level):
  cluster = cluster_graph(linear_bonds(length), length, level)
  sizes = np.bincount(cluster)
  assert len(sizes) == max(1, round(length / level))
  assert sizes.max() - sizes.min() <= 1
  assert (np.diff(cluster) >= 0).all()


def test_a_chain_with_shuffled_atoms_is_the_same_chain():
  order = np.random.default_rng(0).permutation(48)
  cluster = cluster_graph(order[linear_bonds(48)], 48, 6)[order]
  np.testing.assert_array_equal(np.bincount(cluster), 6)
  assert np.count_nonzero(np.diff(cluster)) == 7


def test_side_beads_cost_at_most_thirty_percent():
  for bonds, size in combs(15):
    cluster = cluster_graph(bonds, size, 10)
    sizes = np.bincount(cluster)
    assert np.abs(sizes / sizes.mean() - 1).max() <= 0.3
    assert count_pieces(bonds, cluster) == len(sizes) == round(size / 10)


def test_at_parts_of_six_side_beads_cost_less_than_two_atoms():
  for bonds, size in combs(15):
    sizes = np.bincount(cluster_graph(bonds, size, 6))
    assert np.abs(sizes - sizes.mean()).max() < 2


def test_parts_of_any_tree_or_ring_are_connected():
  random = np.random.default_rng(1)
  graphs = [random_tree(random, size) for size in (20, 45, 90)]
  graphs += [np.stack([np.arange(30), np.roll(np.arange(30), 1)], axis=1),
             np.array([(0, k) for k in range(1, 20)])]  # a star has no equal connected parts
  for bonds in graphs:
    size = int(bonds.max()) + 1
    cluster = cluster_graph(bonds, size, 5)
    assert count_pieces(bonds, cluster) == cluster.max() + 1 == round(size / 5)


def test_molecules_are_not_mixed_and_single_atoms_stay():
  # Two chains, three single atoms between them.
  bonds = np.concatenate([linear_bonds(12), 15 + linear_bonds(8)])
  cluster = cluster_graph(bonds, 23, 4)
  np.testing.assert_array_equal(
    cluster, np.repeat([0, 1, 2, 3, 4, 5, 6, 7], [4, 4, 4, 1, 1, 1, 4, 4]))
  np.testing.assert_array_equal(cluster_graph(np.zeros((0, 2), int), 3, 7), [0, 1, 2])


def test_level_one_keeps_every_atom():
  bonds = random_tree(np.random.default_rng(2), 25)
  np.testing.assert_array_equal(np.sort(cluster_graph(bonds, 25, 1)), np.arange(25))


def test_the_answer_does_not_depend_on_the_order_of_bonds():
  for bonds, size in combs(3):
    turned = np.random.default_rng(0).permutation(bonds[:, ::-1])
    np.testing.assert_array_equal(
      cluster_graph(bonds, size, 6), cluster_graph(np.concatenate([turned, bonds]), size, 6))


@pytest.mark.parametrize('bonds, level, message', [
  ([[0, 1]], 0.5, 'level: found 0.5'), ([[0, 3]], 2, 'bonds: found atoms 0 to 3'),
  ([[1, 1]], 2, 'bonds: found')])
def test_bad_graphs_are_named(bonds, level, message):
  with pytest.raises(ValueError, match=message):
    cluster_graph(np.array(bonds), 3, level)
