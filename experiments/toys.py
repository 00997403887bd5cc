"""Double well and Müller along one coordinate: data, exact answer, and the scores of a method.

Energies in kT. s is the coarse coordinate: x of the double well, 0.7 x - 0.7 y of Müller (not
normalised); f = -∇U·v / |v|² its force label.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.models import pick
from twoforone.datasets import potentials, toy_draws
from twoforone.evaluation import profiles

GRID_PART = 100  # points of a grid that are worked through at once


class Frames(NamedTuple):
  """Independent draws: positions r [F, 2], coarse s [F, 1, 1] and force labels f [F, 1, 1]."""

  r: Float[np.ndarray, 'frames 2']
  s: Float[np.ndarray, 'frames 1 1']
  f: Float[np.ndarray, 'frames 1 1']


class Problem(NamedTuple):
  """What a method is given and judged by.

  Attributes:
    exact: free energy and mean force on the grid of the scores.
    axis: v of s = x·v.
    barrier: s that parts the main basin (below) from the minor one.
    train, validation: what a method may use.
    test: draws no method sees.
  """

  exact: profiles.Profile
  axis: tuple[float, float]
  barrier: float
  train: Frames
  validation: Frames
  test: Frames


class Found(NamedTuple):
  """What a method gives.

  Attributes:
    energy: -ln p on the grid, up to a constant [kT].
    force: the coarse force on the grid [kT per length], None where there is none.
    samples: draws of s, None where there are none.
    seconds: of training and sampling.
    evaluations: force evaluations of the model that training simulated.
    notes: further numbers by name.
    simulated: s of chains on the energy, None where none were run.
    arrays: kept beside the energy by name, e.g. what training logged of each update.
  """

  energy: Float[np.ndarray, ' grid']
  force: Float[np.ndarray, ' grid'] | None
  samples: Float[np.ndarray, ' samples'] | None
  seconds: float
  evaluations: int = 0
  notes: dict[str, float] | None = None
  simulated: Float[np.ndarray, ' samples'] | None = None
  arrays: dict[str, np.ndarray] | None = None


class Definition(NamedTuple):
  """A toy along its axis; the grid holds all but 1e-5 of the weight."""

  toy: potentials.Toy
  axis: tuple[float, float]
  barrier: float
  grid: np.ndarray
  across: np.ndarray
  draw: Callable[[int, int], np.ndarray]
  starts: tuple[tuple[float, float], ...]  # of trajectories, one in each basin


def define(name: str) -> Definition:
  """The toy of that name."""
  return pick('system', name, {
    'double_well': lambda: Definition(
      potentials.DOUBLE_WELL, potentials.DOUBLE_WELL_AXIS, potentials.DOUBLE_WELL_BARRIER,
      np.linspace(-3, 3, 1201), np.linspace(-8, 8, 65), toy_draws.draw_double_well,
      toy_draws.DOUBLE_WELL_STARTS),
    'mueller': lambda: Definition(
      potentials.MUELLER, potentials.MUELLER_AXIS, potentials.MUELLER_BARRIERS[0],
      np.linspace(-2, 1, 1201), np.linspace(-1.6, 2.6, 701),
      functools.partial(potentials.draw, potentials.grid_density(potentials.MUELLER)),
      toy_draws.MUELLER_STARTS)})()


def make_problem(name: str, frames: int, seed: int) -> Problem:
  """`frames` draws, a fifth of them for validation, and as many again as test data."""
  found = define(name)
  with jax.enable_x64():
    exact = profiles.line_profile(
      found.toy.potential, found.toy.kT, found.axis, found.grid, found.across)
  r = found.draw(frames, 2 * seed + 1)
  parts = (r[frames // 5:], r[:frames // 5], found.draw(frames, 2 * seed + 2))
  return Problem(exact, found.axis, found.barrier, *(make_frames(found, part) for part in parts))


def make_frames(found: Definition, r: np.ndarray) -> Frames:
  """Positions [F, 1, 2] with their coarse coordinate and its force label."""
  s, f = toy_draws.coarse_grain(found.toy, r, found.axis)
  return Frames(r[:, 0], np.asarray(s), np.asarray(f))


def with_trajectories(name: str, problem: Problem, key) -> Problem:
  """The problem with trajectories for training data, as many frames from each basin.

  For training and for validation each 10,000 Metropolis steps from both starts, of which each tenth
  is kept (Noé et al. 2019).
  """
  found = define(name)
  train, validation = (make_frames(found, np.asarray(toy_draws.metropolis(
    found.toy, key, jnp.array(found.starts), num_frames=1000)).reshape(-1, 1, 2))
    for key in jax.random.split(key))
  return problem._replace(train=train, validation=validation)


def score(problem: Problem, found: Found) -> dict[str, float]:
  """The columns of a row; NaN for what a method does not have."""
  exact = problem.exact
  # Of Müller's upper side nothing lies below 4 kT.
  columns = {'above_4': float('nan')} | profiles.compare(exact, found.energy, problem.barrier)
  columns['nll'] = profiles.held_out_nll(exact.s, found.energy, problem.test.s.ravel())
  columns |= dict.fromkeys(
    ('sampled above', 'simulated above', 'simulated rms_4', 'force error'), float('nan'))
  if found.samples is not None:
    columns['sampled above'] = float(np.mean(found.samples > problem.barrier))
  if found.simulated is not None:
    columns['simulated above'] = float(np.mean(found.simulated > problem.barrier))
    columns['simulated rms_4'] = profiles.aligned_rms(
      count_energy(problem, found.simulated), exact.energy, profiles.below(exact.energy, 4))
  if found.force is not None:
    error, scale = profiles.force_rms(exact, found.force)
    columns['force error'] = error / scale
  columns |= {'seconds': found.seconds, 'evaluations': found.evaluations}
  return columns | (found.notes or {})


def count_energy(problem: Problem, values: np.ndarray) -> np.ndarray:
  """-ln of a histogram of s on the grid, in bins of ten of its points."""
  s = problem.exact.s[::10]
  centres, energy = profiles.sample_profile(
    values, np.append(s, 2 * s[-1] - s[-2]) - (s[1] - s[0]) / 2)
  found = np.isfinite(energy)
  # A bin without a draw counts as one with half a draw.
  energy = np.where(found, energy, energy[found].max() + np.log(2))
  return np.interp(problem.exact.s, centres, energy)


def on_grid(problem: Problem, energy: Callable) -> tuple[np.ndarray, np.ndarray]:
  """energy(x[1,1]) -> [] and its force, at the points of the grid."""
  points = jnp.asarray(problem.exact.s, jnp.float32)[:, None, None]
  # In parts: an energy may be an integral over hundreds of points of its own.
  values, slopes = jax.jit(lambda points: jax.lax.map(
    jax.value_and_grad(energy), points, batch_size=GRID_PART))(points)
  return np.asarray(values, np.float64), -np.asarray(slopes, np.float64).ravel()
