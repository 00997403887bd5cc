"""Boltzmann generators as coarse-grained models: relative entropy without resampling.

A flow knows the density that it samples, so relative entropy is its negative log-likelihood,

  S = <|F(x)|²/2T + (d/2) ln 2πT - ln |dF/dx|>_data + const,  u(x) = -ln q(x),

with F from data to latent and T relative to the prior's (Noé et al. 2019; Shell 2008). The force is
that of any energy: `force.make_force_field(energy.make_score(u), t=0, kT=kT, scale=1, alpha=1)`.
"""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.baselines.couplings import (
  additive,
  affine,
  alternate,
  elementwise,
  scaling,
  spline,
)
from twoforone.baselines.flow import Flow, LogDensityFn, SampleFn, chain, fit_standardise
from twoforone.baselines.splines import fit_box
from twoforone.types import EnergyFn, LossFn, Scalar


def monotone_spline(*, box: float, num_bins: int = 24) -> Flow:
  """One number by one spline on [-box, box]: the exact 1-D model, with `splines.fit_box`."""
  return elementwise(1, spline(num_bins, low=-box, high=box))


def real_nvp(size: int, *, num_blocks: int = 6, widths: tuple[int, ...] = (100, 100)) -> Flow:
  """Affine couplings, tanh networks (Dinh et al. 2017; the sizes of Noé et al. 2019).

  For a model of one number take size 2, an auxiliary channel beside it.
  """
  return alternate(affine(), size=size, num_blocks=num_blocks, widths=widths, activation=nn.tanh)


def nice(size: int, *, num_blocks: int = 4, widths: tuple[int, ...] = (100, 100)) -> Flow:
  """Additive couplings and a scale of each coordinate (Dinh et al. 2015).

  Its Jacobian is constant, so q_T ∝ q_1^(1/T): one temperature fixes all.
  """
  layers = alternate(additive(), size=size, num_blocks=num_blocks, widths=widths,
                     activation=nn.tanh)
  return chain(layers, elementwise(size, scaling()))


def fit_spline_flow(
  x: Float[np.ndarray, 'frames d'], *, num_blocks: int = 4, num_bins: int = 16,
  widths: tuple[int, ...] = (64, 64),
) -> Flow:
  """Spline couplings on the z-scores of x, in the box that `splines.fit_box` finds for them.

  Raises:
    ValueError: when a coordinate does not vary, or there is only one.
  """
  standardise = fit_standardise(x)
  box = fit_box((x - x.mean(axis=0)) / x.std(axis=0))
  transform = spline(num_bins, low=-box, high=box)
  return chain(standardise, alternate(transform, size=x.shape[1], num_blocks=num_blocks,
                                      widths=widths))


def make_likelihood_loss(log_density: LogDensityFn, *, num_auxiliary: int = 0) -> LossFn:
  """-ln q_T(x), the relative entropy up to a constant of the data; examples are (x, T) or x at T=1.

  With auxiliary channels it is ln N(eta; 0, T I) - ln q_T(x, eta), eta drawn afresh: its mean is
  never below that of -ln q_T(x), q_T(x) the marginal. Several temperatures: `join_temperatures`.

  Args:
    log_density: over x (flattened) and the auxiliary channels behind it.
    num_auxiliary: how many there are.
  """

  def loss(params, key, example):
    x, temperature = example if isinstance(example, tuple) else (example, 1.0)
    eta = jnp.sqrt(temperature) * jax.random.normal(key, (num_auxiliary,), x.dtype)
    whole = jnp.concatenate([x.ravel(), eta])
    return _log_normal(eta, temperature) - log_density(params, whole, temperature)

  return loss


def join_temperatures(
  sets: Sequence[Float[np.ndarray, '_ *shape']], temperatures: Sequence[float]
) -> tuple[Float[np.ndarray, 'all *shape'], Float[np.ndarray, ' all']]:
  """Examples (x, T) of data drawn at several temperatures: the loss is their mean over T.

  Raises:
    ValueError: when the sets do not match the temperatures, or differ in length.
  """
  lengths = [len(x) for x in sets]
  if len(sets) != len(temperatures) or len(set(lengths)) != 1 or not min(temperatures) > 0:
    raise ValueError(f'temperatures: found {list(temperatures)} for sets of {lengths} frames, '
                     'expected one positive temperature for each and equal lengths')
  return (np.concatenate(sets),
          np.repeat(np.asarray(temperatures, sets[0].dtype), lengths[0]))


