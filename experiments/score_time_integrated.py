"""The numbers P1 to P9 of learned steps against two independent reference replicas.

Each rollout is compared with either replica alone, on as many frames, and the two results are
averaged; the floor compares replica A with B in the same way. Positions are those of beads. Short
molecular dynamics, as long as a training run, is compared with the replica it is no part of.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.summary_time_integrated import Reference, Summary
from twoforone.evaluation import agreement, densities, polymers

RARE = 1e-3  # the quantile of the closest pair below which a frame is a collision
STRETCH = 1.5  # times the reference's 99.9 per cent quantile: a bond is broken


class Measured(NamedTuple):
  """A number over chains, and how many of them it is of."""

  value: float
  chains: int


def score(found: Summary, reference: Reference) -> dict[str, Measured]:
  """Name -> number: the mean of those against replica A and against B; fewest chains of the two.

  Raises:
    ValueError: when the numbers of frames differ.
  """
  frames = len(reference.replicas[0].radius)
  if len(found.radius) != frames:
    raise ValueError(f'found: {len(found.radius)} frames, expected {frames}, as of the reference')
  return _mean([_compare(found, other, reference) for other in reference.replicas])


def floor(reference: Reference) -> dict[str, Measured]:
  """What `score` gives for replica A against B: no model can be told from one that is as good."""
  first, second = reference.replicas
  return _compare(first, second, reference)


def short_dynamics(reference: Reference) -> dict[str, Measured]:
  """What `score` gives for molecular dynamics of the chain itself, as long as a training run."""
  return _mean([_compare(found, other, reference)
                for found, other in zip(reference.short, reference.replicas[::-1], strict=True)])


def _mean(each: Sequence[dict[str, Measured]]) -> dict[str, Measured]:
  return {name: Measured(float(np.mean([numbers[name].value for numbers in each])),
                         min(numbers[name].chains for numbers in each)) for name in each[0]}


def _compare(found: Summary, other: Summary, reference: Reference) -> dict[str, Measured]:
  first, second = reference.replicas
  radius = found.radius.mean(axis=0), other.radius.mean(axis=0)
  distance = _distances(found, other), _distances(first, second)
  bond, width = (found.bonds[k] / other.bonds[k] - 1 for k in (0, 1))
  excess = collision_excess(found, other)
  return {
    'sound': Measured(float(np.mean([record.sound for record in soundness(found, other)])),
                      len(reference.size)),
    'length': Measured(len(found.longest) / reference.training_frames, len(reference.size)),
    'radius r2': over_known(agreement.pearson_r2, *radius),
    'radius relative error': over_known(agreement.mean_relative_error, *radius),
    'radius R2': over_known(agreement.determination, *radius),
    'radius error': over_known(agreement.mean_error, *radius),
    **_compare_times(found, other, reference),
    'radius W1': over_known(lambda a, b: a.mean() / b.mean(), *distance),
    'collisions': Measured(float(excess.mean()), len(excess)),
    'bond mean': over_known(lambda a: np.abs(a).mean(), bond),
    'bond sd': over_known(lambda a: np.abs(a).mean(), width),
    'bond mean, worst chain': over_known(lambda a: np.abs(a).max(), bond),
    'bond sd, worst chain': over_known(lambda a: np.abs(a).max(), width),
    'diffusion': over_known(np.mean, found.diffusion / reference.diffusion),
  }


def _compare_times(found, other, reference):
  size, times, true = np.log(reference.size), found.times, other.times
  log, log_true = np.log(times), np.log(true)
  return {
    'tau r2': over_known(agreement.pearson_r2, times[0], true[0]),
    'log tau r2': over_known(agreement.pearson_r2, log[0], log_true[0]),
    'tau ratio': over_known(np.median, times[0] / true[0]),
    'log tau r2 without length': over_known(agreement.detrended_r2, log[0], log_true[0], size),
    'log integrated tau r2': over_known(agreement.pearson_r2, log[1], log_true[1]),
    'log fitted tau r2': over_known(agreement.pearson_r2, log[2], log_true[2]),
    'log end-to-end tau r2': over_known(
      agreement.pearson_r2, np.log(found.ends), np.log(other.ends)),
  }


def over_known(statistic: Callable[..., float], *values: np.ndarray) -> Measured:
  """The statistic of the chains that have all values; NaN for fewer than three."""
  known = np.isfinite(values).all(axis=0)
  enough = known.sum() >= 3
  return Measured(float(statistic(*(v[known] for v in values))) if enough else float('nan'),
                  int(known.sum()))


def _distances(first: Summary, second: Summary) -> np.ndarray:
  """W1 of the Rg² of each chain; NaN where one is."""
  return np.array([
    densities.wasserstein(a, b) if np.isfinite(a).all() and np.isfinite(b).all() else np.nan
    for a, b in zip(first.radius.T, second.radius.T, strict=True)])


def soundness(found: Summary, other: Summary) -> list[polymers.Soundness]:
  """The record of each chain, over all frames; bonds against the other's quantile."""
  return [polymers.soundness(longest, STRETCH * quantile)
          for longest, quantile in zip(found.longest.T, other.bonds[2], strict=True)]


def collision_excess(found: Summary, other: Summary) -> np.ndarray:
  """Frames below the other's rare quantile of the closest pair, over that rarity, [C]."""
  limit = np.quantile(other.closest, RARE, axis=0)
  return np.array([polymers.collision_fraction(closest, threshold) / RARE
                   for closest, threshold in zip(found.closest.T, limit, strict=True)])
