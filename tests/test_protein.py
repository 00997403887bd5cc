"""The experiment on any molecule: its loaders, its report, and a whole run made small."""

import json
import pathlib
import types

import jax
import jax.numpy as jnp
import mdtraj
import numpy as np
import pytest

from experiments import (
  checks,
  dynamics,
  evaluate_protein,
  milestones,
  models,
  molecules,
  noise_level,
  protein,
  report_parts,
  report_protein,
  subject,
  uses,
)
from experiments.configs import checks as checks_config
from experiments.configs import noise_level as noise_level_config
from experiments.configs import protein as protein_config
from experiments.configs.published_sizes import PUBLISHED_SIZES
from experiments.force_field import load_force_field
from tests.test_fast_folders import SIZES, write_protein
from twoforone import tempering
from twoforone.datasets import chignolin, dataset, force_file
from twoforone.evaluation import folding, kinetics, structure
from twoforone.simulate import BlowUp
from twoforone.system import make_chain

RNG = np.random.default_rng(0)
SHARED = pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data'
BEADS = 6


def hinge(frames, seed=0):
  """C-alpha chains [frames, 6, 3] in nm that swing between a bent and an open form."""
  rng = np.random.default_rng(seed)
  bend = 0.9 + 0.5 * np.sin(np.arange(frames) / 15) + 0.05 * rng.normal(size=frames)
  k = np.arange(BEADS)
  turn = bend[:, None] * k
  steps = np.stack([np.cos(turn), np.sin(turn), 0.3 * np.ones_like(turn)], axis=-1)
  steps *= 0.38 / np.linalg.norm(steps, axis=-1, keepdims=True)
  return (np.cumsum(steps, axis=1) + 0.005 * rng.normal(size=(frames, BEADS, 3))).astype(np.float32)


