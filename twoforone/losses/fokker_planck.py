"""The Fokker-Planck residual: does the energy move with the noise as a density must?

A variance-preserving process in D coordinates carries l = log p_t, s = grad l, along
  d_t l = beta/2 (div s + |s|² + x · s + D),   beta = -2 d_t log alpha   (after Song et al. 2021).
Right side minus left is the residual R: zero for a family of normalised densities, a function of t
alone for one that lacks its normaliser. Plainer et al. (2025, arXiv 2506.17139) train with R².
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.geometry import centre
from twoforone.losses.noise_levels import constant_weight
from twoforone.schedule import Schedule, perturb
from twoforone.types import Beads, EnergyFn, LossFn, NoiseLevelFn, ProjectFn, Scalar, WeightFn

TimeDerivativeFn = Callable[[Callable[[Scalar], Scalar], Scalar], Scalar]
"""`derivative(f, t) -> f'(t)`."""


class Curve(NamedTuple):
  """The residual over the noise, in units of D.

  Attributes:
    sigma: noise levels, [K].
    rms: root mean square of R/D over frames, its mean removed: no normaliser can mend this.
    mean: mean of R/D: what a normaliser would have to mend.
  """

  sigma: Float[Array, ' sigmas']
  rms: Float[Array, ' sigmas']
  mean: Float[Array, ' sigmas']


def noise_rate(schedule: Schedule, t: Scalar) -> Scalar:
  """beta(t) = -2 d/dt log alpha(t): beta_min + (beta_max - beta_min) t for `vp_schedule`."""
  return -2 * jax.grad(lambda t: jnp.log(schedule.alpha(t)))(t)


def num_coordinates(project: ProjectFn, x: Beads) -> Scalar:
  """D, the dimension of the space that `project` leaves: 3 (n - 1) for centred positions."""
  jacobian = jax.jacfwd(project)(jnp.zeros(x.shape, x.dtype))
  return jnp.trace(jacobian.reshape(x.size, x.size))


def normalise(energy: EnergyFn, offset: Callable) -> EnergyFn:
  """energy - offset(t), on `params` = {'energy', 'offset'}: see `classification.make_offset`."""

  def normalised_energy(params, x, t):
    return energy(params['energy'], x, t) - offset(params['offset'], t)

  return normalised_energy


def exact_derivative(f: Callable[[Scalar], Scalar], t: Scalar) -> Scalar:
  """f'(t) by forward differentiation: no step, so no end of the time axis to mind."""
  return jax.jvp(f, (t,), (jnp.ones_like(t),))[1]


def make_stencil(
  before: float, after: float, *, lowest: float, highest: float = 1.0
) -> TimeDerivativeFn:
  """f'(t) from f at t - before, t and t + after, of second order; one-sided at the ends.

  Where a point would leave [lowest, highest] all three move inside, and their weights with them.
  Plainer et al. (2025) take before=1e-3, after=5e-4 and let the schedule hold f constant below its
  first time (lowest=-inf), which biases the derivative towards zero where the force is read.

  Raises:
    ValueError: when the points do not fit between the ends.
  """
  if not (before > 0 and after > 0 and before + after < highest - lowest):
    raise ValueError(f'stencil: found {before} + {after}, expected two positive steps that '
                     f'fit into [{lowest}, {highest}]')

  def derivative(f, t):
    shift = (jnp.maximum(lowest + before - t, 0.0) if lowest > -jnp.inf else 0.0)
    shift = shift + jnp.minimum(highest - after - t, 0.0)
    a, b, c = shift - before, shift, shift + after
    # The slope at 0 of the parabola through (a, f_a), (b, f_b), (c, f_c).
    weights = jnp.stack([-(b + c) / ((a - b) * (a - c)), -(a + c) / ((b - a) * (b - c)),
                         -(a + b) / ((c - a) * (c - b))])
    return jnp.dot(weights, jax.vmap(f)(t + jnp.stack([a, b, c])))

  return derivative


