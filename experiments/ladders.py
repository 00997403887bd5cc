"""Parallel tempering to disk: ladders of temperatures, their acceptance and their round trips.

The parts hold every rung; what is reported is the lowest, which has the thermostat's temperature.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from experiments import dynamics
from twoforone import tempering, trajectory
from twoforone.langevin import Integrator
from twoforone.simulate import CheckFn, Info
from twoforone.types import PotentialFn
from twoforone.units import thermal_energy


def temper_to_disk(
  config, integrator: Integrator, potential: PotentialFn, params, key, start: np.ndarray,
  folder: pathlib.Path, *, check: CheckFn, settings: dict, on_part
) -> list[tempering.LostCopy]:
  """Runs `config.simulate` with its ladder; returns the lost copies, leaves tempering.json.

  Args:
    start: positions [R · M, n, 3] in nm, one for each copy.
    settings: whatever else defines the run.
    on_part: as for `dynamics.run_to_disk`, given the arrays of the lowest rungs, [F, R, ...].
  """
  dynamic, ladder = config.simulate, config.simulate.tempering
  kT = tempering.geometric_ladder(
    *map(thermal_energy, (dynamic.temperature, ladder.highest)), ladder.rungs)
  run = tempering.make_parallel_tempering(
    integrator, potential, num_frames=dynamic.frames_per_part, stride=dynamic.stride,
    exchange_every=ladder.exchange_every, check=check)
  x = jnp.asarray(start).reshape(dynamic.replicas, ladder.rungs, *start.shape[1:])
  state = tempering.init_ladders(integrator, params, key, x, kT)
  settings = {**settings, 'kT': np.asarray(kT).tolist(), 'replicas': dynamic.replicas,
              'frames_per_part': dynamic.frames_per_part, 'stride': dynamic.stride,
              'exchange_every': ladder.exchange_every, 'dt': dynamic.dt, 'potential': True,
              'key': dynamics.fingerprint(jax.random.key_data(key))}
  state, lost = dynamics.run_to_disk(
    lambda params, state: run(params, state, kT), params, state, folder,
    num_parts=dynamic.parts, replicas=dynamic.replicas, settings=settings,
    steps_per_part=dynamic.frames_per_part * dynamic.stride * x.shape[0] * x.shape[1],
    find_lost=lambda state: tempering.lost_copies(
      state, stride=dynamic.stride, exchange_every=ladder.exchange_every, dt=dynamic.dt),
    on_part=lambda part, read: on_part(part, lambda: lowest(read())))
  write_summary(state, np.asarray(kT), dynamic.stride * dynamic.dt, folder)
  return lost


def read_lowest(folder: pathlib.Path) -> tuple[np.ndarray, Info]:
  """Frames [F, R, n, 3] in nm of the lowest rungs, and their info.

  The memory at the peak is that of what is returned and of two parts with all rungs.
  """
  return dynamics.read_run(folder, lambda values: values[:, :, 0])


def lowest(arrays: dynamics.Arrays) -> dynamics.Arrays:
  """The lowest rungs of the arrays of a part."""
  return {name: values[:, :, 0] for name, values in arrays.items()}


def write_summary(
  state: tempering.TemperingState, kT: np.ndarray, interval: float, folder: pathlib.Path
) -> None:
  """tempering.json: temperatures, acceptance of neighbours, number and times of round trips."""
  walker, = trajectory.join_parts(folder, ('walker',))
  trips = tempering.round_trip_times(walker, interval)
  trajectory.write_json(folder / 'tempering.json', {
    'temperatures [K]': (kT.astype(float) / thermal_energy(1.0)).round(1).tolist(),
    'acceptance of neighbours': tempering.acceptance(state).round(3).tolist(),
    'round trips': len(trips),
    'mean round trip [ps]': float(trips.mean()) if len(trips) else None})