def write_run(path, frames, seed):
  """An XTC of the chain as alanines with a PDB beside it; returns both paths."""
  topology = mdtraj.Topology()
  chain = topology.add_chain()
  for _ in range(BEADS):
    topology.add_atom('CA', mdtraj.element.carbon, topology.add_residue('ALA', chain))
  trajectory = mdtraj.Trajectory(hinge(frames, seed), topology, time=2.0 * np.arange(frames))
  trajectory.save_xtc(str(path))
  trajectory[0].save_pdb(str(path.with_suffix('.pdb')))
  return str(path), str(path.with_suffix('.pdb'))


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A finished smoke run on two trajectories: its folder, its data and its rows."""
  folder = tmp_path_factory.mktemp('protein')
  (first, topology), (second, _) = (write_run(folder / f'{k}.xtc', 400, k) for k in range(2))
  data = {'topology': topology, 'trajectories': (first, second), 'native': topology}
  config = protein_config.get_config('smoke')
  config.data.update(data)
  config.simulate.update({'formats': ('.h5',), 'written_replicas': 1})
  return folder / 'run', data, protein.run(config, str(folder / 'run'))


@pytest.mark.slow
def test_trajectories_to_a_report(finished):
  folder, _, rows = finished
  left = {path.name for path in folder.iterdir()}
  assert left >= {'report.md', 'metrics.csv', 'landscape.png', 'contacts.png', 'rmsd.png',
                  'distributions.png', 'traces.png', 'training.png', 'trajectory.xtc',
                  'kinetics.png', 'transitions.png'}
  values = {(row.sample, row.metric): row for row in rows}
  assert values['held-out runs', 'bond width, mean ratio to held out'].value == pytest.approx(1)
  assert values['i.i.d.', 'TIC JS'].floor > 0
  shares = [values['simulation', f'population state {k}'].value for k in (1, 2)]
  assert 0 < sum(shares) < 1 + 1e-9
  assert values['held-out runs', 'relaxation time 1, lag 40 ps'].value > 0
  report = (folder / 'report.md').read_text()  # its replicas are of 0.64 ps
  assert 'simulation: no trajectory is longer than the lag of 40 ps.' in report
  assert np.isfinite(values['i.i.d.', 'pair-distance JS to the training frames, offset 3'].value)
  assert np.isfinite(values['simulation', 'potential energy, up to a constant'].value)
  assert np.isfinite(values['uncorrected simulation', 'TIC JS'].value)
  assert 'Correction 1 of the force field' in report and 'moved by 20 Langevin steps' in report
  part = folder / 'simulation' / 'replica_00000' / 'part_00001.h5'
  with mdtraj.formats.HDF5TrajectoryFile(str(part)) as file:
    found = file.read()
  assert np.isfinite(found.potentialEnergy).all()
  np.testing.assert_allclose(  # K = 3n kB T / 2
    found.temperature, found.kineticEnergy / (1.5 * BEADS * 0.00831446), rtol=1e-5)
  check_force_field(folder)


def check_force_field(folder):
  """The one that a run has left is the one, corrected, that its simulation was driven by."""
  field, part = load_force_field(str(folder)), np.load(folder / 'simulation' / 'part_00000.npz')
  x = jnp.asarray(part['x'][0])
  np.testing.assert_allclose(  # two programs, float32
    jax.vmap(field.potential, (None, 0))(field.params, x), part['potential'][0], atol=1e-3)
  np.testing.assert_allclose(
    field.force(field.params, x[0]), -jax.grad(field.potential, 1)(field.params, x[0]), rtol=1e-3,
    atol=1e-2)
  (folder / 'simulation' / 'round_0' / 'correction.json').unlink()
  with pytest.raises(ValueError, match=r'correction\.json: cannot be read'):
    load_force_field(str(folder))
  with pytest.raises(ValueError, match=r'config\.json: cannot be read'):
    load_force_field(str(folder / 'model'))


def of_finished(finished, configs):
  """The config of a study of the finished run, with the same data."""
  folder, data, _ = finished
  config = configs.get_config('protein_smoke')
  config.data.update(data)
  config.pretrained = str(folder / 'model' / 'best')
  return config


@pytest.mark.slow
def test_checks_pass_on_a_chain(finished, tmp_path):
  config = of_finished(finished, checks_config)
  config.update({'num_frames': 3, 'num_rotations': 5})
  rows = checks.run(config, str(tmp_path))
  assert [row['passed'] for row in rows] == [True] * 7
  assert (tmp_path / 'residual.png').exists()


@pytest.mark.slow
def test_noise_level_of_a_chain_is_by_its_pair_distances(finished, tmp_path):
  config = of_finished(finished, noise_level_config)
  config.levels = (20,)
  assert noise_level.run(config, str(tmp_path)) == 20
  table = json.loads((tmp_path / 'noise_level.json').read_text())
  assert config.simulate.temperature == 300.0  # that of the data
  split = subject.load(config).split
  assert table['floor'] == milestones.pair_js(split.train.x, split.validation.x)
  x, _ = dynamics.read_run(tmp_path / 'level_20')
  x, (row,) = x[config.simulate.burn_in_frames:], table['rows']
  assert row['lost'] == 0 and x.shape == (16, 20, BEADS, 3)
  assert row['pair-distance JS'] == milestones.pair_js(x, split.validation.x)
  groups = [milestones.pair_js(x[:, k:k + 4], split.validation.x) for k in range(0, 20, 4)]
  assert row['error'] == pytest.approx(np.std(groups, ddof=1) / np.sqrt(5))
  text = (tmp_path / 'noise_level.md').read_text()
  assert '| level | sigma | pair-distance JS | error | bond W1 [Å] |' in text


def test_studies_name_the_variants_of_alanine_and_of_any_molecule():
  config = noise_level_config.get_config('metadynamics')
  assert config.data.kind == 'metadynamics' and config.simulate.correction.rounds == 0
  assert config.simulate.parts * config.simulate.frames_per_part == 400
  # A published schedule has a tenth of the levels.
  assert (config.levels[-1], noise_level_config.get_config('protein_g').levels[-1]) == (200, 20)
  assert not subject.is_alanine(config) and subject.is_alanine(noise_level_config.get_config())
  assert checks_config.get_config('protein').data.kind == 'trajectories'
  with pytest.raises(ValueError, match=r"variant: found 'mine', expected one of \['bba', "):
    checks_config.get_config('mine')


def test_corrector_draws_the_force_field_and_marks_what_breaks():
  config = protein_config.get_config('smoke')
  config.sample.update({'corrector_steps': 1000, 'corrector_friction': 20.0})
  system = make_chain('three', ('A', 'B', 'C'), (12.0,) * 3, 300.0)
  variance, scale = 4e-4, 0.5  # whitened; nm
  schedule = models.make_schedule(config.schedule)

  def score(params, x, t):  # nothing holds what is far away
    return jnp.where(jnp.abs(x).max() < 10, -x / variance, 0.0)

  model = models.Model(schedule, None, score, None, scale, models.Statistics())
  x = np.zeros((2000, 3, 3), np.float32)
  x[0, 2, 0] = 1e4  # nm
  move = uses.make_corrector(config, model, system, config.simulate.dt)
  found = np.asarray(move(None, jax.random.key(0), x))
  assert np.isnan(found[0]).all() and np.isfinite(found[1:]).all()
  # Centred beads: two thirds of the variance of free ones. 2,000 × 6 coordinates: 1.3 %.
  np.testing.assert_allclose(found[1:].var(), 2 / 3 * variance * scale**2, rtol=0.05)


def make_view(data, native):
  config = protein_config.get_config('smoke')
  config.evaluation.tica_bins = 10
  return report_protein.make_view(config, data, native)


def test_raw_angles_are_another_plane_than_sine_and_cosine():
  data = dataset.make_dataset(hinge(400), make_chain('h', ('CA',) * BEADS, (12.0,) * BEADS, 300.0))
  config, planes = protein_config.get_config('smoke'), {}
  for raw in (False, True):
    config.evaluation.raw_angles = raw
    planes[raw] = report_protein.make_view(config, data, None).tica(data.x)
    expected = kinetics.fit_tica([structure.chain_features(data.x, raw=raw)], 10, 2)(
      structure.chain_features(data.x, raw=raw))
    # Features of a jitted chunk and of a padded one differ by float32 rounding; signs are free.
    np.testing.assert_allclose(np.abs(planes[raw]), np.abs(expected), atol=1e-3)
  assert np.abs(np.abs(planes[True]) - np.abs(planes[False])).max() > 0.05


def test_scores_tell_held_out_frames_from_swollen_ones():
  x = hinge(900)
  data = dataset.make_dataset(x, make_chain('hinge', ('CA',) * BEADS, (12.0,) * BEADS, 300.0),
                              num_runs=3)
  split = dataset.split_fold(data, 0)
  native = split.test.x[0]
  view = make_view(data, native)
  same, swollen, reference = (evaluate_protein.measure(x, view) for x in (
    split.train.x, 1.2 * split.train.x, split.test.x))
  rows = evaluate_protein.evaluate_protein(
    {'same': same, 'swollen': swollen}, view, reference=reference, training=same)
  values = {(row.sample, row.metric): row.value for row in rows}
  # A few hundred frames leave most bins of a JS to chance, which distances of means do not see.
  for metric, factor in (('pair-distance JS, offset 3', 1), ('TIC JS', 1),
                         ('W1 radius of gyration', 2), ('W1 bonds, mean', 2)):
    assert values['swollen', metric] > factor * values['same', metric]
  # Swollen by a fifth: every bond is 0.2 · 3.8 Å too long.
  assert values['swollen', 'W1 bonds, mean'] == pytest.approx(0.76, rel=0.02)
  assert values['same', 'closest pair, offset 3'] > 0
  assert values['same', 'frames with a pair closer than any held out'] < 0.05
  assert values['swollen', 'frames with a pair closer than any held out'] == 0
  assert all(row.frames for row in rows)


def test_collapsed_frames_and_close_pairs_are_counted_in_every_set():
  x = hinge(1000)
  small = x.copy()
  small[:30] *= 0.5
  small[:3, 5] = small[:3, 1] + np.array([0.0, 0.0, 0.25], np.float32)
  view = evaluate_protein.View(lambda x: x[..., -1, :2], (np.linspace(-2, 2, 11),) * 2, None, 0.2,
                               0.6, 4, 0.3)
  found, training = (evaluate_protein.measure(frames, view) for frames in (small, x))
  rows = evaluate_protein.evaluate_protein(
    {'small': found}, view, reference=training, training=training)
  values = {(row.sample, row.metric): row for row in rows}
  close, tight = 'frames with a pair under 3 Å', 'frames smaller than 99 % of the training frames'
  for sample, frames in (('small', small), ('held-out runs', x), ('training frames', x)):
    pairs = np.linalg.norm(frames[:, [0, 0, 1]] - frames[:, [4, 5, 5]], axis=-1)  # offset 4
    row = values[sample, close]
    assert row.value == pytest.approx(np.mean(pairs.min(axis=1) < 0.3)) and row.frames == 1000
    size = frames.std(axis=1, dtype=np.float64)
    least = np.quantile(np.linalg.norm(x.std(axis=1, dtype=np.float64), axis=-1), 0.01)
    assert values[sample, tight].value == pytest.approx(
      np.mean(np.linalg.norm(size, axis=-1) < least), abs=1.5e-3)  # float32 at the limit: a frame
  assert values['small', close].value >= 3e-3 and values['training frames', close].value == 0
  assert 0.03 <= values['small', tight].value <= 0.04  # some of the 30 were small before
  assert ('small', 'pair-distance JS, offset 4') in values
  assert ('small', 'closest pair, offset 4') in values


def test_frames_drawn_again_are_as_far_from_their_source_as_the_floor_says():
  rng = np.random.default_rng(0)
  x, view = hinge(3000, seed=1), evaluate_protein.View(
    lambda x: x[..., -1, :2], (np.linspace(-2, 2, 21),) * 2, hinge(1)[0], 0.2, 0.6, 3, 0.3)
  training = evaluate_protein.measure(x, view)
  again = [evaluate_protein.measure(x[rng.integers(3000, size=500)], view) for _ in range(10)]
  same = evaluate_protein.compare_folds(training, training, 3)
  rows = [row for found in again for row in evaluate_protein.training_rows(
    'again', found, training, same, 3, seed=0)]
  metrics = ('pair-distance JS to the training frames, offset 3', 'TIC JS to the training frames',
             'W1 radius of gyration to the training frames', 'W1 RMSD to the training frames')
  for metric in metrics:
    found = [row for row in rows if row.metric == metric]
    assert {(row.frames, row.floor_frames, row.reference) for row in found} == {(500, 500, 0.0)}
    # Of one law: both are means of ten, whose errors together are so large.
    values = np.array([row.value for row in found])
    assert abs(values.mean() - found[0].floor) < 4 * values.std(ddof=1) * np.sqrt(2 / 10)
  swollen = evaluate_protein.measure(1.2 * x[:500], view)
  rows = evaluate_protein.training_rows('swollen', swollen, training, same, 3, 0)
  assert all(row.value > 2 * row.floor > 0 for row in rows)


@pytest.mark.parametrize('offset', [0, BEADS])
def test_an_offset_without_pairs_is_refused(offset):
  data = dataset.make_dataset(hinge(60), make_chain('h', ('CA',) * BEADS, (12.0,) * BEADS, 300.0))
  config = protein_config.get_config('smoke')
  config.evaluation.offset = offset
  with pytest.raises(ValueError, match=rf'evaluation\.offset: found {offset}, expected 1 to 5'):
    report_protein.make_view(config, data, None)


def test_the_native_contacts_come_first_where_there_is_a_native_structure():
  x = hinge(200)
  data = dataset.make_dataset(x, make_chain('h', ('CA',) * BEADS, (12.0,) * BEADS, 300.0))
  for native, first in ((x[0], ['native structure', 'runs']), (None, ['runs'])):
    view = make_view(data, native)
    sets = {'runs': evaluate_protein.measure(x, view)}
    _, figure = report_protein.figures(sets, view)['contacts']
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == first
    if native is not None:
      distance = np.linalg.norm(native[:, None] - native, axis=-1)
      np.testing.assert_array_equal(
        figure.axes[0].collections[0].get_array(), distance < view.contact)


def test_a_set_larger_than_a_chunk_is_the_sum_of_its_parts():
  x = hinge(structure.CHUNK + 900).astype(np.float32)
  edges = (np.linspace(-1, 1, 11),) * 2
  view = evaluate_protein.View(lambda x: x[..., -1, :2], edges, x[0], 0.2, 0.6, 3, 0.3)
  whole, first, second = (evaluate_protein.measure(part, view) for part in (
    x, x[:2500], x[2500:]))  # two chunks, and one each
  pairs = np.zeros_like(whole.pairs)
  for part in (first, second):
    pairs[:, :part.pairs.shape[1]] += part.pairs
  np.testing.assert_array_equal(whole.pairs, pairs)
  np.testing.assert_array_equal(whole.plane, first.plane + second.plane)
  share = first.frames / whole.frames
  np.testing.assert_allclose(
    whole.contacts, share * first.contacts + (1 - share) * second.contacts, atol=1e-12)
  for field in ('gyration', 'rmsd', 'closest'):
    np.testing.assert_allclose(getattr(whole, field), np.concatenate(
      [getattr(first, field), getattr(second, field)]), atol=1e-6)  # float32
  bonds = np.linalg.norm(np.diff(x.astype(float), axis=1), axis=-1)
  np.testing.assert_allclose(whole.widths, bonds.std(axis=0), rtol=1e-4)


def test_weighted_frames_are_resampled_part_by_part():
  data = dataset.make_dataset(hinge(300), make_chain('h', ('CA',) * BEADS, (12.0,) * BEADS, 300.0),
                              num_runs=3)
  config = protein_config.get_config('smoke')
  config.data.resample = 720
  found = molecules.split_data(config, data._replace(weight=RNG.exponential(size=300)))
  assert len(found.train.x) == 720  # of 180
  assert len(found.test.x) == 400 and len(found.validation.x) == 80
  assert set(found.test.run) == {0}


def test_weighted_frames_are_as_many_as_there_are_unless_a_number_is_given():
  data = dataset.make_dataset(hinge(300), make_chain('h', ('CA',) * BEADS, (12.0,) * BEADS, 300.0),
                              num_runs=3)
  config = protein_config.get_config('smoke')
  weighted = data._replace(weight=RNG.exponential(size=300))
  found = molecules.split_data(config, weighted)
  assert [len(part.x) for part in found] == [180, 20, 100] and found.train.weight is None
  config.data.resample = -1
  with pytest.raises(ValueError, match=r'data\.resample: found -1, expected 0 or more'):
    molecules.split_data(config, weighted)
  config.data.resample = 720
  with pytest.raises(ValueError, match=r'resample: found 720, expected 0: the frames have no weig'):
    molecules.split_data(config, data)


def test_one_file_is_split_in_time(tmp_path):
  path, topology = write_run(tmp_path / 'a.xtc', 40, 0)
  config = protein_config.get_config('smoke')
  config.data.update({'topology': topology, 'trajectories': (path,), 'num_runs': 4, 'fold': (1,)})
  found = molecules.load(config).data
  split, feed = molecules.divide(config, molecules.Molecule(found, None))
  np.testing.assert_array_equal(split.test.x, found.x[10:20])
  assert feed is None and len(split.train.x) == 27
  config.data.update({'num_runs': 1, 'fold': (0,)})
  with pytest.raises(ValueError, match='nothing is left to train on; cut a single run by num_runs'):
    molecules.split_data(config, found)


def test_a_native_structure_of_another_chain_is_refused_before_the_training(tmp_path):
  path, topology = write_run(tmp_path / 'a.xtc', 5, 0)
  config = protein_config.get_config('smoke')
  shorter = tmp_path / 'short.pdb'
  mdtraj.load(topology).atom_slice(range(BEADS - 1)).save_pdb(str(shorter))
  config.data.update({'topology': topology, 'trajectories': (path,), 'native': str(shorter)})
  with pytest.raises(ValueError, match=r'data.native: found 5 beads in .*short.pdb.*expected 6'):
    molecules.load(config)


@pytest.mark.parametrize('choice', ['', 'centre_of_mass', 'pairs.npy'])
def test_beads_are_atoms_or_centres_or_any_weights(tmp_path, choice):
  path, topology = write_run(tmp_path / 'a.xtc', 5, 0)
  pairs = np.repeat(np.eye(3), 2, axis=1) / 2
  np.save(tmp_path / 'pairs.npy', pairs)
  data = protein_config.get_config('smoke').data
  data.update({'topology': topology, 'trajectories': (path,), 'native': topology,
               'map': str(tmp_path / choice) if '.' in choice else choice})
  found = molecules.load_trajectories(data)
  x = mdtraj.load(path, top=topology).xyz
  x = pairs @ x if '.' in choice else x  # the only atom of a residue is its centre
  np.testing.assert_allclose(found.data.x, x - x.mean(axis=1, keepdims=True), atol=1e-5)
  assert found.data.system.beads[0] == {'': 'ALA:CA', 'centre_of_mass': 'ALA'}.get(choice, '0')
  np.testing.assert_allclose(found.native, x[0], atol=2e-3)  # PDB keeps 0.001 nm
  data.map = 'centre'
  with pytest.raises(ValueError, match=r"data.map: found 'centre', expected one of \['', 'centre"):
    molecules.load_trajectories(data)


def test_forces_beside_trajectories_are_those_of_the_beads(tmp_path):
  path, topology = write_run(tmp_path / 'a.xtc', 5, 0)
  forces = RNG.normal(size=(5, BEADS, 3)).astype(np.float32)
  np.save(tmp_path / 'a.npy', forces)
  config = protein_config.get_config('smoke')
  config.data.update({'topology': topology, 'trajectories': (path,),
                      'forces': (str(tmp_path / 'a.npy'),)})
  np.testing.assert_allclose(molecules.load(config).data.forces, forces, rtol=1e-6)
  config.data.map, config.data.constraints = 'centre_of_mass', 'hydrogen_bonds'
  np.testing.assert_allclose(molecules.load(config).data.forces, forces, rtol=1e-6)


def write_psf(path):
  """The atoms of the chain without their positions."""
  rows = [f'{k + 1:8d} A    {k + 1:<4d} ALA  CA   CT1   0.000000       12.0110           0\n'
          for k in range(BEADS)]
  path.write_text(f'PSF\n\n{1:8d} !NTITLE\n REMARKS\n\n{BEADS:8d} !NATOM\n{"".join(rows)}\n'
                  f'{0:8d} !NBOND: bonds\n\n')
  return str(path)


def test_the_topology_may_hold_the_native_structure(tmp_path):
  path, topology = write_run(tmp_path / 'a.xtc', 5, 0)
  config = protein_config.get_config('smoke')
  config.data.update({'topology': topology, 'trajectories': (path,), 'native': 'topology'})
  # PDB keeps 0.001 nm.
  np.testing.assert_allclose(molecules.load(config).native, hinge(5)[0], atol=1e-3)
  config.data.topology = write_psf(tmp_path / 'a.psf')
  with pytest.raises(ValueError, match=r"data\.native: found 'topology', expected positions in "
                     r'.*a\.psf \(.*suffix'):
    molecules.load(config)
  config.data.native = ''
  assert molecules.load(config).native is None
  data = protein_config.get_config('metadynamics').data
  data.update({'path': str(write_chignolin(tmp_path / 'a.npz')), 'native': 'topology'})
  with pytest.raises(ValueError, match=r"native: found 'topology', expected a file: .* 'metadyn"):
    molecules.load_metadynamics(data)


@pytest.mark.parametrize('field, value, kinds', [
  ('stride', 5, ('metadynamics', 'embedded', 'shards')),
  ('temperature', 310.0, ('metadynamics', 'fast_folder', 'embedded', 'shards')),
  ('mass', (12.0,), ('metadynamics', 'fast_folder', 'embedded', 'shards')),
  ('interval', 2.0, ('metadynamics', 'fast_folder', 'embedded', 'shards')),
  ('whole', True, ('metadynamics', 'fast_folder', 'embedded', 'shards')),
  ('topology', 'a.pdb', ('metadynamics', 'fast_folder', 'embedded', 'shards')),
  ('trajectories', ('a.xtc',), ('metadynamics', 'fast_folder', 'embedded', 'shards')),
  ('forces', ('a.npy',), ('metadynamics', 'fast_folder', 'embedded', 'shards')),
  ('constraints', 'hydrogen_bonds', ('metadynamics', 'fast_folder', 'embedded', 'shards')),
  ('map', 'centre_of_mass', ('metadynamics', 'fast_folder', 'embedded', 'shards')),
  ('selection', 'name CB', ('metadynamics', 'fast_folder', 'shards')),
  ('name', 'mine', ('shards',)),
  ('num_runs', 2, ('embedded',)),
  ('path', 'there', ('trajectories', 'embedded')),
  ('resample', 9, ('trajectories', 'fast_folder', 'embedded')),
  ('bound', 9, ('trajectories', 'metadynamics', 'fast_folder', 'embedded'))])
def test_fields_that_a_kind_does_not_read_are_refused(field, value, kinds):
  for kind in molecules.FIELDS:
    config = protein_config.get_config('default')
    config.data.update({'kind': kind, field: value})
    expected = protein_config.DATA[field]
    if kind not in kinds:
      molecules.check_fields(config.data)
      continue
    with pytest.raises(ValueError) as caught:
      molecules.load(config)
    assert str(caught.value).startswith(
      f'data.{field}: found {value!r}, expected {expected!r}: nothing reads it with data.kind '
      f'{kind!r}')


def test_what_the_native_structure_and_the_split_read_goes_with_them():
  data = protein_config.get_config('default').data
  data.update({'kind': 'fast_folder', 'native': 'a.pdb', 'selection': 'chainid 0 and name CA'})
  molecules.check_fields(data)
  data.native = 'a.npz'
  with pytest.raises(ValueError, match=r"data\.selection: found .*data\.native 'a\.npz'"):
    molecules.check_fields(data)
  data.update({'selection': 'name CA', 'split': 'published', 'fold': (3,)})
  with pytest.raises(ValueError, match=r"data\.fold: found \(3,\), .*data\.split 'published'"):
    molecules.check_fields(data)


@pytest.mark.parametrize('name', protein_config.VARIANTS)
def test_presets_set_only_what_is_read(name):
  molecules.check_fields(protein_config.get_config(name).data)


def write_chignolin(path, **changes):
  arrays = {'xyz': np.rint(1000 * hinge(8)[:, [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]]).astype(np.int16)
            .reshape(2, 4, 10, 3), 'weight': np.ones((2, 4))}
  np.savez(path, **(arrays | changes))
  return path


def test_public_frames_keep_their_walkers_and_weights(tmp_path):
  found = chignolin.load_chignolin(write_chignolin(tmp_path / 'a.npz'))
  assert found.run.tolist() == [0] * 4 + [1] * 4 and found.weight.shape == (8,)
  assert found.system.beads == tuple('YYDPETGTWY') and found.system.temperature == 340.0
  bond = np.linalg.norm(found.x[:, 1] - found.x[:, 0], axis=-1)
  assert abs(bond.mean() - 0.38) < 0.01


@pytest.mark.parametrize('changes, message', [
  ({'weight': np.ones((2, 3))}, r'weight: found shape \(2, 3\), expected \(2, 4\) positive'),
  ({'weight': -np.ones((2, 4))}, 'weight: found'),
  ({'xyz': np.zeros((2, 4, 9, 3), np.int16)}, 'xyz: found int16 of shape'),
  ({'xyz': np.zeros((2, 4, 10, 3))}, 'xyz: found float64')])
def test_damaged_public_frames_are_refused(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    chignolin.load_chignolin(write_chignolin(tmp_path / 'a.npz', **changes))
  np.savez(tmp_path / 'b.npz', x=np.zeros(3))
  with pytest.raises(ValueError, match='xyz: the field is missing'):
    chignolin.load_chignolin(tmp_path / 'b.npz')


def test_the_public_frames_of_chignolin_load_with_their_native_structure():
  frames, native = SHARED / 'chignolin_metad_ca.npz', SHARED / 'native_ca.npz'
  if not frames.exists() or not native.exists():
    pytest.skip('the public chignolin frames are not beside this checkout')
  config = protein_config.get_config('metadynamics')
  config.data.update({'path': str(frames), 'native': str(native)})
  found = molecules.load(config)
  assert found.data.x.shape == (50_000, 10, 3) and found.data.system.name == 'chignolin'
  np.testing.assert_array_equal(found.data.run, np.repeat(np.arange(25), 2000))
  assert dataset.effective_size(found.data.weight) == pytest.approx(14_000, rel=0.05)
  for x in (found.native, found.data.x[0]):
    np.testing.assert_allclose(np.linalg.norm(np.diff(x, axis=0), axis=-1), 0.38, atol=0.03)
  rmsd = folding.native_rmsd(found.data.x[::50], found.native)
  folded = np.average(rmsd < 0.2, weights=found.data.weight[::50])
  assert folded == pytest.approx(0.6, abs=0.1)  # every 50th frame: worth 285, so 3 standard errors
  split = molecules.split_data(config, found.data)
  assert [len(part.x) for part in split] == [40_000, 4444, 11_111]  # 36, 4 and 10 thousand
  assert set(split.test.run) == {20, 21, 22, 23, 24}


def test_the_embedded_peptide_loads_with_forces_of_its_unit_and_its_native_structure():
  config = protein_config.get_config('deca_alanine')
  found = molecules.load(config)
  data = found.data
  assert data.x.shape == data.forces.shape == (32_000, 10, 3)
  np.testing.assert_array_equal(data.run, np.repeat(np.arange(8), 4000))
  assert data.system.beads == ('ALA:CA',) * 10 and len(data.system.bonds) == 9
  assert (data.system.temperature, data.interval) == (370.0, 2.0)
  labels = [f'run {k}' for k in range(8)]
  force_file.check_virial(data, labels)
  with pytest.raises(ValueError, match=r'run 0: found .*F_i.* are the forces in kJ/mol/nm'):
    force_file.check_virial(data._replace(forces=data.forces / 41.84), labels)
  # An alpha helix rises by 0.15 nm a residue.
  assert np.linalg.norm(found.native[9] - found.native[0]) == pytest.approx(9 * 0.15, abs=0.1)
  helical = np.mean(folding.native_rmsd(data.x[::40], found.native) < 0.2)
  assert helical == pytest.approx(0.27, abs=0.1)  # three standard errors of eight runs


def test_a_fast_folder_loads_in_pieces_with_its_native_structure(tmp_path):
  _, r = write_protein(tmp_path, 'chignolin', parts=(12, 8))
  native = {'chignolin_ca_A': 10 * r[3:5], 'bba_ca_A': np.zeros((1, 28, 3))}
  np.savez(tmp_path / 'native.npz', **native)
  config = protein_config.get_config('smoke')
  config.data.update({
    'kind': 'fast_folder', 'name': 'chignolin', 'path': str(tmp_path), 'stride': 2, 'num_runs': 5,
    'native': str(tmp_path / 'native.npz'), 'fold': (4,), 'validation_fraction': 0.5})
  found = molecules.load(config)
  x = r - r.mean(axis=1, keepdims=True)
  np.testing.assert_allclose(found.data.x, x[::2], atol=1e-6)  # float32
  np.testing.assert_array_equal(found.data.run, np.repeat(np.arange(5), 2))
  np.testing.assert_allclose(found.native, r[3], atol=1e-6)
  split = molecules.split_data(config, found.data)
  np.testing.assert_allclose(split.test.x, x[16::2], atol=1e-6)
  (pdb,) = tmp_path.glob('**/*.pdb')
  config.data.update({'native': str(pdb), 'selection': 'name CA and resname GLY'})
  np.testing.assert_allclose(molecules.load(config).native, r[0], atol=1e-3)  # PDB keeps 0.001 nm


@pytest.mark.parametrize('name', ['chignolin', 'trp_cage', 'bba', 'villin', 'protein_g'])
def test_the_published_presets_are_the_published_sizes(name):
  config = protein_config.get_config(name)
  size = PUBLISHED_SIZES[name]
  assert (config.network.width, config.train.num_steps, config.simulate.level) == (
    size['width'], size['iterations'], size['level'])
  # 100 replicas of 6 million steps of 2 fs, a frame each ps.
  settings = config.simulate
  assert settings.parts * settings.frames_per_part * settings.stride == 6_000_000
  assert settings.replicas == 100 and settings.stride * settings.dt == 1.0
  # As many samples as training frames, one of which the published commands leave out now and then.
  assert config.sample.num_samples == size['samples']
  assert SIZES[name][0] - size['samples'] in (0, 1)
  looked = config.evaluation  # the deeptime settings of the paper's code
  assert (looked.raw_angles, looked.tica_lag, looked.tica_bins) == (True, 100, 101)
  with pytest.raises(ValueError, match=r'must be requested from D\. E\. Shaw'):
    molecules.load(config)


def test_a_direct_score_cannot_weigh_its_samples():
  config = protein_config.get_config('smoke')
  assert config.sample.kind == 'resampled'
  direct = types.SimpleNamespace(energy=None)
  with pytest.raises(ValueError, match=r'sample\.kind: a direct score has no energy'):
    uses.make_sampler(config, direct)


@pytest.mark.parametrize('kind', ['runs', 'published'])
def test_the_report_says_whether_the_parts_share_runs(tmp_path, kind):
  data = dataset.make_dataset(hinge(60), make_chain('h', ('CA',) * BEADS, (12.0,) * BEADS, 300.0),
                              num_runs=3)
  config = protein_config.get_config('smoke')
  config.data.split = kind
  split = molecules.split_data(config, data)
  shared = bool(set(split.test.run) & set(split.train.run))
  (tmp_path / 'simulation').mkdir()
  (tmp_path / 'simulation' / 'metropolis.json').write_text('{"accepted steps": 0.75}')
  first, *_, last = report_parts.notes(config, tmp_path, split, np.zeros((2, 1, BEADS, 3)), [],
                                       *report_protein.name_parts(config, split))
  assert last == 'Of the Metropolis steps 0.7500 were accepted.'
  assert shared == (kind == 'published')
  assert ('the parts share runs and leak' in first) == shared
  assert ('frames of the other runs' in first) == ('Held out: runs 0,' in first) == (not shared)


def test_copies_lost_on_higher_rungs_are_no_lost_replicas():
  lost = [tempering.LostCopy(0, 0, 3, 1.0, 'bond too long'),
          tempering.LostCopy(0, 2, 3, 1.0, 'bond too long'),
          tempering.LostCopy(5, 1, 4, 1.0, 'not finite')]
  rows = {row.metric: row.value for row in report_parts.count_rows(lost, 10, 9)}
  assert rows == {'replicas lost': 1, 'copies lost on higher rungs': 2, 'samples not finite': 1}
  rows = {row.metric: row.value for row in report_parts.count_rows(
    [BlowUp(3, 2, 1.0, 'not finite')], 10, 10)}
  assert rows == {'replicas lost': 1, 'samples not finite': 0}
