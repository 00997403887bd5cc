"""Bead-spring polymers of four bead types: periodic sequences to train on, irregular ones to test.

Class I repeats a unit of four blocks, class II is a row of random blocks; the lengths are the same.
No sequence occurs twice, not even reversed, and no test composition lies outside those of training:
what is asked of a model is another order of known beads. In the manner of Webb et al. (2020).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from twoforone.datasets.polymer_potential import ChainParams

Species = Int[np.ndarray, ' N']


class BeadType(NamedTuple):
  """A kind of bead.

  Attributes:
    name: one letter.
    stickiness: l; a pair attracts with λ_ij = sqrt(l_i l_j).
    bending: κ [kT] where the bead is the middle one of three.
  """

  name: str
  stickiness: float
  bending: float


BEAD_TYPES = (BeadType('A', 0.0, 0.0), BeadType('B', 0.0, 3.0),
              BeadType('C', 0.55, 0.0), BeadType('D', 0.95, 0.0))
"""Flexible, stiff, mildly sticky and sticky: coils, worms and globules at one length."""
LENGTHS = (24, 36, 48, 60, 72)
"""Relaxation times rise as about N^2.2, so these span more than a decade."""
CONCENTRATION = 0.7
"""Of the Dirichlet distribution of a polymer's composition: many polymers lack a type."""
MAX_DRAWS = 1000


class Sequences(NamedTuple):
  """Species of every polymer of each split, arrays [N] of int."""

  train: list[np.ndarray]
  val: list[np.ndarray]
  test: list[np.ndarray]


def draw_periodic(random: np.random.Generator, length: int) -> Species:
  """Class I: a unit of four blocks of 2 to 6 equal beads, repeated to the length."""
  return np.resize(np.concatenate(_blocks(random, 4, 6)), length)


def draw_irregular(random: np.random.Generator, length: int) -> Species:
  """Class II: blocks of 2 to 8 equal beads to the length."""
  return np.concatenate(_blocks(random, length // 2 + 1, 8))[:length]


def draw_sequences(
  seed: int, lengths: tuple[int, ...] = LENGTHS, *, num_train: int, num_val: int, num_test: int
) -> Sequences:
  """Class I for training and validation, class II for test; all lengths in turn.

  A sequence that was drawn before is drawn again, and so is a test sequence whose fractions of B
  and D lie outside the convex hull of those in training.

  Raises:
    ValueError: when no new sequence is found in `MAX_DRAWS` draws.
  """
  random, taken = np.random.default_rng(seed), set()

  def draw_all(draw, count, accept=lambda species: True):
    return [_draw_new(random, draw, lengths[k % len(lengths)], taken, accept)
            for k in range(count)]

  train = draw_all(draw_periodic, num_train)
  known = np.stack([stiff_and_sticky(species) for species in train])
  return Sequences(train, draw_all(draw_periodic, num_val), draw_all(
    draw_irregular, num_test, lambda species: is_inside(stiff_and_sticky(species), known)))


def stiff_and_sticky(species: Species) -> Float[np.ndarray, '2']:
  """The fractions of B and D, which decide how a chain folds."""
  return np.array([np.mean(species == kind) for kind in (1, 3)])


def is_inside(point: Float[np.ndarray, '2'], points: Float[np.ndarray, 'points 2']) -> bool:
  """True when the point lies in the convex hull of the points, its edge included.

  Outside, all points are seen within less than half a turn.
  """
  towards = points - point
  if (np.abs(towards) < 1e-9).all(axis=1).any():
    return True
  angle = np.sort(np.arctan2(towards[:, 1], towards[:, 0]))
  gaps = np.diff(angle, append=angle[0] + 2 * np.pi)
  return bool(gaps.max() <= np.pi + 1e-9)


def linear_bonds(length: int) -> Int[np.ndarray, 'bonds 2']:
  """Each bead with the next."""
  return np.stack([np.arange(length - 1), np.arange(1, length)], axis=1)


def chain_params(species: Species) -> ChainParams:
  """λ_ij = sqrt(l_i l_j) of all pairs and κ of the inner beads, float32."""
  stickiness = np.array([kind.stickiness for kind in BEAD_TYPES], np.float32)[species]
  bending = np.array([kind.bending for kind in BEAD_TYPES], np.float32)[species]
  return ChainParams(np.sqrt(np.outer(stickiness, stickiness)), bending[1:-1])


def zigzag(length: int) -> Float[np.ndarray, 'N 3']:
  """An extended chain along x with bonds of 1 that turn by 60 degrees: no two beads overlap."""
  index = np.arange(length)
  x = np.stack([np.sqrt(3) / 2 * index, 0.5 * (index % 2), np.zeros(length)], axis=1)
  return x - x.mean(axis=0)


def _blocks(random: np.random.Generator, count: int, longest: int) -> list[np.ndarray]:
  """Blocks of 2 to `longest` beads of types drawn from one composition."""
  composition = random.dirichlet(np.full(len(BEAD_TYPES), CONCENTRATION))
  kinds = random.choice(len(BEAD_TYPES), count, p=composition)
  return [np.full(random.integers(2, longest + 1), kind) for kind in kinds]


def _draw_new(
  random: np.random.Generator, draw: Callable, length: int, taken: set[bytes], accept: Callable
) -> np.ndarray:
  """The first acceptable sequence that is not in `taken`, which it then joins."""
  for _ in range(MAX_DRAWS):
    species = draw(random, length)
    name = min(species.tobytes(), species[::-1].tobytes())
    if name not in taken and accept(species):
      taken.add(name)
      return species
  raise ValueError(f'length: found no new sequence of {length} beads in {MAX_DRAWS} draws, '
                   'expected longer chains or fewer polymers')
