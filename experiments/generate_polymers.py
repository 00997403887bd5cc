"""Simulates bead-spring polymers and writes the motion of their coarse beads: train, val and test.

Chains of one length make a group with a file of its own under groups/: after an interruption the
same command goes on with the groups that are missing. A group keeps one core busy, so several run
at a time; what they give does not depend on it.
"""

import concurrent.futures
import os
import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments import command_line, polymer_md
from twoforone.datasets import array_file, polymer_file, polymers
from twoforone.trajectory import write_atomically, write_json


def run(config: ConfigDict, workdir: str) -> dict[str, str]:
  """Simulates what is missing, writes one npz for each split and a card; returns their paths."""
  workdir = command_line.prepare_workdir(workdir, config)
  groups = draw_groups(config)
  (workdir / 'groups').mkdir(exist_ok=True)
  key, keys = jax.random.key(config.seed), {}
  for name in groups:
    key, keys[name] = jax.random.split(key)

  def make(name):
    arrays = simulate_group(config, name, groups[name], keys[name])
    write_atomically(group_path(workdir, name), lambda file: np.savez(file, **arrays))

  missing = [name for name in groups if not group_path(workdir, name).exists()]
  missing.sort(key=lambda name: chain_steps(config, name, groups[name]) * groups[name].shape[1]**2)
  pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
  try:
    list(pool.map(make, reversed(missing)))  # the long ones first
  finally:
    pool.shutdown(cancel_futures=True)
  return assemble(config, workdir, groups)


def draw_groups(config: ConfigDict) -> dict[str, np.ndarray]:
  """Species [C, N] of the chains of one length in one split, under names such as train_24."""
  sequences = polymers.draw_sequences(
    config.seed, tuple(config.lengths), num_train=config.num_train, num_val=config.num_val,
    num_test=config.num_test)
  return {
    f'{split}_{length}': np.stack([species for species in chains if len(species) == length])
    for split, chains in sequences._asdict().items()
    for length in sorted({len(species) for species in chains})}


def group_path(workdir: pathlib.Path, name: str) -> pathlib.Path:
  """Where the frames of a group are."""
  return workdir / 'groups' / f'{name}.npz'


def simulate_group(config: ConfigDict, name: str, group, key) -> dict[str, np.ndarray]:
  """Frames of a group, axes [C, R, F], and what its simulation cost."""
  how = protocol(config, name.split('_')[0])

  def report(done, chunks, seconds):
    if done == chunks or done % -(-chunks // 10) == 0:
      print(f'{name}: {len(group)} chains: {done} of {chunks} chunks, {seconds:.0f} s, '
            f'{seconds * (chunks - done) / done:.0f} s left', flush=True)

  frames, seconds = polymer_md.simulate_chains(
    group, key, level=config.level, dt=config.dt, friction=config.friction,
    equilibration=config.equilibration, chunk=config.chunk, report=report, **how)
  return {'x': frames.x, 'square_radius': frames.square_radius, 'kinetic': frames.kinetic.mean(),
          'seconds': np.float64(seconds),
          'chain_steps': np.int64(chain_steps(config, name, group))}


def chain_steps(config: ConfigDict, name: str, group) -> int:
  """Steps of all runs of a group together."""
  how = protocol(config, name.split('_')[0])
  steps = round((config.equilibration + how['length']) / config.dt)
  return len(group) * how['replicas'] * steps


def protocol(config: ConfigDict, split: str) -> dict[str, float]:
  """Replicas, length [τ] and interval [τ] of a split's runs."""
  if split == 'test':
    return {'replicas': config.test_replicas, 'length': config.test_length,
            'interval': config.test_interval}
  return {'replicas': 1, 'length': config.length, 'interval': config.interval}


def assemble(config: ConfigDict, workdir: pathlib.Path, groups) -> dict[str, str]:
  """Writes a file for each split and the card with the cost and mean p²/m of each group."""
  card = {'config': config.to_dict(), 'unit': 'LJ: length σ, time τ, kT = m = 1', 'groups': {}}
  molecules = {split: [] for split in polymers.Sequences._fields}
  for name, group in groups.items():
    made = array_file.read(group_path(workdir, name))
    molecules[name.split('_')[0]] += list_molecules(config, group, made)
    card['groups'][name] = {
      field: float(made[field]) for field in ('seconds', 'chain_steps', 'kinetic')}
  paths = {split: workdir / f'{split}.npz' for split in molecules}
  for split, path in paths.items():
    write_atomically(path, lambda file, split=split: polymer_file.write(
      file, molecules[split], interval=protocol(config, split)['interval'],
      friction=config.friction))
  paths['card'] = workdir / 'polymers.json'
  write_json(paths['card'], card, ensure_ascii=False)
  print(f'wrote {", ".join(str(path) for path in paths.values())}')
  return {name: str(path) for name, path in paths.items()}


def list_molecules(config: ConfigDict, group, made) -> list[polymer_file.Molecule]:
  """A record for each chain of a group, in the order of `group`."""
  length = group.shape[1]
  bonds, cluster = polymers.linear_bonds(length), polymer_md.cluster(length, config.level)
  return [polymer_file.Molecule(species, cluster, np.ones(length), bonds, x, square_radius)
          for species, x, square_radius in zip(group, made['x'], made['square_radius'],
                                               strict=True)]


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/generate_polymers.py')
