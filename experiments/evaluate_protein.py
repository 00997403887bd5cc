"""Sets of protein frames against held-out runs: distances with floors, fold, size, closest pairs.

Sets are positions [F, n, 3] or [F, R, n, 3] in nm; rows are in the units of the report. Each set is
measured once, a few thousand frames at a time: beside the frames there is a number or two for each.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.report import TO_TRAINING, Row
from experiments.scores import CHAIN, Distances, population_rows, score_sets, share_rows
from twoforone.evaluation import densities, folding, structure, uncertainty
from twoforone.units import NM_PER_ANGSTROM

ANGSTROM = 1 / NM_PER_ANGSTROM
DRAWS = 10  # behind the floor of a distance to the training frames
SMALLEST = 0.01  # of the training frames: smaller ones count as collapsed


class View(NamedTuple):
  """How a molecule is looked at.

  Attributes:
    tica: frames -> their two slowest coordinates [..., 2].
    edges: of the bins of that plane.
    native: the native structure [n, 3] in nm, or None.
    folded: RMSD below which a frame is folded [nm].
    contact: distance below which two beads touch [nm].
    offset: least distance along the chain of the pairs that are looked at.
    closest: distance below which such a pair is too close [nm].
  """

  tica: Callable[[np.ndarray], np.ndarray]
  edges: tuple[np.ndarray, np.ndarray]
  native: np.ndarray | None
  folded: float
  contact: float
  offset: int
  closest: float


class Measured(NamedTuple):
  """What rows and figures need of a set.

  Attributes:
    x: the frames themselves.
    frames: how many there are.
    pairs: histograms of the pair distances [pairs, bins].
    tics: the two slowest coordinates of each frame [..., 2].
    plane: their histogram.
    contacts: probability of each, [n, n].
    gyration: radius of gyration of each frame [nm].
    rmsd: of each frame to the native structure [nm], or None.
    widths: standard deviation of each bond [nm], [n - 1].
    closest: the closest pair of each frame [nm].
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
    x, int(np.prod(x.shape[:-2])), structure.pair_histograms(x, offset=view.offset),
    tics, densities.plane_histogram(tics, view.edges),
    folding.contact_probability(x, view.contact), folding.radius_of_gyration(x),
    None if view.native is None else folding.native_rmsd(x, view.native),
    structure.bond_widths(x),
    structure.closest_pairs(x, offset=view.offset))


def evaluate_protein(
  samples: Mapping[str, Measured], view: View, *, reference: Measured, training: Measured,
  seed: int = 0
) -> list[Row]:
  """Rows of every set against the held-out frames, see `score_sets`, and the training frames."""
  rows = score_sets(
    samples, reference, reference=reference.x, training=training.x,
    measure=lambda x: measure(x, view),
    compare=lambda found, expected: compare(found, expected, view.offset), seed=seed)
  held_out = compare_folds(reference, training, view.offset)
  for name, found in samples.items():
    rows += training_rows(name, found, training, held_out, view.offset, seed)
  sets = {**samples, 'held-out runs': reference, 'training frames': training}
  if view.native is not None:
    for name, found in sets.items():
      rows += population_rows(name, {'folded': found.rmsd < view.folded},
                              {'folded': reference.rmsd < view.folded})
  return rows + [row for name, found in sets.items()
                 for row in shape_rows(name, found, reference, training, view)]


def compare(found: Measured, expected: Measured, offset: int) -> Distances:
  """(metric, unit) -> distance of two sets."""
  values = compare_folds(found, expected, offset)
  values['contact probability, rms difference', ''] = float(
    np.sqrt(np.mean((found.contacts - expected.contacts) ** 2)))
  for field, unit, factor, distance in CHAIN:
    columns = (structure.chain_columns(set_.x, field) for set_ in (found, expected))
    values[f'W1 {field}, mean', unit] = factor * float(np.mean(
      [distance(first, second) for first, second in zip(*columns, strict=True)]))
  return values


def compare_folds(found: Measured, expected: Measured, offset: int) -> Distances:
  """(metric, unit) -> distance of two sets in pair distances, slow plane, size and RMSD."""
  values = {
    (f'pair-distance JS, offset {offset}', 'nat'): float(
      structure.pair_distance_js(found.pairs, expected.pairs).mean()),
    ('TIC JS', 'nat'): densities.js_divergence(found.plane, expected.plane),
    ('W1 radius of gyration', 'Å'): ANGSTROM * densities.wasserstein(
      found.gyration, expected.gyration)}
  if found.rmsd is not None:
    values['W1 RMSD', 'Å'] = ANGSTROM * densities.wasserstein(found.rmsd, expected.rmsd)
  return values


def training_rows(
  name: str, found: Measured, training: Measured, held_out: Distances, offset: int, seed: int
) -> list[Row]:
  """Distances to what the model was asked for; the held-out runs, `held_out`, may differ by more.

  The floor is the mean distance of `DRAWS` sets of as many frames from `draw_again`.
  """
  rng = np.random.default_rng(seed)
  floors = [compare_folds(draw_again(training, found.frames, rng), training, offset)
            for _ in range(DRAWS)]
  rows = []
  for (metric, unit), value in compare_folds(found, training, offset).items():
    what, comma, which = metric.partition(',')
    rows.append(Row(
      name, f'{what} {TO_TRAINING}{comma}{which}', value, unit,
      floor=float(np.mean([floor[metric, unit] for floor in floors])),
      reference=held_out[metric, unit], frames=found.frames, floor_frames=found.frames))
  return rows


def draw_again(found: Measured, count: int, rng: np.random.Generator) -> Measured:
  """What `compare_folds` needs of `count` of the frames, drawn independently with replacement.

  Each histogram is drawn on its own: the mean of every distance stays what it is, and no frame is
  looked at again.
  """
  chosen = rng.integers(found.frames, size=count)
  pairs = rng.multinomial(count, found.pairs / found.frames)
  plane = rng.multinomial(count, densities.probability(found.plane).ravel())
  return found._replace(
    frames=count, pairs=pairs.astype(float), plane=plane.reshape(found.plane.shape),
    gyration=found.gyration.ravel()[chosen],
    rmsd=None if found.rmsd is None else found.rmsd.ravel()[chosen])


def shape_rows(
  name: str, found: Measured, reference: Measured, training: Measured, view: View
) -> list[Row]:
  """Size, bond widths and closest pairs of a set, and how many frames are too tight."""
  gyration = uncertainty.estimate(ANGSTROM * found.gyration)
  smallest, most = np.quantile(training.gyration, SMALLEST), f'{100 * (1 - SMALLEST):g} %'

  def tight(set_):
    return {
      'frames with a pair closer than any held out': set_.closest < reference.closest.min(),
      f'frames with a pair under {ANGSTROM * view.closest:g} Å': set_.closest < view.closest,
      f'frames smaller than {most} of the training frames': set_.gyration < smallest}

  return [
    Row(name, 'radius of gyration', gyration.mean, 'Å', error=gyration.error,
        reference=ANGSTROM * float(reference.gyration.mean()), frames=found.frames),
    Row(name, 'bond width, mean ratio to held out', float(
      np.mean(found.widths / reference.widths)), reference=1.0, frames=found.frames),
    Row(name, f'closest pair, offset {view.offset}', ANGSTROM * float(found.closest.min()), 'Å',
        reference=ANGSTROM * float(reference.closest.min()), frames=found.frames),
    *share_rows(name, tight(found), tight(reference))]
