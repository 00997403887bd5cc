"""Worlds with closed-form answers, shared by the tests.

Data in them are isotropic Gaussians of centred beads; forces do not move the centre of mass. Every
function takes `params` first, as the contracts ask, and most ignore it.
"""

import jax
import jax.numpy as jnp
import numpy as np

from twoforone.geometry import centre
from twoforone.system import make_chain

CHAIN = make_chain('chain', ('A:C', 'A:N', 'A:CA', 'B:C', 'B:N'), (12.0, 14.0, 12.0, 12.0, 14.0),
                   300.0)


def gaussian_data(key, shape, variance):
  """Centred positions, each coordinate N(0, variance) before centring; [..., n, 3]."""
  x = jnp.sqrt(variance) * jax.random.normal(key, shape)
  return x - x.mean(axis=-2, keepdims=True)


def make_gaussian_energy(schedule, variance):
  """|x|² / 2 (alpha² variance + sigma²): the exact energy of `gaussian_data` at every t."""

  def energy(params, x, t):
    return 0.5 * jnp.sum(centre(x) ** 2) / _variance(schedule, variance, t)

  return energy


def make_gaussian_score(schedule, variance):
  """-x / (alpha² variance + sigma²), x centred: the exact score of `gaussian_data`."""

  def score(params, x, t):
    return -centre(x) / _variance(schedule, variance, t)

  return score


def harmonic_force(params, x):
  """F = -params x: a well of stiffness params [kJ/mol/nm²] for every bead, not centred."""
  return -params * x


def centred_harmonic_force(params, x):
  """F = -params (x - mean x): translation invariant; <Σ (x - mean x)²> = 3 (n - 1) kT / params."""
  return -params * centre(x)


def centred_harmonic_potential(params, x):
  """U = params Σ |x - mean x|² / 2 [kJ/mol], of which the force above is -∇."""
  return 0.5 * params * jnp.sum(centre(x) ** 2)


def double_well_force(params, x):
  """F of U = params ((|d|² - 1)²) with d = x_1 - x_0 [nm]: two beads, two wells along each axis."""
  d = x[1] - x[0]
  f = -4.0 * params * (jnp.sum(d**2) - 1.0) * d
  return jnp.stack([-f, f])


def stretched_chain(replicas, beads=5, seed=0):
  """Starting positions [R, n, 3]: a chain of 0.15 nm bonds with a little noise."""
  rng = np.random.default_rng(seed)
  x = 0.01 * rng.normal(size=(replicas, beads, 3))
  x[..., 0] += 0.15 * np.arange(beads)
  return jnp.asarray(x, jnp.float32)


def _variance(schedule, variance, t):
  return schedule.alpha(t) ** 2 * variance + schedule.sigma(t) ** 2
