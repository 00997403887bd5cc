"""Trains any loss on examples in memory and keeps the parameters of the best validation.

The short trainings of `experiments.compare`; a folder makes a long one go on where it stopped.
"""

import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.training import make_optimizer
from twoforone import checkpoint, optimizers, train
from twoforone.types import LossFn, Params, PRNGKey


class Fitted(NamedTuple):
  """What a training leaves.

  Attributes:
    params: averaged over the last steps, of the best validation; the first are tried too.
    seconds: with compilation and validations, those before a restart included.
    validation: the lowest mean loss over validation examples.
    step: at which that was.
  """

  params: Params
  seconds: float
  validation: float
  step: int


class Best(NamedTuple):
  """The averaged parameters of the lowest validation loss so far, and at which step that was.

  `seconds` are those of the training so far.
  """

  params: Params
  validation: Any
  step: Any
  seconds: Any


def fit(
  loss: LossFn, params: Params, examples, validation, settings, key: PRNGKey, *,
  constrain: Callable = lambda optimizer: optimizer, folder: pathlib.Path | None = None,
  take: Callable = train.take_rows
) -> Fitted:
  """Minimises the mean loss over examples (arrays [F, ...]) as `settings` say.

  Args:
    loss: of one example.
    params: where to start.
    examples, validation: pytrees of arrays with a leading axis of frames.
    settings: num_steps, validate_every, batch_size, optimizer, learning_rate,
      final_learning_rate, weight_decay, max_norm, ema_decay.
    constrain: of the optimizer, e.g. `optimizers.with_projection`.
    folder: of the checkpoints; None keeps nothing.
    take: makes examples of rows, see `train.make_train_chunk`.

  Raises:
    ValueError: for a number of steps that no validation ends at.
  """
  if settings.num_steps % settings.validate_every:
    raise ValueError(f'num_steps: found {settings.num_steps}, expected a multiple of '
                     f'validate_every = {settings.validate_every}')
  start = time.monotonic()
  key_fit, key_validation = jax.random.split(key)
  optimizer = constrain(make_optimizer(settings))
  step = train.make_train_step(loss, optimizer, ema_decay=optimizers.warmup_ema(settings.ema_decay))
  chunk = train.make_train_chunk(
    step, batch_size=settings.batch_size, num_steps=settings.validate_every, take=take)
  validate = train.make_validation(
    loss, batch_size=settings.batch_size, num_batches=20, take=take)
  examples, validation = jax.tree.map(jnp.asarray, (examples, validation))
  best = Best(params, jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros(()))
  # A chunk donates its state, which must share nothing with what is kept.
  state = train.init_train_state(jax.tree.map(jnp.copy, params), optimizer)
  if folder is not None and checkpoint.latest_step(folder) is not None:
    state, best = checkpoint.restore(folder, (state, best))
  else:
    best = best._replace(validation=validate(params, key_validation, validation))
  first, before = int(state.step), float(best.seconds)

  def progress(state, metrics):
    nonlocal best
    step, value = int(state.step), validate(state.ema_params, key_validation, validation)
    if value < best.validation or jnp.isnan(best.validation):
      best = jax.tree.map(jnp.copy, Best(state.ema_params, value, state.step, best.seconds))
    best = best._replace(seconds=jnp.asarray(before + time.monotonic() - start))
    if folder is not None:
      checkpoint.save(folder, step, (state, best), keep=1)
    rate = (step - first) / (time.monotonic() - start)
    print(f'step {step} of {settings.num_steps}, {rate:.1f} steps/s, '
          f'{(settings.num_steps - step) / rate:.0f} s left, loss {metrics.loss.mean():.4f}, '
          f'validation {value:.4f}', flush=True)

  train.fit(chunk, state, key_fit, examples, num_steps=settings.num_steps, progress=progress)
  return Fitted(best.params, float(best.seconds), float(best.validation), int(best.step))
