"""An SE(3)-invariant energy from pair distances and signed volumes: the fast default.

energy = |x|²/2 + MLP(features, noise), features whitened per noise level: a distance of mean m and
variance v becomes one of mean² alpha² (m² + v) + 6 sigma² and variance alpha² v + 2 sigma². The base
term is the exact energy at sigma = 1 and the Gaussian of the whitened data below. Signed volumes
see chirality; distances alone would force F(phi, psi) = F(-phi, -psi).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.geometry import distances, signed_volumes
from twoforone.schedule import Schedule
from twoforone.types import Beads, Scalar


class Invariants(NamedTuple):
  """Which invariants are used, and their statistics over the whitened data.

  Attributes:
    pairs: [P, 2] bead indices.
    quads: [Q, 4] bead indices.
    distance_mean: [P].
    distance_std: [P].
    volume_rms: [Q].
  """

  pairs: np.ndarray
  quads: np.ndarray
  distance_mean: np.ndarray
  distance_std: np.ndarray
  volume_rms: np.ndarray


def chain_quads(num_beads: int) -> np.ndarray:
  """Quadruples [Q, 4]: all of them up to six beads, else neighbours at strides 1 and 2."""
  if num_beads <= 6:
    index = np.array(np.meshgrid(*[np.arange(num_beads)] * 4, indexing='ij')).reshape(4, -1).T
    return index[(np.diff(index, axis=1) > 0).all(axis=1)]
  return np.array([[i, i + d, i + 2 * d, i + 3 * d]
                   for d in (1, 2) for i in range(num_beads - 3 * d)])


def fit_invariants(x: Float[np.ndarray, 'frames beads 3']) -> Invariants:
  """The invariants of a chain and their statistics over whitened frames.

  Raises:
    ValueError: for fewer than four beads (no volume) or fewer than two frames.
  """
  num_frames, num_beads, _ = x.shape
  if num_beads < 4 or num_frames < 2:
    raise ValueError(f'x: found {num_frames} frames of {num_beads} beads, '
                     'expected at least 2 frames of 4 beads')
  pairs = np.stack(np.triu_indices(num_beads, 1), axis=1)
  quads = chain_quads(num_beads)
  d = np.asarray(jax.vmap(lambda x: distances(x, pairs))(x), np.float64)
  v = np.asarray(jax.vmap(lambda x: signed_volumes(x, quads))(x), np.float64)
  return Invariants(pairs, quads, d.mean(0), d.std(0), np.sqrt((v**2).mean(0)))


class InvariantEnergy(nn.Module):
  """phi(x, t, species) = sigma (|x|²/2 + MLP); one configuration, any bead count.

  Attributes:
    schedule: of the noise.
    invariants: what to look at, from `fit_invariants`.
    widths: of the hidden layers.
  """

  schedule: Schedule
  invariants: Invariants
  widths: tuple[int, ...] = (128, 128, 128)

  @nn.compact
  def __call__(self, x: Beads, t: Scalar, species: Int[Array, ' beads']) -> Scalar:
    del species  # a bead is known by its place in the chain
    alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
    h = jnp.concatenate([self._distances(x, alpha, sigma), self._volumes(x, alpha, sigma),
                         noise_features(alpha, sigma)])
    for width in self.widths:
      h = nn.silu(nn.Dense(width)(h))
    out = nn.Dense(1, kernel_init=nn.initializers.zeros)(h)[0]
    return sigma * (0.5 * jnp.sum(x**2) + out)

  def _distances(self, x, alpha, sigma):
    """Each distance twice: whitened at this noise level, and on the scale of the molecule."""
    known = self.invariants
    d = distances(x, known.pairs)
    mean = jnp.sqrt(alpha**2 * (known.distance_mean**2 + known.distance_std**2) + 6 * sigma**2)
    std = jnp.sqrt(alpha**2 * known.distance_std**2 + 2 * sigma**2)
    return jnp.concatenate([(d - mean) / std, jnp.exp(-d / known.distance_mean.mean())])

  def _volumes(self, x, alpha, sigma):
    """Signed volumes over a scale that is right at both ends; 24 sigma⁶ is pure noise's."""
    variance = (alpha**2 * self.invariants.volume_rms ** (2 / 3) + 24 ** (1 / 3) * sigma**2) ** 3
    return signed_volumes(x, self.invariants.quads) / jnp.sqrt(variance)


def noise_features(alpha: Scalar, sigma: Scalar) -> Float[Array, '4']:
  """Smooth in sigma² near 0, where log p_t is linear in sigma² (Fokker-Planck)."""
  return jnp.stack([alpha, sigma, jnp.log(sigma**2 + 0.1**2) / 4, jnp.log(sigma**2 + 0.02**2) / 8])
