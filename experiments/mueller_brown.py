"""Müller-Brown: each objective's energy at almost no noise against the exact density on a grid.

Leaves in `workdir`: config.json, objectives/ (one .json and .npz each, written as it finishes, so
that a killed run goes on with the next), costs.json (training steps of all, timed in turn),
results.csv, results.json, report.md and the figures.
"""

import json
import pathlib
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import command_line, measure, report_mueller_brown, toy_scores
from experiments.models import pick
from experiments.toy_objectives import NOISE, T_MIN, make_loss, split_terms
from experiments.training import OPTIMIZERS
from twoforone import energy, geometry, optimizers, train
from twoforone.datasets import potentials
from twoforone.losses import classification, denoising, target_score
from twoforone.losses.denoising import LabelFn
from twoforone.networks.mlp import MLPEnergy
from twoforone.trajectory import write_atomically, write_json


def run(config: ConfigDict, workdir: str) -> list[dict]:
  """Trains and scores every objective; returns their results."""
  for objective in config.objectives:
    split_terms(objective)
  folder = command_line.prepare_workdir(workdir, config, may_change=('objectives',))
  (folder / 'objectives').mkdir(exist_ok=True)
  world = toy_scores.make_world(config)
  network = MLPEnergy(NOISE, tuple(config.widths), tuple(config.noise_widths))
  reduced = energy.make_energy(network.apply, NOISE, np.zeros(1, int), project=geometry.keep)
  score = toy_scores.make_scorer(config, reduced, world, T_MIN)
  results = []
  for objective in config.objectives:
    path = folder / 'objectives' / f'{objective}.json'
    if not path.exists():
      params, cost = train_seeds(config, objective, network, reduced, world)
      write_objective(path, {'objective': objective, **cost}, *score(params['energy']))
    results.append(json.loads(path.read_text()))
    print(report_mueller_brown.summary(results[-1]), flush=True)
  costs = measure_costs(config, folder, network, reduced, world)
  results = [result | {'ms_in_turn': costs[result['objective']]} for result in results]
  report_mueller_brown.write(config, folder, world, results)
  return results


def write_objective(path: pathlib.Path, result: dict, scores: dict, free_energy) -> None:
  """The map as .npz, then the numbers as .json, which marks the objective as done."""
  write_atomically(path.with_suffix('.npz'), lambda f: np.savez(f, free_energy=free_energy))
  write_json(path, result | scores)


def measure_costs(config, folder: pathlib.Path, network, reduced, world) -> dict[str, float]:
  """objective -> milliseconds of a training step of one seed, timed in turn now or found."""
  path = folder / 'costs.json'
  found = json.loads(path.read_text()) if path.exists() else {}
  if not set(config.objectives) <= set(found):
    loops = {objective: measure.compile_loop(
      *make_training(config, objective, network, reduced, world),
      lambda arguments, result: (result[0], *arguments[1:]), steps=1,
      batch=config.num_seeds * config.train.batch_size) for objective in config.objectives}
    seconds = measure.time_in_turn(loops, repeats=config.timing_rounds)
    found = {name: 1e3 * statistics.median(times) / config.num_seeds
             for name, times in seconds.items()}
    write_json(path, found)
  return found


def make_training(config, objective, network, reduced, world) -> tuple[Callable, tuple]:
  """A jitted training step of all seeds, and its arguments: state [S], keys [S], draws [S]."""
  settings = config.train
  optimizer = pick('train.optimizer', settings.optimizer, OPTIMIZERS)(
    learning_rate=settings.learning_rate, final_learning_rate=settings.final_learning_rate,
    num_steps=settings.num_steps, max_norm=settings.max_norm)
  init_offset, _ = classification.make_offset(NOISE)

  def init(key):
    params = network.init(key, jnp.zeros((1, 2)), jnp.float32(0.5), jnp.zeros(1, int))
    return train.init_train_state({'energy': params, 'offset': init_offset()}, optimizer)

  label = make_label(objective, world)
  step = train.make_train_step(make_loss(config, objective, reduced, label), optimizer,
                               ema_decay=optimizers.warmup_ema(settings.ema_decay))
  chunk = train.make_train_chunk(step, batch_size=settings.batch_size, num_steps=1)
  keys = jax.random.split(jax.random.key(config.seed), (2, config.num_seeds))
  state = jax.jit(jax.vmap(init))(keys[0])
  return jax.jit(jax.vmap(chunk), donate_argnums=0), (state, keys[1], world.train)


def make_label(objective: str, world: toy_scores.World) -> LabelFn:
  """The noise, or noise and exact forces mixed by the variance of the forces."""
  if 'forces' not in split_terms(objective):
    return denoising.noise_label
  toy = potentials.MUELLER_BROWN

  def force(x):
    return jax.grad(lambda x: -toy.potential(world.mean + world.scale * x[0]) / toy.kT)(x)

  x = world.train[0]
  variance = target_score.fit_force_variance(
    np.asarray(x), np.asarray(jax.jit(jax.vmap(force))(x)), project=geometry.keep)
  mixed = target_score.make_force_label(
    NOISE, force_variance=variance, project=geometry.keep)
  return lambda x, noise, x_t, t: mixed((x, force(x)), noise, x_t, t)


def train_seeds(config, objective, network, reduced, world) -> tuple[dict, dict[str, float]]:
  """The averaged parameters [S] of all seeds, trained in one vmap, and what that cost."""
  step, (state, keys, draws) = make_training(config, objective, network, reduced, world)
  # One compilation gives the cost and the step; a step is long enough to be called from here.
  advance = step.lower(state, keys, draws).compile()
  cpu = time.process_time()
  for _ in range(config.train.num_steps):
    state, _ = advance(state, keys, draws)
  jax.block_until_ready(state)
  return state.ema_params, {
    'mflop_per_step': advance.cost_analysis()['flops'] / config.num_seeds / 1e6,
    'cpu_seconds': (time.process_time() - cpu) / config.num_seeds}


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/mueller_brown.py')
