"""Bonds, angles and repulsion: constants recovered, forces that neither push nor turn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone import checks
from twoforone.baselines import bonded
from twoforone.datasets.ala2 import ala2_system, load_ala2
from twoforone.energy import make_score

ZERO = jnp.float32(0)
BONDS = ala2_system().bonds
BRANCHED = np.array([[0, 1], [1, 2], [1, 3], [3, 4]])
STIFFNESS = np.array([4.0e4, 3.0e4, 2.5e4, 4.2e4, 300.0, 200.0, 250.0])  # kT/nm², kT/rad²
CENTRE = np.array([0.133, 0.147, 0.154, 0.134, 2.17, 1.96, 2.04])
KNOWN = bonded.Harmonics(BONDS, bonded.bonded_triples(BONDS), CENTRE, STIFFNESS)


def stiff_chains(count, seed=0):
  """Chains whose bonds and angles are independent and normal, torsions uniform; [F, 5, 3]."""
  rng = np.random.default_rng(seed)
  q = CENTRE + rng.standard_normal((count, 7)) / np.sqrt(STIFFNESS)
  x = [np.zeros((count, 3)), np.array([1.0, 0, 0]) * q[:, :1]]
  axis = np.tile([1.0, 0, 0], (count, 1))
  for k in (1, 2, 3):
    side = np.cross(axis, rng.standard_normal((count, 3)))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    bend = q[:, 3 + k, None]
    axis = -np.cos(bend) * axis + np.sin(bend) * side
    x.append(x[-1] + q[:, k, None] * axis)
  return np.stack(x, axis=1).astype(np.float32)


X = stiff_chains(20_000)


def test_angles_and_torsions_follow_from_bonds():
  assert bonded.bonded_triples(BONDS).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
  assert bonded.bonded_quads(BONDS).tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]]
  assert bonded.distant_pairs(5, BONDS).tolist() == [[0, 3], [0, 4], [1, 4]]
  assert bonded.bonded_triples(BRANCHED).tolist() == [[0, 1, 2], [0, 1, 3], [1, 3, 4], [2, 1, 3]]
  assert bonded.bonded_quads(BRANCHED).tolist() == [[0, 1, 3, 4], [2, 1, 3, 4]]
  triangle = np.array([[0, 1], [1, 2], [0, 2]])  # a ring of three has no torsion
  assert bonded.bonded_quads(triangle).shape == (0, 4)


def test_boltzmann_inversion_recovers_centres_and_stiffness():
  found = bonded.fit_harmonics(X, BONDS)
  np.testing.assert_allclose(
    (found.centre - CENTRE) * np.sqrt(STIFFNESS), 0, atol=4 / np.sqrt(len(X)))
  # The variance of a normal sample is known to sqrt(2 / F).
  np.testing.assert_allclose(found.stiffness, STIFFNESS, rtol=4 * np.sqrt(2 / len(X)))
  # A factor of two (CT's printed form) would be seen.
  assert (abs(found.stiffness / STIFFNESS - 0.5) > 0.3).all()


def test_force_matching_recovers_the_stiffness_by_least_squares():
  x = jnp.asarray(X[:500])

  def force(stiffness, x):
    return make_score(bonded.make_harmonic_energy(KNOWN._replace(stiffness=stiffness)))(
      None, x, ZERO)

  exact = jax.jit(jax.vmap(lambda x: force(jnp.asarray(STIFFNESS, jnp.float32), x)))(x)
  scatter = 500.0  # of the label about the mean force [1/nm]
  label = exact + scatter * jax.random.normal(jax.random.key(0), x.shape)
  # The force is linear in the stiffness, so the loss is least where JᵀJ k = Jᵀf.
  J = jax.jit(jax.vmap(jax.jacfwd(force), in_axes=(None, 0)))(jnp.asarray(STIFFNESS), x)
  J = np.asarray(J, np.float64).reshape(-1, 7)
  gram = J.T @ J
  found = np.linalg.solve(gram, J.T @ np.asarray(exact, np.float64).ravel())
  np.testing.assert_allclose(found, STIFFNESS, rtol=1e-3)  # float32 forces, 1e-6 of large terms
  noisy = np.linalg.solve(gram, J.T @ np.asarray(label, np.float64).ravel())
  error = scatter * np.sqrt(np.diag(np.linalg.inv(gram)))
  assert (abs(noisy - STIFFNESS) < 4 * error).all()


@pytest.mark.parametrize('energy', [
  bonded.make_harmonic_energy(KNOWN),
  bonded.make_power_repulsion(bonded.distant_pairs(5, BONDS), sigma=0.4),
  bonded.make_quadratic_repulsion(bonded.distant_pairs(5, BONDS), radius=0.6, strength=400.0),
], ids=['harmonic', 'power', 'quadratic'])
def test_terms_push_and_turn_nothing(energy):
  score, x = jax.jit(make_score(energy)), jnp.asarray(X[0] + 0.2)
  f = score(None, x, ZERO)
  largest = float(jnp.abs(f).max())
  assert largest > 1
  # Sums of five float32 forces.
  np.testing.assert_allclose(f.sum(axis=0), 0, atol=1e-5 * largest)
  np.testing.assert_allclose(jnp.cross(x, f).sum(axis=0), 0, atol=1e-5 * largest)
  # Rounding of positions of about 0.5 nm times the stiffness.
  turned = checks.rotation_error(score, None, x, ZERO, jax.random.key(0), num_rotations=3)
  assert turned.max() < 1e-6
  assert checks.translation_error(score, None, x, ZERO, jnp.array([0.1, -0.2, 0.3])) < 1e-6


def test_repulsions_have_their_values():
  pairs, x = np.array([[0, 1]]), jnp.array([[0.0, 0, 0], [0.3, 0, 0]])
  power = bonded.make_power_repulsion(pairs, sigma=0.6, power=6)
  np.testing.assert_allclose(power(None, x, ZERO), 64.0, rtol=1e-5)
  soft = bonded.make_quadratic_repulsion(
    np.array([[0, 1], [0, 1]]), radius=np.array([0.4, 0.2]), strength=np.array([400.0, 1600.0]))
  np.testing.assert_allclose(soft(None, x, ZERO), 4.0, rtol=1e-5)  # the second is out of reach
  f = jax.grad(soft, argnums=1)(None, x, ZERO)
  np.testing.assert_allclose(f[:, 0], [80.0, -80.0], rtol=1e-5)
  assert jnp.isfinite(jax.grad(soft, argnums=1)(None, 0 * x, ZERO)).all()


def test_constants_of_alanine_dipeptide():
  data = load_ala2()
  found = bonded.fit_harmonics(data.x, data.system.bonds)
  # Of public explicit-solvent frames in Å, degrees, kcal/mol at 300 K; ours are implicit.
  np.testing.assert_allclose(found.centre[:4], [0.13293, 0.14654, 0.15436, 0.13354], rtol=0.01)
  np.testing.assert_allclose(np.rad2deg(found.centre[4:]), [124.48, 112.48, 117.03], rtol=0.02)
  kcal = 0.59616  # kT at 300 K
  np.testing.assert_allclose(
    kcal * found.stiffness[:4] / 100, [933, 663, 641, 944], rtol=0.1)
  np.testing.assert_allclose(kcal * found.stiffness[4:], [196, 180, 230], rtol=0.2)


def test_what_cannot_be_is_named():
  with pytest.raises(ValueError, match=r'bonds: found .* among 0 to 4'):
    bonded.fit_harmonics(X, np.array([[0, 5]]))
  with pytest.raises(ValueError, match='found 1 frames'):
    bonded.fit_harmonics(X[:1], BONDS)
  rigid = X[:10] * 0 + X[0]
  with pytest.raises(ValueError, match=r'beads \[0, 1\] is 0\.13'):
    bonded.fit_harmonics(rigid, BONDS)
  with pytest.raises(ValueError, match='expected positive numbers'):
    bonded.make_power_repulsion(BONDS, sigma=0.0)
  with pytest.raises(ValueError, match='expected positive numbers'):
    bonded.make_quadratic_repulsion(BONDS, radius=0.4, strength=np.array([1.0, -1.0]))
