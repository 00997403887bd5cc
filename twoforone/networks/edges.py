"""Edge inputs u_ij of the graph transformer that separate into a part of bead i and one of j.

Each is affine in keys r_j of the attended bead: u_ij = M_i r_j + m_i, where M_i and m_i depend on
x_i alone. Attention then needs M_iᵀ w (`pull`) for its logits and M_i <r> + m_i (`mean_input`)
for its values, never the N × N array of u_ij. Self pairs are included.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

Positions = Float[Array, 'beads 3']


class EdgeInput(NamedTuple):
  """An edge input u_ij = M_i r_j + m_i.

  Attributes:
    num_inputs: length of u.
    num_keys: length of r.
    keys: x[n,3] -> r[n, num_keys].
    pull: (x[n,3], w[n, heads, num_inputs]) -> M_iᵀ w_i, [n, heads, num_keys].
    mean_input: (x[n,3], mean_r[n, heads, num_keys]) -> M_i mean_r_i + m_i, [n, heads, num_inputs].
  """

  num_inputs: int
  num_keys: int
  keys: Callable[[Positions], Array]
  pull: Callable[[Positions, Array], Array]
  mean_input: Callable[[Positions, Array], Array]


def _squares(x):
  return jnp.sum(x**2, axis=-1, keepdims=True)


def _pull_distance(x, w):
  return jnp.concatenate([-2 * w * x[:, None], w], axis=-1)


def _mean_distance(x, mean_r):
  mean_x, mean_square = mean_r[..., :3], mean_r[..., 3:]
  return _squares(x)[:, None] + mean_square - 2 * jnp.sum(mean_x * x[:, None], -1, keepdims=True)


differences = EdgeInput(
  num_inputs=3, num_keys=3, keys=lambda x: x, pull=lambda x, w: w,
  mean_input=lambda x, mean_r: mean_r - x[:, None])
"""u_ij = x_j - x_i, the input of every published model."""

squared_distances = EdgeInput(
  num_inputs=1, num_keys=4, keys=lambda x: jnp.concatenate([x, _squares(x)], axis=-1),
  pull=_pull_distance, mean_input=_mean_distance)
"""u_ij = |x_j - x_i|² = |x_j|² - 2 x_i · x_j + |x_i|²."""

differences_and_distances = EdgeInput(
  num_inputs=4, num_keys=4, keys=squared_distances.keys,
  pull=lambda x, w: jnp.pad(w[..., :3], ((0, 0), (0, 0), (0, 1))) + _pull_distance(x, w[..., 3:]),
  mean_input=lambda x, mean_r: jnp.concatenate(
    [mean_r[..., :3] - x[:, None], _mean_distance(x, mean_r)], axis=-1))
"""u_ij = (x_j - x_i, |x_j - x_i|²)."""

constant = EdgeInput(
  num_inputs=1, num_keys=0, keys=lambda x: x[:, :0], pull=lambda x, w: w[..., :0],
  mean_input=lambda x, mean_r: jnp.zeros((*mean_r.shape[:2], 1), x.dtype))
"""u_ij = 0: beads do not see each other's positions (use with absolute positions)."""
