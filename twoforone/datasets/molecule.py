"""Any molecule in: a topology, its trajectories and a choice of beads make a `Dataset`.

Files are read a few frames at a time and only beads are kept, so memory is that of the beads; for
data that are larger still `read_beads` yields the pieces (see `shards`).
"""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import mdtraj
import numpy as np
from jaxtyping import Float, Int

from twoforone.datasets import cg_map as maps
from twoforone.datasets import force_file, trajectory_file
from twoforone.datasets.bead_system import make_system
from twoforone.datasets.cg_map import LinearMap
from twoforone.datasets.dataset import LONGEST_BOND, SHORTEST_BOND, Dataset, make_dataset
from twoforone.system import System

BROKEN_BOND = 1.5  # nm; centres of two long residues come close to one nm, boxes are larger
LONGEST_STEP = 1.5  # nm between atoms of neighbouring residues; the nearest of one name are 0.28
SHORTEST_STEP = 0.15

Path = str | os.PathLike
Run = Path | Sequence[Path]


class Source(NamedTuple):
  """Trajectories that have been opened and checked, but not yet read.

  Attributes:
    runs: the files of each independent run, in order.
    topology: of all atoms.
    cg_map: from atoms to beads.
    system: the beads.
    stride: every how many frames one is read.
    file_interval: ps between the frames in the files, None when unknown.
    trusted: whether the interval was given, so that times in the files are not looked at.
    whole: whether molecules are closed across the periodic box.
    forces: the file of forces beside each file of `runs`, None where there are none.
    force_matrix: from the forces on atoms to those on beads, [beads, atoms]; None without forces.
  """

  runs: tuple[tuple[Path, ...], ...]
  topology: mdtraj.Topology
  cg_map: LinearMap
  system: System
  stride: int
  file_interval: float | None
  trusted: bool
  whole: bool
  forces: tuple[tuple[Path | None, ...], ...]
  force_matrix: np.ndarray | None


def load_molecule(topology: Path, trajectories: Run | Sequence[Run], **options) -> Dataset:
  """All frames of the trajectories as beads, centred, in nm; options as in `open_molecule`.

  Raises:
    ValueError: names the file; see `open_molecule` and `read_beads`.
  """
  source = open_molecule(topology, trajectories, **options)
  parts = list(read_beads(source))
  data = parts[0]._replace(x=np.concatenate([part.x for part in parts]),
                           run=np.concatenate([part.run for part in parts]))
  if source.force_matrix is None:
    return data
  data = data._replace(forces=np.concatenate([part.forces for part in parts]))
  force_file.check_virial(data, [str(paths[0]) for paths in source.forces])
  return data


def open_molecule(
  topology: Path, trajectories: Run | Sequence[Run], *, temperature: float,
  selection: str | None = None, cg_map: LinearMap | None = None, name: str = 'molecule',
  stride: int = 1, interval: float | None = None, species: str = 'bead',
  mass: Float[np.ndarray, ' beads'] | None = None, whole: bool = False,
  forces: Run | Sequence[Run] | None = None, constraints: Int[np.ndarray, 'pairs 2'] | None = None
) -> Source:
  """Checks the topology and the start of every trajectory, before any is read in full.

  Args:
    topology: a file with the atoms, best with bonds (.pdb, .cif, .prmtop, .psf, .gro, ...).
    trajectories: one independent run each (.xtc, .dcd, .nc, .trr, .h5, .pdb, ...); a list in
      place of a file is a run in several parts. Solvent may be in the files.
    temperature: of the data [K].
    selection: the atoms that are beads, in mdtraj's language, e.g. 'name CA'.
    cg_map: any linear map instead of a selection.
    name: of the system.
    stride: keep every so many frames; it runs on through the parts of a run.
    interval: ps between the frames *in the files*; None for the one in them (a DCD has none).
    species, mass: see `bead_system.make_system`.
    whole: close bonds across the periodic box: those of the atoms read, and the beads' own where
      each is one atom. Chains that no bond joins are closed one by one.
    forces: an .npy beside each trajectory, [frames, atoms, 3] in kJ/mol/nm: the forces on all atoms
      of the topology in every frame of the file.
    constraints: pairs of atoms that the simulation held at a fixed distance, which mapped forces
      must know of (see `cg_map.force_map`); `force_file.hydrogen_bonds` names the usual ones.

  Raises:
    ValueError: names the file or field, what was found and what was expected.
  """
  if (selection is None) == (cg_map is None):
    raise ValueError('selection: expected either a selection or a cg_map, found '
                     f'{"neither" if selection is None else "both"}')
  if forces is None and constraints is not None:
    raise ValueError(f'constraints: found {len(constraints)}, expected none without forces')
  if stride < 1 or (interval is not None and not interval > 0):
    raise ValueError(f'stride: found {stride}, interval: found {interval}, expected positive')
  atoms = trajectory_file.read_topology(topology)
  chosen = maps.select_atoms(atoms, selection) if cg_map is None else cg_map
  if chosen.matrix.shape[1] != atoms.n_atoms:
    raise ValueError(f'{topology}: found {atoms.n_atoms} atoms, expected '
                     f'{chosen.matrix.shape[1]}, those of cg_map')
  system = make_system(atoms, chosen, name=name, temperature=temperature, species=species,
                       mass=mass)
  runs = _as_runs(trajectories)
  used = np.flatnonzero(chosen.matrix.any(axis=0)).tolist()
  intervals = {trajectory_file.check_file(path, atoms, used)
               for run in runs for path in run} - {None}
  if interval is None and len(intervals) > 1 and max(intervals) > 1.001 * min(intervals):
    raise ValueError(f'interval: found {min(intervals):g} to {max(intervals):g} ps between frames '
                     'of different trajectories, expected one; give interval, or load the files '
                     'apart with strides that make it one')
  found = min(intervals, default=None) if interval is None else interval
  force_runs, matrix = tuple((None,) * len(run) for run in runs), None
  if forces is not None:
    force_runs = _match_forces(forces, runs, atoms.n_atoms)
    matrix = maps.force_map(chosen, constraints)
  return Source(runs, atoms, chosen, system, stride, found, interval is not None, whole,
                force_runs, matrix)


