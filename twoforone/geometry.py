"""Geometry of one configuration: centring, internal coordinates, superposition, rotations.

Gradients are finite at coincident beads (square before root); that of `superpose`, and of the RMSD
with it, is not for collinear or symmetric beads. Batch with `vmap`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.types import Beads, PRNGKey, Scalar

Point = Float[Array, '3']
Pairs = Int[Array | np.ndarray, 'pairs 2']
Quads = Int[Array | np.ndarray, 'quads 4']


def centre(x: Beads) -> Beads:
  """x - mean over beads (the unweighted centroid goes to the origin)."""
  return x - x.mean(axis=0, keepdims=True)


def keep(x: Beads) -> Beads:
  """x itself: the projection of a system that an external field holds in place."""
  return x


def safe_norm(vector: Float[Array, '*shape d'], eps: float = 1e-12) -> Float[Array, '*shape']:
  """sqrt(|v|² + eps) over the last axis; its gradient is finite at v = 0."""
  return jnp.sqrt(jnp.sum(vector**2, axis=-1) + eps)


def distances(x: Beads, pairs: Pairs) -> Float[Array, ' pairs']:
  """|x_i - x_j| of each pair, in the unit of x."""
  return safe_norm(x[pairs[:, 0]] - x[pairs[:, 1]])


def angle(a: Point, b: Point, c: Point) -> Scalar:
  """The angle a-b-c in [0, pi], by atan2(|u × v|, u·v)."""
  u, v = a - b, c - b
  return jnp.arctan2(safe_norm(jnp.cross(u, v)), jnp.dot(u, v))


def dihedral(a: Point, b: Point, c: Point, d: Point) -> Scalar:
  """The torsion a-b-c-d in (-pi, pi], IUPAC sign (mdtraj's convention); 0 where it is undefined."""
  u, v, w = b - a, c - b, d - c
  n, m = jnp.cross(u, v), jnp.cross(v, w)
  sine, cosine = safe_norm(v) * jnp.dot(u, m), jnp.dot(n, m)
  # Where beads meet or line up both are zero, and the gradient would not be finite.
  return jnp.arctan2(sine, jnp.where(sine**2 + cosine**2 > 1e-24, cosine, 1.0))


def dihedrals(x: Beads) -> Float[Array, ' torsions']:
  """The n - 3 torsions along the chain; for five backbone beads these are (phi, psi)."""
  return jax.vmap(dihedral)(x[:-3], x[1:-2], x[2:-1], x[3:])


def angles(x: Beads) -> Float[Array, ' angles']:
  """The n - 2 angles along the chain."""
  return jax.vmap(angle)(x[:-2], x[1:-1], x[2:])


def signed_volumes(x: Beads, quads: Quads) -> Float[Array, ' quads']:
  """(x_j - x_i) · (x_k - x_i) × (x_l - x_i): rotation invariant, odd under reflection."""
  i, j, k, l = (x[quads[:, m]] for m in range(4))
  return jnp.sum((j - i) * jnp.cross(k - i, l - i), axis=-1)


def radius_of_gyration(x: Beads) -> Scalar:
  """sqrt(mean |x_i - mean x|²), equal masses."""
  return safe_norm(centre(x).ravel()) / np.sqrt(len(x))


def superpose(x: Beads, reference: Beads) -> Beads:
  """x centred and turned onto the centred reference (Kabsch 1976, proper rotations only)."""
  x, reference = centre(x), centre(reference)
  u, _, vt = jnp.linalg.svd(x.T @ reference)
  flip = jnp.array([1.0, 1.0, 1.0]).at[2].set(jnp.sign(jnp.linalg.det(u @ vt)))
  return x @ (u * flip) @ vt


def rmsd(x: Beads, reference: Beads) -> Scalar:
  """Least root-mean-square deviation over proper rotations and translations (Kabsch 1976)."""
  difference = superpose(x, reference) - centre(reference)
  return safe_norm(difference.ravel()) / np.sqrt(len(x))


def other_pairs(
  pairs: Int[np.ndarray, 'pairs 2'], num_beads: int
) -> Int[np.ndarray, 'others 2']:
  """All (i < j) of the beads that are not among the pairs, which may be in either order."""
  apart = np.triu(np.ones((num_beads, num_beads), bool), 1)
  apart[tuple(np.sort(pairs, axis=1).T)] = False
  return np.argwhere(apart)


def random_rotation(key: PRNGKey) -> Float[Array, '3 3']:
  """A Haar-uniform proper rotation, from a normalised quaternion of four normals."""
  w, x, y, z = jax.random.normal(key, (4,))
  s = 2.0 / (w * w + x * x + y * y + z * z)
  return jnp.array([
    [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
    [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
    [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
  ])
