"""Learned steps: data, training, long rollouts, report; every model and seed resumable.

Leaves in `workdir`: polymers/ (reference data, made when `config.data` names none), networks/
(trainings), rollouts/ (frames in parts), rows/ (a .json of costs for each model and seed) and
report.md with its tables and figures. After an interruption the same command goes on.
"""

import json
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import (
  alanine_contest,
  command_line,
  dynamics,
  fit,
  polymer_contest,
  step_models,
  step_world,
)
from experiments.models import pick
from experiments.report_compare import row_path
from twoforone import train, trajectory
from twoforone.baselines.time_integrated.history import make_take
from twoforone.baselines.time_integrated.model import make_nll
from twoforone.baselines.time_integrated.rollout import init_rollout, rollout
from twoforone.simulate import blow_ups

CONTESTS = {'polymers': polymer_contest, 'ala2': alanine_contest}


class Row(NamedTuple):
  """One model with one seed: its costs, its frames [F, R, n, 3] and what is read off them."""

  costs: dict[str, float]
  x: np.ndarray
  found: Any


def run(config: ConfigDict, workdir: str) -> dict[str, dict]:
  """Makes what is missing, seed by seed; returns model -> seed -> numbers.

  Raises:
    ValueError: for a run that `config.models` does not name.
  """
  contest = pick('system', config.system, CONTESTS)
  for name in config.runs:
    pick('runs', name, config.models)
  folder = command_line.prepare_workdir(workdir, config, may_change=('runs', 'seeds'))
  (folder / 'rows').mkdir(exist_ok=True)
  world, rows, table = contest.make_world(config, folder), {}, {}
  for seed in config.seeds:
    for name in config.runs:
      rows.setdefault(name, {})[seed] = run_one(config, contest, world, name, seed, folder)
    table = contest.report(config, folder, world, rows)
  print(f'report: {folder / "report.md"}')
  return table


def run_one(config: ConfigDict, contest, world, name: str, seed: int, folder: pathlib.Path) -> Row:
  """Trains the network unless another row has, and rolls the molecules out."""
  chosen, path = config.models[name], row_path(folder, name, seed)
  setup = step_models.make_setup(config, config.networks[chosen.network], world.scales, world.r_max)
  params, costs = train_network(config, world, setup, chosen.network, seed, folder)
  step = setup.steps[chosen.step]
  x, seconds = simulate(config, world, step, setup.model, params, seed,
                        folder / 'rollouts' / path.stem)
  if not path.exists():
    costs |= {'rollout [s]': seconds, **contest.cost(config, world, step, setup.model, params, x)}
    trajectory.write_json(path, costs)
  return Row(json.loads(path.read_text()), x, contest.measure(world, x))


def train_network(config, world, setup, network: str, seed: int, folder: pathlib.Path):
  """(params, costs) of the best validation, made now or found in networks/."""
  own = folder / 'networks' / f'{network}_{seed}'
  takes = [make_take(num_frames=config.history + 1, dilation=dilation,
                     per_molecule=config.windows_per_molecule) for dilation in world.dilations]
  first = jax.tree.map(lambda a: jnp.asarray(a[0]), takes[0](world.train, np.zeros(1, int)))
  key_init, key_fit = jax.random.split(jax.random.key(seed))
  params = jax.jit(setup.model.init)(key_init, first.system, first.frames[0, :-1])
  fitted = fit.fit(setup.loss, params, world.train, world.validation, config.train, key_fit,
                   folder=own / 'state', take=takes[0])
  path = own / 'costs.json'
  if not path.exists():
    trajectory.write_json(path, {
      'NLL': likelihood(world, setup.model, fitted.params, takes[2]),
      'training [s]': fitted.seconds, 'step': fitted.step,
      'parameters': sum(leaf.size for leaf in jax.tree.leaves(fitted.params))})
  return fitted.params, json.loads(path.read_text())


def likelihood(world, model, params, take) -> float:
  """-ln p of a step per coordinate, in the data's unit, of the test windows as they are."""
  nll = make_nll(model, world.scales)

  def loss(params, key, example):
    del key
    fine, beads = example.system
    embedding = model.embed(params, fine, len(beads.mask))
    return jnp.mean(jax.vmap(
      lambda frames: nll(params, frames[:-1], frames[-1], embedding, beads)[0])(example.frames))

  validate = train.make_validation(loss, batch_size=64, num_batches=50, take=take)
  whitened = validate(params, jax.random.key(0), jax.tree.map(jnp.asarray, world.test))
  return float(whitened + np.log(world.scales.acceleration))


def simulate(config, world, step, model, params, seed: int, folder: pathlib.Path):
  """(frames [F, R, n, 3], seconds) of every molecule; nan seconds of a rollout that was stopped."""
  settings, beads = config.rollout, jax.tree.map(jnp.asarray, world.systems.beads)
  embedding = step_world.embed(model, params, world.systems)
  run_part = jax.jit(lambda params, state: rollout(
    step, params, state, embedding, beads, num_frames=settings.frames_per_part,
    max_bond=settings.max_bond * world.r_max))
  was_stopped, start = trajectory.count_parts(folder) > 0, time.monotonic()
  dynamics.run_to_disk(
    run_part, params, init_rollout(jax.random.key(seed), jnp.asarray(world.histories)), folder,
    num_parts=-(-settings.frames // settings.frames_per_part),
    steps_per_part=settings.frames_per_part * len(beads.mask), replicas=len(beads.mask),
    settings={'seed': seed, 'frames_per_part': settings.frames_per_part},
    find_lost=lambda state: blow_ups(state, config.interval))
  seconds = float('nan') if was_stopped else time.monotonic() - start
  joined, = trajectory.join_parts(folder, ('x',))
  frames = joined[:settings.frames]
  missing = settings.frames - len(frames)  # once every molecule is lost the run ends
  return np.pad(frames, ((0, missing), *((0, 0),) * 3), constant_values=np.nan), seconds


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/time_integrated.py')
