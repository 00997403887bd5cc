"""A run to disk, killed and started again, equals the run that was left alone, bit for bit."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import dynamics, measure
from tests.systems import (
  CHAIN,
  centred_harmonic_force,
  centred_harmonic_potential,
  stretched_chain,
)
from twoforone import trajectory
from twoforone.langevin import make_langevin
from twoforone.metropolis import make_metropolis_langevin


def run(folder, num_parts=4, params=400.0, settings=None, force=centred_harmonic_force,
        replicas=3, **kwargs):
  """A small run of three replicas: parts of two frames, three steps apart."""
  kwargs = {'frames_per_part': 2, 'stride': 3, 'progress': lambda _: None, **kwargs}
  integrator = make_langevin(force, mass=CHAIN.mass, dt=0.004, friction=5.0)
  return dynamics.simulate_to_disk(
    integrator, jnp.float32(params), jax.random.key(0), stretched_chain(replicas),
    jnp.linspace(1.0, 4.0, replicas), folder, num_parts=num_parts, dt=0.004,
    settings=settings or {'friction': 5.0}, **kwargs)


def test_interrupted_runs_equal_an_uninterrupted_one(tmp_path):
  """Stopped after a part, and between the saved state and its part (the two kinds of instant)."""
  run(tmp_path / 'whole')
  whole, info = dynamics.read_run(tmp_path / 'whole')
  assert whole.shape == (8, 3, 5, 3) and whole.dtype == np.float32

  run(tmp_path / 'resumed', num_parts=2)
  (tmp_path / 'resumed' / 'part_00001.npz').unlink()
  seen = []
  run(tmp_path / 'resumed', progress=seen.append)
  resumed, resumed_info = dynamics.read_run(tmp_path / 'resumed')
  np.testing.assert_array_equal(resumed, whole)
  np.testing.assert_array_equal(resumed_info.kinetic, info.kinetic)
  assert [p.parts for p in seen] == [2, 3, 4] and seen[-1].seconds_left == 0
  assert all(p.replica_steps_per_second > 0 and p.lost == [] for p in seen)
  assert run(tmp_path / 'resumed') == []  # nothing left to do


def test_accepted_steps_are_counted_over_all_parts(tmp_path):
  integrator = make_metropolis_langevin(
    centred_harmonic_force, centred_harmonic_potential, mass=CHAIN.mass, dt=0.06, friction=5.0)
  found = []
  for name, parts in (('whole', (4,)), ('resumed', (1, 4))):
    for num_parts in parts:
      dynamics.simulate_to_disk(
        integrator, jnp.float32(400.0), jax.random.key(0), stretched_chain(3), jnp.ones(3),
        tmp_path / name, num_parts=num_parts, frames_per_part=5, stride=4, dt=0.06, settings={},
        potential=centred_harmonic_potential, progress=lambda _: None)
    found.append(json.loads((tmp_path / name / 'metropolis.json').read_text())['accepted steps'])
  # Of 3 replicas, 4 parts of 5 frames, 4 steps apart: some are rejected.
  assert found[0] == found[1] and 0 < found[0] < 1
  assert abs(found[0] * 240 - round(found[0] * 240)) < 1e-9


def test_every_part_is_handed_on_also_those_from_before_a_restart(tmp_path):
  seen = {}
  def on_part(part, read):
    seen.setdefault(part, []).append(read()['x'])
  run(tmp_path, num_parts=1)
  run(tmp_path, num_parts=3, on_part=on_part)
  whole, _ = dynamics.read_run(tmp_path)
  assert sorted(seen) == [0, 1, 2]
  for part, (frames,) in seen.items():
    np.testing.assert_array_equal(frames, whole[2 * part:2 * part + 2])


def test_memory_is_that_of_the_frames_when_they_are_read(tmp_path):
  """Beside what is returned two parts of eight; a second copy of the frames would double it."""
  run(tmp_path, num_parts=8, replicas=100, frames_per_part=100)
  dynamics.read_run(tmp_path)  # what is imported and kept at the first call
  tracemalloc.start()
  x, info = dynamics.read_run(tmp_path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  size = sum(values.nbytes for values in (x, *info))
  # The buffers through which numpy reads a file are smaller than 1 MiB.
  assert size < peak < (1 + 2 / 8) * size + 2**20


def peaks_while_writing(folder):
  """The most memory [MiB] of this process after each of twenty parts of 6 MiB; XTC beside them."""
  def on_part(part, read):
    trajectory.export_part(folder, part, read, CHAIN, suffix='.xtc', replicas=(0,), interval=0.012)

  peaks = []
  run(folder, num_parts=20, replicas=1000, frames_per_part=100, stride=1, on_part=on_part,
      progress=lambda _: peaks.append(measure.peak_memory_mib()))
  return peaks


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_run(tmp_path):
  """From the fourth part to the twentieth by less than four parts: frames kept would be 16."""
  peaks = measure.in_fresh_process(peaks_while_writing, tmp_path)
  size = (tmp_path / 'part_00000.npz').stat().st_size / 2**20
  assert size > 6 and len(peaks) == 20
  # Not zero: what is freed does not always go back, and pieces of it cannot be used again.
  assert peaks[-1] - peaks[3] < 4 * size


def test_a_lost_replica_stays_in_the_report(tmp_path):
  def force(params, x):
    far = jnp.linalg.norm(x[1] - x[0]) > 0.16
    return centred_harmonic_force(params, x) + jnp.where(far, jnp.nan, 0.0)

  integrator = make_langevin(force, mass=CHAIN.mass, dt=0.004, friction=5.0)
  x = jnp.tile(stretched_chain(1), (2, 1, 1)).at[1, 0, 0].add(-1.0)
  kwargs = {'frames_per_part': 2, 'stride': 1, 'dt': 0.004, 'settings': {},
            'progress': lambda _: None}
  arguments = (integrator, jnp.float32(1.0), jax.random.key(0), x, jnp.full(2, 1e-6), tmp_path)
  first = dynamics.simulate_to_disk(*arguments, num_parts=1, **kwargs)
  assert dynamics.simulate_to_disk(*arguments, num_parts=2, **kwargs) == first
  assert [(b.replica, b.frame, b.reason) for b in first] == [(1, 0, 'not finite')]
  positions, _ = dynamics.read_run(tmp_path)
  assert np.isfinite(positions[:, 0]).all() and np.isnan(positions[:, 1]).all()


def test_all_lost_stops(tmp_path):
  lost = run(tmp_path, force=lambda params, x: jnp.nan * x)
  assert [(b.replica, b.frame, b.reason) for b in lost] == [(r, 0, 'not finite') for r in range(3)]
  assert trajectory.count_parts(tmp_path) == 1


def test_another_run_in_the_folder_is_refused(tmp_path):
  run(tmp_path, num_parts=1)
  with pytest.raises(ValueError, match=r'run\.json: params'):
    run(tmp_path, params=401.0)
  with pytest.raises(ValueError, match=r'friction: found 5.0, expected 6.0'):
    run(tmp_path, settings={'friction': 6.0})
  (tmp_path / 'part_00000.npz').write_bytes(b'PK torn')
  with pytest.raises(ValueError, match=r'part_00000\.npz: cannot be read'):
    dynamics.read_run(tmp_path)
  with pytest.raises(ValueError, match='found no part'):
    dynamics.read_run(tmp_path / 'none')
  blocked = tmp_path / 'file'
  blocked.write_text('')
  with pytest.raises(ValueError, match='cannot write'):
    run(blocked / 'inside')


def test_a_run_from_before_potentials_were_stored_says_so(tmp_path):
  potential = centred_harmonic_potential
  run(tmp_path, num_parts=1, potential=potential)
  x, info = dynamics.read_run(tmp_path)
  np.testing.assert_allclose(
    info.potential, 200.0 * ((x - x.mean(axis=2, keepdims=True))**2).sum(axis=(2, 3)), rtol=1e-5)
  with pytest.raises(ValueError, match=r'run\.json: potential: found True, expected False'):
    run(tmp_path)
  settings = json.loads((tmp_path / 'run.json').read_text())
  del settings['potential']
  (tmp_path / 'run.json').write_text(json.dumps(settings))
  with pytest.raises(ValueError, match=r'potential: the field is missing, expected True'):
    run(tmp_path, num_parts=2, potential=potential)
  arrays = trajectory.read_part(tmp_path, 0)
  del arrays['potential']
  trajectory.write_part(tmp_path, 0, arrays)
  with pytest.raises(ValueError, match=r'potential: found only .* written before this was stored'):
    dynamics.read_run(tmp_path)


@pytest.mark.slow
def test_sigkill_at_random_moments(tmp_path):
  """A process killed at random instants until it ends by itself; seeds differ on purpose."""
  run(tmp_path / 'whole', num_parts=30)
  whole, _ = dynamics.read_run(tmp_path / 'whole')
  folder = tmp_path / 'killed'
  program = f'from tests.test_dynamics import run; run({str(folder)!r}, num_parts=30)'
  root = pathlib.Path(__file__).parent.parent
  rng = np.random.default_rng()
  for _ in range(2):
    before = len(list(folder.glob('part_*.npz')))
    process = subprocess.Popen([sys.executable, '-c', program], cwd=root, env=os.environ)
    while len(list(folder.glob('part_*.npz'))) < before + 2 and process.poll() is None:
      time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.3))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
  assert 4 <= trajectory.count_parts(folder) < 30
  run(folder, num_parts=30)
  np.testing.assert_array_equal(dynamics.read_run(folder)[0], whole)
  assert json.loads((folder / 'run.json').read_text())['stride'] == 3


def run_with_xtc(folder, num_parts=4, replicas=3, **options):
  """The small run, its replicas in XTC beside it."""
  def on_part(part, read):
    trajectory.export_part(folder, part, read, CHAIN, suffix='.xtc', replicas=range(replicas),
                           interval=0.012)

  run(folder, num_parts, replicas=replicas, on_part=on_part, **options)


def half_written(folder):
  """Files and folders that are not what they will be."""
  return [path for path in folder.rglob('*') if path.name.startswith('.') or 'tmp' in path.name]


def assert_same_files(folder, whole, count):
  """So many files of frames and topologies, each with the bytes of the other folder's."""
  found, expected = (
    {path.relative_to(place): path.read_bytes() for path in place.rglob('[!.]*')
     if path.is_file() and path.suffix in ('.npz', '.xtc', '.pdb')} for place in (folder, whole))
  assert len(found) == count
  paths = found.keys() | expected
  assert not {path for path in paths if found.get(path) != expected.get(path)}


