"""U(x) of one bead-spring chain in implicit solvent: bonds, bending and sticky repulsive beads.

U = Σ 100 (r_i,i+1 - 1)² + Σ κ_i (1 - cos θ_i) + Σ_{j - i >= 2} U_AH(r_ij; λ_ij) in LJ units,
σ = ε = m = kT = 1 and time in τ. All that differs between chains of one length is in `params`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twoforone.types import Beads, Scalar

BOND_STIFFNESS = 100.0
"""k of k (r - 1)²."""
CUTOFF = 2.5
"""No attraction beyond."""
MINIMUM = 2 ** (1 / 6)
"""Where the repulsion ends: r of the least Lennard-Jones energy."""
_CORE = 0.36  # r² below which U stays flat (at 1750 kT), so that no start overflows


class ChainParams(NamedTuple):
  """What tells one chain from another of its length.

  Attributes:
    stickiness: λ_ij of each pair, [N, N], symmetric.
    bending: κ of each inner bead, [N - 2].
  """

  stickiness: Float[Array | np.ndarray, 'N N']
  bending: Float[Array | np.ndarray, ' inner']


def potential(params: ChainParams, x: Beads) -> Scalar:
  """U(x) of a linear chain [kT], the equation above."""
  energies = ashbaugh_hatch(_squares(x), params.stickiness)
  return _bonded(params, x) + 0.5 * jnp.sum(jnp.where(_apart(len(x)), energies, 0.0))


def force(params: ChainParams, x: Beads) -> Beads:
  """-∂U/∂x [kT]: with g_ij = -2 ∂U/∂r_ij², the pairs give F_i = x_i Σ_j g_ij - Σ_j g_ij x_j.

  The sums over j are one matrix product, three times faster here than the gradient of the sum over
  pairs.
  """
  x = x - x.mean(axis=0)
  slope = jax.grad(lambda square: jnp.sum(ashbaugh_hatch(square, params.stickiness)))(_squares(x))
  g = jnp.where(_apart(len(x)), -2 * slope, 0.0)
  sums = jnp.concatenate([x.T, jnp.ones_like(x.T[:1])]) @ g
  return (x.T * sums[3] - sums[:3]).T - jax.grad(_bonded, argnums=1)(params, x)


def ashbaugh_hatch(
  square: Float[Array | np.ndarray, '*shape'], stickiness: Float[Array | np.ndarray, '*shape']
) -> Float[Array, '*shape']:
  """U_LJ + 1 - λ below r = 2^(1/6), λ U_LJ from there to the cutoff, 0 beyond; in ε.

  λ = 0 is the purely repulsive WCA potential, λ = 1 Lennard-Jones; the minimum is -λ. The jump of
  0.016 λ at the cutoff gives no force. Ashbaugh and Hatch, J. Am. Chem. Soc. 130, 9536 (2008).

  Args:
    square: r² of each pair.
    stickiness: λ of each pair.
  """
  attraction = 1 / jnp.maximum(square, _CORE) ** 3
  lennard_jones = 4 * attraction * (attraction - 1)
  energy = jnp.where(square < MINIMUM**2, lennard_jones + 1 - stickiness,
                     stickiness * lennard_jones)
  return jnp.where(square < CUTOFF**2, energy, 0.0)


def _bonded(params: ChainParams, x: Beads) -> Scalar:
  """Bonds and bending."""
  step = (x[1:] - x[:-1]).T
  length = jnp.sqrt(jnp.sum(step**2, axis=0))
  unit = step / length
  cosine = jnp.sum(unit[:, 1:] * unit[:, :-1], axis=0)
  return BOND_STIFFNESS * jnp.sum((length - 1) ** 2) + jnp.sum(params.bending * (1 - cosine))


def _squares(x: Beads) -> Float[Array, 'N N']:
  """r_ij² of all pairs."""
  # Coordinates first, beads last: the longest axis is the one that fills vector registers.
  return jnp.sum((x.T[:, :, None] - x.T[:, None, :]) ** 2, axis=0)


def _apart(length: int) -> Bool[np.ndarray, '{length} {length}']:
  """True for pairs that are not bonded."""
  index = np.arange(length)
  return np.abs(index[:, None] - index) >= 2
