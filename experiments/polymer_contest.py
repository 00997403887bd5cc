"""Learned steps of unseen polymers: what they are trained on, measured by and reported as."""

import pathlib
from typing import NamedTuple

import numpy as np

from experiments import (
  figures_time_integrated,
  fine_radius,
  generate_polymers,
  report_time_integrated,
  step_speed,
  step_symmetry,
  step_world,
)
from experiments import score_time_integrated as score
from experiments.step_world import World
from experiments.summary_time_integrated import Reference, Summary, summarise
from twoforone.baselines.time_integrated.graph import BeadGraph
from twoforone.baselines.time_integrated.history import fit_scales, make_windows
from twoforone.datasets import polymer_file


class Chains(NamedTuple):
  """The test chains.

  Attributes:
    reference: what the numbers are compared with.
    x: both replicas at the model's step, [2, F, C, n, 3].
    beads: leading axis [C].
    species: of the fine particles, [C, N].
    interval: between frames.
    fine: Rg² of the fine particles in both replicas, [2, F, C].
    within: what Rg² of the fine particles has beyond that of the beads, mean of the training data.
  """

  reference: Reference
  x: np.ndarray
  beads: BeadGraph
  species: np.ndarray
  interval: float
  fine: np.ndarray
  within: float


def make_world(config, folder: pathlib.Path) -> World:
  """Reads the polymers of `config.data`, or makes them in the folder.

  Raises:
    ValueError: when the frames do not lie at parts of the model's step.
  """
  data = pathlib.Path(config.data or folder / 'polymers')
  if not config.data:
    generate_polymers.run(config.polymers, str(data))
  files = [polymer_file.read(data / f'{name}.npz') for name in ('train', 'val', 'test')]
  sizes = [max(found) for found in zip(*(
    (f.species.shape[1], f.x.shape[3], f.bonds.shape[1]) for f in files), strict=True)]
  systems = [step_world.stack_systems(list(polymer_file.molecules(f)), *sizes) for f in files]
  x = [np.pad(f.x, ((0, 0),) * 3 + ((0, sizes[1] - f.x.shape[3]), (0, 0))) for f in files]
  dilations = tuple(step_world.steps_of(config.interval, f.interval) for f in files)
  windows = [make_windows(frames[:, 0], of, num_frames=config.history + 1, dilation=dilation,
                          square_radius=f.square_radius[:, 0])
             for f, frames, of, dilation in zip(files, x, systems, dilations, strict=True)]
  test = systems[2]
  chains = make_chains(config, files[2], x[2], test.beads, dilations[2],
                       x[0].shape[2] // dilations[0], fine_radius.within_beads(windows[0]))
  return World(
    *windows, dilations, fit_scales(x[0][:, 0], systems[0].beads, dilation=dilations[0]),
    step_world.longest_bond(x[0][:, 0], systems[0].beads.bonded), test,
    chains.x[0, :config.history].swapaxes(0, 1), chains)


def make_chains(
  config, data: polymer_file.PolymerData, x, beads, dilation: int, training_frames: int,
  within: float
) -> Chains:
  """Both replicas, whole and as long as a training run, and the exact diffusion (kT = 1)."""
  x, fine = (np.moveaxis(series[:, :, ::dilation][:, :, :config.rollout.frames], 0, 2)
             for series in (x, data.square_radius))
  replicas, short = (tuple(
    summarise(replica[:frames], beads, frames=frames, interval=config.interval)
    for replica in x) for frames in (x.shape[1], min(training_frames, x.shape[1])))
  size, diffusion = (data.cluster >= 0).sum(axis=1), 1 / (data.mass.sum(axis=1) * data.friction)
  return Chains(Reference(replicas, size, diffusion, training_frames, short), x, beads,
                data.species, config.interval, fine, within)


def measure(world: World, x: np.ndarray) -> Summary:
  """What the report needs of the frames [F, C, n, 3] of a model."""
  chains = world.reference
  return summarise(x, chains.beads, frames=chains.x.shape[1], interval=chains.interval)


def cost(config, world: World, step, model, params, x) -> dict[str, float]:
  """Speed, the radius of the fine particles in the frames x, and whether the step turns."""
  return {'turning': step_symmetry.turning_error(config, world, model, params),
          **step_speed.compare(config, world, step, model, params),
          **fine_radius.score(config, world, model, params, x)}


def report(config, folder: pathlib.Path, world: World, rows: dict[str, dict]) -> dict[str, dict]:
  """Writes the report of the rows so far; returns model -> seed -> name -> number."""
  chains = world.reference
  table = {name: {seed: score.score(row.found, chains.reference) for seed, row in seeds.items()}
           for name, seeds in rows.items()}
  first = {name: seeds[min(seeds)] for name, seeds in rows.items()}
  positions = {'replica A': chains.x[0], 'replica B': chains.x[1],
               **{name: row.x for name, row in first.items()}}
  figures = figures_time_integrated.draw(
    {name: row.found for name, row in first.items()}, positions, chains.reference, chains.beads,
    [f'chain {c}, {size} particles' for c, size in enumerate(chains.reference.size)],
    interval=chains.interval)
  report_time_integrated.write(
    folder, table, {name: {seed: row.costs for seed, row in seeds.items()}
                    for name, seeds in rows.items()},
    {name: {seed: row.found for seed, row in seeds.items()} for name, seeds in rows.items()},
    chains.reference, figures, baselines=list_baselines(config, rows),
    refined=[name for name in rows if config.models[name].step])
  return table


def list_baselines(config, names) -> dict[str, str]:
  """Of each model that is not of messages, the one of messages with the same kind of step."""
  kind = {name: config.networks[config.models[name].network].kind for name in names}
  return {name: other for name in names for other in names
          if kind[name] != 'gns' and kind[other] == 'gns'
          and config.models[name].step == config.models[other].step}
