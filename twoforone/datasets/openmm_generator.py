"""All-atom reference trajectories of capped peptides, simulated with OpenMM.

The only importer of OpenMM. A peptide is built from residue templates (backbone and CB by
internal coordinates, hydrogens by the force field), simulated by the LangevinMiddle scheme with
constrained X-H bonds, and read out as bead positions together with *correctly mapped* forces.

With a constraint between a bead and a hydrogen, a plain slice of the forces is not an unbiased
mean force; the bead must carry the force of every atom that is rigidly attached to it
(Ciccotti, Kapral, Vanden-Eijnden 2005; Noid et al. 2008). See `force_map`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import openmm
from openmm import app, unit

from twoforone.datasets import cg_map

CONSTRAINT_TOLERANCE = 1e-6
FORCE_FIELD_FILES = {
  'implicit': ('amber99sbildn.xml', 'amber99_obc.xml'),
  'explicit': ('amber99sbildn.xml', 'tip3p.xml'),
}
# Ideal internal coordinates (nm, degrees); the energy minimisation refines them.
BOND = {'C-N': 0.1335, 'N-CA': 0.1449, 'CA-C': 0.1522, 'C-O': 0.1229, 'CA-CB': 0.1526}
ANGLE = {'CA-C-N': 116.6, 'C-N-CA': 121.9, 'N-CA-C': 111.0, 'CA-C-O': 120.5, 'N-CA-CB': 109.7}


class Frame(NamedTuple):
  """One stored frame: positions [atoms, 3] in nm, forces [atoms, 3] in kJ/mol/nm."""

  positions: np.ndarray
  forces: np.ndarray


def build_capped_peptide(
  residues: tuple[str, ...], *, phi: float = -80.0, psi: float = 80.0
) -> tuple[app.Topology, unit.Quantity]:
  """Builds the heavy atoms of ACE-(residues)-NME at uniform backbone torsions.

  Args:
    residues: three-letter names; ALA and GLY are known.
    phi: backbone torsion of every residue [degrees].
    psi: backbone torsion of every residue [degrees].

  Returns:
    The topology and the heavy-atom positions; hydrogens are added by `make_simulation`.

  Raises:
    ValueError: for a residue without a template.
  """
  unknown = [name for name in residues if name not in ('ALA', 'GLY')]
  if unknown:
    raise ValueError(f'residues: no template for {unknown}, expected ALA or GLY')
  names = ('ACE', *residues, 'NME')
  topology, positions = app.Topology(), []
  chain = topology.addChain()
  carbon, nitrogen, oxygen = app.element.carbon, app.element.nitrogen, app.element.oxygen
  backbone = _backbone(len(residues), phi, psi)

  def add(residue, name, element, position):
    topology.addAtom(name, element, residue)
    positions.append(position)

  for k, name in enumerate(names):
    residue = topology.addResidue(name, chain)
    n, ca, c, c_next = (backbone.get(key) for key in (('N', k), ('CA', k), ('C', k), ('N', k + 1)))
    if name == 'ACE':
      add(residue, 'CH3', carbon, ca)
    else:
      add(residue, 'N', nitrogen, n)
      add(residue, 'C' if name == 'NME' else 'CA', carbon, ca)
    if name == 'NME':
      continue
    add(residue, 'C', carbon, c)
    # The oxygen lies opposite the next nitrogen in the peptide plane.
    plane = _unit(_unit(ca - c) + _unit(c_next - c))
    add(residue, 'O', oxygen, c - BOND['C-O'] * plane)
    if name == 'ALA':
      before = backbone[('C', k - 1)]
      add(residue, 'CB', carbon,
          _place(before, n, ca, BOND['CA-CB'], ANGLE['N-CA-CB'], phi - 122.5))
  topology.createStandardBonds()
  return topology, np.array(positions) * unit.nanometer


def make_simulation(
  residues: tuple[str, ...],
  *,
  solvent: str,
  temperature: float,
  friction: float,
  dt: float,
  hydrogen_mass: float,
  box: float,
  platform: str,
  seed: int,
  torsions: tuple[float, float] = (-80.0, 80.0),
) -> app.Simulation:
  """An OpenMM simulation of a capped peptide from its next minimum, AMBER ff99SB-ILDN.

  Args:
    residues: residue names between the caps.
    solvent: 'implicit' (OBC2) or 'explicit' (TIP3P, PME, 0.9 nm cut-off).
    temperature: [K].
    friction: Langevin friction [1/ps].
    dt: time step [ps].
    hydrogen_mass: mass of each hydrogen, the difference taken from its heavy atom [amu].
    box: edge of the cubic box, explicit solvent only [nm].
    platform: OpenMM platform; 'Reference' is the fastest for a dipeptide, 'CPU' (one thread) from
      about a hundred atoms on.
    seed: seeds the velocities and the thermostat.
    torsions: phi and psi of every residue before the minimisation [degrees].

  Raises:
    ValueError: for an unknown solvent, a platform that is absent, or a non-positive number.
  """
  if solvent not in FORCE_FIELD_FILES:
    raise ValueError(f'solvent: found {solvent!r}, expected one of {sorted(FORCE_FIELD_FILES)}')
  for name, value in (('temperature', temperature), ('dt', dt), ('friction', friction)):
    if value <= 0:
      raise ValueError(f'{name}: found {value}, expected a positive number')
  available = [openmm.Platform.getPlatform(i).getName()
               for i in range(openmm.Platform.getNumPlatforms())]
  if platform not in available:
    raise ValueError(f'platform: found {platform!r}, this machine has {available}')
  force_field = app.ForceField(*FORCE_FIELD_FILES[solvent])
  modeller = app.Modeller(*build_capped_peptide(residues, phi=torsions[0], psi=torsions[1]))
  modeller.addHydrogens(force_field)
  options = {'nonbondedMethod': app.NoCutoff}
  if solvent == 'explicit':
    modeller.addSolvent(force_field, model='tip3p', boxSize=openmm.Vec3(box, box, box))
    options = {'nonbondedMethod': app.PME, 'nonbondedCutoff': 0.9}
  system = force_field.createSystem(
    modeller.topology, constraints=app.HBonds, removeCMMotion=False,
    hydrogenMass=hydrogen_mass * unit.amu, **options)
  integrator = openmm.LangevinMiddleIntegrator(temperature, friction, dt)
  integrator.setRandomNumberSeed(seed)
  integrator.setConstraintTolerance(CONSTRAINT_TOLERANCE)
  # Runs are simulated side by side, each on a core of its own.
  properties = {'Threads': '1'} if platform == 'CPU' else {}
  simulation = app.Simulation(modeller.topology, system, integrator,
                              openmm.Platform.getPlatformByName(platform), properties)
  simulation.context.setPositions(modeller.positions)
  simulation.minimizeEnergy()
  simulation.context.setVelocitiesToTemperature(temperature, seed)
  return simulation


def force_map(simulation: app.Simulation, beads: tuple[int, ...]) -> np.ndarray:
  """The 0/1 matrix [beads, atoms] that sums the forces of each bead's rigid group.

  The rigid group of a bead is the bead atom with every atom joined to it by constraints.

  Raises:
    ValueError: when two beads are in one rigid group (see `cg_map.force_map`).
  """
  system = simulation.system
  constraints = [system.getConstraintParameters(k)[:2] for k in range(system.getNumConstraints())]
  matrix = np.zeros((len(beads), system.getNumParticles()))
  matrix[np.arange(len(beads)), list(beads)] = 1
  return cg_map.force_map(cg_map.make_map(matrix), np.array(constraints, int).reshape(-1, 2))


def run(simulation: app.Simulation, *, num_frames: int, stride: int) -> Iterator[Frame]:
  """Yields `num_frames` frames of the peptide's atoms, `stride` steps apart."""
  for _ in range(num_frames):
    simulation.step(stride)
    state = simulation.context.getState(getPositions=True, getForces=True)
    yield Frame(
      state.getPositions(asNumpy=True).value_in_unit(unit.nanometer),
      state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer))


