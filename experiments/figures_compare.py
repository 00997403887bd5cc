"""The figures of Boltzmann generators as coarse-grained models (figures 1 to 3 of their study).

1, 2: the potential of a toy and the free energy along its coordinate. 3: alanine dipeptide's
(φ, ψ) with a Cartesian core of 6 and of 4 atoms, and its flexible torsions.
"""

import jax.numpy as jnp
import numpy as np

from experiments import toys
from twoforone import maps, plots, plots_polymers
from twoforone.evaluation import densities

HIGHEST = 14.0  # kT, of a toy
HIGHEST_ALA2 = 8.0  # kT


def toy_figure(found: toys.Definition, profiles: dict[str, plots.Curve]) -> plots.Figure:
  """The potential with the line it is projected onto, and free energies along that."""
  x, y = (np.linspace(*side, 201) for side in found.toy.box)
  points = jnp.stack(jnp.meshgrid(x, y, indexing='ij'), axis=-1)
  potential = np.asarray(found.toy.potential(points))
  lowest = np.unravel_index(potential.argmin(), potential.shape)
  line = np.array([x[lowest[0]], y[lowest[1]]]) + np.outer([-9, 9], found.axis)
  return maps.plane_and_profiles(
    (potential - potential.min()) / found.toy.kT, x, y, profiles, highest=HIGHEST,
    axes_labels=('x', 'y'), line=line,
    coordinate='s = x' if found.axis == (1.0, 0.0) else 's = {:g} x {:+g} y'.format(*found.axis))


def toy_curve(s: np.ndarray, energy: np.ndarray) -> plots.Curve:
  """Above its minimum, up to the highest energy of the figures."""
  shown = energy - energy.min()
  return plots.Curve(s, np.where(shown < HIGHEST, shown, np.nan))


def plane_figure(counts: dict[str, np.ndarray]) -> plots.Figure:
  """-ln p of counts of (φ, ψ) side by side on one colour scale."""
  degrees = plots.bin_degrees(len(next(iter(counts.values()))))
  return maps.free_energy_maps(
    {name: densities.free_energy(found, 1.0) for name, found in counts.items()}, degrees, degrees,
    highest=HIGHEST_ALA2, axes_labels=('φ [°]', 'ψ [°]'))


def torsion_figure(sets: dict[str, dict[str, np.ndarray]]) -> plots.Figure:
  """-ln p of each torsion, a panel each; name -> torsion -> counts, all of the same torsions."""
  torsions = next(iter(sets.values()))
  return plots_polymers.curve_grid(
    {angle: {name: torsion_curve(found[angle]) for name, found in sets.items()}
     for angle in torsions},
    x_label='torsion [°]', y_label='free energy [kT]', columns=4)


def torsion_curve(counts: np.ndarray) -> plots.Curve:
  """With gaps where there is nothing to be drawn."""
  energy = densities.free_energy(counts, 1.0)
  shown = np.where(energy < HIGHEST_ALA2, energy, np.nan)
  return plots.Curve(plots.bin_degrees(len(counts)), shown)
