"""Size, bonds, contacts and soundness of coarse chains, in numpy float64.

Lengths are in the data's own unit; positions [..., n, 3] have any leading axes (frame, replica,
chain). Frames that are not finite give values that are not finite: count them, they are never left
out here. Times are in `relaxation`, comparisons over chains in `agreement`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Positions = Float[np.ndarray, '*frames n 3']
Pairs = Int[np.ndarray, '_ 2']


def centre_of_mass(
  x: Positions, mass: Float[np.ndarray, '*chains n']
) -> Float[np.ndarray, '*frames 3']:
  """Σ M X / Σ M; padding beads have no mass."""
  mass = mass.astype(np.float64)
  return np.einsum('...nd,...n->...d', x, mass) / mass.sum(axis=-1)[..., None]


def squared_radius(
  x: Positions, mass: Float[np.ndarray, '*chains n']
) -> Float[np.ndarray, '*frames']:
  """The squared radius of gyration Σ M |X - X_com|² / Σ M of each frame."""
  mass = mass.astype(np.float64)
  centred = x - centre_of_mass(x, mass)[..., None, :]
  return np.einsum('...nd,...nd,...n->...', centred, centred, mass) / mass.sum(axis=-1)


def split_pairs(
  mask: Bool[np.ndarray, ' n'], bonded: Bool[np.ndarray, 'n n']
) -> tuple[Pairs, Pairs]:
  """The bonded and the other pairs i < j of real beads."""
  upper = np.triu(mask[:, None] & mask, 1)
  return np.argwhere(upper & bonded), np.argwhere(upper & ~bonded)


def chain_ends(bonded: Bool[np.ndarray, 'n n']) -> Int[np.ndarray, ' ends']:
  """Beads with one bond: two for a linear chain."""
  return np.flatnonzero(bonded.sum(axis=1) == 1)


def distances(
  x: Positions, pairs: Pairs, *, box: Float[np.ndarray, ' 3'] | None = None
) -> Float[np.ndarray, '*frames _']:
  """|X_j - X_i| of each pair, to the nearest image where there is an orthorhombic box."""
  step = x[..., pairs[:, 1], :].astype(np.float64) - x[..., pairs[:, 0], :]
  if box is not None:
    step -= box * np.round(step / box)
  return np.sqrt(np.einsum('...d,...d->...', step, step))


class Spread(NamedTuple):
  """Of a set of lengths: mean, standard deviation and the 99.9 per cent quantile."""

  mean: float
  sd: float
  quantile: float


def spread(lengths: Float[np.ndarray, '*frames']) -> Spread:
  """NaN throughout where one length is."""
  return Spread(*map(float, (lengths.mean(), lengths.std(), np.quantile(lengths, 0.999))))


class Soundness(NamedTuple):
  """Whether a rollout of one chain held together.

  Attributes:
    frames: in all.
    finite: frames with finite positions.
    stretched: finite frames with a bond longer than the limit.
    longest: bond of all finite frames; NaN without any.
  """

  frames: int
  finite: int
  stretched: int
  longest: float

  @property
  def sound(self) -> bool:
    """Every frame is finite and none is stretched."""
    return self.finite == self.frames and self.stretched == 0


def soundness(longest: Float[np.ndarray, ' frames'], limit: float) -> Soundness:
  """The record of one chain.

  Args:
    longest: bond of each frame, from `longest_distance`; not finite where positions are not.
    limit: of a bond, for example 1.5 times the reference's 99.9 per cent quantile.
  """
  finite = longest[np.isfinite(longest)]
  return Soundness(len(longest), len(finite), int((finite > limit).sum()),
                   float(finite.max()) if len(finite) else float('nan'))


def longest_distance(x: Positions, pairs: Pairs) -> Float[np.ndarray, '*frames']:
  """The greatest distance of the pairs in each frame, for example of all bonds."""
  return distances(x, pairs).max(axis=-1)


def closest_distance(x: Positions, pairs: Pairs) -> Float[np.ndarray, '*frames']:
  """The least distance of the pairs in each frame."""
  return distances(x, pairs).min(axis=-1)


def collision_fraction(closest: Float[np.ndarray, ' frames'], threshold: float) -> float:
  """Frames whose closest pair is nearer than the threshold; a frame that is not finite is one."""
  return float(1 - np.mean(closest >= threshold))


def distance_density(
  distance: Float[np.ndarray, '*frames'], edges: Float[np.ndarray, ' edges']
) -> Float[np.ndarray, ' bins']:
  """p(r) of pair distances, ∫ p dr = 1 over all of them, also those outside the edges.

  Raises:
    ValueError: when a distance is not finite.
  """
  return _counts(distance, edges) / distance.size / np.diff(edges)


def radial_distribution(
  distance: Float[np.ndarray, '*frames'], edges: Float[np.ndarray, ' edges'], volume: float
) -> Float[np.ndarray, ' bins']:
  """g(r): pairs in each shell, divided by those of an ideal gas, pairs · shell / volume.

  Args:
    distance: of all pairs and frames, to the nearest image.
    edges: up to half the shortest side of the box.
    volume: of the box.

  Raises:
    ValueError: when a distance is not finite.
  """
  shell = 4 / 3 * np.pi * np.diff(edges**3)
  return _counts(distance, edges) / (distance.size * shell / volume)


def _counts(distance, edges):
  if not np.isfinite(distance).all():
    raise ValueError('distance: found values that are not finite')
  return np.histogram(distance, edges)[0]
