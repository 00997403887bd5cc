"""CG maps: a Gaussian system, whose PMF is known, gives each map's exact mean force."""

import mdtraj
import numpy as np
import pytest

from twoforone.datasets import cg_map


def make_topology(residues=3):
  """Residues of N, H, CA, HA, C, O in one chain."""
  topology = mdtraj.Topology()
  chain = topology.add_chain()
  for k in range(residues):
    residue = topology.add_residue(('ALA', 'GLY')[k % 2], chain)
    for name in ('N', 'H', 'CA', 'HA', 'C', 'O'):
      topology.add_atom(name, mdtraj.element.Element.getBySymbol(name[0]), residue)
  topology.create_standard_bonds()
  return topology


TOPOLOGY = make_topology()
HYDROGENS = np.array([(6 * k + i, 6 * k + i + 1) for k in range(3) for i in (0, 2)])


def stiffness(num, seed=0):
  """A positive definite matrix: U = r K r / 2 along each axis."""
  a = np.random.default_rng(seed).normal(size=(num, num))
  return a @ a.T + np.eye(num)


OVERLAPPING = np.array([[0.5, 0.5, 0, 0], [0, 0.3, 0.7, 0], [0, 0, 0.2, 0.8]])
SHARED = cg_map.make_map(OVERLAPPING @ np.eye(18)[[0, 1, 2, 4]])
MAPS = {
  'slice': cg_map.select_atoms(TOPOLOGY, 'name CA'),
  'centre of mass': cg_map.centre_of_mass(TOPOLOGY, cg_map.residue_groups(TOPOLOGY, 'all')),
  'overlapping': SHARED,
}


def free_matrix(constraints):
  """G, [atoms, free coordinates], r = G q: constrained atoms have one coordinate."""
  g = np.eye(18)
  for i, j in constraints:
    g[i] += g[j]
    g[:, i] += g[:, j]
  keep = [k for k in range(18) if k not in set(constraints[:, 1])]
  return np.clip(g[:, keep], 0, 1)


@pytest.mark.parametrize('constraints', [np.zeros((0, 2), int), HYDROGENS], ids=['free', 'rigid'])
@pytest.mark.parametrize('name', MAPS)
def test_mapped_mean_force_is_minus_the_gradient_of_the_pmf(name, constraints):
  # r = G q is Gaussian with precision G'KG / kT. x = C G q has -grad PMF = -(D S D')^-1 x, where
  # D = CG and S = (G'KG)^-1; the mean of f = -K r given x is -K G S D' (D S D')^-1 x.
  k, c, g = stiffness(18), MAPS[name].matrix, free_matrix(constraints)
  covariance, d = np.linalg.inv(g.T @ k @ g), c @ g
  precision = np.linalg.inv(d @ covariance @ d.T)
  mean_force = -k @ g @ covariance @ d.T @ precision
  mapped = cg_map.force_map(MAPS[name], constraints) @ mean_force
  np.testing.assert_allclose(mapped, -precision, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('name', 'constraints'), [
  ('slice', HYDROGENS), ('centre of mass', np.zeros((0, 2), int)), ('overlapping', HYDROGENS[:0])])
def test_the_plain_slice_of_the_forces_is_wrong(name, constraints):
  k, c, g = stiffness(18), MAPS[name].matrix, free_matrix(constraints)
  covariance, d = np.linalg.inv(g.T @ k @ g), c @ g
  precision = np.linalg.inv(d @ covariance @ d.T)
  mapped = c @ (-k @ g @ covariance @ d.T @ precision)
  assert np.abs(mapped + precision).max() > 0.05 * np.abs(precision).max()


def test_force_map_of_disjoint_beads_sums_their_atoms_and_constrained_partners():
  np.testing.assert_array_equal(cg_map.force_map(MAPS['slice']), MAPS['slice'].matrix)
  rigid = cg_map.force_map(MAPS['slice'], HYDROGENS)
  assert [np.flatnonzero(row).tolist() for row in rigid] == [[2, 3], [8, 9], [14, 15]]
  assert set(rigid.ravel()) == {0.0, 1.0}
  residues = cg_map.force_map(MAPS['centre of mass'], HYDROGENS)
  np.testing.assert_array_equal(residues, np.repeat(np.eye(3), 6, axis=1))


