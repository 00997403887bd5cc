"""Figures over many chains: predictions against a reference, and a grid of curves.

As in `plots`, whose colours and legend they share: figures without pyplot, names in the order
given. Points and curves that are not finite are not drawn: say in the caption how many.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from twoforone.plots import Curve, look, with_legend


def scatter(
  panels: Mapping[str, Mapping[str, Curve]], *, x_label: str, y_label: str, log: bool = False,
  columns: int = 4
) -> Figure:
  """Predicted y over true x with the line y = x, all panels on one square scale.

  Args:
    panels: panel title -> group, such as a chain length -> points.
    log: both axes logarithmic.
  """
  figure, axes = _grid(len(panels), columns, (2.5, 2.5), sharex=True, sharey=True)
  points = np.concatenate([np.concatenate([curve.x, curve.y]) for groups in panels.values()
                           for curve in groups.values()])
  points = points[np.isfinite(points) & ((points > 0) | (not log))]
  low, high = points.min(), points.max()
  margin = (high / low) ** 0.06 if log else 0.06 * (high - low)
  limits = (low / margin, high * margin) if log else (low - margin, high + margin)
  for axis, (title, groups) in zip(axes, panels.items(), strict=True):
    axis.plot(limits, limits, color='0.6', lw=1)
    for k, (name, curve) in enumerate(groups.items()):
      axis.plot(curve.x, curve.y, 'os^Dv'[k % 5], color=look(k + 1)['color'], ms=4, label=name)
    axis.set_title(title, fontsize='small')
    axis.set(xlim=limits, ylim=limits, aspect='equal')
    if log:
      axis.loglog()
  figure.supxlabel(x_label, fontsize='medium')
  figure.supylabel(y_label, fontsize='medium')
  return with_legend(figure, axes[0])


def curve_grid(
  panels: Mapping[str, Mapping[str, Curve]], *, x_label: str, y_label: str, columns: int = 3,
  y_log: bool = False, line: float | None = None
) -> Figure:
  """Curves in a grid of panels, each with its own axes, and one horizontal line in all.

  The colours are those of `plots.histograms`: a name has the same in both when it comes at the
  same place.
  """
  figure, axes = _grid(len(panels), columns, (2.9, 2.0) if len(panels) > 1 else (4.2, 2.5))
  # Every panel may have other names: the legend and the colours are of all of them.
  names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
  for axis, (title, curves) in zip(axes, panels.items(), strict=True):
    for k, name in enumerate(names):
      curve = curves.get(name, Curve(np.empty(0), np.empty(0)))
      axis.plot(curve.x, curve.y, **look(k), lw=1.3, label=name)
    if line is not None:
      axis.axhline(line, color='0.6', ls=':', lw=1)
    axis.set_title(title, fontsize='small')
    axis.margins(x=0)
    if y_log:
      axis.set_yscale('log')
  figure.supxlabel(x_label, fontsize='medium')
  figure.supylabel(y_label, fontsize='medium')
  return with_legend(figure, axes[0])


def _grid(count: int, columns: int, size: tuple[float, float], **options):
  columns = min(columns, count)
  rows = -(-count // columns)
  figure = Figure(figsize=(size[0] * columns + 0.4, size[1] * rows + 0.6), layout='constrained')
  axes = figure.subplots(rows, columns, squeeze=False, **options).ravel()
  for axis in axes[count:]:
    axis.set_axis_off()
  for axis in axes[:count]:
    axis.spines[['top', 'right']].set_visible(False)
  return figure, axes[:count]
