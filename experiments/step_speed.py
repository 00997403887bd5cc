"""How fast a learned step covers time, and the molecular dynamics it was learned from.

Both are timed in one run, compiled, on the same chains; the dynamics computes all pairs. Where the
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
    learned = time_rollout(config, step, model, params, systems, world.histories[chosen])
    species = world.reference.species[chosen, :settings.length]
    found['speed'] = time_dynamics(config, species, config.polymers.level)[1] / learned
  if settings.long.chains:
    found['speed, long chain'] = compare_long(config, step, model, params)
  return found


def compare_long(config, step, model, params) -> float:
  """The same of new chains, started from the frames of their dynamics.

  Raises:
    ValueError: when the dynamics leave fewer frames than the model sees.
  """
  long, random = config.speed.long, np.random.default_rng(0)
  species = np.stack([polymers.draw_irregular(random, long.length) for _ in range(long.chains)])
  frames, seconds = time_dynamics(config, species, long.level)
  if frames.x.shape[2] < config.history:
    raise ValueError(f'speed.time: found {frames.x.shape[2]} frames of the dynamics, expected at '
                     f'least {config.history}, those of a history')
  molecules = generate_polymers.list_molecules(long, species, frames._asdict())
  count = frames.x.shape[3]
  systems = step_world.stack_systems(molecules, long.length, count, long.length - 1)
  return seconds / time_rollout(
    config, step, model, params, systems, frames.x[:, 0, :config.history])


def time_rollout(
  config, step, model, params, systems: System, histories: np.ndarray
) -> float:
  """Seconds for one unit of time of all the molecules, the least of a few runs."""
  systems = jax.tree.map(jnp.asarray, systems)
  embedding = step_world.embed(model, params, systems)
  run = jax.jit(lambda params, state: rollout(
    step, params, state, embedding, systems.beads, num_frames=config.speed.frames))
  state = init_rollout(jax.random.key(0), jnp.asarray(histories))
  loop = measure.compile_loop(
    run, (params, state), lambda arguments, made: (params, made[0]), steps=config.speed.frames,
    batch=len(histories))
  return min(measure.time_in_turn({'': loop}, repeats=REPEATS)['']) / config.interval


def time_dynamics(config, species: np.ndarray, level: float) -> tuple[polymer_md.Frames, float]:
  """(frames, seconds for one τ) of chains of these species, stored as often as the model's."""
  part, settings = config.speed.time, config.polymers
  frames, seconds = polymer_md.simulate_chains(
    species, jax.random.key(0), level=level, replicas=1, dt=settings.dt,
    friction=settings.friction, equilibration=part, length=REPEATS * part,
    interval=config.interval, chunk=part)
  return frames, seconds / ((1 + REPEATS) * part)
