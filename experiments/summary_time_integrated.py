"""What is kept of the trajectories of many chains for the comparisons, one column per chain."""

from typing import NamedTuple

import numpy as np

from twoforone.baselines.time_integrated.graph import BeadGraph
from twoforone.evaluation import polymers, relaxation


class Summary(NamedTuple):
  """What is compared of the trajectories of C chains, F frames each; NaN for chains with holes.

  Attributes:
    longest: bond of every frame, also beyond F, [all, C].
    closest: pair of every frame, [F, C].
    radius: Rg² of every frame, [F, C].
    bonds: mean, standard deviation and 99.9 per cent quantile of their lengths, [3, C].
    times: `relaxation.Relaxation` of Rg², [3, C].
    ends: 1/e crossing of the end-to-end vector, [C]; NaN for a branched chain.
    diffusion: of the centre of mass, [C].
  """

  longest: np.ndarray
  closest: np.ndarray
  radius: np.ndarray
  bonds: np.ndarray
  times: np.ndarray
  ends: np.ndarray
  diffusion: np.ndarray


class Reference(NamedTuple):
  """The two replicas and what is known exactly.

  Attributes:
    replicas: A and B.
    size: particles of each chain, [C].
    diffusion: kT / (N m friction) of each chain, [C].
    training_frames: of one training trajectory.
    short: A and B from as many frames as that: what the data of one molecule would tell of it.
  """

  replicas: tuple[Summary, Summary]
  size: np.ndarray
  diffusion: np.ndarray
  training_frames: int
  short: tuple[Summary, Summary]


def summarise(
  x: np.ndarray, beads: BeadGraph, *, frames: int, interval: float = 1.0,
  window: tuple[int, int] = (10, 50)
) -> Summary:
  """Of the first `frames` of positions x [all, C, n, 3].

  Args:
    beads: with a leading axis of chains.
    interval: between frames.
    window: lags, in frames, of the fit of the diffusion coefficient.
  """
  chains = [_summarise_chain(x[:, c], BeadGraph(*(np.asarray(field)[c] for field in beads)),
                             frames, interval, window) for c in range(x.shape[1])]
  return Summary(*(np.stack(column, axis=-1) for column in zip(*chains, strict=True)))


def _summarise_chain(x, beads, frames, interval, window):
  bonded, others = polymers.split_pairs(beads.mask, beads.bonded)
  longest, x = polymers.longest_distance(x, bonded), x[:frames]
  radius = polymers.squared_radius(x, beads.mass)
  times, ends = np.full(3, np.nan), polymers.chain_ends(beads.bonded)
  end_time = np.nan
  # A chain that stands still has no relaxation either.
  if np.isfinite(radius).all() and np.ptp(radius) > 0:
    times = _times(relaxation.fluctuations(radius), interval)
    if len(ends) == 2:
      end_time = _times(x[:, ends[1]] - x[:, ends[0]], interval)[0]
  return (
    longest, polymers.closest_distance(x, np.concatenate([bonded, others])), radius,
    np.array(polymers.spread(polymers.distances(x, bonded))), times, np.array(end_time),
    relaxation.diffusion_coefficient(
      polymers.centre_of_mass(x, beads.mass), window=window, interval=interval))


def _times(series, interval):
  return np.array(relaxation.relaxation_times(relaxation.autocorrelation(series), interval))
