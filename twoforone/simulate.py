"""Many replicas at once: `vmap` of one integrator, a scan over frames, a scan over steps.

A chunk takes a state and returns the next one, so a long run is a chain of chunks and equals one
unbroken run bit for bit. Replicas that blow up are frozen and marked, never dropped; they touch
no other. The force must not depend on where the molecule is: positions are recentred each frame.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twoforone.geometry import centre, distances
from twoforone.langevin import Integrator
from twoforone.types import Beads, Params, PotentialFn, PRNGKey, ProjectFn

CheckFn = Callable[[Beads], Int[Array, '']]
"""`check(x[n,3]) -> []`: 0 for a sound configuration, otherwise an index into `REASONS`."""

REASONS = ('sound', 'not finite', 'bond too long')


class SimulationState(NamedTuple):
  """All that the next frame needs.

  Attributes:
    dynamics: the integrator's states, leading axis [R].
    frame: number of frames made so far, [].
    lost_frame: frame at which a replica was lost, -1 while it is sound, [R].
    reason: index into `REASONS`, [R].
  """

  dynamics: Any
  frame: Int[Array, '']
  lost_frame: Int[Array, ' R']
  reason: Int[Array, ' R']


class Info(NamedTuple):
  """What a person wants to see of each stored frame, [F, R] each.

  Attributes:
    kinetic: Σ p²/2m of the integrator's `kinetic` [kJ/mol]; its mean is 3n kT/2.
    virial: Σ F·(x - centre) [kJ/mol]; its mean is -3(n - 1) kT.
    potential: U(x) [kJ/mol], up to a constant; NaN where the force has none or it was not given.
  """

  kinetic: Float[Array, 'F R']
  virial: Float[Array, 'F R']
  potential: Float[Array, 'F R']


class BlowUp(NamedTuple):
  """A replica that was lost: which, at which frame and time [ps], and why."""

  replica: int
  frame: int
  time: float
  reason: str


def check_finite(x: Beads) -> Int[Array, '']:
  """1 (not finite) when any coordinate is not a finite number, else 0."""
  return jnp.where(jnp.isfinite(x).all(), 0, 1)


def make_bond_check(bonds: np.ndarray, max_length: float) -> CheckFn:
  """check(x): `check_finite`, and 2 when a bond is longer than `max_length` [nm].

  Args:
    bonds: bonded pairs (i, j), [bonds, 2].
    max_length: the longest bond a sound configuration can have [nm].

  Raises:
    ValueError: when the length is not positive.
  """
  if not max_length > 0:
    raise ValueError(f'max_length: found {max_length} nm, expected a positive number')
  bonds = np.asarray(bonds)

  def check(x):
    too_long = (distances(x, jnp.asarray(bonds)) > max_length).any()
    return jnp.where(jnp.isfinite(x).all(), jnp.where(too_long, 2, 0), 1)

  return check


def init_replicas(
  integrator: Integrator, params: Params, key: PRNGKey, x: Float[Array, 'R n dim'],
  kT: Float[Array, ' R'], *, project: ProjectFn = centre
) -> SimulationState:
  """Centred starting states with fresh momenta, one key for each replica.

  Args:
    x: starting positions [nm].
    kT: thermal energy of each replica's thermostat [kJ/mol].

  Raises:
    ValueError: when positions are not finite or a kT is not positive.
  """
  if not np.isfinite(x).all():
    bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
    raise ValueError(f'x: found positions that are not finite in replicas {bad.tolist()}')
  check_kT(kT)
  return start_replicas(integrator, params, key, x, kT, project=project)


def check_kT(kT: Float[Array, ' R']) -> None:
  """Passes when every thermal energy [kJ/mol] is positive.

  Raises:
    ValueError: when one is not.
  """
  if not (np.asarray(kT) > 0).all():
    raise ValueError(f'kT: found {np.min(kT)} kJ/mol, expected positive numbers')


def start_replicas(
  integrator: Integrator, params: Params, key: PRNGKey, x: Float[Array, 'R n dim'],
  kT: Float[Array, ' R'], *, project: ProjectFn = centre
) -> SimulationState:
  """As `init_replicas`, without its checks, which cannot run inside a compiled function."""
  replicas = x.shape[0]
  with jax.default_matmul_precision('highest'):
    dynamics = jax.vmap(integrator.init, in_axes=(None, 0, 0, 0))(
      params, jax.random.split(key, replicas), jax.vmap(project)(x), kT)
  return first_state(dynamics, replicas)


def first_state(dynamics: Any, replicas: int) -> SimulationState:
  """The state before the first frame, all replicas sound."""
  return SimulationState(
    dynamics, frame=jnp.zeros((), jnp.int32), lost_frame=jnp.full(replicas, -1, jnp.int32),
    reason=jnp.zeros(replicas, jnp.int32))


def simulate(
  integrator: Integrator, params: Params, state: SimulationState, kT: Float[Array, ' R'], *,
  num_frames: int, stride: int, check: CheckFn = check_finite,
  project: ProjectFn = centre, potential: PotentialFn | None = None
) -> tuple[SimulationState, Float[Array, 'F R n dim'], Info]:
  """num_frames frames, `stride` steps apart, of every replica: (state, x [nm], info).

  A replica that fails `check` at a stored frame is frozen at its last sound frame; from there on
  its frames and info are NaN. Matrix products use full float32 precision.

  Args:
    kT: thermal energy of each replica's thermostat [kJ/mol].
    num_frames: F.
    stride: steps between frames.
    check: finds a configuration that has blown up.
    project: applied to each stored frame and carried on; the force must not see it.
    potential: of the force, for the info; evaluated once for each stored frame.

  Raises:
    ValueError: when num_frames or stride is below one.
  """
  for name, value in (('num_frames', num_frames), ('stride', stride)):
    if value < 1:
      raise ValueError(f'{name}: found {value}, expected at least 1')

  def advance(dynamics, lost, kT):
    after, _ = jax.lax.scan(
      lambda state, _: (integrator.step(params, state, kT), None), dynamics, length=stride)
    after = dataclasses.replace(after, position=project(after.position))
    reason = check(after.position)
    lost = lost | (reason > 0)
    seen = after.position, _observe(integrator, potential, params, after)
    return _freeze(lost, dynamics, after), reason, _blank(lost, seen)

  def frame(state, _):
    was_lost = state.lost_frame >= 0
    dynamics, reason, (x, info) = jax.vmap(advance)(state.dynamics, was_lost, kT)
    return next_state(state, dynamics, reason), (x, info)

  with jax.default_matmul_precision('highest'):
    state, (x, info) = jax.lax.scan(frame, state, length=num_frames)
  return state, x, info


def next_state(
  state: SimulationState, dynamics: Any, reason: Int[Array, ' R']
) -> SimulationState:
  """One frame on; a replica with a reason that was sound until now is marked as lost at it."""
  new = (state.lost_frame < 0) & (reason > 0)
  return SimulationState(
    dynamics, frame=state.frame + 1, lost_frame=jnp.where(new, state.frame, state.lost_frame),
    reason=jnp.where(new, reason, state.reason))


def make_simulation(
  integrator: Integrator, *, num_frames: int, stride: int, check: CheckFn = check_finite,
  project: ProjectFn = centre, potential: PotentialFn | None = None
) -> Callable[[Params, SimulationState, Float[Array, ' R']], tuple]:
  """run(params, state, kT) = `simulate`, compiled once for all chunks and all checkpoints.

  The state given to `run` is donated: do not use it again. On a mesh, `shard` the state before
  each chunk (free when nothing moves), or the second chunk compiles once more.
  """

  def run(params, state, kT):
    return simulate(
      integrator, params, state, kT, num_frames=num_frames, stride=stride, check=check,
      project=project, potential=potential)

  return jax.jit(run, donate_argnames='state')


def blow_ups(state: SimulationState, interval: float) -> list[BlowUp]:
  """One record for each lost replica; `interval` is the time between frames [ps]."""
  lost_frame, reason = np.asarray(state.lost_frame), np.asarray(state.reason)
  return [
    BlowUp(int(r), int(lost_frame[r]), float((lost_frame[r] + 1) * interval), REASONS[reason[r]])
    for r in np.flatnonzero(lost_frame >= 0)]


def _freeze(lost: Bool[Array, ''], before: Any, after: Any) -> Any:
  return jax.tree.map(lambda old, new: jnp.where(lost, old, new), before, after)


def _observe(
  integrator: Integrator, potential: PotentialFn | None, params: Params, state: Any
) -> Info:
  """Kinetic energy, virial and potential of one replica."""
  x = state.position
  energy = jnp.full((), jnp.nan, x.dtype) if potential is None else potential(params, x)
  return Info(integrator.kinetic(state), jnp.sum(state.force * x), energy)


def _blank(lost: Bool[Array, ''], seen: Any) -> Any:
  """What was seen of a replica, NaN once it is lost."""
  return jax.tree.map(lambda a: jnp.where(lost, jnp.nan, a), seen)
