"""Two (fake) devices give the numbers of one; leading axes that do not divide are named."""

import pathlib
import re
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ala2, dynamics, protein, stages
from experiments.configs import ala2 as ala2_config
from experiments.configs import protein as protein_config
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
from twoforone import checkpoint, optimizers, sharding
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
from twoforone import force, schedule, train
from twoforone.losses import denoising, noise_levels
noise = schedule.cosine_schedule()
def score(params, x, t):
  return params * make_gaussian_score(noise, 0.5)(None, x, t)
loss = denoising.make_denoising_loss(score, noise, draw_level=noise_levels.uniform_times(0.1, 1.0))
optimizer = optimizers.adamw(learning_rate=0.05, final_learning_rate=0.05, num_steps=1)
step = train.make_train_step(loss, optimizer, ema_decay=optimizers.warmup_ema(0.9))
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

# Parts of a batch, and of the replicas whose force is made at once, stay divided.
step = train.make_train_step(
  loss, optimizer, ema_decay=optimizers.warmup_ema(0.9), num_microbatches=4)
chunk = train.make_train_chunk(
  step, batch_size=64, num_steps=20, place=sharding.make_split(batches))
def gathers(function, *args):
  return 'all-gather' in function.lower(*args).compile().as_text()
assert not gathers(chunk, trained, jax.random.key(4), data), 'each device has the whole batch'
many = jax.jit(jax.vmap(force.in_pieces(centred_harmonic_force, 2), (None, 0)))
replicas = sharding.shard(mesh, stretched_chain(6)), sharding.replicate(mesh, params)
assert not gathers(many, *replicas[::-1]), 'each device has all replicas'
np.testing.assert_allclose(
  many(*replicas[::-1]), jax.vmap(centred_harmonic_force, (None, 0))(*replicas[::-1]), rtol=1e-5)
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
jax.distributed.initialize(sys.argv[1], *map(int, sys.argv[2:4]))
from tests.test_dynamics import run
from experiments import dynamics

assert jax.device_count() == 2 and jax.local_device_count() == 1
run(sys.argv[4], replicas=4, num_parts=2)
assert run(sys.argv[4], replicas=4, num_parts=3) == []
assert dynamics.read_run(sys.argv[4])[0].shape == (6, 4, 5, 3)
"""


# Of the smoke training: enough to see that every stage has run.
SMALL = {'data': {'train_size': 2000}, 'network': {'widths': (8,)}, 'loss': {'classification': 0.0},
         'train': {'num_steps': 20, 'chunk': 10, 'validate_every': 10, 'batch_size': 64,
                   'milestone': {'samples': 0, 'levels': ()}},
         'simulate': {'frames_per_part': 2, 'burn_in_frames': 0, 'longest_bond': 10.0,
                      'correction': {'rounds': 1, 'parts': 2}}}


def run_two(program, environment, arguments):
  """Runs the program in two processes: its arguments are address, count, number, and these."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  processes = [subprocess.Popen(
    [sys.executable, '-c', program, address, '2', str(k), *arguments],
    env={**environment, 'JAX_CPU_COLLECTIVES_IMPLEMENTATION': 'gloo'}) for k in range(2)]
  try:
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
  finally:
    for process in processes:
      process.kill()


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


@pytest.mark.slow
def test_the_script_for_several_hosts_trains_and_simulates(environment, tmp_path):
  """That of README.md, at small sizes in two processes; one process then has nothing left to do."""
  readme = (pathlib.Path(__file__).parent.parent / 'README.md').read_text()
  script = re.search(r'```python\n(# several_hosts.py\n.*?)```', readme, re.DOTALL)[1]
  script = script.replace('/shared/ala2', str(tmp_path))
  script = script.replace('get_config()\n', f"get_config('smoke')\nconfig.update({SMALL})\n")
  run_two(script, environment(), [])
  left = {path.relative_to(tmp_path): path.stat().st_mtime_ns for path in tmp_path.rglob('*')
          if path.suffix in ('.csv', '.npz')}
  assert {str(path) for path in left} == {'model/metrics.csv', *(
    f'simulation/{place}part_0000{k}.npz' for place in ('', 'round_0/') for k in range(2))}
  config = ala2_config.get_config('smoke')
  config.update(SMALL)
  config.simulate.update({'start': 'data', 'replicas': 128})
  split = ala2.load_split(config)
  model, params = stages.get_model(config, split, split.train.system, tmp_path / 'model')
  x, _, lost = stages.simulate(config, model, params, split, stages.choose_start(
    config, split, None), tmp_path / 'simulation')
  assert x.shape == (4, 128, 5, 3) and np.isfinite(x).all() and not lost
  assert {path: (tmp_path / path).stat().st_mtime_ns for path in left} == left


def test_commands_run_in_one_process(monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  for experiment, variant in ((ala2, ala2_config), (protein, protein_config)):
    with pytest.raises(ValueError, match=r'jax\.process_count: found 2, expected 1: samples and'):
      experiment.run(variant.get_config('smoke'), '/nowhere')


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
  run_two(PROCESS, environment(), [str(tmp_path / 'two')])
  (one, first), (two, second) = (dynamics.read_run(tmp_path / name) for name in ('one', 'two'))
  # Float32 rounding: blocks of another size may be vectorised in another order.
  np.testing.assert_allclose(two, one, atol=1e-6)
  np.testing.assert_allclose(second.kinetic, first.kinetic, rtol=1e-5)