def cap_energy(
  energy: Float[Array, '*shape'], *, threshold: float = 100.0, limit: float = 1e10
) -> Float[Array, '*shape']:
  """E below the threshold E_0, E_0 + ln(1 + E - E_0) above, constant beyond the limit.

  Keeps clashes of an untrained flow finite (Noé et al. 2019).
  """
  excess = jnp.maximum(jnp.minimum(energy, limit) - threshold, 0.0)
  return jnp.minimum(energy, threshold) + jnp.log1p(excess)


def make_energy_loss(
  sample: SampleFn, energy: Callable[[Array], Array], *, temperature: float = 1.0
) -> LossFn:
  """cap(energy(x) / T) + ln q_T(x) at a draw x of the flow: KL(q ‖ p) - ln Z (Noé et al. 2019).

  The example is not used: every example of a batch is one draw. Not part of BG-REM, whose only
  knowledge of the target is data; it finds weights that data from short trajectories lack.

  Args:
    sample: of the flow.
    energy: of x[d], in units of the reference temperature's kT.
    temperature: T.
  """

  def loss(params, key, example):
    del example
    x, log_density = sample(params, key, temperature)
    return cap_energy(energy(x) / temperature) + log_density

  return loss


def make_coordinate_entropy_loss(
  sample: SampleFn, coordinate: Callable[[Array], Array], *, low: float, high: float,
  num_samples: int, num_kernels: int = 11, temperature: float = 1.0,
) -> LossFn:
  """-Σ_k ln <occupation of kernel k>: spreads draws over a coordinate (Noé et al. 2019).

  A draw is shared among Gaussian kernels on [low, high], each (high - low) / num_kernels wide, with
  a floor of 1e-6. One call draws a whole batch and the example is not used, so one example does:
  give it as `train.Auxiliary(loss, 1)`.

  Args:
    sample: of the flow.
    coordinate: of x[d].
    low, high: first and last centre.
    num_samples: draws.
    num_kernels: kernels.
    temperature: of the draws.

  Raises:
    ValueError: for an empty range, or fewer than one draw or two kernels.
  """
  if not high > low or num_samples < 1 or num_kernels < 2:
    raise ValueError(f'coordinate: found [{low}, {high}], {num_samples} draws, {num_kernels} '
                     'kernels, expected high > low, a draw and two kernels')
  centres, width = jnp.linspace(low, high, num_kernels), (high - low) / num_kernels

  def occupation(params, key):
    x, _ = sample(params, key, temperature)
    kernel = jnp.exp(-0.5 * ((coordinate(x) - centres) / width) ** 2) + 1e-6
    return kernel / jnp.sum(kernel)

  def loss(params, key, example):
    del example
    keys = jax.random.split(key, num_samples)
    return -jnp.sum(jnp.log(jnp.mean(jax.vmap(occupation, (None, 0))(params, keys), axis=0)))

  return loss


def log_weights(
  energy: Float[Array, ' draws'], log_density: Float[Array, ' draws']
) -> Float[Array, ' draws']:
  """ln w = -u(x) - ln q(x), normalised to Σ w = 1: turns the flow's draws into those of e^-u.

  As -ln q = u_Z + ln |dx/dz| + const, this is Noé et al. (2019)'s -u_X + u_Z + ln R_zx. How many
  independent draws the weights are worth: `relative_entropy.effective_size`.
  """
  return jax.nn.log_softmax(-energy - log_density)


def make_flow_energy(log_density: LogDensityFn, *, temperature: float = 1.0) -> EnergyFn:
  """energy(params, x, t) = u(x) = -ln q_T(x) in kT; t is not used, x of any shape is flattened.

  With a log-density from `marginal` it is the coarse-grained potential of what is left.
  """

  def energy(params, x, t):
    del t
    return -log_density(params, x.ravel(), temperature)

  return energy


def _log_normal(eta: Array, temperature: float | Scalar) -> Array:
  """ln N(eta; 0, T I)."""
  return -0.5 * (jnp.sum(eta**2) / temperature + eta.size * jnp.log(2 * math.pi * temperature))
