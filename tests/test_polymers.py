"""Sequences of the polymers, and the file of their coarse motion."""

import numpy as np
import pytest

from twoforone.datasets import polymer_file, polymers


def all_sequences(seed=0):
  return polymers.draw_sequences(seed, num_train=96, num_val=8, num_test=20)


def test_splits_have_their_sizes_and_all_lengths():
  sequences = all_sequences()
  assert [len(split) for split in sequences] == [96, 8, 20]
  lengths, counts = np.unique([len(species) for species in sequences.test], return_counts=True)
  assert tuple(lengths) == polymers.LENGTHS and (counts == 4).all()
  assert {len(species) for species in sequences.train} == set(polymers.LENGTHS)


@pytest.mark.parametrize('seed', [0, 1])
def test_no_sequence_occurs_twice_or_reversed(seed):
  chains = [tuple(species) for split in all_sequences(seed) for species in split]
  assert len({min(chain, chain[::-1]) for chain in chains}) == len(chains)


def test_class_one_repeats_a_unit_and_class_two_does_not():
  random = np.random.default_rng(3)

  def period(species):
    return next(k for k in range(1, len(species) + 1)
                if (species[k:] == species[:-k]).all())

  periodic = [period(polymers.draw_periodic(random, 120)) for _ in range(40)]
  irregular = [period(polymers.draw_irregular(random, 120)) for _ in range(40)]
  assert max(periodic) <= 24  # four blocks of at most six
  assert np.median(irregular) > 60


def test_compositions_of_the_test_lie_within_those_of_training():
  sequences = all_sequences()
  known = np.stack([polymers.stiff_and_sticky(species) for species in sequences.train])
  for species in sequences.test:
    assert polymers.is_inside(polymers.stiff_and_sticky(species), known)


@pytest.mark.parametrize('point, inside', [
  ((0.2, 0.2), True), ((0, 0), True), ((0.5, 0), True), ((0.5, 0.5), True),
  ((0.6, 0.6), False), ((1.5, 0), False), ((-1e-3, 0.5), False)])
def test_inside_a_triangle(point, inside):
  corners = np.array([[0, 0], [1, 0], [0, 1.0]])
  assert polymers.is_inside(np.array(point, float), corners) is inside


def test_too_many_polymers_for_a_length_are_named():
  with pytest.raises(ValueError, match='no new sequence of 2 beads'):
    polymers.draw_sequences(0, (2,), num_train=20, num_val=0, num_test=0)


def test_the_start_is_extended_without_overlaps():
  x = polymers.zigzag(24)
  apart = np.linalg.norm(x[:, None] - x, axis=-1)
  np.testing.assert_allclose(np.diagonal(apart, 1), 1)
  assert apart[np.triu_indices(24, 2)].min() > 2 ** (1 / 6)


def two_molecules():
  random = np.random.default_rng(0)
  return [
    polymer_file.Molecule(
      random.integers(0, 4, length), np.arange(length) // 4, np.ones(length),
      polymers.linear_bonds(length), random.normal(size=(2, 5, length // 4, 3)),
      random.uniform(size=(2, 5)))
    for length in (8, 12)]


def test_a_file_gives_back_its_molecules(tmp_path):
  path = tmp_path / 'test.npz'
  polymer_file.write(path, two_molecules(), interval=0.5, friction=0.25)
  data = polymer_file.read(path)
  assert data.x.shape == (2, 2, 5, 3, 3) and (data.interval, data.friction) == (0.5, 0.25)
  assert (data.x[0, :, :, 2:] == 0).all()
  for found, expected in zip(polymer_file.molecules(data), two_molecules(), strict=True):
    for name in polymer_file.Molecule._fields:
      np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6)


def test_molecules_that_blew_up_are_not_written(tmp_path):
  broken = two_molecules()
  broken[1].x[0, 2] = np.nan
  with pytest.raises(ValueError, match='molecule 1: x: found values that are not finite'):
    polymer_file.write(tmp_path / 'test.npz', broken, interval=0.5, friction=0.25)


@pytest.mark.parametrize('field, value, message', [
  ('x', None, 'x: the field is missing'),
  ('x', np.zeros((2, 5, 3)), r"x: found shape \(2, 5, 3\), expected \['C', 'R', 'F', 'n', 3\]"),
  ('square_radius', np.zeros((2, 2, 4)), r'square_radius: .* expected \[2, 2, 5\]'),
  ('mass', np.ones((2, 11)), r'mass: .* expected \[2, 12\]'),
  ('square_radius', np.full((2, 2, 5), np.nan), 'square_radius: found values that are not finite'),
  ('interval', np.float64(0), 'interval: found 0.0, expected a positive number'),
  ('cluster', np.full((2, 12), 3), 'cluster: found bead 3, expected below 3')])
def test_a_file_of_another_kind_is_named(tmp_path, field, value, message):
  path = tmp_path / 'test.npz'
  polymer_file.write(path, two_molecules(), interval=0.5, friction=0.25)
  arrays = dict(np.load(path))
  arrays.pop(field)
  np.savez(path, **arrays, **({} if value is None else {field: value}))
  with pytest.raises(ValueError, match=f'test.npz: {message}'):
    polymer_file.read(path)
