"""Placed atoms measure what was asked for; volumes against dense Jacobians; the alpha helix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone import geometry
from twoforone.baselines import zmatrix
from twoforone.baselines.zmatrix import Internals

place_atom = jax.jit(zmatrix.place_atom)
place_chain = jax.jit(zmatrix.place_chain)
measure_chain = jax.jit(zmatrix.measure_chain)
dihedrals = jax.jit(geometry.dihedrals)
log_volume = jax.jit(zmatrix.log_volume)

CORE = np.array([3, 0, 5])
ROWS = np.array([[1, 0, 3, 5], [4, 5, 0, 3], [2, 1, 0, 3], [6, 2, 1, 4]])  # three groups


def random_internals(seed, *counts):
  rng = np.random.default_rng(seed)
  return Internals(rng.uniform(0.1, 0.2, counts[0]), rng.uniform(0.6, 2.6, counts[1]),
                   rng.uniform(-np.pi, np.pi, counts[2]))


@pytest.fixture
def x64():
  with jax.enable_x64(True):
    yield


def assert_same(found, expected, tolerance):
  np.testing.assert_allclose(found.length, expected.length, atol=tolerance)
  np.testing.assert_allclose(found.angle, expected.angle, atol=tolerance)
  turn = np.asarray(found.torsion) - expected.torsion
  np.testing.assert_allclose(np.cos(turn), 1.0, atol=tolerance**2)


@pytest.mark.parametrize('torsion', [0.5, -0.5, 2.0, -3.0])
def test_one_atom_by_hand(torsion):
  # Looking from k to j (along +z) the atom is turned by `torsion` from l, clockwise seen so.
  l, k, j = jnp.array([1.0, 0, -1]), jnp.array([0.0, 0, 0]), jnp.array([0.0, 0, 2])
  found = place_atom(j, k, l, *jnp.array([3, np.pi / 2, torsion], jnp.float32))
  np.testing.assert_allclose(
    found, [3 * np.cos(torsion), 3 * np.sin(torsion), 2], atol=1e-6)  # float32
  np.testing.assert_allclose(geometry.dihedral(l, k, j, found), torsion, atol=1e-6)


def test_table_round_trip(x64):
  # 1e-7: the safe norms of `geometry` add 1e-12 to squares of about 1e-4.
  q = random_internals(0, 4, 4, 4)
  x_core = np.random.default_rng(1).normal(size=(3, 3))
  place = zmatrix.make_placement(ROWS, CORE)

  @jax.jit
  def there_and_back(q):
    x = place(jnp.asarray(x_core), q)
    return x, zmatrix.measure_rows(x, ROWS)

  x, found = there_and_back(q)
  np.testing.assert_allclose(x[CORE], x_core)
  assert_same(found, q, 1e-7)


@pytest.mark.parametrize('beads', [3, 7])
def test_chain_round_trip(beads, x64):
  q = random_internals(beads, beads - 1, beads - 2, beads - 3)
  x = place_chain(jax.tree.map(jnp.asarray, q))
  assert x.shape == (beads, 3)
  np.testing.assert_allclose(x[[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]], 0.0, atol=1e-12)
  assert_same(measure_chain(x), q, 1e-7)


def test_volume_of_a_table_is_the_determinant_of_its_jacobian(x64):
  q = random_internals(2, 4, 4, 4)
  x_core = jnp.asarray(np.random.default_rng(3).normal(size=(3, 3)))
  place = zmatrix.make_placement(ROWS, CORE)

  def positions(flat):
    return place(x_core, Internals(*jnp.split(flat, 3)))[ROWS[:, 0]].ravel()

  jacobian = jax.jit(jax.jacfwd(positions))(np.concatenate(q))
  # 1e-7 as above.
  np.testing.assert_allclose(log_volume(q), np.linalg.slogdet(jacobian)[1], atol=1e-7)


def test_volume_of_a_chain_with_its_rigid_motions(x64):
  beads = 5
  q = random_internals(4, beads - 1, beads - 2, beads - 3)

  def positions(flat):
    x = zmatrix.place_chain(Internals(*jnp.split(flat[6:], (beads - 1, 2 * beads - 3))))
    # The rotation of a vector near zero: exact to first order, all that a Jacobian needs.
    return (flat[:3] + x + jnp.cross(flat[3:6], x)).ravel()

  jacobian = jax.jit(jax.jacfwd(positions))(np.concatenate([np.zeros(6), *q]))
  np.testing.assert_allclose(log_volume(q), np.linalg.slogdet(jacobian)[1], atol=1e-7)


def test_placement_and_its_gradient_under_vmap():
  q = jax.tree.map(lambda *a: jnp.asarray(np.stack(a), jnp.float32),
                   *(random_internals(k, 6, 5, 4) for k in range(8)))

  @jax.jit
  @jax.vmap
  def end(q):
    return jax.value_and_grad(lambda q: jnp.sum(zmatrix.place_chain(q)[-1] ** 2))(q)

  value, gradient = end(q)
  assert value.shape == (8,)
  assert all(np.isfinite(part).all() for part in gradient)


def test_wrong_tables_are_refused():
  with pytest.raises(ValueError, match=r'expected each of 0 to 6 once'):
    zmatrix.make_placement(np.array([[1, 0, 3, 5]] * 4), CORE)
  with pytest.raises(ValueError, match=r'atom 2 refers to \[1, 0, 3\]'):
    zmatrix.make_placement(ROWS[[2, 0, 1, 3]], CORE)
  with pytest.raises(ValueError, match=r'num_residues: found 0'):
    zmatrix.ideal_backbone(0, phi=0.0, psi=0.0)


def helix_of(x):
  """(turn [rad], rise) of the screw from each bead to the next; x[m,3] on a regular helix."""
  bisector = x[:-2] + x[2:] - 2 * x[1:-1]  # points to the axis
  bisector /= np.linalg.norm(bisector, axis=1, keepdims=True)
  axis = np.cross(bisector[:-1], bisector[1:])
  axis /= np.linalg.norm(axis, axis=1, keepdims=True)
  turn = np.arccos(np.sum(bisector[:-1] * bisector[1:], axis=1))
  return turn, np.sum((x[2:-1] - x[1:-2]) * axis, axis=1)


def test_ideal_backbone_is_the_alpha_helix():
  phi, psi = np.radians([-57.8, -47.0])
  x = np.asarray(zmatrix.ideal_backbone(10, phi=phi, psi=psi))
  assert x.shape == (30, 3)
  torsions = np.asarray(dihedrals(x))
  np.testing.assert_allclose(torsions[0::3], psi, atol=1e-4)  # float32
  np.testing.assert_allclose(torsions[2::3], phi, atol=1e-4)
  np.testing.assert_allclose(np.cos(torsions[1::3]), -1, atol=1e-6)
  ca = x[1::3].astype(np.float64)
  turn, rise = helix_of(ca)
  # 3.6 residues a turn, 0.15 nm a residue; the ideal angles chosen shift both by some percent.
  np.testing.assert_allclose(2 * np.pi / turn, 3.6, atol=0.1)
  np.testing.assert_allclose(rise, 0.150, atol=0.01)  # positive: the screw is right-handed
  np.testing.assert_allclose(np.degrees(dihedrals(x[1::3])), 50, atol=3)
  left = np.asarray(zmatrix.ideal_backbone(10, phi=-phi, psi=-psi))[1::3]
  assert (helix_of(left.astype(np.float64))[1] < 0).all()
