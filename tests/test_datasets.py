"""Datasets: splits that share no frame, loaders that convert units and refuse bad files by name."""

import hashlib
import json

import numpy as np
import pytest

from experiments import check_data
from experiments.configs import check_data as check_data_config
from twoforone import units
from twoforone.datasets import ala2, array_file, bead_file, dataset, force_map, frames

SYSTEM = ala2.ala2_system()
KT = units.thermal_energy(300.0)


def make_x(num_frames=40, seed=0):
  """Frames of a zigzag chain with bonds of about 0.15 nm, away from the origin."""
  zigzag = 0.15 * np.array([[i * 0.85, (i % 2) * 0.5, 0.0] for i in range(5)])
  noise = np.random.default_rng(seed).normal(size=(num_frames, 5, 3))
  return (zigzag + 0.005 * noise + 0.5).astype(np.float32)


def make_data(num_frames=40, num_runs=4, **options):
  x = make_x(num_frames)
  return dataset.make_dataset(x, SYSTEM, forces=10 * x, num_runs=num_runs, **options)


def frame_ids(part, whole):
  """Index in `whole` of each frame of `part`; frames are all different."""
  index = {frame.tobytes(): k for k, frame in enumerate(whole.x)}
  return [index[frame.tobytes()] for frame in part.x]


# --- Dataset, splits, subsets ---------------------------------------------------------------


def test_make_dataset_centres_and_numbers_the_runs():
  data = make_data(interval=2.0)
  # float32 rounding of positions of 0.5 nm
  np.testing.assert_allclose(data.x.mean(axis=1), 0.0, atol=1e-6)
  np.testing.assert_array_equal(data.run, np.repeat([0, 1, 2, 3], 10))
  assert data.x.dtype == data.forces.dtype == np.float32
  assert data.interval == 2.0


@pytest.mark.parametrize(('change', 'message'), [
  (lambda x: x[:, :4], r'here: found 4 beads, expected 5'),
  (lambda x: x[0], r'here: found shape \(5, 3\), expected \[frames, 5, 3\]'),
  (lambda x: x[:0], r'here: found shape \(0, 5, 3\)'),
  (lambda x: x.astype(int), r'here: found int64 values, expected floating'),
  (lambda x: 10 * x, r"here: found a median bond of .* nm.*length_unit='angstrom'"),
  (lambda x: 0.1 * x, r"here: found a median bond of .* nm.*length_unit='nm'"),
  (lambda x: x[:39], r'here: found 39 frames, expected a multiple of 4'),
])
def test_make_dataset_refuses(change, message):
  with pytest.raises(ValueError, match=message):
    dataset.make_dataset(change(make_x()), SYSTEM, num_runs=4, labels=('here', 'there'))


def test_make_dataset_counts_frames_that_are_not_finite():
  x = make_x()
  x[7, 2, 1], x[30] = np.nan, np.inf
  with pytest.raises(ValueError, match=r'found 2 frames with NaN or infinite .* is frame 7;'):
    dataset.make_dataset(x, SYSTEM)


def test_make_dataset_refuses_forces_of_another_length():
  x = make_x()
  with pytest.raises(ValueError, match=r'forces: found shape \(39, 5, 3\), expected \(40, 5, 3\)'):
    dataset.make_dataset(x, SYSTEM, forces=x[1:])


@pytest.mark.parametrize('fold', [0, 2, 3])
def test_split_fold_holds_out_a_run_and_the_ends_of_the_others(fold):
  data = make_data(interval=2.0)
  split = dataset.split_fold(data, fold, validation_fraction=0.2)
  ids = [frame_ids(part, data) for part in split]
  others = [run for run in range(4) if run != fold]
  assert ids[2] == list(range(10 * fold, 10 * fold + 10))
  assert ids[1] == [10 * run + k for run in others for k in (8, 9)]
  assert ids[0] == [10 * run + k for run in others for k in range(8)]
  np.testing.assert_array_equal(split.train.run, np.repeat(others, 8))
  assert all(part.interval == 2.0 for part in split)
  np.testing.assert_array_equal(split.test.forces, data.forces[data.run == fold])


