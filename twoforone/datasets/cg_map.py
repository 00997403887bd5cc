"""Linear coarse-graining maps x = C r, and the forces that belong to them.

A mapped force F = M f is an unbiased estimate of the mean force -∇ PMF(x) when M Cᵀ = 1 and each
row of M moves constrained atoms together (Ciccotti, Kapral, Vanden-Eijnden 2005; Krämer et al.
2023). A slice of the forces is right for a slice of unconstrained atoms only.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import mdtraj
import numpy as np
import scipy.sparse.csgraph
from jaxtyping import Float, Int

from twoforone.datasets import array_file

TOLERANCE = 1e-6  # of what must be one: matrices often come from single precision


class LinearMap(NamedTuple):
  """x = C r.

  Attributes:
    matrix: C, [beads, atoms]; each row sums to one.
    names: of the beads.
  """

  matrix: np.ndarray
  names: tuple[str, ...]


def make_map(
  matrix: Float[np.ndarray, 'beads atoms'], names: Sequence[str] | None = None
) -> LinearMap:
  """The map of any given matrix; beads are named by their number unless names are given.

  Raises:
    ValueError: for weights that are not finite, a row that does not sum to one, another number
      of names.
  """
  names = [str(k) for k in range(len(matrix))] if names is None else names
  if len(names) != len(matrix):
    raise ValueError(f'names: found {len(names)}, expected {len(matrix)}, one for each bead')
  if matrix.size == 0 or not np.isfinite(matrix).all():
    raise ValueError(f'matrix: found shape {matrix.shape}, expected finite weights for at least '
                     'one bead and atom')
  total = matrix.sum(axis=1, dtype=np.float64)
  wrong = np.flatnonzero(np.abs(total - 1) > TOLERANCE)
  if len(wrong):
    raise ValueError(f'matrix: found a sum of {total[wrong[0]]:.6g} in the row of bead {wrong[0]}, '
                     'expected 1: moving all atoms must move the bead as far')
  return LinearMap(matrix.astype(np.float64), tuple(names))


def read_map(path: str | os.PathLike) -> LinearMap:
  """The map of a file: an .npy with the matrix, or an .npz with `matrix` and, if wanted, `names`.

  Raises:
    ValueError: for a file that cannot be read, a missing field, a matrix that is no map.
  """
  arrays = array_file.read(path)
  if len(arrays) == 1:
    arrays = {'matrix': next(iter(arrays.values()))}
  if 'matrix' not in arrays:
    raise ValueError(f'{path}: matrix: the field is missing, found {sorted(arrays)}')
  matrix = arrays['matrix']
  if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.number):
    raise ValueError(f'{path}: matrix: found {matrix.dtype} of shape {matrix.shape}, expected '
                     'numbers [beads, atoms]')
  names = [str(name) for name in arrays['names']] if 'names' in arrays else None
  try:
    return make_map(matrix, names)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def select_atoms(topology: mdtraj.Topology, selection: str) -> LinearMap:
  """Each selected atom is a bead, in the order of the topology; names are 'RES:ATOM'.

  Args:
    topology: of all atoms.
    selection: in mdtraj's language, e.g. 'name CA', 'backbone', 'protein and name N CA C'.

  Raises:
    ValueError: for a selection that cannot be understood or matches nothing.
  """
  atoms = _select(topology, selection)
  matrix = np.zeros((len(atoms), topology.n_atoms))
  matrix[np.arange(len(atoms)), atoms] = 1.0
  names = [f'{topology.atom(a).residue.name}:{topology.atom(a).name}' for a in atoms]
  return make_map(matrix, names)


def centre_of_mass(
  topology: mdtraj.Topology, groups: Sequence[Sequence[int] | np.ndarray]
) -> LinearMap:
  """x_I = Σ m_i r_i / Σ m_i over the atoms of each group; beads are named by their residue.

  Args:
    topology: of all atoms, with their elements.
    groups: atom indices of each bead; `residue_groups` makes one for each residue.

  Raises:
    ValueError: for a group without atoms or without mass.
  """
  matrix = np.zeros((len(groups), topology.n_atoms))
  mass = atom_masses(topology)
  for k, group in enumerate(groups):
    if len(group) == 0 or not mass[list(group)].sum() > 0:
      raise ValueError(f'groups: found {len(group)} atoms without mass in group {k}, expected '
                       'atoms of known elements')
    matrix[k, list(group)] = mass[list(group)] / mass[list(group)].sum()
  return make_map(matrix, [topology.atom(group[0]).residue.name for group in groups])


def residue_groups(topology: mdtraj.Topology, selection: str = 'protein') -> list[np.ndarray]:
  """Indices of the selected atoms of each residue, in order.

  Raises:
    ValueError: for a selection that cannot be understood or matches nothing.
  """
  atoms = _select(topology, selection)
  residue = np.array([topology.atom(a).residue.index for a in atoms])
  return [atoms[residue == index] for index in np.unique(residue)]


def atom_masses(topology: mdtraj.Topology) -> Float[np.ndarray, ' atoms']:
  """Masses in amu by element; zero where the element is unknown."""
  return np.array([atom.element.mass if atom.element else 0.0 for atom in topology.atoms])


def map_positions(
  cg_map: LinearMap, r: Float[np.ndarray, '*frames atoms 3']
) -> Float[np.ndarray, '*frames beads 3']:
  """x = C r.

  Raises:
    ValueError: for another number of atoms than the map's.
  """
  return _apply(cg_map.matrix, r)


def map_forces(
  matrix: Float[np.ndarray, 'beads atoms'], forces: Float[np.ndarray, '*frames atoms 3']
) -> Float[np.ndarray, '*frames beads 3']:
  """F = M f, with M of `force_map`.

  Raises:
    ValueError: for another number of atoms than the map's.
  """
  return _apply(matrix, forces)


def force_map(
  cg_map: LinearMap, constraints: Int[np.ndarray, 'constraints 2'] | None = None
) -> Float[np.ndarray, 'beads atoms']:
  """The matrix M with M Cᵀ = 1 whose rows are constant over atoms that constraints join.

  Beads that share no atom carry the sum of the forces on their atoms and on all atoms that
  constraints join to them; forces within a bead then cancel. Beads that share atoms get the
  smallest such matrix: with G the 0/1 matrix [atoms, rigid groups], M = pinv(C G)ᵀ Gᵀ. See
  Ciccotti, Kapral and Vanden-Eijnden (2005), Krämer et al. (2023).

  Args:
    cg_map: the map of the positions.
    constraints: pairs of atoms at a fixed distance, e.g. all bonds to hydrogen.

  Raises:
    ValueError: when no such matrix exists: beads on the same rigid group, or a bead that is a
      linear combination of others.
  """
  group = _rigid_groups(cg_map.matrix.shape[1], constraints)
  reduced = np.zeros((group.max() + 1, len(cg_map.matrix)))  # (C G)ᵀ
  np.add.at(reduced, group, cg_map.matrix.T)
  touched = reduced != 0
  if np.linalg.matrix_rank(reduced[touched.any(axis=1)]) < len(cg_map.matrix):
    raise ValueError('cg_map: found beads whose atoms are the same or joined by constraints'
                     f'{_twins(reduced.T, cg_map.names)}, expected independent beads: '
                     'no force map is consistent with them')
  if (touched.sum(axis=1) > 1).any():
    return np.linalg.pinv(reduced).T[group].T
  return touched[group].T.astype(np.float64)


def _apply(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
  if values.shape[-2] != matrix.shape[1]:
    raise ValueError(f'atoms: found {values.shape[-2]}, expected {matrix.shape[1]}, '
                     'those of the map')
  used = np.flatnonzero(matrix.any(axis=0))
  return (matrix[:, used] @ values[..., used, :].astype(np.float64)).astype(values.dtype)


def _select(topology: mdtraj.Topology, selection: str) -> np.ndarray:
  try:
    atoms = topology.select(selection)
  except Exception as error:
    raise ValueError(f'selection: cannot understand {selection!r}, expected the language of '
                     f"mdtraj, e.g. 'name CA' ({error})") from error
  if len(atoms) == 0:
    names = sorted({atom.name for atom in topology.atoms})
    raise ValueError(f'selection: {selection!r} matches none of {topology.n_atoms} atoms; '
                     f'found the names {names[:20]}{" ..." if len(names) > 20 else ""}')
  return atoms


def _rigid_groups(num_atoms: int, constraints: np.ndarray | None) -> np.ndarray:
  """The number of the rigid group of each atom, [atoms]: connected by constraints."""
  i, j = np.zeros((2, 0), int) if constraints is None else constraints.T
  joined = scipy.sparse.coo_matrix((np.ones(len(i)), (i, j)), shape=(num_atoms, num_atoms))
  return scipy.sparse.csgraph.connected_components(joined, directed=False)[1]


def _twins(reduced: np.ndarray, names: tuple[str, ...]) -> str:
  """Names the first two equal rows, if that is what is wrong."""
  _, first, count = np.unique(reduced, axis=0, return_index=True, return_counts=True)
  if count.max() == 1:
    return ''
  row = reduced[first[count > 1].min()]
  i, j = np.flatnonzero((reduced == row).all(axis=1))[:2]
  return f' (beads {i} {names[i]!r} and {j} {names[j]!r})'
