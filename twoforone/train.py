"""Training: one jitted scan over batches resident on the device, with EMA and exact restart.

`TrainState` and the seed are a whole restart: the key of step k is fold_in(key, k), so a run that
stops anywhere and goes on draws what an uninterrupted run draws.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from twoforone.types import LossFn, Params, PRNGKey


class TrainState(NamedTuple):
  """Everything the next step needs.

  Attributes:
    step: number of updates made, [] int.
    params: the iterate.
    ema_params: its exponential moving average, the one to use.
    opt_state: of the optimizer.
  """

  step: Int[Array, '']
  params: Params
  ema_params: Params
  opt_state: Any


class Metrics(NamedTuple):
  """What a person wants to see of a step: the loss and the global gradient norm."""

  loss: Float[Array, '*steps']
  gradient_norm: Float[Array, '*steps']


class Auxiliary(NamedTuple):
  """A costly second loss, for the first `size` examples of each batch only."""

  loss: LossFn
  size: int


class TrainingDivergedError(FloatingPointError):
  """Loss or gradient was not finite; `state` is the last good one, `step` where it happened."""

  def __init__(self, step: int, state: TrainState):
    super().__init__(f'loss or its gradient: not finite in the steps up to {step}; '
                     f'the state of step {int(state.step)} is kept')
    self.step, self.state = step, state


TrainStep = Callable[..., tuple[TrainState, Metrics]]


def init_train_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
  """The state before the first update; the average starts at the parameters."""
  copy = jax.tree.map(jnp.copy, params)
  return TrainState(jnp.zeros((), jnp.int32), params, copy, optimizer.init(params))


def make_gradient(
  loss: LossFn, *, num_microbatches: int = 1, auxiliary: Auxiliary | None = None
) -> Callable:
  """gradient(params, key, batch) -> (mean loss, its gradient), in microbatches one after another.

  Every example has its own key, so the number of microbatches changes the memory, not the result
  (beyond rounding).

  Args:
    loss: for one example.
    num_microbatches: parts the batch is worked through in.
    auxiliary: a second loss, its mean over the first examples only is added.

  Raises:
    ValueError: when the batch cannot be divided evenly (at the first call).
  """

  main = jax.value_and_grad(_make_mean(loss))

  def gradient(params, key, batch):
    size = len(jax.tree.leaves(batch)[0])
    if size % num_microbatches:
      raise ValueError(f'num_microbatches: found {num_microbatches}, expected a divisor of the '
                       f'batch size {size}')
    keys = jax.random.split(key, size)
    total = _in_parts(main, num_microbatches, params, keys, batch)
    if auxiliary is None:
      return total
    keys, batch = jax.tree.map(lambda a: a[:auxiliary.size], (keys, batch))
    second = jax.value_and_grad(_make_mean(auxiliary.loss))
    return jax.tree.map(jnp.add, total, second(params, keys, batch))

  return gradient


def _make_mean(loss: LossFn) -> Callable:
  """mean(params, keys, batch): of the loss over examples, each with its own key."""
  def mean(params, keys, batch):
    return jnp.mean(jax.vmap(loss, in_axes=(None, 0, 0))(params, keys, batch))
  return mean


def _in_parts(gradient: Callable, parts: int, params, keys, batch):
  """The mean over equal parts of keys and batch; of a batch divided over devices each has some."""
  if parts == 1:
    return gradient(params, keys, batch)
  split = jax.tree.map(
    lambda a: a.reshape(-1, parts, *a.shape[1:]).swapaxes(0, 1), (keys, batch))
  first = jax.eval_shape(gradient, params, *jax.tree.map(lambda a: a[0], split))
  zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), first)
  total, _ = jax.lax.scan(
    lambda total, part: (jax.tree.map(jnp.add, total, gradient(params, *part)), None), zero, split)
  return jax.tree.map(lambda a: a / parts, total)


def make_train_step(
  loss: LossFn, optimizer: optax.GradientTransformation, *, ema_decay: Callable,
  num_microbatches: int = 1, auxiliary: Auxiliary | None = None
) -> TrainStep:
  """train_step(state, key, batch) -> (state, metrics): mean loss over the batch, one update.

  Args:
    loss: for one example.
    optimizer: any optax transformation.
    ema_decay: step -> decay of the parameter average at that step (1 keeps it).
    num_microbatches, auxiliary: see `make_gradient`.
  """
  gradient_of = make_gradient(loss, num_microbatches=num_microbatches, auxiliary=auxiliary)

  def train_step(state, key, batch):
    value, gradient = gradient_of(state.params, key, batch)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = ema_decay(state.step)
    ema = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, state.ema_params, params)
    return (TrainState(state.step + 1, params, ema, opt_state),
            Metrics(value, optax.tree.norm(gradient)))

  return train_step


def take_rows(data: Any, index: Int[Array, ' batch']) -> Any:
  """The examples `index` of a pytree of arrays [F, ...]."""
  return jax.tree.map(lambda a: a[index], data)


def make_train_chunk(
  train_step: TrainStep, *, batch_size: int, num_steps: int,
  place: Callable[[Any], Any] = lambda batch: batch, take: Callable[..., Any] = take_rows
) -> Callable:
  """chunk(state, key, data) -> (state, metrics[num_steps]): a jitted scan, batches drawn inside.

  Each batch is drawn with replacement from `data` (a pytree of arrays [F, ...]), which is an
  argument and stays on the device. The state is donated.

  Args:
    train_step: one update.
    batch_size: examples in each.
    num_steps: updates in a chunk.
    place: of each batch, `sharding.make_split` to divide it over devices; state and data are then
      copied to each of them (`sharding.replicate`).
    take: (data, index [batch]) -> examples; index counts along the first array of the data. For
      examples that are made from parts of the data, as windows of trajectories are.
  """

  def one_step(state, key, data):
    key_batch, key_loss = jax.random.split(jax.random.fold_in(key, state.step))
    size = len(jax.tree.leaves(data)[0])
    index = jax.random.randint(key_batch, (batch_size,), 0, size)
    return train_step(state, key_loss, place(take(data, index)))

  def chunk(state, key, data):
    return jax.lax.scan(lambda s, _: one_step(s, key, data), state, length=num_steps)

  return jax.jit(chunk, donate_argnums=0)


def fit(
  chunk: Callable,
  state: TrainState,
  key: PRNGKey,
  data: Any,
  *,
  num_steps: int,
  progress: Callable[[TrainState, Metrics], bool | None],
) -> TrainState:
  """Runs chunks until `num_steps` updates, or until `progress(state, metrics)` returns True.

  Args:
    chunk: from `make_train_chunk`.
    state: where to start; a restored state goes on exactly.
    key: of the whole run.
    data: pytree of arrays [F, ...].
    num_steps: total number of updates, a multiple of the chunk's.
    progress: receives the state and the metrics of each chunk, [steps]; True ends the training.

  Raises:
    TrainingDivergedError: when a loss or gradient is not finite; carries the last good state.
  """
  while int(state.step) < num_steps:
    good = jax.tree.map(jnp.copy, state)
    state, metrics = chunk(state, key, data)
    finite = jnp.isfinite(metrics.loss) & jnp.isfinite(metrics.gradient_norm)
    if not bool(finite.all()):
      bad = int(jnp.argmin(finite))
      raise TrainingDivergedError(int(good.step) + bad, good)
    if progress(state, metrics):
      break
  return state


def make_validation(
  loss: LossFn, *, batch_size: int, num_batches: int, take: Callable[..., Any] = take_rows
) -> Callable:
  """validate(params, key, data) -> mean loss over fixed draws; the same key, the same draws.

  `take` as in `make_train_chunk`.
  """

  mean = _make_mean(loss)

  def validate(params, key, data):
    def one_batch(_, key):
      key_batch, key_loss = jax.random.split(key)
      size = len(jax.tree.leaves(data)[0])
      index = jax.random.randint(key_batch, (batch_size,), 0, size)
      return None, mean(params, jax.random.split(key_loss, batch_size), take(data, index))
    return jnp.mean(jax.lax.scan(one_batch, None, jax.random.split(key, num_batches))[1])

  return jax.jit(validate)