def peptide_positions(simulation: app.Simulation) -> np.ndarray:
  """Where the peptide's atoms are now, [atoms, 3] in nm."""
  atoms = [a.index for a in simulation.topology.atoms() if a.residue.name != 'HOH']
  state = simulation.context.getState(getPositions=True)
  return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)[atoms]


def select_beads(topology: app.Topology, names: tuple[str, ...]) -> tuple[int, ...]:
  """Atom indices of 'RES:NAME' or 'NAME' selections, in topology order.

  Raises:
    ValueError: when a name matches no atom.
  """
  atoms = [a for a in topology.atoms() if a.residue.name != 'HOH']
  missing = [name for name in names
             if not any(name in (a.name, f'{a.residue.name}:{a.name}') for a in atoms)]
  if missing:
    raise ValueError(f'beads: no atom matches {missing}')
  return tuple(a.index for a in atoms
               if a.name in names or f'{a.residue.name}:{a.name}' in names)


def _unit(vector: np.ndarray) -> np.ndarray:
  return vector / np.linalg.norm(vector)


def _place(a, b, c, distance, angle, torsion) -> np.ndarray:
  """The atom at `distance` from c, `angle` to b-c and `torsion` about b-c (degrees)."""
  angle, torsion = np.deg2rad(angle), np.deg2rad(torsion)
  axis = _unit(c - b)
  normal = _unit(np.cross(b - a, axis))
  direction = np.array([-np.cos(angle), np.sin(angle) * np.cos(torsion),
                        np.sin(angle) * np.sin(torsion)])
  return c + distance * direction @ np.stack([axis, np.cross(normal, axis), normal])


