"""Trajectories written as shards and a whole run on them, never all in memory."""

import numpy as np
import pytest

from experiments import make_shards, molecules, protein
from experiments.configs import make_shards as make_shards_config
from experiments.configs import protein as protein_config
from tests.test_protein import write_run
from twoforone.datasets import shards


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  """A PDB, and the shards of three trajectories of 200 frames."""
  folder = tmp_path_factory.mktemp('streaming')
  files = [write_run(folder / f'{k}.xtc', 200, k) for k in range(3)]
  config = make_shards_config.get_config()
  config.shard_size = 70
  config.data.update({'topology': files[0][1], 'trajectories': tuple(file for file, _ in files)})
  return config, make_shards.run(config, str(folder / 'shards'))


def make_config(written, **data):
  config = protein_config.get_config('smoke')
  native = written[0].data.topology
  config.data.update({'kind': 'shards', 'path': str(written[1]), 'native': native} | data)
  return config


def test_shards_hold_what_the_trajectories_hold(written):
  config, folder = written
  options = {**config.data, 'kind': 'trajectories', 'path': ''}
  found, expected = shards.open_shards(folder), molecules.load(make_config(written, **options)).data
  everything = shards.take(found, np.arange(600))
  np.testing.assert_array_equal(everything.x, expected.x)
  np.testing.assert_array_equal(everything.run, expected.run)
  assert found.interval == expected.interval == 2.0
  assert [len(array) for array in found.files['x']] == [70] * 8 + [40]
  with pytest.raises(ValueError, match='found shards, expected an empty or new folder'):
    make_shards.run(config, str(folder))


def test_what_is_in_memory_is_bounded_and_blocks_draw_on_all_training_frames(written):
  config = make_config(written, bound=50, block=300, block_steps=100)
  found = molecules.load(config)
  split, make_feed = molecules.divide(config, found)
  assert len(found.data.x) <= 600 and [len(part.x) for part in split] == [50, 40, 50]
  assert set(split.test.run) == {0} and set(split.train.run) == {1, 2}
  feed = make_feed(lambda block: block)
  blocks = [feed(step) for step in range(0, 2000, 100)]
  assert all(len(block.x) == 300 and 0 not in block.run for block in blocks)
  # 6000 draws from 360 frames: each is missed with a probability of exp(-16).
  assert len(np.unique(np.concatenate([block.x for block in blocks]), axis=0)) == 360
  config.data.block_steps = 150
  with pytest.raises(ValueError, match=r'block_steps: found 150, expected a multiple of train\.ch'):
    molecules.divide(config, found)


def test_weighted_shards_are_drawn_by_weight(written, tmp_path):
  data = shards.take(shards.open_shards(written[1]), np.arange(600))
  weight = np.where(np.arange(600) % 2, 1.0, 0.0)
  shards.write_shards(tmp_path, data._replace(weight=weight))
  config = make_config(written, path=str(tmp_path), resample=500)
  split, make_feed = molecules.divide(config, molecules.load(config))
  odd = {frame.tobytes() for frame in data.x[1::2]}
  for part in (*split, make_feed(lambda block: block)(0)):
    assert {frame.tobytes() for frame in part.x} <= odd


@pytest.mark.slow
def test_shards_to_a_report(written, tmp_path):
  """A block as large as the data, all parts of which are in memory once more."""
  config = make_config(written, block=600, block_steps=100)
  # Of 20 replicas: pieces, the last of them smaller; and a time step from the whole force.
  config.simulate.update({'at_once': 8, 'dt': 0.0})
  rows = protein.run(config.copy_and_resolve_references(), str(tmp_path))
  assert protein.run(config, str(tmp_path)) == rows  # that step is kept
  values = {(row.sample, row.metric): row for row in rows}
  assert (tmp_path / 'report.md').exists()
  assert values['held-out runs', 'bond width, mean ratio to held out'].value == pytest.approx(1)
  assert np.isfinite(values['i.i.d.', 'pair-distance JS to the training frames, offset 3'].value)
