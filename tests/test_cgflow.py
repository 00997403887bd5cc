"""A chain's flow: inverse, volumes, normalisation, the virial of its forces, a little training."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone import geometry, optimizers, train
from twoforone.baselines import cgflow, flow, flow_cgnet, positions

DATA = pathlib.Path(__file__).parent.parent / 'data' / 'ala2_implicit_atoms.npz'
SMALL = {'num_blocks': 1, 'torsion_bins': 4, 'angle_bins': 3, 'widths': (8,)}


@functools.cache
def frames():
  """The five backbone beads of 2,000 frames."""
  with np.load(DATA) as file:
    x = file['positions'][:, ::10, [4, 6, 8, 10, 16]] * np.float32(file['position_unit'])
  return x.reshape(-1, 5, 3)


@functools.cache
def marginals():
  return cgflow.fit_marginals(frames())


@functools.cache
def model():
  return cgflow.make_cgflow(marginals(), **SMALL)


@functools.cache
def loose_model():
  """A chain of wide bonds and angles: its forces are so small that their means are sharp."""
  mean, std = np.repeat([0.15, 1.9], [4, 3]), np.repeat([0.015, 0.15], [4, 3])
  return cgflow.make_cgflow(
    cgflow.Marginals(mean, std, mean - 4.5 * std, mean + 4.5 * std), **SMALL)


def random_params(init, size, seed=0):
  """Parameters away from the start, where every layer is the identity."""
  leaves, structure = jax.tree.flatten(jax.jit(init)(jax.random.key(seed)))
  rng = np.random.default_rng(seed)
  return structure.unflatten([a + size * rng.normal(size=a.shape).astype(a.dtype) for a in leaves])


def standard_error(sample):
  return sample.std(axis=0) / np.sqrt(len(sample))


def test_inverse_and_determinant():
  layers = cgflow.make_chain_flow(marginals(), **SMALL)
  params = random_params(layers.init, 0.3)
  encode = positions.chain_coordinates(5).encode

  @jax.jit
  @jax.vmap
  def there_and_back(x, eta):
    q = jnp.concatenate([encode(x)[0], eta])
    z, log_det = layers.forward(params, q)
    back, log_det_back = layers.inverse(params, z)
    jacobian = jax.jacfwd(lambda q: layers.forward(params, q)[0])(q)
    return q, back, log_det, log_det_back, jnp.linalg.slogdet(jacobian)[1]

  eta = jax.random.normal(jax.random.key(0), (20, 2))
  q, back, log_det, log_det_back, dense = there_and_back(frames()[::100], eta)
  num_real = 7
  # float32: a length in the tail of the normal law keeps few digits of its probability.
  np.testing.assert_allclose(back[:, :num_real], q[:, :num_real], rtol=1e-3)
  np.testing.assert_allclose(np.cos(back - q)[:, num_real:-2], 1, atol=1e-5)
  np.testing.assert_allclose(back[:, -2:], q[:, -2:], atol=1e-3)
  np.testing.assert_allclose(log_det, dense, atol=1e-3)
  np.testing.assert_allclose(log_det, -log_det_back, atol=1e-2)
  assert float(np.abs(log_det - log_det.mean()).max()) > 1  # it is not constant


def test_the_density_is_normalised():
  layers, prior = cgflow.make_chain_flow(marginals(), **SMALL), cgflow.make_chain_prior(5, 2)
  log_density, sample = flow.make_log_density(layers, prior), flow.make_sample(layers, prior)
  start, other = jax.jit(layers.init)(jax.random.key(0)), random_params(layers.init, 0.1)

  @jax.jit
  @jax.vmap
  def ratio(key):
    q, log_start = sample(start, key)
    return jnp.exp(log_density(other, q) - log_start)

  found = np.asarray(ratio(jax.random.split(jax.random.key(1), 20_000)), np.float64)
  assert found.std() > 0.3
  assert abs(found.mean() - 1) < 4 * standard_error(found)


@functools.cache
def forces():
  """Draws of the loose model with arbitrary parameters, and their labels."""
  params = random_params(loose_model().init, 0.2)
  draw = jax.jit(jax.vmap(flow_cgnet.make_force_draw(loose_model().density), (None, 0)))
  return params, *draw(params, jax.random.split(jax.random.key(2), 20_000))


def virial(x, f):
  """<f_i · (x_i - x_j)> and its standard error, for all pairs."""
  pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
  values = np.stack([np.sum(f[:, i] * (x[:, i] - x[:, j]), axis=1) for i, j in pairs], axis=1)
  return values.mean(axis=0), standard_error(values)


def test_labels_obey_the_virial_identity_of_the_score():
  # By parts, <f_i · (x_i - x_j)> = -3 for the score f of any density that falls to zero; the
  # mean over η leaves it alone.
  _, x, f = forces()
  mean, error = virial(np.asarray(x, np.float64), np.asarray(f, np.float64))
  assert (np.abs(mean + 3) < 4.5 * error).all()
  assert error.max() < 0.3
  volume = jax.jit(jax.vmap(jax.grad(
    lambda x: positions.chain_coordinates(5).encode(x)[1])))(x)
  mean, error = virial(np.asarray(x, np.float64), np.asarray(f - volume, np.float64))
  assert (np.abs(mean + 3) > 10 * error).any()  # without the volume it is no score of x


def test_motions_leave_the_density_alone():
  params, x, f = forces()
  turn = geometry.random_rotation(jax.random.key(3))
  log_density = jax.jit(jax.vmap(loose_model().density.log_density, (None, 0, None)))
  eta = jnp.array([0.3, -1.0])
  values = log_density(params, x[:50], eta)
  moved = x[:50] @ turn.T + 1
  np.testing.assert_allclose(log_density(params, moved, eta), values, atol=0.01)  # float32
  mirrored = log_density(params, x[:50] * jnp.array([1.0, 1, -1]), eta)
  assert np.abs(mirrored - values).max() > 0.2
  net = np.abs(np.asarray(f.sum(axis=1)))
  assert net.max() < 1e-3 * np.abs(np.asarray(f)).max()


def test_training_lowers_the_loss_and_finds_the_torsions():
  loss = model().loss
  step = train.make_train_step(
    loss, optimizers.adamw(learning_rate=1e-2, final_learning_rate=1e-3, num_steps=200),
    ema_decay=lambda step: 0.9)
  chunk = train.make_train_chunk(step, batch_size=64, num_steps=200)
  params = jax.jit(model().init)(jax.random.key(0))
  state = train.init_train_state(
    params, optimizers.adamw(learning_rate=1e-2, final_learning_rate=1e-3, num_steps=200))
  state, metrics = chunk(state, jax.random.key(1), jnp.asarray(frames()))
  assert np.isfinite(metrics.loss).all()
  # (phi, psi) of the data are 1.5 nat below uniform; most of that is learned at once.
  assert metrics.loss[-50:].mean() < metrics.loss[:5].mean() - 0.5
  sample = jax.jit(jax.vmap(model().density.sample, (None, 0)))
  x, eta = sample(state.ema_params, jax.random.split(jax.random.key(2), 2000))
  phi = np.asarray(jax.jit(jax.vmap(geometry.dihedrals))(x))[:, 0]
  assert np.mean(phi > 0) < 0.25  # 0.05 in the data, 0.5 before
  assert eta.shape == (2000, 2)
  assert abs(float(eta.std()) - 1) < 0.2


@pytest.mark.parametrize('beads', [4, 6])
def test_chains_of_other_lengths(beads):
  index = np.arange(beads) % 5
  x = frames()[:8, index] + np.arange(beads)[:, None] // 5 * np.float32(0.4)
  chain = cgflow.make_cgflow(cgflow.fit_marginals(x), num_auxiliary=3, **SMALL)
  params = jax.eval_shape(chain.init, jax.random.key(0))
  shapes = jax.eval_shape(chain.density.sample, params, jax.random.key(0))
  assert [a.shape for a in shapes] == [(beads, 3), (3,)]
  assert jax.eval_shape(chain.density.log_density, params, *shapes).shape == ()


def test_wrong_frames_are_refused():
  with pytest.raises(ValueError, match=r'x: found 3 beads, expected at least 4'):
    cgflow.fit_marginals(frames()[:, :3])
  with pytest.raises(ValueError, match=r'length or angle 0 is 0\.13'):
    cgflow.fit_marginals(np.broadcast_to(frames()[:1], (20, 5, 3)))
  with pytest.raises(ValueError, match=r'num_beads: found 2'):
    positions.chain_coordinates(2)
