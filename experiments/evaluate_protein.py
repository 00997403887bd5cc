"""Sets of protein frames against held-out runs: distances with floors, fold, size, closest pairs.

Sets are positions [F, n, 3] or [F, R, n, 3] in nm; rows are in the units of the report.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.report import Row
from experiments.scores import population_rows, score_sets
from twoforone.evaluation import densities, folding, structure, uncertainty
from twoforone.units import NM_PER_ANGSTROM

ANGSTROM = 1 / NM_PER_ANGSTROM


class View(NamedTuple):
  """How a molecule is looked at.

  Attributes:
    tica: frames -> their two slowest coordinates [..., 2].
    edges: of the bins of that plane.
    native: the native structure [n, 3] in nm, or None.
    folded: RMSD below which a frame is folded [nm].
    contact: distance below which two beads touch [nm].
  """

  tica: Callable[[np.ndarray], np.ndarray]
  edges: tuple[np.ndarray, np.ndarray]
  native: np.ndarray | None
  folded: float
  contact: float


class Measured(NamedTuple):
  """What the distances need of a set."""

  internal: structure.Internal
  pairs: np.ndarray
  plane: np.ndarray
  gyration: np.ndarray
  contacts: np.ndarray
  rmsd: np.ndarray | None


def evaluate_protein(
  samples: Mapping[str, np.ndarray], view: View, *, reference: np.ndarray,
  training: Sequence[np.ndarray], seed: int = 0
) -> list[Row]:
  """Rows of every set against the held-out frames; see `score_sets`."""
  rows = score_sets(
    samples, reference=reference, training=training, measure=lambda x: measure(x, view),
    compare=compare, seed=seed)
  pool = np.concatenate(training)
  sets = {**samples, 'held-out runs': reference, 'training frames': pool}
  learnt = structure.pair_histograms(pool, offset=3)
  for name, x in samples.items():
    # What the model was asked for; the held-out runs may differ from it by more.
    js = structure.pair_distance_js(structure.pair_histograms(x, offset=3), learnt).mean()
    rows.append(Row(name, 'pair-distance JS to the training frames', float(js), 'nat'))
  if view.native is not None:
    expected = fold_populations(reference, view)
    for name, x in sets.items():
      rows += population_rows(name, fold_populations(x, view), expected)
  return rows + [row for name, x in sets.items() for row in shape_rows(name, x, reference)]


def measure(x: np.ndarray, view: View) -> Measured:
  """Internal coordinates, histograms and contacts of a set."""
  return Measured(
    structure.internal_coordinates(x), structure.pair_histograms(x, offset=3),
    densities.plane_histogram(view.tica(x), view.edges), folding.radius_of_gyration(x),
    folding.contact_probability(x, view.contact),
    None if view.native is None else folding.native_rmsd(x, view.native))


def compare(found: Measured, expected: Measured) -> dict[tuple[str, str], float]:
  """(metric, unit) -> distance of two sets."""
  values = {
    ('pair-distance JS, offset 3', 'nat'): float(
      structure.pair_distance_js(found.pairs, expected.pairs).mean()),
    ('TIC JS', 'nat'): densities.js_divergence(found.plane, expected.plane),
    ('contact probability, rms difference', ''): float(
      np.sqrt(np.mean((found.contacts - expected.contacts) ** 2))),
    ('W1 radius of gyration', 'Å'): ANGSTROM * densities.wasserstein(
      found.gyration, expected.gyration)}
  if found.rmsd is not None:
    values['W1 RMSD', 'Å'] = ANGSTROM * densities.wasserstein(found.rmsd, expected.rmsd)
  for field, unit, factor, distance in (
      ('bonds', 'Å', ANGSTROM, densities.wasserstein),
      ('angles', '°', 180 / np.pi, densities.wasserstein),
      ('dihedrals', '°', 180 / np.pi, densities.circular_wasserstein)):
    first, second = (getattr(set_.internal, field) for set_ in (found, expected))
    values[f'W1 {field}, mean', unit] = factor * float(np.mean(
      [distance(first[..., k], second[..., k]) for k in range(second.shape[-1])]))
  return values


def fold_populations(x: np.ndarray, view: View) -> dict[str, np.ndarray]:
  """Whether each frame is folded."""
  return {'folded': folding.native_rmsd(x, view.native) < view.folded}


def shape_rows(name: str, x: np.ndarray, reference: np.ndarray) -> list[Row]:
  """Size, bond widths and the closest pair of a set."""
  def widths(frames):
    return structure.internal_coordinates(frames).bonds.reshape(-1, frames.shape[-2] - 1).std(0)

  def closest(frames):
    return ANGSTROM * float(structure.pair_distances(frames, offset=3).min())

  gyration = uncertainty.estimate(ANGSTROM * folding.radius_of_gyration(x))
  return [
    Row(name, 'radius of gyration', gyration.mean, 'Å', error=gyration.error,
        reference=ANGSTROM * float(folding.radius_of_gyration(reference).mean())),
    Row(name, 'bond width, mean ratio to held out', float(
      np.mean(widths(x) / widths(reference))), reference=1.0),
    Row(name, 'closest pair, offset 3', closest(x), 'Å', reference=closest(reference))]
