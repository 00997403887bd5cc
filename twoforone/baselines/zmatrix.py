"""Internal coordinates: each atom by its bond, angle and torsion to three that are already placed.

A row (atom; j, k, l) holds b = |x_atom - x_j|, θ = angle(atom, j, k), τ = dihedral(atom, j, k, l).
The volume element is dx = b² sin θ db dθ dτ, so ln|dx/dq| = Σ 2 ln b + ln sin θ over the rows. In a
chain the rows of the first three beads fall away with the six rigid motions.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone import geometry
from twoforone.geometry import Point
from twoforone.types import Beads, Scalar

Rows = Int[np.ndarray, 'rows 4']


class Internals(NamedTuple):
  """Bonds, angles and torsions, one of each for a row; of a chain n - 1, n - 2 and n - 3.

  Attributes:
    length: [nm].
    angle: in (0, pi) [rad].
    torsion: IUPAC sign, that of a right-handed helix is negative [rad].
  """

  length: Array
  angle: Array
  torsion: Array


def place_atom(
  j: Point, k: Point, l: Point, length: Scalar, angle: Scalar, torsion: Scalar
) -> Point:
  """x with |x - j| = length, angle(x, j, k) = angle and dihedral(x, j, k, l) = torsion.

  The natural extension reference frame of Parsons et al. (2005).
  """
  along = (j - k) / geometry.safe_norm(j - k)
  normal = jnp.cross(k - l, along)
  normal = normal / geometry.safe_norm(normal)
  across = jnp.cross(normal, along)
  turned = jnp.cos(torsion) * across + jnp.sin(torsion) * normal
  return j + length * (jnp.sin(angle) * turned - jnp.cos(angle) * along)


def log_volume(internals: Internals) -> Scalar:
  """ln|dx/dq| = Σ 2 ln b + Σ ln sin θ of the Cartesian by the internal coordinates.

  For a chain dx is that of all 3n coordinates and dq has beside the internal coordinates the three
  of a translation and those of a rotation vector (3n in all).
  """
  return 2 * jnp.sum(jnp.log(internals.length)) + jnp.sum(jnp.log(jnp.sin(internals.angle)))


def measure_rows(x: Beads, rows: Rows) -> Internals:
  """Bond, angle and torsion of each row (atom; j, k, l) in x."""
  atom, j, k, l = (x[rows[:, m]] for m in range(4))
  return Internals(geometry.safe_norm(atom - j), jax.vmap(geometry.angle)(atom, j, k),
                   jax.vmap(geometry.dihedral)(atom, j, k, l))


def make_placement(rows: Rows, core: Int[np.ndarray, ' core']) -> Callable:
  """place(x_core[c,3], internals) -> x[n,3]: the core's atoms where they are, the rows' around it.

  Args:
    rows: (atom; j, k, l), references before the atoms that need them.
    core: indices of the atoms whose positions are given; with those of the rows 0 to n - 1.

  Raises:
    ValueError: for an atom that is missing or placed twice, a reference that is not yet placed.
  """
  levels = _levels(rows, core)
  num_atoms = len(core) + len(rows)

  def place(x_core, internals):
    x = jnp.zeros((num_atoms, 3), x_core.dtype).at[core].set(x_core)
    for level in levels:
      atom, j, k, l = rows[level].T
      x = x.at[atom].set(jax.vmap(place_atom)(
        x[j], x[k], x[l], *(values[level] for values in internals)))
    return x

  return place


def measure_chain(x: Beads) -> Internals:
  """The bonds, angles and torsions along a chain of three beads or more."""
  index = np.arange(len(x))
  pairs = np.stack([index[:-1], index[1:]], axis=1)
  return Internals(geometry.distances(x, pairs), geometry.angles(x), geometry.dihedrals(x))


def place_chain(internals: Internals) -> Beads:
  """The first bead at the origin, the second on the x axis, the third in the xy plane at y > 0."""
  b, theta, tau = internals
  zero = jnp.zeros_like(b[0])
  first, second = jnp.stack([zero, zero, zero]), jnp.stack([b[0], zero, zero])
  third = second + b[1] * jnp.stack([-jnp.cos(theta[0]), jnp.sin(theta[0]), zero])

  def step(last, row):
    l, k, j = last
    new = place_atom(j, k, l, *row)
    return (k, j, new), new

  start = (first, second, third)
  _, rest = jax.lax.scan(step, start, (b[2:], theta[1:], tau))
  return jnp.concatenate([jnp.stack(start), rest])


def ideal_backbone(
  num_residues: int, *, phi: float, psi: float, omega: float = math.pi
) -> Float[Array, 'beads 3']:
  """N, CA, C of each residue in a regular chain of L amino acids [nm].

  phi = -57.8°, psi = -47° is the alpha helix of Arnott and Dover (1967), 3.6 residues a turn. Bond
  lengths and angles are those of Engh and Huber (1991).

  Args:
    num_residues: at least one.
    phi, psi, omega: of every residue [rad].

  Raises:
    ValueError: for fewer residues.
  """
  if num_residues < 1:
    raise ValueError(f'num_residues: found {num_residues}, expected at least 1')
  num_beads = 3 * num_residues

  def repeat(triple, count):
    return jnp.resize(jnp.asarray(triple), (count,))

  return place_chain(Internals(
    length=repeat((0.1458, 0.1525, 0.1329), num_beads - 1),  # N-CA, CA-C, C-N
    angle=repeat(np.radians((111.2, 116.2, 121.7)), num_beads - 2),  # at CA, C, N
    torsion=repeat((psi, omega, phi), num_beads - 3)))


def _levels(rows: Rows, core: Int[np.ndarray, ' core']) -> list[np.ndarray]:
  """The rows in groups; those of one group need only atoms of earlier groups and the core."""
  expected = list(range(len(core) + len(rows)))
  if sorted([*core.tolist(), *rows[:, 0].tolist()]) != expected:
    raise ValueError(f'rows: found atoms {rows[:, 0].tolist()} beside the core {core.tolist()}, '
                     f'expected each of 0 to {expected[-1]} once')
  depth = dict.fromkeys(core.tolist(), 0)
  for atom, *references in rows.tolist():
    if len(set(references)) < 3 or not set(references) <= set(depth):
      raise ValueError(f'rows: atom {atom} refers to {references}, expected three different atoms '
                       'of the core or of earlier rows')
    depth[atom] = 1 + max(depth[k] for k in references)
  level = np.array([depth[atom] for atom in rows[:, 0].tolist()], int)
  return [np.flatnonzero(level == k) for k in range(1, level.max(initial=0) + 1)]
