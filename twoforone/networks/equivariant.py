"""An SO(3)-equivariant message-passing energy: any species, several molecules, sees chirality.

energy = |x|²/2 + stiff + Σ_i out(h_i). Beads carry scalars h and vectors v; messages are sums over
neighbours of radial functions × (h_j, unit vectors, v_j), as in PaiNN (Schütt, Unke and Gastegger
2021), and beads update by dot products, cross products and the triple products of their vectors.
The last two tell a molecule from its mirror image. Distances are whitened per noise level as in
`invariant`; at pure noise the energy starts as |x|²/2, the Gaussian of the whitened data below.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.geometry import safe_norm
from twoforone.networks.noise_features import make_noise_features
from twoforone.schedule import Schedule
from twoforone.types import Beads, Scalar

SHORTEST = 1e-3  # whitened length below which a distance is rounded off; bonds are about 1
CENTRES = np.linspace(-2.5, 2.5, 6)  # of the radial Gaussians, on the axis of whitened distances
DECAYS = np.array([1.0, 2.0, 4.0])  # rates of the radial exponentials, over the mean distance


class PairStatistics(NamedTuple):
  """Distances over the whitened data, by the species of the two beads.

  Attributes:
    distance_mean: [species, species].
    distance_std: [species, species].
  """

  distance_mean: np.ndarray
  distance_std: np.ndarray


def fit_pair_statistics(
  x: Float[np.ndarray, 'frames beads 3'], species: Int[np.ndarray, ' _']
) -> PairStatistics:
  """Mean and standard deviation over whitened frames and over all pairs of the same two species.

  Species that never form a pair get the values of all pairs.

  Raises:
    ValueError: for fewer than two beads or two frames, or another number of species than of beads.
  """
  num_frames, num_beads, _ = x.shape
  if num_beads < 2 or num_frames < 2:
    raise ValueError(f'x: found {num_frames} frames of {num_beads} beads, '
                     'expected at least 2 frames of 2 beads')
  if len(species) != num_beads:
    raise ValueError(f'species: found {len(species)}, expected {num_beads}, one for each bead')
  size = int(species.max()) + 1
  total = np.zeros((3, size, size))  # number, sum and sum of squares
  for i, j in zip(*np.triu_indices(num_beads, 1), strict=True):
    d = np.linalg.norm(x[:, i].astype(np.float64) - x[:, j], axis=-1)
    total[:, species[i], species[j]] += (len(d), d.sum(), (d**2).sum())
  total = total + total.transpose(0, 2, 1)
  count, first, second = np.where(total[0] > 0, total, total.sum(axis=(1, 2), keepdims=True))
  mean = first / count
  return PairStatistics(mean, np.sqrt(np.maximum(second / count - mean**2, SHORTEST**2)))


class Edges(NamedTuple):
  """What messages know of each pair of beads (i, j).

  Attributes:
    radial: [radial, n, n], zero for a bead with itself and beyond the cutoff.
    unit: [3, n, n], from i to j.
  """

  radial: Array
  unit: Array


class Message(nn.Module):
  """m_i = Σ_j A(d_ij) a_j and w_i = Σ_j B(d_ij) b_j unit_ij + C(d_ij) c_j v_j.

  A, B and C are linear in the radial functions; they act after the sum over neighbours, so that
  nothing of size beads² × width is formed. Scalars are [n, width], vectors [3, n, vectors].
  """

  @nn.compact
  def __call__(self, h: Array, v: Array, edges: Edges, code: Array) -> tuple[Array, Array]:
    width, vectors = h.shape[-1], v.shape[-1]
    hidden = nn.silu(Modulated(width)(h, code))
    a, b, c = jnp.split(nn.Dense(width + 2 * vectors)(hidden), (width, width + vectors), axis=1)
    pointing = edges.unit[:, None] * edges.radial
    m = self._filtered('scalar', edges.radial @ a)
    w = self._filtered('unit', pointing @ b) + self._filtered(
      'vector', edges.radial @ (c * v)[:, None])
    return m, w

  def _filtered(self, name, sums):
    """Σ_k filter_kc sums_kic. A product and a sum: as a contraction it takes five times longer."""
    num_radial, channels = sums.shape[-3], sums.shape[-1]
    initial = nn.initializers.normal(num_radial**-0.5)
    return jnp.sum(sums * self.param(name, initial, (num_radial, channels))[:, None], axis=-3)


class Update(nn.Module):
  """h and v of each bead from the message it got and from products of its own vectors.

  Attributes:
    chiral: use cross and triple products.
  """

  chiral: bool

  @nn.compact
  def __call__(self, h: Array, v: Array, message: Array, code: Array) -> tuple[Array, Array]:
    width, vectors = h.shape[-1], v.shape[-1]
    p, q, r = jnp.split(nn.Dense(3 * vectors, use_bias=False)(v), 3, axis=-1)
    axial = jnp.cross(p, q, axis=0)
    known = [h, message, jnp.sum(p * q, axis=0), jnp.sum(r * r, axis=0)]
    known += [jnp.sum(axial * r, axis=0)] if self.chiral else []
    hidden = nn.silu(Modulated(width)(jnp.concatenate(known, axis=1), code))
    change, gate, gate_axial = jnp.split(
      nn.Dense(width + 2 * vectors)(hidden), (width, width + vectors), axis=1)
    v = v + gate * r
    return h + change, v + gate_axial * axial if self.chiral else v


class Modulated(nn.Module):
  """A dense layer whose outputs the noise level scales (FiLM, Perez et al. 2018)."""

  features: int

  @nn.compact
  def __call__(self, h: Array, code: Array) -> Array:
    return nn.Dense(self.features)(h) * (1 + nn.Dense(self.features)(code))


class EquivariantEnergy(nn.Module):
  """phi(x, t, species) = sigma (|x|²/2 + stiff + Σ_i out(h_i)); one configuration, any bead count.

  Attributes:
    schedule: of the noise.
    statistics: of the distances between species, from `fit_pair_statistics`.
    width: number of scalars of a bead.
    vectors: number of vectors of a bead.
    num_layers: rounds of messages.
    cutoff: whitened distance in clean data beyond which beads send no messages; it grows with
      the noise as distances do. None: all pairs.
    chiral: with False the energy is blind to reflection, an ablation.
    noise_widths: where on the sigma axis the noise features change, see `make_noise_features`.
    stiff_ratio: pairs whose distance varies by less than this fraction are held harmonically.
    stiff_fade: sigma at which this harmonic term has fallen to a quarter.
    base: False leaves |x|²/2 and the harmonic term out, for a `prior` to bring.
  """

  schedule: Schedule
  statistics: PairStatistics
  width: int = 64
  vectors: int = 16
  num_layers: int = 2
  cutoff: float | None = None
  chiral: bool = True
  noise_widths: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
  stiff_ratio: float = 0.05
  stiff_fade: float = 0.3
  base: bool = True

  @nn.compact
  def __call__(self, x: Beads, t: Scalar, species: Int[Array, ' beads']) -> Scalar:
    alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
    noise = make_noise_features(self.schedule, self.noise_widths)(t)
    code = nn.silu(nn.Dense(32)(noise))
    difference = x[None] - x[:, None]
    d = safe_norm(difference, SHORTEST**2)
    u = self._whitened(d, alpha, sigma, species)
    edges = Edges(self._radial(d, u, alpha, sigma), jnp.moveaxis(difference, -1, 0) / d)
    h = nn.Embed(len(self.statistics.distance_mean), self.width)(species) + nn.Dense(
      self.width)(code)
    v = jnp.zeros((3, len(x), self.vectors), x.dtype)
    for _ in range(self.num_layers):
      message, pull = Message()(h, v, edges, code)
      h, v = Update(self.chiral)(h, v + pull, message, code)
    out = nn.Dense(1, kernel_init=nn.initializers.zeros)(nn.silu(Modulated(self.width)(h, code)))
    base = 0.5 * jnp.sum(x**2) + self._stiff(u, sigma, species) if self.base else 0.0
    return sigma * (base + out.sum())

  def _whitened(self, d, alpha, sigma, species):
    """Each distance whitened at this noise level by what is known of its two species."""
    mean, std = (jnp.asarray(s, d.dtype)[species[:, None], species] for s in self.statistics)
    expected = jnp.sqrt(alpha**2 * (mean**2 + std**2) + 6 * sigma**2)
    return (d - expected) / jnp.sqrt(alpha**2 * std**2 + 2 * sigma**2)

  def _radial(self, d, u, alpha, sigma):
    """Functions of distance [radial, n, n]: fine near the usual distance, coarse elsewhere.

    Divided by the root of the number of neighbours, so that sums over many stay of order one.
    """
    centres = jnp.asarray(CENTRES, d.dtype)[:, None, None]
    decays = jnp.asarray(DECAYS / self.statistics.distance_mean.mean(), d.dtype)[:, None, None]
    slope = u / jnp.sqrt(1 + u**2 / 9)
    functions = [jnp.exp(-0.5 * (u - centres) ** 2), slope[None], jnp.exp(-d * decays)]
    envelope = 1 - jnp.eye(len(d), dtype=d.dtype)
    if self.cutoff is not None:
      inside = 1 - d**2 / (alpha**2 * self.cutoff**2 + 6 * sigma**2)
      envelope = envelope * jnp.maximum(inside, 0.0) ** 3
    envelope = envelope / jnp.sqrt(1 + jnp.sum(envelope**2, axis=1, keepdims=True))
    return jnp.concatenate(functions) * envelope

  def _stiff(self, u, sigma, species):
    """u²/2 of nearly rigid pairs: keeps bonds and angles in place from the first step."""
    rigid = self.statistics.distance_std < self.stiff_ratio * self.statistics.distance_mean
    rigid = jnp.triu(jnp.asarray(rigid)[species[:, None], species], 1)
    return 0.5 * jnp.sum(u**2 * rigid) / (1 + (sigma / self.stiff_fade) ** 2) ** 2
