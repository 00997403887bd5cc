"""What the learned step knows of a molecule that does not move: fine graph, clusters, coarse graph.

All records are of one molecule, padded so that molecules of several sizes go through one `vmap`:
padding never changes what the real beads see.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class FineGraph(NamedTuple):
  """The bond graph of the fine particles.

  Attributes:
    species: of each particle, [N]; anything for padding.
    cluster: the bead of each particle, [N]; n, the padded number of beads, for padding.
    senders, receivers: ends of each bond, both directions, [E]; N for padding.
  """

  species: Int[Array | np.ndarray, ' N']
  cluster: Int[Array | np.ndarray, ' N']
  senders: Int[Array | np.ndarray, ' E']
  receivers: Int[Array | np.ndarray, ' E']


class BeadGraph(NamedTuple):
  """The coarse graph.

  Attributes:
    mask: True for real beads, [n].
    mass: of each bead, [n]; 0 for padding.
    bonded: True where fine bonds join two beads, [n, n], symmetric, False on the diagonal.
  """

  mask: Bool[Array | np.ndarray, ' n']
  mass: Float[Array | np.ndarray, ' n']
  bonded: Bool[Array | np.ndarray, 'n n']


class System(NamedTuple):
  """A molecule: its fine and its coarse graph."""

  fine: FineGraph
  beads: BeadGraph


class Scales(NamedTuple):
  """Training-set scales that whiten what the networks see; one number each keeps equivariance.

  Attributes:
    length: mean distance of bonded beads.
    velocity: root mean square of x_t - x_(t-1), per coordinate.
    acceleration: root mean square of x_(t+1) - 2 x_t + x_(t-1), per coordinate.
  """

  length: float
  velocity: float
  acceleration: float


def make_system(
  species: Int[np.ndarray, ' _'], bonds: Int[np.ndarray, 'bonds 2'],
  cluster: Int[np.ndarray, ' _'], mass: Float[np.ndarray, ' _'], *,
  num_particles: int, num_beads: int, num_bonds: int
) -> System:
  """The padded record of one molecule.

  Args:
    species, cluster, mass: of each particle.
    bonds: each once.
    num_particles, num_beads, num_bonds: sizes to pad to.

  Raises:
    ValueError: when the molecule is larger than a size.
  """
  real = int(cluster.max()) + 1
  for name, found, size in (('particles', len(species), num_particles), ('beads', real, num_beads),
                            ('bonds', len(bonds), num_bonds)):
    if found > size:
      raise ValueError(f'num_{name}: found a molecule of {found}, expected at most {size}')
  padded = np.pad(cluster, (0, num_particles - len(cluster)), constant_values=num_beads)
  ends = np.concatenate([bonds, bonds[:, ::-1]])
  ends = np.pad(ends, ((0, 2 * num_bonds - len(ends)), (0, 0)), constant_values=num_particles)
  bonded = np.zeros((num_beads, num_beads), bool)
  crossing = cluster[bonds][cluster[bonds[:, 0]] != cluster[bonds[:, 1]]]
  bonded[crossing[:, 0], crossing[:, 1]] = bonded[crossing[:, 1], crossing[:, 0]] = True
  return System(
    FineGraph(np.pad(species, (0, num_particles - len(species))), padded, ends[:, 0], ends[:, 1]),
    BeadGraph(np.arange(num_beads) < real,
              np.bincount(cluster, weights=mass, minlength=num_beads).astype(np.float32), bonded))


def pool(
  fine: FineGraph, features: Float[Array, 'N features'], num_beads: int
) -> Float[Array, 'n features']:
  """Mean of the particles' features over each bead; 0 for padding."""
  one_hot = (fine.cluster[:, None] == jnp.arange(num_beads)).astype(features.dtype)
  return one_hot.T @ features / jnp.maximum(one_hot.sum(axis=0), 1)[:, None]


def edge_mask(beads: BeadGraph) -> Bool[Array, 'n n']:
  """True for ordered pairs of two different real beads."""
  both = beads.mask[:, None] & beads.mask
  return both & ~jnp.eye(len(beads.mask), dtype=bool)


def centred(x: Float[Array, 'n 3'], beads: BeadGraph) -> Float[Array, 'n 3']:
  """x minus its mean over real beads; zero for padding."""
  mask = jnp.asarray(beads.mask)[:, None]
  return jnp.where(mask, x - jnp.sum(jnp.where(mask, x, 0), axis=0) / mask.sum(), 0)


def relative_mass(beads: BeadGraph) -> Float[Array, ' n']:
  """Mass over the mean of the molecule's beads; zero for padding."""
  mask = jnp.asarray(beads.mask)
  mass = jnp.where(mask, jnp.asarray(beads.mass), 0)
  return mass * mask.sum() / mass.sum()
