"""Parts appear whole and in order; exported files read back, bonds included."""

import pathlib

import mdtraj
import numpy as np
import pytest

from twoforone import trajectory
from twoforone.system import make_chain

SYSTEM = make_chain('ala2', ('C', 'N', 'CA', 'C', 'N'), (12.0, 14.0, 12.0, 12.0, 14.0), 300.0)


def frames(count: int = 7) -> np.ndarray:
  rng = np.random.default_rng(0)
  chain = 0.15 * np.arange(5)[:, None] * np.array([1.0, 0.3, 0.0])
  return (chain + 0.05 * rng.standard_normal((count, 5, 3))).astype(np.float32)


@pytest.mark.parametrize('suffix', trajectory.SUFFIXES)
def test_export_reads_back_within_the_precision_of_the_format(tmp_path, suffix):
  x = frames()
  path, topology = trajectory.export(tmp_path / f'run{suffix}', x, SYSTEM, interval=2.0)
  assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, topology.name])
  back = mdtraj.load(str(path), **({} if suffix == '.h5' else {'top': str(topology)}))
  np.testing.assert_allclose(back.xyz, x, atol=1e-3)  # XTC rounds to 0.001 nm
  assert [a.name for a in back.topology.atoms] == list(SYSTEM.beads)
  assert {(a.index, b.index) for a, b in back.topology.bonds} == {(0, 1), (1, 2), (2, 3), (3, 4)}
  if suffix != '.dcd':  # mdtraj's DCD has no time
    np.testing.assert_allclose(back.time, 2.0 * np.arange(len(x)))


@pytest.mark.parametrize('suffix', trajectory.SUFFIXES)
def test_folders_of_any_name_can_be_written_to(tmp_path, suffix):
  (tmp_path / '3×64 φ').mkdir()
  path, _ = trajectory.export(tmp_path / '3×64 φ' / f'run{suffix}', frames(), SYSTEM)
  assert path.stat().st_size > 0


def test_export_topology_has_conect_records(tmp_path):
  _, topology = trajectory.export(tmp_path / 'run.xtc', frames(), SYSTEM)
  assert topology.read_text().count('CONECT') == 5


def test_export_names_what_is_wrong(tmp_path):
  with pytest.raises(ValueError, match=r'suffix'):
    trajectory.export(tmp_path / 'run.txt', frames(), SYSTEM)
  with pytest.raises(ValueError, match='found 4 beads, ala2 has 5'):
    trajectory.export(tmp_path / 'run.xtc', frames()[:, :4], SYSTEM)
  with pytest.raises(ValueError, match='not finite'):
    trajectory.export(tmp_path / 'run.xtc', np.full((2, 5, 3), np.nan, np.float32), SYSTEM)


def test_parts_read_back_in_order(tmp_path):
  folder = tmp_path / 'parts'
  assert trajectory.count_parts(folder) == 0
  for k in range(3):
    trajectory.write_part(folder, k, {'x': frames(2) + k, 'step': np.int64(k)})
  assert trajectory.count_parts(folder) == 3
  for k, part in enumerate(trajectory.read_parts(folder)):
    np.testing.assert_array_equal(part['x'], frames(2) + k)
    assert part['step'] == k


def test_parts_are_joined_or_what_is_wrong_is_named(tmp_path):
  with pytest.raises(ValueError, match='found no part'):
    trajectory.join_parts(tmp_path, ('x',))
  for k in range(3):
    trajectory.write_part(tmp_path, k, {'x': frames(2) + k, 'step': np.arange(2) + 2 * k})
  step, x = trajectory.join_parts(tmp_path, ('step', 'x'), lambda values: values[:1])
  np.testing.assert_array_equal(step, [0, 2, 4])
  np.testing.assert_array_equal(x, np.stack([frames(2)[0] + k for k in range(3)]))
  with pytest.raises(ValueError, match=r"kT: found only \['step', 'x'\] in part 0"):
    trajectory.join_parts(tmp_path, ('x', 'kT'))
  trajectory.write_part(tmp_path, 3, {'x': frames(3), 'step': np.arange(3)})
  with pytest.raises(ValueError, match=r'x: found \[3, 5, 3\] in part 3, expected \[2, 5, 3\]'):
    trajectory.join_parts(tmp_path, ('x',))


