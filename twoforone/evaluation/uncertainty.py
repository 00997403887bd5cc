"""How much of a number is chance: block errors and sampling floors.

A distance between densities is a result only beside its floor, the same metric at the same sample
counts between two sets of the reference itself. Counting alone gives `counting_floor`, a lower
bound (frames of a trajectory are correlated); independent runs, compared directly, give the rest.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num

Metric = Callable[[np.ndarray, np.ndarray], float]


class Estimate(NamedTuple):
  """A mean and its standard error."""

  mean: float
  error: float


def block_error(values: Num[np.ndarray, ' frames'], blocks: int) -> float:
  """Standard error of the mean from contiguous blocks (Flyvbjerg and Petersen 1989).

  Right when a block is long against the correlation time. A tail that does not fill a block is
  left out.

  Raises:
    ValueError: for fewer than two blocks, or fewer values than blocks.
  """
  if not 2 <= blocks <= len(values):
    raise ValueError(f'blocks: found {blocks} for {len(values)} values, expected at least 2 and '
                     'no more blocks than values')
  length = len(values) // blocks
  means = values[:blocks * length].reshape(blocks, length).mean(axis=1, dtype=np.float64)
  return float(means.std(ddof=1) / np.sqrt(blocks))


def estimate(
  values: Num[np.ndarray, 'frames *replicas'] | Bool[np.ndarray, 'frames *replicas'],
  blocks: int = 10,
) -> Estimate:
  """Mean over everything; error over replicas where there are several, else over time blocks."""
  values = values.astype(np.float64).reshape(len(values), -1)
  replicas = values.shape[1]
  if replicas > 1:
    error = block_error(values.mean(axis=0), replicas)
  else:
    error = block_error(values[:, 0], min(blocks, len(values)))
  return Estimate(float(values.mean()), error)


def counting_floor(
  metric: Metric, probability: Float[np.ndarray, '*bins'], *, num_samples: int,
  num_reference: int, seed: int, repeats: int = 20
) -> Float[np.ndarray, ' {repeats}']:
  """The metric between two multinomial draws of the same histogram, `repeats` times.

  Args:
    metric: of two histograms of counts.
    probability: of the reference, sums to one.
    num_samples: frames of the evaluated set.
    num_reference: frames of the reference.
  """
  rng = np.random.default_rng(seed)
  flat = probability.ravel() / probability.sum()
  def draw(count):
    return rng.multinomial(count, flat).reshape(probability.shape).astype(np.float64)
  return np.array([metric(draw(num_samples), draw(num_reference)) for _ in range(repeats)])


def halves(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The first and the second half in time, which is axis 0."""
  middle = len(frames) // 2
  return frames[:middle], frames[middle:]


def evenly(frames: np.ndarray, most: int) -> np.ndarray:
  """At most so many along the first axis, equally far apart."""
  return frames[::-(-len(frames) // most)]


def thinned(frames: np.ndarray, count: int, seed: int) -> np.ndarray:
  """`count` frames drawn without replacement, in order; all of them if there are no more."""
  if count >= len(frames):
    return frames
  return frames[np.sort(np.random.default_rng(seed).choice(len(frames), count, replace=False))]
