"""What a run on shards holds in memory: a bounded number of frames of each part, and one block.

Scale, statistics, validation and evaluation come from the bounded parts; the steps of training draw
on all frames of the training part, a block of them at a time.
"""

from collections.abc import Callable

from twoforone.datasets import blocks, dataset, shards


def divide(
  config, opened: shards.Shards, numbers: dataset.Split
) -> tuple[dataset.Split, Callable]:
  """At most `data.bound` frames of each part, and the `make_feed` of `stages.get_model`.

  Args:
    opened: all frames.
    numbers: of the frames of each part.

  Raises:
    ValueError: for a block that would change within a chunk of training.
  """
  settings = config.data
  if settings.block_steps % config.train.chunk:
    raise ValueError(f'data.block_steps: found {settings.block_steps}, expected a multiple of '
                     f'train.chunk = {config.train.chunk}')

  def make_feed(prepare):
    return blocks.make_feed(opened, numbers.train.x, prepare, size=settings.block,
                            every=settings.block_steps, seed=config.seed)

  return dataset.Split(*(take_some(opened, part, settings.bound, config.seed)
                         for part in numbers)), make_feed


def take_some(
  opened: shards.Shards, numbers: dataset.Dataset, bound: int, seed: int
) -> dataset.Dataset:
  """The frames of the given numbers in order of time, at most `bound` of them drawn at random."""
  chosen = dataset.subset(numbers, min(len(numbers.x), bound), seed)
  return shards.take(opened, chosen.x)._replace(run=chosen.run, weight=None)
