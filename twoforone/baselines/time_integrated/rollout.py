"""Long runs of a learned step: all molecules under one `vmap`, one scan, in resumable chunks.

A chunk takes a state and returns the next one, so a long run is a chain of chunks and equals one
unbroken run bit for bit. A molecule that blows up is frozen and marked, never dropped.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from twoforone.baselines.time_integrated.graph import BeadGraph, edge_mask
from twoforone.geometry import safe_norm
from twoforone.simulate import SimulationState, first_state, next_state
from twoforone.types import Params, PRNGKey


class Walk(NamedTuple):
  """The dynamics of a `SimulationState` whose replicas are molecules under a learned step.

  Attributes:
    history: the last k frames of each molecule, [R, k, n, 3].
    key: of each molecule, [R]; step s draws with fold_in(key, s).
  """

  history: Float[Array, 'R k n 3']
  key: Key[Array, ' R']


class RolloutInfo(NamedTuple):
  """What a person wants to see of each stored frame, [F, R] each, in the unit of the positions.

  Attributes:
    closest: smallest distance of two beads.
    longest: largest distance of two bonded beads.
  """

  closest: Float[Array, 'F R']
  longest: Float[Array, 'F R']


def init_rollout(key: PRNGKey, history: Float[Array, 'R k n 3']) -> SimulationState:
  """The state before the first step, a key for each molecule."""
  return first_state(Walk(history, jax.random.split(key, len(history))), len(history))


def rollout(
  step: Callable, params: Params, state: SimulationState, embedding: Float[Array, 'R n e'],
  beads: BeadGraph, *, num_frames: int, stride: int = 1, max_bond: float = jnp.inf
) -> tuple[SimulationState, Float[Array, 'F R n 3'], RolloutInfo]:
  """num_frames frames, `stride` steps apart, of every molecule: (state, x, info).

  A molecule that is not finite, or whose longest bond exceeds `max_bond`, at a stored frame is
  frozen; from there on its frames and info are NaN.

  Args:
    step: (params, key, history, embedding, beads) -> history, of one molecule.
    embedding, beads: of the molecules, leading axis [R].
    max_bond: the longest bond a sound configuration can have, in the unit of the positions.

  Raises:
    ValueError: when num_frames or stride is below one.
  """
  for name, value in (('num_frames', num_frames), ('stride', stride)):
    if value < 1:
      raise ValueError(f'{name}: found {value}, expected at least 1')

  def advance(history, key, lost, embedding, beads, frame):
    steps = frame * stride + jnp.arange(stride)
    after, _ = jax.lax.scan(
      lambda h, s: (step(params, jax.random.fold_in(key, s), h, embedding, beads), None),
      history, steps)
    info = observe(after[-1], beads)
    reason = jnp.where(jnp.isfinite(after[-1]).all(), 2 * (info.longest > max_bond), 1)
    lost = lost | (reason > 0)
    seen = jax.tree.map(lambda a: jnp.where(lost, jnp.nan, a), (after[-1], info))
    return jnp.where(lost, history, after), reason, seen

  def one_frame(state, _):
    walk, was_lost = state.dynamics, state.lost_frame >= 0
    history, reason, seen = jax.vmap(advance, (0, 0, 0, 0, 0, None))(
      walk.history, walk.key, was_lost, embedding, beads, state.frame)
    return next_state(state, walk._replace(history=history), reason), seen

  state, (x, info) = jax.lax.scan(one_frame, state, length=num_frames)
  return state, x, info


def observe(x: Float[Array, 'n 3'], beads: BeadGraph) -> RolloutInfo:
  """Closest pair and longest bond of one frame; infinity and 0 where there is none."""
  d = safe_norm(x[:, None] - x)
  return RolloutInfo(jnp.min(jnp.where(edge_mask(beads), d, jnp.inf)),
                     jnp.max(jnp.where(beads.bonded, d, 0)))
