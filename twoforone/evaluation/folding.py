"""Fold and size of a chain: RMSD to a native structure, Rg, contacts, folding events.

Positions are numpy [..., n, 3] in nm with any leading axes, worked through chunk by chunk, so that
memory is one chunk's however many frames there are.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from twoforone import geometry
from twoforone.evaluation.structure import CHUNK, Positions, chunks, pair_indices

UNFOLDED, FOLDED = 0, 1


class FoldingTimes(NamedTuple):
  """How often and how fast a chain folds and unfolds.

  Attributes:
    foldings, unfoldings: completed events.
    folding_time, unfolding_time: time spent unfolded (folded) per folding (unfolding), infinite
      without an event.
  """

  foldings: int
  unfoldings: int
  folding_time: float
  unfolding_time: float


def native_rmsd(
  x: Positions, native: Float[np.ndarray, 'beads 3'], *, chunk: int = CHUNK
) -> Float[np.ndarray, '*frames']:
  """Least root-mean-square deviation from the native structure [nm], over proper rotations."""
  parts = [np.asarray(_rmsd(frames, native))[:count] for frames, count in chunks(x, chunk)]
  return np.concatenate(parts).reshape(x.shape[:-2])


def radius_of_gyration(x: Positions, *, chunk: int = CHUNK) -> Float[np.ndarray, '*frames']:
  """sqrt(mean |x_i - mean x|²) [nm], equal masses."""
  parts = [np.asarray(_gyration(frames))[:count] for frames, count in chunks(x, chunk)]
  return np.concatenate(parts).reshape(x.shape[:-2])


def contact_probability(
  x: Positions, cutoff: float, *, chunk: int = CHUNK
) -> Float[np.ndarray, 'beads beads']:
  """How often each pair is closer than `cutoff`: symmetric, one on the diagonal."""
  pairs = pair_indices(x.shape[-2], 1)
  counts, total = np.zeros(len(pairs)), 0
  for frames, count in chunks(x, chunk):
    counts += np.asarray(_contacts(frames, pairs, cutoff))[:count].sum(axis=0)
    total += count
  probability = np.eye(x.shape[-2])
  probability[pairs[:, 0], pairs[:, 1]] = probability[pairs[:, 1], pairs[:, 0]] = counts / total
  return probability


def fold_states(
  rmsd: Float[np.ndarray, 'frames *replicas'], folded: float, unfolded: float
) -> Int[np.ndarray, 'frames *replicas']:
  """1 (folded) once below `folded`, 0 once above `unfolded`; in between the last of the two.

  Two limits keep a fluctuation at a border from being counted as an event. -1 before either has
  been reached and where the value is not finite.

  Args:
    rmsd: of a trajectory along axis 0.
    folded, unfolded: limits in the same unit.

  Raises:
    ValueError: when the limits are not in this order.
  """
  if not folded <= unfolded:
    raise ValueError(f'folded: found {folded}, expected at most unfolded = {unfolded}')
  flat = rmsd.reshape(len(rmsd), -1)
  seen = np.where(flat < folded, FOLDED, np.where(flat > unfolded, UNFOLDED, -1))
  # Index of the last frame, so far, in which a limit was passed.
  last = np.maximum.accumulate(np.where(seen >= 0, np.arange(len(flat))[:, None], -1), axis=0)
  states = np.where(last >= 0, np.take_along_axis(seen, np.maximum(last, 0), axis=0), -1)
  return np.where(np.isfinite(flat), states, -1).reshape(rmsd.shape)


def folding_times(
  states: Int[np.ndarray, 'frames *replicas'], interval: float
) -> FoldingTimes:
  """Events and mean times from `fold_states`, the columns independent trajectories.

  Time in a state over exits from it: the maximum-likelihood mean of exponential waiting times,
  which trajectories that end before an event enter as they should.

  Args:
    states: of trajectories along axis 0.
    interval: between frames, in the unit of the times returned.
  """
  flat = states.reshape(len(states), -1)
  before, after = flat[:-1], flat[1:]
  foldings = int(((before == UNFOLDED) & (after == FOLDED)).sum())
  unfoldings = int(((before == FOLDED) & (after == UNFOLDED)).sum())

  def mean_time(state, events):
    return interval * float((before == state).sum()) / events if events else float('inf')

  return FoldingTimes(
    foldings, unfoldings, mean_time(UNFOLDED, foldings), mean_time(FOLDED, unfoldings))


@jax.jit
def _rmsd(x, native):
  return jax.vmap(geometry.rmsd, in_axes=(0, None))(x, native)


@jax.jit
def _gyration(x):
  return jax.vmap(geometry.radius_of_gyration)(x)


@jax.jit
def _contacts(x, pairs, cutoff) -> Bool[jax.Array, 'frames pairs']:
  return jax.vmap(geometry.distances, in_axes=(0, None))(x, pairs) < cutoff
