"""Runs replicas to disk in parts and goes on, bit for bit, after a kill at any moment.

Part k holds its frames; the state to go on from is saved as checkpoint k + 1 *before* part k
appears. A kill between the two leaves one part fewer, and the state of that many parts is kept.
"""

import functools
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from twoforone import checkpoint, sharding, trajectory
from twoforone.langevin import Integrator
from twoforone.simulate import (
  BlowUp,
  CheckFn,
  Info,
  blow_ups,
  check_finite,
  init_replicas,
  make_simulation,
)
from twoforone.types import Params, PotentialFn, PRNGKey

Arrays = Mapping[str, np.ndarray]


class Progress(NamedTuple):
  """How far a run is: parts done of how many, speed, time left [s], replicas lost so far."""

  parts: int
  num_parts: int
  replica_steps_per_second: float
  seconds_left: float
  lost: list[BlowUp]


def simulate_to_disk(
  integrator: Integrator, params: Params, key: PRNGKey, x: Float[Array, 'R n 3'],
  kT: Float[Array, ' R'], folder: str | os.PathLike, *, num_parts: int, frames_per_part: int,
  stride: int, dt: float, settings: dict, check: CheckFn = check_finite,
  potential: PotentialFn | None = None, **callbacks
) -> list[BlowUp]:
  """Simulates until the folder holds `num_parts` parts; returns the lost replicas.

  Dynamics that accept or reject their steps leave the share accepted in metropolis.json.

  Args:
    x: starting positions [nm]; used only when the folder holds no part.
    kT: thermal energy of each thermostat [kJ/mol].
    num_parts, frames_per_part, stride: F = num_parts · frames_per_part, every `stride` steps.
    dt: time step [ps], for the times in reports.
    settings: whatever else defines the run; kept in run.json.
    check: finds a configuration that has blown up.
    potential: of the force, stored beside the frames.
    callbacks: progress and on_part of `run_to_disk`.

  Raises:
    ValueError: when the folder holds a run with other parameters or settings.
  """
  settings = {**settings, 'frames_per_part': frames_per_part, 'stride': stride, 'dt': dt,
              'kT': np.asarray(kT).tolist(), 'shape': list(x.shape),
              'potential': potential is not None, 'key': fingerprint(jax.random.key_data(key))}
  run = make_simulation(integrator, num_frames=frames_per_part, stride=stride, check=check,
                        potential=potential)
  state, lost = run_to_disk(
    lambda params, state: run(params, state, kT), params,
    init_replicas(integrator, params, key, x, kT), folder, num_parts=num_parts,
    steps_per_part=frames_per_part * stride * x.shape[0], replicas=x.shape[0], settings=settings,
    find_lost=lambda state: blow_ups(state, stride * dt), **callbacks)
  if hasattr(state.dynamics, 'accepted') and sharding.is_first():
    sound = np.asarray(state.lost_frame) < 0
    shares = np.asarray(state.dynamics.accepted)[sound] / max(int(state.frame) * stride, 1)
    trajectory.write_json(pathlib.Path(folder) / 'metropolis.json', {
      'accepted steps': float(shares.mean()) if sound.any() else None})
  return lost


