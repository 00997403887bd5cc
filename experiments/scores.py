"""Sets of frames against a held-out run: every distance with its sample count and its floors.

What is measured of a set, and which distances there are between two, is up to the molecule.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.report import Row
from twoforone.evaluation import densities, uncertainty
from twoforone.units import NM_PER_ANGSTROM

CHAIN = (  # internal coordinates: field, unit of the report, factor to it, distance
  ('bonds', 'Å', 1 / NM_PER_ANGSTROM, densities.wasserstein),
  ('angles', '°', 180 / np.pi, densities.wasserstein),
  ('dihedrals', '°', 180 / np.pi, densities.circular_wasserstein))

Distances = dict[tuple[str, str], float]
"""(metric, unit) -> distance of two sets."""


def score_sets(
  samples: Mapping[str, Any], expected: Any, *, reference: np.ndarray, training: np.ndarray,
  measure: Callable[[np.ndarray], Any], compare: Callable[[Any, Any], Distances],
  count_floors: Callable[[Any, Any], dict[str, float]] = lambda found, expected: {}, seed: int = 0
) -> list[Row]:
  """Rows of every set against the held-out run.

  Args:
    samples: name -> what `measure` found of the set, its number of `frames` among it.
    expected: the same of the held-out run.
    reference: the held-out run [F, n, 3].
    training: frames of the other runs [F, n, 3], from which the floor is drawn.
    measure: frames -> what `compare` needs of them.
    compare: of a set and the reference.
    count_floors: metric -> its floor from counting alone, for a set and the reference.
    seed: of the draws behind the floors.
  """
  halves = compare(*map(measure, uncertainty.halves(reference)))
  rows = []
  for name, found in samples.items():
    draw = uncertainty.thinned(training, found.frames, seed)
    floor, counting = compare(measure(draw), expected), count_floors(found, expected)
    rows += [Row(name, metric, value, floor=floor[metric, unit], halves=halves[metric, unit],
                 counting=counting.get(metric), unit=unit, frames=found.frames,
                 floor_frames=len(draw))
             for (metric, unit), value in compare(found, expected).items()]
  return rows


def population_rows(
  name: str, inside: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> list[Row]:
  """`share_rows` of states."""
  return share_rows(name, *({f'population {state}': values for state, values in found.items()}
                            for found in (inside, expected)))


def share_rows(
  name: str, inside: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> list[Row]:
  """Share of such frames with its block error (over replicas where there are several).

  Args:
    inside: metric -> whether each frame is one of them, [F] or [F, R].
    expected: the same of the held-out run.
  """
  rows = []
  for metric, values in inside.items():
    found = uncertainty.estimate(values)
    rows.append(Row(name, metric, found.mean, error=found.error,
                    reference=float(expected[metric].mean()), frames=values.size))
  return rows
