"""The figures of Boltzmann generators as coarse-grained models (figures 1 to 3 of their study).

1, 2: the potential of a toy and the free energy along its coordinate. 3: alanine dipeptide's
(φ, ψ) with a Cartesian core of 6 and of 4 atoms, and its flexible torsions. Beside them what
relative entropy by resampling costs.
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


def resampling_figure(logs: dict[str, dict[str, np.ndarray]], below: float) -> plots.Figure:
  """Population below the barrier and force evaluations so far, over the updates of each sampler.

  Args:
    logs: name -> `population` and `evaluations` of each update.
    below: the exact population.
  """
  steps = {name: np.arange(1, len(log['population']) + 1) for name, log in logs.items()}
  population = {name: plots.Curve(steps[name], log['population']) for name, log in logs.items()}
  longest = max(steps.values(), key=len)
  # The last of its panel, so that a sampler has one colour in both.
  population['exact'] = plots.Curve(longest, np.full(len(longest), below))
  evaluations = {name: plots.Curve(steps[name], np.cumsum(log['evaluations'], dtype=np.int64))
                 for name, log in logs.items()}
  return plots.curves(
    {'population below the barrier': population, 'cost': evaluations}, x_label='update',
    y_label=('share of the samples', 'force evaluations so far'))


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
