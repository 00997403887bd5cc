"""Internal coordinates by hand and against mdtraj; superposition; uniform rotations."""

import jax
import jax.numpy as jnp
import mdtraj
import numpy as np
import pytest

from twoforone import geometry

X = jax.random.normal(jax.random.key(0), (5, 3))
ROTATION = geometry.random_rotation(jax.random.key(1))
REFLECTION = jnp.array([1.0, 1.0, -1.0])
PAIRS = jnp.array([[0, 1], [0, 4], [2, 3]])
QUADS = jnp.array([[0, 1, 2, 3], [1, 2, 3, 4]])

rmsd = jax.jit(geometry.rmsd)
superpose = jax.jit(geometry.superpose)


def trajectory(x):
  """mdtraj's view of [F, n, 3] in nm."""
  topology = mdtraj.Topology()
  residue = topology.add_residue('CHN', topology.add_chain())
  for _ in range(x.shape[1]):
    topology.add_atom('C', mdtraj.element.carbon, residue)
  return mdtraj.Trajectory(np.array(x), topology)


def test_centre_takes_the_mean_out():
  np.testing.assert_allclose(geometry.centre(X).mean(axis=0), 0, atol=1e-6)
  np.testing.assert_allclose(geometry.centre(X + 3.0), geometry.centre(X), atol=1e-6)


@pytest.mark.parametrize('turn', [0.5, -0.5, 2.0, -3.0])
def test_dihedral_is_the_turn_of_the_far_bond_iupac_sign(turn):
  # Looking from b to c (along +z) the far bond is turned clockwise by `turn`.
  a, b, c = jnp.array([1.0, 0, -1]), jnp.array([0.0, 0, 0]), jnp.array([0.0, 0, 2])
  d = jnp.array([np.cos(turn), np.sin(turn), 3.0], jnp.float32)
  np.testing.assert_allclose(geometry.dihedral(a, b, c, d), turn, atol=1e-5)  # float32


@jax.jit
def internal_coordinates(x):
  return (geometry.dihedrals(x), geometry.angles(x), geometry.distances(x, PAIRS),
          geometry.radius_of_gyration(x))


def test_internal_coordinates_are_those_of_mdtraj():
  x = jax.random.normal(jax.random.key(2), (50, 5, 3))
  frames = trajectory(x)
  chain = np.arange(5)
  dihedrals, angles, distances, size = jax.vmap(internal_coordinates)(x)
  indices = [np.stack([chain[:6 - k] + m for m in range(k)], axis=1) for k in (4, 3)]
  # float32 on both sides; angles near a straight line lose half the digits.
  np.testing.assert_allclose(dihedrals, mdtraj.compute_dihedrals(frames, indices[0]), atol=1e-3)
  np.testing.assert_allclose(angles, mdtraj.compute_angles(frames, indices[1]), atol=1e-3)
  np.testing.assert_allclose(
    distances, mdtraj.compute_distances(frames, np.array(PAIRS)), rtol=1e-5)
  np.testing.assert_allclose(size, mdtraj.compute_rg(frames), rtol=1e-5)
  np.testing.assert_allclose(
    jax.vmap(rmsd, in_axes=(0, None))(x, x[0]), mdtraj.rmsd(frames, frames, 0), atol=1e-3)


def test_signed_volume_by_hand_and_odd_under_reflection():
  corner = jnp.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
  quad = jnp.array([[0, 1, 2, 3]])
  np.testing.assert_allclose(geometry.signed_volumes(corner, quad), [6.0])
  volumes, moved, mirrored = (
    geometry.signed_volumes(x, QUADS) for x in (X, X @ ROTATION.T + 1.0, X * REFLECTION))
  np.testing.assert_allclose(moved, volumes, rtol=1e-4)  # float32, differences of like numbers
  np.testing.assert_allclose(mirrored, -volumes, rtol=1e-5)
  np.testing.assert_allclose(geometry.dihedrals(X * REFLECTION), -geometry.dihedrals(X), rtol=1e-5)


def test_rmsd_is_blind_to_motions_but_not_to_mirrors():
  moved = X @ ROTATION.T + jnp.array([1.0, -2.0, 3.0])
  assert rmsd(moved, X) < 1e-5  # float32
  np.testing.assert_allclose(superpose(moved, X), geometry.centre(X), atol=1e-5)
  assert rmsd(X * REFLECTION, X) > 0.1


def test_rmsd_by_hand():
  # Two beads on a line, 2 and 3 apart, centred: each is off by 1/2.
  line = jnp.array([[-1.0, 0, 0], [1, 0, 0]])
  np.testing.assert_allclose(rmsd(1.5 * line @ ROTATION.T, line), 0.5, rtol=1e-5)


def test_random_rotations_are_proper_and_uniform():
  count = 20_000
  keys = jax.random.split(jax.random.key(3), count)
  rotations = np.asarray(jax.jit(jax.vmap(geometry.random_rotation))(keys), np.float64)
  np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-5)  # float32
  np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1),
                             np.broadcast_to(np.eye(3), (count, 3, 3)), atol=1e-5)
  # Haar: <R_ij> = 0, <R_ij²> = 1/3, <R_ij⁴> = 1/5 (a coordinate of a point of the sphere is uniform
  # in [-1, 1]), and <tr R²> = 1 (the representation is real and irreducible).
  trace_square = np.trace(rotations @ rotations, axis1=1, axis2=2)
  for sample, mean in ((rotations, 0.0), (rotations**2, 1 / 3), (rotations**4, 1 / 5),
                       (trace_square, 1.0)):
    error = sample.std(axis=0) / np.sqrt(count)
    assert (np.abs(sample.mean(axis=0) - mean) < 4.5 * error).all()


@jax.jit
@jax.grad
def gradient(x):
  return (geometry.distances(x, PAIRS).sum() + geometry.angles(x).sum()
          + geometry.dihedrals(x).sum() + geometry.signed_volumes(x, QUADS).sum())


def test_gradients_are_finite_where_beads_meet_or_line_up():
  line = jnp.arange(5.0)[:, None] * jnp.ones(3)
  for x in (jnp.zeros((5, 3)), X.at[1].set(X[0]), X.at[2].set(X[1]), line):
    assert jnp.isfinite(gradient(x)).all()
