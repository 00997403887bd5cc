"""Two (fake) devices give the numbers of one; leading axes that do not divide are named."""

import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import dynamics
from tests.systems import CHAIN, centred_harmonic_force, stretched_chain
from tests.test_dynamics import run
from twoforone.checkpoint import restore
from twoforone.langevin import make_langevin
from twoforone.sharding import agree, make_mesh, replicate, shard
from twoforone.simulate import init_replicas

PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
from tests.systems import CHAIN, centred_harmonic_force, stretched_chain
from twoforone import checkpoint, sharding
from twoforone.langevin import make_langevin
from twoforone.simulate import init_replicas, make_simulation

mesh = sharding.make_mesh(size=6)
assert mesh.size == jax.device_count() == int(sys.argv[1])
integrator = make_langevin(centred_harmonic_force, mass=CHAIN.mass, dt=0.004, friction=5.0)
params, kT = jnp.float32(400.0), jnp.full(6, 2.5)
state = init_replicas(integrator, params, jax.random.key(0), stretched_chain(6), kT)
state, kT = sharding.shard(mesh, (state, kT))
run = make_simulation(integrator, num_frames=3, stride=4)
state, x, info = run(sharding.replicate(mesh, params), state, kT)
assert len(state.dynamics.position.sharding.device_set) == mesh.size
np.savez(sys.argv[2] + '.npz', x=x, kinetic=info.kinetic)
checkpoint.save(sys.argv[2], 1, state)
back = checkpoint.restore(sys.argv[2], state)
assert back.dynamics.position.sharding.device_set == state.dynamics.position.sharding.device_set

# Training: the batch divided, state and data on every device.
from tests.systems import gaussian_data, make_gaussian_score
from twoforone import schedule, train
from twoforone.losses import denoising, noise_levels
noise = schedule.cosine_schedule()
def score(params, x, t):
  return params * make_gaussian_score(noise, 0.5)(None, x, t)
loss = denoising.make_denoising_loss(score, noise, draw_level=noise_levels.uniform_times(0.1, 1.0))
optimizer = train.adamw(learning_rate=0.05, final_learning_rate=0.05, num_steps=1)
step = train.make_train_step(loss, optimizer, ema_decay=train.warmup_ema(0.9))
batches = sharding.make_mesh('batch', size=64)
chunk = train.make_train_chunk(
  step, batch_size=64, num_steps=20, place=sharding.make_split(batches))
data = gaussian_data(jax.random.key(3), (500, 5, 3), 0.5)
state, data = sharding.replicate(
  batches, (train.init_train_state(jnp.float32(0.2), optimizer), data))
program = chunk.lower(state, jax.random.key(4), data).compile().as_text()
assert ('all-reduce' in program) == (batches.size == 2), 'the gradient is not a sum over devices'
trained, metrics = chunk(state, jax.random.key(4), data)
np.savez(sys.argv[2] + '_train.npz', params=trained.params, loss=metrics.loss)
if mesh.size == 2:
  try:
    sharding.shard(mesh, {'x': jnp.zeros((3, 5))})
  except ValueError as error:
    assert "['x']: found leading axis 3, expected a multiple of 2" in str(error)
  else:
    raise AssertionError('three replicas were split over two devices')
"""


PROCESS = """
import sys
import jax
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize(f'localhost:{sys.argv[1]}', 2, int(sys.argv[2]))
from tests.test_dynamics import run
from experiments import dynamics

assert jax.device_count() == 2 and jax.local_device_count() == 1
run(sys.argv[3], replicas=4, num_parts=2)
assert run(sys.argv[3], replicas=4, num_parts=3) == []
assert dynamics.read_run(sys.argv[3])[0].shape == (6, 4, 5, 3)
"""


def run_on(devices, path, environment):
  subprocess.run([sys.executable, '-c', PROGRAM, str(devices), str(path)], check=True,
                 env=environment(devices))
  return np.load(f'{path}.npz')


@pytest.mark.slow
def test_two_devices_give_the_numbers_of_one(environment, tmp_path):
  """Simulation and training; and a state saved on two devices is restored on this one."""
  one, two = (run_on(devices, tmp_path / f'{devices}', environment) for devices in (1, 2))
  # Float32 rounding: blocks of another size may be vectorised in another order.
  np.testing.assert_allclose(two['x'], one['x'], atol=1e-6)
  np.testing.assert_allclose(two['kinetic'], one['kinetic'], rtol=1e-5)
  first, second = (np.load(tmp_path / f'{devices}_train.npz') for devices in (1, 2))
  # The gradient is a sum in another order; twenty Adam steps carry that on.
  np.testing.assert_allclose(second['loss'], first['loss'], rtol=1e-4)
  np.testing.assert_allclose(second['params'], first['params'], rtol=1e-4)
  assert first['loss'][-1] < first['loss'][0]
  integrator = make_langevin(centred_harmonic_force, mass=CHAIN.mass, dt=0.004, friction=5.0)
  like = init_replicas(
    integrator, jnp.float32(400.0), jax.random.key(0), stretched_chain(6), jnp.full(6, 2.5))
  state = restore(tmp_path / '2', like)
  np.testing.assert_array_equal(state.dynamics.position, two['x'][-1])
  assert state.dynamics.position.sharding == like.dynamics.position.sharding


def test_placement_keeps_the_values():
  mesh = make_mesh(size=jax.device_count())
  tree = {'x': jnp.arange(4 * jax.device_count()), 'step': jnp.zeros(()),
          'key': jax.random.split(jax.random.key(0), jax.device_count())}
  for placed in (shard(mesh, tree), replicate(mesh, tree)):
    np.testing.assert_array_equal(placed['x'], tree['x'])
    np.testing.assert_array_equal(*map(jax.random.key_data, (placed['key'], tree['key'])))
  assert make_mesh(size=1).size == 1


def test_no_process_is_left_without_its_devices(monkeypatch):
  """One process may leave devices idle; several may not, for each has to hold a part."""
  monkeypatch.setattr(jax, 'device_count', lambda: 4)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  with pytest.raises(ValueError, match=r'batch: found 6, expected a multiple of 4, the devices of'):
    make_mesh('batch', size=6)


def test_one_process_agrees_with_itself():
  assert agree(0.5) == 0.5 and np.isnan(agree(float('nan')))


@pytest.mark.slow
def test_two_processes_give_the_trajectory_of_one(environment, tmp_path):
  """Each holds half of the replicas; one writes, both go on from what was written."""
  run(tmp_path / 'one', replicas=4, num_parts=3)
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = str(free.getsockname()[1])
  folder = str(tmp_path / 'two')
  processes = [subprocess.Popen(
    [sys.executable, '-c', PROCESS, port, str(k), folder], env=environment()) for k in range(2)]
  try:
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
  finally:
    for process in processes:
      process.kill()
  (one, first), (two, second) = (dynamics.read_run(tmp_path / name) for name in ('one', 'two'))
  # Float32 rounding: blocks of another size may be vectorised in another order.
  np.testing.assert_allclose(two, one, atol=1e-6)
  np.testing.assert_allclose(second.kinetic, first.kinetic, rtol=1e-5)