def make_fokker_planck_residual(
  energy: EnergyFn, schedule: Schedule, *, project: ProjectFn = centre, probe: float = 1e-3,
  time_derivative: TimeDerivativeFn = exact_derivative, constant: float | None = None
) -> Callable:
  """residuals(params, key, x[n,d], t[]) -> [2]: estimates of R from two independent probes.

  div s is estimated by e · (s(x + probe e) - s(x)) / probe, e normal and projected; its error is
  of order probe² on average. Given x the two are independent, so their product estimates R²
  without bias. Three gradients and a time derivative.

  Args:
    energy: -log p_t, in kT, with its normaliser or up to a function of t.
    probe: length of a probe, whitened.
    time_derivative: `exact_derivative` or a `make_stencil`.
    constant: in place of D; Plainer et al.'s code has 1.
  """
  scores = jax.vmap(_make_projected_score(energy, project), in_axes=(None, 0, None))

  def residuals(params, key, x, t):
    e = jax.vmap(project)(jax.random.normal(key, (2, *x.shape), x.dtype))
    s = scores(params, jnp.concatenate([x[None], x + probe * e]), t)
    divergence = jnp.sum(e * (s[1:] - s[0]), axis=(1, 2)) / probe
    rest = jnp.sum(s[0] ** 2) + jnp.sum(x * s[0])
    rest += num_coordinates(project, x) if constant is None else constant
    slope = -time_derivative(lambda t: energy(params, project(x), t), t)
    return noise_rate(schedule, t) / 2 * (divergence + rest) - slope

  return residuals


def make_fokker_planck_loss(
  residuals: Callable, schedule: Schedule, *, draw_level: NoiseLevelFn,
  weight: WeightFn = constant_weight, project: ProjectFn = centre
) -> LossFn:
  """w(t) R_1 R_2 / D² at x_t: (R / D)² on average, negative for some examples.

  Add it to a denoising loss with `denoising.add_losses` (Plainer et al. 2025; the strengths in
  their configs run from 5e-4 for a two-dimensional toy to 0.02 for a protein).

  Args:
    residuals: from `make_fokker_planck_residual`.
  """

  def loss(params, key, x):
    key_level, key_noise, key_probe = jax.random.split(key, 3)
    t = draw_level(key_level)
    noise = project(jax.random.normal(key_noise, x.shape, x.dtype))
    first, second = residuals(params, key_probe, perturb(schedule, project(x), noise, t), t)
    return weight(t) * first * second / num_coordinates(project, x) ** 2

  return loss


def make_exact_residual(
  energy: EnergyFn, schedule: Schedule, *, project: ProjectFn = centre,
  time_derivative: TimeDerivativeFn = exact_derivative
) -> Callable:
  """residual(params, x[n,d], t[]) -> []: R with the exact divergence; n d gradients, to look at."""
  score = _make_projected_score(energy, project)

  def residual(params, x, t):
    def diagonal(direction):
      return jnp.sum(direction * jax.jvp(lambda x: score(params, x, t), (x,), (direction,))[1])

    s = score(params, x, t)
    directions = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    divergence = jnp.sum(jax.lax.map(diagonal, directions))
    right = divergence + jnp.sum(s**2) + jnp.sum(x * s) + num_coordinates(project, x)
    slope = -time_derivative(lambda t: energy(params, project(x), t), t)
    return noise_rate(schedule, t) / 2 * right - slope

  return residual


def fokker_planck_curve(
  residual: Callable, schedule: Schedule, params, key, x: Float[Array, 'frames beads dim'],
  sigmas: Float[Array, ' sigmas'], *, project: ProjectFn = centre
) -> Curve:
  """R/D over frames, each noised to every sigma: needs no simulation and predicts its trouble.

  Args:
    residual: from `make_exact_residual`.
    params: of its energy.
    key: of the noise; the same for every sigma.
    x: clean whitened frames.
    sigmas: inside the schedule's range.
  """
  noise = jax.vmap(project)(jax.random.normal(key, x.shape, x.dtype))
  count = num_coordinates(project, x[0])

  def at(sigma):
    t = schedule.time(sigma)
    x_t = jax.vmap(lambda x, noise: perturb(schedule, project(x), noise, t))(x, noise)
    values = jax.vmap(residual, in_axes=(None, 0, None))(params, x_t, t) / count
    return values.std(), values.mean()

  return Curve(sigmas, *jax.lax.map(at, sigmas))


def _make_projected_score(energy: EnergyFn, project: ProjectFn) -> Callable:
  """-grad_x energy(project(x)): lies in the projected space, as do all its derivatives."""
  return jax.grad(lambda params, x, t: -energy(params, project(x), t), argnums=1)
