"""Monotone rational-quadratic splines of one number: on an interval or around a circle.

Between knots (x_k, y_k) with slopes d_k, with θ = (x - x_k)/w, s = h/w and v = θ(1 - θ),

  y = y_k + h (s θ² + d_k v) / (s + (d_k + d_k+1 - 2s) v)   (Gregory and Delbourgo 1982)

as in Durkan et al. (2019, eq. 4). Beyond the ends it goes on as a straight line of the end's slope,
so the map is once continuously differentiable everywhere. Raw parameters of zero are the identity.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.types import Scalar

MIN_BIN = 1e-2  # of the mean bin
MIN_SLOPE = 1e-3
# softplus(raw + _OFFSET) + MIN_SLOPE is one at raw = 0.
_OFFSET = math.log(math.expm1(1 - MIN_SLOPE))


class Knots(NamedTuple):
  """A monotone spline of K bins: ascending places, ascending values, positive slopes [K + 1]."""

  x: Float[Array, ' knots']
  y: Float[Array, ' knots']
  slope: Float[Array, ' knots']


def interval_knots(raw: Float[Array, ' raw'], low: float, high: float) -> Knots:
  """[low, high] onto itself, slope one at the ends, so identity tails; raw is [3K - 1]."""
  num_bins = (len(raw) + 1) // 3
  x, y, slope = _split(raw, num_bins, low, high)
  ends = jnp.ones(1, raw.dtype)
  return Knots(x, y, jnp.concatenate([ends, slope, ends]))


def free_knots(raw: Float[Array, ' raw'], low: float, high: float) -> Knots:
  """[low, high] onto itself, the slopes at the ends free (a latent in a box); raw is [3K + 1]."""
  return Knots(*_split(raw, (len(raw) - 1) // 3, low, high))


def circular_knots(raw: Float[Array, ' raw']) -> Knots:
  """[-π, π] onto itself, one slope where the ends join; raw is [3K] (Rezende et al. 2020)."""
  x, y, slope = _split(raw, len(raw) // 3, -math.pi, math.pi)
  return Knots(x, y, jnp.concatenate([slope, slope[:1]]))


def evaluate(knots: Knots, x: Scalar) -> tuple[Scalar, Scalar]:
  """(y, ln dy/dx) of the spline at x."""
  inside = jnp.clip(x, knots.x[0], knots.x[-1])
  (x_k, w), (y_k, h), (d, d_next) = _bin(knots, knots.x, inside)
  theta, s = (inside - x_k) / w, h / w
  v = theta * (1 - theta)
  bottom = s + (d + d_next - 2 * s) * v
  y = y_k + h * (s * theta**2 + d * v) / bottom
  slope = s**2 * (d_next * theta**2 + 2 * s * v + d * (1 - theta) ** 2) / bottom**2
  end = jnp.where(x < inside, knots.slope[0], knots.slope[-1])
  tail = x != inside
  return jnp.where(tail, y + end * (x - inside), y), jnp.log(jnp.where(tail, end, slope))


def evaluate_inverse(knots: Knots, y: Scalar) -> tuple[Scalar, Scalar]:
  """(x, ln dx/dy) where the spline is y: the root in [0, 1] of a quadratic (Durkan et al. 2019)."""
  inside = jnp.clip(y, knots.y[0], knots.y[-1])
  (x_k, w), (y_k, h), (d, d_next) = _bin(knots, knots.y, inside)
  s, rise = h / w, inside - y_k
  bend = rise * (d + d_next - 2 * s)
  a, b, c = h * (s - d) + bend, h * d - bend, -s * rise
  # The root is real; rounding must not make it otherwise, nor its gradient infinite.
  root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, jnp.finfo(y.dtype).tiny))
  x = x_k + w * 2 * c / (-b - root)
  end = jnp.where(y < inside, knots.slope[0], knots.slope[-1])
  x = jnp.where(y != inside, x + (y - inside) / end, x)
  return x, -evaluate(knots, x)[1]


def wrap(angle: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """The angle in [-π, π)."""
  return jnp.mod(angle + math.pi, 2 * math.pi) - math.pi


def fit_box(z: Float[np.ndarray, '*frames'], *, margin: float = 1.3) -> float:
  """margin · max|z|: half the width of a box around zero that leaves no datum on the tails.

  A basin on an identity tail cannot be fitted: its weight is then that of the prior.

  Raises:
    ValueError: when z is empty or not finite.
  """
  largest = float(np.abs(z).max(initial=0.0))
  if not 0 < largest < np.inf:
    raise ValueError(f'z: found a largest |z| of {largest}, expected a positive finite number')
  return margin * largest


def check_box(z: Float[np.ndarray, '*frames'], box: float, *, margin: float = 1.3) -> None:
  """Raises ValueError when the box [-box, box] is smaller than `fit_box` asks for."""
  needed = fit_box(z, margin=margin)
  if not box >= needed:
    raise ValueError(f'box: found {box:g}, expected at least {needed:.3g} = {margin:g} max|z|; '
                     'data on the tails of a spline cannot be fitted')


def _split(raw: Array, num_bins: int, low: float, high: float) -> tuple[Array, Array, Array]:
  """Places and values of the knots, and the slopes that the rest of raw gives."""
  widths, heights, slopes = jnp.split(raw, (num_bins, 2 * num_bins))
  return (_cumulate(widths, low, high), _cumulate(heights, low, high),
          MIN_SLOPE + jax.nn.softplus(slopes + _OFFSET))


def _cumulate(raw: Array, low: float, high: float) -> Array:
  """Knots from low to high, exactly; the shares of the bins by a softmax with a floor."""
  share = (MIN_BIN + (1 - MIN_BIN) * len(raw) * jax.nn.softmax(raw)) / len(raw)
  inner = low + (high - low) * jnp.cumsum(share)[:-1]
  return jnp.concatenate([jnp.full(1, low, raw.dtype), inner, jnp.full(1, high, raw.dtype)])


def _bin(knots: Knots, places: Array, at: Scalar):
  """(x_k, w), (y_k, h), (d_k, d_k+1) of the bin that holds `at`, with `places` knots.x or .y."""
  k = jnp.sum(at >= places[1:-1])
  x, y, d = ((values[k], values[k + 1]) for values in knots)
  return (x[0], x[1] - x[0]), (y[0], y[1] - y[0]), d
