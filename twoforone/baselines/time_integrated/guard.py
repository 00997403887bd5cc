"""What keeps a learned step from running away: bonds stretched beyond the data are pulled back.

It belongs to the mean of the step, in training and in simulation, where networks extrapolate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.baselines.time_integrated.graph import BeadGraph
from twoforone.geometry import safe_norm


class Guard(NamedTuple):
  """When and how strongly stretched bonds are pulled back.

  Attributes:
    r_max: length that bonds may have, such as the 99.9 % quantile of the training data.
    rate: share of the excess by which each end moves in a step.
  """

  r_max: float
  rate: float = 0.25


def stretch_guard(
  x: Float[Array, 'n 3'], beads: BeadGraph, r_max: float, rate: float
) -> Float[Array, 'n 3']:
  """a_i = rate Σ_j relu(|r_ij| - r_max) r_ij / |r_ij| over the bonds of i, r_ij from i to j.

  An acceleration in the unit of x per step². It turns with x and its sum over beads is zero.
  """
  difference = x[None] - x[:, None]
  distance = safe_norm(difference)
  excess = jnp.where(beads.bonded, jax.nn.relu(distance - r_max), 0)
  return rate * jnp.sum((excess / distance)[..., None] * difference, axis=1)
