"""Checks the embedded data: are the forces mapped correctly, and how far apart are the runs?

Writes <F_i · (x_i - x_j)> / (3 kT), which must be -1, to force_identity.md and .csv, and to
populations.md the populations of each run and its JS against the others, the floor of that fold:
of (phi, psi) for alanine, of C-alpha pair distances for a peptide.
"""

import csv
import pathlib
from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict

from experiments import command_line, markdown
from twoforone import units
from twoforone.datasets import ala2, embedded, peptide
from twoforone.datasets.dataset import Dataset
from twoforone.datasets.force_map import VirialIdentity, virial_identity
from twoforone.datasets.molecule import load_native
from twoforone.evaluation import densities, folding, structure, uncertainty
from twoforone.trajectory import write_atomically

COLUMNS = ('i', 'j', 'beads', 'mean', 'standard error', 'deviation / s.e.')


def run(config: ConfigDict, workdir: str) -> VirialIdentity:
  """Checks every ordered pair of beads of the data and returns the numbers."""
  workdir = command_line.prepare_workdir(workdir, config)
  data, look = (load_peptide if config.selection else load_ala2)(config)
  if data.forces is None:
    raise ValueError(f'{config.name}_beads.npz: forces: the field is missing, nothing to check')
  identity = virial_identity(
    data.x, data.forces, data.run, kT=units.thermal_energy(data.system.temperature),
    num_blocks=config.num_blocks)
  rows = table(identity, data.system.beads)
  write_atomically(
    workdir / 'force_identity.md', lambda file: file.write(to_markdown(rows, identity).encode()))
  with open(workdir / 'force_identity.csv', 'w', newline='') as file:
    csv.writer(file).writerows([COLUMNS, *rows])
  runs = look()
  (workdir / 'populations.md').write_text(runs)
  print(to_markdown(rows, identity), runs, sep='\n')
  return identity


def load_ala2(config: ConfigDict) -> tuple[Dataset, Callable[[], str]]:
  """The five beads of alanine, and what compares their runs."""
  data = ala2.load_ala2(config.directory or embedded.DIRECTORY, name=config.name)
  return data, lambda: compare_runs(data.x, data.run)


def load_peptide(config: ConfigDict) -> tuple[Dataset, Callable[[], str]]:
  """The selected beads of a peptide, and what compares the CA traces of their runs."""
  folder = pathlib.Path(config.directory or embedded.DIRECTORY)
  native = load_native(folder / f'{config.name}_native.pdb', 'name CA')
  trace = peptide.load_peptide(config.name, 'name CA', folder)
  return (peptide.load_peptide(config.name, config.selection, folder),
          lambda: compare_folds(trace, native))


def compare_runs(x: np.ndarray, run: np.ndarray) -> str:
  """Populations of each run and JS of its 60×60 (phi, psi) histogram against the others'."""
  torsions = [structure.internal_coordinates(x[run == k]).dihedrals for k in np.unique(run)]
  counts = np.stack([densities.torsion_histogram(angles) for angles in torsions])
  rows = []
  for k, angles in enumerate(torsions):
    basins = structure.basins(angles)
    js = densities.js_divergence(np.delete(counts, k, axis=0).sum(axis=0), counts[k])
    rows.append((str(k), f'{basins["phi_positive"].mean():.3f}', f'{basins["alpha_R"].mean():.3f}',
                 f'{js:.4f}'))
  return markdown.table(('run', 'P(phi > 0)', 'P(alpha_R)', 'JS against the others'), rows) + '\n'


def compare_folds(data: Dataset, native: np.ndarray) -> str:
  """Folded share and folding events of each run, and JS of its pair distances against the others.

  Folded is an RMSD below 2 Å, unfolded one above 3 Å.
  """
  rmsd = folding.native_rmsd(data.x, native)
  rows = []
  for k in np.unique(data.run):
    own = data.run == k
    share = uncertainty.estimate(rmsd[own] < 0.2)
    events = folding.folding_times(
      folding.fold_states(rmsd[own][:, None], 0.2, 0.3), data.interval)
    js = structure.pair_distance_js(*(
      structure.pair_histograms(data.x[frames], offset=3) for frames in (~own, own))).mean()
    rows.append((str(k), f'{share.mean:.3f} ± {share.error:.3f}', str(events.foldings),
                 f'{js:.4f}'))
  heads = 'run', 'P(RMSD < 2 Å)', 'foldings', 'pair-distance JS against the others'
  return markdown.table(heads, rows) + '\n'


def deviation(identity: VirialIdentity) -> np.ndarray:
  """(mean + 1) in standard errors."""
  return (identity.mean + 1) / identity.error


def table(identity: VirialIdentity, beads: tuple[str, ...]) -> list[tuple[str, ...]]:
  """One row of text per ordered pair."""
  return [(str(i), str(j), f'{beads[i]}-{beads[j]}', f'{mean:.4f}', f'{error:.4f}', f'{z:+.2f}')
          for (i, j), mean, error, z in zip(
            identity.pairs, identity.mean, identity.error, deviation(identity), strict=True)]


def to_markdown(rows: list[tuple[str, ...]], identity: VirialIdentity) -> str:
  """The table, then the root mean square and the largest deviation."""
  z = deviation(identity)
  return (f'{markdown.table(COLUMNS, rows)}\n\n'
          f'Deviation over {len(z)} pairs: rms {np.sqrt(np.mean(z**2)):.2f}, largest '
          f'{np.abs(z).max():.2f} standard errors. Expected mean: -1.\n')


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/check_data.py')
