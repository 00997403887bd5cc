"""The graph transformer as its definition reads, with an N × N × width tensor for every edge.

Same parameters and numbers as `twoforone.networks.GraphTransformer`, in plain jax.numpy. It is
the oracle of the tests and the yardstick of the benchmark; nothing else should use it, because
time and memory grow with N² times the inner width (512 in the published models).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.networks.noise_features import scalar_time
from twoforone.types import NetworkFn

EdgeFn = Callable[[Float[Array, 'beads 3']], Float[Array, 'beads beads inputs']]


def differences(x):
  """u_ij = x_j - x_i."""
  return x[None, :] - x[:, None]


def squared_distances(x):
  """u_ij = |x_j - x_i|²."""
  return jnp.sum(differences(x) ** 2, axis=-1, keepdims=True)


def differences_and_distances(x):
  """u_ij = (x_j - x_i, |x_j - x_i|²)."""
  return jnp.concatenate([differences(x), squared_distances(x)], axis=-1)


def constant(x):
  """u_ij = 0."""
  return jnp.zeros((len(x), len(x), 1), x.dtype)


def make_literal_transformer(
  num_species: int, *, heads: int = 8, edges: EdgeFn = differences, absolute: bool = False,
  time_features: Callable = scalar_time, direct: bool = False,
) -> NetworkFn:
  """network(params, x, t, species) -> phi, params as `GraphTransformer.init` makes them."""

  def network(params, x, t, species):
    params = params['params']
    time = jnp.broadcast_to(time_features(t), (len(x), len(time_features(t))))
    one_hot = jax.nn.one_hot(species, num_species, dtype=x.dtype)
    node_input = jnp.concatenate([one_hot, x, time] if absolute else [one_hot, time], axis=-1)
    nodes = linear(params['node_embedding'], node_input)
    edge_features = linear(params['edge_embedding'], edges(x))
    num_layers = sum(name.startswith('block_') for name in params)
    for k in range(num_layers):
      nodes = block(params[f'block_{k}'], nodes, edge_features, heads)
    out = linear(params['decoder'], nodes)
    return out if direct else out.sum()

  return network


def block(params, nodes, edge_features, heads):
  """Pre-norm attention and feed-forward, each with a gated residual."""
  normed = layer_norm(params['attention_norm'], nodes)
  update = attention(params['attention'], normed, edge_features, heads)
  nodes = gate(params['attention_gate'], update, nodes)
  normed = layer_norm(params['feed_forward_norm'], nodes)
  hidden = linear(params['feed_forward']['hidden'], normed)
  update = linear(params['feed_forward']['out'], jax.nn.gelu(hidden, approximate=False))
  return gate(params['feed_forward_gate'], update, nodes)


def attention(params, nodes, edge_features, heads):
  """softmax_j(q_i · k_ij / sqrt(d)) over v_ij, where k_ij = k_j + c_ij and v_ij = v_j + c_ij."""
  q, k, v = (linear(params[name], nodes) for name in ('query', 'key', 'value'))
  c = linear(params['edge'], edge_features)
  k, v = ((a[None, :] + c).reshape(*c.shape[:2], heads, -1) for a in (k, v))
  q = q.reshape(len(nodes), heads, -1)
  logits = jnp.einsum('ihd,ijhd->ijh', q, k) / q.shape[-1] ** 0.5
  out = jnp.einsum('ijh,ijhd->ihd', jax.nn.softmax(logits, axis=1), v)
  return linear(params['out'], out.reshape(len(nodes), -1))


def gate(params, update, residual):
  """g u + (1 - g) r, g = sigmoid(w · [u, r, u - r])."""
  joined = jnp.concatenate([update, residual, update - residual], axis=-1)
  g = jax.nn.sigmoid(joined @ params['kernel'])[:, None]
  return g * update + (1 - g) * residual


def layer_norm(params, x, epsilon=1e-5):
  """(x - mean) / sqrt(var + epsilon), scaled and shifted."""
  mean = x.mean(axis=-1, keepdims=True)
  variance = jnp.mean((x - mean) ** 2, axis=-1, keepdims=True)
  return (x - mean) / jnp.sqrt(variance + epsilon) * params['scale'] + params['bias']


def linear(params, x):
  """x W + b."""
  return x @ params['kernel'] + params['bias']
