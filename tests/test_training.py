"""A training stopped and taken up elsewhere, from shards or memory, on one process or on two."""

import functools
import itertools
import socket
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import milestones, objectives, stages, training
from experiments.configs import protein as protein_config
from tests.systems import CHAIN, stretched_chain
from twoforone.datasets import blocks, dataset, shards

DATA = dataset.make_dataset(np.asarray(stretched_chain(300)), CHAIN, num_runs=3)

PROCESS = """
import pathlib, sys
import jax
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize(f'localhost:{sys.argv[1]}', 2, int(sys.argv[2]))
from twoforone import sharding
sharding.wait('start')  # gloo connects within 30 s, and imports can take one process longer
from tests.test_training import train
assert jax.device_count() == 2 and jax.local_device_count() == 1
train(pathlib.Path(sys.argv[3]), 0.5, sys.argv[4])
"""


class Stop(Exception):
  """What ends a training in these tests."""


def train(folder, part, from_shards):
  """Trains up to a part of the steps; the parameters once it is whole."""
  config = protein_config.get_config('smoke')
  config.network.widths, config.loss.classification = (8,), 0.0  # quick to compile
  config.train.update({'num_steps': 40, 'chunk': 5, 'validate_every': 10, 'batch_size': 32,
                       'optimizer': 'adamw', 'learning_rate': 1e-3})
  config.train.milestone.samples, config.sample.num_steps = 20, 5
  split = dataset.split_fold(DATA, 0)
  make_feed, original = None, training.train.fit
  if from_shards:
    opened = shards.open_shards(from_shards)
    numbers = dataset.split_fold(shards.number_frames(opened), 0).train.x
    make_feed = functools.partial(
      lambda prepare, **kwargs: blocks.make_feed(opened, numbers, prepare, **kwargs),
      size=len(numbers), every=15, seed=0)

  def fit(*args, num_steps, **options):
    original(*args, num_steps=round(part * num_steps), **options)
    if part < 1:
      raise Stop

  training.train.fit = fit
  try:
    return stages.get_model(config, split, DATA.system, folder, milestones.pair_js, make_feed)[1]
  except Stop:
    return None
  finally:
    training.train.fit = original


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  """The folder of the data as shards."""
  folder = tmp_path_factory.mktemp('shards')
  shards.write_shards(folder, DATA, shard_size=70)
  return str(folder)


@pytest.fixture(scope='module')
def whole(written, tmp_path_factory):
  """A training from shards that nothing interrupted: its folder and its parameters."""
  folder = tmp_path_factory.mktemp('whole')
  return folder, train(folder, 1, written)


def columns(folder, *names):
  """These columns of metrics.csv as one array."""
  rows = training.read_metrics(folder / 'metrics.csv')
  return np.array([[row[name] or np.nan for name in names] for row in rows])


def assert_same_training(folder, params, whole):
  """The parameters and the numbers of the log are those of the training nothing interrupted."""
  jax.tree.map(np.testing.assert_array_equal, params, whole[1])
  names = 'step', 'loss', 'validation_loss', 'js iid'
  np.testing.assert_array_equal(columns(folder, *names), columns(whole[0], *names))


@pytest.mark.slow
def test_a_killed_training_from_shards_equals_one_that_never_stopped(whole, written, tmp_path):
  """Stopped at a quarter, in the middle of a block."""
  assert train(tmp_path, 0.25, written) is None
  assert_same_training(tmp_path, train(tmp_path, 1, written), whole)


@pytest.mark.slow
def test_a_kill_between_the_best_model_and_the_checkpoint_changes_nothing(
    whole, written, tmp_path, monkeypatch):
  save = training.checkpoint.save

  def save_until_killed(directory, step, *args, **options):
    if directory.name == 'last' and step == 20:
      raise Stop
    save(directory, step, *args, **options)

  with monkeypatch.context() as patch:
    patch.setattr(training.checkpoint, 'save', save_until_killed)
    assert train(tmp_path, 1, written) is None
  assert training.checkpoint.latest_step(tmp_path / 'last') == 10
  assert_same_training(tmp_path, train(tmp_path, 1, written), whole)


@pytest.mark.slow
def test_blocks_replace_the_frames_in_memory(whole, tmp_path):
  """The frames of the split alone give other losses, from the first step on."""
  train(tmp_path, 1 / 8, '')
  found, expected = columns(tmp_path, 'loss'), columns(whole[0], 'loss')
  assert (found != expected[:len(found)]).all()


@pytest.mark.slow
def test_one_process_then_two_then_one_train_as_one(whole, written, environment, tmp_path):
  """The first quarter on one device, the next on two of two processes, the rest on one."""
  train(tmp_path, 0.25, written)
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = str(free.getsockname()[1])
  processes = [subprocess.Popen(
    [sys.executable, '-c', PROCESS, port, str(k), str(tmp_path), written],
    env=environment()) for k in range(2)]
  try:
    assert [process.wait(timeout=900) for process in processes] == [0, 0]
  finally:
    for process in processes:
      process.kill()
  assert columns(tmp_path, 'step')[-1] == 20
  params = train(tmp_path, 1, written)
  # A gradient is a sum in another order, float32 rounding that Adam carries on: far below a
  # hundredth of one of its steps of 1e-3.
  names = 'loss', 'gradient_norm', 'validation_loss'
  np.testing.assert_allclose(columns(tmp_path, *names), columns(whole[0], *names), rtol=1e-4)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5),
               params, whole[1])


def test_the_rate_of_a_chunk_counts_neither_validation_nor_saving(tmp_path, monkeypatch):
  """A clock that a glance moves by a second, and a saved checkpoint by 100."""
  clock = itertools.count()
  monkeypatch.setattr(training, 'time', SimpleNamespace(monotonic=lambda: next(clock)))
  save = training.checkpoint.save

  def slow_save(*args, **options):
    save(*args, **options)
    for _ in range(100):
      next(clock)

  monkeypatch.setattr(training.checkpoint, 'save', slow_save)
  config = protein_config.get_config('smoke')
  config.train.update({'num_steps': 12, 'chunk': 2, 'validate_every': 4, 'batch_size': 4,
                       'save_every': 0, 'optimizer': 'adamw'})
  model = SimpleNamespace(init=lambda key: {'energy': jnp.ones(1), 'offset': jnp.zeros(1)})
  phase = objectives.Phase(
    0, lambda params, key, x: jnp.sum((x - params['energy'])**2), None)
  card = dict.fromkeys(training.checkpoint.CARD_FIELDS)
  x = jnp.zeros((8, 1))
  training.train_model(
    config, model, [phase], lambda step: x, x, tmp_path, card, lambda params, key: {})
  np.testing.assert_array_equal(columns(tmp_path, 'steps_per_second'), 2.0)
