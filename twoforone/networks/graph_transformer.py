"""The graph transformer of Arts et al. (2023): a scalar phi whose gradient is the predicted noise.

Node features are a one-hot species, the diffusion time and, optionally, absolute positions; edges
carry differences and/or squared distances. Blocks are pre-norm with gated residuals. Published
sizes are in `experiments/configs/published_sizes.py`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from twoforone.networks.edges import EdgeInput, differences
from twoforone.networks.layers import EdgeAttention, FeedForward, Gate, Linear
from twoforone.networks.noise_features import TimeFeatures, scalar_time
from twoforone.types import Beads, Scalar


class Block(nn.Module):
  """n <- gate(attention(norm n), n), then n <- gate(feed_forward(norm n), n)."""

  heads: int
  head_dim: int
  expansion: int

  @nn.compact
  def __call__(self, nodes, x, edges, edge_basis):
    attention = EdgeAttention(self.heads, self.head_dim, name='attention')
    update = attention(_norm('attention_norm')(nodes), x, edges, edge_basis)
    nodes = Gate(name='attention_gate')(update, nodes)
    update = FeedForward(self.expansion, name='feed_forward')(_norm('feed_forward_norm')(nodes))
    return Gate(name='feed_forward_gate')(update, nodes)


class GraphTransformer(nn.Module):
  """phi(x, t): a sum over beads; with `direct`, three numbers for each bead instead.

  Attributes:
    num_species: length of the one-hot code (a bead's own index in the published models).
    width: of the node features.
    num_layers: number of blocks.
    heads: number of attention heads.
    head_dim: length of a head's query, whatever the width.
    expansion: inner width of the feed-forward part over `width`.
    edges: what an edge carries; one of those in `networks/edges.py`.
    absolute: adds the positions to the node features, which breaks translation invariance of
      the network itself (the energy centres its positions first).
    time_features: t[] -> [features].
    direct: returns [n, 3], the predicted noise itself, in place of the scalar.
    zero_output: phi starts at zero, for what a prior leaves over.
  """

  num_species: int
  width: int
  num_layers: int
  heads: int = 8
  head_dim: int = 64
  expansion: int = 4
  edges: EdgeInput = differences
  absolute: bool = False
  time_features: TimeFeatures = scalar_time
  direct: bool = False
  zero_output: bool = False

  @nn.compact
  def __call__(self, x: Beads, t: Scalar, species: Int[Array, ' beads']) -> Array:
    """phi of one whitened, centred configuration; [] or, when direct, [n, 3]."""
    nodes = Linear(self.width, name='node_embedding')(self._node_input(x, t, species))
    inputs = jnp.eye(1 + self.edges.num_inputs, self.edges.num_inputs, k=-1, dtype=x.dtype)
    edge_basis = Linear(self.width, name='edge_embedding')(inputs)
    for k in range(self.num_layers):
      block = Block(self.heads, self.head_dim, self.expansion, name=f'block_{k}')
      nodes = block(nodes, x, self.edges, edge_basis)
    out = Linear(3 if self.direct else 1, zero=self.zero_output, name='decoder')(nodes)
    return out if self.direct else out.sum()

  def _node_input(self, x, t, species):
    time = self.time_features(jnp.asarray(t, x.dtype)).astype(x.dtype)
    parts = [jax.nn.one_hot(species, self.num_species, dtype=x.dtype)]
    parts += [x] if self.absolute else []
    parts += [jnp.broadcast_to(time, (len(x), len(time)))]
    return jnp.concatenate(parts, axis=-1)


def _norm(name: str) -> nn.Module:
  return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)
