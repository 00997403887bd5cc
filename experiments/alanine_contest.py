"""Learned steps of alanine dipeptide: one step is one stored frame, five beads, one molecule.

The molecule turns by a radian or more between frames, which no Gaussian of positions describes; so
each frame is superposed on the one before, and the step is of the shape alone.
"""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import evaluate_ala2, figures_ala2, kinetics, report_parts, step_world
from experiments.report import Row, write_report
from experiments.step_world import World
from twoforone import geometry
from twoforone.baselines.time_integrated.history import fit_scales, make_windows
from twoforone.datasets import ala2, dataset
from twoforone.evaluation.kinetics import split_runs
from twoforone.evaluation.structure import phi_psi
from twoforone.units import thermal_energy


class Molecule(NamedTuple):
  """What a contest asks of the fine graph: every atom is its own bead."""

  species: np.ndarray
  bonds: np.ndarray
  cluster: np.ndarray
  mass: np.ndarray


class Runs(NamedTuple):
  """The atomistic runs: the one held out, the frames of the others, and kT [kJ/mol]."""

  held_out: np.ndarray
  training: list[np.ndarray]
  interval: float
  kT: float
  burn_in: int


def make_world(config, folder: pathlib.Path) -> World:
  """The embedded data, one run held out; simulations start from validation frames."""
  del folder
  loaded = ala2.load_ala2()
  split = dataset.split_fold(loaded, config.fold)
  molecule, size = describe(loaded.system), len(loaded.system.beads)
  sizes = size, size, len(loaded.system.bonds)
  pieces = [np.stack([align(run) for run in split_runs(part.x, part.run)]) for part in split]
  dilation = step_world.steps_of(config.interval, loaded.interval)
  for interval in (loaded.interval, config.interval):
    kinetics.check_lags(config.lags, interval)
  windows = [make_windows(x, step_world.stack_systems([molecule] * len(x), *sizes),
                          num_frames=config.history + 1, dilation=dilation) for x in pieces]
  train, validation = windows[:2]
  copies = step_world.stack_systems([molecule] * config.rollout.copies, *sizes)
  chosen = np.linspace(0, len(validation.start) - 1, config.rollout.copies).astype(int)
  frames = validation.start[chosen][:, None] + dilation * np.arange(config.history)
  runs = Runs(split.test.x, [np.asarray(x) for x in split_runs(split.train.x, split.train.run)],
              loaded.interval, thermal_energy(loaded.system.temperature), config.rollout.burn_in)
  return World(
    *windows, (dilation,) * 3,
    fit_scales(train.x, train.systems.beads, dilation=dilation),
    step_world.longest_bond(train.x, train.systems.beads.bonded), copies,
    validation.x[validation.chain[chosen][:, None], frames], runs)


def describe(system) -> Molecule:
  """The five beads as their own fine particles."""
  return Molecule(system.species, system.bonds, np.arange(len(system.beads)), system.mass)


def align(x: np.ndarray) -> np.ndarray:
  """Each frame of [F, n, 3] superposed on the one before, as that was superposed."""
  def turn(before, frame):
    now = geometry.superpose(frame, before)
    return now, now

  x = jnp.asarray(x)
  return np.asarray(jax.jit(lambda x: jax.lax.scan(turn, geometry.centre(x[0]), x)[1])(x))


def measure(world: World, x: np.ndarray) -> np.ndarray:
  """The frames [F, R, n, 3] after the burn-in."""
  return x[world.reference.burn_in:]


def cost(config, world: World, step, model, params, x) -> dict[str, float]:
  """Nothing beyond what every system has: the all-atom dynamics is another program's."""
  del config, world, step, model, params, x
  return {}


def list_rows(config, world: World, rows: dict[str, dict]) -> tuple[dict, dict[str, list]]:
  """(sets of frames, rows of each set): distances, populations, transitions and lost molecules."""
  runs, sets, found = world.reference, {}, []
  held_out = transitions(config, 'held-out run', runs.held_out[:, None], runs.interval)
  known = {row.metric: row.value for row in held_out}
  for model, seeds in rows.items():
    for seed, row in seeds.items():
      label = model if len(seeds) == 1 else f'{model}, seed {seed}'
      sound = report_parts.sound_replicas(row.found)
      found.append(Row(label, 'molecules lost', float((~sound).sum()), reference=0.0))
      found += [Row(label, name, value) for name, value in row.costs.items()]
      if sound.any():
        sets[label] = row.found[:, sound]
        found += [row._replace(reference=known[row.metric])
                  for row in transitions(config, label, sets[label], config.interval)]
  found += held_out
  if sets:
    found += evaluate_ala2.evaluate_ala2(
      sets, reference=runs.held_out, training=runs.training, kT=runs.kT)
  return sets, found


def transitions(config, label: str, x: np.ndarray, interval: float) -> list[Row]:
  """Entries into φ > 0 per ns; timescales and passage times of the basins [ps] at each lag."""
  pieces = [piece for replica in phi_psi(x).swapaxes(0, 1)
            for piece in np.array_split(replica, 1 if x.shape[1] > 1 else 5)]
  found = kinetics.describe(config, pieces, interval)
  rows = [Row(label, 'entries into φ > 0', 1000 * found['entries']
                     / (found['frames'] * interval), unit='1/ns', frames=found['frames'])]
  for row in found['rows']:
    rows += [Row(label, f'timescale {k + 1} at {row["lag"]:g} ps', value, unit='ps',
                        error=error) for k, (value, error) in enumerate(
      zip(row['timescales'], row['timescales_errors'], strict=True))]
    rows += [Row(label, f'mean first passage {way} φ > 0 at {row["lag"]:g} ps', value, unit='ps',
                 error=error) for way, value, error in zip(
      ('into', 'out of'), row['passages'], row['passages_errors'], strict=True)]
  return rows


def report(config, folder: pathlib.Path, world: World, rows: dict[str, dict]) -> list[Row]:
  """Writes the report of the rows so far; returns its rows."""
  (sets, found), runs = list_rows(config, world, rows), world.reference
  order = list(dict.fromkeys(row.sample for row in found))
  write_report(
    folder, 'Learned steps of alanine dipeptide',
    sorted(found, key=lambda row: order.index(row.sample)), figures_ala2.ala2_figures(
      sets, reference=runs.held_out, training=runs.training, kT=runs.kT, system=ala2.ala2_system()))
  return found
