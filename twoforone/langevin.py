"""Langevin dynamics of one configuration: dp = F dt - friction p dt + sqrt(2 m kT friction) dW.

The BAOAB splitting of Leimkuhler and Matthews (2013), from jax-md: one force per step, exact
configurational variance in a harmonic well at any stable step. Replicas are `simulate`'s affair.
This is the only importer of jax_md (about 10 s); import it only to simulate.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax_md import simulate, space

from twoforone.types import Beads, ForceFn, Params, PRNGKey, Scalar


@runtime_checkable
class InitFn(Protocol):
  """`init(params, key, x[n,3], kT[]) -> state` with position, momentum, force and mass."""

  def __call__(self, params: Params, key: PRNGKey, x: Beads, kT: Scalar) -> Any: ...


@runtime_checkable
class StepFn(Protocol):
  """`step(params, state, kT[]) -> state`, one time step later."""

  def __call__(self, params: Params, state: Any, kT: Scalar) -> Any: ...


@runtime_checkable
class KineticFn(Protocol):
  """`kinetic(state) -> []`: a kinetic energy [kJ/mol] whose mean is the thermostat's."""

  def __call__(self, state: Any) -> Scalar: ...


class Integrator(NamedTuple):
  """Dynamics of one configuration.

  The state is a dataclass with at least `position` [n, 3], `momentum` [n, 3], `force` [n, 3] and
  `mass` [n, 1], in nm, ps, amu and kJ/mol, and everything else the next step needs.

  Attributes:
    init: (params, key, x, kT) -> state.
    step: (params, state, kT) -> state.
    kinetic: state -> kinetic energy.
  """

  init: InitFn
  step: StepFn
  kinetic: KineticFn


def make_langevin(
  force: ForceFn, *, mass: np.ndarray, dt: float, friction: float
) -> Integrator:
  """BAOAB: p += F dt/2, x += p/m dt/2, p = c p + sqrt(m kT (1 - c²)) ξ, then mirrored.

  Here c = exp(-friction dt). Momenta start from Maxwell-Boltzmann at the given kT. The centre of
  mass moves freely, so all 3n degrees of freedom carry kT/2 each. At a finite step <p²> is
  m kT (1 - (ω dt)²/4) in a harmonic mode of angular frequency ω; `kinetic` is of the momentum half
  a kick earlier, p - F dt/2, whose variance there is m kT at any stable step.

  Source: Leimkuhler and Matthews, Appl. Math. Res. Express 2013, eq. 12.

  Args:
    force: of the configuration [kJ/mol/nm].
    mass: of each bead, [n] [amu].
    dt: time step [ps].
    friction: collision rate [1/ps]; zero gives velocity Verlet.

  Raises:
    ValueError: for a mass or time step that is not positive, or a negative friction.
  """
  mass = np.asarray(mass)
  if mass.ndim != 1 or not (mass > 0).all():
    raise ValueError(f'mass: found {mass}, expected one positive number of amu for each bead')
  if not (dt > 0 and np.isfinite(dt)):
    raise ValueError(f'dt: found {dt} ps, expected a positive number')
  if not (friction >= 0 and np.isfinite(friction)):
    raise ValueError(f'friction: found {friction} 1/ps, expected zero or a positive number')

  def force_of(x, *, params):
    return force(params, x)

  # The kT given here is never used: both functions below pass their own.
  start, advance = simulate.nvt_langevin(force_of, space.free()[1], dt, 1.0, gamma=friction)

  def init(params, key, x, kT):
    if len(x) != mass.size:
      raise ValueError(f'x: found {len(x)} beads, expected {mass.size}: one mass per bead')
    key, momentum_key = jax.random.split(key)
    m = jnp.asarray(mass, x.dtype)
    # jax-md's own momenta are centred without their masses; that is not Maxwell-Boltzmann.
    momentum = jnp.sqrt(m * kT)[:, None] * jax.random.normal(momentum_key, x.shape, x.dtype)
    return start(key, x, mass=m, momenta=momentum, params=params)

  def step(params, state, kT):
    return advance(state, kT=kT, params=params)

  def kinetic(state):
    half_step = state.momentum - 0.5 * dt * state.force
    return 0.5 * jnp.sum(half_step**2 / state.mass)

  return Integrator(init, step, kinetic)
