"""How fast a learned step covers time, and the molecular dynamics it was learned from.

Both are timed in one run, compiled, on the same chains.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import measure, polymer_md, step_world
from twoforone.baselines.time_integrated.rollout import init_rollout, rollout

REPEATS = 3


def time_rollout(config, world, step, model, params, chosen: np.ndarray) -> float:
  """Seconds for one unit of time of the chosen molecules, the least of a few runs."""
  systems = jax.tree.map(lambda a: jnp.asarray(a[chosen]), world.systems)
  embedding = step_world.embed(model, params, systems)
  run = jax.jit(lambda params, state: rollout(
    step, params, state, embedding, systems.beads, num_frames=config.speed.frames))
  state = init_rollout(jax.random.key(0), jnp.asarray(world.histories[chosen]))
  loop = measure.compile_loop(
    run, (params, state), lambda arguments, made: (params, made[0]), steps=config.speed.frames,
    batch=len(chosen))
  return min(measure.time_in_turn({'': loop}, repeats=REPEATS)['']) / config.interval


def time_dynamics(config, species: np.ndarray) -> float:
  """Seconds for one τ of chains of these species, frames stored as often as the model's."""
  part, settings = config.speed.time, config.polymers
  _, seconds = polymer_md.simulate_chains(
    species, jax.random.key(0), level=settings.level, replicas=1, dt=settings.dt,
    friction=settings.friction, equilibration=part, length=REPEATS * part,
    interval=config.interval, chunk=part)
  return seconds / ((1 + REPEATS) * part)
