"""Alanine dipeptide as five backbone beads: the system, the embedded data, the public data.

Beads in order: C of ACE, N, CA and C of ALA, N of NME. phi = dihedral(0, 1, 2, 3) and
psi = dihedral(1, 2, 3, 4).
"""

import os

from twoforone.datasets.dataset import Dataset
from twoforone.datasets.embedded import DIRECTORY, find_embedded
from twoforone.datasets.frames import load_bead_frames, load_frames
from twoforone.system import System, make_chain

BEADS = ('C', 'N', 'CA', 'C', 'N')
MASS = (12.0, 14.0, 12.0, 12.0, 14.0)  # amu
PAPER_MASS = (12.8,) * 5  # amu; the mean of MASS, used by Arts et al. (2023)
NAME = 'ala2_implicit'


def ala2_system(*, mass: tuple[float, ...] = MASS, temperature: float = 300.0) -> System:
  """The five-bead chain; `mass=PAPER_MASS` gives all beads the mean mass, 12.8 amu."""
  return make_chain('ala2', BEADS, mass, temperature)


def load_ala2(directory: str | os.PathLike = DIRECTORY, *, name: str = NAME) -> Dataset:
  """The project's own data: independent all-atom runs, beads with mapped forces.

  The number of runs, the interval and the temperature are those of the files.

  Raises:
    ValueError: when the file or its card is missing or damaged, or they do not belong together.
  """
  card, path = find_embedded(name, directory)
  system = ala2_system(temperature=card['config']['temperature'])
  return load_bead_frames(path, system, interval=card['config']['interval'])


def load_fu_berlin(path: str | os.PathLike, *, interval: float = 2.0) -> Dataset:
  """The public file `ala2_cg_2fs_Hmass_2_HBonds.npz` (FU Berlin, pub/cmb-data, CC-BY 4.0).

  Fields coords [Å] and aaFs [kcal/mol/Å], four equally long runs one after the other; a thinned
  copy is read alike. Made for Köhler et al. (2023), explicit water, 300 K.

  Args:
    path: the file.
    interval: ps between frames, 2 in the published file.

  Raises:
    ValueError: for a damaged file, a wrong number of beads, frames that are no multiple of four.
  """
  return load_frames(path, ala2_system(), length_unit='angstrom', force_unit='kcal/mol/angstrom',
                     num_runs=4, interval=interval)
