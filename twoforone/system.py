"""What is simulated: beads with their names, species, masses and bonds, at one temperature."""

from typing import NamedTuple

import numpy as np


class System(NamedTuple):
  """A coarse-grained molecule.

  Attributes:
    name: a short identifier, part of checkpoint cards.
    beads: bead names, length n.
    species: species index of each bead, [n] int.
    mass: [n] in amu.
    bonds: bonded pairs (i, j), [bonds, 2] int.
    temperature: of the data, in K.
  """

  name: str
  beads: tuple[str, ...]
  species: np.ndarray
  mass: np.ndarray
  bonds: np.ndarray
  temperature: float


def make_chain(
  name: str, beads: tuple[str, ...], mass: tuple[float, ...], temperature: float
) -> System:
  """A linear chain in which every bead is its own species (as in Arts et al. 2023).

  Raises:
    ValueError: for lengths that differ, masses or a temperature that are not positive.
  """
  if len(mass) != len(beads):
    raise ValueError(f'mass: found {len(mass)} values for {len(beads)} beads')
  if min(mass) <= 0:
    raise ValueError(f'mass: found {min(mass)} amu, expected positive numbers')
  if not temperature > 0:
    raise ValueError(f'temperature: found {temperature} K, expected a positive number')
  index = np.arange(len(beads))
  return System(name, tuple(beads), index, np.asarray(mass, float),
                np.stack([index[:-1], index[1:]], axis=1), float(temperature))