TORN = """
import os, signal
from tests.test_dynamics import run_with_xtc

whole, written = os.fsync, 0

def tear(handle):
  global written
  written += 1
  if written == {number}:
    os.ftruncate(handle, os.fstat(handle).st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)
  whole(handle)

os.fsync = tear
run_with_xtc({folder!r})
"""


@pytest.mark.slow
def test_a_file_torn_by_a_kill_is_written_again(tmp_path):
  """Killed in the middle of a part, an XTC or a PDB: half a file is left under another name."""
  run_with_xtc(tmp_path / 'whole')
  folder = tmp_path / 'torn'
  folder.mkdir()
  root = pathlib.Path(__file__).parent.parent
  for number in (2, 5, 10):  # after run.json: a part; an XTC; in the part after it a PDB
    process = subprocess.run(
      [sys.executable, '-c', TORN.format(number=number, folder=str(folder))], cwd=root)
    assert process.returncode == -signal.SIGKILL
    assert len(half_written(folder)) == 1  # of this kill, none of those before
  run_with_xtc(folder)
  assert not half_written(folder)
  assert_same_files(folder, tmp_path / 'whole', count=4 * (1 + 2 * 3))


FULL = """
import resource
from tests.test_dynamics import LONG, run_with_xtc

def limit(size):
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

for size in (500, 5_000, 10_000):
  limit(resource.RLIM_INFINITY)
  try:
    run_with_xtc({folder!r}, progress=lambda _: limit(size), **LONG)
  except (OSError, ValueError) as error:
    print(error, flush=True)
    last = error
raise last
"""
LONG = {'replicas': 1, 'frames_per_part': 100}  # in bytes: state < 5,000 < part < 10,000 < XTC