def _backbone(num_residues: int, phi: float, psi: float) -> dict[tuple[str, int], np.ndarray]:
  """N, CA, C positions by residue; residue 0 is ACE (its CA is CH3), the last is NME."""
  atoms = {('CA', 0): np.zeros(3), ('C', 0): np.array([BOND['CA-C'], 0.0, 0.0])}
  angle = np.deg2rad(180.0 - ANGLE['CA-C-N'])
  atoms[('N', 1)] = atoms[('C', 0)] + BOND['C-N'] * np.array([np.cos(angle), np.sin(angle), 0.0])
  for k in range(1, num_residues + 2):
    atoms[('CA', k)] = _place(atoms[('CA', k - 1)], atoms[('C', k - 1)], atoms[('N', k)],
                              BOND['N-CA'], ANGLE['C-N-CA'], 180.0)
    if k <= num_residues:
      atoms[('C', k)] = _place(atoms[('C', k - 1)], atoms[('N', k)], atoms[('CA', k)],
                               BOND['CA-C'], ANGLE['N-CA-C'], phi)
      atoms[('N', k + 1)] = _place(atoms[('N', k)], atoms[('CA', k)], atoms[('C', k)],
                                   BOND['C-N'], ANGLE['CA-C-N'], psi)
  return atoms


def write_pdb(path, topology: app.Topology, positions: np.ndarray) -> None:
  """Writes the peptide (no water) at `positions` [atoms, 3] in nm."""
  modeller = app.Modeller(topology, np.zeros((topology.getNumAtoms(), 3)) * unit.nanometer)
  modeller.deleteWater()
  with open(path, 'w') as file:
    app.PDBFile.writeFile(modeller.topology, positions * unit.nanometer, file)


def versions() -> dict[str, str]:
  """Versions of what made the data."""
  return {'openmm': openmm.version.full_version, 'numpy': np.__version__}
