"""Trajectories of any size to shards: numbered files of beads that training reads block by block.

Only some frames are in memory at a time. Leaves in `workdir`: config.json, the shards and, last,
index.json; after an interruption the same command begins anew.
"""

import json
import pathlib

from ml_collections import ConfigDict

from experiments import command_line, molecules
from twoforone.datasets import molecule, shards


def run(config: ConfigDict, workdir: str) -> pathlib.Path:
  """Writes the shards and prints which run is which file; returns their folder."""
  source = molecule.open_molecule(**molecules.trajectory_options(config.data))
  folder = command_line.prepare_workdir(workdir, config)
  shards.write_shards(folder, molecule.read_beads(source), shard_size=config.shard_size)
  runs = json.loads((folder / shards.INDEX).read_text())['runs']
  for (number, count), (file, *_) in zip(runs, source.runs, strict=True):
    print(f'run {number}: {count:,} frames of {file}')
  return folder


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/make_shards.py')
