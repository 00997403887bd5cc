"""Numbers that a score must pass: curl, rotation, translation, mirror, energy against force.

Each takes the score (or energy), its parameters and one configuration; batch with `vmap`. Errors
are relative, so that 1e-6 is round-off in float32. Limits are the caller's.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.geometry import random_rotation
from twoforone.types import Beads, EnergyFn, Params, PRNGKey, Scalar, ScoreFn


def curl(score: ScoreFn, params: Params, x: Beads, t: Scalar) -> Scalar:
  """|J - Jᵀ| / |J| of the Jacobian J = ds/dx (Frobenius): zero when s is a gradient."""
  jacobian = jax.jacrev(score, argnums=1)(params, x, t).reshape(x.size, x.size)
  return jnp.linalg.norm(jacobian - jacobian.T) / jnp.linalg.norm(jacobian)


def rotation_error(
  score: ScoreFn, params: Params, x: Beads, t: Scalar, key: PRNGKey, *, num_rotations: int = 100
) -> Float[Array, ' rotations']:
  """|s(xR) - s(x)R|² / |s(x)|² for Haar-uniform proper rotations R.

  An equivariant network gives round-off; one taught by augmentation about 1e-6 (Arts et al. 2023).
  """
  at_x = score(params, x, t)

  def error(key):
    rotation = random_rotation(key).astype(x.dtype)
    return _relative(score(params, x @ rotation, t) - at_x @ rotation, at_x)

  return jax.vmap(error)(jax.random.split(key, num_rotations))


def translation_error(
  score: ScoreFn, params: Params, x: Beads, t: Scalar, shift: Float[Array, '3']
) -> Scalar:
  """|s(x + shift) - s(x)|² / |s(x)|²."""
  at_x = score(params, x, t)
  return _relative(score(params, x + shift, t) - at_x, at_x)


def net_force(score: ScoreFn, params: Params, x: Beads, t: Scalar) -> Scalar:
  """|Σ_i s_i|² / |s|²: zero when nothing pushes the centre of mass."""
  at_x = score(params, x, t)
  return jnp.sum(at_x.sum(axis=0) ** 2) / jnp.sum(at_x**2)


def mirror_gap(score: ScoreFn, params: Params, x: Beads, t: Scalar) -> Scalar:
  """|s(Mx) - M s(x)|² / |s(x)|² under the reflection M of z: above zero for a chiral molecule.

  A network that is blind to reflection gives round-off, and F(phi, psi) = F(-phi, -psi).
  """
  mirror = jnp.array([1.0, 1.0, -1.0], x.dtype)
  at_x = score(params, x, t)
  return _relative(score(params, x * mirror, t) - at_x * mirror, at_x)


def energy_force_consistency(
  energy: EnergyFn, score: ScoreFn, params: Params, x: Beads, t: Scalar, *, step: float = 1e-4
) -> Scalar:
  """|s + ∇E| / |s| with ∇E from central differences of width 2 step along each coordinate.

  The error of the difference is O(step²) plus round-off/step: use float64 (jax_enable_x64).
  """
  def derivative(direction):
    ahead = energy(params, x + step * direction, t)
    behind = energy(params, x - step * direction, t)
    return (ahead - behind) / (2 * step)

  directions = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
  gradient = jax.vmap(derivative)(directions).reshape(x.shape)
  at_x = score(params, x, t)
  return jnp.linalg.norm(at_x + gradient) / jnp.linalg.norm(at_x)


def _relative(difference: Beads, reference: Beads) -> Scalar:
  return jnp.sum(difference**2) / jnp.sum(reference**2)
