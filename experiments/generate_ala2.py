"""Simulates capped alanine all-atom and writes beads, mapped forces and all-atom frames.

Run the same command again after an interruption: it goes on from the last complete part and gives
the frames of an uninterrupted run. `length` and `processes` may differ then: a longer `length`
extends the runs.
"""

import concurrent.futures
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import threading
import time

import numpy as np
from ml_collections import ConfigDict

from experiments import command_line
from twoforone import trajectory
from twoforone.datasets import bead_file
from twoforone.datasets import openmm_generator as generator


def run(config: ConfigDict, workdir: str) -> dict[str, str]:
  """Simulates every run, assembles the files and returns their paths by name."""
  workdir = command_line.prepare_workdir(workdir, config, may_change=('length', 'processes'))
  num_parts = round(config.length / config.part)
  folders = [workdir / f'run_{k}' for k in range(config.runs)]
  count_parts(folders)  # a gap is an error now, not after hours
  with concurrent.futures.ProcessPoolExecutor(
      config.processes, mp_context=multiprocessing.get_context('spawn'),
      initializer=end_with_parent) as pool:
    jobs = [pool.submit(simulate_run, config.to_json(), str(folder), k)
            for k, folder in enumerate(folders)]
    report_progress(jobs, folders, num_parts, config.part)
  return assemble(config, workdir, folders, num_parts)


def end_with_parent() -> None:
  """Ends this process at once when the one that started it is gone.

  A worker that outlived a killed command would write into the folder of the next one.
  """
  def wait():
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)

  threading.Thread(target=wait, daemon=True).start()


def simulate_run(config_json: str, folder: str, index: int) -> None:
  """Simulates run `index` part by part; each part file holds its frames and the restart state."""
  config = ConfigDict(json.loads(config_json))
  simulation = make_simulation(config, index)
  beads = generator.select_beads(simulation.topology, tuple(config.beads))
  matrix = generator.force_map(simulation, beads)
  atoms = [a.index for a in simulation.topology.atoms() if a.residue.name != 'HOH']
  stride = round(config.interval / config.dt)
  num_frames = round(config.part / config.interval)
  done = trajectory.count_parts(folder)
  if done:
    checkpoint = trajectory.read_part(folder, done - 1)['checkpoint']
    simulation.context.loadCheckpoint(checkpoint.tobytes())
  else:
    simulation.step(round(config.equilibration / config.dt))
  for k in range(done, round(config.length / config.part)):
    frames = list(generator.run(simulation, num_frames=num_frames, stride=stride))
    positions = np.stack([frame.positions[atoms] for frame in frames])
    trajectory.write_part(folder, k, {
      'positions': positions[:, beads],
      'forces': np.stack([matrix @ frame.forces for frame in frames]),
      'all_positions': positions[config.coarse_every - 1::config.coarse_every],
      'checkpoint': np.frombuffer(simulation.context.createCheckpoint(), dtype=np.uint8),
    })


def make_simulation(config: ConfigDict, index: int, **options):
  """The OpenMM simulation of run `index`."""
  return generator.make_simulation(
    tuple(config.residues), solvent=config.solvent, temperature=config.temperature,
    friction=config.friction, dt=config.dt, hydrogen_mass=config.hydrogen_mass, box=config.box,
    platform=config.platform, seed=config.seed + index, **options)


def count_parts(folders) -> int:
  """Parts of all runs; a missing one before the last is an error that names it."""
  return sum(trajectory.count_parts(folder) for folder in folders)


def report_progress(jobs, folders, num_parts: int, part: float) -> None:
  """Prints done / total, the rate and the time left until every job has ended."""
  start, before, total = time.monotonic(), count_parts(folders), num_parts * len(folders)
  while not all(job.done() for job in jobs):
    concurrent.futures.wait(jobs, timeout=20.0)
    done = count_parts(folders)
    rate = (done - before) / (time.monotonic() - start)
    left = (total - done) / rate / 60 if rate > 0 else float('nan')
    print(f'{done * part / 1000:.1f} of {total * part / 1000:.1f} ns, '
          f'{rate * part * 86400 / 1e6:.2f} us/day, {left:.0f} min left', flush=True)
  for job in jobs:
    job.result()


def assemble(config, workdir, folders, num_parts: int) -> dict[str, str]:
  """Writes the bead file, the all-atom file, the topology and the card."""
  def gather(name):
    return np.stack([
      np.concatenate([trajectory.read_part(folder, k)[name] for k in range(num_parts)])
      for folder in folders])

  simulation = make_simulation(config, 0)
  paths = {'beads': workdir / f'{config.name}_beads.npz',
           'atoms': workdir / f'{config.name}_atoms.npz',
           'topology': workdir / f'{config.name}.pdb', 'card': workdir / f'{config.name}.json'}
  all_positions = gather('all_positions')
  bead_file.write(paths['beads'], gather('positions'), gather('forces'))
  bead_file.write(paths['atoms'], all_positions)
  generator.write_pdb(paths['topology'], simulation.topology, all_positions[0, 0])
  if config.native:
    paths['native'] = workdir / f'{config.name}_native.pdb'
    native = make_simulation(config, 0, torsions=tuple(config.native))
    generator.write_pdb(paths['native'], native.topology, generator.peptide_positions(native))
  card = {
    'config': json.loads(config.to_json()),
    'force_field': generator.FORCE_FIELD_FILES[config.solvent],
    'constraints': 'bonds to hydrogen',
    'integrator': 'LangevinMiddle',
    'beads': generator.select_beads(simulation.topology, tuple(config.beads)),
    'steps_per_run': round(config.length / config.dt),
    'versions': generator.versions(),
    'sha256': {name: hashlib.sha256(path.read_bytes()).hexdigest()
               for name, path in paths.items() if name != 'card'},
  }
  trajectory.write_json(paths['card'], card)
  print(f'wrote {", ".join(str(path) for path in paths.values())}')
  return {name: str(path) for name, path in paths.items()}


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/generate_ala2.py')
