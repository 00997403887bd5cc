"""Bonds, angles and repulsion of coarse-grained beads, with no learned parameters: x in nm.

energy = Σ (q - centre)² / (2 v) in kT over bonds and angles q, centre and v their mean and variance
in training frames. Terms are functions of internal coordinates, so they exert no net force and no
torque. Nothing here knows of noise: for a diffusion model take `twoforone.prior`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.geometry import angle, distances, other_pairs
from twoforone.prior import check_bonds, stiff_pairs
from twoforone.types import Beads, EnergyFn

Bonds = Int[np.ndarray, 'bonds 2']


class Harmonics(NamedTuple):
  """What `fit_harmonics` finds; a card stores it as lists.

  Attributes:
    bonds: [B, 2] bead indices.
    triples: the beads of each angle, [A, 3].
    centre: mean of each bond [nm], then of each angle [rad], [B + A].
    stiffness: 1 / variance of the same [1/nm², 1/rad²], that is k in kT, [B + A].
  """

  bonds: np.ndarray
  triples: np.ndarray
  centre: np.ndarray
  stiffness: np.ndarray


def bonded_triples(bonds: Bonds) -> Int[np.ndarray, 'triples 3']:
  """Beads (i, j, k) of each angle: i < k both bonded to j."""
  near = _neighbours(bonds)
  triples = [(i, j, k) for j in sorted(near) for i in near[j] for k in near[j] if i < k]
  return np.array(sorted(triples), int).reshape(-1, 3)


def bonded_quads(bonds: Bonds) -> Int[np.ndarray, 'quads 4']:
  """Beads (i, j, k, l) of each torsion: i bonded to j, j to k > j, k to l, all different."""
  near = _neighbours(bonds)
  quads = [(i, j, k, l) for j in near for k in near[j] if j < k
           for i in near[j] - {k} for l in near[k] - {j} if i != l]
  return np.array(sorted(quads), int).reshape(-1, 4)


def distant_pairs(num_beads: int, bonds: Bonds) -> Int[np.ndarray, 'pairs 2']:
  """Pairs (i < j) that are neither bonded nor the ends of an angle, for a repulsion."""
  return other_pairs(stiff_pairs(bonds), num_beads)


def over_frames(
  function: Callable, x: Float[Array | np.ndarray, 'frames beads dim']
) -> Float[np.ndarray, 'frames values']:
  """function(x[n,d]) -> [K] of every frame, some thousand at a time, as float64."""
  compiled = jax.jit(lambda x: jax.lax.map(function, x, batch_size=min(4096, len(x))))
  return np.asarray(compiled(jnp.asarray(x)), np.float64)


def fit_harmonics(x: Float[np.ndarray, 'frames beads 3'], bonds: Bonds) -> Harmonics:
  """Boltzmann inversion of training frames: mean and 1 / variance, k = kT / variance.

  The law of each coordinate is taken for a normal one, without the Jacobians r² and sin θ, as in
  Wang et al. (2019); what that leaves the network learns.

  Raises:
    ValueError: for bonds that name no pair of beads, fewer than two frames, or a coordinate that
      does not vary (a constraint between beads).
  """
  check_bonds(bonds, x.shape[1])
  if len(x) < 2:
    raise ValueError(f'x: found {len(x)} frames, expected at least 2')
  triples = bonded_triples(bonds)
  q = over_frames(_make_coordinates(bonds, triples), x)
  centre, variance = q.mean(axis=0), q.var(axis=0)
  # float32 cannot tell smaller widths from rounding.
  fixed = np.flatnonzero(variance <= (1e-6 * np.abs(centre)) ** 2)
  if len(fixed):
    beads = [*bonds.tolist(), *triples.tolist()][fixed[0]]
    raise ValueError(f'x: the bond or angle of beads {beads} is {centre[fixed[0]]:.6g} in every '
                     'frame, expected coordinates that vary')
  return Harmonics(np.asarray(bonds), triples, centre, 1 / variance)


def make_harmonic_energy(found: Harmonics) -> EnergyFn:
  """energy(params, x, t) = Σ k (q - centre)² / 2 in kT; `params` and `t` are not used."""
  coordinates = _make_coordinates(found.bonds, found.triples)

  def energy(params, x, t):
    del params, t
    return 0.5 * jnp.sum(found.stiffness * (coordinates(x) - found.centre) ** 2)

  return energy


def make_power_repulsion(
  pairs: Int[np.ndarray, 'pairs 2'], *, sigma: float, power: int = 6
) -> EnergyFn:
  """energy(params, x, t) = Σ (sigma / r)^power in kT, each pair once.

  Wang et al. (2019) for chignolin; a code that halves the sum has sigma / 2^(1/power) here.

  Args:
    pairs: from `distant_pairs`.
    sigma: distance at which a pair has 1 kT [nm].
    power: of the wall.

  Raises:
    ValueError: when a number is not positive.
  """
  if not (sigma > 0 and power > 0):
    raise ValueError(f'repulsion: found sigma {sigma} and power {power}, expected positive numbers')

  def energy(params, x, t):
    del params, t
    return jnp.sum((sigma / distances(x, pairs)) ** power)

  return energy


def make_quadratic_repulsion(
  pairs: Int[np.ndarray, 'pairs 2'], *, radius: float | np.ndarray, strength: float | np.ndarray
) -> EnergyFn:
  """energy(params, x, t) = Σ strength (r - radius)² over pairs with r < radius, in kT.

  One-sided, and finite where beads meet (Köhler et al. 2023).

  Args:
    pairs: from `distant_pairs`.
    radius: [nm], one number or one for each pair (smaller for glycine).
    strength: [kT/nm²], likewise.

  Raises:
    ValueError: when a number is not positive.
  """
  if not (np.all(np.asarray(radius) > 0) and np.all(np.asarray(strength) > 0)):
    raise ValueError(f'repulsion: found radius {radius} and strength {strength}, expected '
                     'positive numbers')

  def energy(params, x, t):
    del params, t
    return jnp.sum(strength * jnp.maximum(radius - distances(x, pairs), 0) ** 2)

  return energy


def _make_coordinates(bonds: Bonds, triples: Int[np.ndarray, 'triples 3']) -> Callable:
  """coordinates(x) -> [B + A]: bond lengths [nm], then angles [rad]."""

  def coordinates(x: Beads):
    ends, middle, others = x[triples[:, 0]], x[triples[:, 1]], x[triples[:, 2]]
    return jnp.concatenate([distances(x, bonds), jax.vmap(angle)(ends, middle, others)])

  return coordinates


def _neighbours(bonds: Bonds) -> dict[int, set[int]]:
  near = {int(i): set() for i in np.ravel(bonds)}
  for i, j in np.asarray(bonds).tolist():
    near[i].add(j)
    near[j].add(i)
  return near
