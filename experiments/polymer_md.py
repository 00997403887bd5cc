"""Langevin dynamics of many bead-spring chains of one length at once, seen as coarse beads.

Chains and replicas go through one `vmap`; the fine frames stay on the device, only beads and Rg²
leave it. LJ units: σ = m = kT = 1, time in τ.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from twoforone import geometry, langevin, simulate
from twoforone.datasets import clustering, polymer_potential, polymers
from twoforone.types import PRNGKey

MAX_BOND = 2.0  # σ; fourteen standard deviations beyond the mean


class Frames(NamedTuple):
  """What is stored of C chains in R replicas.

  Attributes:
    x: positions of the beads, [C, R, F, n, 3].
    square_radius: Rg² of the fine chain, [C, R, F].
    kinetic: mean p²/m of a fine coordinate at each frame, [C, R, F]; 1 at the thermostat's kT.
  """

  x: np.ndarray
  square_radius: np.ndarray
  kinetic: np.ndarray


def cluster(length: int, level: float) -> Int[np.ndarray, ' {length}']:
  """The bead of each particle of a linear chain."""
  return clustering.cluster_graph(polymers.linear_bonds(length), length, level)


def simulate_chains(
  species: Int[np.ndarray, 'C N'], key: PRNGKey, *, level: float, replicas: int, dt: float,
  friction: float, equilibration: float, length: float, interval: float, chunk: float,
  report: Callable[[int, int, float], object] = lambda done, chunks, seconds: None,
) -> tuple[Frames, float]:
  """Simulates each chain `replicas` times from extended starts; returns frames and seconds.

  Args:
    species: of chains of one length.
    level: fine particles for each bead.
    equilibration: not stored [τ].
    length: of what is stored [τ].
    interval: between frames [τ].
    chunk: time of one compiled run [τ]; divides both times.
    report: called after each chunk with chunks done, all chunks and seconds, compilation left out.

  Raises:
    ValueError: when chains blow up, with all of them named, or when the chunk does not fit.
  """
  skip, keep = (_count('chunk', chunk, whole) for whole in (equilibration, length))
  advance, params, state = prepare_chains(
    species, key, level=level, replicas=replicas, dt=dt, friction=friction, interval=interval,
    chunk=chunk)
  advance = advance.lower(params, state).compile()
  made, begin = [], time.monotonic()
  for k in range(skip + keep):
    state, frames = jax.block_until_ready(advance(params, state))
    _check(state, interval)
    made += [jax.tree.map(np.asarray, frames)] if k >= skip else []
    report(k + 1, skip + keep, time.monotonic() - begin)
  seconds = time.monotonic() - begin
  return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1).swapaxes(1, 2), *made), seconds


def prepare_chains(
  species: Int[np.ndarray, 'C N'], key: PRNGKey, *, level: float, replicas: int, dt: float,
  friction: float, interval: float, chunk: float
) -> tuple[Callable, polymer_potential.ChainParams, simulate.SimulationState]:
  """A jitted `make_chunk` of all chains, which donates its state, their params and extended starts.

  Args as `simulate_chains`.
  """
  params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(polymers.chain_params, species))
  integrator = langevin.make_langevin(
    polymer_potential.force, mass=np.ones(species.shape[1]), dt=dt, friction=friction)
  advance = make_chunk(
    integrator, cluster(species.shape[1], level), replicas=replicas,
    num_frames=_count('interval', interval, chunk), stride=_count('dt', dt, interval))
  state = _start(integrator, params, jax.random.split(key, len(species)), replicas)
  return jax.jit(jax.vmap(advance), donate_argnums=1), params, state


def make_chunk(
  integrator: langevin.Integrator, cluster: Int[np.ndarray, ' N'], *, replicas: int,
  num_frames: int, stride: int
) -> Callable:
  """advance(params, state) -> (state, frames with axes [F, R, ...]) of one chain."""
  weight = (cluster == np.arange(cluster.max() + 1)[:, None]).astype(np.float32)
  weight /= weight.sum(axis=1, keepdims=True)  # masses are equal
  check = simulate.make_bond_check(polymers.linear_bonds(len(cluster)), MAX_BOND)

  def advance(params, state):
    # Not recentred: how far the chain as a whole moves is part of what is learned.
    state, x, info = simulate.simulate(
      integrator, params, state, jnp.ones(replicas), num_frames=num_frames, stride=stride,
      project=geometry.keep, check=check)
    beads = jnp.einsum('fraj,na->frnj', x, weight, precision='highest')
    square_radius = 3 * jnp.mean(jnp.var(x, axis=2), axis=-1)
    return state, Frames(beads, square_radius, info.kinetic * 2 / (3 * len(cluster)))

  return advance


def _start(
  integrator: langevin.Integrator, params: polymer_potential.ChainParams, keys: Array,
  replicas: int
) -> simulate.SimulationState:
  """Extended chains with thermal momenta; leading axes [C, R]."""
  straight = polymers.zigzag(params.stickiness.shape[1])
  x = jnp.broadcast_to(jnp.asarray(straight, jnp.float32), (replicas, *straight.shape))

  def start(params, key):
    return simulate.start_replicas(
      integrator, params, key, x, jnp.ones(replicas), project=geometry.keep)

  return jax.jit(jax.vmap(start))(params, keys)


def _count(name: str, part: float, whole: float) -> int:
  """How many parts make the whole."""
  count = round(whole / part)
  if count < 1 or abs(count * part - whole) > 1e-6 * whole:
    raise ValueError(f'{name}: found {part} τ, expected a whole part of {whole} τ')
  return count


def _check(state: simulate.SimulationState, interval: float) -> None:
  """Raises ValueError that lists every chain which blew up."""
  lost = np.argwhere(np.asarray(state.lost_frame) >= 0)
  if len(lost):
    found = [f'chain {c} replica {r} at {(state.lost_frame[c, r] + 1) * interval:g} τ '
             f'({simulate.REASONS[state.reason[c, r]]})' for c, r in lost]
    raise ValueError(f'{len(lost)} of {state.lost_frame.size} runs blew up, try a smaller dt: '
                     f'{", ".join(found)}')
