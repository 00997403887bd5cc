"""Figures of planes: free-energy landscapes and contact maps, several on one colour scale.

As in `plots`: a `matplotlib.figure.Figure` without pyplot, names in the order given.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure


def free_energy_maps(
  maps: Mapping[str, Float[np.ndarray, 'nx ny']], x: Float[np.ndarray, ' nx'],
  y: Float[np.ndarray, ' ny'], *, highest: float, columns: int = 5,
  axes_labels: tuple[str, str] = ('', ''), mark: tuple[float, float] | None = None
) -> Figure:
  """Free energies over a plane on one colour scale from 0 to `highest` kT.

  Args:
    maps: by name, in kT, minimum zero, on the grid of `x` and `y`.
    highest: beyond it nothing is drawn.
    mark: a point to be marked with a cross, such as the native state.
  """
  figure, axes, left_over = _panels(len(maps), columns)
  seen = np.any([values <= highest for values in maps.values()], axis=0)
  for axis, (name, values) in zip(axes, maps.items(), strict=True):
    mesh = axis.pcolormesh(x, y, np.ma.masked_greater(values, highest).T, vmin=0, vmax=highest,
                           cmap='magma', rasterized=True)
    axis.set_title(name, fontsize='small')
    axis.set(xlim=x[seen.any(axis=1)][[0, -1]], ylim=y[seen.any(axis=0)][[0, -1]],
             xlabel=axes_labels[0])
    if mark is not None:
      axis.plot(*mark, 'x', color='#009E73', ms=7, mew=2)
  axes[0].set_ylabel(axes_labels[1])
  figure.colorbar(mesh, ax=[*axes, *left_over], label='free energy [kT]')
  return figure


def contact_maps(
  maps: Mapping[str, Float[np.ndarray, 'beads beads']], *, columns: int = 4
) -> Figure:
  """Probabilities that two beads are in contact, on one scale from 0 to 1."""
  figure, axes, left_over = _panels(len(maps), columns)
  for axis, (name, values) in zip(axes, maps.items(), strict=True):
    edges = np.arange(len(values) + 1) + 0.5  # beads are counted from one
    mesh = axis.pcolormesh(edges, edges, values, vmin=0, vmax=1, cmap='viridis')
    axis.set_title(name, fontsize='small')
    axis.set(aspect='equal', xlabel='bead')
    axis.invert_yaxis()
  axes[0].set_ylabel('bead')
  figure.colorbar(mesh, ax=[*axes, *left_over], label='contact probability')
  return figure


def _panels(count: int, columns: int):
  """A grid of panels that share their axes: figure, those in use, those left over."""
  columns = min(columns, count)
  rows = -(-count // columns)
  figure = Figure(figsize=(2.3 * columns + 0.7, 2.4 * rows), layout='constrained')
  axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
  for axis in axes[count:]:
    axis.set_axis_off()
  return figure, axes[:count], axes[count:]
