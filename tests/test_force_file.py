"""Forces beside trajectories: mapped with their frames, and all that is wrong with them."""

import mdtraj
import numpy as np
import pytest

from twoforone.datasets import cg_map, force_file, molecule
from twoforone.units import thermal_energy

TEMPERATURE, STIFFNESS = 350.0, 2000.0  # K, kJ/mol/nm²
KT = thermal_energy(TEMPERATURE)


def make_topology():
  """N-CA-C with two hydrogens on CA."""
  topology = mdtraj.Topology()
  residue = topology.add_residue('ALA', topology.add_chain())
  atoms = [topology.add_atom(name, mdtraj.element.Element.getBySymbol(symbol), residue)
           for name, symbol in (('N', 'N'), ('CA', 'C'), ('C', 'C'), ('HA1', 'H'), ('HA2', 'H'))]
  for i, j in ((0, 1), (1, 2), (1, 3), (4, 1)):
    topology.add_bond(atoms[i], atoms[j])
  return topology


TOPOLOGY = make_topology()
REST = np.array([[0, 0, 0], [0.15, 0, 0], [0.2, 0.14, 0], [0.2, -0.05, 0.09], [0.2, -0.05, -0.09]])


def draw(frames, seed=0):
  """Positions and forces of atoms that springs hold to each other: exact draws of exp(-U/kT)."""
  laplacian = 5 * np.eye(5) - np.ones((5, 5))
  values, vectors = np.linalg.eigh(STIFFNESS * laplacian)
  modes = np.random.default_rng(seed).normal(size=(frames, 4, 3))
  moved = np.einsum('ak,fkc->fac', vectors[:, 1:] * np.sqrt(KT / values[1:]), modes)
  return (REST + moved).astype(np.float32), (-STIFFNESS * laplacian @ moved).astype(np.float32)


def save(folder, name, x, forces):
  mdtraj.Trajectory(x, TOPOLOGY, time=2.0 * np.arange(len(x))).save(str(folder / f'{name}.trr'))
  np.save(folder / f'{name}.npy', forces)
  return folder / f'{name}.trr', folder / f'{name}.npy'


def load(folder, files, **options):
  top = folder / 'top.pdb'
  mdtraj.Trajectory(REST[None], TOPOLOGY).save(str(top))
  runs, forces = zip(*files, strict=True)
  return molecule.load_molecule(top, runs, **{
    'forces': forces, 'temperature': TEMPERATURE, 'selection': 'name N CA C', **options})


def test_forces_come_with_their_frames_and_their_map(tmp_path, monkeypatch):
  monkeypatch.setattr('twoforone.datasets.trajectory_file.CHUNK_VALUES', 5 * 7)  # of 7 frames
  draws = [draw(20, 0), draw(31, 1)]
  files = [save(tmp_path, f'run{k}', *made) for k, made in enumerate(draws)]
  plain = load(tmp_path, files, stride=3)
  expected = np.concatenate([forces[::3, :3] for _, forces in draws])
  np.testing.assert_allclose(plain.forces, expected, rtol=1e-5, atol=1e-3)
  np.testing.assert_array_equal(plain.run, np.repeat([0, 1], [7, 11]))
  # Where hydrogens are constrained their forces belong to the bead that they hang on.
  held = load(tmp_path, files, stride=3, constraints=force_file.hydrogen_bonds(TOPOLOGY))
  expected[:, 1] += np.concatenate([forces[::3, 3:].sum(axis=1) for _, forces in draws])
  np.testing.assert_allclose(held.forces, expected, rtol=1e-5, atol=1e-3)
  centre = load(tmp_path, files, selection=None, cg_map=cg_map.make_map(np.full((1, 5), 0.2)))
  np.testing.assert_allclose(centre.forces, 0.0, atol=1e-2)  # float32 of sums of 300 kJ/mol/nm


def test_the_parts_of_a_run_keep_the_stride_of_its_forces(tmp_path):
  draws = [draw(20, 0), draw(13, 1)]
  (a, on_a), (b, on_b) = (save(tmp_path, f'part{k}', *made) for k, made in enumerate(draws))
  found = load(tmp_path, [((a, b), (on_a, on_b))], stride=3)
  forces = np.concatenate([forces for _, forces in draws])
  np.testing.assert_allclose(found.forces, forces[::3, :3], rtol=1e-5, atol=1e-3)


def test_one_wrong_run_is_found_among_others_and_named(tmp_path):
  draws = [draw(2000, k) for k in range(3)]
  files = [save(tmp_path, f'run{k}', *made) for k, made in enumerate(draws)]
  assert load(tmp_path, files).forces.shape == (6000, 3, 3)
  np.save(files[2][1], draws[2][1] / 41.84)
  with pytest.raises(ValueError, match=r'run2\.npy: found <F_i'):
    load(tmp_path, files)


def test_constrained_bonds_are_those_to_hydrogen():
  np.testing.assert_array_equal(np.sort(force_file.hydrogen_bonds(TOPOLOGY)), [[1, 3], [1, 4]])
  unknown = TOPOLOGY.copy()
  unknown.add_atom('X', None, unknown.residue(0))
  assert len(force_file.hydrogen_bonds(unknown)) == 2
  bare = TOPOLOGY.copy()
  bare._bonds = bare._bonds[:3]
  with pytest.raises(ValueError, match=r'found 1 hydrogens without a bond, .* ALA\S*-HA2'):
    force_file.hydrogen_bonds(bare)


@pytest.mark.parametrize('change, found', [
  (lambda f: f / 41.84, 'found <F_i'),                      # kcal/mol/Å
  (lambda f: f[np.random.default_rng(0).permutation(len(f))], 'found <F_i'),
  (lambda f: f[:-1], 'run.npy: found 1999 frames, expected 2000 or more'),
  (lambda f: np.concatenate([f, f[:1]]), 'run.npy: found 2001 frames, expected 2000'),
  (lambda f: f[:, :3], r'run.npy: found float32 of shape \(2000, 3, 3\)'),
  (lambda f: f.astype(int), 'run.npy: found int64'),
  (lambda f: np.where(np.arange(2000)[:, None, None] == 5, np.nan, f),
   'run.npy: found 1 frames with NaN .* the first is frame 5;'),
])
def test_forces_that_cannot_be_are_refused(tmp_path, change, found):
  x, forces = draw(2000)
  file = save(tmp_path, 'run', x, forces)
  assert load(tmp_path, [file]).forces.shape == (2000, 3, 3)
  np.save(file[1], change(forces))
  with pytest.raises(ValueError, match=found):
    load(tmp_path, [file])


def test_files_of_forces_must_match_those_of_frames(tmp_path):
  file = save(tmp_path, 'run', *draw(5))
  with pytest.raises(ValueError, match=r'forces: found \[1, 1\] files in 2 runs, expected \[1\]'):
    load(tmp_path, [file], forces=[file[1]] * 2)
  with pytest.raises(ValueError, match=r'forces: found \[\], expected at least one file'):
    load(tmp_path, [file], forces=[])
  with pytest.raises(ValueError, match='constraints: found 2, expected none without forces'):
    load(tmp_path, [file], forces=None, constraints=force_file.hydrogen_bonds(TOPOLOGY))
  (tmp_path / 'text.npy').write_text('no array')
  with pytest.raises(ValueError, match=r'text\.npy: cannot be read, expected an \.npy'):
    load(tmp_path, [(file[0], tmp_path / 'text.npy')])
  with pytest.raises(ValueError, match=r'absent\.npy: no such file'):
    load(tmp_path, [(file[0], tmp_path / 'absent.npy')])
