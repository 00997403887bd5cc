"""Writes the table of <F_i · (x_i - x_j)> / (3 kT), which is -1 when forces are mapped correctly.

The table goes to force_identity.md and force_identity.csv in the work folder.
"""

import csv

import numpy as np
from ml_collections import ConfigDict

from experiments import command_line
from twoforone import units
from twoforone.datasets import ala2
from twoforone.datasets.force_map import VirialIdentity, virial_identity

COLUMNS = ('i', 'j', 'beads', 'mean', 'standard error', 'deviation / s.e.')


def run(config: ConfigDict, workdir: str) -> VirialIdentity:
  """Checks every ordered pair of beads of the data and returns the numbers."""
  workdir = command_line.prepare_workdir(workdir, config)
  data = ala2.load_ala2(config.directory or ala2.DIRECTORY, name=config.name)
  if data.forces is None:
    raise ValueError(f'{config.name}_beads.npz: forces: the field is missing, nothing to check')
  identity = virial_identity(
    data.x, data.forces, data.run, kT=units.thermal_energy(data.system.temperature),
    num_blocks=config.num_blocks)
  rows = table(identity, data.system.beads)
  command_line.write_atomically(
    workdir / 'force_identity.md', lambda file: file.write(to_markdown(rows, identity).encode()))
  with open(workdir / 'force_identity.csv', 'w', newline='') as file:
    csv.writer(file).writerows([COLUMNS, *rows])
  print(to_markdown(rows, identity))
  return identity


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
  lines = [COLUMNS, ('---',) * len(COLUMNS), *rows]
  return '\n'.join([
    *(f'| {" | ".join(line)} |' for line in lines), '',
    f'Deviation over {len(z)} pairs: rms {np.sqrt(np.mean(z**2)):.2f}, largest '
    f'{np.abs(z).max():.2f} standard errors. Expected mean: -1.', ''])


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/force_identity.py')
