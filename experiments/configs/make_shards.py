"""Trajectories larger than memory: write their beads as shards, then train on those.

  python -m experiments.make_shards --workdir=runs/shards --config.data.topology=protein.pdb
    "--config.data.trajectories=('run0.xtc','run1.xtc')" --config.data.temperature=300.
  python -m experiments.protein --workdir=runs/mine --config.data.kind=shards
    --config.data.path=runs/shards

Reads as fast as mdtraj does; on disk 12 bytes for each bead of each frame, as
many again with forces.
"""

from ml_collections import ConfigDict

from experiments.configs import protein

FIELDS = ('name', 'topology', 'trajectories', 'selection', 'map', 'temperature', 'stride',
          'interval', 'whole', 'mass', 'forces', 'constraints')


def get_config(variant: str = 'default') -> ConfigDict:
  if variant != 'default':
    raise ValueError(f"variant: found {variant!r}, expected one of ['default']")
  return ConfigDict({
    'data': {field: protein.DATA[field] for field in FIELDS},
    'shard_size': 100_000,  # frames in each file, and in memory at a time
  }, convert_dict=True)
