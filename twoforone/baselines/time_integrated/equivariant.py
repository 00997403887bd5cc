"""Networks of the step that turn with the molecule: scalars and vectors on beads, dense pairs.

Beads carry scalars h and vectors v, at first linear maps of their last velocities. A pair (i, j)
with distance d and unit vector u from i to j has features f_ij = silu(E(d) + A h_i + B h_j +
u · (C v_i + D v_j)); their sums over j, alone, times u and as gates of v_j, change i, as in PaiNN
(Schütt, Unke and Gastegger 2021). Mean = gated v + Σ_j force(f_ij) u. Without `chiral` all is
O(3)-equivariant; cross and triple products also tell a molecule from its mirror image.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.baselines.time_integrated import noise
from twoforone.baselines.time_integrated.dense import Dense
from twoforone.baselines.time_integrated.graph import (
  BeadGraph,
  Scales,
  centred,
  edge_mask,
  relative_mass,
)
from twoforone.baselines.time_integrated.latent import Latent, offset
from twoforone.geometry import safe_norm
from twoforone.types import Beads, Scalar

SHORTEST = 1e-3  # distance, in mean bond lengths, below which the unit vector fades
CENTRES = np.array([*np.arange(0, 1.05, 0.1), 1.2, 1.45, 1.75, 2.1, 2.6, 3.2, 4.0])
WIDTHS = np.gradient(CENTRES)


class Pairs(NamedTuple):
  """The geometry of all ordered pairs (i, j).

  Attributes:
    radial: functions of the distance and the bond flag, [n, n, radial].
    unit: u, from i to j, [n, n, 3].
    arrow: (1, u) times the weight of messages from j to i, [n, n, 4]; the weight is zero for
      padding and i = j.
  """

  radial: Array
  unit: Array
  arrow: Array


def make_pairs(x: Beads, beads: BeadGraph, reach: float) -> Pairs:
  """Fine radial functions below one bond length, where beads overlap, coarse ones above.

  Args:
    x: positions over the mean bond length.
    beads: which are real, and which are bonded.
    reach: distance at which messages of beads that are not bonded have fallen to a half.
  """
  # x_j - x_i as a product: on a CPU a plain difference, and the noise drawn for x, are computed
  # anew wherever they are used, and training steps take almost twice as long.
  same = jnp.eye(len(x), dtype=x.dtype)
  difference = jnp.matmul(same[None] - same[:, None], x, precision='highest')
  d = safe_norm(difference, SHORTEST**2)[..., None]
  centres, widths = jnp.asarray(CENTRES, x.dtype), jnp.asarray(WIDTHS, x.dtype)
  bonded = jnp.asarray(beads.bonded)[..., None]
  radial = [jnp.exp(-0.5 * ((d - centres) / widths) ** 2), d / jnp.sqrt(1 + d**2 / 16), bonded]
  weight = jnp.where(bonded, 1.0, 1 / (1 + (d / reach) ** 4)) * edge_mask(beads)[..., None]
  unit = difference / d
  arrow = weight * jnp.concatenate([jnp.ones_like(d), unit], axis=-1)
  return Pairs(jnp.concatenate(radial, axis=-1), unit, arrow)


class PairFeatures(nn.Module):
  """f_ij of the module's docstring, [n, n, width]; linear maps act on beads where they can."""

  width: int

  @nn.compact
  def __call__(self, h: Array, v: Array, pairs: Pairs) -> Array:
    own, other = jnp.split(Dense(2 * self.width)(h), 2, axis=-1)
    own_v, other_v = jnp.split(Dense(2 * self.width, use_bias=False)(v), 2, axis=-1)
    along = sum(pairs.unit[..., k, None] * (own_v[:, None, k] + other_v[:, k]) for k in range(3))
    distance = Dense(self.width, use_bias=False)(pairs.radial)
    return nn.silu(distance + own[:, None] + other + along)


class Layer(nn.Module):
  """One round of messages, then products of each bead's own vectors; both are residuals."""

  chiral: bool

  @nn.compact
  def __call__(self, h: Array, v: Array, pairs: Pairs) -> tuple[Array, Array]:
    known, v_known = nn.LayerNorm()(h), bounded(v)
    features = PairFeatures(h.shape[-1])(known, v_known, pairs)
    sums = collect(pairs, features)
    pointing = Dense(v.shape[-1], use_bias=False)(sums[:, 1:])
    gate = Dense(v.shape[-1], use_bias=False)(features) * pairs.arrow[..., :1]
    v = v + pointing + jnp.sum(gate[:, :, None] * v_known, axis=1)
    return self._updated(h, v, known, sums[:, 0])

  def _updated(self, h, v, known, message):
    width, vectors = h.shape[-1], v.shape[-1]
    p, q, r = jnp.split(Dense(3 * vectors, use_bias=False)(bounded(v)), 3, axis=-1)
    axial = jnp.cross(p, q, axis=1)
    seen = [known, message, dot(p, q), dot(r, r)] + ([dot(axial, r)] if self.chiral else [])
    hidden = nn.silu(Dense(width)(jnp.concatenate(seen, axis=-1)))
    change, gate = jnp.split(Dense(width + vectors)(hidden), [width], axis=-1)
    v = v + gate[:, None] * r
    return h + change, v + Dense(vectors)(hidden)[:, None] * axial if self.chiral else v


