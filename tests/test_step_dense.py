"""The dense layer of the learned step: the values and gradients of flax's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from twoforone.baselines.time_integrated.dense import Dense


def test_values_and_gradients_are_those_of_flax():
  x = jax.random.normal(jax.random.key(0), (4, 3, 5, 6))
  theirs, ours = nn.Dense(7), Dense(7)
  params = ours.init(jax.random.key(1), x[0])
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(
    jnp.shape, theirs.init(jax.random.key(1), x[0]))

  def loss(layer):
    return lambda params, x: jnp.sum(jnp.sin(jax.vmap(lambda x: layer.apply(params, x))(x)))

  for found, expected in zip(
      jax.tree.leaves(jax.value_and_grad(loss(ours), (0, 1))(params, x)),
      jax.tree.leaves(jax.value_and_grad(loss(theirs), (0, 1))(params, x)), strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # order of float32 sums


def test_it_can_do_without_a_bias():
  params = Dense(2, use_bias=False).init(jax.random.key(0), jnp.ones((1, 3)))
  assert set(params['params']) == {'kernel'}
