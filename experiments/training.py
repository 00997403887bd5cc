"""Trains a model on frames in memory, with checkpoints, metrics and exact restart.

Leaves in `folder`: metrics.csv, tensorboard/, last/ and best/ (by validation loss) with their card.
"""

import csv
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from experiments import models
from twoforone import checkpoint, train
from twoforone.trajectory import write_atomically

OPTIMIZERS = {'adamw': train.adamw, 'muon': train.muon}
FIELDS = ('step', 'loss', 'gradient_norm', 'validation_loss', 'steps_per_second')
EMAS = {'warmup': train.warmup_ema, 'sparse': train.sparse_ema}


def train_model(
  config, model: models.Model, x: np.ndarray, x_validation: np.ndarray, folder: pathlib.Path,
  card: dict
):
  """Trains on whitened frames x [F, n, 3]; returns the averaged parameters of the best validation.

  A folder with a checkpoint is taken up where it stopped.

  Raises:
    TrainingDivergedError: when the loss is not finite; the last good state is saved first.
  """
  settings = config.train
  key_init, key_fit, key_validation = jax.random.split(jax.random.key(config.seed), 3)
  optimizer = models.pick('train.optimizer', settings.optimizer, OPTIMIZERS)(
    learning_rate=settings.learning_rate, final_learning_rate=settings.final_learning_rate,
    num_steps=settings.num_steps, weight_decay=settings.weight_decay,
    max_norm=settings.max_norm or None)
  loss = models.make_loss(config, model)
  ema_decay = models.pick('train.ema', settings.ema, EMAS)(settings.ema_decay)
  chunk = train.make_train_chunk(
    train.make_train_step(loss, optimizer, ema_decay=ema_decay),
    batch_size=settings.batch_size, num_steps=settings.chunk)
  validate = train.make_validation(loss, batch_size=settings.batch_size, num_batches=20)
  state = train.init_train_state(model.init(key_init), optimizer)
  if checkpoint.latest_step(folder / 'last') is not None:
    state = checkpoint.restore(folder / 'last', state)
  log = Log(folder, settings, int(state.step))
  frames_validation = jnp.asarray(x_validation)

  def progress(state, metrics):
    step, validation_loss = int(state.step), None
    if step % settings.validate_every == 0 or step == settings.num_steps:
      validation_loss = float(validate(state.ema_params, key_validation, frames_validation))
      checkpoint.save(folder / 'last', step, state, keep=1)
      if validation_loss <= log.best():
        checkpoint.write_card(folder / 'best', card)
        checkpoint.save(folder / 'best', step, state.ema_params, keep=1)
    log.write(step, metrics, validation_loss)

  try:
    train.fit(chunk, state, key_fit, jnp.asarray(x), num_steps=settings.num_steps,
              progress=progress)
  except train.TrainingDivergedError as error:
    checkpoint.save(folder / 'last', int(error.state.step), error.state, keep=1)
    raise
  finally:
    log.close()
  return load_params(model, folder / 'best')


def load_params(model: models.Model, folder: pathlib.Path):
  """The energy's parameters of the newest checkpoint in `folder`."""
  like = jax.eval_shape(model.init, jax.random.key(0))
  return checkpoint.restore(folder, like)['energy']


class Log:
  """metrics.csv, TensorBoard and the progress bar of one training."""

  def __init__(self, folder: pathlib.Path, settings, step: int):
    folder.mkdir(parents=True, exist_ok=True)
    self.path, self.settings = folder / 'metrics.csv', settings
    # Rows beyond the checkpoint belong to steps that will be made again.
    self.rows = [row for row in read_metrics(self.path) if row['step'] <= step]
    self.board = SummaryWriter(str(folder / 'tensorboard'), purge_step=step)
    self.bar = tqdm(total=settings.num_steps, initial=step, unit='step', desc='train')
    self.start = time.monotonic()

  def best(self) -> float:
    """The lowest validation loss so far."""
    return min((row['validation_loss'] for row in self.rows if row['validation_loss'] is not None),
               default=float('inf'))

  def write(self, step: int, metrics: train.Metrics, validation_loss: float | None) -> None:
    rate = self.settings.chunk / (time.monotonic() - self.start)
    row = dict(zip(FIELDS, (step, float(metrics.loss.mean()), float(metrics.gradient_norm.mean()),
                            validation_loss, rate), strict=True))
    self.rows.append(row)
    write_atomically(self.path, lambda file: file.write(_csv(self.rows).encode()))
    for name, value in row.items():
      if name != 'step' and value is not None:
        self.board.add_scalar(name, value, step)
    self.bar.update(self.settings.chunk)
    self.bar.set_postfix(loss=f'{row["loss"]:.4f}')
    self.start = time.monotonic()

  def close(self) -> None:
    self.board.close()
    self.bar.close()


def read_metrics(path: pathlib.Path) -> list[dict[str, float | None]]:
  """The rows of metrics.csv; empty cells are None."""
  if not path.exists():
    return []
  with open(path, newline='') as file:
    return [{name: float(cell) if cell else None for name, cell in row.items()}
            for row in csv.DictReader(file)]


def _csv(rows: list[dict]) -> str:
  lines = [','.join(FIELDS)]
  lines += [','.join('' if row[f] is None else f'{row[f]:.8g}' for f in FIELDS) for row in rows]
  return '\n'.join(lines) + '\n'
