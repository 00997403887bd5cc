"""The figures of the alanine report, from the same sets as its table."""

from collections.abc import Mapping, Sequence

import numpy as np

from twoforone import plots
from twoforone.evaluation import densities, structure
from twoforone.system import System
from twoforone.units import NM_PER_ANGSTROM

TORSIONS = ('φ', 'ψ')


def ala2_figures(
  samples: Mapping[str, np.ndarray], *, reference: np.ndarray, training: Sequence[np.ndarray],
  kT: float, system: System
) -> dict[str, tuple[str, plots.Figure]]:
  """Name -> (caption, figure): Ramachandran maps, profiles, internal coordinates.

  Args as `evaluate_ala2.evaluate_ala2`.
  """
  sets = {'reference': reference, **samples}
  internal = {name: structure.internal_coordinates(x.reshape(-1, *x.shape[-2:]))
              for name, x in sets.items()}
  runs = [structure.internal_coordinates(x).dihedrals for x in (reference, *training)]
  return {
    'ramachandran': (
      'Free energy of (φ, ψ), 60×60 bins; white: nothing counted.', ramachandran(internal, kT)),
    'profiles': (
      'Free energy of each torsion; band: the range of the independent all-atom runs.',
      profiles(internal, runs, kT)),
    'internal_coordinates': ('Bonds and angles along the chain.', histograms(internal, system)),
  }


def replica_figure(x: np.ndarray, interval: float, count: int = 4) -> tuple[str, plots.Figure]:
  """φ over time of the first replicas of positions [F, R, n, 3], frames `interval` ps apart."""
  phi = structure.internal_coordinates(x[:, :count]).dihedrals[..., 0]
  time = interval * np.arange(1, len(x) + 1)
  return 'φ over time of the first replicas.', plots.traces(time, phi, label='φ')


def ramachandran(internal: Mapping[str, structure.Internal], kT: float) -> plots.Figure:
  return plots.ramachandran({
    name: densities.free_energy(densities.torsion_histogram(value.dihedrals[:, :2]), kT)
    for name, value in internal.items()})


def profiles(
  internal: Mapping[str, structure.Internal], runs: Sequence[np.ndarray], kT: float
) -> plots.Figure:
  """1-D profiles with the range of the runs as a band."""
  def profile(angles):
    return densities.free_energy(np.histogram(angles, np.linspace(-np.pi, np.pi, 61))[0], kT)

  panels, bands = {}, {}
  for k, label in enumerate(TORSIONS):
    panels[label] = {name: profile(value.dihedrals[:, k]) for name, value in internal.items()}
    between = np.stack([profile(run[:, k]) for run in runs])
    bands[label] = (between.min(axis=0), between.max(axis=0))
  return plots.profiles(panels, bands, band_name='range of the runs')


def histograms(internal: Mapping[str, structure.Internal], system: System) -> plots.Figure:
  """Bonds in Å and angles in degrees, labelled by their beads."""
  names = [bead.split(':')[-1] for bead in system.beads]
  panels = {}
  for k in range(len(names) - 1):
    label = f'{k + 1}: {"–".join(names[k:k + 2])} [Å]'
    panels[label] = {name: value.bonds[:, k] / NM_PER_ANGSTROM for name, value in internal.items()}
  for k in range(len(names) - 2):
    label = f'{k + 1}: {"–".join(names[k:k + 3])} [°]'
    panels[label] = {name: np.degrees(value.angles[:, k]) for name, value in internal.items()}
  return plots.histograms(panels)
