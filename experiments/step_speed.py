"""How fast a learned step covers time, and the molecular dynamics it was learned from.

Both are timed in turn, compiled, on the same chains; the dynamics computes all pairs. Where the
particles are many and the beads few the step gains most, whatever its weights: a network trained
on short chains is timed on long ones too, which tells nothing of how well it would do there.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import generate_polymers, measure, polymer_md, step_world
from twoforone.baselines.time_integrated.graph import System
from twoforone.baselines.time_integrated.rollout import init_rollout, rollout
from twoforone.datasets import polymers

REPEATS = 3


def compare(config, world, step, model, params) -> dict[str, float]:
  """Time covered per second over that of molecular dynamics; NaN without chains of the length."""
  settings, found = config.speed, {'speed': float('nan')}
  chosen = np.flatnonzero(world.reference.reference.size == settings.length)
  if len(chosen):
    systems = jax.tree.map(lambda a: a[chosen], world.systems)
    found['speed'] = time_in_turn(
      rollout_loop(config, step, model, params, systems, world.histories[chosen]),
      dynamics_loop(config, world.reference.species[chosen, :settings.length],
                    config.polymers.level))
  if settings.long.chains:
    found['speed, long chain'] = compare_long(config, step, model, params)
  return found


def compare_long(config, step, model, params) -> float:
  """The same of new chains, started from the frames of their dynamics.

  Raises:
    ValueError: when the dynamics leave fewer frames than the model sees.
  """
  long, random, part = config.speed.long, np.random.default_rng(0), config.speed.time
  species = np.stack([polymers.draw_irregular(random, long.length) for _ in range(long.chains)])
  frames, _ = polymer_md.simulate_chains(
    species, jax.random.key(0), equilibration=part, length=REPEATS * part,
    **dynamics_settings(config, long.level))
  if frames.x.shape[2] < config.history:
    raise ValueError(f'speed.time: found {frames.x.shape[2]} frames of the dynamics, expected at '
                     f'least {config.history}, those of a history')
  molecules = generate_polymers.list_molecules(long, species, frames._asdict())
  count = frames.x.shape[3]
  systems = step_world.stack_systems(molecules, long.length, count, long.length - 1)
  return time_in_turn(
    rollout_loop(config, step, model, params, systems, frames.x[:, 0, :config.history]),
    dynamics_loop(config, species, long.level))


def time_in_turn(learned: measure.Loop, dynamics: measure.Loop) -> float:
  """How many times longer the dynamics takes for an interval: the median over a few rounds."""
  seconds = measure.time_in_turn({'learned': learned, 'dynamics': dynamics}, repeats=REPEATS)
  return measure.median_ratio(seconds['dynamics'], seconds['learned'])


def rollout_loop(
  config, step, model, params, systems: System, histories: np.ndarray
) -> measure.Loop:
  """Learned steps of all the molecules, an interval each."""
  systems = jax.tree.map(jnp.asarray, systems)
  embedding = step_world.embed(model, params, systems)
  run = jax.jit(lambda params, state: rollout(
    step, params, state, embedding, systems.beads, num_frames=config.speed.frames))
  state = init_rollout(jax.random.key(0), jnp.asarray(histories))
  return measure.compile_loop(
    run, (params, state), lambda arguments, made: (params, made[0]), steps=config.speed.frames,
    batch=len(histories))


def dynamics_loop(config, species: np.ndarray, level: float) -> measure.Loop:
  """Molecular dynamics of chains of these species from extended starts, in intervals."""
  advance, params, state = polymer_md.prepare_chains(
    species, jax.random.key(0), **dynamics_settings(config, level))
  return measure.compile_loop(
    advance, (params, state), lambda arguments, made: (params, made[0]),
    steps=round(config.speed.time / config.interval), batch=len(species))


def dynamics_settings(config, level: float) -> dict:
  """The dynamics of `config.polymers`, one of each chain, stored as often as the model's."""
  settings = config.polymers
  return {'level': level, 'replicas': 1, 'dt': settings.dt, 'friction': settings.friction,
          'interval': config.interval, 'chunk': config.speed.time}
