"""Layers of the graph transformer, with PyTorch's defaults where flax has others.

Weights and biases start uniform in ±1/sqrt(fan_in), layer norms use epsilon 1e-5, GELU is the
exact erf form. Everything acts on the node features n[beads, width] of one configuration.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.networks.edges import EdgeInput

Nodes = Float[Array, 'beads width']


class Linear(nn.Module):
  """y = x W + b, both uniform in ±1/sqrt(fan_in) at the start (PyTorch's `nn.Linear`), or zero."""

  features: int
  zero: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, '*shape fan_in']) -> Float[Array, '*shape features']:
    initial = nn.initializers.zeros if self.zero else uniform(x.shape[-1] ** -0.5)
    kernel = self.param('kernel', initial, (x.shape[-1], self.features))
    return x @ kernel + self.param('bias', initial, (self.features,))


class Gate(nn.Module):
  """g u + (1 - g) r with one g = sigmoid(w · [u, r, u - r]) for each node.

  The three blocks of w act on u and r alone: w · [u, r, u - r] = (w0 + w2) · u + (w1 - w2) · r.
  """

  @nn.compact
  def __call__(self, update: Nodes, residual: Nodes) -> Nodes:
    width = update.shape[-1]
    kernel = self.param('kernel', uniform((3 * width) ** -0.5), (3 * width,))
    w = kernel.reshape(3, width)
    gate = jax.nn.sigmoid(update @ (w[0] + w[2]) + residual @ (w[1] - w[2]))[:, None]
    return gate * update + (1 - gate) * residual


class FeedForward(nn.Module):
  """W2 gelu(W1 n), `expansion` times wider inside."""

  expansion: int

  @nn.compact
  def __call__(self, nodes: Nodes) -> Nodes:
    width = nodes.shape[-1]
    hidden = gelu(Linear(self.expansion * width, name='hidden')(nodes))
    return Linear(width, name='out')(hidden)


class EdgeAttention(nn.Module):
  """Attention in which key and value of the pair (i, j) both carry c_ij, affine in the edge input.

    logits_ij = q_i · (k_j + c_ij) / sqrt(head_dim),   out_i = sum_j a_ij (v_j + c_ij)

  with c_ij = A u_ij + c_0. Because u_ij is itself affine in keys r_j that belong to bead j alone
  (`EdgeInput`), this is dot-product attention whose keys and values are lengthened by r_j: terms
  of the logits without j cancel in the softmax, and no tensor over pairs and features is formed.
  The lengthened products are summed in two parts, which spares copying k and v (10-20 % on a CPU).
  """

  heads: int
  head_dim: int

  @nn.compact
  def __call__(
    self, nodes: Nodes, x: Float[Array, 'beads 3'], edges: EdgeInput,
    edge_basis: Float[Array, 'inputs_and_one width'],
  ) -> Nodes:
    """Args:
      nodes: normalised node features.
      x: positions.
      edges: how the edge input follows from positions.
      edge_basis: the edge embedding at input zero, then at each unit vector.
    """
    split = (-1, self.heads, self.head_dim)
    inner = self.heads * self.head_dim
    q, k, v = (Linear(inner, name=name)(nodes).reshape(split) for name in ('query', 'key', 'value'))
    c = Linear(inner, name='edge')(edge_basis).reshape(split)
    offset, slope = c[0], c[1:] - c[0]
    r = edges.keys(x)

    pull = edges.pull(x, jnp.einsum('nhd,uhd->nhu', q, slope))
    logits = jnp.einsum('ihd,jhd->hij', q, k) + jnp.einsum('ihr,jr->hij', pull, r)
    weights = jax.nn.softmax(logits * self.head_dim**-0.5, axis=-1)
    mean_u = edges.mean_input(x, jnp.einsum('hij,jr->ihr', weights, r))
    mean_c = offset + jnp.einsum('nhu,uhd->nhd', mean_u, slope)
    out = jnp.einsum('hij,jhd->ihd', weights, v) + mean_c
    return Linear(nodes.shape[-1], name='out')(out.reshape(len(x), inner))


def gelu(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """x Phi(x) with the normal distribution function, not its tanh approximation."""
  return x * (0.5 + 0.5 * jax.lax.erf(x * 0.5**0.5))


def uniform(bound: float) -> nn.initializers.Initializer:
  """An initialiser uniform in ±bound."""

  def initial(key, shape):
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

  return initial