def run_to_disk(
  run: Callable[[Params, Any], tuple], params: Params, state: Any, folder: str | os.PathLike, *,
  num_parts: int, steps_per_part: int, replicas: int, settings: dict,
  find_lost: Callable[[Any], list], progress: Callable[[Progress], None] | None = None,
  on_part: Callable[[int, Callable[[], Arrays]], object] = lambda part, read: None
) -> tuple[Any, list]:
  """Runs until the folder holds `num_parts` parts; returns the last state and what is lost.

  It stops early when everything is lost. Call it again to go on after an interruption, or with a
  larger `num_parts` to extend the run.

  Args:
    run: (params, state) -> (state, frames, info) of one part, info a NamedTuple of arrays.
    state: where to begin when the folder holds no part; its arrays lead with the axis [R].
    steps_per_part: of all copies together, for the speed.
    replicas: R, split over the devices.
    settings: all that defines the run beside params; kept in run.json.
    find_lost: state -> records of the lost copies.
    progress: called after each part; `print_progress` by default.
    on_part: called with each part's index and a function that gives its arrays, the frames x and
      those of info; for the parts that the folder holds already too, since a kill can come
      between the two.

  Raises:
    ValueError: when the folder holds a run with other parameters or settings, or a state cannot
      be written to it.
    OSError: naming another file that cannot be written. After either the run can go on.
  """
  folder = pathlib.Path(folder)
  claim(folder, {**settings, 'params': fingerprint(params)})
  if sharding.is_first():
    trajectory.remove_torn(folder)
  mesh = sharding.make_mesh(size=replicas)
  done = trajectory.count_parts(folder)
  copies = None
  if done:
    state = checkpoint.restore(folder / 'state', state, step=done)
    copies = _count_copies(trajectory.read_part(folder, done - 1)['x'])
  found, lost = state, find_lost(state)
  for part in range(done if sharding.is_first() else 0):
    on_part(part, functools.partial(trajectory.read_part, folder, part))
  params = sharding.replicate(mesh, params)
  for part in range(done, num_parts):
    if len(lost) == copies:
      break
    start = time.monotonic()
    # Placed anew each time: a part must not depend on whether the run was stopped before it.
    state, *made = run(params, sharding.shard(mesh, state))
    found, frames, info = sharding.gather((state, *made))
    checkpoint.save(folder / 'state', part + 1, found, keep=2)
    if sharding.is_first():
      arrays = {'x': frames, **info._asdict()}
      trajectory.write_part(folder, part, arrays)
      on_part(part, lambda arrays=arrays: arrays)
    sharding.wait('part')
    lost, copies = find_lost(found), _count_copies(frames)
    seconds = time.monotonic() - start
    (progress or print_progress)(Progress(
      part + 1, num_parts, steps_per_part / seconds, (num_parts - part - 1) * seconds, lost))
  return found, lost


def _count_copies(x: Array | np.ndarray) -> int:
  """Configurations in each frame of [F, ..., n, 3]."""
  return int(np.prod(x.shape[1:-2]))


def read_run(
  folder: str | os.PathLike, take: Callable[[np.ndarray], np.ndarray] = lambda values: values
) -> tuple[Float[np.ndarray, 'F R n 3'], Info]:
  """All frames [nm] and their info; a lost replica's are NaN from the frame of its loss.

  The memory at the peak is that of what is returned and of two parts.

  Args:
    folder: of the parts.
    take: what is kept of each part's arrays.

  Raises:
    ValueError: when the folder holds no part, one that cannot be read or one without a field.
  """
  x, *info = trajectory.join_parts(folder, ('x', *Info._fields), take)
  return x, Info(*info)


def claim(folder: pathlib.Path, settings: dict) -> None:
  """Writes run.json, or checks that the one found is of the same run.

  Raises:
    ValueError: naming the first setting that differs, or when the folder cannot be written.
  """
  path = folder / 'run.json'
  settings = json.loads(json.dumps(settings))
  try:
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      trajectory.write_json(path, settings)
  except OSError as error:
    raise ValueError(f'folder: cannot write to {folder}: {error}') from error
  found = json.loads(path.read_text())
  for name in sorted(found.keys() | settings.keys()):
    if name not in found:
      raise ValueError(f'{path}: {name}: the field is missing, expected {settings[name]}; the run '
                       'was started before this was stored, use another folder')
    if found[name] != settings.get(name):
      raise ValueError(
        f'{path}: {name}: found {found[name]}, expected {settings.get(name)}; '
        'another run lives here, use another folder')


def stored_setting(folder: pathlib.Path, name: str):
  """A setting of the run that the folder holds; None when it holds none."""
  path = folder / 'run.json'
  return json.loads(path.read_text()).get(name) if path.exists() else None


def fingerprint(tree) -> str:
  """A hash of the arrays of a tree."""
  digest = hashlib.sha256()
  for leaf in jax.tree.leaves(tree):
    digest.update(np.asarray(leaf).tobytes())
  return digest.hexdigest()[:16]


def print_progress(progress: Progress) -> None:
  """Prints parts done, speed, time left and the number of replicas lost."""
  print(f'part {progress.parts} of {progress.num_parts}, '
        f'{progress.replica_steps_per_second:,.0f} replica-steps/s, '
        f'{progress.seconds_left:.0f} s left, {len(progress.lost)} replicas lost', flush=True)
