"""Sets of protein frames against held-out runs: distances with floors, fold, size, closest pairs.

Sets are positions [F, n, 3] or [F, R, n, 3] in nm; rows are in the units of the report. Each set is
measured once, a few thousand frames at a time: beside the frames there is a number or two for each.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.report import Row
from experiments.scores import CHAIN, population_rows, score_sets
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
  """What rows and figures need of a set.

  Attributes:
    x: the frames themselves.
    frames: how many there are.
    pairs: histograms of the pair distances, offset 3, [pairs, bins].
    tics: the two slowest coordinates of each frame [..., 2].
    plane: their histogram.
    contacts: probability of each, [n, n].
    gyration: radius of gyration of each frame [nm].
    rmsd: of each frame to the native structure [nm], or None.
    widths: standard deviation of each bond [nm], [n - 1].
    closest: the closest pair of each frame, offset 3 [nm].
  """

  x: np.ndarray
  frames: int
  pairs: np.ndarray
  tics: np.ndarray
  plane: np.ndarray
  contacts: np.ndarray
  gyration: np.ndarray
  rmsd: np.ndarray | None
  widths: np.ndarray
  closest: np.ndarray


def measure(x: np.ndarray, view: View) -> Measured:
  """Everything that is asked of a set."""
  tics = view.tica(x)
  return Measured(
    x, int(np.prod(x.shape[:-2])), structure.pair_histograms(x, offset=3),
    tics, densities.plane_histogram(tics, view.edges),
    folding.contact_probability(x, view.contact), folding.radius_of_gyration(x),
    None if view.native is None else folding.native_rmsd(x, view.native),
    np.array([bond.std(dtype=np.float64) for bond in structure.chain_columns(x, 'bonds')]),
    structure.closest_pairs(x, offset=3))


def evaluate_protein(
  samples: Mapping[str, Measured], view: View, *, reference: Measured, training: Measured,
  seed: int = 0
) -> list[Row]:
  """Rows of every set against the held-out frames; see `score_sets`."""
  rows = score_sets(
    samples, reference, reference=reference.x, training=training.x,
    measure=lambda x: measure(x, view), compare=compare, seed=seed)
  sets = {**samples, 'held-out runs': reference, 'training frames': training}
  for name, found in samples.items():
    # What the model was asked for; the held-out runs may differ from it by more.
    js = float(structure.pair_distance_js(found.pairs, training.pairs).mean())
    rows.append(Row(name, 'pair-distance JS to the training frames', js, 'nat'))
  if view.native is not None:
    for name, found in sets.items():
      rows += population_rows(name, {'folded': found.rmsd < view.folded},
                              {'folded': reference.rmsd < view.folded})
  return rows + [row for name, found in sets.items() for row in shape_rows(name, found, reference)]


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
  for field, unit, factor, distance in CHAIN:
    columns = (structure.chain_columns(set_.x, field) for set_ in (found, expected))
    values[f'W1 {field}, mean', unit] = factor * float(np.mean(
      [distance(first, second) for first, second in zip(*columns, strict=True)]))
  return values


def shape_rows(name: str, found: Measured, reference: Measured) -> list[Row]:
  """Size, bond widths and the closest pairs of a set."""
  gyration = uncertainty.estimate(ANGSTROM * found.gyration)
  return [
    Row(name, 'radius of gyration', gyration.mean, 'Å', error=gyration.error,
        reference=ANGSTROM * float(reference.gyration.mean())),
    Row(name, 'bond width, mean ratio to held out', float(
      np.mean(found.widths / reference.widths)), reference=1.0),
    Row(name, 'closest pair, offset 3', ANGSTROM * float(found.closest.min()), 'Å',
        reference=ANGSTROM * float(reference.closest.min())),
    Row(name, 'frames with a pair closer than any held out', float(
      np.mean(found.closest < reference.closest.min())), reference=0.0)]
