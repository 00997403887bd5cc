"""Lipschitz regularisation: each weight matrix stays inside a ball of the spectral norm.

  W <- W / max(1, s_max(W) / limit)

after a step (Gouk et al. 2021; CGNet of Wang et al. 2019). With slopes of the activation up to one
the energy is then limit^layers-Lipschitz in the features. `optimizers.with_projection` plugs it in.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twoforone.types import Params, PRNGKey, Scalar

Matrix = Float[Array, 'rows columns']


class Projection(NamedTuple):
  """A map of parameters that is made after each step, with a memory.

  Attributes:
    init: params -> state.
    project: (params, state) -> (params, state).
  """

  init: Callable[[Params], Any]
  project: Callable[[Params, Any], tuple[Params, Any]]


def spectral_norm(matrix: Matrix) -> Scalar:
  """The largest singular value, exactly (SVD)."""
  return jnp.linalg.norm(matrix, ord=2)


def power_iteration(
  matrix: Matrix, start: Float[Array, ' columns'], num_iterations: int
) -> tuple[Scalar, Float[Array, ' columns']]:
  """(norm, vector): an estimate of the largest singular value from below, and where it was found.

  Each iteration multiplies the other directions by (s / s_max)², so a start from the last step's
  vector soon makes it exact, a random one seldom does (Miyato et al. 2018).
  """

  def iterate(_, v):
    v = matrix.T @ (matrix @ v)
    return v / jnp.maximum(jnp.linalg.norm(v), jnp.finfo(v.dtype).tiny)

  vector = jax.lax.fori_loop(0, num_iterations, iterate, start)
  return jnp.linalg.norm(matrix @ vector), vector


def make_exact_projection(limit: float) -> Projection:
  """Every matrix of the parameters to spectral norm <= limit by SVD; biases are left alone.

  Raises:
    ValueError: when the limit is not positive.
  """
  _check(limit)

  def project(params, state):
    return jax.tree.map(
      lambda w: _shrink(w, spectral_norm(w), limit) if w.ndim == 2 else w, params), state

  return Projection(lambda params: (), project)


def make_power_projection(limit: float, key: PRNGKey, *, num_iterations: int = 5) -> Projection:
  """The same by power iteration, a vector for each matrix kept from step to step.

  Cheaper than an SVD on an accelerator; the norm may pass the limit while a vector still turns.

  Args:
    limit: of the spectral norm.
    key: of the vectors at the start.
    num_iterations: in each step.

  Raises:
    ValueError: when a number is not positive.
  """
  _check(limit)
  if num_iterations < 1:
    raise ValueError(f'num_iterations: found {num_iterations}, expected at least 1')

  def init(params):
    leaves = jax.tree.leaves(params)
    keys = jax.random.split(key, len(leaves))
    return [jax.random.normal(k, w.shape[1:], w.dtype) if w.ndim == 2 else None
            for k, w in zip(keys, leaves, strict=True)]

  def project(params, vectors):
    leaves, structure = jax.tree.flatten(params)
    found = [(w, v) if v is None else _power_step(w, v, limit, num_iterations)
             for w, v in zip(leaves, vectors, strict=True)]
    return structure.unflatten([w for w, _ in found]), [v for _, v in found]

  return Projection(init, project)


def _power_step(matrix, vector, limit, num_iterations):
  norm, vector = power_iteration(matrix, vector, num_iterations)
  return _shrink(matrix, norm, limit), vector


def _shrink(matrix: Matrix, norm: Scalar, limit: float) -> Matrix:
  return matrix / jnp.maximum(1, norm / limit)


def _check(limit: float) -> None:
  if not limit > 0:
    raise ValueError(f'limit: found {limit}, expected a positive spectral norm')
