"""Flow i.i.d.: internal coordinates of a chain with auxiliary ones (Köhler et al. 2023).

The density is q(x, η) with η ~ N(0, 1) beside the data, which gives a flow of few torsions room.
From base to data: (η | T), (T1 | T2, η), (T2 | T1, η) in blocks; (A1 | A2, T), (A2 | A1, T) twice;
(lengths | T, A); then bonded coordinates through the inverse of a truncated normal's distribution
function. A is angles, T torsions, 1 and 2 their halves. Not flow matching of Lipman et al. (2023).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from twoforone.baselines import couplings, flow, positions
from twoforone.baselines.bonded import over_frames
from twoforone.baselines.couplings import coupling
from twoforone.baselines.flow import Flow, Prior
from twoforone.baselines.flow_cgnet import Augmented
from twoforone.types import LossFn


class Marginals(NamedTuple):
  """Truncated normal laws of the lengths and angles along a chain, [2n - 3] each [nm, rad].

  Attributes:
    mean, std: of the frames; of the normal law before it is cut.
    low, high: where it is cut.
  """

  mean: np.ndarray
  std: np.ndarray
  low: np.ndarray
  high: np.ndarray


class CGFlow(NamedTuple):
  """The model of one configuration.

  Attributes:
    init: key -> params.
    density: `log_density(params, x[n,3], eta[m])` and `sample(params, key) -> (x, eta)`; what
      `flow_cgnet.make_force_draw` takes.
    loss: loss(params, key, x): ln N(η) - ln q(x, η) at a fresh η, on average at least -ln q(x).
  """

  init: Callable
  density: Augmented
  loss: LossFn


def fit_marginals(
  x: Float[np.ndarray, 'frames beads 3'], *, margin: float = 0.3
) -> Marginals:
  """Mean, standard deviation and range of each length and angle in training frames.

  Args:
    x: [nm].
    margin: by which the range is widened at each end, as a share of it; new frames lie outside the
      range of the old ones, and outside the cut the density is zero.

  Raises:
    ValueError: for fewer than four beads, or a length or angle that does not vary.
  """
  if x.shape[1] < 4:
    raise ValueError(f'x: found {x.shape[1]} beads, expected at least 4, those of a torsion')
  coordinates = positions.chain_coordinates(x.shape[1])
  q = over_frames(lambda x: coordinates.encode(x)[0][:coordinates.num_real], x)
  mean, std, low, high = q.mean(axis=0), q.std(axis=0), q.min(axis=0), q.max(axis=0)
  # float32 cannot tell smaller widths from rounding.
  fixed = np.flatnonzero(std <= 1e-6 * mean)
  if len(fixed):
    raise ValueError(f'x: length or angle {fixed[0]} is {mean[fixed[0]]:.6g} in all of {len(x)} '
                     'frames, expected coordinates that vary')
  wide = margin * (high - low)
  ceiling = np.where(np.arange(len(mean)) < x.shape[1] - 1, np.inf, np.pi)
  # Neither a length of zero nor a straight angle: the volume would vanish.
  return Marginals(mean, std, np.maximum(low - wide, 0.5 * low),
                   np.minimum(high + wide, 0.5 * (high + ceiling)))


def make_cgflow(marginals: Marginals, *, num_auxiliary: int = 2, **options) -> CGFlow:
  """The model whose `init`, `density` and `loss` are pure functions.

  Args:
    marginals: of the training frames.
    num_auxiliary: coordinates in η.
    **options: of `make_chain_flow`.
  """
  num_beads = len(marginals.mean) // 2 + 2
  coordinates = positions.chain_coordinates(num_beads)
  layers = make_chain_flow(marginals, num_auxiliary=num_auxiliary, **options)
  prior = make_chain_prior(num_beads, num_auxiliary)
  log_density_of = flow.make_log_density(layers, prior)
  sample_of = flow.make_sample(layers, prior)
  size = 3 * num_beads - 6

  def log_density(params, x, eta):
    q, log_det = coordinates.encode(x)
    return log_density_of(params, jnp.concatenate([q, eta])) + log_det

  def sample(params, key):
    q, _ = sample_of(params, key)
    return coordinates.decode(q[:size])[0], q[size:]

  density = Augmented(log_density, sample)
  return CGFlow(layers.init, density, make_augmented_loss(log_density, num_auxiliary))


def make_augmented_loss(log_density: Callable, num_auxiliary: int) -> LossFn:
  """loss(params, key, x) = ln N(η; 0, 1) - ln q(x, η), η drawn afresh for every example.

  On average this is -ln q(x) plus the relative entropy of N(η) to q(η | x), which is not negative.

  Args:
    log_density: (params, x, eta) -> [].
    num_auxiliary: coordinates in η.
  """
  normal = flow.normal_prior(num_auxiliary)

  def loss(params, key, x):
    eta = normal.sample(key).astype(x.dtype)
    return normal.log_density(eta) - log_density(params, x, eta)

  return loss


def make_chain_flow(
  marginals: Marginals, *, num_auxiliary: int = 2, num_blocks: int = 2, torsion_bins: int = 10,
  angle_bins: int = 5, widths: tuple[int, ...] = (128, 128),
) -> Flow:
  """The layers over [lengths, angles, torsions, η], circular splines for torsions.

  Köhler et al. (2023) have smooth transforms (mixtures of sigmoids) where splines are here, and
  networks of widths (128, 1024, 128).

  Args:
    marginals: of lengths and angles.
    num_auxiliary: coordinates in η, at least one.
    num_blocks: of torsions and η; 2 for alanine dipeptide, 4 for fast-folding proteins.
    torsion_bins, angle_bins: of the splines.
    widths: hidden layers of each network.
  """
  num_beads = len(marginals.mean) // 2 + 2
  sizes = np.cumsum([num_beads - 1, num_beads - 2, num_beads - 3, num_auxiliary])
  lengths, angles, torsions, eta = np.split(np.arange(sizes[-1]), sizes[:-1])

  def layer(transform, moved, *given):
    given = np.concatenate(given)
    return coupling(transform, moved=moved.tolist(), given=given.tolist(),
                    angles=np.intersect1d(given, torsions).tolist(), widths=widths)

  turn = couplings.circular_spline(torsion_bins)
  bend = couplings.free_spline(angle_bins, low=-1.0, high=1.0)
  stretch = couplings.free_spline(1, low=-1.0, high=1.0)
  (first, second), (t1, t2) = np.array_split(angles, 2), np.array_split(torsions, 2)
  block = [layer(turn, moved, others, eta) for moved, others in ((t2, t1), (t1, t2)) if len(moved)]
  return flow.chain(
    _truncate(marginals), layer(stretch, lengths, angles, torsions),
    *[layer(bend, second, first, torsions), layer(bend, first, second, torsions)] * 2,
    *[*block, layer(couplings.affine(), eta, torsions)] * num_blocks)


def make_chain_prior(num_beads: int, num_auxiliary: int) -> Prior:
  """Uniform on [-1, 1] for lengths and angles and on the circle for torsions, normal for η."""
  return flow.join_priors(
    flow.uniform_prior(2 * num_beads - 3, low=-1.0, high=1.0),
    flow.uniform_prior(num_beads - 3), flow.normal_prior(num_auxiliary))


def _truncate(marginals: Marginals) -> Flow:
  """The first coordinates to [-1, 1] by the truncated normals' distribution functions.

  z = 2 (Φ(u) - Φ(a)) / (Φ(b) - Φ(a)) - 1 with u = (x - mean) / std, a and b at the cuts.
  """
  mean, std = marginals.mean, marginals.std
  a, b = (marginals.low - mean) / std, (marginals.high - mean) / std
  below, above = ndtr(a), ndtr(b)
  log_factor = np.log(2 / ((above - below) * std))
  num = len(mean)

  def log_slope(u):
    return jnp.sum(log_factor - 0.5 * u**2 - 0.5 * np.log(2 * np.pi))

  def forward(params, x, context=None):
    del params, context
    u = (x[:num] - mean) / std
    z = 2 * (jax.scipy.special.ndtr(u) - below) / (above - below) - 1
    return x.at[:num].set(z), log_slope(u)

  def inverse(params, z, context=None):
    del params, context
    # The end of the range may be rounded to a probability of one, which is at infinity.
    u = jnp.clip(jax.scipy.special.ndtri(below + 0.5 * (z[:num] + 1) * (above - below)), a, b)
    return z.at[:num].set(mean + std * u), -log_slope(u)

  return Flow(lambda key: (), forward, inverse)
