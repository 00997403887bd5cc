"""Histories of frames: windows of trajectories, finite differences, noise that teaches recovery.

A window is k frames and the one that follows, `dilation` stored frames apart; the model's time step
is one, so velocities are x_t - x_(t-1) and the acceleration is x_(t+1) - 2 x_t + x_(t-1).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.baselines.time_integrated.graph import BeadGraph, Scales, System
from twoforone.types import Beads, PRNGKey

History = Float[Array, 'k n 3']
"""The last k frames, oldest first."""


class Windows(NamedTuple):
  """Trajectories of several molecules and where windows may begin; examples are drawn by `take`.

  Attributes:
    chain, start: molecule and first frame of each possible window, [W].
    x: frames of each molecule, [C, F, n, 3].
    systems: of the molecules, leading axis [C].
    square_radius: Rg² of the fine particles in each frame, [C, F]; None where nobody asks.
  """

  chain: Int[Array | np.ndarray, ' W']
  start: Int[Array | np.ndarray, ' W']
  x: Float[Array | np.ndarray, 'C F n 3']
  systems: System
  square_radius: Float[Array | np.ndarray, 'C F'] | None = None


class Example(NamedTuple):
  """Windows of one molecule: its embedding is made once for all of them.

  Attributes:
    system: of the molecule.
    frames: k frames and the one to predict, of each window, [w, k + 1, n, 3].
    square_radius: Rg² of the fine particles in the last of the k frames, [w], or None.
  """

  system: System
  frames: Float[Array, 'w k1 n 3']
  square_radius: Float[Array, ' w'] | None = None


def make_windows(
  x: Float[np.ndarray, 'C F n 3'], systems: System, *, num_frames: int, dilation: int,
  square_radius: Float[np.ndarray, 'C F'] | None = None
) -> Windows:
  """All windows of the trajectories.

  Args:
    x: frames of each molecule.
    systems: of the molecules, leading axis [C].
    num_frames: k + 1.
    dilation: stored frames in one step of the model.
    square_radius: Rg² of the fine particles in each frame.

  Raises:
    ValueError: when the trajectories are shorter than a window.
  """
  chains, frames = x.shape[:2]
  starts = frames - (num_frames - 1) * dilation
  if starts < 1:
    raise ValueError(f'x: found {frames} frames, a window needs {frames - starts + 1}')
  chain, start = np.divmod(np.arange(chains * starts), starts)
  return Windows(chain.astype(np.int32), start.astype(np.int32), x, systems, square_radius)


def make_take(
  *, num_frames: int, dilation: int, per_molecule: int
) -> Callable[[Windows, Int[Array, ' batch']], Example]:
  """take(windows, index) -> Example with leading axis [batch], for `train.make_train_chunk`.

  Args:
    num_frames, dilation: those of `make_windows`.
    per_molecule: w; the windows after the first begin at equal distances along the trajectory.
  """

  def take(windows, index):
    starts = windows.x.shape[1] - (num_frames - 1) * dilation
    shift = jnp.arange(per_molecule) * (starts // per_molecule)
    first = (windows.start[index][:, None] + shift) % starts
    frame = first[..., None] + dilation * jnp.arange(num_frames)
    chain = windows.chain[index]
    # The frame before the step: the networks see it, and the beads' own radius is that of it.
    radius = jax.tree.map(lambda a: a[chain[:, None], frame[..., -2]], windows.square_radius)
    return Example(jax.tree.map(lambda a: a[chain], windows.systems),
                   windows.x[chain[:, None, None], frame], radius)

  return take


def acceleration(history: History, x_next: Beads) -> Beads:
  """x_(t+1) - 2 x_t + x_(t-1)."""
  return x_next - 2 * history[-1] + history[-2]


def make_perturb(low: float, high: float) -> Callable[[PRNGKey, History, BeadGraph], History]:
  """perturb(key, history, beads): N(0, s²) on every coordinate, ln s uniform, one s a history.

  The target stays clean, so the step that is learned leads back onto the data (Sanchez-Gonzalez
  et al. 2020; several scales as in Fu et al. 2022).

  Args:
    low, high: the range of s, in the unit of the positions.

  Raises:
    ValueError: unless 0 < low <= high.
  """
  if not 0 < low <= high:
    raise ValueError(f'noise: found {low} to {high}, expected 0 < low <= high')

  def perturb(key, history, beads):
    key_scale, key_noise = jax.random.split(key)
    scale = low * (high / low) ** jax.random.uniform(key_scale)
    noise = jax.random.normal(key_noise, history.shape, history.dtype)
    return history + jnp.where(beads.mask[:, None], scale * noise, 0)

  return perturb


def fit_scales(
  x: Float[np.ndarray, 'C F n 3'], beads: BeadGraph, *, dilation: int
) -> Scales:
  """Scales of training trajectories.

  Args:
    x: frames of each molecule.
    beads: of the molecules, leading axis [C].
    dilation: stored frames in one step of the model.
  """
  x, mask = x[:, ::dilation].astype(np.float64), np.asarray(beads.mask)
  velocity = np.diff(x, axis=1)
  chain, i, j = np.nonzero(np.triu(np.asarray(beads.bonded)))
  length = np.linalg.norm(x[chain, :, i] - x[chain, :, j], axis=-1).mean()
  return Scales(float(length), _root_mean_square(velocity, mask),
                _root_mean_square(np.diff(velocity, axis=1), mask))


def _root_mean_square(values: np.ndarray, mask: np.ndarray) -> float:
  """Over frames, real beads and axes of [C, F, n, 3]."""
  return float(np.sqrt(np.mean(np.moveaxis(values, 2, 1)[mask] ** 2)))
