"""The figures of learned steps: over all unseen chains, and of six of them from short to long."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.score_time_integrated import RARE
from experiments.summary_time_integrated import Reference, Summary
from twoforone import maps, plots, plots_polymers
from twoforone.baselines.time_integrated.graph import BeadGraph
from twoforone.evaluation import agreement, folding, polymers, relaxation

SHOWN = 6


def draw(
  found: Mapping[str, Summary], positions: Mapping[str, np.ndarray], reference: Reference,
  beads: BeadGraph, names: Sequence[str], *, interval: float = 1.0,
  units: tuple[str, str] = ('σ', 'τ')
) -> dict[str, tuple[str, plots.Figure]]:
  """Name -> (caption, figure).

  Args:
    found: model -> summary of one seed, drawn in this order.
    positions: of replica A, replica B and the models, in the colours' order: name -> [F, C, n, 3].
    beads: with a leading axis of chains.
    names: of the chains.
    interval: between frames.
    units: of length and time, for the labels.
  """
  length, time = units
  first, second = reference.replicas
  sets = {'replica A': first, 'replica B': second, **found}
  shown = choose(reference.size, SHOWN)
  return {
    'radius': ('Mean Rg² of unseen chains against replica A; the first panel is the floor.',
               agreement_figure(sets, reference, lambda s: s.radius.mean(axis=0),
                                f'Rg² [{length}²]')),
    'relaxation': ('Relaxation time of Rg² of unseen chains against replica A; the first panel is '
                   'the floor; chains whose correlation never falls to 1/e are not drawn.',
                   agreement_figure(sets, reference, lambda s: s.times[0],
                                    f'relaxation time [{time}]', log=True)),
    'correlation': ('Autocorrelation of Rg²; dotted: 1/e.',
                    correlation_figure(sets, names, shown, interval, time)),
    'pairs': ('Radial distribution of beads that are not bonded: without a box, which an ideal gas '
              'would fill, the density of their distances, frames that are finite.',
              plots_polymers.curve_grid(
                _panels(positions, beads, names, shown, pair_density),
                x_label=f'distance [{length}]', y_label='density')),
    'bonds': ('Distances of bonded beads, frames that are finite.', plots.histograms(
      _panels(positions, beads, [f'{name}: bonds [{length}]' for name in names], shown,
              lambda x, pairs: polymers.distances(x, pairs[0]).ravel()), columns=3)),
    'collisions': (
      'Frames whose closest pair is nearer than d, all chains; d over the rare quantile q of '
      f'replica A for each chain. Excess is the value at 1 over {RARE:g}, dotted.',
      collision_figure(sets, first)),
    'contacts': (
      f'How often two beads of {names[shown[-1]]} are nearer than the mean bond of replica A, '
      'frames that are finite.',
      maps.contact_maps(contacts(positions, first, beads, shown[-1]))),
  }


def choose(size: np.ndarray, count: int) -> np.ndarray:
  """Chains evenly spread from the shortest to the longest."""
  order = np.argsort(size, kind='stable')
  return order[np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))]


def agreement_figure(
  sets: Mapping[str, Summary], reference: Reference, value, label: str, log: bool = False
) -> plots.Figure:
  """A panel per set against replica A, a mark per length of chain, r² in the title."""
  first, *others = sets
  true, panels = value(sets[first]), {}
  for name in others:
    predicted = value(sets[name])
    known = np.isfinite(predicted) & np.isfinite(true)
    pairs = (np.log(v[known]) if log else v[known] for v in (predicted, true))
    r2 = f'{agreement.pearson_r2(*pairs):.2f}' if known.sum() >= 3 else 'none'
    title = f'{name}: {"log " * log}r² = {r2}, N = {known.sum()}'
    panels[title] = {f'{size:g} particles': plots.Curve(
      true[known & (reference.size == size)], predicted[known & (reference.size == size)])
      for size in np.unique(reference.size)}
  return plots_polymers.scatter(panels, x_label=f'{label}, {first}', y_label=f'{label}, predicted',
                                log=log)


def correlation_figure(
  sets: Mapping[str, Summary], names: Sequence[str], shown: np.ndarray, interval: float,
  unit: str
) -> plots.Figure:
  """C(t) of Rg² up to five relaxation times of replica A."""
  panels = {}
  for c in shown:
    tau = next(iter(sets.values())).times[0, c]
    most = int(np.ceil(5 * tau / interval)) + 1 if np.isfinite(tau) else None
    panels[names[c]] = curves = {}
    for name, found in sets.items():
      if np.isfinite(found.times[2, c]):
        correlation = relaxation.autocorrelation(
          relaxation.fluctuations(found.radius[:, c]))[:most]
        curves[name] = plots.Curve(interval * np.arange(len(correlation)), correlation)
  return plots_polymers.curve_grid(
    panels, x_label=f'time [{unit}]', y_label='autocorrelation of Rg²', line=np.exp(-1))


def pair_density(x: np.ndarray, pairs) -> plots.Curve:
  """p(r) of the pairs that are not bonded."""
  distance = polymers.distances(x, pairs[1])
  edges = np.linspace(0, np.quantile(distance, 0.999), 61)
  return plots.Curve((edges[1:] + edges[:-1]) / 2, polymers.distance_density(distance, edges))


def _panels(positions, beads, names, shown, measure) -> dict[str, dict]:
  """Chain -> set -> measure of its finite frames; sets without one are left out."""
  panels = {}
  for c in shown:
    pairs = polymers.split_pairs(np.asarray(beads.mask)[c], np.asarray(beads.bonded)[c])
    panels[names[c]] = {name: measure(x, pairs) for name, x in _finite(positions, c).items()}
  return panels


def contacts(
  positions: Mapping[str, np.ndarray], first: Summary, beads: BeadGraph, c: int
) -> dict[str, np.ndarray]:
  """Set -> contact map of chain c, contacts as far as the mean bond of `first`."""
  real, limit = np.asarray(beads.mask)[c], float(first.bonds[0, c])
  return {name: folding.contact_probability(x[:, real], limit)
          for name, x in _finite(positions, c).items()}


def _finite(positions, c: int) -> dict[str, np.ndarray]:
  """The finite frames of chain c in each set, [F, n, 3]; sets without one are left out."""
  found = {name: x[np.isfinite(x[:, c]).all(axis=(1, 2)), c] for name, x in positions.items()}
  return {name: x for name, x in found.items() if len(x)}


def collision_figure(sets: Mapping[str, Summary], first: Summary) -> plots.Figure:
  """P(d_min / q < s) over s, log scale."""
  limit, scale = np.quantile(first.closest, RARE, axis=0), np.linspace(0, 2, 81)
  curves = {name: plots.Curve(scale, np.array([
    polymers.collision_fraction((found.closest / limit).ravel(), s) for s in scale]))
    for name, found in sets.items()}
  return plots_polymers.curve_grid({'': curves}, x_label='d / q', y_label='fraction of frames',
                                   y_log=True, line=RARE)
