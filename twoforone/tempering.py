"""Parallel tempering: copies of a molecule on a ladder of temperatures exchange configurations.

Neighbouring rungs a and b swap with probability min(1, exp[(U_a - U_b)(1/kT_a - 1/kT_b)]), U the
physical potential, so every rung keeps its own Boltzmann distribution. One ladder is `simulate`
with its M rungs as replicas; `vmap` makes R ladders, which never talk.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from twoforone.geometry import centre
from twoforone.langevin import Integrator
from twoforone.simulate import (
  CheckFn,
  SimulationState,
  blow_ups,
  check_finite,
  check_kT,
  simulate,
  start_replicas,
)
from twoforone.types import Params, PotentialFn, PRNGKey, ProjectFn


class TemperingState(NamedTuple):
  """All that the next round (one exchange, then `exchange_every` steps) needs.

  Attributes:
    copies: states of all copies, axes [R, M]; its frames are rounds.
    walker: rung on which the configuration now on this rung began, [R, M].
    accepted, attempted: exchanges of rungs m and m + 1 so far, [R, pairs], M - 1 pairs.
    key: of each ladder's exchanges, [R].
  """

  copies: SimulationState
  walker: Int[Array, 'R M']
  accepted: Int[Array, 'R pairs']
  attempted: Int[Array, 'R pairs']
  key: Key[Array, ' R']


class LadderInfo(NamedTuple):
  """What a person wants to see of each stored frame, [F, R, M] each.

  Attributes:
    kinetic, virial, potential: as in `simulate.Info` [kJ/mol].
    walker: rung on which the configuration now on this rung began.
  """

  kinetic: Float[Array, 'F R M']
  virial: Float[Array, 'F R M']
  potential: Float[Array, 'F R M']
  walker: Int[Array, 'F R M']


class LostCopy(NamedTuple):
  """A copy that was lost: its ladder and rung, at which frame and time [ps], and why."""

  replica: int
  rung: int
  frame: int
  time: float
  reason: str


# Axes of a state under vmap over ladders: the number of rounds is the same for all.
_LADDERS = TemperingState(SimulationState(0, None, 0, 0), 0, 0, 0, 0)


def geometric_ladder(kT_min: float, kT_max: float, num: int) -> Float[Array, ' M']:
  """kT_m = kT_min (kT_max / kT_min)^(m / (num - 1)): equal acceptance for a harmonic potential.

  Raises:
    ValueError: when the ends are not positive and rising, or for fewer than two rungs.
  """
  if not 0 < kT_min < kT_max < np.inf:
    raise ValueError(f'kT_min, kT_max: found {kT_min} and {kT_max}, expected 0 < kT_min < kT_max')
  if num < 2:
    raise ValueError(f'num: found {num} rungs, expected at least 2')
  return jnp.asarray(np.geomspace(kT_min, kT_max, num), jnp.float32)


def init_ladders(
  integrator: Integrator, params: Params, key: PRNGKey, x: Float[Array, 'R M n dim'],
  kT: Float[Array, ' M'], *, project: ProjectFn = centre
) -> TemperingState:
  """R ladders of M copies, each with its own key and with momenta of its rung's kT.

  Args:
    x: starting positions [nm].
    kT: thermal energy of each rung's thermostat [kJ/mol].

  Raises:
    ValueError: when positions are not finite or a kT is not positive.
  """
  if not np.isfinite(x).all():
    bad = np.argwhere(~np.isfinite(x).all(axis=(2, 3))).tolist()
    raise ValueError(f'x: found positions that are not finite at [replica, rung] {bad}')
  check_kT(kT)
  return start_ladders(integrator, params, key, x, kT, project=project)


def start_ladders(
  integrator: Integrator, params: Params, key: PRNGKey, x: Float[Array, 'R M n dim'],
  kT: Float[Array, ' M'], *, project: ProjectFn = centre
) -> TemperingState:
  """As `init_ladders`, without its checks, which cannot run inside a compiled function."""
  replicas, rungs = x.shape[:2]
  key, exchange_key = jax.random.split(key)
  flat = start_replicas(integrator, params, key, jnp.reshape(x, (-1, *x.shape[2:])),
                        jnp.tile(kT, replicas), project=project)
  copies = jax.tree.map(
    lambda a: a.reshape(replicas, rungs, *a.shape[1:]) if a.ndim else a, flat)
  accepted, attempted = jnp.zeros((2, replicas, rungs - 1), jnp.int32)
  return TemperingState(
    copies, walker=jnp.tile(jnp.arange(rungs, dtype=jnp.int32), (replicas, 1)),
    accepted=accepted, attempted=attempted, key=jax.random.split(exchange_key, replicas))


def exchange(
  integrator: Integrator, potential: PotentialFn, params: Params, state: TemperingState,
  kT: Float[Array, ' M']
) -> TemperingState:
  """One attempt on every other pair of neighbours of *one* ladder, states with axes [M].

  Pairs (0, 1), (2, 3), ... in even rounds, (1, 2), (3, 4), ... in odd ones; the ends never pair.
  A configuration takes all it owns along, its force too (which no thermostat changes), with its
  momenta or noise `rescale`d to the new kT. Keys stay on their rungs. Lost copies are left out.

  Source: Sugita and Okamoto, Chem. Phys. Lett. 314, 141 (1999), eqs. 10-14.

  Args:
    potential: U of a configuration [kJ/mol].
    kT: thermal energy of each rung's thermostat [kJ/mol].
  """
  rungs, round_number = jnp.arange(len(kT)), state.copies.frame
  u = jax.vmap(potential, in_axes=(None, 0))(params, state.copies.dynamics.position)
  log_ratio = (u[:-1] - u[1:]) * (1 / kT[:-1] - 1 / kT[1:])
  draw = jax.random.uniform(jax.random.fold_in(state.key, round_number), log_ratio.shape)
  sound = state.copies.lost_frame < 0
  attempted = (rungs[:-1] % 2 == round_number % 2) & sound[:-1] & sound[1:]
  accepted = attempted & (jnp.log(draw) < log_ratio)
  source = rungs + jnp.pad(accepted, (0, 1)) - jnp.pad(accepted, (1, 0))
  return TemperingState(
    state.copies._replace(dynamics=_move(integrator, state.copies.dynamics, source, kT)),
    walker=state.walker[source], accepted=state.accepted + accepted,
    attempted=state.attempted + attempted, key=state.key)


def parallel_tempering(
  integrator: Integrator, potential: PotentialFn, params: Params, state: TemperingState,
  kT: Float[Array, ' M'], *, num_frames: int, stride: int, exchange_every: int,
  check: CheckFn = check_finite, project: ProjectFn = centre
) -> tuple[TemperingState, Float[Array, 'F R M n dim'], LadderInfo]:
  """num_frames frames, `stride` steps apart, of every rung of every ladder: (state, x [nm], info).

  Each round is an `exchange`, then `exchange_every` steps of `simulate`, which checks and recentres
  at the end of the round. A copy that fails the check is frozen on its rung and marked; it is
  never exchanged again, so its ladder is cut there, and its frames are NaN.

  Args:
    potential: U of a configuration [kJ/mol], whose force the integrator has.
    kT: thermal energy of each rung's thermostat [kJ/mol].
    num_frames: F.
    stride: steps between frames, a multiple of `exchange_every`.
    exchange_every: steps between exchanges.
    check, project: as for `simulate`.

  Raises:
    ValueError: when a number is below one, or stride is not a multiple of exchange_every.
  """
  for name, value, unit in (('num_frames', num_frames, 1), ('exchange_every', exchange_every, 1),
                            ('stride', stride, exchange_every)):
    if value < 1 or value % unit:
      raise ValueError(f'{name}: found {value}, expected a positive multiple of {unit}')

  def one_round(state):
    state = exchange(integrator, potential, params, state, kT)
    copies, (x,), info = simulate(
      integrator, params, state.copies, kT, num_frames=1, stride=exchange_every, check=check,
      project=project)
    return state._replace(copies=copies), (x, LadderInfo(*(a[0] for a in info), state.walker))

  def frame(state, _):
    # Carried, not scanned out: memory is for the stored frames, not for every round.
    _, like = jax.eval_shape(one_round, state)
    blank = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    state, (x, info) = jax.lax.fori_loop(
      0, stride // exchange_every, lambda _, carry: one_round(carry[0]), (state, blank))
    u = jax.vmap(potential, in_axes=(None, 0))(params, x)  # of the stored frame, not of each round
    lost = state.copies.lost_frame >= 0
    return state, (x, info._replace(potential=jnp.where(lost, jnp.nan, u)))

  def ladder(state):
    return jax.lax.scan(frame, state, length=num_frames)

  with jax.default_matmul_precision('highest'):
    state, (x, info) = jax.vmap(ladder, in_axes=(_LADDERS,), out_axes=(_LADDERS, 1))(state)
  return state, x, info


def make_parallel_tempering(
  integrator: Integrator, potential: PotentialFn, *, num_frames: int, stride: int,
  exchange_every: int, check: CheckFn = check_finite, project: ProjectFn = centre
) -> Callable[[Params, TemperingState, Float[Array, ' M']], tuple]:
  """run(params, state, kT) = `parallel_tempering`, compiled once for all chunks and checkpoints.

  The state given to `run` is donated: do not use it again. On a mesh, `shard` the state before
  each chunk, as for `make_simulation`; ladders are split, rungs are not.
  """

  def run(params, state, kT):
    return parallel_tempering(
      integrator, potential, params, state, kT, num_frames=num_frames, stride=stride,
      exchange_every=exchange_every, check=check, project=project)

  return jax.jit(run, donate_argnames='state')


def lost_copies(
  state: TemperingState, *, stride: int, exchange_every: int, dt: float
) -> list[LostCopy]:
  """One record for each lost copy, from the numbers of the run; dt is the time step [ps]."""
  flat = jax.tree.map(np.ravel, state.copies._replace(dynamics=()))
  return [
    LostCopy(*divmod(lost.replica, state.walker.shape[1]),
             lost.frame * exchange_every // stride, lost.time, lost.reason)
    for lost in blow_ups(flat, exchange_every * dt)]


def acceptance(state: TemperingState) -> Float[np.ndarray, ' pairs']:
  """Accepted per attempted exchange of rungs m and m + 1 over all ladders; NaN before the first."""
  accepted, attempted = (np.sum(a, axis=0) for a in (state.accepted, state.attempted))
  return np.where(attempted > 0, accepted / np.maximum(attempted, 1), np.nan)


def round_trip_times(
  walker: Int[np.ndarray, 'F R M'], interval: float
) -> Float[np.ndarray, ' trips']:
  """Times [ps] from the lowest rung to the highest and back, one for each completed round trip.

  A trip begins where a walker first comes to the lowest rung and ends at its next arrival there
  after the highest, where the next begins. Visits between stored frames are not seen.

  Args:
    walker: of each rung, from `LadderInfo`.
    interval: time between frames [ps].
  """
  rung = np.argsort(walker, axis=2).reshape(len(walker), -1)
  trips = [np.diff(_arrivals(trace, walker.shape[2] - 1)) for trace in rung.T]
  return interval * np.concatenate(trips).astype(float)


def _arrivals(trace: Int[np.ndarray, ' F'], top: int) -> Int[np.ndarray, ' arrivals']:
  """Frames at which a walker comes to rung 0 for the first time, or again after the top."""
  ends = np.flatnonzero((trace == 0) | (trace == top))
  home = trace[ends] == 0
  return ends[home & np.append(True, ~home)[:-1]]


def _move(
  integrator: Integrator, dynamics: Any, source: Int[Array, ' M'], kT: Float[Array, ' M']
) -> Any:
  """Each rung's state from the rung `source` names, on its thermostat and with its own key."""
  moved = jax.tree.map(
    lambda a: a if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a[source], dynamics)
  return jax.vmap(integrator.rescale)(moved, kT[source], kT)
