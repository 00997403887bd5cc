"""From a scalar network to a reduced energy, its conservative score, and the predicted noise.

energy(x, t) = phi(x, t) / sigma(t) = -log p_t(x) + const, so score = -grad energy and the
predicted noise is -sigma score = grad phi (Arts et al. 2023, eq. 8-9). Positions are centred
first; differentiating through the centring makes score and noise centred exactly.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from twoforone.geometry import centre
from twoforone.schedule import Schedule
from twoforone.types import EnergyFn, NetworkFn, ProjectFn, ScoreFn

Species = Int[Array | np.ndarray, ' beads']


def make_energy(
  network: NetworkFn, schedule: Schedule, species: Species, *, project: ProjectFn = centre
) -> EnergyFn:
  """energy(params, x, t) = network(params, project(x), t, species) / sigma(t), in kT."""
  species = jnp.asarray(species)

  def energy(params, x, t):
    return network(params, project(x), t, species) / schedule.sigma(t)

  return energy


def make_score(energy: EnergyFn) -> ScoreFn:
  """score(params, x, t) = -grad_x energy(params, x, t): conservative by construction."""

  def score(params, x, t):
    return -jax.grad(energy, argnums=1)(params, x, t)

  return score


def make_direct_score(
  network: NetworkFn, schedule: Schedule, species: Species, *, project: ProjectFn = centre
) -> ScoreFn:
  """score = -centred(network(params, x, t)) / sigma: the ablation, not a gradient of anything.

  The network returns [n, 3], the predicted noise itself.
  """
  species = jnp.asarray(species)

  def score(params, x, t):
    return -project(network(params, project(x), t, species)) / schedule.sigma(t)

  return score


def make_noise(score: ScoreFn, schedule: Schedule) -> ScoreFn:
  """noise(params, x, t) = -sigma(t) score(params, x, t), the predicted noise."""

  def noise(params, x, t):
    return -schedule.sigma(t) * score(params, x, t)

  return noise


def add_energies(*energies: EnergyFn) -> EnergyFn:
  """energy(params, x, t) = Σ_k energies_k(params, x, t), e.g. a network's and a prior's.

  All see the same parameters; a prior ignores them. The network learns the remainder.
  """

  def energy(params, x, t):
    return sum(term(params, x, t) for term in energies)

  return energy