def test_a_single_run_is_cut_into_pieces_of_time():
  data = make_data()._replace(run=np.zeros(40, int))
  found = dataset.cut_runs(data, 3)
  assert np.bincount(found.run).tolist() == [14, 13, 13] and (np.diff(found.run) >= 0).all()
  assert found.x is data.x
  for wrong in (0, 41):
    with pytest.raises(ValueError, match=f'num_runs: found {wrong}, expected 1 to 40'):
      dataset.cut_runs(data, wrong)
  with pytest.raises(ValueError, match='found 4 runs, expected one to cut'):
    dataset.cut_runs(make_data(), 2)


def test_split_shuffled_holds_out_a_run_and_mixes_the_others_in_time():
  data = make_data(interval=2.0)
  split = dataset.split_shuffled(data, 1, seed=3)
  ids = [frame_ids(part, data) for part in split]
  assert ids[2] == list(range(10, 20))
  assert len(ids[0]) == 20 and len(ids[1]) == 10
  assert sorted(ids[0] + ids[1] + ids[2]) == list(range(40))
  # The leak: validation frames next to training frames in time, not one block per run.
  assert len(set(np.array(ids[1]) + 1) & set(ids[0])) > 3
  assert split.train.interval is None
  again = dataset.split_shuffled(data, 1, seed=3)
  np.testing.assert_array_equal(again.validation.x, split.validation.x)
  assert frame_ids(dataset.split_shuffled(data, 1, seed=4).validation, data) != ids[1]


@pytest.mark.parametrize('split', [
  dataset.split_fold, lambda *args, **options: dataset.split_shuffled(*args, 0, **options)])
def test_splits_refuse(split):
  data = make_data()
  with pytest.raises(ValueError, match=r'fold: found \[4\], expected some of the runs \[0, 1, 2'):
    split(data, 4)
  for fraction in (0.0, 1.0, -0.5, float('nan')):
    with pytest.raises(ValueError, match=r'validation_fraction: found .* between 0 and 1'):
      split(data, 0, validation_fraction=fraction)
  with pytest.raises(ValueError, match=r'validation_fraction: found 0.01, which is 0 of'):
    split(data, 0, validation_fraction=0.01)
  with pytest.raises(ValueError, match=r'all runs \(\[0\]\)'):
    split(make_data(num_runs=1), 0)


def test_subset_is_seeded_sorted_and_nested():
  data = make_data()
  small, large = (frame_ids(dataset.subset(data, size, 7), data) for size in (10, 25))
  assert len(set(small)) == 10 and small == sorted(small)
  assert set(small) < set(large)
  assert small == frame_ids(dataset.subset(data, 10, 7), data)
  assert small != frame_ids(dataset.subset(data, 10, 8), data)
  for size in (0, 41):
    with pytest.raises(ValueError, match=f'size: found {size}, expected 1 to 40'):
      dataset.subset(data, size, 0)


def test_data_scale_of_independent_normals():
  # Centring takes one of n = 5 degrees of freedom: variance (n - 1)/n a².
  x = 0.3 * np.random.default_rng(0).normal(size=(4000, 5, 3)) + 7.0
  expected = 0.3 * np.sqrt(4 / 5)
  standard_error = expected / np.sqrt(2 * 4000 * 12)
  assert abs(dataset.data_scale(x.astype(np.float32)) - expected) < 4 * standard_error


# --- Files of frames --------------------------------------------------------------------------


def test_load_frames_from_npy_in_angstrom_with_forces_in_another_file(tmp_path):
  x = make_x()
  np.save(tmp_path / 'coordinates.npy', 10 * x)
  np.save(tmp_path / 'labels.npy', x)
  data = frames.load_frames(
    tmp_path / 'coordinates.npy', SYSTEM, forces_path=tmp_path / 'labels.npy',
    length_unit='angstrom', force_unit='kcal/mol/angstrom', num_runs=2, interval=10.0)
  # float32 rounding
  np.testing.assert_allclose(data.x, x - x.mean(axis=1, keepdims=True), atol=1e-6)
  np.testing.assert_allclose(data.forces, 41.84 * x, rtol=1e-6)
  np.testing.assert_array_equal(data.run, np.repeat([0, 1], 20))
  assert frames.load_frames(tmp_path / 'coordinates.npy', SYSTEM,
                            length_unit='angstrom').forces is None