def test_force_map_refuses_beads_that_are_not_independent():
  pair = cg_map.select_atoms(TOPOLOGY, 'name CA HA')
  message = r"cg_map: found beads .*\(beads 0 'ALA:CA' and 1 'ALA:HA'\).*no force map is consistent"
  assert cg_map.force_map(pair).shape == (6, 18)
  with pytest.raises(ValueError, match=message):
    cg_map.force_map(pair, HYDROGENS)
  mixture = cg_map.make_map(np.array([[1.0, 0], [0, 1.0], [0.5, 0.5]]))
  with pytest.raises(ValueError, match=r'found beads whose atoms .* expected independent beads'):
    cg_map.force_map(mixture)


def test_positions_are_mapped_frame_by_frame():
  r = np.random.default_rng(0).normal(size=(7, 18, 3)).astype(np.float32)
  np.testing.assert_array_equal(cg_map.map_positions(MAPS['slice'], r), r[:, 2::6])
  x = cg_map.map_positions(MAPS['centre of mass'], r)
  mass = cg_map.atom_masses(TOPOLOGY)[:6]
  np.testing.assert_allclose(x[:, 1], np.average(r[:, 6:12], axis=1, weights=mass), atol=1e-6)
  np.testing.assert_allclose(cg_map.map_positions(SHARED, r + 1), cg_map.map_positions(SHARED, r)
                             + 1, atol=1e-6)  # float32
  assert x.dtype == np.float32
  np.testing.assert_allclose(cg_map.map_forces(np.ones((1, 18)), r)[:, 0], r.sum(axis=1), atol=1e-5)
  with pytest.raises(ValueError, match='atoms: found 12, expected 18'):
    cg_map.map_positions(MAPS['slice'], r[:, :12])


def test_names():
  assert MAPS['slice'].names == ('ALA:CA', 'GLY:CA', 'ALA:CA')
  assert MAPS['centre of mass'].names == ('ALA', 'GLY', 'ALA')
  assert SHARED.names == ('0', '1', '2')


def test_bad_maps_are_refused():
  rows = MAPS['slice'].matrix.copy()
  rows[1] *= 0.9
  with pytest.raises(ValueError, match=r'matrix: found a sum of 0.9 in the row of bead 1'):
    cg_map.make_map(rows)
  with pytest.raises(ValueError, match=r'matrix: found shape .* expected finite weights'):
    cg_map.make_map(rows * np.nan)
  with pytest.raises(ValueError, match='names: found 2, expected 3'):
    cg_map.make_map(MAPS['slice'].matrix, ['a', 'b'])
  with pytest.raises(ValueError, match=r"selection: 'name CX' matches none of 18 atoms; .*'CA'"):
    cg_map.select_atoms(TOPOLOGY, 'name CX')
  with pytest.raises(ValueError, match="selection: cannot understand 'nme CA'"):
    cg_map.select_atoms(TOPOLOGY, 'nme CA')
  with pytest.raises(ValueError, match='groups: found 0 atoms without mass in group 1'):
    cg_map.centre_of_mass(TOPOLOGY, [[0, 1], []])


def test_a_map_is_read_from_a_file_with_or_without_names(tmp_path):
  np.savez(tmp_path / 'map.npz', matrix=OVERLAPPING.astype(np.float32), names=['a', 'b', 'c'])
  np.save(tmp_path / 'map.npy', OVERLAPPING)
  np.testing.assert_allclose(cg_map.read_map(tmp_path / 'map.npz').matrix, OVERLAPPING, atol=1e-7)
  assert cg_map.read_map(tmp_path / 'map.npz').names == ('a', 'b', 'c')
  np.testing.assert_array_equal(cg_map.read_map(tmp_path / 'map.npy').matrix, OVERLAPPING)
  assert cg_map.read_map(tmp_path / 'map.npy').names == ('0', '1', '2')


@pytest.mark.parametrize('arrays, message', [
  ({'weights': OVERLAPPING, 'names': np.array(['a'])}, 'matrix: the field is missing, found'),
  ({'matrix': np.ones(4)}, r'matrix: found float64 of shape \(4,\), expected numbers \[beads, at'),
  ({'matrix': 2 * OVERLAPPING}, 'matrix: found a sum of 2 in the row of bead 0'),
  ({'matrix': OVERLAPPING, 'names': np.array(['a'])}, 'names: found 1, expected 3')])
def test_files_that_are_no_maps_are_refused(tmp_path, arrays, message):
  np.savez(tmp_path / 'map.npz', **arrays)
  with pytest.raises(ValueError, match=f'map.npz: {message}'):
    cg_map.read_map(tmp_path / 'map.npz')


def test_a_large_solvent_costs_no_square_matrix():
  many = cg_map.make_map(np.eye(3, 200_000))
  assert cg_map.force_map(many, np.array([[0, 199_999]]))[0, -1] == 1.0
