"""Müller-Brown: each objective's energy at almost no noise against the exact density on a grid.

Leaves in `workdir`: config.json, objectives/ (one .json and .npz each, written as it finishes, so
that a killed run goes on with the next), results.csv, results.json, report.md and the figures.
"""

import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import command_line, report_mueller_brown, toy_scores
from experiments.models import pick
from experiments.toy_objectives import NOISE, T_MIN, make_loss, split_terms
from experiments.training import OPTIMIZERS
from twoforone import energy, geometry, train
from twoforone.losses import classification
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
  report_mueller_brown.write(config, folder, world, results)
  return results


def write_objective(path: pathlib.Path, result: dict, scores: dict, free_energy) -> None:
  """The map as .npz, then the numbers as .json, which marks the objective as done."""
  write_atomically(path.with_suffix('.npz'), lambda f: np.savez(f, free_energy=free_energy))
  write_json(path, result | scores)


def train_seeds(config, objective, network, reduced, world) -> tuple[dict, dict[str, float]]:
  """The averaged parameters [S] of all seeds, trained in one vmap, and what a step costs."""
  settings = config.train
  optimizer = pick('train.optimizer', settings.optimizer, OPTIMIZERS)(
    learning_rate=settings.learning_rate, final_learning_rate=settings.final_learning_rate,
    num_steps=settings.num_steps, max_norm=settings.max_norm)
  init_offset, _ = classification.make_offset(NOISE)

  def init(key):
    params = network.init(key, jnp.zeros((1, 2)), jnp.float32(0.5), jnp.zeros(1, int))
    return train.init_train_state({'energy': params, 'offset': init_offset()}, optimizer)

  step = train.make_train_step(make_loss(config, objective, reduced), optimizer,
                               ema_decay=train.warmup_ema(settings.ema_decay))
  chunk = train.make_train_chunk(step, batch_size=settings.batch_size, num_steps=1)
  keys = jax.random.split(jax.random.key(config.seed), (2, config.num_seeds))
  state = jax.jit(jax.vmap(init))(keys[0])
  # One compilation gives the cost and the step; a step is long enough to be called from here.
  advance = jax.jit(jax.vmap(chunk), donate_argnums=0).lower(state, keys[1], world.train).compile()
  start, cpu = time.perf_counter(), time.process_time()
  for _ in range(settings.num_steps):
    state, _ = advance(state, keys[1], world.train)
  jax.block_until_ready(state)
  return state.ema_params, {
    'mflop_per_step': advance.cost_analysis()['flops'] / config.num_seeds / 1e6,
    'ms_per_step': (time.perf_counter() - start) / settings.num_steps * 1e3 / config.num_seeds,
    'cpu_seconds': (time.process_time() - cpu) / config.num_seeds}


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/mueller_brown.py')
