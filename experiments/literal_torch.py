"""The published network in PyTorch, literally, with a Python loop: the benchmark's rival.

Written from the paper and the published hyper-parameters (Arts et al. 2023): N × N × 512 edge
tensors, a gradient for the score, a Python loop over time steps. Needs `pip install torch`, for
`experiments.benchmark --config.pytorch=True` only.
"""

import math
import time

import torch
from torch import nn

from experiments.measure import Loop

HEADS, INNER = 8, 512


class Attention(nn.Module):
  """softmax_j(q_i · (k_j + c_ij)) over v_j + c_ij, c_ij a linear map of the edge features."""

  def __init__(self, width: int):
    super().__init__()
    self.query, self.key, self.value, self.edge = (nn.Linear(width, INNER) for _ in range(4))
    self.out = nn.Linear(INNER, width)

  def forward(self, nodes, edges):
    def split(a):
      return a.unflatten(-1, (HEADS, -1)).movedim(-2, 1)
    q, c = split(self.query(nodes)), split(self.edge(edges))
    k, v = (split(linear(nodes))[:, :, None] + c for linear in (self.key, self.value))
    weights = (torch.einsum('bhid,bhijd->bhij', q, k) / math.sqrt(q.shape[-1])).softmax(-1)
    out = torch.einsum('bhij,bhijd->bhid', weights, v)
    return self.out(out.movedim(1, -2).flatten(-2))


class Gate(nn.Module):
  """g u + (1 - g) r with a scalar g per node."""

  def __init__(self, width: int):
    super().__init__()
    self.linear = nn.Linear(3 * width, 1, bias=False)

  def forward(self, update, residual):
    g = self.linear(torch.cat([update, residual, update - residual], -1)).sigmoid()
    return g * update + (1 - g) * residual


class Block(nn.Module):
  """Pre-norm attention and feed-forward, each with a gated residual."""

  def __init__(self, width: int):
    super().__init__()
    self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
    self.gates = nn.ModuleList([Gate(width), Gate(width)])
    self.attention = Attention(width)
    self.feed_forward = nn.Sequential(
      nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

  def forward(self, nodes, edges):
    nodes = self.gates[0](self.attention(self.norms[0](nodes), edges), nodes)
    return self.gates[1](self.feed_forward(self.norms[1](nodes)), nodes)


class LiteralTransformer(nn.Module):
  """predicted noise [B, n, 3] = grad_x of a sum of node energies."""

  def __init__(self, beads: int, width: int, num_layers: int):
    super().__init__()
    self.beads = beads
    self.node_embedding, self.edge_embedding = nn.Linear(beads + 1, width), nn.Linear(3, width)
    self.blocks = nn.ModuleList(Block(width) for _ in range(num_layers))
    self.decoder = nn.Linear(width, 1)

  def energy(self, x, t):
    one_hot = torch.eye(self.beads, dtype=x.dtype).expand(len(x), -1, -1)
    time = t[:, None, None].expand(-1, self.beads, 1)
    nodes = self.node_embedding(torch.cat([one_hot, time], -1))
    edges = self.edge_embedding(x[:, None] - x[:, :, None])
    for block in self.blocks:
      nodes = block(nodes, edges)
    return self.decoder(nodes).sum()

  def forward(self, x, t, *, training: bool):
    with torch.enable_grad():
      x = (x - x.mean(1, keepdim=True)).detach().requires_grad_()
      return torch.autograd.grad(self.energy(x, t), x, create_graph=training)[0]


def training_loop(size: dict, batch: int, *, steps: int) -> Loop:
  """Denoising loss at random noise, its gradient through the gradient, AdamW."""
  model = LiteralTransformer(size['beads'], size['width'], size['num_layers'])
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

  def step():
    x, noise = torch.randn(2, batch, size['beads'], 3)
    t = torch.rand(batch)
    found = model(x.cos() + t[:, None, None] * noise, t, training=True)
    optimizer.zero_grad()
    (found - noise).square().mean().backward()
    optimizer.step()

  return _loop(step, batch, steps)


def simulation_loop(size: dict, replicas: int, *, steps: int) -> Loop:
  """Langevin steps in a Python loop, one force call each."""
  model = LiteralTransformer(size['beads'], size['width'], size['num_layers']).requires_grad_(False)
  t, dt = torch.full((replicas,), 0.005), 0.002
  state = [torch.randn(replicas, size['beads'], 3), torch.zeros(replicas, size['beads'], 3)]
  keep = math.exp(-dt)

  @torch.no_grad()
  def step():
    x, v = state
    x = x - x.mean(1, keepdim=True)
    v = v - dt * model(x, t, training=False)
    x = x + 0.5 * dt * v
    v = keep * v + math.sqrt(1 - keep**2) * torch.randn_like(v)
    state[:] = x + 0.5 * dt * v, v

  return _loop(step, replicas, steps)


def _loop(step, batch: int, steps: int) -> Loop:
  def advance():
    for _ in range(steps):
      step()

  start = time.perf_counter()
  step()  # the first call allocates; there is nothing to compile
  return Loop(advance, steps=steps, batch=batch, flops=None, memory=None,
              compile_seconds=time.perf_counter() - start)
