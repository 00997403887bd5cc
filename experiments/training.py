"""Trains a model, with checkpoints, metrics and exact restart.

Leaves in `folder`: metrics.csv, tensorboard/, last/ and best/ (by validation loss) with their card.
A validation is a milestone too: whatever `milestone(params, key)` measures is logged with it. Of
several processes each does its part of the batches, all of them validate, the first writes.
"""

import csv
import functools
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from tensorboardX import SummaryWriter
from tqdm import tqdm

from experiments import models, objectives
from twoforone import checkpoint, optimizers, sharding, train
from twoforone.trajectory import write_atomically

OPTIMIZERS = {
  'adamw': optimizers.adamw, 'muon': optimizers.muon,
  'adamw_exponential': functools.partial(optimizers.adamw, schedule=optimizers.exponential)}
EMAS = {'warmup': optimizers.warmup_ema, 'sparse': optimizers.sparse_ema}


def train_model(
  config, model: models.Model, phases: list[objectives.Phase], feed: Callable[[int], Any],
  validation, folder: pathlib.Path, card: dict, milestone: Callable[..., dict[str, float]],
  start=None
):
  """Trains on what `feed` gives; returns the averaged parameters of the best validation.

  Of those in the last phase: before it, not all that is asked has been learned. A folder with a
  checkpoint is taken up where it stopped.

  Args:
    feed: step -> the examples (arrays [F, ...], from `place`) to draw its batches from.
    validation: examples.
    start: the energy's first parameters; None draws them.

  Raises:
    TrainingDivergedError: when the loss is not finite; the last good state is saved first.
  """
  settings, keep = config.train, config.train.keep or None
  key_init, key_fit, key_validation = jax.random.split(jax.random.key(config.seed), 3)
  optimizer = make_optimizer(settings)
  chunk = make_chunk(settings, phases, optimizer)
  validate = train.make_validation(phases[-1].loss, batch_size=settings.batch_size, num_batches=20)
  params = model.init(key_init)
  if start is not None:
    params = params | {'energy': start}
  state = train.init_train_state(params, optimizer)
  if checkpoint.latest_step(folder / 'last') is not None:
    state = checkpoint.restore(folder / 'last', state)
  log = Log(folder, settings, int(state.step), phases[-1].start)
  state, key_fit = place(settings, (state, key_fit))
  validation = jax.tree.map(jnp.asarray, validation)

  def progress(state, metrics):
    step, found = int(state.step), {'steps_per_second': log.rate()}
    if validates := step % settings.validate_every == 0 or step == settings.num_steps:
      state = sharding.gather(state)
      found['validation_loss'] = sharding.agree(
        float(validate(state.ema_params, key_validation, validation)))
      found |= milestone(state.ema_params['energy'], key_validation)
      if step > phases[-1].start and found['validation_loss'] <= log.best():
        save_best(folder / 'best', state, card)
    log.write(step, metrics, found)
    # Last: what a kill leaves undone before it is done again, the row of the log too.
    if validates or (settings.save_every and step % settings.save_every == 0):
      checkpoint.save(folder / 'last', step, sharding.gather(state), keep=keep)
    log.start = time.monotonic()
    return log.out_of_patience()

  try:
    if not log.out_of_patience():
      train.fit(lambda state, key, _: chunk(state, key, feed(int(state.step))), state, key_fit,
                None, num_steps=settings.num_steps, progress=progress)
  except train.TrainingDivergedError as error:
    checkpoint.save(folder / 'last', int(error.state.step), sharding.gather(error.state), keep=keep)
    raise
  finally:
    log.close()
  return load_params(model, folder / 'best')


def save_best(folder: pathlib.Path, state: train.TrainState, card: dict) -> None:
  """The averaged parameters of the best validation so far, and their card."""
  if sharding.is_first():
    checkpoint.write_card(folder, card)
  checkpoint.save(folder, int(state.step), state.ema_params, keep=1)


def place(settings, tree):
  """The arrays of a tree on every device among which `config.train` divides the batches."""
  mesh = sharding.make_mesh('batch', size=settings.batch_size)
  return sharding.replicate(mesh, jax.tree.map(jnp.asarray, tree))


