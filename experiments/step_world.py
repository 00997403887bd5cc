"""What a learned step is trained on and started from, whatever the molecules."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twoforone.baselines.time_integrated.graph import Scales, System, make_system
from twoforone.baselines.time_integrated.history import Windows
from twoforone.evaluation import polymers


class World(NamedTuple):
  """All that a row of the table is made from.

  Attributes:
    train, validation, test: windows; those of test are for the likelihood alone.
    dilations: stored frames in a step of the model, of train, validation and test.
    scales: of the training data.
    r_max: its 99.9 per cent quantile of bond lengths.
    systems: of the molecules to simulate, leading axis [R].
    histories: their first frames, [R, k, n, 3].
    reference: what the frames are compared with; only the contest looks into it.
  """

  train: Windows
  validation: Windows
  test: Windows
  dilations: tuple[int, int, int]
  scales: Scales
  r_max: float
  systems: System
  histories: np.ndarray
  reference: Any


def stack_systems(molecules, num_particles: int, num_beads: int, num_bonds: int) -> System:
  """Records of several molecules, padded alike; each has species, bonds, cluster and mass."""
  systems = [make_system(m.species, m.bonds, m.cluster, m.mass, num_particles=num_particles,
                         num_beads=num_beads, num_bonds=num_bonds) for m in molecules]
  return jax.tree.map(lambda *leaves: np.stack(leaves), *systems)


def steps_of(interval: float, stored: float) -> int:
  """Stored frames in one step of the model.

  Raises:
    ValueError: when it is not a whole number.
  """
  count = round(interval / stored)
  if count < 1 or abs(count * stored - interval) > 1e-9:
    raise ValueError(f'interval: found {interval}, expected a multiple of the {stored} between '
                     'stored frames')
  return count


def longest_bond(x: np.ndarray, bonded: np.ndarray) -> float:
  """The 99.9 per cent quantile of the bond lengths of molecules x [C, F, n, 3]."""
  lengths = [polymers.distances(frames, np.argwhere(np.triu(pairs))).ravel()
             for frames, pairs in zip(x, bonded, strict=True)]
  return float(np.quantile(np.concatenate(lengths), 0.999))


def embed(model, params, systems: System):
  """The embeddings of all molecules, [R, n, e]."""
  size = systems.beads.mask.shape[1]
  return jax.jit(jax.vmap(lambda fine: model.embed(params, fine, size)))(
    jax.tree.map(jnp.asarray, systems.fine))
