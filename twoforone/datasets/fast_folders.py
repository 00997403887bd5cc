"""The fast-folding proteins of Lindorff-Larsen et al. (2011) as C-alpha beads.

The trajectories belong to D. E. Shaw Research and are given on request only; this reads them as
they come, 200 ps apart, and splits them as Arts et al. (2023) did or without their leak.
"""

import csv
import os
import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from twoforone.datasets import array_file
from twoforone.datasets.dataset import Dataset, Split, check_frames, cut_runs, take_frames
from twoforone.datasets.molecule import load_molecule
from twoforone.units import NM_PER_ANGSTROM

INTERVAL = 200.0  # ps
MASS = 12.0  # amu, of every bead
SHUFFLE_SEED = 2342361


class Protein(NamedTuple):
  """One of the twelve.

  Attributes:
    id: in the file names.
    temperature: of the data [K].
    num_beads: residues with a C-alpha; None where Arts et al. (2023) trained no model.
    num_frames: of the first simulation.
  """

  id: str
  temperature: float
  num_beads: int | None = None
  num_frames: int | None = None


PROTEINS = {
  'chignolin': Protein('CLN025', 340.0, 10, 534_743),
  'trp_cage': Protein('2JOF', 290.0, 20, 1_044_000),
  'bba': Protein('1FME', 325.0, 28, 1_114_545),
  'villin': Protein('2F4K', 360.0, 35, 627_907),
  'protein_g': Protein('NuG2', 350.0, 56, 1_849_251),
  'ww_domain': Protein('GTT', 360.0),
  'ntl9': Protein('NTL9', 355.0),
  'bbl': Protein('2WAV', 298.0),
  'protein_b': Protein('PRB', 340.0),
  'homeodomain': Protein('UVF', 360.0),
  'alpha3d': Protein('A3D', 370.0),
  'lambda_repressor': Protein('lambda', 350.0),  # the id as in the archive's names, not verified
}


def load_fast_folder(
  root: str | os.PathLike, name: str, *, simulation: int = 0, num_runs: int = 1, stride: int = 1
) -> Dataset:
  """One simulation of a protein, its parts in the order of the table beside them.

  Expects `<ID>/simulation_0/c-alpha/<ID>-0-c-alpha/` below `root`, with `<ID>-0-c-alpha.pdb`,
  `<ID>-0-c-alpha_times.csv` (ps and file name in each row) and the .dcd files it names.

  Args:
    root: the folder that holds the proteins' folders.
    name: a key of `PROTEINS`.
    simulation: which one, where there are several.
    num_runs: equal pieces of time that it is cut into, to hold one out with `split_fold`.
    stride: keep every so many frames.

  Raises:
    ValueError: for an unknown protein, absent or damaged files (it says where they come from), a
      wrong number of beads.
  """
  if name not in PROTEINS:
    raise ValueError(f'name: found {name!r}, expected one of {sorted(PROTEINS)}')
  if num_runs < 1:
    raise ValueError(f'num_runs: found {num_runs}, expected at least 1')
  protein = PROTEINS[name]
  stem = f'{protein.id}-{simulation}-c-alpha'
  folder = pathlib.Path(root) / protein.id / f'simulation_{simulation}' / 'c-alpha' / stem
  topology, table = folder / f'{stem}.pdb', folder / f'{stem}_times.csv'
  for path in (topology, table):
    if not path.is_file():
      raise ValueError(
        f'{path}: no such file; the trajectories of {name} must be requested from D. E. Shaw '
        f'Research (Lindorff-Larsen et al. 2011). Expected {stem}.pdb, {stem}_times.csv and the '
        f'.dcd parts in {folder}')
  data = load_molecule(
    topology, [_read_parts(table)], selection='name CA', temperature=protein.temperature,
    name=name, stride=stride, interval=INTERVAL)
  num_beads = len(data.system.beads)
  if protein.num_beads not in (None, num_beads):
    raise ValueError(f'{topology}: found {num_beads} C-alpha, expected {protein.num_beads}')
  return cut_runs(
    data._replace(system=data.system._replace(mass=np.full(num_beads, MASS))), num_runs)


def load_native(path: str | os.PathLike, name: str) -> Float[np.ndarray, 'beads 3']:
  """The C-alpha positions in nm of a structure of the Protein Data Bank.

  Args:
    path: an .npz with the field `<name>_ca_A` [models, beads, 3] in Å; the first model is read.
    name: of the protein.

  Raises:
    ValueError: for a damaged file, a missing field, a wrong shape, numbers that are not finite.
  """
  arrays, field = array_file.read(path), f'{name}_ca_A'
  if field not in arrays:
    raise ValueError(f'{path}: {field}: the field is missing, found {sorted(arrays)}')
  models = arrays[field]
  check_frames(f'{path}: {field}', models, models.shape[1] if models.ndim == 3 else 0)
  return (NM_PER_ANGSTROM * models[0]).astype(np.float32)


def split_published(dataset: Dataset) -> Split:
  """The split of Arts et al. (2023), for parity only: it *leaks*; `dataset.split_fold` does not.

  All frames are shuffled by NumPy's legacy generator, then the first are for training, the next
  tenth validate and the last fifth test (both rounded down). Validation and test frames have
  neighbours in time, 200 ps away, among those of training: this measures the fit of the density.

  Raises:
    ValueError: for fewer than ten frames, of which a tenth is none.
  """
  size = len(dataset.x)
  validation, test = int(0.1 * size), int(0.2 * size)
  if validation < 1:
    raise ValueError(f'frames: found {size}, expected at least 10')
  order = np.random.RandomState(SHUFFLE_SEED).permutation(size)
  return Split(*(take_frames(dataset, frames, None) for frames in np.split(
    order, [size - validation - test, size - test])))


def _read_parts(table: pathlib.Path) -> list[pathlib.Path]:
  """The files that the second column names, in order."""
  with open(table, newline='') as file:
    rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
  wrong = [k for k, row in enumerate(rows) if len(row) != 2 or not row[1]]
  if wrong or not rows:
    raise ValueError(f'{table}: found {rows[wrong[0]] if rows else "no rows"}, expected a time in '
                     'ps and a file name in every row')
  return [table.parent / name for _, name in rows]
