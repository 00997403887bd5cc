"""The flow of 22 atoms: sizes of both cores, inverse and determinant, temperatures, training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone import optimizers, train
from twoforone.baselines import flow, molecule_flow
from twoforone.baselines.boltzmann_generator import make_likelihood_loss

SIZES = {4: (41, 7), 6: (43, 5)}  # of `mixed_coordinates` with constrained bonds


@functools.cache
def small():
  """(flow, prior, params) of five real and three circular coordinates, away from the identity."""
  layers, prior = molecule_flow.make_molecule_flow(5, 3, num_layers=3, num_bins=4, widths=(8,))
  leaves, structure = jax.tree.flatten(jax.jit(layers.init)(jax.random.key(0)))
  rng = np.random.default_rng(0)
  return layers, prior, structure.unflatten(
    [a + 0.3 * rng.normal(size=a.shape).astype(np.float32) for a in leaves])


@pytest.mark.parametrize('core', [4, 6])
def test_both_cores_start_as_their_base(core):
  layers, prior = molecule_flow.make_molecule_flow(*SIZES[core], widths=(8,))
  assert prior.size == 48
  params = jax.jit(layers.init)(jax.random.key(0))
  assert len(params) == 16  # eight layers of two couplings
  z = prior.sample(jax.random.key(1))
  x, log_det = jax.jit(layers.inverse)(params, z)
  np.testing.assert_allclose(x, z, atol=1e-5)  # float32, eight splines
  np.testing.assert_allclose(log_det, 0, atol=1e-4)


def test_inverse_and_determinant():
  layers, prior, params = small()

  @jax.jit
  @jax.vmap
  def there_and_back(key):
    x = prior.sample(key)
    z, log_det = layers.forward(params, x)
    jacobian = jax.jacfwd(lambda x: layers.forward(params, x)[0])(x)
    return x, layers.inverse(params, z)[0], log_det, jacobian

  x, back, log_det, jacobian = there_and_back(jax.random.split(jax.random.key(2), 20))
  np.testing.assert_allclose(back[:, :5], x[:, :5], atol=1e-4)  # float32
  np.testing.assert_allclose(np.cos(back - x)[:, 5:], 1, atol=1e-6)
  np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-3)
  assert (np.abs(jacobian) > 1e-6).any(axis=0).all()  # every z depends on every x


def test_no_seam_where_an_angle_goes_round():
  layers, prior, params = small()
  log_density = jax.jit(jax.vmap(flow.make_log_density(layers, prior), (None, 0)))
  x = jnp.tile(prior.sample(jax.random.key(3)), (2, 1))
  for angle in (5, 6, 7):
    ends = x.at[:, angle].set(jnp.array([-np.pi, np.pi - 1e-6]))
    first, second = log_density(params, ends)
    np.testing.assert_allclose(first, second, atol=1e-3)  # slopes times 1e-6, in float32


def test_training_lowers_the_loss():
  layers, prior = molecule_flow.make_molecule_flow(5, 3, num_layers=2, num_bins=4, widths=(8,))
  loss = make_likelihood_loss(flow.make_log_density(layers, prior))
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2000, 8)) * 0.5
  x[:, 5:] += 0.5 * x[:, :1]
  optimizer = optimizers.adamw(learning_rate=1e-2, final_learning_rate=1e-3, num_steps=200)
  step = train.make_train_step(loss, optimizer, ema_decay=lambda step: 0.9)
  chunk = train.make_train_chunk(step, batch_size=64, num_steps=200)
  state = train.init_train_state(jax.jit(layers.init)(jax.random.key(0)), optimizer)
  _, metrics = chunk(state, jax.random.key(1), jnp.asarray(x, jnp.float32))
  # From N(0, 1) and uniform angles to widths of 0.5: Σ ln(1/0.5) - 0.375 for each real coordinate
  # (0.32 nat) and about 1.1 for each angle.
  assert metrics.loss[-20:].mean() < metrics.loss[:5].mean() - 2


def test_wrong_sizes_are_refused():
  with pytest.raises(ValueError, match=r'num_real: found 1'):
    molecule_flow.make_molecule_flow(1, 4)
