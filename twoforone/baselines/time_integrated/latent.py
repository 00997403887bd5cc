"""What the dynamics network hands to the score and to the head of the radius."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.baselines.time_integrated.graph import BeadGraph, Scales, centred
from twoforone.types import Beads, Scalar


class Latent(NamedTuple):
  """What the dynamics network knows of the next frame; zero for padding.

  Attributes:
    scalars: [n, width].
    vectors: [n, 3, vectors]; None from networks that have none.
    expected: mean of the next positions, the centroid at the origin, in the data's unit, [n, 3].
  """

  scalars: Array
  vectors: Array | None
  expected: Array


def offset(
  x: Beads, latent: Latent, beads: BeadGraph, sigma: Scalar, scales: Scales
) -> Float[Array, 'n 3']:
  """(x - expected) / sqrt(sigma² + acceleration²), about as large as one; centroids at the origin.

  Args:
    x: the next frame with noise sigma.
  """
  away = centred(x, beads) - latent.expected
  return away / jnp.sqrt(sigma**2 + scales.acceleration**2)
