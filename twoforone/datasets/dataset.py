"""Frames of one system from independent runs, split by run and in contiguous pieces of time.

Neighbouring frames of a trajectory are nearly copies of each other: a test set is a run that
training never saw, and validation is the end of each other run.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from twoforone.system import System

LONGEST_BOND = 1.0  # nm; a C-alpha trace has 0.38
SHORTEST_BOND = 0.05  # nm; a C-H bond has 0.11


class Dataset(NamedTuple):
  """Frames of one system.

  Attributes:
    x: centred positions [frames, beads, 3] in nm, float32.
    forces: mapped forces, same shape, in kJ/mol/nm, or None.
    run: which independent run each frame is of, [frames] int.
    interval: ps between the frames of a run, None when unknown or uneven.
    system: the molecule.
    weight: of each frame, [frames], where the runs were biased; see `resample`.
  """

  x: np.ndarray
  forces: np.ndarray | None
  run: np.ndarray
  interval: float | None
  system: System
  weight: np.ndarray | None = None


class Split(NamedTuple):
  """Three datasets that share no frame."""

  train: Dataset
  validation: Dataset
  test: Dataset


def make_dataset(
  x: np.ndarray,
  system: System,
  *,
  forces: np.ndarray | None = None,
  num_runs: int = 1,
  interval: float | None = None,
  labels: tuple[str, str] = ('x', 'forces'),
) -> Dataset:
  """Checks and centres the frames of `num_runs` equally long runs, one after the other.

  Args:
    x: positions [frames, beads, 3] in nm.
    system: the molecule; its bond list is used to recognise a wrong length unit.
    forces: mapped forces [frames, beads, 3] in kJ/mol/nm.
    num_runs: number of independent runs; a single long run may be cut into equal pieces.
    interval: ps between frames.
    labels: what errors call x and forces, e.g. the file and the field they come from.

  Raises:
    ValueError: for a wrong shape, kind or number of beads, values that are not finite, forces
      of another shape, bonds that suggest another unit, frames that runs do not share evenly.
  """
  num_beads = len(system.beads)
  check_frames(labels[0], x, num_beads)
  if forces is not None:
    check_frames(labels[1], forces, num_beads)
    if forces.shape != x.shape:
      raise ValueError(f'{labels[1]}: found shape {forces.shape}, expected {x.shape}, '
                       f'that of {labels[0]}')
    forces = forces.astype(np.float32)
  _check_bonds(labels[0], x, system)
  if num_runs < 1 or len(x) % num_runs:
    raise ValueError(f'{labels[0]}: found {len(x)} frames, expected a multiple of '
                     f'{num_runs} equally long runs')
  centre = x.mean(axis=1, keepdims=True, dtype=np.float64).astype(x.dtype)
  run = np.repeat(np.arange(num_runs), len(x) // num_runs)
  return Dataset((x - centre).astype(np.float32), forces, run, interval, system)


def check_frames(label: str, values: np.ndarray, num_beads: int) -> None:
  """Passes when `values` are finite floating point numbers [frames, num_beads, 3].

  Raises:
    ValueError: says what was found, how many frames are not finite and which is the first.
  """
  if not np.issubdtype(values.dtype, np.floating):
    raise ValueError(f'{label}: found {values.dtype} values, expected floating point numbers')
  if values.ndim != 3 or values.shape[2] != 3 or len(values) == 0:
    raise ValueError(f'{label}: found shape {values.shape}, expected [frames, {num_beads}, 3]')
  if values.shape[1] != num_beads:
    raise ValueError(f'{label}: found {values.shape[1]} beads, expected {num_beads}')
  bad = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
  if len(bad):
    raise ValueError(f'{label}: found {len(bad)} frames with NaN or infinite values, the first '
                     f'is frame {bad[0]}; expected finite numbers')


def split_fold(
  dataset: Dataset, fold: int | Sequence[int], *, validation_fraction: float = 0.1
) -> Split:
  """Test: the runs of `fold`. Validation: the last fraction of each other run. Train: the rest.

  Args:
    fold: one run, or several.

  Raises:
    ValueError: for a fold that is no run, or a fraction that leaves a part empty.
  """
  fold = np.atleast_1d(fold)
  _check_split(dataset, fold, validation_fraction)
  validation = np.zeros(len(dataset.x), bool)
  for run in np.setdiff1d(dataset.run, fold):
    frames = np.flatnonzero(dataset.run == run)
    size = round(validation_fraction * len(frames))
    if not 0 < size < len(frames):
      raise ValueError(f'validation_fraction: found {validation_fraction}, which is {size} of the '
                       f'{len(frames)} frames of run {run}')
    validation[frames[-size:]] = True
  return _split(dataset, fold, validation, dataset.interval)


def split_shuffled(
  dataset: Dataset, fold: int, seed: int, *, validation_fraction: float = 1 / 3
) -> Split:
  """Test: run `fold`. The frames of the other runs are shuffled, then shared out.

  The split of Arts et al. (2023) for alanine dipeptide, for parity only: it leaks. Each
  validation frame has neighbours in time among the training frames, so the validation loss
  does not see overfitting. The test run is clean.

  Raises:
    ValueError: for a fold that is no run, or a fraction that leaves a part empty.
  """
  _check_split(dataset, np.array([fold]), validation_fraction)
  frames = np.flatnonzero(dataset.run != fold)
  size = round(validation_fraction * len(frames))
  if not 0 < size < len(frames):
    raise ValueError(f'validation_fraction: found {validation_fraction}, which is {size} of '
                     f'{len(frames)} frames')
  validation = np.zeros(len(dataset.x), bool)
  validation[np.random.default_rng(seed).permutation(frames)[:size]] = True
  return _split(dataset, np.array([fold]), validation, None)


def cut_runs(dataset: Dataset, num_runs: int) -> Dataset:
  """One run as `num_runs` pieces of time, equally long to a frame, each a run of its own.

  Pieces are independent only as far as the run forgets its past within one.

  Raises:
    ValueError: for data of several runs, or a number of pieces below one or above the frames'.
  """
  runs = np.unique(dataset.run)
  if len(runs) != 1:
    raise ValueError(f'run: found {len(runs)} runs, expected one to cut')
  if not 1 <= num_runs <= len(dataset.x):
    raise ValueError(f'num_runs: found {num_runs}, expected 1 to {len(dataset.x)}, the number of '
                     'frames')
  return dataset._replace(run=np.arange(len(dataset.x)) * num_runs // len(dataset.x))


def subset(dataset: Dataset, size: int, seed: int) -> Dataset:
  """`size` frames drawn without replacement, in order of time.

  A smaller subset of the same seed is part of a larger one.

  Raises:
    ValueError: for a size below one or larger than the data.
  """
  if not 1 <= size <= len(dataset.x):
    raise ValueError(f'size: found {size}, expected 1 to {len(dataset.x)}, the number of frames')
  frames = np.random.default_rng(seed).permutation(len(dataset.x))[:size]
  return take_frames(dataset, np.sort(frames), None)


def resample(dataset: Dataset, size: int, seed: int) -> Dataset:
  """`size` frames drawn with replacement in proportion to their weights: unbiased, no time order.

  Raises:
    ValueError: for a size below one, or data without weights.
  """
  if dataset.weight is None:
    raise ValueError('weight: found none, expected a weight for each frame')
  if size < 1:
    raise ValueError(f'size: found {size}, expected at least 1')
  share = dataset.weight / dataset.weight.sum()
  frames = np.random.default_rng(seed).choice(len(share), size, p=share)
  return take_frames(dataset, np.sort(frames), None)._replace(weight=None)


def effective_size(weight: Float[np.ndarray, ' frames']) -> float:
  """(Σ w)² / Σ w²: how many equally weighted frames these are worth (Kish 1965)."""
  return float(weight.sum() ** 2 / np.square(weight).sum())


def data_scale(x: Float[np.ndarray, 'frames beads 3']) -> float:
  """Standard deviation of the centred positions over frames, beads and axes, in nm.

  It whitens the data, x / scale (Arts et al. 2023: rms radius of gyration / sqrt 3).
  """
  centred = x - x.mean(axis=1, keepdims=True)
  return float(np.sqrt(np.mean(np.square(centred), dtype=np.float64)))


def _check_bonds(label: str, x: np.ndarray, system: System) -> None:
  """Positions in another unit than nm have impossible bonds."""
  if len(system.bonds) == 0:
    return
  i, j = system.bonds.T
  length = float(np.median(np.linalg.norm(x[:, i] - x[:, j], axis=-1)))
  if length > LONGEST_BOND:
    raise ValueError(f'{label}: found a median bond of {length:.3g} nm, expected below '
                     f"{LONGEST_BOND} nm; were ångström taken for nm (length_unit='angstrom')?")
  if length < SHORTEST_BOND:
    raise ValueError(f'{label}: found a median bond of {length:.3g} nm, expected above '
                     f"{SHORTEST_BOND} nm; were nm taken for ångström (length_unit='nm')?")


def _check_split(dataset: Dataset, fold: np.ndarray, validation_fraction: float) -> None:
  runs = np.unique(dataset.run)
  if not len(fold) or not np.isin(fold, runs).all():
    raise ValueError(f'fold: found {fold.tolist()}, expected some of the runs {runs.tolist()}')
  if np.isin(runs, fold).all():
    raise ValueError(f'fold: found all runs ({fold.tolist()}), nothing is left to train on; '
                     'cut a single run by num_runs above one')
  if not 0 < validation_fraction < 1:
    raise ValueError(f'validation_fraction: found {validation_fraction}, expected a number '
                     'between 0 and 1')


def _split(
  dataset: Dataset, fold: np.ndarray, validation: np.ndarray, interval: float | None
) -> Split:
  """Test are the runs of `fold`, validation a mask over frames of the other runs."""
  test = np.isin(dataset.run, fold)
  return Split(take_frames(dataset, ~test & ~validation, interval),
               take_frames(dataset, validation, interval),
               take_frames(dataset, test, dataset.interval))


def take_frames(dataset: Dataset, frames: np.ndarray, interval: float | None) -> Dataset:
  """Those frames (indices or a mask) with all that belongs to them, so far apart in time."""
  def take(values):
    return None if values is None else values[frames]

  return dataset._replace(x=dataset.x[frames], forces=take(dataset.forces),
                          run=dataset.run[frames], interval=interval, weight=take(dataset.weight))
