"""Figures: Ramachandran maps, free-energy profiles, histograms, traces and curves.

Arrays come in internal units and are converted here (kcal/mol, Å, degrees). Every function returns
a `matplotlib.figure.Figure` without pyplot, so it works without a display and keeps no state.
Names are drawn in the order given, in the colours of Okabe and Ito (2008), safe for colour-blind
readers; the first is the reference, in black.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, MultipleLocator

from twoforone.units import KJ_PER_KCAL

COLOURS = ('#000000', '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#882255')
STYLES = ('-', '-', '--', '-.', ':', '-', '--', '-.')
LEVELS = np.linspace(0.0, 5.5, 12)  # kcal/mol


def look(k: int) -> dict[str, str]:
  """Colour and line of the k-th name; from the eighth on colours come again in other lines."""
  again = (k - 1) // 7 if k else 0
  return {'color': COLOURS[k - 7 * again], 'ls': STYLES[(k + 2 * again) % len(STYLES)]}


class Curve(NamedTuple):
  """y over x, with optional standard errors of y, or distances [2, K] down and up."""

  x: np.ndarray
  y: np.ndarray
  error: np.ndarray | None = None


def save(figure: Figure, path: str | os.PathLike) -> None:
  """Writes the figure; the suffix chooses the format (.png, .pdf, .svg)."""
  figure.savefig(path, dpi=200)


def ramachandran(free_energies: Mapping[str, Float[np.ndarray, 'bins bins']]) -> Figure:
  """-kT ln p(phi, psi), five in a row, on one colour scale, 0 to 5.5 kcal/mol.

  Args:
    free_energies: by name, kJ/mol, on equal bins over [-pi, pi]², phi along axis 0, infinite
      where nothing was counted.
  """
  columns = min(len(free_energies), 5)
  rows = -(-len(free_energies) // columns)
  figure = Figure(figsize=(1.4 + 2.4 * columns, 3.0 * rows), layout='constrained')
  grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
  axes = grid.ravel()[:len(free_energies)]
  for unused in grid.ravel()[len(axes):]:
    unused.remove()
  edges = {name: np.linspace(-180, 180, len(energy) + 1) for name, energy in free_energies.items()}
  norm = BoundaryNorm(LEVELS, 256)
  for axis, (name, energy) in zip(axes, free_energies.items(), strict=True):
    # Bins, not contours: a contour drops lone bins, such as most of those at phi > 0.
    shown = np.ma.masked_greater(energy.T / KJ_PER_KCAL, LEVELS[-1])
    mesh = axis.pcolormesh(edges[name], edges[name], shown, norm=norm, cmap='magma')
    axis.set(title=name, aspect='equal')
    _angle_axis(axis.xaxis, axis.set_xlim)
    _angle_axis(axis.yaxis, axis.set_ylim)
  for axis in axes[-columns:]:  # the lowest of each column
    axis.set_xlabel('φ [°]')
    axis.tick_params(labelbottom=True)
  for axis in axes[::columns]:
    axis.set_ylabel('ψ [°]')
  figure.colorbar(mesh, cax=axes[columns - 1].inset_axes([1.06, 0, 0.06, 1]),
                  label='free energy [kcal/mol]', ticks=LEVELS[::2])
  return figure


def profiles(
  panels: Mapping[str, Mapping[str, Float[np.ndarray, ' bins']]],
  bands: Mapping[str, tuple[np.ndarray, np.ndarray]], *, band_name: str
) -> Figure:
  """1-D free energies of angles, one panel each, over the band between two curves.

  Args:
    panels: panel label -> name -> free energy [kJ/mol] on equal bins over [-pi, pi].
    bands: panel label -> (lower, upper), for example the range of independent runs.
    band_name: what the band is.
  """
  figure, axes = _row(len(panels), sharey=True)
  for axis, (label, curves) in zip(axes, panels.items(), strict=True):
    top = 1.05 * max(_finite(energy).max() for energy in curves.values()) / KJ_PER_KCAL
    if label in bands:  # open above where one side of it never was
      low, high = (np.minimum(edge / KJ_PER_KCAL, 2 * top) for edge in bands[label])
      axis.fill_between(bin_degrees(len(low)), low, high, color='0.8', label=band_name, lw=0)
    for k, (name, energy) in enumerate(curves.items()):
      shown = np.where(np.isfinite(energy), energy, np.nan) / KJ_PER_KCAL
      axis.plot(bin_degrees(len(shown)), shown, **look(k), lw=1.4, label=name)
    axis.set(xlabel=f'{label} [°]', ylim=(0, top))
    _angle_axis(axis.xaxis, axis.set_xlim)
  axes[0].set_ylabel('free energy [kcal/mol]')
  return with_legend(figure, axes[0])


def histograms(
  panels: Mapping[str, Mapping[str, Float[np.ndarray, ' frames']]], *, bins: int = 100,
  columns: int = 4
) -> Figure:
  """Overlaid probability densities, one panel per quantity, in the unit of the values given.

  Args:
    panels: panel label with its unit -> name -> values. The bins cover the 0.01 to 99.99 per
      cent range of all the values of a panel.
  """
  columns = min(columns, len(panels))
  rows = -(-len(panels) // columns)
  figure = Figure(figsize=(2.3 * columns + 0.4, 1.9 * rows + 0.5), layout='constrained')
  axes = figure.subplots(rows, columns, squeeze=False).ravel()
  for axis in axes[len(panels):]:
    axis.set_axis_off()
  for axis, (label, sets) in zip(axes, panels.items(), strict=False):
    ends = [np.quantile(values, (1e-4, 1 - 1e-4)) for values in sets.values()]
    edges = np.histogram_bin_edges(np.array(ends, np.float64), bins)
    for k, (name, values) in enumerate(sets.items()):
      counts = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
      axis.stairs(counts, edges, fill=k == 0, **look(k) | ({'color': '0.8'} if k == 0 else {}),
                  lw=1.2, label=name)
    axis.set(xlabel=label, yticks=[], ylim=(0, None))
    axis.margins(x=0)
    axis.xaxis.set_major_locator(MaxNLocator(4, prune='both'))
  for axis in axes[::columns]:
    axis.set_ylabel('density')
  return with_legend(figure, axes[0])


def traces(
  time: Float[np.ndarray, ' frames'], angle: Float[np.ndarray, 'frames replicas'], *, label: str
) -> Figure:
  """An angle over time, one strip per replica.

  Points, not lines: an angle that passes 180° comes back at -180°.

  Args:
    time: [ps].
    angle: [rad].
    label: of the angle.
  """
  count = angle.shape[1]
  figure = Figure(figsize=(6.4, 0.9 * count + 0.7), layout='constrained')
  axes = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
  for k, axis in enumerate(axes):
    axis.plot(time, np.degrees(angle[:, k]), '.', ms=1.2, color=COLOURS[1], rasterized=True)
    axis.set_title(f'replica {k}', loc='right', fontsize='small', pad=2)
    axis.set_xlim(time[0], time[-1])
    _angle_axis(axis.yaxis, axis.set_ylim)
  axes[-1].set_xlabel('time [ps]')
  figure.supylabel(f'{label} [°]', fontsize='medium')
  return figure


def training_curve(losses: Mapping[str, Curve]) -> Figure:
  """Losses over training steps (log); the loss too where it is positive and spans a decade."""
  values = np.concatenate([curve.y for curve in losses.values()])
  return curves({'': losses}, x_label='training step', y_label='loss', x_log=True,
                y_log=bool(values.min() > 0 and values.max() > 10 * values.min()))


def curves(
  panels: Mapping[str, Mapping[str, Curve]], *, x_label: str | Sequence[str],
  y_label: str | Sequence[str], x_log: bool = False, y_log: bool = False,
  lines: Mapping[str, float] | None = None
) -> Figure:
  """Curves with error bars, a panel per quantity, and labelled horizontal lines in all of them.

  One legend above where all panels have the same names, else one in each panel.

  Args:
    panels: panel title -> name -> curve.
    x_label, y_label: one for all panels or one for each.
    lines: label -> value, for example a sampling floor.
  """
  figure, axes = _row(len(panels), width=4.2 if len(panels) == 1 else 3.2)
  x_labels, y_labels = ([label] * len(panels) if isinstance(label, str) else label
                        for label in (x_label, y_label))
  for axis, across, up, (title, named) in zip(
      axes, x_labels, y_labels, panels.items(), strict=True):
    for k, (name, curve) in enumerate(named.items()):
      dense = len(curve.x) > 40
      axis.errorbar(curve.x, curve.y, curve.error, **look(k + 1), marker='' if dense else 'o',
                    ms=3.5, lw=1.3, capsize=2, label=name)
    for k, (name, value) in enumerate((lines or {}).items()):
      axis.axhline(value, color='0.3', ls=(':', '--', '-.')[k], lw=1.1, label=name)
    axis.set(title=title, xlabel=across, ylabel=up)
    if x_log:
      axis.set_xscale('log')
      places = np.unique(np.concatenate([curve.x for curve in named.values()]))
      if len(places) <= 6:  # less than a decade has labels that run into each other
        axis.set_xticks(places, [f'{x / 1000:g}k' if x >= 1000 else f'{x:g}' for x in places])
        axis.minorticks_off()
    if y_log and any(np.any(curve.y > 0) for curve in named.values()):
      axis.set_yscale('log')
  if len({tuple(named) for named in panels.values()}) == 1:
    return with_legend(figure, axes[0])
  for axis in axes:
    axis.legend(frameon=False, fontsize='x-small')
  return figure


def groups(
  values: Mapping[str, Mapping[str, Float[np.ndarray, ' seeds']]], *, y_label: str,
  y_log: bool = False
) -> Figure:
  """Every value as a point and their mean as a bar: one place per group, a colour per name.

  Args:
    values: group -> name -> values, for example objective -> use -> one value per seed.
  """
  figure, axes = _row(1, width=max(4.2, 1.1 * len(values)))
  names = list(dict.fromkeys(name for found in values.values() for name in found))
  width = 0.8 / len(names)
  for k, name in enumerate(names):
    for place, found in enumerate(values.values()):
      points = found[name]
      x = place + (k - (len(names) - 1) / 2) * width
      axes[0].bar(x, points.mean(), 0.9 * width, color=look(k + 1)['color'], alpha=0.5,
                  label=name if place == 0 else None)
      axes[0].plot(np.full(len(points), x), points, 'o', color=look(k + 1)['color'], ms=3.5)
  axes[0].set_xticks(range(len(values)), list(values), rotation=20, ha='right')
  axes[0].set_ylabel(y_label)
  if y_log:
    axes[0].set_yscale('log')
  return with_legend(figure, axes[0])


def _row(count: int, width: float = 3.2, **options):
  figure = Figure(figsize=(width * count, 2.9), layout='constrained')
  axes = figure.subplots(1, count, squeeze=False, **options)[0]
  for axis in axes:
    axis.spines[['top', 'right']].set_visible(False)
  return figure, axes


def with_legend(figure: Figure, axis) -> Figure:
  """One legend above the panels, where it covers no data; rows as wide as the figure."""
  handles, names = axis.get_legend_handles_labels()
  inches = 0.08 * (max(map(len, names)) + 6)  # of an entry: its letters, line and gap
  columns = max(1, min(len(names), int(figure.get_figwidth() / inches)))
  figure.legend(handles, names, loc='outside upper center', ncols=columns, frameon=False)
  return figure


def _angle_axis(axis, set_limits) -> None:
  set_limits(-180, 180)
  axis.set_major_locator(FixedLocator([-120, 0, 120]))
  axis.set_minor_locator(MultipleLocator(60))


def bin_degrees(count: int) -> np.ndarray:
  """Centres of equal bins over [-180, 180]."""
  edges = np.linspace(-180, 180, count + 1)
  return (edges[:-1] + edges[1:]) / 2


def _finite(energy: np.ndarray) -> np.ndarray:
  return energy[np.isfinite(energy)]
