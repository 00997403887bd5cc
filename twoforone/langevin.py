"""Langevin dynamics of one configuration: dp = F dt - friction p dt + sqrt(2 m kT friction) dW.

The BAOAB splitting of Leimkuhler and Matthews (2013), from jax-md: one force per step, exact
configurational variance in a harmonic well at any stable step; and its overdamped limit. Replicas
are `simulate`'s affair. This is the only importer of jax_md.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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
  """`kinetic(state) -> []`: a kinetic energy [kJ/mol] whose mean is the thermostat's.

  NaN for dynamics without momenta.
  """

  def __call__(self, state: Any) -> Scalar: ...


@runtime_checkable
class RescaleFn(Protocol):
  """`rescale(state, kT[], new_kT[]) -> state`: the same configuration on another thermostat.

  Where x and momenta are independent at kT they are so at new_kT, with the new variances.
  """

  def __call__(self, state: Any, kT: Scalar, new_kT: Scalar) -> Any: ...


class Integrator(NamedTuple):
  """Dynamics of one configuration.

  The state is a dataclass with at least `position` [n, 3] and `force` [n, 3] in nm and kJ/mol, and
  everything else the next step needs.

  Attributes:
    init: (params, key, x, kT) -> state.
    step: (params, state, kT) -> state.
    kinetic: state -> kinetic energy.
    rescale: (state, kT, new_kT) -> state.
  """

  init: InitFn
  step: StepFn
  kinetic: KineticFn
  rescale: RescaleFn


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
  mass = check_dynamics(mass, dt, friction)

  def force_of(x, *, params):
    return force(params, x)

  # Takes seconds to import; only those who simulate wait for it.
  from jax_md import simulate, space

  # The kT given here is never used: both functions below pass their own.
  start, advance = simulate.nvt_langevin(force_of, space.free()[1], dt, 1.0, gamma=friction)

  def init(params, key, x, kT):
    check_beads(x, mass)
    key, momentum_key = jax.random.split(key)
    # jax-md's own momenta are centred without their masses; that is not Maxwell-Boltzmann.
    momentum = thermal_momenta(momentum_key, x, mass, kT)
    return start(key, x, mass=jnp.asarray(mass, x.dtype), momenta=momentum, params=params)

  def step(params, state, kT):
    return advance(state, kT=kT, params=params)

  def kinetic(state):
    half_step = state.momentum - 0.5 * dt * state.force
    return 0.5 * jnp.sum(half_step**2 / state.mass)

  def rescale(state, kT, new_kT):
    return state.set(momentum=jnp.sqrt(new_kT / kT) * state.momentum)

  return Integrator(init, step, kinetic, rescale)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OverdampedState:
  """Position [nm] and force [kJ/mol/nm], the last noise, [n, 3] each, and the key of the next."""

  position: Any
  force: Any
  noise: Any
  key: Any


def make_overdamped(
  force: ForceFn, *, mass: np.ndarray, dt: float, friction: float
) -> Integrator:
  """x += h F + sqrt(2 kT h) (ξ_k + ξ_{k+1}) / 2 with h = dt / (m friction): no momenta.

  The limit of BAOAB at high friction: unlike Euler-Maruyama (which uses one ξ per step) it keeps
  var x = kT/k exact in a harmonic well at any stable step, h k < 2. The free diffusion constant is
  kT / (m friction).

  Source: Leimkuhler and Matthews, Appl. Math. Res. Express 2013, eq. 16.

  Args:
    force: of the configuration [kJ/mol/nm].
    mass: of each bead, [n] [amu].
    dt: time step [ps].
    friction: collision rate [1/ps].

  Raises:
    ValueError: for a mass, time step or friction that is not positive.
  """
  mass = _check_mass(mass)
  _check_positive('dt', dt, 'ps')
  _check_positive('friction', friction, '1/ps')
  mobility = dt / (mass * friction)

  @jax.jit  # else every operation of the force is compiled by itself
  def init(params, key, x, kT):
    del kT
    check_beads(x, mass)
    key, noise_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, x.shape, x.dtype)
    return OverdampedState(x, force(params, x), noise, key)

  def step(params, state, kT):
    key, noise_key = jax.random.split(state.key)
    noise = jax.random.normal(noise_key, state.position.shape, state.position.dtype)
    h = jnp.asarray(mobility, state.position.dtype)[:, None]
    kick = jnp.sqrt(2 * kT * h) * 0.5 * (state.noise + noise)
    x = state.position + h * state.force + kick
    return OverdampedState(x, force(params, x), noise, key)

  def kinetic(state):
    return jnp.full((), jnp.nan, state.position.dtype)

  def rescale(state, kT, new_kT):
    # The noise alone is correlated with x: it is the displacement sqrt(2 kT h) noise + h F that
    # is independent of x in a harmonic well, and that scales as a momentum does.
    h = jnp.asarray(mobility, state.position.dtype)[:, None]
    shift = jnp.sqrt(h / 2) * state.force * (1 / jnp.sqrt(kT) - 1 / jnp.sqrt(new_kT))
    return dataclasses.replace(state, noise=state.noise + shift)

  return Integrator(init, step, kinetic, rescale)


def automatic_time_step(
  force: ForceFn, params: Params, x: Float[Array, 'frames beads dim'], *, mass: np.ndarray,
  fraction: float = 0.25,
) -> float:
  """dt = fraction · 2 / ω_max [ps], ω²_max the largest eigenvalue of -M^-1/2 (∂F/∂x) M^-1/2.

  Taken over the given frames; the step is stable below ω dt = 2 in a harmonic well. A quarter
  leaves <p²> 6 % low in the stiffest mode and positions exact (see `make_langevin`).

  Args:
    force: of the configuration [kJ/mol/nm].
    params: of the force.
    x: some typical frames [nm].
    mass: of each bead, [n] [amu].
    fraction: of the largest stable step.

  Raises:
    ValueError: for a mass or fraction that is not positive, or where no frame is in a well.
  """
  mass = _check_mass(mass)
  _check_positive('fraction', fraction, '')
  jacobian = jax.lax.map(jax.jit(jax.jacfwd(lambda x: force(params, x))), x)
  root = np.repeat(np.sqrt(mass), x.shape[-1])
  stiffness = -np.asarray(jacobian, np.float64).reshape(-1, root.size, root.size)
  stiffness /= root[:, None] * root
  largest = np.linalg.eigvalsh((stiffness + stiffness.swapaxes(1, 2)) / 2).max()
  if not largest > 0:
    raise ValueError(f'x: found a largest stiffness of {largest:g} 1/ps², expected frames near a '
                     'minimum')
  return float(2 * fraction / np.sqrt(largest))


def diffusion_time_step(
  *, sigma: float, scale: float, kT: float, mass: float, friction: float
) -> float:
  """dt = sigma² scale² mass friction / kT [ps]: Brownian displacement matches the diffusion noise.

  The automatic step of Arts et al. (2023, their sampling script without dt), with the mass of the
  first bead; 2.5e-5 ps for their alanine dipeptide, a hundredth of the step they then used.
  """
  return sigma**2 * scale**2 * mass * friction / kT


def thermal_momenta(key: PRNGKey, x: Beads, mass: np.ndarray, kT: Scalar | float) -> Beads:
  """sqrt(m kT) ξ for each bead of x: Maxwell-Boltzmann, the centre of mass included."""
  width = jnp.sqrt(jnp.asarray(mass, x.dtype) * kT)[:, None]
  return width * jax.random.normal(key, x.shape, x.dtype)


def check_dynamics(mass: np.ndarray, dt: float, friction: float) -> np.ndarray:
  """The masses as an array, once all three can be those of Langevin dynamics.

  Raises:
    ValueError: for a mass or time step that is not positive, or a negative friction.
  """
  mass = _check_mass(mass)
  _check_positive('dt', dt, 'ps')
  if not (friction >= 0 and np.isfinite(friction)):
    raise ValueError(f'friction: found {friction} 1/ps, expected zero or a positive number')
  return mass


def check_beads(x: Beads, mass: np.ndarray) -> None:
  """Passes when there is one mass per bead.

  Raises:
    ValueError: when there is not.
  """
  if len(x) != mass.size:
    raise ValueError(f'x: found {len(x)} beads, expected {mass.size}: one mass per bead')


def _check_mass(mass: np.ndarray) -> np.ndarray:
  mass = np.asarray(mass)
  if mass.ndim != 1 or not (mass > 0).all():
    raise ValueError(f'mass: found {mass}, expected one positive number of amu for each bead')
  return mass


def _check_positive(name: str, value: float, unit: str) -> None:
  if not (value > 0 and np.isfinite(value)):
    raise ValueError(f'{name}: found {value} {unit}, expected a positive number')

