"""Fast folders: files of the DESRES layout, written here, and the split of the paper."""

import mdtraj
import numpy as np
import pytest

from twoforone.datasets import dataset, fast_folders
from twoforone.datasets.dataset import Dataset
from twoforone.system import make_chain

# Sizes of the reference histograms of Arts et al. (2023): train, validation, test.
SIZES = {
  'chignolin': (374_321, 53_474, 106_948), 'trp_cage': (730_800, 104_400, 208_800),
  'bba': (780_182, 111_454, 222_909), 'villin': (439_536, 62_790, 125_581),
  'protein_g': (1_294_476, 184_925, 369_850)}


def make_trace(num_beads, frames, seed=0):
  """A zigzag with C-alpha distances of about 0.38 nm."""
  zigzag = np.array([[0.33 * k, 0.19 * (k % 2), 0.0] for k in range(num_beads)])
  noise = np.random.default_rng(seed).normal(size=(frames, num_beads, 3))
  return (zigzag + 0.01 * noise).astype(np.float32)


def write_protein(root, name, *, parts=(4, 7, 2), num_beads=None):
  """The layout of the set; parts are written so that their names sort in another order."""
  protein = fast_folders.PROTEINS[name]
  stem = f'{protein.id}-0-c-alpha'
  folder = root / protein.id / 'simulation_0' / 'c-alpha' / stem
  folder.mkdir(parents=True)
  topology = mdtraj.Topology()
  chain = topology.add_chain()
  for _ in range(num_beads or protein.num_beads):
    topology.add_atom('CA', mdtraj.element.carbon, topology.add_residue('GLY', chain))
  r = make_trace(topology.n_atoms, sum(parts))
  mdtraj.Trajectory(r[:1], topology).save_pdb(str(folder / f'{stem}.pdb'))
  rows = []
  for k, part in enumerate(np.split(r, np.cumsum(parts)[:-1])):
    part_name = f'{stem}-{9 - k}.dcd'
    mdtraj.Trajectory(part, topology).save_dcd(str(folder / part_name))
    rows.append(f'{1e5 * k:.1f}, {part_name}')
  (folder / f'{stem}_times.csv').write_text('\n'.join(rows) + '\n')
  return folder, r


def test_parts_are_read_in_the_order_of_the_table(tmp_path):
  _, r = write_protein(tmp_path, 'chignolin')
  data = fast_folders.load_fast_folder(tmp_path, 'chignolin')
  np.testing.assert_allclose(data.x, r - r.mean(axis=1, keepdims=True), atol=1e-6)
  assert data.interval == 200.0 and data.system.name == 'chignolin'
  assert data.system.temperature == 340.0
  np.testing.assert_array_equal(data.system.mass, 12.0)
  np.testing.assert_array_equal(data.system.species, np.arange(10))
  np.testing.assert_array_equal(data.system.bonds, [[k, k + 1] for k in range(9)])
  np.testing.assert_array_equal(data.run, 0)
  every = fast_folders.load_fast_folder(tmp_path, 'chignolin', stride=3)
  np.testing.assert_array_equal(every.x, data.x[::3])
  assert every.interval == 600.0


def test_a_simulation_is_cut_into_runs_to_hold_one_out(tmp_path):
  write_protein(tmp_path, 'ww_domain', num_beads=35)
  data = fast_folders.load_fast_folder(tmp_path, 'ww_domain', num_runs=3)
  np.testing.assert_array_equal(data.run, np.repeat([0, 1, 2], [5, 4, 4]))
  split = dataset.split_fold(data, 2, validation_fraction=0.3)
  np.testing.assert_array_equal(split.test.x, data.x[9:])


def numbered(size):
  """A dataset whose frames are their own numbers."""
  system = make_chain('any', ('A', 'B'), (12.0, 12.0), 300.0)
  return Dataset(np.arange(size), None, np.zeros(size, int), 200.0, system)


@pytest.mark.parametrize('name', SIZES)
def test_published_split_has_the_published_sizes(name):
  split = fast_folders.split_published(numbered(fast_folders.PROTEINS[name].num_frames))
  assert tuple(len(part.x) for part in split) == SIZES[name]
  assert all(part.interval is None for part in split)


def test_published_split_is_numpys_legacy_shuffle_of_the_frames_and_leaks():
  frames = np.random.default_rng(0).normal(size=(1000, 2, 3))
  shuffled = frames.copy()
  np.random.RandomState(2342361).shuffle(shuffled)
  split = fast_folders.split_published(numbered(1000)._replace(x=frames))
  np.testing.assert_array_equal(np.concatenate([part.x for part in split]), shuffled)
  numbers = fast_folders.split_published(numbered(1000))
  assert sorted(np.concatenate([part.x for part in numbers])) == list(range(1000))
  # Two neighbours of a frame are both outside of a random 70 % in 9 of 100 cases.
  neighbour = np.isin(numbers.test.x + 1, numbers.train.x) | np.isin(
    numbers.test.x - 1, numbers.train.x)
  assert neighbour.mean() > 0.8
  with pytest.raises(ValueError, match='frames: found 9, expected at least 10'):
    fast_folders.split_published(numbered(9))


def test_absent_files_say_where_they_come_from(tmp_path):
  message = (r'CLN025-0-c-alpha.pdb: no such file; .* must be requested from D. E. Shaw Research '
             r'.*CLN025-0-c-alpha_times.csv and the .dcd parts in .*simulation_0')
  with pytest.raises(ValueError, match=message):
    fast_folders.load_fast_folder(tmp_path, 'chignolin')
  folder, _ = write_protein(tmp_path, 'chignolin')
  (folder / 'CLN025-0-c-alpha-8.dcd').unlink()
  with pytest.raises(ValueError, match=r'CLN025-0-c-alpha-8.dcd: no such file'):
    fast_folders.load_fast_folder(tmp_path, 'chignolin')
  (folder / 'CLN025-0-c-alpha_times.csv').write_text('0.0\n')
  with pytest.raises(ValueError, match=r"times.csv: found \['0.0'\], expected a time in ps and"):
    fast_folders.load_fast_folder(tmp_path, 'chignolin')


def test_other_proteins_are_refused(tmp_path):
  with pytest.raises(ValueError, match=r"name: found 'ubiquitin', expected one of .*'chignolin'"):
    fast_folders.load_fast_folder(tmp_path, 'ubiquitin')
  with pytest.raises(ValueError, match='num_runs: found 0'):
    fast_folders.load_fast_folder(tmp_path, 'chignolin', num_runs=0)
  write_protein(tmp_path, 'chignolin', num_beads=11)
  with pytest.raises(ValueError, match=r'alpha.pdb: found 11 C-alpha, expected 10'):
    fast_folders.load_fast_folder(tmp_path, 'chignolin')


@pytest.mark.parametrize('changes, message', [
  ({}, r"bba_ca_A: the field is missing, found \['chignolin_ca_A'\]"),
  ({'bba_ca_A': np.zeros((28, 3))}, r'bba_ca_A: found shape \(28, 3\), expected \[frames,'),
  ({'bba_ca_A': np.full((1, 28, 3), np.nan)}, 'bba_ca_A: found 1 frames with NaN')])
def test_damaged_native_structures_are_refused(tmp_path, changes, message):
  np.savez(tmp_path / 'a.npz', chignolin_ca_A=np.zeros((1, 10, 3)), **changes)
  with pytest.raises(ValueError, match=message):
    fast_folders.load_native(tmp_path / 'a.npz', 'bba')
