"""Predict, then refine: a score of the next frame pulls a predicted frame back to likely ones.

p_sigma is the density of the next frame with noise sigma on every bead, given the history; the
network's s gives its score s / sigma. At every level of a falling ladder a few Langevin steps

  x <- x + eps s / sigma + sqrt(2 eps) z,    eps = rate sigma²

are taken, and at the end x <- x + sigma s, the mean of clean frames given x (Tweedie).

The pull of a level is eps |s| / sigma with |s| about 1. The original holds eps at 5e-5, so m = 10
steps reach 5e-4 / sigma: 0.05 at sigma = 0.01 but 5e-5 at sigma = 10. Levels far above the error
of the prediction therefore repair nothing; with eps growing with sigma they would erase it.
Networks see only where beads are to each other, so noise and pull leave the centroid in place:
unprojected noise would add to the diffusion of the molecule and nothing would take it back.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.baselines.time_integrated.graph import BeadGraph, centred
from twoforone.types import LossFn, Params, PRNGKey, Scalar

Positions = Float[Array, 'n 3']
Levels = Float[np.ndarray, ' levels']
Refine = Callable[[Params, PRNGKey, Positions, Any, BeadGraph], Positions]


@runtime_checkable
class ConditionalScoreFn(Protocol):
  """`score(params, x[n,3], latent, beads, sigma[]) -> s[n,3]`, grad log p_sigma(x) = s / sigma."""

  def __call__(
    self, params: Params, x: Positions, latent: Any, beads: BeadGraph, sigma: Scalar
  ) -> Positions: ...


def noise_ladder(highest: float, lowest: float, num: int) -> Levels:
  """`num` noise levels from highest to lowest, each the same fraction of the one before.

  Args:
    highest, lowest: in the unit of the positions.

  Raises:
    ValueError: unless highest > lowest > 0 and num >= 2.
  """
  if not highest > lowest > 0:
    raise ValueError(f'highest, lowest: found {highest}, {lowest}, expected highest > lowest > 0')
  if num < 2:
    raise ValueError(f'num: found {num} levels, expected at least 2')
  return np.geomspace(highest, lowest, num)


def make_score_loss(score: ConditionalScoreFn, sigmas: Levels) -> LossFn:
  """loss = mean of (s + z)² / 2 over real beads and axes, at x_next + sigma z (spec section 2.4).

  That is denoising score matching weighted by sigma² (Song and Ermon 2019, eq. 6), the level drawn
  evenly from `sigmas`, z with its centroid taken out. For a frame whose n beads are Gaussian of
  variance v its least value is (n - 1) / n · v / (v + sigma²) / 2.

  Returns:
    loss(params, key, (x_next[n,3], latent, beads)) -> [].
  """

  def loss(params, key, example):
    x_next, latent, beads = example
    level_key, noise_key = jax.random.split(key)
    sigma = jax.random.choice(level_key, jnp.asarray(sigmas, x_next.dtype))
    # Held, or XLA would draw the noise anew wherever the network reads it.
    z = jax.lax.optimization_barrier(_noise(noise_key, x_next, beads))
    s = score(params, x_next + sigma * z, latent, beads, sigma)
    return 0.5 * jnp.sum((s + z) ** 2 * beads.mask[:, None]) / (3 * jnp.sum(beads.mask))

  return loss


def make_refine(
  score: ConditionalScoreFn, *, sigmas: Levels, steps: int = 2, rate: float = 0.5
) -> Refine:
  """refine(params, key, x, latent, beads) -> x: annealed Langevin, then a step without noise.

  log p_sigma never curves down by more than 1 / sigma², so with rate <= 1 no step overshoots. A
  variance v far above the highest sigma² passes unchanged; one near it, right at first, comes out
  up to half larger, so start no higher than repair needs: half the spread of the prediction.

  Args:
    score: trained at these levels.
    sigmas: highest first; the lowest far below a bond length.
    steps: Langevin steps at each level, one score call each.
    rate: eps / sigma².

  Raises:
    ValueError: when rate is not in (0, 1] or steps is below 1.
  """
  if not 0 < rate <= 1:
    raise ValueError(f'rate: found {rate}, expected above 0 and at most 1')
  if steps < 1:
    raise ValueError(f'steps: found {steps}, expected at least 1')

  def refine(params, key, x, latent, beads):
    levels = jnp.repeat(jnp.asarray(sigmas, x.dtype), steps)

    def pull(x, sigma):
      return sigma * centred(score(params, x, latent, beads, sigma), beads)

    def langevin(x, level):
      key, sigma = level
      noise = sigma * _noise(key, x, beads)
      return x + rate * pull(x, sigma) + jnp.sqrt(2 * rate) * noise, None

    x, _ = jax.lax.scan(langevin, x, (jax.random.split(key, len(levels)), levels))
    return x + pull(x, levels[-1])

  return refine


def _noise(key, x, beads):
  return centred(jax.random.normal(key, x.shape, x.dtype), beads)
