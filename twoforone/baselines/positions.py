"""Between positions and internal coordinates, with the volume: densities of q as those of x.

  u(x) = -ln q(q(x)) + ln|dx/dq|

dx is that of all 3n coordinates; beside dq stand the rigid motions, a translation and a rotation
vector, on which nothing depends. So exp(-u) is a Boltzmann density as that of a force field.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from twoforone.baselines import zmatrix
from twoforone.baselines.zmatrix import Internals
from twoforone.types import EnergyFn


class Coordinates(NamedTuple):
  """Two directions, for one configuration.

  Attributes:
    encode: x[n,3] -> (q[d], ln|dq/dx|).
    decode: q[d] -> (x[n,3], ln|dx/dq|), x in a fixed place and orientation.
    num_real: coordinates of q that are real numbers; they come first.
    num_circular: those behind them, angles in [-π, π).
  """

  encode: Callable
  decode: Callable
  num_real: int
  num_circular: int


def chain_coordinates(num_beads: int) -> Coordinates:
  """q = [n - 1 lengths, n - 2 angles, n - 3 torsions] along a chain, in nm and rad.

  Raises:
    ValueError: for fewer than three beads.
  """
  if num_beads < 3:
    raise ValueError(f'num_beads: found {num_beads}, expected at least 3')
  ends = (num_beads - 1, 2 * num_beads - 3)

  def encode(x):
    internals = zmatrix.measure_chain(x)
    return jnp.concatenate(internals), -zmatrix.log_volume(internals)

  def decode(q):
    internals = Internals(*jnp.split(q, ends))
    return zmatrix.place_chain(internals), zmatrix.log_volume(internals)

  return Coordinates(encode, decode, ends[1], num_beads - 3)


def make_position_energy(log_density: Callable, coordinates: Coordinates) -> EnergyFn:
  """energy(params, x, t) = u(x) = -ln q(q(x)) + ln|dx/dq|, in kT; `t` is not used.

  The coarse-grained potential whose Boltzmann density is the model's, the same for every rigid
  motion of x. Forces need the volume, a free energy along torsions does not. With scale=1 and
  alpha=1 `force.make_potential` gives kJ/mol.

  Args:
    log_density: (params, q[d]) -> [], e.g. of `flow.make_log_density`.
    coordinates: of x.
  """

  def energy(params, x, t):
    del t
    q, log_det = coordinates.encode(x)
    return -log_density(params, q) - log_det

  return energy


def make_position_sample(sample: Callable, coordinates: Coordinates) -> Callable:
  """position_sample(params, key, **options) -> (x[n,3], -u(x)): structures that know their energy.

  Args:
    sample: (params, key, **options) -> (q[d], ln q(q)), e.g. of `flow.make_sample`.
    coordinates: of x.
  """

  def position_sample(params, key, **options):
    q, log_density = sample(params, key, **options)
    x, log_det = coordinates.decode(q)
    return x, log_density - log_det

  return position_sample
