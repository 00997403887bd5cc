"""What an energy by itself says of the weight of a basin: no dynamics, no barrier to cross."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.models import Model
from twoforone.reweighting import effective_share
from twoforone.sampler import make_ode_sampler

BATCH = 500  # samples whose densities are worked out at once


class Population(NamedTuple):
  """A share under exp(-energy), its standard error, and N_eff / N of the samples behind it."""

  share: float
  error: float
  effective_share: float


def energy_population(
  model: Model, params, inside: Callable[[np.ndarray], np.ndarray], num_beads: int, *,
  num_samples: int, num_steps: int, seed: int = 0
) -> Population:
  """Σ w inside(x) / Σ w, w = exp(-energy(x, 0)) / q(x), over samples x of the density q.

  q is that of the probability flow (`make_ode_sampler`), known in numbers. Where energy and flow
  agree all w are equal; where they do not, the weights have the energy's word.

  Args:
    params: of the energy.
    inside: frames [F, n, 3] in nm -> which of them count, [F] bool.
    num_samples: a multiple of the batch, or fewer.
    num_steps: of the flow, two score calls each; the density takes 3n more.

  Raises:
    ValueError: for a direct score, which has no energy, or another number of samples.
  """
  if model.energy is None:
    raise ValueError('populations: a direct score has no energy')
  sample, log_density = make_ode_sampler(model.score, model.schedule, num_steps=num_steps)
  batch = min(BATCH, num_samples)
  if num_samples % batch:
    raise ValueError(f'num_samples: found {num_samples}, expected a multiple of {BATCH}, or fewer')

  @jax.jit
  def draw(params, key):
    x = sample(params, key, (batch, num_beads, 3))
    energy = jax.vmap(model.energy, in_axes=(None, 0, None))(params, x, jnp.float32(0))
    return x, energy + jax.vmap(log_density, in_axes=(None, 0))(params, x)

  keys = jax.random.split(jax.random.key(seed), num_samples // batch)
  x, excess = zip(*(map(np.asarray, draw(params, key)) for key in keys), strict=True)
  return weigh(inside(np.concatenate(x) * model.scale), np.concatenate(excess).astype(np.float64))


def weigh(inside: np.ndarray, excess: np.ndarray) -> Population:
  """The share of `inside` under weights exp(-excess), all [F]; excess in kT.

  Its error is that of a ratio of means: √Σ w² (inside - share)², with Σ w = 1.
  """
  weights = np.exp(excess.min() - excess)
  weights /= weights.sum()
  share = float(weights @ inside)
  error = float(np.sqrt(np.sum(weights**2 * (inside - share) ** 2)))
  return Population(share, error, effective_share(excess))
