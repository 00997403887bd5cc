"""The projection onto a spectral norm, exact and by power iteration, alone and in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone import optimizers, train
from twoforone.baselines import lipschitz

LIMIT = 0.7
KEYS = jax.random.split(jax.random.key(0), 4)
PARAMS = {'hidden': {'kernel': jax.random.normal(KEYS[0], (6, 9)),
                     'bias': 5 + jax.random.normal(KEYS[1], (9,))},
          'small': 0.01 * jax.random.normal(KEYS[2], (9, 1))}


def norm(matrix):
  return np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)[0]


def test_the_spectral_norm_is_the_largest_singular_value():
  matrix = PARAMS['hidden']['kernel']
  np.testing.assert_allclose(lipschitz.spectral_norm(matrix), norm(matrix), rtol=1e-5)
  estimate, vector = lipschitz.power_iteration(matrix, jax.random.normal(KEYS[3], (9,)), 200)
  np.testing.assert_allclose(estimate, norm(matrix), rtol=1e-5)
  np.testing.assert_allclose(jnp.linalg.norm(vector), 1, rtol=1e-5)


def test_matrices_come_inside_and_the_rest_is_left_alone():
  found, _ = lipschitz.make_exact_projection(LIMIT).project(PARAMS, ())
  np.testing.assert_allclose(norm(found['hidden']['kernel']), LIMIT, rtol=1e-5)
  ratio = found['hidden']['kernel'] / PARAMS['hidden']['kernel']
  np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)  # shrunk, not bent
  np.testing.assert_array_equal(found['hidden']['bias'], PARAMS['hidden']['bias'])
  np.testing.assert_array_equal(found['small'], PARAMS['small'])  # inside already


def nearly_equal(size=30):
  """A matrix whose singular values lie close together, which power iteration finds hard."""
  u, _ = jnp.linalg.qr(jax.random.normal(KEYS[0], (size, size)))
  v, _ = jnp.linalg.qr(jax.random.normal(KEYS[1], (size, size)))
  return (u * jnp.linspace(4, 5, size)) @ v


def test_a_vector_that_is_kept_makes_power_iteration_exact():
  projection = lipschitz.make_power_projection(LIMIT, KEYS[3], num_iterations=5)
  project, matrix = jax.jit(projection.project), nearly_equal()
  state = fresh = projection.init([matrix])
  (first,), _ = project([matrix], fresh)
  for _ in range(30):
    (found,), state = project([matrix], state)
  np.testing.assert_allclose(norm(found), LIMIT, rtol=1e-3)  # (s_2/s_1)^(4·150) is below it
  assert norm(first) > 1.01 * LIMIT  # five iterations from a random start are loose


@pytest.mark.parametrize('projection', [
  lipschitz.make_exact_projection(LIMIT), lipschitz.make_power_projection(LIMIT, KEYS[3])],
  ids=['exact', 'power'])
def test_it_holds_after_every_step_of_training(projection):
  def loss(params, key, x):
    h = jnp.tanh(x @ params['hidden']['kernel'] + params['hidden']['bias'])
    return jnp.sum((h @ params['small'] - 20 * x[0]) ** 2)

  plain = optimizers.adamw(learning_rate=0.05, final_learning_rate=0.05, num_steps=60)
  data = jax.random.normal(KEYS[0], (32, 6))
  norms, biases = [], []
  for optimizer in (plain, optimizers.with_projection(plain, *projection)):
    train_step = train.make_train_step(loss, optimizer, ema_decay=optimizers.warmup_ema(0.9))
    chunk = train.make_train_chunk(train_step, batch_size=8, num_steps=30)
    start = train.init_train_state(jax.tree.map(jnp.copy, PARAMS), optimizer)
    state = train.fit(chunk, start, KEYS[1], data, num_steps=60,
                      progress=lambda state, metrics: None)
    norms += [[norm(found['hidden']['kernel']), norm(found['small'])]
              for found in (state.params, state.ema_params)]
    biases.append(state.params['hidden']['bias'])
  assert (np.array(norms[0]) > 1.5 * LIMIT).any()
  # The average still remembers a start outside: 0.9^60 of it.
  assert (np.array(norms[2:]) < LIMIT * 1.02).all()
  assert float(jnp.abs(biases[1]).max()) > LIMIT


def test_what_cannot_be_is_named():
  with pytest.raises(ValueError, match='limit: found 0'):
    lipschitz.make_exact_projection(0.0)
  with pytest.raises(ValueError, match='num_iterations: found 0'):
    lipschitz.make_power_projection(1.0, KEYS[0], num_iterations=0)
