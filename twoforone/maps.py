"""Figures of planes: landscapes, contacts and transitions, several on one colour scale.

A potential can stand beside free energies along one coordinate of it.

As in `plots`: a `matplotlib.figure.Figure` without pyplot, names in the order given.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from twoforone.plots import Curve, look, with_legend


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
  axes[0].invert_yaxis()  # of all panels, which share it
  axes[0].set_ylabel('bead')
  figure.colorbar(mesh, ax=[*axes, *left_over], label='contact probability')
  return figure


def transition_maps(
  matrices: Mapping[str, tuple[Float[np.ndarray, 'states states'],
                               Float[np.ndarray, 'states states']]], *, columns: int = 4
) -> Figure:
  """Probabilities of going from a state (row) to another (column), written over their colour.

  Args:
    matrices: by name, the probabilities and their standard errors.
  """
  figure, axes, left_over = _panels(len(matrices), columns)
  for axis, (name, (values, errors)) in zip(axes, matrices.items(), strict=True):
    states = np.arange(len(values)) + 1
    mesh = axis.pcolormesh(states, states, values, vmin=0, vmax=1, cmap='viridis')
    for (i, j), value in np.ndenumerate(values):
      axis.text(j + 1, i + 1, f'{value:.3f}\n±{errors[i, j]:.3f}', ha='center', va='center',
                fontsize=16 / max(2, len(values)), color='black' if value > 0.6 else 'white')
    axis.set_title(name, fontsize='small')
    axis.set(aspect='equal', xlabel='to state', xticks=states, yticks=states)
  axes[0].invert_yaxis()  # of all panels, which share it
  axes[0].set_ylabel('from state')
  figure.colorbar(mesh, ax=[*axes, *left_over], label='probability')
  return figure


def plane_and_profiles(
  potential: Float[np.ndarray, 'nx ny'], x: Float[np.ndarray, ' nx'], y: Float[np.ndarray, ' ny'],
  profiles: Mapping[str, Curve], *, highest: float, axes_labels: tuple[str, str],
  coordinate: str, line: Float[np.ndarray, 'points 2'] | None = None
) -> Figure:
  """A potential of two coordinates, and beside it free energies along one direction of them.

  Args:
    potential: in kT, minimum zero, on the grid of `x` and `y`.
    profiles: by name, in kT; the first is the exact one, in black.
    highest: end of the colours [kT].
    coordinate: what the profiles run along.
    line: points of the direction, drawn in white across the potential.
  """
  figure = Figure(figsize=(8.0, 3.4), layout='constrained')
  plane, profile = figure.subplots(1, 2)
  mesh = plane.contourf(x, y, potential.T, np.linspace(0, highest, 15), cmap='viridis',
                        extend='max')
  if line is not None:
    plane.plot(*line.T, color='black', lw=3.5)
    plane.plot(*line.T, color='white', lw=2)
  plane.set(xlim=x[[0, -1]], ylim=y[[0, -1]], xlabel=axes_labels[0], ylabel=axes_labels[1])
  figure.colorbar(mesh, ax=plane, label='potential [kT]', ticks=np.linspace(0, highest, 8))
  for k, (name, curve) in enumerate(profiles.items()):
    profile.plot(curve.x, curve.y, **look(k), lw=1.6, label=name)
  profile.set(xlabel=coordinate, ylabel='free energy [kT]')
  profile.spines[['top', 'right']].set_visible(False)
  return with_legend(figure, profile)


def _panels(count: int, columns: int):
  """A grid of panels that share their axes: figure, those in use, those left over."""
  columns = min(columns, count)
  rows = -(-count // columns)
  figure = Figure(figsize=(2.3 * columns + 0.7, 2.4 * rows), layout='constrained')
  axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
  for axis in axes[count:]:
    axis.set_axis_off()
  return figure, axes[:count], axes[count:]
