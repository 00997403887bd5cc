"""What a training step and a simulated step of a config cost, the configs timed in turn."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import ala2, measure, models, objectives, training, uses
from twoforone import simulate, train
from twoforone.datasets import dataset
from twoforone.datasets.ala2 import ala2_system
from twoforone.units import thermal_energy


def training_cost(configs: dict, *, steps: int, repeats: int) -> dict[str, dict[str, float]]:
  """name -> seconds and GFLOP per training step, averaged over the phases of the training.

  Args:
    configs: name -> config of `experiments.ala2`; all are timed in one run, one after the other.
    steps: in one call.
    repeats: rounds; the median is returned.
  """
  phases = {name: training_loops(config, steps) for name, config in configs.items()}
  seconds = measure.time_in_turn(
    {(name, k): loop for name, found in phases.items() for k, (_, loop) in enumerate(found)},
    repeats=repeats)
  return {name: average(found, [seconds[name, k] for k in range(len(found))])
          for name, found in phases.items()}


def average(
  phases: list[tuple[float, measure.Loop]], seconds: list[list[float]]
) -> dict[str, float]:
  """Milliseconds (the median over rounds) and GFLOP of a step, each phase by its share."""
  return {
    'ms per step': 1e3 * sum(share * float(np.median(found))
                             for (share, _), found in zip(phases, seconds, strict=True)),
    'GFLOP per step': sum(share * loop.flops for share, loop in phases) / 1e9}


def training_loops(config, steps: int) -> list[tuple[float, measure.Loop]]:
  """For each phase of a training: its share of the steps, and a loop of its steps."""
  system, split, model = untrained(config)
  scale = dataset.data_scale(split.train.x)
  examples = objectives.make_examples(config, split.train, scale)
  phases = objectives.make_phases(
    config, model, objectives.make_label(config, model, examples, system))
  optimizer = training.make_optimizer(config.train)
  ema_decay = models.pick('train.ema', config.train.ema, training.EMAS)(config.train.ema_decay)
  ends = [phase.start for phase in phases[1:]] + [config.train.num_steps]
  loops = []
  for phase, end in zip(phases, ends, strict=True):
    step = train.make_train_step(phase.loss, optimizer, ema_decay=ema_decay,
                                 auxiliary=phase.auxiliary)
    state = train.init_train_state(model.init(jax.random.key(0)), optimizer)
    loop = measure.compile_loop(
      train.make_train_chunk(step, batch_size=config.train.batch_size, num_steps=steps),
      (state, jax.random.key(1), jax.tree.map(jnp.asarray, examples)),
      lambda arguments, result: (result[0], *arguments[1:]),
      steps=steps, batch=config.train.batch_size)
    loops.append(((end - phase.start) / config.train.num_steps, loop))
  return loops


def simulation_cost(configs: dict, *, steps: int, repeats: int) -> dict[str, float]:
  """name -> seconds of one simulated step of all replicas."""
  loops = {}
  for name, config in configs.items():
    system, split, model = untrained(config)
    integrator = uses.make_integrator(config, model, system, config.simulate.level)
    replicas = config.simulate.replicas
    kT = jnp.full(replicas, thermal_energy(config.simulate.temperature))
    params = model.init(jax.random.key(0))['energy']
    state = simulate.init_replicas(
      integrator, params, jax.random.key(2), jnp.asarray(split.train.x[:replicas]), kT)
    loops[name] = measure.compile_loop(
      simulate.make_simulation(integrator, num_frames=1, stride=steps), (params, state, kT),
      lambda arguments, result: (arguments[0], result[0], arguments[2]), steps=steps,
      batch=replicas)
  return {name: float(np.median(seconds))
          for name, seconds in measure.time_in_turn(loops, repeats=repeats).items()}


def untrained(config):
  """System, data and model of a config, before any training."""
  system, split = ala2_system(), ala2.load_split(config)
  return system, split, models.fit_model(
    config, system, split.train.x, dataset.data_scale(split.train.x))
