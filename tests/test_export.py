"""The two hot programs lower for CPU, NVIDIA GPU and TPU: nothing in them is tied to one."""

import jax
import jax.numpy as jnp
import optax
from jax import export

from tests.systems import CHAIN, make_gaussian_score, stretched_chain
from twoforone.force import make_force_field
from twoforone.langevin import make_langevin
from twoforone.losses.denoising import make_denoising_loss
from twoforone.schedule import cosine_schedule
from twoforone.simulate import init_replicas, make_bond_check, make_simulation
from twoforone.train import init_train_state, make_train_chunk, make_train_step

PLATFORMS = ('cpu', 'cuda', 'tpu')


def test_simulation_chunk_lowers_everywhere():
  score = make_gaussian_score(cosine_schedule(), 1.0)
  force = make_force_field(score, t=0.01, kT=2.5, scale=0.1, alpha=1.0)
  integrator = make_langevin(force, mass=CHAIN.mass, dt=0.002, friction=1.0)
  kT = jnp.full(4, 2.5)
  state = init_replicas(integrator, None, jax.random.key(0), stretched_chain(4), kT)
  run = make_simulation(
    integrator, num_frames=2, stride=3, check=make_bond_check(CHAIN.bonds, 1.0))
  exported = export.export(run, platforms=PLATFORMS)(None, state, kT)
  assert exported.platforms == PLATFORMS


def test_train_chunk_lowers_everywhere():
  schedule = cosine_schedule()

  def score(params, x, t):
    return -params * make_gaussian_score(schedule, 1.0)(None, x, t)

  loss = make_denoising_loss(score, schedule, draw_level=jax.random.uniform)
  step = make_train_step(loss, optax.adam(1e-3), ema_decay=lambda step: 0.99)
  chunk = make_train_chunk(step, batch_size=4, num_steps=2)
  state = init_train_state(jnp.float32(1.0), optax.adam(1e-3))
  exported = export.export(chunk, platforms=PLATFORMS)(
    state, jax.random.key(0), stretched_chain(8))
  assert exported.platforms == PLATFORMS
