"""Coupling layers: one group of coordinates is transformed given other groups and a context.

  z_A = transform(x_A; network(x_B, context)),  z_rest = x_rest   (Dinh et al. 2015, 2017)

ln |dz/dx| is a sum over the coordinates of A and the inverse costs the same. A `Transform` acts on
each coordinate by itself; `elementwise` gives it trainable numbers in place of a network. Networks
end in zeros, so every layer starts as the identity.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.baselines import splines
from twoforone.baselines.flow import Flow, chain


class Transform(NamedTuple):
  """An invertible map of each coordinate by itself, the identity at raw = 0.

  Attributes:
    num_outputs: raw numbers for each coordinate, k.
    init: init(size) -> params of the transform's own, beside the raw numbers.
    forward: forward(params, raw[d, k], x[d]) -> (z[d], log_det[d]).
    inverse: inverse(params, raw[d, k], z[d]) -> (x[d], log_det[d]).
  """

  num_outputs: int
  init: Callable
  forward: Callable
  inverse: Callable


class Conditioner(nn.Module):
  """A dense network whose last layer starts at zero.

  Attributes:
    widths: of the hidden layers.
    num_outputs: numbers it returns.
    activation: of the hidden layers.
  """

  widths: tuple[int, ...]
  num_outputs: int
  activation: Callable = nn.silu

  @nn.compact
  def __call__(self, h: Float[Array, ' features']) -> Float[Array, ' {self.num_outputs}']:
    for width in self.widths:
      h = self.activation(nn.Dense(width)(h))
    return nn.Dense(self.num_outputs, kernel_init=nn.initializers.zeros)(h)


def affine(*, bound: float = 2.0) -> Transform:
  """z = x exp(s) + t with s = bound tanh(raw): RealNVP (Dinh et al. 2017)."""
  return _affine(lambda size: (), lambda own: bound)


def learned_affine(*, start: float = -1.0) -> Transform:
  """z = x exp(s) + t with s = exp(a) tanh(raw), a trainable from `start`: the form of bgflow."""
  return _affine(lambda size: jnp.full((), start), jnp.exp)


def additive() -> Transform:
  """z = x + raw, which keeps volumes: NICE (Dinh et al. 2015)."""
  return Transform(
    1, lambda size: (),
    lambda own, raw, x: (x + raw[:, 0], jnp.zeros_like(x)),
    lambda own, raw, z: (z - raw[:, 0], jnp.zeros_like(z)))


def scaling() -> Transform:
  """z = x exp(raw): with `elementwise` the trainable scale of each coordinate that ends a NICE."""
  return Transform(
    1, lambda size: (),
    lambda own, raw, x: (x * jnp.exp(raw[:, 0]), raw[:, 0]),
    lambda own, raw, z: (z * jnp.exp(-raw[:, 0]), -raw[:, 0]))


def spline(num_bins: int, *, low: float, high: float) -> Transform:
  """A rational-quadratic spline of [low, high], the identity outside (Durkan et al. 2019).

  Data outside the box are on the tails and cannot be fitted: see `splines.fit_box`.

  Raises:
    ValueError: for an empty box or fewer than two bins.
  """
  _check_spline(num_bins, 2, low, high)
  return _splined(3 * num_bins - 1, lambda raw: splines.interval_knots(raw, low, high))


def free_spline(num_bins: int, *, low: float, high: float) -> Transform:
  """A rational-quadratic spline of [low, high] whose slopes at the ends are trained too.

  For a latent that lives in the box, as one of `uniform_prior`; one bin is enough to bend.

  Raises:
    ValueError: for an empty box or no bin.
  """
  _check_spline(num_bins, 1, low, high)
  return _splined(3 * num_bins + 1, lambda raw: splines.free_knots(raw, low, high))


def circular_spline(num_bins: int) -> Transform:
  """An angle in [-π, π) is turned by a shift, then bent by a circular spline (Rezende et al. 2020).

  The log-density is continuous at ±π; the shift lets the seam of the spline be anywhere.

  Raises:
    ValueError: for fewer than two bins.
  """
  _check_spline(num_bins, 2, -np.pi, np.pi)

  def forward(raw, x):
    return splines.evaluate(splines.circular_knots(raw[1:]), splines.wrap(x + raw[0]))

  def inverse(raw, z):
    x, log_det = splines.evaluate_inverse(splines.circular_knots(raw[1:]), splines.wrap(z))
    return splines.wrap(x - raw[0]), log_det

  return _mapped(3 * num_bins + 1, forward, inverse)


def elementwise(size: int, transform: Transform) -> Flow:
  """Each of `size` coordinates by its own trainable raw numbers: the flow of a single number."""

  def init(key):
    del key
    return {'raw': jnp.zeros((size, transform.num_outputs)), 'own': transform.init(size)}

  def apply(move, params, x):
    z, log_det = move(params['own'], params['raw'].astype(x.dtype), x)
    return z, jnp.sum(log_det)

  return Flow(init, lambda params, x, context=None: apply(transform.forward, params, x),
              lambda params, z, context=None: apply(transform.inverse, params, z))


def coupling(
  transform: Transform, *, moved: Sequence[int], given: Sequence[int],
  angles: Sequence[int] = (), context_size: int = 0, widths: tuple[int, ...] = (64, 64),
  activation: Callable = nn.silu,
) -> Flow:
  """The coordinates `moved` transformed by a network of those `given` and of a context.

  Args:
    transform: of each moved coordinate.
    moved: their indices.
    given: indices the network sees; neither moved nor given ones are left alone and unseen.
    angles: which of the given are angles [rad]; the network sees their cosine and sine.
    context_size: length of the context; it goes in as it is.
    widths, activation: of the network's hidden layers.

  Raises:
    ValueError: for indices that repeat, overlap or are unknown, or a network that sees nothing.
  """
  moved, given, angles = (np.array(list(group), int) for group in (moved, given, angles))
  _check_groups(moved, given, angles, context_size)
  plain, highest = np.setdiff1d(given, angles), max([*moved, *given])
  network = Conditioner(widths, len(moved) * transform.num_outputs, activation)

  def features(x, context):
    seen = [x[plain], jnp.cos(x[angles]), jnp.sin(x[angles])]
    return jnp.concatenate(seen if context_size == 0 else [*seen, context])

  def init(key):
    empty = jnp.zeros(len(plain) + 2 * len(angles) + context_size)
    return {'network': network.init(key, empty), 'own': transform.init(len(moved))}

  def apply(move, params, x, context):
    if len(x) <= highest:  # an index beyond the end would be clamped in silence
      raise ValueError(f'coupling: found {len(x)} coordinates, expected more than {highest}')
    raw = network.apply(params['network'], features(x, context))
    raw = raw.reshape(len(moved), transform.num_outputs)
    z, log_det = move(params['own'], raw, x[moved])
    return x.at[moved].set(z, unique_indices=True), jnp.sum(log_det)

  return Flow(
    init, lambda params, x, context=None: apply(transform.forward, params, x, context),
    lambda params, z, context=None: apply(transform.inverse, params, z, context))


def alternate(transform: Transform, *, size: int, num_blocks: int, **options) -> Flow:
  """Blocks of two couplings: odd coordinates given the even ones, then even ones given the odd.

  Args:
    transform: of all layers.
    size: number of coordinates.
    num_blocks: half the number of layers.
    **options: of `coupling`: context_size, widths, activation.

  Raises:
    ValueError: for fewer than two coordinates.
  """
  if size < 2:
    raise ValueError(f'size: found {size}, expected two coordinates or more; add an auxiliary one')
  even, odd = range(0, size, 2), range(1, size, 2)
  block = [coupling(transform, moved=odd, given=even, **options),
           coupling(transform, moved=even, given=odd, **options)]
  return chain(*block * num_blocks)


def _affine(init: Callable, bound: Callable) -> Transform:
  """z = x exp(s) + t, s = bound(own) tanh(raw_0), t = raw_1."""

  def forward(own, raw, x):
    s = bound(own) * jnp.tanh(raw[:, 0])
    return x * jnp.exp(s) + raw[:, 1], s

  def inverse(own, raw, z):
    s = bound(own) * jnp.tanh(raw[:, 0])
    return (z - raw[:, 1]) * jnp.exp(-s), -s

  return Transform(2, init, forward, inverse)


def _splined(num_outputs: int, make_knots: Callable) -> Transform:
  return _mapped(num_outputs, lambda raw, x: splines.evaluate(make_knots(raw), x),
                 lambda raw, z: splines.evaluate_inverse(make_knots(raw), z))


def _mapped(num_outputs: int, forward: Callable, inverse: Callable) -> Transform:
  """A transform from maps of one number."""
  return Transform(num_outputs, lambda size: (),
                   lambda own, raw, x: jax.vmap(forward)(raw, x),
                   lambda own, raw, z: jax.vmap(inverse)(raw, z))


def _check_spline(num_bins: int, fewest: int, low: float, high: float) -> None:
  if num_bins < fewest or not high > low:
    raise ValueError(f'spline: found {num_bins} bins on [{low}, {high}], '
                     f'expected at least {fewest} on a box with high > low')


def _check_groups(moved, given, angles, context_size: int) -> None:
  both = np.concatenate([moved, given])
  if len(moved) == 0 or (both < 0).any() or len(np.unique(both)) < len(both):
    raise ValueError(f'coupling: found moved {moved.tolist()} and given {given.tolist()}, '
                     'expected different indices, at least one of them moved')
  if not np.isin(angles, given).all() or len(np.unique(angles)) < len(angles):
    raise ValueError(f'angles: found {angles.tolist()}, expected some of given {given.tolist()}')
  if len(given) + context_size == 0:
    raise ValueError('coupling: found a network that sees nothing; use elementwise')