@pytest.mark.parametrize(('position_field', 'force_field'), [
  ('x', 'forces'), ('positions', 'f'), ('coords', 'aaFs'), ('x', None)])
def test_load_frames_from_the_fields_of_an_npz(tmp_path, position_field, force_field):
  x = make_x()
  fields = {position_field: x} | ({force_field: 3 * x} if force_field else {})
  np.savez(tmp_path / 'some.npz', **fields)
  data = frames.load_frames(tmp_path / 'some.npz', SYSTEM)
  np.testing.assert_allclose(data.x, x - x.mean(axis=1, keepdims=True), atol=1e-6)
  assert (data.forces is None) == (force_field is None)
  if force_field:
    np.testing.assert_array_equal(data.forces, 3 * x)


def with_nan(x):
  x = x.copy()
  x[3, 0, 0] = np.nan
  return x


@pytest.mark.parametrize(('fields', 'message'), [
  (lambda x: {'aaFs': x}, r'bad.npz: found forces without positions, .*expected one of'),
  (lambda x: {'velocity': x}, r"bad.npz: found the fields \['velocity'\], expected one of"),
  (lambda x: {'x': x, 'coords': x}, r"bad.npz: found the fields \['x', 'coords'\]"),
  (lambda x: {'coords': x[:, :4]}, r'bad.npz: coords: found 4 beads, expected 5'),
  (lambda x: {'coords': with_nan(x)}, r'bad.npz: coords: found 1 frames with NaN .* frame 3;'),
  (lambda x: {'x': x, 'f': with_nan(x)}, r'bad.npz: f: found 1 frames with NaN'),
  (lambda x: {'x': x, 'f': x[:9]}, r'bad.npz: f: found shape \(9, 5, 3\), expected \(40, 5, 3\)'),
  (lambda x: {'x': 10 * x}, r'bad.npz: x: found a median bond of 1\..* ångström'),
  (lambda x: {'x': (1e4 * x).astype(np.int16)}, r'bad.npz: x: found int16 values'),
  (lambda x: {'x': np.array([x, None], object)}, r'bad.npz: cannot be read'),
])
def test_load_frames_refuses_and_names_file_and_field(tmp_path, fields, message):
  np.savez(tmp_path / 'bad.npz', **fields(make_x()))
  with pytest.raises(ValueError, match=message):
    frames.load_frames(tmp_path / 'bad.npz', SYSTEM)


def test_load_frames_refuses_an_unknown_unit(tmp_path):
  with pytest.raises(ValueError, match="length_unit: found 'pm', expected one of"):
    frames.load_frames(tmp_path / 'any.npz', SYSTEM, length_unit='pm')


def test_load_frames_refuses_a_compact_file(tmp_path):
  bead_file.write(tmp_path / 'beads.npz', make_x()[None])
  with pytest.raises(ValueError, match=r'compact bead file.*load_bead_frames'):
    frames.load_frames(tmp_path / 'beads.npz', SYSTEM)


