"""The project's 22 atoms as core and Z-matrix: nothing lost, volumes against a dense Jacobian."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import mdtraj
import numpy as np
import pytest

from twoforone import geometry
from twoforone.baselines import ala2_atoms, mixed_coordinates, positions

DATA = pathlib.Path(__file__).parent.parent / 'data'
TABLES = {4: ala2_atoms.make_ala2_table(ala2_atoms.CENTRAL_4),
          6: ala2_atoms.make_ala2_table(ala2_atoms.CENTRAL_6)}


@functools.cache
def frames():
  """300 frames of each run, [1200, 22, 3] nm."""
  with np.load(DATA / 'ala2_implicit_atoms.npz') as file:
    x = file['positions'][:, :4800:16] * np.float32(file['position_unit'])
  return x.reshape(-1, 22, 3)


@functools.cache
def ordered_frames():
  return mixed_coordinates.order_twins(frames(), TABLES[4])


@functools.cache
def fitted(core, constraint_width=2e-4):
  return mixed_coordinates.fit_mixed_coordinates(
    ordered_frames(), TABLES[core], constraint_width=constraint_width)


def in_float64(found):
  """Coordinates from copies: jax keeps a NumPy index, once traced, as the integer type it had."""
  return mixed_coordinates.make_mixed_coordinates(jax.tree.map(np.copy, found))


@functools.cache
def compiled(core):
  """encode and decode of a batch."""
  coordinates = mixed_coordinates.make_mixed_coordinates(fitted(core))
  return jax.jit(jax.vmap(coordinates.encode)), jax.jit(jax.vmap(coordinates.decode)), coordinates


def gaussian(params, q):
  """ln N(q; 0, 1) of the real coordinates, without its constant; the angles are uniform."""
  return -0.5 * jnp.sum(q[:41] ** 2)


def test_the_names_are_those_of_the_data():
  topology = mdtraj.load(str(DATA / 'ala2_implicit.pdb')).topology
  names = tuple(f'{atom.residue.name}:{atom.name}' for atom in topology.atoms)
  assert names == ala2_atoms.ATOMS
  bonded = {frozenset((a.index, b.index)) for a, b in topology.bonds}
  assert all(frozenset(row[:2]) in bonded for row in TABLES[4].rows.tolist())


@pytest.mark.parametrize('core, rows, flexible', [(4, 18, 7), (6, 16, 5)])
def test_the_twelve_bonds_to_hydrogen_are_constants(core, rows, flexible):
  found = fitted(core)
  assert found.rows.shape == (rows, 4) and found.flexible.sum() == flexible
  hydrogen = [ala2_atoms.ATOMS[k].split(':')[1][0] == 'H' for k in found.rows[:, 0]]
  np.testing.assert_array_equal(found.constrained, hydrogen)
  coordinates = mixed_coordinates.make_mixed_coordinates(found)
  assert found.constrained.sum() == 12
  assert coordinates.num_real + coordinates.num_circular == 48 == 66 - 6 - 12
  names = ala2_atoms.torsion_names(
    {4: ala2_atoms.CENTRAL_4, 6: ala2_atoms.CENTRAL_6}[core])
  assert coordinates.num_circular == len(names) == flexible


@pytest.mark.parametrize('core', [4, 6])
def test_nothing_is_lost(core):
  encode, decode, _ = compiled(core)
  x = jnp.asarray(ordered_frames()[::8])
  q, log_det = encode(x)
  back, log_det_back = decode(q)
  # Constrained lengths are rounded in the file to some 4e-5 nm.
  assert jax.jit(jax.vmap(geometry.rmsd))(back, x).max() < 1e-4
  assert_same(encode(back)[0], q, core)
  np.testing.assert_allclose(log_det, -log_det_back, atol=1e-3)  # 100 terms in float32
  real = np.asarray(q[:, :48 - fitted(core).flexible.sum()], np.float64)
  # z-scores of the frames that were fitted, here an eighth of them.
  assert np.abs(real.mean(axis=0)).max() < 5 / np.sqrt(len(x))
  assert np.abs(real).max() < 8


def assert_same(found, q, core):
  """Equal up to a full turn of the flexible torsions; z-scores of 1e-3 nm in float32."""
  real = 48 - int(fitted(core).flexible.sum())
  np.testing.assert_allclose(found[:, :real], q[:, :real], atol=5e-3)
  np.testing.assert_allclose(np.cos(found[:, real:] - q[:, real:]), 1, atol=1e-5)


def test_motions_leave_the_coordinates_alone_but_a_reflection_does_not():
  encode, _, _ = compiled(4)
  x = jnp.asarray(ordered_frames()[::8])
  turn = geometry.random_rotation(jax.random.key(0))
  q = encode(x)[0]
  assert_same(encode(x @ turn.T + 0.3)[0], q, 4)
  assert np.abs(encode(x * jnp.array([1.0, 1, -1]))[0] - q)[:, :41].max() > 10


def test_volume_is_the_determinant_with_rigid_motions():
  # No length is held here, so that the Jacobian is square.
  with jax.enable_x64(True):
    coordinates = in_float64(fitted(6, 0.0))
    q = np.random.default_rng(0).normal(size=60)

    def positions(flat):
      x = coordinates.decode(flat[6:])[0]
      # A rotation vector near zero: exact to first order, all that a Jacobian needs.
      return (flat[:3] + x + jnp.cross(flat[3:6], x)).ravel()

    @jax.jit
    def both(q):
      x, log_det = coordinates.decode(q)
      return jax.jacfwd(positions)(jnp.concatenate([jnp.zeros(6), q])), log_det, x

    jacobian, log_det, x = both(q)
    # 1e-6: the safe norms of `geometry` add 1e-12 to squares of 1e-4 nm⁴.
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], log_det, atol=1e-6)
    turn = geometry.random_rotation(jax.random.key(1))
    np.testing.assert_allclose(jax.jit(coordinates.encode)(x @ turn.T)[1], -log_det, atol=1e-6)


def test_force_is_minus_the_gradient_of_the_energy():
  with jax.enable_x64(True):
    coordinates = in_float64(fitted(4))
    energy = positions.make_position_energy(gaussian, coordinates)
    x = ordered_frames()[5].astype(np.float64)
    step = np.random.default_rng(0).normal(size=(22, 3))
    value = jax.jit(lambda x: energy(None, x, jnp.zeros(())))
    slope = np.sum(jax.jit(jax.grad(value))(x) * step)
    h = 1e-6
    # Central differences: h² times third derivatives of some 1/(1e-3 nm)³ / slope.
    np.testing.assert_allclose(slope, (value(x + h * step) - value(x - h * step)) / (2 * h),
                               rtol=1e-4)


def test_sampled_structures_know_their_energy():
  _, _, coordinates = compiled(4)
  energy = positions.make_position_energy(gaussian, coordinates)
  sample = positions.make_position_sample(draw, coordinates)
  keys = jax.random.split(jax.random.key(2), 8)
  x, log_density = jax.jit(jax.vmap(sample, (None, 0)))(None, keys)
  found = jax.jit(jax.vmap(lambda x: energy(None, x, jnp.zeros(()))))(x)
  np.testing.assert_allclose(found, -log_density, atol=0.05)  # q to 1e-3 in float32, 41 of them


def draw(params, key):
  q = jnp.concatenate([jax.random.normal(key, (41,)), jax.random.uniform(key, (7,))])
  return q, gaussian(params, q)


def test_runs_that_number_hydrogens_differently_are_put_in_order():
  with pytest.raises(ValueError, match=r'torsion of row .*order_twins'):
    mixed_coordinates.fit_mixed_coordinates(frames(), TABLES[4])
  x, y = frames(), ordered_frames()
  heavy = [k for k, name in enumerate(ala2_atoms.ATOMS) if name not in np.ravel(ala2_atoms.TWINS)]
  np.testing.assert_array_equal(x[:, heavy], y[:, heavy])
  for pair in TABLES[4].twins:
    np.testing.assert_array_equal(np.sort(x[:, pair], axis=1), np.sort(y[:, pair], axis=1))
    assert (x[:, pair] != y[:, pair]).any(axis=(1, 2)).mean() in (0.25, 0.5, 0.75)  # whole runs


def test_a_core_aligned_on_other_atoms_is_refused():
  x, core = ordered_frames(), TABLES[4].core
  aligned = mixed_coordinates.align(x[:, core], fitted(4).reference)
  _, basis, std = mixed_coordinates.fit_core(aligned)
  assert basis.shape == (6, 12) and std.min() > 1e-3  # nm
  np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-12)
  wider = np.array([*core, 16])
  reference = x[0, wider] - x[0, wider].mean(axis=0)
  with pytest.raises(ValueError, match=r'core: found [0-5] principal components .* expected 6'):
    mixed_coordinates.fit_core(mixed_coordinates.align(x[:, wider], reference)[:, :4])


def test_wrong_tables_are_refused():
  with pytest.raises(ValueError, match=r"atoms: found 22 names without \['ACE:C'\]"):
    ala2_atoms.make_ala2_table(atoms=['ACE:X' if name == 'ACE:C' else name
                                      for name in ala2_atoms.ATOMS])
  with pytest.raises(ValueError, match=r'core: found'):
    ala2_atoms.make_ala2_table(core=('ALA:N', 'ALA:CA', 'ALA:C'))
