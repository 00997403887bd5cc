"""The baseline networks: encode, pass messages, decode (Fu et al. 2022, after GNS).

Each round updates edges, then nodes, both as residuals:

  e_ij <- e_ij + m_ij,  m_ij = MLP([e_ij, h_i, h_j]);    h_i <- h_i + MLP([h_i, Σ_j m_ij])

Displacements and velocities enter axis by axis, so the networks move with the molecule but do not
turn with it: train them on random rotations. They see lengths over `scales.length` and velocities
over `scales.velocity`; Scales(cutoff, 1, 1) gives the raw inputs of the original.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.baselines.time_integrated.dense import Dense, matmul
from twoforone.baselines.time_integrated.graph import (
  BeadGraph,
  FineGraph,
  Scales,
  centred,
  edge_mask,
  pool,
  relative_mass,
)
from twoforone.baselines.time_integrated.latent import Latent, offset
from twoforone.baselines.time_integrated.noise import DiagonalGaussian
from twoforone.geometry import safe_norm
from twoforone.networks.layers import uniform
from twoforone.types import Scalar

Positions = Float[Array, 'n 3']


class Links(NamedTuple):
  """How edges find their nodes.

  Attributes:
    ends: h[n, width] -> h of receivers and of senders, which broadcast to the edges.
    collect: m[*edges, width] -> their sum at each receiver, [n, width].
  """

  ends: Callable[[Array], tuple[Array, Array]]
  collect: Callable[[Array], Array]


class MLP(nn.Module):
  """Two hidden layers of rectified units on its inputs laid side by side, and a layer norm.

  The inputs need only broadcast: each meets its own rows of the first matrix before they are
  added, so what belongs to one bead is not repeated for all its edges.
  """

  width: int
  features: int
  norm: bool = True

  @nn.compact
  def __call__(self, *inputs: Array) -> Array:
    ends = np.cumsum([part.shape[-1] for part in inputs])
    kernel = self.param('kernel', uniform(ends[-1] ** -0.5), (ends[-1], self.width))
    rows = jnp.split(kernel, ends[:-1])
    h = sum(matmul(part, k) for part, k in zip(inputs, rows, strict=True))
    h = nn.relu(h + self.param('bias', uniform(ends[-1] ** -0.5), (self.width,)))
    h = nn.relu(Dense(self.width, name='hidden')(h))
    h = Dense(self.features, name='out')(h)
    return nn.LayerNorm(epsilon=1e-5, name='norm')(h) if self.norm else h


class MessagePassing(nn.Module):
  """The nodes after encoding and `num_layers` rounds of messages, [n, width]."""

  width: int
  num_layers: int

  @nn.compact
  def __call__(self, nodes: tuple[Array, ...], edges: tuple[Array, ...], links: Links) -> Array:
    h = MLP(self.width, self.width, name='encode_nodes')(*nodes)
    e = MLP(self.width, self.width, name='encode_edges')(*edges)
    for k in range(self.num_layers):
      messages = MLP(self.width, self.width, name=f'edges_{k}')(e, *links.ends(h))
      h = h + MLP(self.width, self.width, name=f'nodes_{k}')(h, links.collect(messages))
      e = e + messages
    return h


class Embedding(nn.Module):
  """What kind of stuff each bead is made of: messages along the fine bonds, pooled over beads.

  Attributes:
    num_species: of fine particles.
    features: length of a bead's embedding.
    width: of the fine nodes and edges.
    num_layers: rounds of messages.
    species_width: length of a species' code; a bond starts as the sum of its ends' codes.
  """

  num_species: int = 5
  features: int = 128
  width: int = 64
  num_layers: int = 7
  species_width: int = 32

  @nn.compact
  def __call__(self, fine: FineGraph, num_beads: int) -> Float[Array, 'n features']:
    """[num_beads, features], zero for padding."""
    links = _bond_links(fine)
    species = jnp.where(fine.cluster < num_beads, fine.species, 0)
    code = _codes(self.num_species, self.species_width, 'species')(species)
    h = MessagePassing(self.width, self.num_layers)((code,), (sum(links.ends(code)),), links)
    return pool(fine, MLP(self.width, self.features, norm=False, name='decode')(h), num_beads)


class BeadNetwork(nn.Module):
  """What messages between beads are made of.

  Attributes:
    scales: lengths are seen over `scales.length`.
    width: of nodes and edges.
    num_layers: rounds of messages.
    cutoff: in the unit of the positions.
    self_loops: beads also send to themselves, as in the original.
    sees_mass: nodes also carry the mass over the molecule's mean.
  """

  scales: Scales
  width: int = 128
  num_layers: int = 7
  cutoff: float = np.inf
  self_loops: bool = False
  sees_mass: bool = False

  def pass_messages(
    self, nodes: tuple[Array, ...], x: Positions, beads: BeadGraph
  ) -> Float[Array, 'n width']:
    return BeadPassing(
      self.scales, self.width, self.num_layers, self.cutoff, self.self_loops, self.sees_mass,
      name='messages')(nodes, x, beads)


class BeadPassing(BeadNetwork):
  """Messages between all pairs of real beads nearer than the cutoff, and along every bond.

  Attributes:
    bond_width: length of the code that tells bonded pairs from others.
    Others: see `BeadNetwork`.
  """

  bond_width: int = 32

  @nn.compact
  def __call__(
    self, nodes: tuple[Array, ...], x: Positions, beads: BeadGraph
  ) -> Float[Array, 'n width']:
    """Latent nodes, zero for padding."""
    displacement = (x[None] - x[:, None]) / self.scales.length
    distance = safe_norm(displacement)
    code = _codes(2, self.bond_width, 'bonded')(jnp.asarray(beads.bonded, int))
    edges = (jnp.concatenate([displacement, distance[..., None]], axis=-1), code)
    nodes += (relative_mass(beads)[:, None],) if self.sees_mass else ()
    links = _pair_links(self._linked(distance, beads))
    h = MessagePassing(self.width, self.num_layers)(nodes, edges, links)
    return jnp.where(beads.mask[:, None], h, 0)

  def _linked(self, distance, beads):
    """The original forgets that a pair is bonded when it is beyond the cutoff; this does not."""
    linked = ((distance * self.scales.length < self.cutoff) | beads.bonded) & edge_mask(beads)
    return linked | jnp.diag(beads.mask) if self.self_loops else linked


class Dynamics(BeadNetwork):
  """The Gaussian of the next acceleration, each bead and axis on its own (spec section 2.3).

    mean = out[:3],  std = min_std + softplus(out[3:])

  of a / scales.acceleration, a = x_(t+1) - 2 x_t + x_(t-1).

  Attributes:
    min_std: least standard deviation, whitened as the acceleration is.
    Others: see `BeadNetwork`.
  """

  min_std: float = 0.1

  @nn.compact
  def __call__(
    self, history: Float[Array, 'k n 3'], embedding: Float[Array, 'n features'], beads: BeadGraph
  ) -> tuple[DiagonalGaussian, Latent]:
    """The distribution, and the latent nodes it was read from with where it expects the beads.

    Args:
      history: the last k frames, oldest first.
      embedding: of the beads.
      beads: the coarse graph.
    """
    steps = jnp.diff(history, axis=0) / self.scales.velocity
    velocities = steps.transpose(1, 0, 2).reshape(history.shape[1], -1)
    latent = self.pass_messages((velocities, embedding), history[-1], beads)
    out = MLP(self.width, 6, norm=False, name='decode')(latent)
    mean, std = out[:, :3], self.min_std + nn.softplus(out[:, 3:])
    expected = 2 * history[-1] - history[-2] + self.scales.acceleration * mean
    return (DiagonalGaussian(mean, std, beads.mask),
            Latent(latent, None, centred(expected, beads)))


class Score(BeadNetwork):
  """s with grad log p_sigma(x) = s / sigma of the next frame, given what the dynamics knows of it.

  In the original (spec section 2.4) sigma is not an input: s is what is wrong with the candidate,
  in units of the noise, averaged over the levels it may have come from. Nor is where the dynamics
  expects the beads, so that nothing in the geometry tells noise from a move.

  Attributes:
    sees_noise: give it both, as nodes' inputs.
    Others: see `BeadNetwork`.
  """

  sees_noise: bool = False

  @nn.compact
  def __call__(self, x: Positions, latent: Latent, beads: BeadGraph, sigma: Scalar) -> Positions:
    """s, zero for padding."""
    nodes = (latent.scalars,)
    if self.sees_noise:
      level = jnp.log(sigma / self.scales.length)
      nodes += (offset(x, latent, beads, sigma, self.scales), level[None, None])
    h = self.pass_messages(nodes, x, beads)
    return jnp.where(beads.mask[:, None], MLP(self.width, 3, norm=False, name='decode')(h), 0)


def _codes(num, width, name):
  return nn.Embed(num, width, embedding_init=nn.initializers.xavier_uniform(), name=name)


def _bond_links(fine):
  """Along fine bonds. Padded bonds end at particle N: what they read is dropped on arrival."""
  size = len(fine.species)
  return Links(
    ends=lambda h: tuple(h.at[end].get(mode='clip') for end in (fine.receivers, fine.senders)),
    collect=lambda m: jax.ops.segment_sum(m, fine.receivers, num_segments=size))


def _pair_links(linked):
  """All pairs [receiver, sender], those that are not linked silenced."""
  return Links(ends=lambda h: (h[:, None], h[None]),
               collect=lambda m: jnp.sum(m, axis=1, where=linked[..., None]))
