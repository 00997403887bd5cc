"""Target score matching: force labels and noise in one regression.

Given x_t = alpha x_0 + sigma noise, -noise / sigma and f(x_0) / alpha both have the score as their
mean, f being the force in kT per whitened length, or a label that scatters about the mean force.
In place of the noise the network predicts (1 - m) noise - m sigma f / alpha, with the share of
forces m = alpha² / (alpha² + sigma² Var f) (De Bortoli et al. 2024, arXiv 2402.08667).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.geometry import centre, safe_norm
from twoforone.losses.denoising import LabelFn, make_denoising_loss
from twoforone.losses.noise_levels import constant_weight
from twoforone.schedule import Schedule
from twoforone.types import Beads, LossFn, NoiseLevelFn, ProjectFn, ScoreFn, WeightFn

PartFn = Callable[[Beads, Beads], Beads]
"""`part(x_t, vector) -> [n,3]`: the part of a vector in which forces are used, linear in it."""

CHUNK = 4096  # frames whose force is looked at at once
Variance = Float[Array | np.ndarray, '*#shape'] | float


def whole(x_t: Beads, vector: Beads) -> Beads:
  """The vector itself: forces are used in all directions."""
  return vector


def make_force_label(
  schedule: Schedule, *, force_variance: Variance, project: ProjectFn = centre,
  part: PartFn = whole,
) -> LabelFn:
  """label((x, f), noise, x_t, t) = noise - m (noise + sigma f / alpha).

  The bracket is zero on average for each x_t, so every share m and every `part` that depends on
  x_t alone leave the minimum of the loss at the true score and change its scatter only. For normal
  data of variance v and labels that scatter by η², Var f = 1/v + η² is the best share at every
  level; without scatter the label is then exact. The alpha² keeps m f / alpha small at pure noise.

  Args:
    schedule: of the noise.
    force_variance: Var f with its scatter, from `fit_force_variance`; one number or [n, 1].
      Infinity gives plain denoising, 0 the forces alone.
    project: of the force, as the energy's.
    part: where forces are used, e.g. `make_bond_filter`; elsewhere the label is the noise.
  """

  def label(example, noise, x_t, t):
    _, force = example
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    gap = alpha**2 * noise + alpha * sigma * project(force)
    return noise - project(part(x_t, gap / (alpha**2 + sigma**2 * force_variance)))

  return label


def make_target_score_loss(
  score: ScoreFn,
  schedule: Schedule,
  *,
  draw_level: NoiseLevelFn,
  force_variance: Variance,
  weight: WeightFn = constant_weight,
  project: ProjectFn = centre,
  part: PartFn = whole,
) -> LossFn:
  """w(t) mean |sigma score(x_t, t) + label|² on examples (x, f): the denoising loss's scaling.

  Args:
    score: of the whitened positions.
    schedule: of the noise.
    draw_level: draws t for an example.
    force_variance: see `make_force_label`, as for `part`.
    weight: multiplies the loss at t.
    project: of data, noise and force, as the energy's.
    part: where forces are used.
  """
  label = make_force_label(schedule, force_variance=force_variance, project=project, part=part)
  return make_denoising_loss(
    score, schedule, draw_level=draw_level, weight=weight, label=label, project=project)


def on_positions(loss: LossFn) -> LossFn:
  """The loss of x alone on examples (x, f), to be added to one that uses both."""

  def positions_loss(params, key, example):
    return loss(params, key, example[0])

  return positions_loss


def fit_force_variance(
  x: Float[np.ndarray, 'frames n dim'], f: Float[np.ndarray, 'frames n dim'], *,
  project: ProjectFn = centre, part: PartFn = whole,
) -> Float[np.ndarray, 'n 1']:
  """<f²> per coordinate of each bead: mean force and scatter of the labels together.

  Over the training frames, of the part of the force that is used; the mean force itself is zero on
  average. All that is needed: the best share depends on the sum of the two (`make_force_label`).

  Args:
    x: whitened positions.
    f: reduced labels, force · scale / kT.
    project: as the loss's.
    part: as the loss's.
  """
  @jax.jit
  def square_of_all(frames):  # some at a time: a filter holds matrices of its bonds for each
    return jax.lax.map(lambda xf: part(xf[0], project(xf[1])) ** 2, frames, batch_size=CHUNK)

  square = square_of_all((jnp.asarray(x), jnp.asarray(f)))
  return np.asarray(square, np.float64).mean(axis=(0, 2))[:, None]


def make_bond_filter(bonds: Int[np.ndarray, 'bonds 2']) -> PartFn:
  """without_bonds(x, v) = v - Jᵀ (J Jᵀ)⁻¹ J v: the part of v that leaves all bond lengths alone.

  J is the gradient of the lengths at x. Bonds carry most of a force's variance, which makes the
  share small; without them forces teach the soft directions up to higher noise, and bonds are
  left to denoising and the prior.
  """
  bonds = np.asarray(bonds)

  def without_bonds(x, v):
    r = x[bonds[:, 0]] - x[bonds[:, 1]]
    sign = np.eye(len(x))[bonds[:, 0]] - np.eye(len(x))[bonds[:, 1]]
    unit = r / safe_norm(r)[:, None]
    J = (sign[:, :, None] * unit[:, None, :]).reshape(len(bonds), -1)
    # Beads in one point have no direction; their row of J is zero.
    gram = J @ J.T + 1e-6 * jnp.eye(len(bonds))
    return v - (J.T @ jnp.linalg.solve(gram, J @ v.ravel())).reshape(v.shape)

  return without_bonds
