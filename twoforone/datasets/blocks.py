"""Blocks of frames for training on shards: one in memory at a time, swapped every so many steps.

Each block is drawn from all files, so it looks like the whole data and not like a piece of time;
stretches of time are for what needs pairs of frames a lag apart.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int

from twoforone.datasets.dataset import Dataset
from twoforone.datasets.shards import Shards, take


def draw_block(
  shards: Shards, frames: Int[np.ndarray, ' frames'], *, size: int, seed: int, index: int
) -> Dataset:
  """`size` of the given frames, drawn with replacement; a function of seed and index alone."""
  draw = np.random.default_rng([seed, index]).integers(len(frames), size=size)
  return take(shards, np.sort(frames[draw]))  # sorted, so that each file is read once, forwards


def read_stretches(shards: Shards, *, size: int, length: int) -> Dataset:
  """About `size` frames as stretches of `length` in a row, evenly from all runs; all if so few.

  Each stretch is a run of its own, so that pairs a lag apart never cross a seam.

  Raises:
    ValueError: when size or length is not positive.
  """
  if size < 1 or length < 1:
    raise ValueError(f'size: found {size}, length: found {length}, expected positive numbers')
  total = int(shards.start[-1])
  if total <= size:
    return take(shards, np.arange(total))._replace(interval=shards.interval)
  edges = np.flatnonzero(np.diff(shards.run, prepend=-1, append=-1))
  stretches = []
  for start, stop in itertools.pairwise(edges):
    share = min(stop - start, max(length, size * (stop - start) // total))
    first = np.linspace(start, stop - min(length, share), max(1, share // length)).astype(int)
    stretches += [np.arange(k, min(k + length, stop)) for k in first]
  stretches = stretches[::-(-sum(map(len, stretches)) // size)]  # where runs are short and many
  number = np.repeat(np.arange(len(stretches)), [len(frames) for frames in stretches])
  return take(shards, np.concatenate(stretches))._replace(run=number, interval=shards.interval)


def make_feed(
  shards: Shards, frames: Int[np.ndarray, ' frames'], prepare: Callable[[Dataset], Any], *,
  size: int, every: int, seed: int
) -> Callable[[int], Any]:
  """feed(step) -> prepare(block): a new block every `every` steps, all of one shape.

  It depends on nothing but the step, so a restart sees what an uninterrupted run sees. In training,
  `lambda state, key, _: chunk(state, key, feed(int(state.step)))` takes the place of the chunk.

  Args:
    shards: from `open_shards`.
    frames: numbers of those to draw from, e.g. of the training part.
    prepare: from a block to what the loss takes, e.g. whitened positions on the device.
    size: frames in a block; two are in memory while one replaces the other.
    every: steps that use one block, a multiple of those of a chunk.
    seed: of the draws.

  Raises:
    ValueError: when there are no frames, or size or every is not positive.
  """
  if len(frames) == 0 or size < 1 or every < 1:
    raise ValueError(f'feed: found {len(frames)} frames, size {size}, every {every}, expected '
                     'positive numbers')
  held: dict[int, Any] = {}

  def feed(step: int):
    index = step // every
    if index not in held:
      held.clear()
      held[index] = prepare(draw_block(shards, frames, size=size, seed=seed, index=index))
    return held[index]

  return feed