def make_chunk(settings, phases: list[objectives.Phase], optimizer) -> Callable:
  """chunk(state, key, data) of whichever phase the state's step is in."""
  ema_decay = models.pick('train.ema', settings.ema, EMAS)(settings.ema_decay)
  place = sharding.make_split(sharding.make_mesh('batch', size=settings.batch_size))
  chunks = [
    train.make_train_chunk(
      train.make_train_step(
        phase.loss, optimizer, ema_decay=ema_decay, auxiliary=phase.auxiliary,
        num_microbatches=settings.num_microbatches),
      batch_size=settings.batch_size, num_steps=settings.chunk, place=place) for phase in phases]

  def chunk(state, key, data):
    current = sum(phase.start <= int(state.step) for phase in phases) - 1
    return chunks[current](state, key, data)

  return chunk


def make_optimizer(settings):
  """The optax transformation of `config.train`."""
  return models.pick('train.optimizer', settings.optimizer, OPTIMIZERS)(
    learning_rate=settings.learning_rate, final_learning_rate=settings.final_learning_rate,
    num_steps=settings.num_steps, weight_decay=settings.weight_decay,
    max_norm=settings.max_norm or None)


def load_params(model: models.Model, folder: pathlib.Path):
  """The energy's parameters of the newest checkpoint in `folder`."""
  like = jax.eval_shape(model.init, jax.random.key(0))
  return checkpoint.restore(folder, like)['energy']


class Log:
  """metrics.csv, TensorBoard and the progress bar of one training; only the first process's."""

  def __init__(self, folder: pathlib.Path, settings, step: int, begin: int = 0):
    folder.mkdir(parents=True, exist_ok=True)
    self.path, self.settings, self.begin = folder / 'metrics.csv', settings, begin
    # Rows beyond the checkpoint belong to steps that will be made again.
    self.rows = [row for row in read_metrics(self.path) if row['step'] <= step]
    self.writes = sharding.is_first()
    self.board = SummaryWriter(str(folder / 'tensorboard'), purge_step=step,
                               write_to_disk=self.writes)
    self.bar = tqdm(total=settings.num_steps, initial=step, unit='step', desc='train',
                    disable=not self.writes)
    self.start = time.monotonic()  # of the chunk

  def best(self) -> float:
    """The lowest validation loss after step `begin`."""
    return min(self._validations(), default=float('inf'))

  def rate(self) -> float:
    """Steps per second of the chunk that has just ended, validation and saving not counted."""
    return self.settings.chunk / (time.monotonic() - self.start)

  def out_of_patience(self) -> bool:
    """True once the last `patience` validations brought no new best."""
    losses = self._validations()
    since = len(losses) - 1 - losses.index(min(losses)) if losses else 0
    return 0 < self.settings.patience <= since

  def write(self, step: int, metrics: train.Metrics, found: dict[str, float]) -> None:
    row = {'step': step, 'loss': float(metrics.loss.mean()),
           'gradient_norm': float(metrics.gradient_norm.mean()), **found}
    self.rows.append(row)
    if self.writes:
      write_atomically(self.path, lambda file: file.write(_csv(self.rows).encode()))
    for name, value in row.items():
      if name != 'step':
        self.board.add_scalar(name, value, step)
    self.bar.update(self.settings.chunk)
    self.bar.set_postfix(loss=f'{row["loss"]:.4f}')

  def close(self) -> None:
    self.board.close()
    self.bar.close()

  def _validations(self) -> list[float]:
    return [row['validation_loss'] for row in self.rows
            if row['step'] > self.begin and row.get('validation_loss') is not None
            and not math.isnan(row['validation_loss'])]


def read_metrics(path: pathlib.Path) -> list[dict[str, float | None]]:
  """The rows of metrics.csv; empty cells are None."""
  if not path.exists():
    return []
  with open(path, newline='') as file:
    return [{name: float(cell) if cell else None for name, cell in row.items()}
            for row in csv.DictReader(file)]


def _csv(rows: list[dict]) -> str:
  names = list(dict.fromkeys(name for row in rows for name in row))
  lines = [','.join(names)]
  lines += [','.join('' if row.get(n) is None else f'{row[n]:.8g}' for n in names) for row in rows]
  return '\n'.join(lines) + '\n'