def test_missing_and_truncated_parts_are_named(tmp_path):
  for k in range(3):
    trajectory.write_part(tmp_path, k, {'x': frames()})
  whole = (tmp_path / 'part_00002.npz').read_bytes()
  (tmp_path / 'part_00002.npz').write_bytes(whole[:len(whole) // 2])
  with pytest.raises(ValueError, match=r'part_00002\.npz: cannot be read'):
    list(trajectory.read_parts(tmp_path))
  (tmp_path / 'part_00001.npz').unlink()
  with pytest.raises(ValueError, match=r'found part_00002\.npz, expected part_00001\.npz'):
    trajectory.count_parts(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
  def fail(file):
    file.write(b'half')
    raise RuntimeError('disk')
  trajectory.write_atomically(tmp_path / 'card', lambda file: file.write(b'old'))
  with pytest.raises(RuntimeError):
    trajectory.write_atomically(tmp_path / 'card', fail)
  assert [p.name for p in tmp_path.iterdir()] == ['card']
  assert (tmp_path / 'card').read_bytes() == b'old'


def test_parts_of_replicas_run_on_in_time_and_are_written_once(tmp_path):
  x = np.stack([frames(6), frames(6) + 1, frames(6)], axis=1)
  x[4:, 2] = np.nan  # lost in the second part
  options = {'suffix': '.xtc', 'replicas': (1, 2), 'interval': 0.5}
  for part in range(2):
    written = trajectory.export_part(
      tmp_path, part, lambda part=part: {'x': x[3 * part:3 * part + 3]}, SYSTEM, **options)
    assert len(written) == 2
  def refuse():
    raise AssertionError('read without need')
  assert trajectory.export_part(tmp_path, 1, refuse, SYSTEM, **options) == []
  for replica, count in ((1, 6), (2, 4)):
    folder = tmp_path / f'replica_{replica:05d}'
    back = mdtraj.load(sorted(map(str, folder.glob('*.xtc'))), top=str(folder / 'part_00000.pdb'))
    np.testing.assert_allclose(back.time, 0.5 * np.arange(1, count + 1))
    np.testing.assert_allclose(back.xyz, x[:count, replica], atol=1e-3)
  assert not list(tmp_path.rglob('.*'))  # no half-written file
  with pytest.raises(ValueError, match='replicas: found 3, expected 0 to 2'):
    trajectory.export_part(tmp_path, 0, lambda: {'x': x}, SYSTEM, **options | {'replicas': (3,)})
  with pytest.raises(ValueError, match=r"found suffix '\.gro', expected one of"):
    trajectory.export_part(tmp_path, 0, lambda: {'x': x}, SYSTEM, **options | {'suffix': '.gro'})


def test_energies_and_temperature_go_with_the_frames_into_hdf5(tmp_path):
  x, rng = np.stack([frames(), frames()], axis=1), np.random.default_rng(0)
  part = {'x': x, 'kinetic': rng.random((7, 2)), 'potential': rng.random((7, 2)),
          'temperature': np.full((7, 2), np.nan), 'virial': rng.random((7, 2))}
  options = {'replicas': (1,), 'interval': 0.5}
  path, = trajectory.export_part(tmp_path, 0, lambda: part, SYSTEM, suffix='.h5', **options)
  with mdtraj.formats.HDF5TrajectoryFile(str(path)) as file:
    found = file.read()
  np.testing.assert_allclose(found.kineticEnergy, part['kinetic'][:, 1], rtol=1e-6)  # float32
  np.testing.assert_allclose(found.potentialEnergy, part['potential'][:, 1], rtol=1e-6)
  np.testing.assert_allclose(found.coordinates, x[:, 1], atol=1e-6)
  assert found.temperature is None  # dynamics without momenta have none
  path, = trajectory.export_part(tmp_path, 0, lambda: part, SYSTEM, suffix='.xtc', **options)
  assert mdtraj.load(str(path), top=str(path.with_suffix('.pdb'))).n_frames == 7


@pytest.mark.parametrize('suffix', trajectory.SUFFIXES)
def test_no_file_that_a_writer_tore_in_silence_is_kept(tmp_path, monkeypatch, suffix):
  """HDF5 says nothing of a full disk, nor need the last flush of the others."""
  save = trajectory.mdtraj.Trajectory.save

  def tear(path):
    with open(path, 'r+b') as file:
      file.truncate(path.stat().st_size - 50)

  def save_torn(self, path):
    save(self, path)
    if path.endswith(suffix):
      tear(pathlib.Path(path))

  monkeypatch.setattr(trajectory.mdtraj.Trajectory, 'save', save_torn)
  save_hdf5 = trajectory._save_hdf5
  monkeypatch.setattr(trajectory, '_save_hdf5', lambda path, *args: (
    save_hdf5(path, *args), tear(path)))
  with pytest.raises(OSError, match=rf'run\{suffix}: cannot be written by way of .*frames'):
    trajectory.export(tmp_path / f'run{suffix}', frames(), SYSTEM)
  assert [path.name for path in tmp_path.iterdir()] == ['run.pdb']


def test_a_full_disk_names_the_part_and_leaves_those_before(tmp_path, monkeypatch):
  trajectory.write_part(tmp_path, 0, {'x': frames()})
  def full(*args, **options):
    raise OSError(28, 'No space left on device')
  monkeypatch.setattr(np, 'savez', full)
  with pytest.raises(OSError, match=r'part_00001\.npz: cannot be written \(.*No space left'):
    trajectory.write_part(tmp_path, 1, {'x': frames()})
  assert [path.name for path in tmp_path.iterdir()] == ['part_00000.npz']
