"""The radius of gyration of the fine particles, which the beads alone do not know.

  Rg = sqrt(Σ M |X - X_com|² / Σ M) + length · MLP(mean over beads of the dynamics' latent nodes)

The residual is what lies within the beads (Fu et al. 2022). Exactly, Rg² = that of the beads
+ Σ M rg² / Σ M, rg of a bead's particles; where the last term hardly changes, its mean will do.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.baselines.time_integrated.graph import BeadGraph, Scales
from twoforone.baselines.time_integrated.latent import Latent
from twoforone.baselines.time_integrated.message_passing import MLP
from twoforone.types import Params, Scalar


class RadiusHead(nn.Module):
  """Rg of the fine particles in the frame x from which the latent was computed, in its unit.

  No gradient flows back into the latent: what the step learns does not depend on this head.
  """

  scales: Scales
  width: int = 256

  @nn.compact
  def __call__(self, x: Float[Array, 'n 3'], latent: Latent, beads: BeadGraph) -> Scalar:
    known = jax.lax.stop_gradient(latent.scalars)
    pooled = jnp.sum(known * beads.mask[:, None], axis=0) / jnp.sum(beads.mask)
    residual = MLP(self.width, 1, norm=False, name='residual')(pooled)
    return jnp.sqrt(bead_radius(x, beads) + 1e-12) + self.scales.length * residual[0]


def bead_radius(x: Float[Array, 'n 3'], beads: BeadGraph) -> Scalar:
  """Rg² of the beads, Σ M |X - X_com|² / Σ M."""
  weight = jnp.asarray(beads.mass) / jnp.sum(beads.mass)
  return weight @ jnp.sum((x - weight @ x) ** 2, axis=1)


def make_radius_loss(
  radius: Callable[..., Scalar], scales: Scales
) -> Callable[[Params, tuple], Scalar]:
  """loss(params, (x, latent, beads, square_radius)) = (radius - sqrt(square_radius))² / length².

  Args:
    radius: (params, x, latent, beads) -> Rg.
    scales: of the training data.
  """

  def loss(params, example):
    x, latent, beads, square_radius = example
    error = radius(params, x, latent, beads) - jnp.sqrt(square_radius)
    return (error / scales.length) ** 2

  return loss
