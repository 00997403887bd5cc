"""Simulates capped alanine all-atom and writes beads, mapped forces and all-atom frames.

Run the same command again after an interruption: it goes on from the last complete part and gives
the frames of an uninterrupted run. `length` can be raised later; the runs are then extended.
"""

import concurrent.futures
import hashlib
import json
import multiprocessing
import pathlib
import time

import numpy as np
from absl import app
from ml_collections import ConfigDict

from experiments import command_line
from twoforone import trajectory
from twoforone.datasets import bead_file
from twoforone.datasets import openmm_generator as generator


def run(config: ConfigDict, workdir: str) -> dict[str, str]:
  """Simulates every run, assembles the files and returns their paths by name."""
  workdir = command_line.prepare_workdir(workdir, config)
  num_parts = round(config.length / config.part)
  tasks = [workdir / f'run_{k}' for k in range(config.runs)]
  with concurrent.futures.ProcessPoolExecutor(
      config.processes, mp_context=multiprocessing.get_context('spawn')) as pool:
    jobs = [pool.submit(simulate_run, config.to_json(), str(folder), k)
            for k, folder in enumerate(tasks)]
    report_progress(jobs, tasks, num_parts, config.part)
  return assemble(config, workdir, tasks, num_parts)


def simulate_run(config_json: str, folder: str, index: int) -> None:
  """Simulates run `index` part by part; each part file holds its frames and the restart state."""
  config = ConfigDict(json.loads(config_json))
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  simulation = make_simulation(config, index)
  beads = generator.select_beads(simulation.topology, tuple(config.beads))
  matrix = generator.force_map(simulation, beads)
  atoms = [a.index for a in simulation.topology.atoms() if a.residue.name != 'HOH']
  stride = round(config.interval / config.dt)
  num_frames = round(config.part / config.interval)
  done = sorted(folder.glob('part_*.npz'))
  if done:
    with np.load(done[-1]) as part:
      simulation.context.loadCheckpoint(part['checkpoint'].tobytes())
  else:
    simulation.step(round(config.equilibration / config.dt))
  for k in range(len(done), round(config.length / config.part)):
    frames = list(generator.run(simulation, num_frames=num_frames, stride=stride))
    positions = np.stack([frame.positions[atoms] for frame in frames])
    part = {
      'positions': positions[:, beads],
      'forces': np.stack([matrix @ frame.forces for frame in frames]),
      'all_positions': positions[config.coarse_every - 1::config.coarse_every],
      'checkpoint': np.frombuffer(simulation.context.createCheckpoint(), dtype=np.uint8),
    }
    trajectory.write_atomically(
      folder / f'part_{k:05d}.npz', lambda file, part=part: np.savez(file, **part))


def make_simulation(config: ConfigDict, index: int):
  """The OpenMM simulation of run `index`."""
  return generator.make_simulation(
    tuple(config.residues), solvent=config.solvent, temperature=config.temperature,
    friction=config.friction, dt=config.dt, hydrogen_mass=config.hydrogen_mass, box=config.box,
    platform=config.platform, seed=config.seed + index)


def report_progress(jobs, folders, num_parts: int, part: float) -> None:
  """Prints done / total, the rate and the time left until every job has ended."""
  def count():
    return sum(len(list(folder.glob('part_*.npz'))) for folder in folders)
  start, before, total = time.monotonic(), count(), num_parts * len(folders)
  while not all(job.done() for job in jobs):
    concurrent.futures.wait(jobs, timeout=20.0)
    rate = (count() - before) / (time.monotonic() - start)
    left = (total - count()) / rate / 60 if rate > 0 else float('nan')
    print(f'{count() * part / 1000:.1f} of {total * part / 1000:.1f} ns, '
          f'{rate * part * 86400 / 1e6:.2f} us/day, {left:.0f} min left', flush=True)
  for job in jobs:
    job.result()


def assemble(config, workdir, folders, num_parts: int) -> dict[str, str]:
  """Writes the bead file, the all-atom file, the topology and the card."""
  def gather(name):
    runs = []
    for folder in folders:
      parts = [folder / f'part_{k:05d}.npz' for k in range(num_parts)]
      runs.append(np.concatenate([np.load(part)[name] for part in parts]))
    return np.stack(runs)

  simulation = make_simulation(config, 0)
  paths = {'beads': workdir / f'{config.name}_beads.npz',
           'atoms': workdir / f'{config.name}_atoms.npz',
           'topology': workdir / f'{config.name}.pdb', 'card': workdir / f'{config.name}.json'}
  all_positions = gather('all_positions')
  bead_file.write(paths['beads'], gather('positions'), gather('forces'))
  bead_file.write(paths['atoms'], all_positions)
  generator.write_pdb(paths['topology'], simulation.topology, all_positions[0, 0])
  card = {
    'config': json.loads(config.to_json()),
    'force_field': generator.FORCE_FIELD_FILES[config.solvent],
    'constraints': 'bonds to hydrogen',
    'integrator': 'LangevinMiddle',
    'beads': generator.select_beads(simulation.topology, tuple(config.beads)),
    'steps_per_run': round(config.length / config.dt),
    'versions': generator.versions(),
    'sha256': {name: hashlib.sha256(paths[name].read_bytes()).hexdigest()
               for name in ('beads', 'atoms', 'topology')},
  }
  paths['card'].write_text(json.dumps(card, indent=2) + '\n')
  print(f'wrote {", ".join(str(path) for path in paths.values())}')
  return {name: str(path) for name, path in paths.items()}


if __name__ == '__main__':
  CONFIG, WORKDIR = command_line.define_flags('experiments/configs/generate_ala2.py')
  app.run(lambda _: run(CONFIG.value, WORKDIR.value))
