"""The potential of bead-spring chains at points where its value is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone.datasets import polymers
from twoforone.datasets.polymer_potential import (
  CUTOFF,
  MINIMUM,
  ChainParams,
  ashbaugh_hatch,
  force,
  potential,
)

A, B, C, D = range(4)
energy = jax.jit(potential)


def energy_at(r, stickiness):
  return float(ashbaugh_hatch(jnp.float32(r) ** 2, jnp.float32(stickiness)))


def test_without_stickiness_it_is_wca():
  r = np.linspace(0.7, 2.6, 200, dtype=np.float32)
  lennard_jones = 4 * (r**-12.0 - r**-6.0)
  expected = np.where(r < MINIMUM, lennard_jones + 1, 0)
  # Float32 relative to the greatest term; at r = 2^(1/6) 1 - 1 leaves a few roundings of 1.
  np.testing.assert_allclose(ashbaugh_hatch(r**2, 0 * r), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize('stickiness', [0.0, 0.55, 0.95, 1.0])
def test_the_minimum_is_minus_the_stickiness(stickiness):
  r = np.linspace(0.8, 2.49, 5000, dtype=np.float32)
  energies = np.asarray(ashbaugh_hatch(r**2, np.full_like(r, stickiness)))
  assert energies.min() == pytest.approx(-stickiness, abs=1e-5)
  if stickiness:
    assert r[energies.argmin()] == pytest.approx(MINIMUM, abs=2e-3)  # grid of 3e-4, flat minimum
  below, above = (energy_at(MINIMUM + step, stickiness) for step in (-1e-5, 1e-5))
  assert below == pytest.approx(above, abs=1e-5)


def test_the_cutoff_ends_the_attraction():
  assert energy_at(CUTOFF - 1e-3, 1.0) == pytest.approx(-0.0163, abs=1e-4)
  assert energy_at(CUTOFF + 1e-3, 1.0) == 0


def bent_chain(bond, turn):
  """Three beads with two bonds of a length and a turn; they feel no other force at turn < 60°."""
  return jnp.array([[-bond, 0, 0], [0, 0, 0], [bond * np.cos(turn), bond * np.sin(turn), 0]])


@pytest.mark.parametrize('bond, turn, bending, expected', [
  (1.0, 0.0, 3.0, 0.0), (1.0, np.pi / 4, 3.0, 3 * (1 - np.sqrt(0.5))),
  (1.2, 0.0, 0.0, 2 * 100 * 0.04), (1.2, np.pi / 6, 2.0, 8 + 2 * (1 - np.sqrt(0.75)))])
def test_bonds_and_bending(bond, turn, bending, expected):
  params = ChainParams(np.zeros((3, 3), np.float32), np.array([bending], np.float32))
  assert float(energy(params, bent_chain(bond, turn))) == pytest.approx(expected, abs=1e-4)


def test_bonded_beads_do_not_repel_and_others_attract_once():
  # Beads 0 and 2 at 2^(1/6): one pair at the minimum of λ = 0.95, besides bonds of length 1.
  half = np.arcsin(MINIMUM / 2)
  x = jnp.array([[-np.sin(half), 0, 0], [0, np.cos(half), 0], [np.sin(half), 0, 0]])
  params = polymers.chain_params(np.array([D, A, D]))
  assert float(energy(params, x)) == pytest.approx(-0.95, abs=1e-5)


def test_params_take_the_middle_bead_for_bending_and_the_mean_for_stickiness():
  params = polymers.chain_params(np.array([B, B, C, D]))
  np.testing.assert_allclose(params.bending, [3.0, 0.0])
  assert params.stickiness[2, 3] == pytest.approx(np.sqrt(0.55 * 0.95))
  assert params.stickiness[0, 3] == 0


def test_force_is_the_central_difference_of_the_potential():
  species = np.random.default_rng(0).integers(0, 4, 12)
  with jax.enable_x64(True):
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), polymers.chain_params(species))
    x = jnp.asarray(polymers.zigzag(12) * np.array([0.7, 1.5, 1]))
    x = x + 0.1 * np.random.default_rng(3).normal(size=x.shape)
    step = 1e-5 * jnp.eye(36).reshape(36, 12, 3)
    values, found = jax.jit(lambda x: (
      jax.vmap(lambda dx: potential(params, x + dx))(jnp.concatenate([step, -step])),
      force(params, x)))(x)
    expected = -(values[:36] - values[36:]).reshape(12, 3) / 2e-5
    # Rounding 1e-16 · U / h and h² U''' / 6 are both below 1e-6 of a force of some hundred.
    np.testing.assert_allclose(found, expected, atol=1e-6 * float(jnp.abs(found).max()))
    assert jnp.abs(found.sum(axis=0)).max() < 1e-10  # nothing pushes the chain as a whole


def test_force_in_single_precision_is_the_same_far_from_the_origin():
  params = polymers.chain_params(np.random.default_rng(1).integers(0, 4, 72))
  x = jnp.asarray(polymers.zigzag(72), jnp.float32)
  x = x + jnp.asarray(0.05 * np.random.default_rng(2).normal(size=x.shape), jnp.float32)
  expected, found = jax.jit(lambda x: (
    -jax.grad(potential, argnums=1)(params, x), force(params, x + 100)))(x)
  # At 100 σ rounding moves a bead by 4e-6; the bonds of stiffness 200 turn that into 2e-3.
  np.testing.assert_allclose(found, expected, atol=8e-3)
