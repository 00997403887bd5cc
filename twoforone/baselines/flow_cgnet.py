"""Flow-CGNet: forces from a flow's density, for CGNet to learn (Köhler et al. 2023).

A flow with auxiliary coordinates η knows ln q(x, η), not its marginal ln q(x). But

  <∇_x ln q(x, η) | x> = ∇ ln q(x),

so draws (x, η) with the label f = ∇_x ln q(x, η), η fixed, are examples for force matching. Labels
are in kT per length. No force is needed from the simulation that the flow was trained on.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twoforone.datasets.dataset import effective_size
from twoforone.types import EnergyFn


class Augmented(NamedTuple):
  """A density with auxiliary coordinates, of one configuration.

  Attributes:
    log_density: (params, x[n,d], eta[m]) -> ln q(x, η).
    sample: (params, key) -> (x[n,d], eta[m]).
  """

  log_density: Callable
  sample: Callable


class Examples(NamedTuple):
  """Examples for `cgnet.with_weight(cgnet.make_force_matching_loss(score))`.

  Attributes:
    x: [F, n, d].
    f: labels in kT per length, [F, n, d].
    weight: of mean 1, [F].
  """

  x: np.ndarray
  f: np.ndarray
  weight: np.ndarray


class Selection(NamedTuple):
  """What a person wants to see of the labels.

  Attributes:
    kept: share of the draws that passed the filter.
    effective: how many equal draws the weights are worth, (Σw)² / Σw².
  """

  kept: float
  effective: float


def make_augmented(log_density: Callable, sample: Callable, shape: tuple[int, int]) -> Augmented:
  """From a flow over one vector z = (x, η), the positions of shape [n, d] first.

  Args:
    log_density: (params, z[nd + m]) -> [].
    sample: (params, key) -> (z[nd + m], its log-density).
    shape: (n, d).
  """
  size = shape[0] * shape[1]

  def joint_log_density(params, x, eta):
    return log_density(params, jnp.concatenate([x.ravel(), eta]))

  def joint_sample(params, key):
    z, _ = sample(params, key)
    return z[:size].reshape(shape), z[size:]

  return Augmented(joint_log_density, joint_sample)


def make_force_draw(flow: Augmented) -> Callable:
  """draw(params, key) -> (x[n,d], f[n,d]) with f = ∇_x ln q(x, η) at the drawn η."""

  def draw(params, key):
    x, eta = flow.sample(params, key)
    return x, jax.grad(flow.log_density, argnums=1)(params, x, eta)

  return draw


def moderate(
  f: Float[Array | np.ndarray, 'frames beads dim'], max_square: float
) -> Bool[np.ndarray, ' frames']:
  """Where the mean of f² over the 3n components is finite and at most `max_square`.

  Rare draws of a flow have huge forces, which would rule the loss. Köhler et al.'s code drops them
  above 1.5e5 (kT/nm)² for alanine dipeptide and 8e4 for proteins.
  """
  square = np.mean(np.square(np.asarray(f, np.float64)), axis=(1, 2))
  return np.isfinite(square) & (square <= max_square)


def make_examples(
  x: Float[Array | np.ndarray, 'frames beads dim'],
  f: Float[Array | np.ndarray, 'frames beads dim'],
  *,
  max_square: float,
  repulsion: EnergyFn | None = None,
) -> tuple[Examples, Selection]:
  """Drops the draws that are not `moderate`; turns q into q exp(-repulsion) if there is one.

  That target's score is f - ∇ repulsion, and the draws get weights exp(-repulsion) of mean 1. The
  network's scaling and its prior come from the original frames, not from these.

  Args:
    x: draws of the flow.
    f: their labels, in kT per length.
    max_square: limit of the mean squared component, before the repulsion.
    repulsion: in kT, e.g. `bonded.make_quadratic_repulsion`; keeps beads of longer chains apart.

  Raises:
    ValueError: when no draw is left.
  """
  keep = moderate(f, max_square)
  if not keep.any():
    raise ValueError(f'f: found no draw of {len(f)} with a mean square of at most {max_square:g}')
  x, f, weight = np.asarray(x)[keep], np.asarray(f)[keep], np.ones(keep.sum())
  if repulsion is not None:
    energy, gradient = _values_and_gradients(repulsion, x)
    weight, f = np.exp(energy.min() - energy), f - gradient
  weight = weight / weight.mean()
  return (Examples(x, f, weight.astype(x.dtype)),
          Selection(float(keep.mean()), effective_size(weight)))


def _values_and_gradients(energy: EnergyFn, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Of each frame, [F] float64 and [F, n, d]."""
  both = jax.jit(jax.vmap(jax.value_and_grad(lambda x: energy(None, x, jnp.zeros((), x.dtype)))))
  values, gradients = both(jnp.asarray(x))
  return np.asarray(values, np.float64), np.asarray(gradients)