def damage(path, kind):
  whole = path.read_bytes()
  path.write_bytes({
    'half': whole[:len(whole) // 2], 'empty': b'', 'text': b'not an archive at all',
    'flipped': whole[:300] + bytes(200) + whole[500:]}[kind])


@pytest.mark.parametrize(('suffix', 'kind'), [
  *((suffix, kind) for suffix in ('npy', 'npz') for kind in ('half', 'empty', 'text')),
  ('npz', 'flipped'),  # an .npy has no checksum
])
def test_damaged_files_are_named(tmp_path, suffix, kind):
  path = tmp_path / f'frames.{suffix}'
  x = make_x()
  np.savez_compressed(path, x=x) if suffix == 'npz' else np.save(path, x)
  damage(path, kind)
  with pytest.raises(ValueError, match=rf'frames.{suffix}: cannot be read, it is truncated or not'):
    array_file.read(path)


def test_missing_files_and_other_kinds_are_named(tmp_path):
  with pytest.raises(ValueError, match=r'absent.npz: no such file'):
    array_file.read(tmp_path / 'absent.npz')
  with pytest.raises(ValueError, match=r"beads.xtc: found the suffix '.xtc', expected .npy or"):
    array_file.read(tmp_path / 'beads.xtc')


# --- The compact bead file -----------------------------------------------------------------------


def test_bead_file_round_trip_is_within_half_a_count(tmp_path):
  x = make_x().reshape(2, 20, 5, 3)
  forces = 1000 * np.random.default_rng(1).normal(size=x.shape)
  bead_file.write(tmp_path / 'beads.npz', x, forces)
  read = bead_file.read(tmp_path / 'beads.npz')
  centred = x - x.mean(axis=2, keepdims=True)
  # 1e-6: float32 rounding on top of the rounding to counts
  assert np.abs(read.positions - centred).max() < 0.5 * bead_file.POSITION_UNIT + 1e-6
  assert np.abs(read.forces - forces).max() < 0.5 * bead_file.FORCE_UNIT + 1e-3
  data = frames.load_bead_frames(tmp_path / 'beads.npz', SYSTEM, interval=2.0)
  np.testing.assert_array_equal(data.run, np.repeat([0, 1], 20))
  np.testing.assert_array_equal(data.forces, read.forces.reshape(40, 5, 3))


def test_bead_file_without_forces(tmp_path):
  bead_file.write(tmp_path / 'beads.npz', make_x()[None])
  assert bead_file.read(tmp_path / 'beads.npz').forces is None


def test_bead_file_refuses_what_int16_cannot_hold(tmp_path):
  with pytest.raises(ValueError, match='forces: found values that are not finite or beyond'):
    bead_file.write(tmp_path / 'beads.npz', make_x()[None], 1e5 * make_x()[None])


COUNTS = np.zeros((2, 3, 5, 3), np.int16)


@pytest.mark.parametrize(('fields', 'message'), [
  ({'forces': COUNTS, 'force_unit': 1.0}, 'bad.npz: found forces without positions'),
  ({'position_unit': 1.0}, 'bad.npz: positions: the field is missing'),
  ({'positions': COUNTS}, 'bad.npz: position_unit: the field is missing'),
  ({'positions': COUNTS, 'position_unit': 1.0, 'forces': COUNTS},
   'bad.npz: force_unit: the field is missing'),
  ({'positions': COUNTS[0], 'position_unit': 1.0},
   r'bad.npz: positions: found int16 of shape \(3, 5, 3\), expected int16 \[runs, frames, beads'),
  ({'positions': COUNTS.astype(float), 'position_unit': 1.0}, 'positions: found float64 of shape'),
  ({'positions': COUNTS, 'position_unit': 1.0, 'forces': COUNTS[:1], 'force_unit': 1.0},
   r'bad.npz: forces: found shape \(1, 3, 5, 3\), expected \(2, 3, 5, 3\)'),
])
def test_bead_file_refuses_and_names_file_and_field(tmp_path, fields, message):
  np.savez(tmp_path / 'bad.npz', **fields)
  with pytest.raises(ValueError, match=message):
    bead_file.read(tmp_path / 'bad.npz')


# --- Alanine dipeptide ----------------------------------------------------------------------------


def test_ala2_system():
  system = ala2.ala2_system()
  assert system.beads == ('C', 'N', 'CA', 'C', 'N')
  np.testing.assert_array_equal(system.mass, [12, 14, 12, 12, 14])
  assert system.temperature == 300.0
  np.testing.assert_allclose(ala2.ala2_system(mass=ala2.PAPER_MASS).mass, system.mass.mean())


def write_ala2(directory, x, forces=None):
  """A folder like data/, with `x` [runs, frames, 5, 3]."""
  path = directory / 'ala2_implicit_beads.npz'
  bead_file.write(path, x, forces)
  card = {'config': {'temperature': 310.0, 'interval': 4.0},
          'sha256': {'beads': hashlib.sha256(path.read_bytes()).hexdigest()}}
  (directory / 'ala2_implicit.json').write_text(json.dumps(card))
  return path


def test_load_ala2_takes_runs_interval_and_temperature_from_the_files(tmp_path):
  write_ala2(tmp_path, make_x().reshape(4, 10, 5, 3))
  data = ala2.load_ala2(tmp_path)
  assert data.interval == 4.0 and data.system.temperature == 310.0
  np.testing.assert_array_equal(data.run, np.repeat([0, 1, 2, 3], 10))


def test_load_ala2_says_how_to_remake_and_refuses_what_the_card_does_not_describe(tmp_path):
  with pytest.raises(ValueError, match=r'ala2_implicit.json: no such file; .*generate_ala2'):
    ala2.load_ala2(tmp_path)
  path = write_ala2(tmp_path, make_x()[None])
  bead_file.write(path, make_x(seed=1)[None])
  with pytest.raises(ValueError, match=r'beads.npz: found sha256 .*expected .*the card'):
    ala2.load_ala2(tmp_path)
  path.unlink()
  with pytest.raises(ValueError, match=r'ala2_implicit_beads.npz: no such file; .*generate_ala2'):
    ala2.load_ala2(tmp_path)
  (tmp_path / 'ala2_implicit.json').write_text('{"config": {"temperature": 300.0}}')
  with pytest.raises(ValueError, match=r'implicit.json: config.interval: the field is missing'):
    ala2.load_ala2(tmp_path)
  (tmp_path / 'ala2_implicit.json').write_text('{"config":')
  with pytest.raises(ValueError, match=r'ala2_implicit.json: cannot be read as JSON'):
    ala2.load_ala2(tmp_path)


def test_load_fu_berlin(tmp_path):
  x = make_x()
  np.savez(tmp_path / 'ala2_cg.npz', coords=10 * x, aaFs=x)
  data = ala2.load_fu_berlin(tmp_path / 'ala2_cg.npz')
  np.testing.assert_allclose(data.x, x - x.mean(axis=1, keepdims=True), atol=1e-6)
  np.testing.assert_allclose(data.forces, 41.84 * x, rtol=1e-6)
  np.testing.assert_array_equal(data.run, np.repeat([0, 1, 2, 3], 10))
  assert data.interval == 2.0
  np.savez(tmp_path / 'odd.npz', coords=10 * x[:-1])
  with pytest.raises(ValueError, match=r'odd.npz: coords: found 39 frames, expected a multiple'):
    ala2.load_fu_berlin(tmp_path / 'odd.npz')
  np.savez(tmp_path / 'six.npz', coords=10 * np.concatenate([x, x[:, :1]], axis=1))
  with pytest.raises(ValueError, match=r'six.npz: coords: found 6 beads, expected 5'):
    ala2.load_fu_berlin(tmp_path / 'six.npz')


# --- The check of mapped forces ---------------------------------------------------------------


def harmonic_chain(num_frames, stiffness=4000.0, seed=0):
  """Exact samples and forces of U = k/2 sum |x_{i+1} - x_i - b|²: normal bond vectors."""
  rng = np.random.default_rng(seed)
  rest = np.array([0.15, 0.0, 0.0])
  stretch = np.sqrt(KT / stiffness) * rng.normal(size=(num_frames, 4, 3))
  x = np.concatenate([np.zeros((num_frames, 1, 3)), np.cumsum(rest + stretch, axis=1)], axis=1)
  tension = np.pad(stiffness * stretch, ((0, 0), (1, 1), (0, 0)))
  return x - x.mean(axis=1, keepdims=True), tension[:, 1:] - tension[:, :-1]


def test_virial_identity_holds_for_a_harmonic_chain_and_fails_for_other_forces():
  x, forces = harmonic_chain(40_000)
  run = np.repeat([0, 1], 20_000)
  identity = force_map.virial_identity(x, forces, run, kT=KT, num_blocks=25)
  assert len(identity.pairs) == 20
  z = (identity.mean + 1) / identity.error
  assert np.abs(z).max() < 4  # twenty pairs of a Student distribution with 49 degrees of freedom
  # A force too large by a fifth gives -1.2 for each pair that begins with its bead.
  wrong = forces.copy()
  wrong[:, 1] *= 1.2
  identity = force_map.virial_identity(x, wrong, run, kT=KT, num_blocks=25)
  z = (identity.mean + 1) / identity.error
  assert np.abs(z[identity.pairs[:, 0] == 1]).max() > 6


def test_virial_identity_error_of_independent_frames():
  x, forces = harmonic_chain(40_000)
  identity = force_map.virial_identity(x, forces, np.zeros(40_000, int), kT=KT, num_blocks=100)
  i, j = identity.pairs[0]
  frames_virial = np.sum(forces[:, i] * (x[:, i] - x[:, j]), axis=-1) / (3 * KT)
  expected = frames_virial.std() / np.sqrt(40_000)
  # The spread of 100 block means is known to 1/sqrt(2 · 99) of itself.
  assert abs(identity.error[0] / expected - 1) < 4 / np.sqrt(2 * 99)


def test_virial_identity_blocks_do_not_cross_runs():
  # Two beads; the virial is 1 in the ten frames of run 0 and 4 in the thirty of run 1.
  x = np.zeros((40, 2, 3))
  x[:, 0, 0] = 1.0
  run = np.repeat([0, 1], [10, 30])
  forces = np.zeros((40, 2, 3))
  forces[:, 0, 0] = np.where(run == 0, 1.0, 4.0)
  identity = force_map.virial_identity(x, forces, run, kT=1 / 3, num_blocks=1)
  assert identity.mean[0] == pytest.approx(3.25)
  # weights 1/4, 3/4: sqrt(2 ((2.25/4)² + (0.75 · 3/4)²))
  assert identity.error[0] == pytest.approx(np.sqrt(2 * (0.5625**2 + 0.5625**2)))
  np.testing.assert_array_equal(identity.pairs, [[0, 1], [1, 0]])


def test_virial_identity_refuses():
  x, forces = harmonic_chain(10)
  run = np.zeros(10, int)
  with pytest.raises(ValueError, match='kT: found -1'):
    force_map.virial_identity(x, forces, run, kT=-1.0, num_blocks=2)
  for num_blocks in (1, 11):
    with pytest.raises(ValueError, match=f'num_blocks: found {num_blocks}'):
      force_map.virial_identity(x, forces, run, kT=KT, num_blocks=num_blocks)


def test_force_identity_experiment_writes_its_table(tmp_path):
  x, forces = harmonic_chain(400)
  (tmp_path / 'data').mkdir()
  write_ala2(tmp_path / 'data', x.reshape(2, 200, 5, 3), forces.reshape(2, 200, 5, 3))
  config = check_data_config.get_config('smoke')
  config.directory = str(tmp_path / 'data')
  check_data.run(config, str(tmp_path / 'out'))
  lines = (tmp_path / 'out' / 'force_identity.csv').read_text().splitlines()
  assert len(lines) == 21 and lines[0].startswith('i,j,beads,mean')
  assert '| 0 | 1 | C-N |' in (tmp_path / 'out' / 'force_identity.md').read_text()


def test_several_runs_are_held_out_together():
  data = make_data()
  split = dataset.split_fold(data, (1, 3))
  assert set(split.test.run) == {1, 3} and set(split.train.run) == {0, 2}
  assert set(split.validation.run) == {0, 2}
  with pytest.raises(ValueError, match=r'fold: found all runs'):
    dataset.split_fold(data, (0, 1, 2, 3))


def test_resampling_by_weight_has_the_weighted_mean_and_no_order():
  data = make_data()
  weight = np.random.default_rng(0).exponential(size=len(data.x))
  weighted = data._replace(weight=weight)
  found = dataset.resample(weighted, 4000, seed=1)
  assert found.weight is None and found.interval is None and len(found.run) == 4000
  share = weight / weight.sum()
  value = data.x[:, 0, 0].astype(float)
  mean = share @ value
  error = np.sqrt(share @ (value - mean) ** 2 / 4000)
  assert abs(found.x[:, 0, 0].mean() - mean) < 4 * error
  assert dataset.effective_size(np.ones(7)) == 7
  assert dataset.split_fold(weighted, 0).test.weight.tolist() == weight[data.run == 0].tolist()
  with pytest.raises(ValueError, match='weight: found none'):
    dataset.resample(data, 10, seed=0)
