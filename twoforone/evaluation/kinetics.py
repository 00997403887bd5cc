"""Slow motion from features or labels: Markov state models, TICA and clustering (deeptime).

Trajectories lie along axis 0 (time), one per column; several pieces come as a list. Transitions are
counted at a lag in frames within a trajectory, never across the seam between two. Timescales are
-lag / ln |eigenvalue|; they and mean first-passage times are in frames: multiply by the interval.
Errors and intervals come from drawing whole trajectories with replacement.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from deeptime.clustering import KMeans
from deeptime.decomposition import TICA
from deeptime.markov import compute_connected_sets, pcca
from deeptime.markov.msm import MarkovStateModel, MaximumLikelihoodMSM
from jaxtyping import Float, Int, Num

from twoforone.evaluation import structure

Labels = Int[np.ndarray, '_ ...']
Trajectories = Labels | Sequence[Labels]
Counts = Num[np.ndarray, 'states states']
Transition = Float[np.ndarray, 'states states']


def count_transitions(
  labels: Trajectories, lag: int, num_states: int
) -> Float[np.ndarray, 'trajectories {num_states} {num_states}']:
  """How often each trajectory goes from state a to b in `lag` frames, every start counted.

  Args:
    labels: states [F] or [F, R], each replica its own trajectory; or a list of such arrays, e.g.
      `split_runs(labels, run)`. A negative label (no state) is not counted.
    lag: in frames.
    num_states: labels are below it.

  Raises:
    ValueError: for a lag that no pair of frames spans, or a label that is no state.
  """
  pieces = [labels] if isinstance(labels, np.ndarray) else list(labels)
  columns = [column for piece in pieces for column in piece.reshape(len(piece), -1).T]
  shortest = min((len(column) for column in columns), default=0)
  if not 1 <= lag < shortest:
    raise ValueError(f'lag: found {lag} frames, expected at least 1 and fewer than the '
                     f'{shortest} frames of the shortest trajectory')
  highest = max(int(column.max()) for column in columns)
  if highest >= num_states:
    raise ValueError(f'labels: found state {highest}, expected states below {num_states}')
  return np.stack([_count(column, lag, num_states) for column in columns])


def _count(column, lag, num_states):
  start, end = column[:-lag].astype(np.int64), column[lag:]
  known = (start >= 0) & (end >= 0)
  cells = np.bincount((start * num_states + end)[known], minlength=num_states**2)
  return cells.reshape(num_states, num_states).astype(np.float64)


def split_runs(
  values: Num[np.ndarray, '_ ...'], run: Int[np.ndarray, ' _'], *, blocks: int = 1
) -> list[np.ndarray]:
  """The frames of each run as a piece of its own, cut further into `blocks` contiguous ones.

  Blocks give a bootstrap something to draw from where runs are few. They should be long against the
  slowest timescale; each cut loses `lag` transitions.

  Raises:
    ValueError: when the lengths differ or a block would be empty.
  """
  if len(values) != len(run):
    raise ValueError(f'run: found {len(run)} frames, expected {len(values)}, as in values')
  seams = np.flatnonzero(np.diff(run)) + 1
  runs = np.split(values, seams)
  if blocks < 1 or blocks > min(len(piece) for piece in runs):
    raise ValueError(f'blocks: found {blocks}, expected at least 1 and no more than the frames '
                     'of the shortest run')
  return [block for piece in runs for block in np.array_split(piece, blocks)]


def transition_matrix(counts: Counts) -> Transition:
  """The reversible transition matrix of greatest likelihood (Trendelkamp-Schroer et al. 2015).

  Raises:
    ValueError: when states are not connected both ways, so that no stationary distribution exists.
  """
  return _fit(counts).transition_matrix


def stationary(transition: Transition) -> Float[np.ndarray, ' states']:
  """The distribution that the transition matrix keeps."""
  return MarkovStateModel(transition).stationary_distribution


def timescales(counts: Counts, lag: int) -> Float[np.ndarray, ' processes']:
  """-lag / ln |eigenvalue| of each process, slowest first, in frames; one fewer than states.

  Raises:
    ValueError: when states are not connected both ways.
  """
  values = np.linalg.eigvals(transition_matrix(counts))
  values = np.sort(np.abs(values))[::-1][1:]
  with np.errstate(divide='ignore'):
    return -lag / np.log(np.clip(values, 0.0, 1 - 1e-15))


def first_passage_time(
  transition: Transition, lag: int, start: Sequence[int], end: Sequence[int]
) -> float:
  """Mean time from the states `start` (weighted as in equilibrium) to reach `end`, in frames."""
  return float(lag * MarkovStateModel(transition).mfpt(list(start), list(end)))


def coarse_states(transition: Transition, num_sets: int) -> Int[np.ndarray, ' states']:
  """The metastable set of each state, by PCCA+ (Röblitz and Weber 2013).

  Raises:
    ValueError: for fewer than two sets or more sets than states.
  """
  if not 2 <= num_sets <= len(transition):
    raise ValueError(f'num_sets: found {num_sets}, expected 2 to {len(transition)}')
  return np.asarray(pcca(transition, num_sets).assignments)


class Bootstrap(NamedTuple):
  """A statistic of all trajectories and its spread over draws of them.

  Attributes:
    value: the statistic of everything.
    error: standard deviation over the draws.
    low: their 2.5th percentile.
    high: their 97.5th percentile. Where a state is hardly ever entered or left draws are skewed,
      and low to high tells what ± error cannot.
    num_failed: draws in which the statistic did not exist (states not connected).
  """

  value: np.ndarray
  error: np.ndarray
  low: np.ndarray
  high: np.ndarray
  num_failed: int


def bootstrap(
  statistic: Callable[[np.ndarray], np.ndarray | float],
  counts: Float[np.ndarray, 'trajectories states states'], *, seed: int, repeats: int = 100,
) -> Bootstrap:
  """statistic(Σ counts) with errors from drawing whole trajectories with replacement.

  Args:
    statistic: of summed counts, e.g. `lambda counts: timescales(counts, lag)`.
    counts: one matrix per trajectory, from `count_transitions`.
    seed: of the draws.
    repeats: number of draws.

  Raises:
    ValueError: for fewer than two trajectories, or when over half of the draws have no statistic.
  """
  if len(counts) < 2:
    raise ValueError(f'counts: found {len(counts)} trajectories, expected at least 2; cut long '
                     'ones with `split_runs`')
  rng = np.random.default_rng(seed)
  drawn = []
  for _ in range(repeats):
    try:
      drawn.append(statistic(counts[rng.integers(len(counts), size=len(counts))].sum(axis=0)))
    except ValueError:
      continue
  if 2 * len(drawn) < repeats:
    raise ValueError(f'counts: found states not connected in {repeats - len(drawn)} of {repeats} '
                     'draws, expected fewer than half; use longer trajectories or fewer states')
  value = np.asarray(statistic(counts.sum(axis=0)))
  low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
  return Bootstrap(value, np.std(drawn, axis=0, ddof=1), low, high, repeats - len(drawn))


class Clusters(NamedTuple):
  """k-means of features: centres [k, d] and the sum of squared distances to them."""

  centres: np.ndarray
  inertia: float


def fit_clusters(
  features: Float[np.ndarray, 'frames d'], num_clusters: int, *, seed: int, restarts: int = 3
) -> Clusters:
  """The best of `restarts` k-means runs from k-means++ starts (Arthur and Vassilvitskii 2007)."""
  data = np.ascontiguousarray(features, np.float64)
  fits = [KMeans(num_clusters, fixed_seed=seed + k, n_jobs=1).fit_fetch(data)
          for k in range(restarts)]
  best = min(fits, key=lambda fit: fit.inertia)
  return Clusters(np.asarray(best.cluster_centers), float(best.inertia))


def assign(
  features: Float[np.ndarray, '*frames d'], centres: Float[np.ndarray, 'clusters d']
) -> Int[np.ndarray, '*frames']:
  """The nearest centre of each frame."""
  square = [np.sum((features - centre) ** 2, axis=-1) for centre in centres]
  return np.argmin(square, axis=0)


def elbow(sizes: Num[np.ndarray, ' sizes'], inertia: Float[np.ndarray, ' sizes']) -> int:
  """Index of the elbow of ln inertia: where its slope over the sizes rises most.

  Args:
    sizes: numbers of clusters, rising, not necessarily by equal steps.
    inertia: of the fit of each size.

  Raises:
    ValueError: for fewer than three sizes, sizes that do not rise, or inertia that is not positive.
  """
  if len(inertia) < 3 or not (inertia > 0).all():
    raise ValueError(f'inertia: found {inertia}, expected at least three positive numbers')
  if not (np.diff(sizes) > 0).all():
    raise ValueError(f'sizes: found {sizes}, expected numbers that rise')
  slopes = np.diff(np.log(inertia)) / np.diff(sizes)
  return int(np.argmax(np.diff(slopes))) + 1


def fit_tica(
  pieces: Sequence[Num[np.ndarray, '_ *shape']], lag: int, dim: int, *,
  features: Callable[[np.ndarray], np.ndarray] = lambda piece: piece, chunk: int = structure.CHUNK
) -> Callable[[np.ndarray], np.ndarray]:
  """tica(frames) -> [..., dim]: the slowest linear projections of features, kinetic-map scaled.

  Time-lagged pairs stay within a trajectory (Pérez-Hernández et al. 2013). Features of `chunk`
  frames are held at a time.

  Args:
    pieces: trajectories along axis 0.
    lag: in frames.
    features: of frames [F, ...], [F, d], for example `structure.chain_features`; itself by default.

  Raises:
    ValueError: for a lag that no pair of frames spans.
  """
  shortest = min(len(piece) for piece in pieces)
  if not 1 <= lag < shortest:
    raise ValueError(f'lag: found {lag} frames, expected at least 1 and fewer than the '
                     f'{shortest} frames of the shortest trajectory')
  estimator = TICA(lagtime=lag, dim=dim, scaling='kinetic_map')
  for piece in pieces:
    for start in range(0, len(piece) - lag, chunk):
      part = features(piece[start:start + chunk + lag]).astype(np.float64)
      estimator.partial_fit((part[:-lag], part[lag:]))
  model = estimator.fetch_model()
  frame_axes = pieces[0].ndim - 1

  def tica(frames):
    flat = frames.reshape(-1, *frames.shape[frames.ndim - frame_axes:])
    parts = [model.transform(features(flat[start:start + chunk]).astype(np.float64))
             for start in range(0, len(flat), chunk)]
    return np.concatenate(parts).reshape(*frames.shape[:frames.ndim - frame_axes], -1)

  return tica


def periodic_features(angles: Float[np.ndarray, '*frames d']) -> Float[np.ndarray, '*frames d2']:
  """(sin, cos) of each angle: no jump at ±pi."""
  return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)


def basin_labels(phi_psi: Float[np.ndarray, '*frames 2']) -> Int[np.ndarray, '*frames']:
  """0, 1 or 2 for the basins of `structure.basins`, in its order; -1 for angles not finite."""
  inside = np.stack(list(structure.basins(phi_psi).values()))
  return np.where(inside.any(axis=0), inside.argmax(axis=0), -1)


def _fit(counts):
  if not np.isfinite(counts).all() or len(compute_connected_sets(counts)) > 1:
    raise ValueError('counts: found states that are not connected both ways, expected every state '
                     'to be entered and left')
  return MaximumLikelihoodMSM(reversible=True).fit_fetch(counts)