def read_beads(source: Source) -> Iterator[Dataset]:
  """The frames of all runs in order, a few at a time, each piece of one run.

  Raises:
    ValueError: for a file that ends too early, NaN, bonds that suggest another unit or a molecule
      broken across the periodic box, a missing box where it is needed, forces of other frames.
  """
  atoms = np.flatnonzero(source.cg_map.matrix.any(axis=0))
  used = LinearMap(source.cg_map.matrix[:, atoms], source.cg_map.names)
  closed = _bonded_topology(source, atoms) if source.whole else None
  interval = source.file_interval and source.file_interval * source.stride
  for run, paths in enumerate(source.runs):
    skip = 0
    for path, beside in zip(paths, source.forces[run], strict=True):
      forces = beside and force_file.open_forces(beside, source.topology.n_atoms)
      for chunk in trajectory_file.read_chunks(
          path, source.topology, atoms, stride=source.stride, skip=skip, whole=closed,
          interval=None if source.trusted else source.file_interval):
        if len(chunk.r):
          x = maps.map_positions(used, chunk.r)
          _check_bonds(path, x, source, chunk.start)
          mapped = None if forces is None else _map_forces(source, path, beside, forces, chunk)
          part = make_dataset(x, source.system, forces=mapped, interval=interval,
                              labels=(str(path), str(beside)))
          yield part._replace(run=np.full(len(x), run))
      if forces is not None and len(forces) != chunk.stop:
        raise ValueError(f'{beside}: found {len(forces)} frames, expected {chunk.stop}, those of '
                         f'{path}')
      skip = (skip - chunk.stop) % source.stride


def load_native(
  path: Path, selection: str | None = None, *, cg_map: LinearMap | None = None
) -> Float[np.ndarray, 'beads 3']:
  """The beads of the first model of a structure file, in nm.

  Raises:
    ValueError: for a file that cannot be read, a selection that matches nothing, a map of another
      number of atoms.
  """
  topology = trajectory_file.read_topology(path)
  trajectory_file.check_file(path, topology)
  chosen = maps.select_atoms(topology, selection) if cg_map is None else cg_map
  if chosen.matrix.shape[1] != topology.n_atoms:
    raise ValueError(f'{path}: found {topology.n_atoms} atoms, expected '
                     f'{chosen.matrix.shape[1]}, those of cg_map')
  frames = trajectory_file.read_chunks(path, topology, np.arange(topology.n_atoms))
  return maps.map_positions(chosen, next(frames).r[0])


def _as_runs(
  trajectories: Run | Sequence[Run], name: str = 'trajectories'
) -> tuple[tuple[Path, ...], ...]:
  def is_path(value):
    return isinstance(value, str | os.PathLike)

  if is_path(trajectories):
    trajectories = [trajectories]
  runs = tuple((run,) if is_path(run) else tuple(run) for run in trajectories)
  if not runs or not all(runs):
    raise ValueError(f'{name}: found {list(trajectories)}, expected at least one file a run')
  return runs