@pytest.mark.slow
def test_a_full_disk_ends_a_run_that_goes_on_where_there_is_room(tmp_path, environment):
  """No file may grow beyond a limit once a part is done: the next state, part or XTC fails.

  Python ignores the signal that comes with it, so that a write fails as on a full disk.
  """
  run_with_xtc(tmp_path / 'whole', **LONG)
  folder = tmp_path / 'full'
  process = subprocess.run(
    [sys.executable, '-c', FULL.replace('{folder!r}', repr(str(folder)))], capture_output=True,
    env={name: value for name, value in environment().items() if 'CACHE' not in name},
    cwd=pathlib.Path(__file__).parent.parent, text=True)
  assert process.returncode == 1
  patterns = (
    rf'directory: cannot write to {folder}/state: .*File too large',
    rf'{folder}/part_00002.npz: cannot be written \(.*File too large.*; the 2 parts before it are',
    rf'{folder}/replica_00000/part_00003.xtc: cannot be written by way of .*frames.xtc \(')
  errors = process.stdout.splitlines()
  assert len(errors) == 3 and all(map(re.match, patterns, errors)), errors
  assert f'OSError: {errors[-1]}\n' in process.stderr
  assert trajectory.count_parts(folder) == 4
  run_with_xtc(folder, **LONG)
  assert not half_written(folder)
  assert_same_files(folder, tmp_path / 'whole', count=4 * 3)
