"""Forces on all atoms beside a trajectory: an .npy of its frames, read a few at a time.

No trajectory format that mdtraj reads gives its forces, so they come in a file of their own.
"""

import os
import pathlib
from collections.abc import Sequence

import mdtraj
import numpy as np
from jaxtyping import Float, Int

from twoforone.datasets.dataset import Dataset
from twoforone.datasets.force_map import virial_identity
from twoforone.units import thermal_energy

FEWEST = 1000  # frames of a run from which its virial is looked at
BLOCKS = 10  # of each run, behind the error of the virial
TOLERANCE = 0.5  # of a number that must be one; another unit of force is off by a factor of 4 or 42


def open_forces(
  path: str | os.PathLike, num_atoms: int
) -> Float[np.ndarray, 'frames {num_atoms} 3']:
  """The memory-mapped forces [kJ/mol/nm] of a file.

  Raises:
    ValueError: for a file that is absent or no .npy, another shape, integers.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise ValueError(f'{path}: no such file')
  try:
    forces = np.lib.format.open_memmap(path, mode='r')
  except (ValueError, OSError) as error:
    raise ValueError(f'{path}: cannot be read, expected an .npy of the forces on all atoms '
                     f'({error})') from error
  if forces.ndim != 3 or forces.shape[1:] != (num_atoms, 3) or forces.dtype.kind != 'f':
    raise ValueError(f'{path}: found {forces.dtype} of shape {forces.shape}, expected floats '
                     f'[frames, {num_atoms}, 3], the force on each atom of the topology')
  return forces


def hydrogen_bonds(topology: mdtraj.Topology) -> Int[np.ndarray, 'bonds 2']:
  """Every bond to a hydrogen: what most simulations constrain.

  Raises:
    ValueError: for a hydrogen without a bond: its force would be left out of the map.
  """
  hydrogens = [atom.index for atom in topology.atoms if atom.element is mdtraj.element.hydrogen]
  bonds = np.array([(i.index, j.index) for i, j in topology.bonds], int).reshape(-1, 2)
  pairs = bonds[np.isin(bonds, hydrogens).any(axis=1)]
  free = np.setdiff1d(hydrogens, pairs)
  if len(free):
    raise ValueError(f'topology: found {len(free)} hydrogens without a bond, the first is '
                     f'{topology.atom(free[0])}; expected a topology with all bonds')
  return pairs


def check_virial(data: Dataset, labels: Sequence[str]) -> None:
  """Passes where <F_i · (x_i - x_j)> = -3 kT is not excluded for half of the pairs of each run.

  Few frames exclude nothing. See `force_map.virial_identity`.

  Args:
    data: with forces.
    labels: what errors call the forces of each run.

  Raises:
    ValueError: for forces in another unit or of other frames, or atoms whose constraints were left
      out of the map.
  """
  if len(data.system.beads) < 2:
    return
  kT = thermal_energy(data.system.temperature)
  for run, label in zip(np.unique(data.run), labels, strict=True):
    frames = np.flatnonzero(data.run == run)
    if len(frames) < FEWEST:
      continue
    found = virial_identity(data.x[frames], data.forces[frames], data.run[frames], kT=kT,
                            num_blocks=BLOCKS)
    if np.mean(np.abs(found.mean + 1) > TOLERANCE + 6 * found.error) > 0.5:
      raise ValueError(
        f'{label}: found <F_i · (x_i - x_j)> of {3 * np.median(found.mean):.3g} kT, the median of '
        'all pairs of beads, expected -3 kT; are the forces in kJ/mol/nm (1 kcal/mol/Å is 41.84), '
        'of these frames, and are constrained bonds named?')