def _match_forces(
  forces: Run | Sequence[Run], runs: tuple[tuple[Path, ...], ...], num_atoms: int
) -> tuple[tuple[Path, ...], ...]:
  """A file of forces, opened and checked, for each file of the runs."""
  found = _as_runs(forces, 'forces')
  counts, expected = ([len(paths) for paths in files] for files in (found, runs))
  if counts != expected:
    raise ValueError(f'forces: found {counts} files in {len(counts)} runs, expected {expected}, '
                     'one beside each trajectory')
  for paths in found:
    for path in paths:
      force_file.open_forces(path, num_atoms)
  return found


def _map_forces(
  source: Source, path: Path, beside: Path, forces: np.ndarray, chunk: trajectory_file.Chunk
) -> np.ndarray:
  """The forces on the beads in the frames of a chunk."""
  rows = forces[chunk.start:chunk.stop:source.stride]
  if len(rows) < len(chunk.r):
    raise ValueError(f'{beside}: found {len(forces)} frames, expected {chunk.stop} or more, those '
                     f'of {path}')
  bad = np.flatnonzero(~np.isfinite(rows).all(axis=(1, 2)))
  if len(bad):
    raise ValueError(f'{beside}: found {len(bad)} frames with NaN or infinite forces among '
                     f'{len(rows)}, the first is frame {chunk.start + source.stride * bad[0]}; '
                     'expected finite numbers')
  return maps.map_forces(source.force_matrix, rows)


def _bonded_topology(source: Source, atoms: np.ndarray) -> mdtraj.Topology:
  """The atoms that are read, with all bonds among them and between beads."""
  topology = source.topology.subset(atoms)
  if np.count_nonzero(source.cg_map.matrix) == len(source.system.beads):
    order = np.searchsorted(atoms, source.cg_map.matrix.argmax(axis=1))
    for i, j in source.system.bonds:
      topology.add_bond(topology.atom(order[i]), topology.atom(order[j]))
  if topology.n_bonds == 0:
    raise ValueError(f'{source.system.name}: whole: found no bonds between the atoms of the beads, '
                     'expected a topology with bonds')
  return topology


def _check_bonds(path: Path, x: np.ndarray, source: Source, start: int) -> None:
  """Another unit makes all bonds too long, a periodic box a few of them."""
  if len(source.system.bonds) == 0:
    _check_steps(path, x, source)
    return
  i, j = source.system.bonds.T
  length = np.linalg.norm(x[:, i] - x[:, j], axis=-1)
  middle = float(np.median(length))
  if not SHORTEST_BOND < middle < LONGEST_BOND:
    raise ValueError(f'{path}: found a median bond of {middle:.3g} nm, expected {SHORTEST_BOND} to '
                     f'{LONGEST_BOND} nm; was the file written in another unit of length, '
                     'ångström for nm?')
  frames, bonds = np.nonzero(length > BROKEN_BOND)
  if len(frames):
    pair = '-'.join(f'{source.system.beads[k]}({k})' for k in source.system.bonds[bonds[0]])
    raise ValueError(f'{path}: found a bond {pair} of {length[frames[0], bonds[0]]:.3g} nm, first '
                     f'in frame {start + source.stride * frames[0]}, expected below {BROKEN_BOND} '
                     'nm; the molecule is broken across the periodic box (whole=True closes it), '
                     'or residues are missing from its chain')


def _check_steps(path: Path, x: np.ndarray, source: Source) -> None:
  """Beads without bonds, C-beta for example: another unit makes a protein's steps too long.

  Nothing is known of the distances of others, such as water.
  """
  steps = _residue_steps(source)
  if len(steps) == 0:
    return
  i, j = steps.T
  middle = float(np.median(np.linalg.norm(x[:, i] - x[:, j], axis=-1)))
  if not SHORTEST_STEP < middle < LONGEST_STEP:
    raise ValueError(f'{path}: found a median of {middle:.3g} nm between beads of neighbouring '
                     f'residues, expected {SHORTEST_STEP} to {LONGEST_STEP} nm; was the file '
                     'written in another unit of length, ångström for nm?')


def _residue_steps(source: Source) -> Int[np.ndarray, 'steps 2']:
  """Pairs of beads, the first of each residue, of neighbours along the chain of a protein."""
  first = {}
  for bead, row in enumerate(source.cg_map.matrix):
    residues = {source.topology.atom(k).residue.index for k in np.flatnonzero(row).tolist()}
    if len(residues) == 1:
      first.setdefault(residues.pop(), bead)

  def is_step(k):
    a, b = source.topology.residue(k), source.topology.residue(k + 1)
    return a.chain.index == b.chain.index and a.is_protein and b.is_protein

  return np.array([(first[k], first[k + 1]) for k in sorted(first)
                   if k + 1 in first and is_step(k)], int).reshape(-1, 2)
