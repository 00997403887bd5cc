"""Sets of alanine frames against a held-out run: every number with its N and its floors.

A set is positions [F, n, 3] or [F, R, n, 3] in nm; (phi, psi) are its first two dihedrals. Rows
are in the units of the report (kcal/mol, Å, degrees).
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.report import Row
from experiments.scores import CHAIN, population_rows, score_sets
from twoforone.evaluation import densities, structure, uncertainty
from twoforone.units import KJ_PER_KCAL


def evaluate_ala2(
  samples: Mapping[str, np.ndarray], *, reference: np.ndarray, training: Sequence[np.ndarray],
  kT: float, seed: int = 0
) -> list[Row]:
  """Rows of every set against the held-out run.

  Args:
    samples: name -> positions, [F, n, 3] or [F, R, n, 3].
    reference: the held-out run [F, n, 3].
    training: the other runs, from which the floor is drawn.
    kT: of the data [kJ/mol].
    seed: of the draws behind the floors.
  """
  def floors(found, expected):
    return count_floors(found, expected, kT, seed)

  found, expected = {name: measure(x) for name, x in samples.items()}, measure(reference)
  rows = score_sets(
    found, expected, reference=reference, training=np.concatenate(training), measure=measure,
    compare=lambda found, expected: compare(found, expected, kT), count_floors=floors, seed=seed)
  inside = basins(expected)
  for name, measured in {**found, 'held-out run': expected}.items():
    rows += population_rows(name, basins(measured), inside)
  return rows


class Measured(NamedTuple):
  """What the metrics need of a set; `pairs` maps an offset to the pair-distance histograms."""

  internal: structure.Internal
  pairs: dict[int, np.ndarray]
  frames: int


def measure(x: np.ndarray) -> Measured:
  """Internal coordinates and pair histograms of a set."""
  pairs = {offset: structure.pair_histograms(x, offset=offset) for offset in (0, 1)}
  return Measured(structure.internal_coordinates(x), pairs, int(np.prod(x.shape[:-2])))


def basins(measured: Measured) -> dict[str, np.ndarray]:
  """Whether each frame is in each basin."""
  return structure.basins(measured.internal.dihedrals[..., :2])


def histogram_metrics(kT: float) -> dict[tuple[str, str], tuple[int, uncertainty.Metric]]:
  """(name, unit) -> bins and the metric of the two torsion histograms, sample first."""
  error = functools.partial(densities.free_energy_error, kT=kT / KJ_PER_KCAL)
  return {
    ('JS(φ, ψ) 60×60', 'nat'): (60, densities.js_divergence),
    ('JS(φ, ψ) 20×20', 'nat'): (20, densities.js_divergence),
    ('free-energy MSE', '(kcal/mol)²'): (60, error),
    ('KL(sample‖reference)', 'nat'): (60, densities.kl_divergence),
    ('KL(reference‖sample)', 'nat'): (60, lambda p, q: densities.kl_divergence(q, p)),
  }


def compare(sample: Measured, reference: Measured, kT: float) -> dict[tuple[str, str], float]:
  """(metric, unit) -> distance of two sets."""
  values = {}
  for name, (bins, metric) in histogram_metrics(kT).items():
    values[name] = metric(_counts(sample, bins), _counts(reference, bins))
  for field, unit, factor, distance in CHAIN:
    first, second = (getattr(set_.internal, field) for set_ in (sample, reference))
    for k in range(second.shape[-1]):
      values[f'W1 {field[:-1]} {k + 1}', unit] = factor * distance(first[..., k], second[..., k])
  for offset in sample.pairs:
    js = structure.pair_distance_js(sample.pairs[offset], reference.pairs[offset])
    values[f'pair-distance JS, offset {offset}', 'nat'] = float(js.mean())
  return values


def count_floors(sample: Measured, reference: Measured, kT: float, seed: int) -> dict[str, float]:
  """Metric name -> its mean over multinomial draws at the counts of the two sets."""
  floors = {}
  for (name, _), (bins, metric) in histogram_metrics(kT).items():
    floors[name] = float(uncertainty.counting_floor(
      metric, densities.probability(_counts(reference, bins)), num_samples=sample.frames,
      num_reference=reference.frames, seed=seed, repeats=10).mean())
  return floors


def _counts(measured: Measured, bins: int) -> np.ndarray:
  return densities.torsion_histogram(measured.internal.dihedrals[..., :2], bins)
