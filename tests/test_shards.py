"""Shards: what was written is read back, blocks depend on seed and step alone, damage is named."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from twoforone import train
from twoforone.datasets import blocks, dataset, shards
from twoforone.datasets.dataset import Dataset
from twoforone.system import make_chain

SYSTEM = make_chain('four', ('A', 'B', 'C', 'D'), (12.0, 14.0, 12.0, 13.0), 310.0)


def make_data(frames=50, *, forces=True, weight=False):
  random = np.random.default_rng(0)
  x = random.normal(size=(frames, 4, 3)).astype(np.float32)
  x -= x.mean(axis=1, keepdims=True)
  run = np.repeat([0, 1, 2], [frames // 2, frames // 5, frames - frames // 2 - frames // 5])
  return Dataset(x, 3 * x if forces else None, run, 2.0, SYSTEM,
                 random.uniform(size=frames) if weight else None)


def pieces(data, sizes):
  start = np.cumsum([0, *sizes])
  for a, b in itertools.pairwise(start):
    yield data._replace(**{name: value[a:b] for name, value in data._asdict().items()
                           if name in ('x', 'forces', 'run', 'weight') and value is not None})


@pytest.mark.parametrize('options', [{}, {'forces': False}, {'weight': True}])
@pytest.mark.parametrize('sizes', [None, (1, 30, 0, 12, 7)])
def test_round_trip(tmp_path, options, sizes):
  data = make_data(**options)
  shards.write_shards(tmp_path / 'new', pieces(data, sizes) if sizes else data, shard_size=16)
  found = shards.open_shards(tmp_path / 'new')
  np.testing.assert_array_equal(found.start, [0, 16, 32, 48, 50])
  everything = shards.take(found, np.arange(50))
  for name in ('x', 'forces', 'weight', 'run'):
    np.testing.assert_array_equal(getattr(everything, name), getattr(data, name))
  for name, value in SYSTEM._asdict().items():
    np.testing.assert_array_equal(getattr(found.system, name), value)
  assert found.interval == 2.0
  assert found.scale == pytest.approx(dataset.data_scale(data.x), rel=1e-6)
  assert all(isinstance(array, np.memmap) for array in found.files['x'])
  shards.check_shards(tmp_path / 'new')


@pytest.fixture
def opened(tmp_path):
  shards.write_shards(tmp_path, make_data(), shard_size=16)
  return shards.open_shards(tmp_path)


def test_frames_are_split_by_number_and_taken_in_the_order_asked_for(opened):
  split = dataset.split_fold(shards.number_frames(opened), 1, validation_fraction=0.2)
  expected = dataset.split_fold(make_data(), 1, validation_fraction=0.2)
  for found, part in zip(split, expected, strict=True):
    np.testing.assert_array_equal(shards.take(opened, found.x).x, part.x)
  order = np.array([49, 0, 17, 17])
  np.testing.assert_array_equal(shards.take(opened, order).x, make_data().x[order])
  with pytest.raises(ValueError, match='frames: found numbers 0 to 50, expected 0 to 49'):
    shards.take(opened, np.array([0, 50]))


def test_blocks_draw_every_frame_alike(opened):
  allowed = np.arange(5, 45)
  drawn = [blocks.draw_block(opened, allowed, size=200, seed=1, index=k) for k in range(50)]
  numbers = {frame.tobytes(): k for k, frame in enumerate(make_data().x)}
  count = np.bincount([numbers[frame.tobytes()] for block in drawn for frame in block.x],
                      minlength=50)
  assert count[:5].sum() == count[45:].sum() == 0
  # 10,000 draws over 40 frames: binomial, largest of 40 within 5 standard errors
  assert np.abs(count[allowed] - 250).max() < 5 * np.sqrt(250)


@pytest.mark.parametrize('size, length, lengths', [
  (50, 3, [25, 10, 15]),  # everything
  (20, 5, [5] * 4),  # two of the first run, one of each other
  (20, 100, [25]),  # no longer than a run
  (6, 3, [3] * 2)])  # fewer than there are runs
def test_stretches_are_frames_in_a_row_of_one_run(opened, size, length, lengths):
  found, data = blocks.read_stretches(opened, size=size, length=length), make_data()
  numbers = {frame.tobytes(): k for k, frame in enumerate(data.x)}
  assert np.bincount(found.run).tolist() == lengths and found.interval == 2.0
  for run in np.unique(found.run):
    frames = np.array([numbers[frame.tobytes()] for frame in found.x[found.run == run]])
    assert (np.diff(frames) == 1).all() and len(set(data.run[frames])) == 1


def test_stretches_need_a_size(opened):
  with pytest.raises(ValueError, match='size: found 0, length: found 3, expected positive'):
    blocks.read_stretches(opened, size=0, length=3)


def test_feed_depends_on_seed_and_step_alone(opened):
  calls = []

  def prepare(block):
    calls.append(1)
    return block.x

  def make(seed):
    return blocks.make_feed(opened, np.arange(50), prepare, size=30, every=10, seed=seed)

  feed = make(0)
  seen = [feed(step) for step in range(0, 40, 5)]
  assert len(calls) == 4 and all(block.shape == (30, 4, 3) for block in seen)
  assert seen[0] is seen[1] and not np.array_equal(seen[1], seen[2])
  np.testing.assert_array_equal(make(0)(25), seen[5])
  assert not np.array_equal(make(1)(25), seen[5])
  with pytest.raises(ValueError, match='feed: found 0 frames, size 30'):
    blocks.make_feed(opened, np.arange(0), prepare, size=30, every=10, seed=0)


def test_training_that_stops_and_goes_on_sees_the_same_blocks(opened):
  def loss(params, key, x):
    return jnp.sum((x - params) ** 2) + 0 * jax.random.normal(key)

  step = train.make_train_step(loss, optax.sgd(0.1), ema_decay=lambda step: 0.9)
  chunk = train.make_train_chunk(step, batch_size=4, num_steps=5)

  def run(state, num_steps):
    feed = blocks.make_feed(opened, np.arange(50), lambda block: jnp.asarray(block.x), size=20,
                            every=10, seed=3)
    return train.fit(lambda state, key, _: chunk(state, key, feed(int(state.step))), state,
                     jax.random.key(0), None, num_steps=num_steps, progress=lambda *_: None)

  def start():
    return train.init_train_state(jnp.zeros((4, 3)), optax.sgd(0.1))

  whole, halves = run(start(), 30), run(run(start(), 15), 30)
  np.testing.assert_array_equal(whole.params, halves.params)
  assert chunk._cache_size() == 1


# --- What is wrong --------------------------------------------------------------------------------


def test_pieces_that_do_not_belong_together(tmp_path):
  data = make_data()
  for other, name in ((data._replace(interval=1.0), 'interval'),
                      (make_data(forces=False), 'fields'),
                      (data._replace(system=SYSTEM._replace(temperature=1.0)), 'temperature')):
    with pytest.raises(ValueError, match=f'data: {name}: found'):
      shards.write_shards(tmp_path, [data, other])
  with pytest.raises(ValueError, match='data: found no frames'):
    shards.write_shards(tmp_path, [])
  with pytest.raises(ValueError, match='shard_size: found 0'):
    shards.write_shards(tmp_path, data, shard_size=0)
  # What was left behind has no index, so it is not taken for data.
  with pytest.raises(ValueError, match=r'index.json: no such file, the shards are unfinished'):
    shards.open_shards(tmp_path)
  shards.write_shards(tmp_path, data)
  with pytest.raises(ValueError, match='found shards, expected an empty or new folder'):
    shards.write_shards(tmp_path, data)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
  def full(*args):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(np, 'save', full)
  with pytest.raises(ValueError, match=r'full: cannot write to it: .*No space left'):
    shards.write_shards(tmp_path / 'full', make_data())


def test_damage_is_named(tmp_path, opened):
  path = tmp_path / 'x_00001.npy'
  content = path.read_bytes()
  path.write_bytes(content[:200] + b'\xff' + content[201:])
  shards.open_shards(tmp_path)
  with pytest.raises(ValueError, match=r'x_00001.npy: found sha256 .* expected'):
    shards.check_shards(tmp_path)
  path.write_bytes(content[:-100])
  with pytest.raises(ValueError, match=r'x_00001.npy: cannot be read, it is absent or truncated'):
    shards.open_shards(tmp_path)
  np.save(path, np.zeros((16, 5, 3)))
  with pytest.raises(ValueError, match=r'x_00001.npy: found shape \(16, 5, 3\), expected \(16, 4'):
    shards.open_shards(tmp_path)
  index = json.loads((tmp_path / 'index.json').read_text())
  del index['system']['mass']
  (tmp_path / 'index.json').write_text(json.dumps(index))
  with pytest.raises(ValueError, match=r"index.json: a field is missing or wrong .*'mass'"):
    shards.open_shards(tmp_path)
  (tmp_path / 'index.json').write_text('{')
  with pytest.raises(ValueError, match=r'index.json: cannot be read as JSON'):
    shards.open_shards(tmp_path)