class Readout(nn.Module):
  """Σ_c g_c(h_i) v_ic + Σ_j force(f_ij) u_ij, and numbers of beads and of pairs; zero at first.

  Attributes:
    bead_outputs, pair_outputs: how many numbers.
  """

  bead_outputs: int = 0
  pair_outputs: int = 0

  @nn.compact
  def __call__(self, h: Array, v: Array, pairs: Pairs) -> tuple[Array, Array, Array]:
    """The vector [n, 3], the numbers of beads [n, ...] and those of pairs [n, n, ...]."""
    known = nn.LayerNorm()(h)
    hidden = nn.silu(Dense(h.shape[-1])(known))
    gate, of_beads = jnp.split(_zero_dense(v.shape[-1] + self.bead_outputs)(hidden),
                               [v.shape[-1]], axis=-1)
    features = PairFeatures(h.shape[-1])(known, bounded(v), pairs)
    force, of_pairs = jnp.split(_zero_dense(1 + self.pair_outputs)(features), [1], axis=-1)
    push = collect(pairs, force)[:, 1:, 0]
    return jnp.sum(gate[:, None] * v, axis=-1) + push, of_beads, of_pairs


class EquivariantNetwork(nn.Module):
  """What both networks of the step are made of.

  Attributes:
    scales: what lengths, velocities and accelerations are divided by.
    width: scalars of a bead and features of a pair.
    vectors: vectors of a bead.
    num_layers: rounds of messages.
    reach: see `make_pairs`.
    chiral: tell mirror images apart.
  """

  scales: Scales
  width: int = 48
  vectors: int = 24
  num_layers: int = 2
  reach: float = 2.0
  chiral: bool = False

  def pairs(self, x: Beads, beads: BeadGraph) -> Pairs:
    return make_pairs(x / self.scales.length, beads, self.reach)

  def exchange(self, h: Array, v: Array, pairs: Pairs) -> tuple[Array, Array]:
    for _ in range(self.num_layers):
      h, v = Layer(self.chiral)(h, v, pairs)
    return h, v


class EquivariantDynamics(EquivariantNetwork):
  """(history, embedding, beads) -> distribution of the whitened acceleration, Latent.

  Attributes:
    distribution: `markov_gaussian` or `isotropic_gaussian`; their options by `functools.partial`.
    Others: see `EquivariantNetwork`.
  """

  distribution: Callable = noise.markov_gaussian

  @nn.compact
  def __call__(
    self, history: Float[Array, 'k n 3'], embedding: Float[Array, 'n features'], beads: BeadGraph
  ) -> tuple[noise.DiagonalGaussian | noise.MarkovGaussian, Latent]:
    x, velocity = history[-1], jnp.diff(history, axis=0)
    pairs = self.pairs(x, beads)
    v = Dense(self.vectors, use_bias=False)(
      jnp.moveaxis(velocity, 0, -1) / self.scales.velocity)
    known = jnp.concatenate([embedding, bead_numbers(beads, x.dtype), dot(v, v)], axis=-1)
    h, v = self.exchange(Dense(self.width)(known), v, pairs)
    mean, local, pair = Readout(1, 2)(h, v, pairs)
    mask = jnp.asarray(beads.mask)[:, None]
    mean, h, v = jnp.where(mask, mean, 0), jnp.where(mask, h, 0), jnp.where(mask[..., None], v, 0)
    expected = x + velocity[-1] + self.scales.acceleration * mean
    distribution = self.distribution(
      mean, local[:, 0], jnp.moveaxis(pair, -1, 0), pairs.unit, beads)
    return distribution, Latent(h, v, centred(expected, beads))


class EquivariantScore(EquivariantNetwork):
  """s(x, latent, beads, sigma) with s / sigma = grad log p_sigma(x), of the next frame x.

  It sees the geometry of x and how far x is from what the dynamics expects. The centroid of s is
  zero: where the molecule as a whole went is for the dynamics to say.

  Attributes: see `EquivariantNetwork`.
  """

  @nn.compact
  def __call__(
    self, x: Beads, latent: Latent, beads: BeadGraph, sigma: Scalar
  ) -> Float[Array, 'n 3']:
    """
    Args:
      x: the next frame with noise, in the data's unit.
      latent: from the dynamics.
      beads: which are real, and which are bonded.
      sigma: of the noise, in the data's unit.
    """
    pairs = self.pairs(x, beads)
    away = offset(x, latent, beads, sigma, self.scales)
    v = Dense(self.vectors, use_bias=False)(
      jnp.concatenate([away[..., None], bounded(latent.vectors)], axis=-1))
    level = jnp.log(sigma / self.scales.length)[None]
    level = Dense(self.width)(nn.silu(Dense(self.width)(level)))
    known = jnp.concatenate([nn.LayerNorm()(latent.scalars), dot(v, v)], axis=-1)
    h, v = self.exchange(Dense(self.width)(known) + level, v, pairs)
    score, _, _ = Readout()(h, v, pairs)
    return centred(score, beads)


def bead_numbers(beads: BeadGraph, dtype) -> Float[Array, 'n 2']:
  """Mass over the mean of the molecule, and half the number of bonds."""
  degree = jnp.sum(jnp.asarray(beads.bonded, dtype), axis=1)
  return jnp.stack([relative_mass(beads).astype(dtype), 0.5 * degree], axis=-1)


def bounded(v: Float[Array, 'n 3 vectors']) -> Float[Array, 'n 3 vectors']:
  """v / sqrt(1 + mean |v|²): itself when small, of length one when large."""
  return v / jnp.sqrt(1 + jnp.mean(dot(v, v), axis=-1)[:, None, None])


def dot(v: Float[Array, 'n 3 vectors'], w: Float[Array, 'n 3 vectors']) -> Array:
  """Inner products, [n, vectors]."""
  return jnp.sum(v * w, axis=1)


def collect(pairs: Pairs, features: Float[Array, 'n n width']) -> Float[Array, 'n 4 width']:
  """Weighted sums over j of f_ij, and of u_ij f_ij."""
  return jnp.einsum('ijx,ijh->ixh', pairs.arrow, features)


def _zero_dense(features):
  return Dense(features, kernel_init=nn.initializers.zeros)
