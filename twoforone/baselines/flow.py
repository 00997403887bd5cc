"""Normalising flows: an invertible map of one configuration x[d] to a latent z[d], and its density.

  ln q(x) = ln p(z) + ln |dz/dx|,  z = forward(x)

forward is data -> latent, inverse latent -> data, log_det always that of the direction taken. At
temperature T the prior is N(0, T I) (Noé et al. 2019). Layers are in `couplings`. Auxiliary
channels are coordinates behind those of the data, see `boltzmann_generator`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LogDensityFn = Callable[..., Array]
"""`log_density(params, x[d], temperature=1.0, context=None) -> []`."""

SampleFn = Callable[..., tuple[Array, Array]]
"""`sample(params, key, temperature=1.0, context=None) -> (x[d], log_density[])`."""


class Flow(NamedTuple):
  """An invertible map with parameters, for one configuration; `vmap` at the edge.

  Attributes:
    init: init(key) -> params, a pytree.
    forward: forward(params, x[d], context=None) -> (z[d], log_det[]), data to latent.
    inverse: inverse(params, z[d], context=None) -> (x[d], log_det[]), latent to data.
  """

  init: Callable
  forward: Callable
  inverse: Callable


class Prior(NamedTuple):
  """A density of the latent, which knows the temperature.

  Attributes:
    log_density: log_density(z[d], temperature=1.0) -> [], normalised.
    sample: sample(key, temperature=1.0) -> z[d].
    size: d.
  """

  log_density: Callable
  sample: Callable
  size: int


def chain(*flows: Flow) -> Flow:
  """The flows one after another from data to latent; params is a tuple, one entry for each."""

  def init(key):
    return tuple(flow.init(jax.random.fold_in(key, k)) for k, flow in enumerate(flows))

  def forward(params, x, context=None):
    total = jnp.zeros((), x.dtype)
    for flow, own in zip(flows, params, strict=True):
      x, log_det = flow.forward(own, x, context)
      total += log_det
    return x, total

  def inverse(params, z, context=None):
    total = jnp.zeros((), z.dtype)
    for flow, own in zip(flows[::-1], params[::-1], strict=True):
      z, log_det = flow.inverse(own, z, context)
      total += log_det
    return z, total

  return Flow(init, forward, inverse)


def fixed_affine(
  mean: Float[np.ndarray, ' d'], scale: Float[np.ndarray, ' d'] | Float[np.ndarray, 'd d']
) -> Flow:
  """x = mean + scale z, nothing to train: standard deviations [d], or a matrix [d, d].

  Raises:
    ValueError: for a scale that cannot be inverted.
  """
  matrix = np.diag(scale) if scale.ndim == 1 else scale
  sign, log_volume = np.linalg.slogdet(matrix.astype(np.float64))
  if not (sign != 0 and np.isfinite(log_volume)):
    raise ValueError(f'scale: found {scale.tolist()}, expected numbers that can be inverted')
  inverted = 1 / scale if scale.ndim == 1 else np.linalg.inv(matrix.astype(np.float64))

  def forward(params, x, context=None):
    del params, context
    z = _times(inverted, x - jnp.asarray(mean, x.dtype))
    return z, jnp.asarray(-log_volume, x.dtype)

  def inverse(params, z, context=None):
    del params, context
    x = jnp.asarray(mean, z.dtype) + _times(scale, z)
    return x, jnp.asarray(log_volume, z.dtype)

  return Flow(lambda key: (), forward, inverse)


def _times(scale: np.ndarray, x: Array) -> Array:
  scale = jnp.asarray(scale, x.dtype)
  return scale * x if scale.ndim == 1 else scale @ x


def fit_standardise(x: Float[np.ndarray, 'frames d']) -> Flow:
  """`fixed_affine` with the mean and the standard deviation of each coordinate (z-scores).

  Raises:
    ValueError: when a coordinate does not vary or is not finite.
  """
  mean, std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
  if not (std > 0).all():
    raise ValueError(f'x: found standard deviations {std.tolist()}, expected positive numbers')
  return fixed_affine(mean, std)


def normal_prior(size: int, *, reference: float = 1.0) -> Prior:
  """N(0, T I) with T = temperature / reference, normalised: -|z|²/2T - (d/2) ln 2πT.

  Raises:
    ValueError: when size or reference is not positive.
  """
  if size < 1 or not reference > 0:
    raise ValueError(f'normal_prior: found size {size} and reference {reference}, '
                     'expected positive numbers')

  def log_density(z, temperature=1.0):
    variance = temperature / reference
    return -0.5 * jnp.sum(z**2) / variance - 0.5 * size * jnp.log(2 * math.pi * variance)

  def sample(key, temperature=1.0):
    return jnp.sqrt(temperature / reference) * jax.random.normal(key, (size,))

  return Prior(log_density, sample, size)


def uniform_prior(size: int, *, low: float = -math.pi, high: float = math.pi) -> Prior:
  """1 / (high - low)^d inside the box and zero outside, at every temperature; [-π, π)^d for angles.

  Raises:
    ValueError: for an empty box.
  """
  if size < 1 or not high > low:
    raise ValueError(f'uniform_prior: found size {size} and box [{low}, {high}], '
                     'expected a positive size and high > low')
  slack = 1e-5 * (high - low)  # a spline's end may be off by rounding

  def log_density(z, temperature=1.0):
    del temperature
    inside = jnp.all((z >= low - slack) & (z <= high + slack))
    return jnp.where(inside, -size * math.log(high - low), -jnp.inf)

  def sample(key, temperature=1.0):
    del temperature
    return jax.random.uniform(key, (size,), minval=low, maxval=high)

  return Prior(log_density, sample, size)


def join_priors(*priors: Prior) -> Prior:
  """The product density of (z_1, z_2, ...), their coordinates in the order of the priors."""
  ends = np.cumsum([prior.size for prior in priors])

  def log_density(z, temperature=1.0):
    parts = jnp.split(z, ends[:-1])
    return sum(prior.log_density(part, temperature)
               for prior, part in zip(priors, parts, strict=True))

  def sample(key, temperature=1.0):
    keys = jax.random.split(key, len(priors))
    return jnp.concatenate([prior.sample(k, temperature)
                            for prior, k in zip(priors, keys, strict=True)])

  return Prior(log_density, sample, int(ends[-1]))


def make_log_density(flow: Flow, prior: Prior) -> LogDensityFn:
  """log_density(params, x, temperature=1.0, context=None) = ln p_T(forward(x)) + ln |dz/dx|."""

  def log_density(params, x, temperature=1.0, context=None):
    z, log_det = flow.forward(params, x, context)
    return prior.log_density(z, temperature) + log_det

  return log_density


def make_sample(flow: Flow, prior: Prior) -> SampleFn:
  """sample(params, key, temperature=1.0, context=None) -> (x, ln q(x)), x = inverse(z), z ~ p_T."""

  def sample(params, key, temperature=1.0, context=None):
    z = prior.sample(key, temperature)
    x, log_det = flow.inverse(params, z, context)
    return x, prior.log_density(z, temperature) - log_det

  return sample
