"""An SE(3)-invariant energy from pair distances and signed volumes: the fast default.

energy = |x|²/2 + stiff + MLP(features, noise), features whitened per noise level: a distance of
mean m and variance v becomes one of mean² alpha² (m² + v) + 6 sigma², variance alpha² v + 2 sigma².
|x|²/2 is exact at sigma = 1 and the Gaussian of the whitened data below; `stiff` is harmonic
in near pairs and fades with the noise. Signed volumes see chirality; distances alone would force
F(phi, psi) = F(-phi, -psi). The noise level scales each hidden unit (FiLM, Perez et al. 2018).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.geometry import distances, signed_volumes
from twoforone.networks.noise_features import make_noise_features
from twoforone.schedule import Schedule
from twoforone.types import Beads, Scalar

FRAMES = 10_000  # measured at a time: of 56 beads a million do not fit into memory
VALUES = 20_000_000  # of their distances: fewer frames of long chains


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
  measure = jax.jit(jax.vmap(lambda x: (distances(x, pairs), signed_volumes(x, quads))))
  d_sum, d_square, v_square = 0.0, 0.0, 0.0
  most = min(FRAMES, max(1, VALUES // len(pairs)))
  for block in np.array_split(x, -(-num_frames // most)):
    d, v = (np.asarray(values, np.float64) for values in measure(block))
    d_sum, d_square = d_sum + d.sum(0), d_square + (d**2).sum(0)
    v_square = v_square + (v**2).sum(0)
  mean = d_sum / num_frames
  return Invariants(pairs, quads, mean, np.sqrt(d_square / num_frames - mean**2),
                    np.sqrt(v_square / num_frames))


class InvariantEnergy(nn.Module):
  """phi(x, t, species) = sigma (|x|²/2 + stiff + MLP); one configuration, any bead count.

  Attributes:
    schedule: of the noise.
    invariants: what to look at, from `fit_invariants`.
    widths: of the hidden layers.
    noise_widths: where on the sigma axis the noise features change, see `make_noise_features`.
    stiff_fade: sigma at which the harmonic term of near pairs has fallen to a quarter.
    base: False leaves |x|²/2 and the harmonic term out, for a `prior` to bring.
    squares: True shows the squared distances too: under much noise the log-density is linear in
      them to leading order, and the folds of a chain are told apart there.
  """

  schedule: Schedule
  invariants: Invariants
  widths: tuple[int, ...] = (128, 128, 128)
  noise_widths: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
  stiff_fade: float = 0.3
  base: bool = True
  squares: bool = False

  @nn.compact
  def __call__(self, x: Beads, t: Scalar, species: Int[Array, ' beads']) -> Scalar:
    del species  # a bead is known by its place in the chain
    alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
    noise = make_noise_features(self.schedule, self.noise_widths)(t)
    d = distances(x, self.invariants.pairs)
    u = self._whitened(d, alpha, sigma)
    squares = [self._whitened_squares(d, alpha, sigma)] if self.squares else []
    h = jnp.concatenate([u, *squares, jnp.exp(-d / self.invariants.distance_mean.mean()),
                         self._volumes(x, alpha, sigma), noise])
    code = nn.silu(nn.Dense(32)(noise))
    for width in self.widths:
      h = nn.silu(nn.Dense(width)(h) * (1 + nn.Dense(width)(code)))
    out = nn.Dense(1, kernel_init=nn.initializers.zeros)(h)[0]
    return sigma * (out + (0.5 * jnp.sum(x**2) + self._stiff(u, sigma) if self.base else 0.0))

  def _whitened(self, d, alpha, sigma):
    """Each distance whitened at this noise level."""
    mean, width = self._moments(alpha, sigma)
    return (d - mean) / width

  def _whitened_squares(self, d, alpha, sigma):
    """d² likewise: its mean is exact, its width that of a distance near its mean."""
    mean, width = self._moments(alpha, sigma)
    return (d**2 - mean**2) / (2 * mean * width)

  def _moments(self, alpha, sigma):
    known = self.invariants
    mean = jnp.sqrt(alpha**2 * (known.distance_mean**2 + known.distance_std**2) + 6 * sigma**2)
    return mean, jnp.sqrt(alpha**2 * known.distance_std**2 + 2 * sigma**2)

  def _stiff(self, u, sigma):
    """u²/2 of pairs one or two bonds apart: keeps bonds and angles in place from the first step."""
    near = self.invariants.pairs[:, 1] - self.invariants.pairs[:, 0] <= 2
    return 0.5 * jnp.sum(u**2 * near) / (1 + (sigma / self.stiff_fade) ** 2) ** 2

  def _volumes(self, x, alpha, sigma):
    """Signed volumes over a scale that is right at both ends; 24 sigma⁶ is pure noise's."""
    variance = (alpha**2 * self.invariants.volume_rms ** (2 / 3) + 24 ** (1 / 3) * sigma**2) ** 3
    return signed_volumes(x, self.invariants.quads) / jnp.sqrt(variance)
