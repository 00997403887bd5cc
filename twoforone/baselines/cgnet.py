"""CGNet: a coarse-grained potential learned from mapped forces (Wang et al. 2019).

  loss = <|F + ∇U(x)|²> / 3n,   U = network(z-scored internal coordinates) + prior

Its minimum over all U is the potential of mean force (Noid et al. 2008). The energy is an EnergyFn
in kT with x in nm, so `force.make_force_field` and `force.make_potential` with scale=1 and alpha=1
give kJ/mol. Force labels are reduced too, F / kT [1/nm]. In a toy all lengths are plain numbers.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twoforone.baselines.bonded import Bonds, bonded_quads, bonded_triples, over_frames
from twoforone.geometry import angle, dihedral, distances
from twoforone.prior import check_bonds
from twoforone.types import Beads, EnergyFn, LossFn, Scalar, ScoreFn

FeatureFn = Callable[[Beads], Float[Array, ' features']]
"""`features(x[n,d]) -> [K]`: what the network sees of a configuration, before z-scoring."""


class Scaling(NamedTuple):
  """Mean and standard deviation of each feature over training frames, [K] each."""

  mean: np.ndarray
  std: np.ndarray


class CGNetwork(nn.Module):
  """A scalar from z-scored features: dense layers and a linear output without bias.

  The output starts at zero, so a training starts at the prior beside it.

  Attributes:
    widths: of the hidden layers; those of Wang et al. (2019) for alanine dipeptide.
    activation: tanh there, `nn.silu` in Köhler et al. (2023) for proteins.
    skips: whether each hidden layer after the first adds to what enters it (equal widths).
  """

  widths: tuple[int, ...] = (160,) * 5
  activation: Callable = nn.tanh
  skips: bool = False

  @nn.compact
  def __call__(self, features: Float[Array, ' features']) -> Scalar:
    h = features
    for k, width in enumerate(self.widths):
      update = self.activation(nn.Dense(width)(h))
      h = h + update if self.skips and k else update
    return nn.Dense(1, use_bias=False, kernel_init=nn.initializers.zeros)(h)[0]


def coordinates(x: Beads) -> Float[Array, ' features']:
  """The coordinates themselves, the features of a point in an external field.

  Best left as they are, `Scaling(zeros, ones)`: z-scored, a basin of few frames lies five sigma
  away and is learned late.
  """
  return x.ravel()


def make_internal_features(num_beads: int, bonds: Bonds) -> FeatureFn:
  """features(x[n,3]): all pair distances, the angles, then cos and sin of the torsions.

  Invariant under motions but not under reflection, for the sine is odd. Cos and sin have no jump
  where a torsion goes from pi to -pi.

  Raises:
    ValueError: for bonds that name no pair of beads.
  """
  check_bonds(bonds, num_beads)
  pairs = np.stack(np.triu_indices(num_beads, 1), axis=1)
  triples, quads = bonded_triples(bonds), bonded_quads(bonds)

  def features(x):
    bends = jax.vmap(angle)(*(x[triples[:, k]] for k in range(3)))
    turns = jax.vmap(dihedral)(*(x[quads[:, k]] for k in range(4)))
    return jnp.concatenate([distances(x, pairs), bends, jnp.cos(turns), jnp.sin(turns)])

  return features


def fit_scaling(
  features: FeatureFn, x: Float[Array | np.ndarray, 'frames beads dim']
) -> Scaling:
  """Mean and standard deviation of each feature over training frames.

  Raises:
    ValueError: when a feature does not vary.
  """
  values = over_frames(features, x)
  mean, std = values.mean(axis=0), values.std(axis=0)
  # float32 cannot tell smaller widths from rounding.
  fixed = np.flatnonzero(std <= 1e-6 * np.abs(mean))
  if len(fixed):
    raise ValueError(f'x: feature {fixed[0]} is {mean[fixed[0]]:.6g} in all of {len(x)} frames, '
                     'expected features that vary')
  return Scaling(mean, std)


def make_cgnet_energy(network: CGNetwork, features: FeatureFn, scaling: Scaling) -> EnergyFn:
  """energy(params, x, t) = network((features(x) - mean) / std) in kT; `t` is not used.

  Parameters start as `network.init(key, zeros[K])`. A prior is added with `energy.add_energies`.

  Raises:
    ValueError: for skips between layers of different widths.
  """
  if network.skips and len(set(network.widths)) > 1:
    raise ValueError(f'widths: found {network.widths} with skips, expected equal widths')

  def energy(params, x, t):
    del t
    return network.apply(params, (features(x) - scaling.mean) / scaling.std)

  return energy


def make_force_matching_loss(score: ScoreFn) -> LossFn:
  """|score(x) - f|² / 3n on examples (x, f): multiscale coarse-graining (Izvekov and Voth 2005).

  Any label with <f | x> = -∇ U(x) / kT gives the same minimum, scatter only adds a constant. Mapped
  forces are such labels when their map is right for the constraints (`cg_map.map_forces`; check
  it by `force_map.virial_identity`). Where no data lie, say on a barrier, nothing fixes the
  gradient, so the depths of basins against each other are not learned.

  Args:
    score: -∇ energy, with a prior inside or, for labels from `make_delta_force`, without; read at
      t = 0.
  """

  def loss(params, key, example):
    del key
    x, f = example
    return jnp.mean((score(params, x, jnp.zeros((), x.dtype)) - f) ** 2)

  return loss


def make_delta_force(prior: EnergyFn) -> Callable[[Beads, Beads], Beads]:
  """delta_force(x, f) = f + ∇ prior(x): the label of the network alone, made once for all frames.

  The loss and its gradient are those of the prior inside the energy.

  Args:
    prior: its parameters are not used.
  """

  def delta_force(x, f):
    return f + jax.grad(prior, argnums=1)(None, x, jnp.zeros((), x.dtype))

  return delta_force


def with_weight(loss: LossFn) -> LossFn:
  """weight · loss(example) on examples (*example, weight); weights of mean 1 keep its scale."""

  def weighted_loss(params, key, example):
    *rest, weight = example
    return weight * loss(params, key, tuple(rest))

  return weighted_loss
