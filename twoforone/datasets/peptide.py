"""Any choice of beads from an embedded peptide: its bead file, its topology and its card.

`deca_alanine` is ACE-(ALA)10-NME in implicit water, its N, CA and C as beads.
"""

import os
import pathlib

from twoforone.datasets import bead_file, cg_map, trajectory_file
from twoforone.datasets.bead_system import make_system
from twoforone.datasets.dataset import Dataset, make_dataset
from twoforone.datasets.embedded import DIRECTORY, find_embedded


def load_peptide(
  name: str, selection: str = 'name CA', directory: str | os.PathLike = DIRECTORY
) -> Dataset:
  """The selected beads of all runs, with their mapped forces where the file has forces.

  Args:
    name: of the files, 'deca_alanine'.
    selection: beads among those of the file, in mdtraj's language.
    directory: of the files.

  Raises:
    ValueError: for a missing or damaged file, a selection of atoms that are no beads.
  """
  card, path = find_embedded(name, directory)
  topology_path = pathlib.Path(directory) / f'{name}.pdb'
  topology = trajectory_file.read_topology(topology_path)
  chosen = cg_map.select_atoms(topology, selection)
  atoms = chosen.matrix.argmax(axis=1).tolist()
  missing = sorted(set(atoms) - set(card['beads']))
  if missing:
    raise ValueError(f'selection: found {selection!r}, which selects the atoms {missing} of '
                     f'{topology_path}, expected only beads of {path}: {card["beads"]}')
  beads = [card['beads'].index(atom) for atom in atoms]
  frames = bead_file.read(path)
  positions, forces = (
    None if values is None else values[:, :, beads].reshape(-1, len(beads), 3)
    for values in frames)
  system = make_system(topology, chosen, name=name, temperature=card['config']['temperature'])
  return make_dataset(
    positions, system, forces=forces, num_runs=len(frames.positions),
    interval=card['config']['interval'], labels=(f'{path}: positions', f'{path}: forces'))
