"""Gaussians of the whitened acceleration: what a step adds to the mean.

A distribution is a record with `log_density(a)`, `sample(key)` and `covariance()`, all of one
configuration. Padding beads add nothing to the density, and their samples are zero. The Markov
Gaussian knows that bonded beads move together; it turns with the molecule, as does the isotropic.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twoforone.baselines.time_integrated.graph import BeadGraph
from twoforone.types import PRNGKey, Scalar

Accelerations = Float[Array, 'n 3']
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


class DiagonalGaussian(NamedTuple):
  """Independent noise of every bead and axis.

  Attributes:
    mean: [n, 3].
    std: positive, [n, 3], which does not turn with the molecule, or [n, 1], isotropic, which does.
    mask: True for real beads, [n].
  """

  mean: Accelerations
  std: Float[Array, 'n axes']
  mask: Bool[Array | np.ndarray, ' n']

  def log_density(self, a: Accelerations) -> Scalar:
    """log p(a), summed over real beads and axes."""
    each = -0.5 * ((a - self.mean) / self.std) ** 2 - jnp.log(self.std) - HALF_LOG_2PI
    return jnp.sum(jnp.where(self.mask[:, None], each, 0))

  def sample(self, key: PRNGKey) -> Accelerations:
    """One draw."""
    noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
    return jnp.where(self.mask[:, None], self.mean + self.std * noise, 0)

  def covariance(self) -> Float[Array, 'n3 n3']:
    """Of the accelerations, bead after bead; zero for padding."""
    variance = jnp.where(self.mask[:, None], self.std**2, 0)
    return jnp.diag(jnp.broadcast_to(variance, self.mean.shape).ravel())


class MarkovGaussian(NamedTuple):
  """Noise correlated along bonds, given by its precision, a Gaussian Markov random field.

    P = diag(l_i) ⊗ I + Σ_bonds (e_i - e_j)(e_i - e_j)ᵀ ⊗ [w_ij I + u_ij r_ij r_ijᵀ]

  Bonded beads move alike the more, the larger w; u adds to it along the bond r_ij only.
  Positive definite whenever l > 0 and w, u >= 0.

  Attributes:
    mean: [n, 3].
    local: l, [n].
    bond: w, symmetric, zero for pairs that are not bonded, [n, n].
    stretch: u, likewise.
    unit: unit vectors between the beads, up to sign, [n, n, 3].
    mask: True for real beads, [n].
  """

  mean: Accelerations
  local: Float[Array, ' n']
  bond: Float[Array, 'n n']
  stretch: Float[Array, 'n n']
  unit: Float[Array, 'n n 3']
  mask: Bool[Array | np.ndarray, ' n']

  def precision(self) -> Float[Array, 'n3 n3']:
    """P, bead after bead; the identity for padding."""
    n, identity = len(self.local), jnp.eye(3, dtype=self.mean.dtype)
    along = self.unit[..., :, None] * self.unit[..., None, :]
    coupling = self.bond[..., None, None] * identity + self.stretch[..., None, None] * along
    local = jnp.where(self.mask, self.local, 1.0)[:, None, None] * identity
    same = jnp.eye(n, dtype=bool)[..., None, None]
    blocks = jnp.where(same, (local + coupling.sum(axis=1))[:, None], -coupling)
    return blocks.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)

  def log_density(self, a: Accelerations) -> Scalar:
    """log p(a) = Σ log diag chol(P) - eᵀ P e / 2 - const with e = a - mean."""
    precision = self.precision()
    e = jnp.where(self.mask[:, None], a - self.mean, 0).ravel()
    half_log_det = jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(precision))))
    return half_log_det - 0.5 * e @ precision @ e - 3 * HALF_LOG_2PI * jnp.sum(self.mask)

  def sample(self, key: PRNGKey) -> Accelerations:
    """One draw: mean + L⁻ᵀ z with P = L Lᵀ."""
    z = jax.random.normal(key, self.mean.shape, self.mean.dtype).ravel()
    factor = jnp.linalg.cholesky(self.precision())
    noise = jax.scipy.linalg.solve_triangular(factor, z, trans='T', lower=True)
    return jnp.where(self.mask[:, None], self.mean + noise.reshape(self.mean.shape), 0)

  def covariance(self) -> Float[Array, 'n3 n3']:
    """P⁻¹; zero for padding."""
    real = jnp.repeat(jnp.asarray(self.mask), 3)
    return jnp.where(real[:, None] & real, jnp.linalg.inv(self.precision()), 0)


def isotropic_gaussian(
  mean: Accelerations, local: Float[Array, ' n'], pair: Float[Array, '2 n n'],
  unit: Float[Array, 'n n 3'], beads: BeadGraph, *, min_std: float = 0.05
) -> DiagonalGaussian:
  """Isotropic noise from any real numbers; takes what `markov_gaussian` takes, needs no pairs.

  Args:
    mean: [n, 3].
    local: for the standard deviation min_std + softplus(local), of each bead.
    pair, unit: not used.
    beads: which are real.
    min_std: least standard deviation.
  """
  del pair, unit
  return DiagonalGaussian(mean, min_std + jax.nn.softplus(local)[:, None], beads.mask)


def markov_gaussian(
  mean: Accelerations, local: Float[Array, ' n'], pair: Float[Array, '2 n n'],
  unit: Float[Array, 'n n 3'], beads: BeadGraph, *, floor: float = 1e-2, cap: float = 1e3
) -> MarkovGaussian:
  """A MarkovGaussian from any real numbers, by softplus.

  Args:
    mean: [n, 3].
    local: for l, of each bead.
    pair: for w and u, of each ordered pair; both orders are added.
    unit: unit vectors between the beads.
    beads: which are real, and which are bonded.
    floor: least l, which keeps P well conditioned.
    cap: what w and u stay below, smoothly.
  """
  strength = cap * jnp.tanh(jax.nn.softplus(pair + pair.transpose(0, 2, 1)) / cap)
  bond, stretch = jnp.where(jnp.asarray(beads.bonded), strength, 0)
  return MarkovGaussian(mean, floor + jax.nn.softplus(local), bond, stretch, unit, beads.mask)
