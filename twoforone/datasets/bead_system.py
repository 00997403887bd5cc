"""The `System` of beads from the atoms they stand for: names, species, masses, bonds."""

import collections

import mdtraj
import numpy as np
from jaxtyping import Float, Int

from twoforone.datasets.cg_map import LinearMap, atom_masses
from twoforone.system import System

LONGEST_PATH = 3  # atomic bonds from bead to bead; a C-alpha trace has three
SPECIES = ('bead', 'name')


def make_system(
  topology: mdtraj.Topology, cg_map: LinearMap, *, name: str, temperature: float,
  species: str = 'bead', mass: Float[np.ndarray, ' beads'] | None = None
) -> System:
  """The coarse-grained molecule.

  Args:
    topology: of all atoms.
    cg_map: from its atoms to the beads.
    name: a short identifier.
    temperature: of the data [K].
    species: 'bead' makes each bead its own (Arts et al. 2023), 'name' shares one among beads of
      the same name, e.g. all 'ALA:CA'.
    mass: [amu]; by default that of the atoms, see `bead_masses`.

  Raises:
    ValueError: for an unknown choice of species, masses or a temperature that are not positive.
  """
  if species not in SPECIES:
    raise ValueError(f'species: found {species!r}, expected one of {SPECIES}')
  if not temperature > 0:
    raise ValueError(f'temperature: found {temperature} K, expected a positive number')
  mass = bead_masses(topology, cg_map) if mass is None else mass
  if mass.shape != (len(cg_map.names),) or not (np.isfinite(mass) & (mass > 0)).all():
    raise ValueError(f'mass: found {mass}, expected {len(cg_map.names)} positive numbers [amu]; '
                     'give them where the topology has no elements')
  index = np.arange(len(cg_map.names))
  if species == 'name':
    index = np.unique(cg_map.names, return_inverse=True)[1]
  return System(name, cg_map.names, index, mass.astype(float), bead_bonds(topology, cg_map),
                float(temperature))


def bead_masses(topology: mdtraj.Topology, cg_map: LinearMap) -> Float[np.ndarray, ' beads']:
  """1 / M_I = Σ_i c_Ii² / m_i in amu (Noid et al. 2008); 0 where an atom's mass is unknown."""
  atoms = atom_masses(topology)
  with np.errstate(divide='ignore'):
    share = np.where(cg_map.matrix != 0, cg_map.matrix**2 / atoms, 0.0)
  return 1 / share.sum(axis=1)


def bead_bonds(topology: mdtraj.Topology, cg_map: LinearMap) -> Int[np.ndarray, 'bonds 2']:
  """Pairs (i, j), i < j, of beads that are neighbours along the molecule.

  A C-alpha trace (one atom named CA per bead) is a chain through each chain of the topology. Other
  beads are bonded when at most three bonds lead from an atom of one to an atom of the other, by
  way of atoms of no bead.
  """
  owners = [np.flatnonzero(column) for column in cg_map.matrix.T]
  atoms = [topology.atom(int(row.argmax())) for row in cg_map.matrix]
  if np.count_nonzero(cg_map.matrix) == len(atoms) and {atom.name for atom in atoms} == {'CA'}:
    chain = [atom.residue.chain.index for atom in atoms]
    pairs = {(i, i + 1) for i in range(len(atoms) - 1) if chain[i] == chain[i + 1]}
  else:
    near = collections.defaultdict(set)
    for a, b in topology.bonds:
      near[a.index].add(b.index)
      near[b.index].add(a.index)
    pairs = {(min(i, j), max(i, j)) for atom in np.flatnonzero(cg_map.matrix.any(axis=0)).tolist()
             for other in _reach(atom, near, owners)
             for i in owners[atom] for j in owners[other] if i != j}
  return np.array(sorted(pairs), int).reshape(-1, 2)


def _reach(atom: int, near: dict[int, set[int]], owners: list[np.ndarray]) -> set[int]:
  """Atoms of beads that few bonds lead to, none of them through an atom of a bead."""
  seen, edge, found = {atom}, {atom}, set()
  for _ in range(LONGEST_PATH):
    edge = {b for a in edge for b in near[a]} - seen
    seen |= edge
    met = {a for a in edge if len(owners[a])}
    found |= met
    edge -= met
  return found
