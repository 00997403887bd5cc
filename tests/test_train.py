"""Training: averages by hand, exact restarts, what happens when a loss is not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone import optimizers, train

DATA = jax.random.normal(jax.random.key(0), (64, 3))
OPTIMIZER = optimizers.adamw(learning_rate=0.05, final_learning_rate=0.01, num_steps=40)
KEY = jax.random.key(7)


def loss(params, key, x):
  """Least at params = <x>; noisy, so that the keys matter."""
  return jnp.sum((params['w'] - x + 0.1 * jax.random.normal(key, x.shape)) ** 2)


def start():
  return train.init_train_state({'w': jnp.array([2.0, -1.0, 0.5])}, OPTIMIZER)


TRAIN_STEP = train.make_train_step(loss, OPTIMIZER, ema_decay=optimizers.warmup_ema(0.9))
CHUNK = train.make_train_chunk(TRAIN_STEP, batch_size=8, num_steps=5)


def run(chunk=CHUNK, state=None, key=KEY, num_steps=20):
  seen = []
  state = train.fit(chunk, start() if state is None else state, key, DATA, num_steps=num_steps,
                    progress=lambda state, metrics: seen.append(np.asarray(metrics.loss)))
  return state, np.concatenate(seen)


def assert_equal(tree, other):
  """Bit for bit."""
  for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)


def test_the_average_follows_its_recursion():
  train_step = jax.jit(train.make_train_step(loss, OPTIMIZER, ema_decay=optimizers.warmup_ema(0.7)))
  state, average = start(), np.array([2.0, -1.0, 0.5])
  for k in range(12):
    state, metrics = train_step(state, jax.random.fold_in(KEY, k), DATA[:8])
    decay = min(0.7, 1 - (1 + k) ** (-2 / 3))
    average = decay * average + (1 - decay) * np.asarray(state.params['w'])
    np.testing.assert_allclose(state.ema_params['w'], average, rtol=1e-5)  # float32
  assert int(state.step) == 12
  assert metrics.loss.shape == metrics.gradient_norm.shape == ()


def test_warmup_ema():
  decay = optimizers.warmup_ema(0.999)
  np.testing.assert_allclose(decay(0), 0.0, atol=1e-7)
  np.testing.assert_allclose(decay(7), 0.75, rtol=1e-5)
  np.testing.assert_allclose(decay(10**6), 0.999, rtol=1e-6)


def test_sparse_ema_is_the_published_average():
  # Iteration n (from 1) is step n - 1. Acts at each tenth; a copy up to iteration 101; then
  # 1 - (1 + n - 101)^(-2/3), which reaches 0.995 near iteration 2930.
  decay = np.asarray(jax.vmap(optimizers.sparse_ema(0.995))(jnp.arange(4000)))
  step = np.arange(4000)
  np.testing.assert_array_equal(decay[step % 10 != 0], 1.0)
  np.testing.assert_array_equal(decay[:101:10], 0.0)
  for n in (111, 201, 1001, 2901):
    np.testing.assert_allclose(decay[n - 1], 1 - (n - 100) ** (-2 / 3), rtol=1e-5)
  assert decay[2900] < 0.995
  np.testing.assert_allclose(decay[2940::10], 0.995, rtol=1e-6)


def test_learning_rate_ends_of_the_cosine():
  optimizer = optimizers.adamw(learning_rate=0.3, final_learning_rate=0.01, num_steps=10)
  params = {'w': jnp.zeros(2)}
  opt_state, sizes = optimizer.init(params), []
  for _ in range(12):
    # A constant gradient makes Adam's step the learning rate itself.
    updates, opt_state = optimizer.update({'w': jnp.array([2.0, -3.0])}, opt_state, params)
    sizes.append(float(-updates['w'][0]))
    np.testing.assert_allclose(updates['w'][1], -updates['w'][0], rtol=1e-4)
  expected = 0.01 + 0.29 * (1 + np.cos(np.pi * np.minimum(np.arange(12), 10) / 10)) / 2
  np.testing.assert_allclose(sizes, expected, rtol=1e-4)  # float32


def test_the_exponential_schedule_is_the_published_one_and_reaches_the_parameters():
  steps = np.array([0, 1, 250_000, 500_000, 2_000_000])
  found = [optimizers.exponential(1e-4, 2e-6, 500_000)(step) for step in steps]
  expected = 2e-6 + (1e-4 - 2e-6) * 0.1 ** (steps / 2e6)
  np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32
  optimizer = optimizers.adamw(learning_rate=0.3, final_learning_rate=0.01, num_steps=1,
                          schedule=optimizers.exponential)
  params, gradient = {'w': jnp.zeros(1)}, {'w': jnp.ones(1)}
  opt_state, sizes = optimizer.init(params), []
  for _ in range(3):
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    sizes.append(float(-updates['w'][0]))
  np.testing.assert_allclose(sizes, 0.01 + 0.29 * 0.1 ** (np.arange(3) / 4), rtol=1e-4)  # float32


def test_clipping_limits_the_gradient_not_the_reported_norm():
  def steep(params, key, x):
    return 1e3 * jnp.sum(params['w'])

  optimizer = optimizers.adamw(
    learning_rate=0.1, final_learning_rate=0.1, num_steps=10, max_norm=1.0)
  train_step = train.make_train_step(steep, optimizer, ema_decay=optimizers.warmup_ema(0.9))
  state, metrics = train_step(train.init_train_state({'w': jnp.zeros(4)}, optimizer), KEY, DATA[:2])
  np.testing.assert_allclose(metrics.gradient_norm, 2e3, rtol=1e-5)
  first_moment = next(leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.shape == (4,))
  np.testing.assert_allclose(first_moment, 0.1 * 0.5, rtol=1e-4)  # (1 - beta_1) of norm 1 / sqrt 4


def test_training_finds_the_minimum():
  _, losses = run(num_steps=200)
  # The loss of the best constant is the variance of the data and of the noise, 3 (1 + 0.01).
  floor = float(jnp.sum(DATA.var(axis=0))) + 0.03
  assert losses[:5].mean() > 1.5 * floor
  assert abs(losses[-100:].mean() - floor) < 4 * losses[-100:].std() / 10


def test_a_run_in_pieces_is_the_uninterrupted_run():
  whole, losses = run()
  assert int(whole.step) == 20
  again, again_losses = run()
  assert_equal(whole, again)
  np.testing.assert_array_equal(losses, again_losses)
  half, first = run(num_steps=10)
  half = jax.tree.map(np.asarray, half)  # as it comes back from a file
  rest, second = run(state=jax.tree.map(jnp.asarray, half))
  assert_equal(rest, whole)
  np.testing.assert_array_equal(np.concatenate([first, second]), losses)


def test_the_length_of_a_chunk_does_not_matter_and_the_key_does():
  whole, losses = run()
  in_tens, _ = run(train.make_train_chunk(TRAIN_STEP, batch_size=8, num_steps=10))
  assert_equal(in_tens, whole)
  _, other = run(key=jax.random.key(8))
  assert (other != losses).any()


@pytest.mark.parametrize('field', ['loss', 'gradient_norm'])
@pytest.mark.parametrize('bad_step', [0, 7])
def test_a_loss_or_gradient_that_is_not_finite_stops_with_the_last_good_state(bad_step, field):
  def train_step(state, key, batch):
    state, metrics = TRAIN_STEP(state, key, batch)
    nan = jnp.where(state.step - 1 == bad_step, jnp.nan, 0.0)
    return state, metrics._replace(**{field: getattr(metrics, field) + nan})

  seen = []
  with pytest.raises(train.TrainingDivergedError, match=f'up to {bad_step}') as caught:
    train.fit(train.make_train_chunk(train_step, batch_size=8, num_steps=5), start(), KEY, DATA,
              num_steps=20, progress=lambda state, metrics: seen.append(int(state.step)))
  good = bad_step // 5 * 5
  assert caught.value.step == bad_step and int(caught.value.state.step) == good
  assert seen == ([5] if good else [])
  assert_equal(caught.value.state, run(num_steps=good)[0] if good else start())


def test_validation_with_one_key_gives_one_number():
  validate = train.make_validation(loss, batch_size=16, num_batches=4)
  params = {'w': jnp.zeros(3)}
  value = validate(params, KEY, DATA)
  assert value == validate(params, KEY, DATA)
  assert value != validate(params, jax.random.key(8), DATA)
  expected = float(jnp.mean(jnp.sum(DATA**2, axis=1))) + 0.03
  error = float(jnp.std(jnp.sum(DATA**2, axis=1))) / np.sqrt(64)
  assert abs(float(value) - expected) < 4 * error


@pytest.mark.parametrize('parts', [2, 8])
def test_microbatches_change_the_memory_not_the_gradient(parts):
  whole, split = (train.make_gradient(loss, num_microbatches=m) for m in (1, parts))
  params = {'w': jnp.array([2.0, -1.0, 0.5])}
  for a, b in zip(jax.tree.leaves(whole(params, KEY, DATA)),
                  jax.tree.leaves(split(params, KEY, DATA)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5)  # float32 sums of 64 terms in another order


def test_microbatches_must_divide_the_batch():
  with pytest.raises(ValueError, match='num_microbatches: found 3, expected a divisor'):
    train.make_gradient(loss, num_microbatches=3)({'w': jnp.zeros(3)}, KEY, DATA)


def test_progress_ends_the_training():
  state = train.fit(CHUNK, start(), KEY, DATA, num_steps=20,
                    progress=lambda state, metrics: int(state.step) == 10)
  assert int(state.step) == 10


def test_an_auxiliary_loss_is_the_mean_over_the_first_examples():
  def second(params, key, x):
    return jnp.sum(params['w'] * x)

  params = {'w': jnp.array([2.0, -1.0, 0.5])}
  alone = train.make_gradient(loss)(params, KEY, DATA)
  both = train.make_gradient(loss, auxiliary=train.Auxiliary(second, 8))(params, KEY, DATA)
  mean = np.asarray(DATA[:8]).mean(axis=0)
  np.testing.assert_allclose(both[0] - alone[0], params['w'] @ mean, rtol=1e-4)  # float32
  np.testing.assert_allclose(both[1]['w'] - alone[1]['w'], mean, rtol=1e-4)
