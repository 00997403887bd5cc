"""Classical relative entropy: a potential whose ensemble averages are those of the data.

S_rel(θ) = <U_θ>_data + ln ∫ exp(-U_θ) dx + const, in kT (Shell, J. Chem. Phys. 129, 144108, 2008).
Its gradient <∂U/∂θ>_data - <∂U/∂θ>_θ needs samples of the model at every θ. They are drawn by a
sampler (`walkers`), reweighted while θ moves, and drawn again when few are left: the cost, and the
drift of chains that cross no barrier, are logged.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from twoforone.baselines.walkers import Draw, Sampler, make_reduced
from twoforone.types import Beads, EnergyFn, Params, PRNGKey, Scalar

MeanEnergyFn = Callable[[Params, PRNGKey, Any], Scalar]
"""`mean_energy(params, key, data) -> <U>_data` [kT], or an unbiased estimate of it."""


@runtime_checkable
class Optimizer(Protocol):
  """What optax calls a gradient transformation with extra arguments (here x and log_weights)."""

  init: Callable[[Params], Any]
  update: Callable[..., tuple[Params, Any]]


class State(NamedTuple):
  """Everything the next update needs.

  Attributes:
    step: number of updates made.
    params: of the energy.
    opt_state: of the optimizer.
    draw: the samples in use.
  """

  step: Int[Array, '']
  params: Params
  opt_state: Any
  draw: Draw


class Log(NamedTuple):
  """What a person wants to see of each update, [updates] each.

  Attributes:
    effective: N_eff / S of the samples that the update found; NaN at the first.
    resampled: whether it drew new ones.
    evaluations: force evaluations of that draw, zero without one.
    population: mean of `observe` over the weighted samples in use.
    lost: part of those samples that belong to lost walkers.
    gradient_norm: of the gradient of S_rel.
  """

  effective: Float[Array, '*updates']
  resampled: Bool[Array, '*updates']
  evaluations: Int[Array, '*updates']
  population: Float[Array, '*updates']
  lost: Float[Array, '*updates']
  gradient_norm: Float[Array, '*updates']


def make_mean_energy(energy: EnergyFn, batch_size: int) -> MeanEnergyFn:
  """mean_energy(params, key, x[F,n,dim]): over batch_size frames drawn with replacement.

  An energy linear in its parameters needs no frames: see `linear_mean`.
  """
  energies = _make_energies(energy)

  def mean_energy(params, key, x):
    index = jax.random.randint(key, (batch_size,), 0, len(x))
    return energies(params, x[index]).mean()

  return mean_energy


def linear_mean(
  params: Float[Array, ' count'], key: PRNGKey, mean_basis: Float[Array, ' count']
) -> Scalar:
  """params · <basis>_data, exact: the `MeanEnergyFn` of `basis.make_linear_energy`."""
  del key
  return jnp.sum(params * mean_basis)


def make_objective(energy: EnergyFn, mean_energy: MeanEnergyFn) -> Callable:
  """objective(params, key, data, draw) = <U>_data + ln mean exp(-U - ln p_draw), S_rel + const.

  The second term is A_old - A in kT by free-energy perturbation (Zwanzig 1954); autodiff then gives
  the reweighted gradient, <∂U/∂θ>_data - Σ w ∂U/∂θ with the weights of `log_weights`.
  """
  energies = _make_energies(energy)

  def objective(params, key, data, draw):
    exponent = -energies(params, draw.x) - draw.log_density
    return mean_energy(params, key, data) + (
      jax.nn.logsumexp(exponent) - jnp.log(len(draw.x)))

  return objective


def log_weights(energy: EnergyFn, params: Params, draw: Draw) -> Float[Array, ' S']:
  """ln w_i with w_i ∝ exp(-U(x_i)) / p_draw(x_i) and Σ w = 1."""
  return jax.nn.log_softmax(-_make_energies(energy)(params, draw.x) - draw.log_density)


def effective_size(log_weights: Float[Array, ' S']) -> Scalar:
  """N_eff = exp(-Σ w ln w): S for equal weights, one when a single sample holds all."""
  weights = jnp.exp(log_weights)
  return jnp.exp(-jnp.sum(jnp.where(weights == 0, 0.0, weights * log_weights)))


class Newton(NamedTuple):
  """An `Optimizer` without state."""

  init: Callable[[Params], tuple]
  update: Callable[..., tuple[Params, tuple]]


def make_newton(energy: EnergyFn, *, ridge: float = 1e-3, max_step: float = 1.0) -> Newton:
  """-(Cov_θ(∂U/∂θ) + ridge)⁻¹ gradient, shortened to max_step in its largest component.

  The covariance is the Hessian of S_rel for an energy linear in its parameters, where S_rel is
  convex; for another energy it leaves the mean of the second derivatives out.

  Source: Chaimovich and Shell, J. Chem. Phys. 134, 094112 (2011).

  Args:
    energy: of few parameters: the derivatives of all samples are held at once.
    ridge: added to the diagonal, for directions the ensemble does not feel.
    max_step: the reweighting and the quadratic model hold for small ones only.

  Raises:
    ValueError: for a number that is not positive.
  """
  for name, value in (('ridge', ridge), ('max_step', max_step)):
    if not value > 0:
      raise ValueError(f'{name}: found {value}, expected a positive number')

  slope_of = jax.grad(make_reduced(energy))

  def update(gradient, state, params, *, x, log_weights):
    flat, unravel = ravel_pytree(gradient)
    slopes = jax.vmap(slope_of, in_axes=(None, 0))(params, x)
    slopes = jax.vmap(lambda slope: ravel_pytree(slope)[0])(slopes)
    step = -jnp.linalg.solve(
      _covariance(slopes, jnp.exp(log_weights)) + ridge * jnp.eye(len(flat)), flat)
    return unravel(step * jnp.minimum(1, max_step / jnp.abs(step).max())), state

  return Newton(lambda params: (), update)


def init_state(
  sampler: Sampler, optimizer: Optimizer, params: Params, walkers: Any
) -> State:
  """The state before the first update, which draws: its samples have no density yet."""
  params, walkers = jax.tree.map(jnp.copy, (params, walkers))  # a run donates its state
  like = jax.eval_shape(sampler, params, jax.random.key(0), walkers)
  blank = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
  draw = blank._replace(walkers=walkers, log_density=jnp.full_like(blank.log_density, jnp.nan))
  return State(jnp.zeros((), jnp.int32), params, optimizer.init(params), draw)


def make_update(
  energy: EnergyFn, mean_energy: MeanEnergyFn, sampler: Sampler, optimizer: Optimizer, *,
  ratio: float, observe: Callable[[Beads], Scalar]
) -> Callable[[State, PRNGKey, Any], tuple[State, Log]]:
  """update(state, key, data) -> (state, log): new samples where N_eff < ratio S, one step.

  Args:
    energy: the model, read at t = 0 [kT].
    mean_energy: the term of the data.
    sampler: of the model.
    optimizer: `make_newton`, or one of optax through `optax.with_extra_args_support`.
    ratio: 1.1 draws at every update, 0.9 seldom.
    observe: of one configuration, e.g. one on the right of a barrier and zero on its left.

  Raises:
    ValueError: when the ratio is not positive.
  """
  if not ratio > 0:
    raise ValueError(f'ratio: found {ratio}, expected a positive number')
  gradient_of = jax.grad(make_objective(energy, mean_energy))

  def refresh(state, key):
    found = effective_size(log_weights(energy, state.params, state.draw))
    # Not a number before the first draw, which no comparison passes.
    resampled = ~(found >= ratio * len(state.draw.x))
    draw = jax.lax.cond(
      resampled, lambda: sampler(state.params, key, state.draw.walkers),
      lambda: state.draw._replace(evaluations=jnp.zeros((), jnp.int32)))
    return draw, found / len(draw.x), resampled

  def update(state, key, data):
    sample_key, data_key = jax.random.split(key)
    draw, effective, resampled = refresh(state, sample_key)
    gradient = gradient_of(state.params, data_key, data, draw)
    weights = log_weights(energy, state.params, draw)
    change, opt_state = optimizer.update(
      gradient, state.opt_state, state.params, x=draw.x, log_weights=weights)
    log = Log(
      effective, resampled, draw.evaluations,
      population=jnp.sum(jnp.exp(weights) * jax.vmap(observe)(draw.x)),
      lost=jnp.mean(jnp.isinf(draw.log_density)),
      gradient_norm=jnp.linalg.norm(ravel_pytree(gradient)[0]))
    params = jax.tree.map(jnp.add, state.params, change)
    return State(state.step + 1, params, opt_state, draw), log

  return update


def make_run(update: Callable, num_updates: int) -> Callable[[State, PRNGKey, Any], tuple]:
  """run(state, key, data) -> (state, log [num_updates]): a jitted scan; a chain of runs is one run.

  The state is donated.
  """

  def run(state, key, data):
    return jax.lax.scan(
      lambda s, _: update(s, jax.random.fold_in(key, s.step), data), state, length=num_updates)

  return jax.jit(run, donate_argnums=0)


def total_evaluations(log: Log) -> int:
  """Force evaluations of all updates, beyond the range of int32."""
  return int(np.sum(np.asarray(log.evaluations), dtype=np.int64))


def _make_energies(energy: EnergyFn) -> Callable[[Params, Array], Array]:
  """energies(params, x[S,n,dim]) -> [S] in kT."""
  return jax.vmap(make_reduced(energy), in_axes=(None, 0))


def _covariance(values: Float[Array, 'S k'], weights: Float[Array, ' S']) -> Float[Array, 'k k']:
  with jax.default_matmul_precision('highest'):
    centred = values - weights @ values
    return (weights[:, None] * centred).T @ centred
