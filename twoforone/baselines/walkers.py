"""Ensembles of a model under training: a grid (the oracle), simulated chains, parallel tempering.

A sampler starts from the walkers' last positions and draws x from the energy's current parameters;
each sample comes with the log-density it was drawn from, up to a constant, so that later parameters
can reweight it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.energy import make_score
from twoforone.force import make_force_field, make_potential
from twoforone.geometry import keep
from twoforone.langevin import Integrator
from twoforone.metropolis import make_metropolis_langevin
from twoforone.simulate import simulate, start_replicas
from twoforone.tempering import parallel_tempering, start_ladders
from twoforone.types import EnergyFn, Params, PotentialFn, PRNGKey, ProjectFn


class Draw(NamedTuple):
  """Samples, and where the next ones start.

  Attributes:
    walkers: sound positions that end the draw, whatever axes the sampler uses.
    x: samples, [S, n, dim].
    log_density: ln of the density they were drawn from, up to a constant, [S]; +inf for a sample of
      a lost walker, which gives it no weight.
    evaluations: force evaluations of all walkers.
  """

  walkers: Any
  x: Float[Array, 'S n dim']
  log_density: Float[Array, ' S']
  evaluations: Int[Array, '']


Sampler = Callable[[Params, PRNGKey, Any], Draw]
"""`sampler(params, key, walkers) -> Draw`."""


def make_reduced(energy: EnergyFn) -> PotentialFn:
  """reduced(params, x) = energy(params, x, 0), for an energy that is not of a diffusion [kT]."""
  return make_potential(energy, t=0.0, kT=1.0, scale=1.0, alpha=1.0)


def make_quadrature(x: Float[Array, 'S n dim']) -> Sampler:
  """The points of an equal grid, as draws from a uniform density: exact in few dimensions.

  Its walkers are `()`; it needs no force.
  """

  def sampler(params, key, walkers):
    del params, key
    return Draw(walkers, x, jnp.zeros(len(x), x.dtype), jnp.zeros((), jnp.int32))

  return sampler


def make_mala(energy: EnergyFn, step: float) -> Integrator:
  """x' = x - step²/2 ∇U + step ξ, accepted or not: the Metropolis-adjusted Langevin algorithm.

  It is one Verlet step with all momenta drawn anew, for an energy in kT and one bead of mass one.

  Source: Roberts and Tweedie, Bernoulli 2, 341 (1996).
  """
  force = make_force_field(make_score(energy), t=0.0, kT=1.0, scale=1.0, alpha=1.0)
  potential = make_reduced(energy)
  # exp(-1000) is zero: nothing of the old momenta is left.
  return make_metropolis_langevin(force, potential, mass=np.ones(1), dt=step, friction=1e3 / step)


def make_simulated(
  integrator: Integrator, energy: EnergyFn, *, kT: float, num_frames: int, stride: int,
  skip: int = 0, project: ProjectFn = keep
) -> Sampler:
  """Frames of every walker, one chain each, walkers [R, n, dim]; S = num_frames R.

  Args:
    integrator: of the force of `energy`, in the unit of kT; chains cross no barrier it cannot.
    energy: reduced, of the same positions.
    kT: thermal energy at which the energy is in units of kT.
    num_frames: kept of each chain in a draw.
    stride: steps between frames.
    skip: frames left out before them.
    project: see `simulate`.

  Raises:
    ValueError: when num_frames or stride is below one (at the first call).
  """

  def sampler(params, key, walkers):
    replicas = len(walkers)
    every = jnp.full(replicas, kT, walkers.dtype)
    state = start_replicas(integrator, params, key, walkers, every, project=keep)
    state, x, _ = simulate(integrator, params, state, every, num_frames=skip + num_frames,
                           stride=stride, project=project)
    end = state.dynamics.position
    return _collect(energy, params, end, x[skip:], end,
                    replicas * (1 + (skip + num_frames) * stride))

  return sampler


def make_tempered(
  integrator: Integrator, energy: EnergyFn, *, kT: tuple[float, ...], num_frames: int, stride: int,
  exchange_every: int = 5, skip: int = 0, project: ProjectFn = keep
) -> Sampler:
  """As `make_simulated`, with walkers [R, M, n, dim] on ladders; samples are the lowest rung's.

  Args:
    kT: of each rung; at the first the energy is in units of kT.
    exchange_every: steps between exchanges, a divisor of `stride`.
  """
  ladder = np.asarray(kT, np.float32)
  potential = make_potential(energy, t=0.0, kT=kT[0], scale=1.0, alpha=1.0)

  def sampler(params, key, walkers):
    state = start_ladders(
      integrator, params, key, walkers, jnp.asarray(ladder), project=keep)
    state, x, _ = parallel_tempering(
      integrator, potential, params, state, jnp.asarray(ladder), num_frames=skip + num_frames,
      stride=stride, exchange_every=exchange_every, project=project)
    end = state.copies.dynamics.position
    return _collect(energy, params, end, x[skip:, :, 0], end[:, 0],
                    walkers[..., 0, 0].size * (1 + (skip + num_frames) * stride))

  return sampler


def _collect(energy, params, walkers, x, sound_x, evaluations) -> Draw:
  """Frames [F, R, n, dim] as samples; a lost walker's frames stand at its last sound position."""
  sound = jnp.isfinite(x).all(axis=(2, 3))
  x = jnp.where(sound[..., None, None], x, sound_x).reshape(-1, *x.shape[2:])
  u = jax.vmap(make_reduced(energy), in_axes=(None, 0))(params, x)
  log_density = jnp.where(sound.ravel(), -u, jnp.inf)
  return Draw(walkers, x, log_density, jnp.asarray(evaluations, jnp.int32))
