"""Chains on the learned energy of a toy, and an energy made of its values on the grid.

The marginal of a flow is an integral of its density over a thousand points, too dear for hundreds
of thousands of steps; a curve through its values and forces on the grid of the scores is not.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.toys import Problem
from twoforone.baselines import walkers
from twoforone.types import EnergyFn


def simulate(config, problem: Problem, model: EnergyFn, params, key) -> np.ndarray:
  """s of Metropolis-adjusted Langevin chains on an energy, from training draws."""
  settings = config.entropy  # chains as long as those of one update of relative entropy
  chains = walkers.make_simulated(
    walkers.make_mala(model, settings.step), model, kT=1.0, num_frames=settings.num_frames,
    stride=settings.stride)
  start = jnp.asarray(problem.train.s[:settings.walkers])
  return np.asarray(jax.jit(chains)(params, key, start).x).ravel()


def make_tabulated_energy(s: np.ndarray, values: np.ndarray, force: np.ndarray) -> EnergyFn:
  """energy(params, x[1, 1], t): the cubic Hermite curve through values and forces at equal steps s.

  Both are continuous; params and t are not used. Beyond the ends it goes on in a straight line.
  """
  step = s[1] - s[0]
  table = jnp.asarray(np.stack([values - values.min(), -step * force]), jnp.float32)

  def energy(params, x, t):
    del params, t
    place = (x[0, 0] - s[0]) / step
    inside = jnp.clip(place, 0, len(s) - 1)
    left = jnp.clip(jnp.floor(inside), 0, len(s) - 2).astype(jnp.int32)
    w = inside - left
    (u_0, slope_0), (u_1, slope_1) = table[:, left], table[:, left + 1]
    beyond = (place - inside) * ((1 - w) * slope_0 + w * slope_1)
    return ((1 - w) ** 2 * ((1 + 2 * w) * u_0 + w * slope_0)
            + w**2 * ((3 - 2 * w) * u_1 + (w - 1) * slope_1) + beyond)

  return energy
