"""Molecules from files that mdtraj writes here: beads, times, boxes, and all that is wrong."""

import shutil

import mdtraj
import numpy as np
import pytest

from twoforone.datasets import bead_system, cg_map, dataset, molecule, trajectory_file

RESIDUES, WATERS = 6, 20
BOX = 4.0  # nm
ATOMS = ('N', 'CA', 'C', 'O')


def make_topology(residues=RESIDUES, waters=WATERS):
  topology = mdtraj.Topology()
  chain = topology.add_chain()
  for k in range(residues):
    residue = topology.add_residue(('ALA', 'GLY')[k % 2], chain)
    for name in ATOMS:
      topology.add_atom(name, mdtraj.element.Element.getBySymbol(name[0]), residue)
  solvent = topology.add_chain()
  for _ in range(waters):
    residue = topology.add_residue('HOH', solvent)
    topology.add_atom('O', mdtraj.element.oxygen, residue)
  topology.create_standard_bonds()
  return topology


TOPOLOGY = make_topology()
CA = np.arange(RESIDUES) * 4 + 1


def make_positions(frames, seed=0):
  """A zigzag backbone with bonds of about 0.15 nm, its oxygens, and water anywhere."""
  random = np.random.default_rng(seed)
  x = np.zeros((frames, TOPOLOGY.n_atoms, 3))
  backbone = np.array([[0.127 * k, 0.08 * (k % 2), 0.0] for k in range(3 * RESIDUES)])
  for k, place in enumerate(backbone):
    x[:, 4 * (k // 3) + k % 3] = place
  x[:, 3:4 * RESIDUES:4] = backbone[2::3] + np.array([0, 0, 0.12])
  x[:, 4 * RESIDUES:] = random.uniform(0, BOX, (frames, WATERS, 3))
  return (x + 1.0 + 0.005 * random.normal(size=x.shape)).astype(np.float32)


def save(path, r, *, topology=TOPOLOGY, box=BOX, interval=2.0, start=0.0):
  box = {} if box is None else {
    'unitcell_lengths': np.full((len(r), 3), box), 'unitcell_angles': np.full((len(r), 3), 90.0)}
  mdtraj.Trajectory(r, topology, time=start + interval * np.arange(len(r)), **box).save(str(path))
  return path


@pytest.fixture
def top(tmp_path):
  return save(tmp_path / 'top.pdb', make_positions(1))


def centred(r):
  return r - r.mean(axis=1, keepdims=True)


def load(top, files, selection='name CA', **options):
  return molecule.load_molecule(top, files, selection=selection, temperature=310.0, **options)


# --- What is read ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings('ignore::UserWarning')  # mdtraj would prefer another netCDF package
@pytest.mark.parametrize('suffix', ['xtc', 'dcd', 'nc', 'trr', 'pdb', 'gro', 'h5'])
def test_formats(tmp_path, top, suffix, monkeypatch):
  if suffix == 'h5':
    pytest.importorskip('tables')
  monkeypatch.setattr(trajectory_file, 'CHUNK_VALUES', 4 * TOPOLOGY.n_atoms)
  r = make_positions(11)
  data = load(top, [save(tmp_path / f'run.{suffix}', r)], stride=3)
  # XTC and PDB keep 0.001 nm
  np.testing.assert_allclose(data.x, centred(r[::3, CA]), atol=1.1e-3)
  assert data.x.dtype == np.float32 and data.forces is None
  assert data.interval == (6.0 if suffix in ('xtc', 'nc', 'trr', 'h5') else None)
  np.testing.assert_array_equal(data.run, 0)
  assert load(top, tmp_path / f'run.{suffix}', stride=3, interval=5.0).interval == 15.0


def test_the_system_of_a_c_alpha_trace(tmp_path, top):
  system = load(top, save(tmp_path / 'run.xtc', make_positions(2)), name='six').system
  assert system.name == 'six' and system.temperature == 310.0
  assert system.beads == ('ALA:CA', 'GLY:CA') * 3
  np.testing.assert_array_equal(system.species, np.arange(6))
  np.testing.assert_array_equal(system.bonds, [[k, k + 1] for k in range(5)])
  np.testing.assert_allclose(system.mass, 12.011, atol=1e-3)
  shared = load(top, tmp_path / 'run.xtc', species='name', mass=np.full(6, 12.0)).system
  np.testing.assert_array_equal(shared.species, [0, 1] * 3)
  np.testing.assert_array_equal(shared.mass, 12.0)


def test_runs_of_unequal_length_in_several_parts_keep_the_stride_and_can_be_split(
    tmp_path, top, monkeypatch):
  monkeypatch.setattr(trajectory_file, 'CHUNK_VALUES', 3 * TOPOLOGY.n_atoms)
  r = make_positions(40)
  parts = [save(tmp_path / f'{k}.dcd', piece) for k, piece in enumerate(
    np.split(r, [2, 9, 25]))]
  data = load(top, [parts[:3], parts[3]], stride=4, interval=1.0)
  np.testing.assert_array_equal(data.run, np.repeat([0, 1], [7, 4]))
  expected = np.concatenate([r[:25][::4], r[25:][::4]])[:, CA]
  np.testing.assert_allclose(data.x, centred(expected), atol=1e-6)
  split = dataset.split_fold(data, 1, validation_fraction=0.3)
  assert [len(part.x) for part in split] == [5, 2, 4] and split.test.interval == 4.0


def test_beads_of_all_kinds_have_their_bonds_and_masses(tmp_path, top):
  save(tmp_path / 'run.xtc', make_positions(3))
  backbone = load(top, tmp_path / 'run.xtc', 'protein and name N CA C').system
  np.testing.assert_array_equal(backbone.bonds, [[k, k + 1] for k in range(17)])
  assert backbone.mass[:3] == pytest.approx([14.007, 12.011, 12.011], abs=1e-3)
  groups = cg_map.residue_groups(TOPOLOGY)
  whole_residues = molecule.load_molecule(
    top, tmp_path / 'run.xtc', cg_map=cg_map.centre_of_mass(TOPOLOGY, groups), temperature=300.0)
  np.testing.assert_array_equal(whole_residues.system.bonds, [[k, k + 1] for k in range(5)])
  assert whole_residues.system.mass == pytest.approx(
    [sum(TOPOLOGY.atom(a).element.mass for a in group) for group in groups])
  assert whole_residues.system.beads[:2] == ('ALA', 'GLY')
  # Carbons only: CA to the next CA by way of C, which is a bead, is no bond.
  carbons = cg_map.select_atoms(TOPOLOGY, 'protein and element C')
  np.testing.assert_array_equal(
    bead_system.bead_bonds(TOPOLOGY, carbons), [[k, k + 1] for k in range(11)])


def test_memory_is_that_of_the_beads(tmp_path, top, monkeypatch):
  monkeypatch.setattr(trajectory_file, 'CHUNK_VALUES', 4 * TOPOLOGY.n_atoms)
  source = molecule.open_molecule(top, [save(tmp_path / 'run.xtc', make_positions(10))],
                                  selection='name CA', temperature=300.0)
  assert [len(part.x) for part in molecule.read_beads(source)] == [4, 4, 2]


def test_native_structure_is_the_first_model(tmp_path):
  r = make_positions(2)
  x = molecule.load_native(save(tmp_path / 'native.pdb', r), 'name CA')
  np.testing.assert_allclose(x, r[0, CA], atol=1e-3)
  with pytest.raises(ValueError, match="selection: 'name CX' matches none of"):
    molecule.load_native(tmp_path / 'native.pdb', 'name CX')
  with pytest.raises(ValueError, match=r'absent.pdb: no such file'):
    molecule.load_native(tmp_path / 'absent.pdb', 'name CA')


# --- Periodic boxes -------------------------------------------------------------------------------


@pytest.mark.parametrize('selection', ['name CA', 'protein and name N CA C', None])
def test_broken_molecules_are_noticed_and_closed(tmp_path, top, selection):
  r = make_positions(6)
  wrapped = r.copy()
  wrapped[3:] = (wrapped[3:] + np.array([2.0, 0, 0])) % BOX
  path = save(tmp_path / 'run.dcd', wrapped)
  beads = {'selection': selection} if selection else {
    'cg_map': cg_map.centre_of_mass(TOPOLOGY, cg_map.residue_groups(TOPOLOGY))}
  options = {'temperature': 300.0, **beads}
  with pytest.raises(ValueError, match=r'run.dcd: found a bond .* first in frame 3, .*whole=True'):
    molecule.load_molecule(top, path, **options)
  closed = molecule.load_molecule(top, path, whole=True, **options)
  plain = molecule.load_molecule(top, save(tmp_path / 'plain.dcd', r), **options)
  np.testing.assert_allclose(closed.x, plain.x, atol=2e-6)  # float32 at 4 nm


def test_closing_needs_a_box_and_bonds(tmp_path, top):
  path = save(tmp_path / 'run.xtc', make_positions(2)[:, :24], topology=make_topology(waters=0),
              box=None)
  bare = save(tmp_path / 'bare.pdb', make_positions(1)[:, :24], topology=make_topology(waters=0))
  with pytest.raises(ValueError, match=r'run.xtc: found no periodic box, expected one'):
    load(bare, path, whole=True)
  with pytest.raises(ValueError, match='whole: found no bonds between the atoms of the beads'):
    load(bare, path, 'name O', whole=True)


# --- What is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['xtc', 'dcd', 'pdb'])
def test_other_atoms_than_the_topology(tmp_path, top, suffix):
  good = save(tmp_path / f'good.{suffix}', make_positions(3))
  other = save(tmp_path / f'other.{suffix}', make_positions(3)[:, :30],
               topology=make_topology(waters=6))
  with pytest.raises(ValueError, match=rf'other.{suffix}: found 30 atoms, expected 44, those of'):
    load(top, [good, other])


@pytest.mark.parametrize('suffix', ['h5', 'pdb', 'gro'])
def test_files_that_carry_their_atoms_have_those_of_the_topology(tmp_path, top, suffix):
  if suffix == 'h5':
    pytest.importorskip('tables')
  other = TOPOLOGY.copy()
  other.atom(5).name, other.atom(6).name = 'C', 'CA'  # of the second residue
  path = save(tmp_path / f'run.{suffix}', make_positions(2), topology=other)
  with pytest.raises(ValueError, match=rf'run.{suffix}: found atom 5 named C, expected CA as in'):
    load(top, path)
  assert len(load(top, path, 'protein and name N').x) == 2  # these are where they are expected


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize(('suffix', 'bytes_lost', 'message'), [
  ('xtc', 10, 'cannot be read beyond frame .*truncated'),
  ('xtc', None, 'cannot be read beyond frame .*truncated'),
  ('trr', 10, 'cannot be read beyond frame .*truncated'),
  ('nc', 10, 'cannot be read beyond frame 0, it is truncated'),
  ('dcd', 10, 'found 8 frames, expected the 9 of its header; the file is truncated'),
  ('dcd', None, 'found . frames, expected the 9 of its header; the file is truncated'),
])
def test_truncated_files(tmp_path, top, suffix, bytes_lost, message):
  path = save(tmp_path / f'run.{suffix}', make_positions(9))
  content = path.read_bytes()
  path.write_bytes(content[:-bytes_lost] if bytes_lost else content[:len(content) // 2])
  with pytest.raises(ValueError, match=rf'run.{suffix}: {message}'):
    load(top, path)


@pytest.mark.parametrize('suffix', ['xtc', 'dcd', 'trr'])
@pytest.mark.parametrize('content', [b'', b'not a trajectory at all, but a line of text ' * 20])
def test_files_of_another_kind(tmp_path, top, suffix, content):
  path = tmp_path / f'run.{suffix}'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=rf'run.{suffix}: (cannot be read beyond frame 0|found no)'):
    load(top, path)


def test_nan_frames_are_counted_by_their_number_in_the_file(tmp_path, top, monkeypatch):
  monkeypatch.setattr(trajectory_file, 'CHUNK_VALUES', 4 * TOPOLOGY.n_atoms)
  r = make_positions(12)
  r[6, CA[2], 1] = r[7, CA[0], 0] = np.nan
  r[2, -1] = np.nan  # of a water molecule: not read
  path = save(tmp_path / 'run.dcd', r)
  with pytest.raises(ValueError, match=r'run.dcd: found 2 frames with NaN .* is frame 6;'):
    load(top, path)
  assert len(load(top, path, stride=4).x) == 3


@pytest.mark.parametrize('factor', [10.0, 0.1])
def test_another_unit_of_length_is_noticed(tmp_path, top, factor):
  path = save(tmp_path / 'run.dcd', factor * make_positions(3))
  with pytest.raises(ValueError, match=r'run.dcd: found a median bond of .* nm, .*ångström for nm'):
    load(top, path)


@pytest.mark.parametrize('factor', [10.0, 1.0, 0.1])
def test_another_unit_is_noticed_by_the_residues_where_beads_have_no_bonds(tmp_path, top, factor):
  path = save(tmp_path / 'run.dcd', factor * make_positions(3))
  chosen = {'protein': 'protein and name O', 'water': 'water and name O'}
  systems = {kind: bead_system.bead_bonds(TOPOLOGY, cg_map.select_atoms(TOPOLOGY, selection))
             for kind, selection in chosen.items()}
  assert all(len(bonds) == 0 for bonds in systems.values())
  assert len(load(top, path, chosen['water']).x) == 3  # of which nothing is known
  if factor == 1.0:
    assert len(load(top, path, chosen['protein']).x) == 3
    return
  # The zigzag has 0.381 nm from residue to residue, and 0.08 nm up or down.
  with pytest.raises(ValueError, match=r'run.dcd: found a median of (3.8|3.9|0.038|0.039)\d* nm '
                     'between beads of neighbouring residues, .*ångström for nm'):
    load(top, path, chosen['protein'])


def test_uneven_times_are_noticed_unless_the_interval_is_given(tmp_path, top, monkeypatch):
  monkeypatch.setattr(trajectory_file, 'CHUNK_VALUES', 4 * TOPOLOGY.n_atoms)
  times = np.array([0, 2, 4, 6, 10.0, 12])
  path = tmp_path / 'run.xtc'
  mdtraj.Trajectory(make_positions(6), TOPOLOGY, time=times).save(str(path))
  with pytest.raises(ValueError, match=r'run.xtc: found 4 ps between frames at 6 ps, expected 2'):
    load(top, path)
  assert load(top, path, interval=2.0).interval == 2.0
  late = save(tmp_path / 'late.xtc', make_positions(6), start=1e7)
  assert load(top, late).interval == 2.0
  slow = save(tmp_path / 'slow.xtc', make_positions(6), interval=5.0)
  with pytest.raises(ValueError, match='interval: found 2 to 5 ps between frames of different'):
    load(top, [late, slow])


def test_names_and_options_that_cannot_be(tmp_path, top):
  run = save(tmp_path / 'run.xtc', make_positions(2))
  with pytest.raises(ValueError, match=r'absent.xtc: no such file'):
    load(top, [run, tmp_path / 'absent.xtc'])
  with pytest.raises(ValueError, match=r'absent.pdb: no such file'):
    load(tmp_path / 'absent.pdb', run)
  other = shutil.copy(run, tmp_path / 'run.foo')
  with pytest.raises(ValueError, match=r"run.foo: found the suffix '.foo', expected one of"):
    load(top, other)
  with pytest.raises(ValueError, match=r'run.xtc: cannot be read as a topology'):
    load(run, run)
  with pytest.raises(ValueError, match="selection: 'name CX' matches none of 44 atoms"):
    load(top, run, 'name CX')
  with pytest.raises(ValueError, match='trajectories: found'):
    load(top, [])
  with pytest.raises(ValueError, match=r'selection: expected either .* found neither'):
    load(top, run, None)
  for options, message in (
      ({'stride': 0}, 'stride: found 0'), ({'interval': -1.0}, 'interval: found -1'),
      ({'species': 'atom'}, "species: found 'atom'"),
      ({'mass': np.zeros(6)}, 'mass: found')):
    with pytest.raises(ValueError, match=message):
      load(top, run, **options)
  with pytest.raises(ValueError, match='temperature: found 0'):
    molecule.load_molecule(top, run, selection='name CA', temperature=0.0)
  few = cg_map.make_map(np.eye(2, 10))
  with pytest.raises(ValueError, match=r'top.pdb: found 44 atoms, expected 10, those of cg_map'):
    molecule.load_molecule(top, run, cg_map=few, temperature=300.0)


def test_h5_without_its_package_says_what_to_install(tmp_path, top):
  try:
    import tables  # noqa: F401
  except ImportError:
    (tmp_path / 'run.h5').write_bytes(b'\x89HDF')
    with pytest.raises(ValueError, match=r'run.h5: .h5 files need a package .* PyTables'):
      load(top, tmp_path / 'run.h5')
