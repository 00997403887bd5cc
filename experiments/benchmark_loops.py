"""The loops that the benchmark times: training steps, force calls and simulated steps.

The networks are untrained and the data random chains: neither changes the work. Everything but
the network is the library's own, so two forms of a network differ in nothing else.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import measure
from experiments.literal_attention import make_literal_transformer
from twoforone import langevin, optimizers, simulate, train, units
from twoforone.energy import make_energy, make_score
from twoforone.force import in_pieces, make_force_field
from twoforone.losses import noise_levels
from twoforone.losses.denoising import make_denoising_loss, with_random_rotation
from twoforone.networks.graph_transformer import GraphTransformer
from twoforone.networks.invariant import InvariantEnergy, fit_invariants
from twoforone.schedule import cosine_schedule
from twoforone.types import EnergyFn, Params

SCHEDULE = cosine_schedule()
SCALE = 0.1  # nm
TEMPERATURE = 300.0  # K
LEVEL = 20


class Model(NamedTuple):
  """An untrained energy, its parameters, whitened positions x[frames, n, 3], their scale [nm]."""

  energy: EnergyFn
  params: Params
  x: np.ndarray
  scale: float = SCALE


def random_walks(num_frames: int, beads: int) -> np.ndarray:
  """Centred random walks of unit standard deviation, [num_frames, beads, 3]."""
  x = np.random.default_rng(0).normal(size=(num_frames, beads, 3)).cumsum(axis=1)
  x -= x.mean(axis=1, keepdims=True)
  return (x / x.std()).astype(np.float32)


def make_transformer(size, *, literal: bool) -> Model:
  """The paper's network at a published size, factorised or with its edge tensors."""
  model = GraphTransformer(size['beads'], size['width'], size['num_layers'])
  network = make_literal_transformer(size['beads']) if literal else model.apply
  return initialise(model, network, random_walks(4096, size['beads']))


def make_invariant(beads: int) -> Model:
  """The default network: an MLP on invariants."""
  x = random_walks(4096, beads)
  model = InvariantEnergy(SCHEDULE, fit_invariants(x))
  return initialise(model, model.apply, x)


def training_loop(
  model: Model, batch: int, *, steps: int, num_microbatches: int = 1
) -> measure.Loop:
  """Denoising loss through the score, its gradient, AdamW and EMA."""
  score = make_score(model.energy)
  draw_level = noise_levels.categorical_levels(noise_levels.higher_until_weights(SCHEDULE))
  loss = with_random_rotation(make_denoising_loss(score, SCHEDULE, draw_level=draw_level))
  optimizer = optimizers.adamw(learning_rate=1e-6, final_learning_rate=1e-6, num_steps=1)
  step = train.make_train_step(loss, optimizer, ema_decay=optimizers.warmup_ema(0.995),
                               num_microbatches=num_microbatches)
  state = train.init_train_state(jax.tree.map(jnp.copy, model.params), optimizer)
  return measure.compile_loop(
    train.make_train_chunk(step, batch_size=batch, num_steps=steps),
    (state, jax.random.key(1), jnp.asarray(model.x)),
    lambda arguments, result: (result[0], *arguments[1:]), steps=steps, batch=batch)


def force_loop(model: Model, replicas: int, *, steps: int) -> measure.Loop:
  """Force calls only, each at positions that the one before has moved a little."""
  force = jax.vmap(_force(model), in_axes=(None, 0))

  def calls(params, x):
    # The move is too small to matter and too real to be compiled away.
    return jax.lax.scan(lambda x, _: (x + 1e-9 * force(params, x), None), x, length=steps)[0]

  return measure.compile_loop(
    jax.jit(calls), (model.params, _starts(model, replicas)),
    lambda arguments, result: (arguments[0], result), steps=steps, batch=replicas)


def simulation_loop(
  model: Model, replicas: int, *, steps: int, at_once: int | None = None
) -> measure.Loop:
  """One frame of `steps` BAOAB steps of all replicas, as `simulate` runs them.

  Forces are computed for `at_once` replicas at a time (None: all).
  """
  force = _force(model) if at_once is None else in_pieces(_force(model), at_once)
  integrator = langevin.make_langevin(
    force, mass=np.full(model.x.shape[1], 12.8), dt=0.002, friction=1.0)
  kT = jnp.full(replicas, units.thermal_energy(TEMPERATURE))
  state = simulate.init_replicas(
    integrator, model.params, jax.random.key(2), _starts(model, replicas), kT)
  return measure.compile_loop(
    simulate.make_simulation(integrator, num_frames=1, stride=steps), (model.params, state, kT),
    lambda arguments, result: (arguments[0], result[0], kT), steps=steps, batch=replicas)


def initialise(model, network, x: np.ndarray, scale: float = SCALE) -> Model:
  """The model with random parameters, its species being places in the chain."""
  species = jnp.arange(x.shape[1])
  params = jax.jit(model.init)(jax.random.key(0), x[0], jnp.float32(0.5), species)
  return Model(make_energy(network, SCHEDULE, species), params, x, scale)


def _force(model: Model):
  return make_force_field(
    make_score(model.energy), t=LEVEL / SCHEDULE.num_steps, scale=model.scale, alpha=1.0,
    kT=units.thermal_energy(TEMPERATURE))


def _starts(model: Model, replicas: int):
  return jnp.asarray(model.scale * model.x[np.arange(replicas) % len(model.x)])
