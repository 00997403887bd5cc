"""Langevin dynamics without time step error: generalised hybrid Monte Carlo.

Each step refreshes the momenta exactly, then proposes one velocity Verlet step that is accepted
with probability min(1, exp[-ΔH / kT]); a rejected one turns the momenta round. Positions and
momenta keep exp[-H / kT] at any step; the path is that of Langevin dynamics while few are rejected.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twoforone.langevin import Integrator, check_beads, check_dynamics, thermal_momenta
from twoforone.types import ForceFn, PotentialFn


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MetropolisState:
  """Position [nm], momentum, force [kJ/mol/nm], [n, 3]; potential [kJ/mol], accepted steps, key."""

  position: Any
  momentum: Any
  force: Any
  potential: Any
  accepted: Any
  key: Any


def make_metropolis_langevin(
  force: ForceFn, potential: PotentialFn, *, mass: np.ndarray, dt: float, friction: float
) -> Integrator:
  """p = c p + sqrt(m kT (1 - c²)) ξ, then (x, p) = Verlet(x, p), or (x, -p) where it is rejected.

  Here c = exp(-friction dt). A step to where the potential is not a number is rejected. The state's
  `accepted` counts the accepted steps.

  Source: Horowitz, Phys. Lett. B 268, 247 (1991).

  Args:
    force: -∇ potential of the configuration [kJ/mol/nm]; any other is still exact, but rejected
      more often, as long as it depends on x alone.
    potential: of the configuration [kJ/mol].
    mass: of each bead, [n] [amu].
    dt: time step [ps].
    friction: collision rate [1/ps].

  Raises:
    ValueError: for a mass or time step that is not positive, or a negative friction.
  """
  mass = check_dynamics(mass, dt, friction)

  @jax.jit  # else every operation of the force is compiled by itself
  def init(params, key, x, kT):
    check_beads(x, mass)
    key, momentum_key = jax.random.split(key)
    momentum = thermal_momenta(momentum_key, x, mass, kT)
    return MetropolisState(x, momentum, force(params, x), potential(params, x),
                           jnp.zeros((), jnp.int32), key)

  def step(params, state, kT):
    key, momentum_key, accept_key = jax.random.split(state.key, 3)
    thermal = thermal_momenta(momentum_key, state.position, mass, kT)
    c = np.exp(-friction * dt)
    start = dataclasses.replace(
      state, momentum=c * state.momentum + np.sqrt(1 - c**2) * thermal, key=key)
    end = verlet(params, start)
    gain = start.potential + kinetic(start) - end.potential - kinetic(end)
    accept = jnp.log(jax.random.uniform(accept_key, dtype=gain.dtype)) < gain / kT
    stay = dataclasses.replace(start, momentum=-start.momentum)
    return jax.tree.map(lambda new, old: jnp.where(accept, new, old), end, stay)

  def verlet(params, state):
    m = jnp.asarray(mass, state.position.dtype)[:, None]
    momentum = state.momentum + 0.5 * dt * state.force
    x = state.position + dt * momentum / m
    new_force = force(params, x)
    return dataclasses.replace(
      state, position=x, momentum=momentum + 0.5 * dt * new_force, force=new_force,
      potential=potential(params, x), accepted=state.accepted + 1)

  def kinetic(state):
    m = jnp.asarray(mass, state.momentum.dtype)[:, None]
    return 0.5 * jnp.sum(state.momentum**2 / m)

  def rescale(state, kT, new_kT):
    return dataclasses.replace(state, momentum=jnp.sqrt(new_kT / kT) * state.momentum)

  return Integrator(init, step, kinetic, rescale)
