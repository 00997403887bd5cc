"""The comparison on alanine dipeptide: its methods, their scores, its table and its figure."""

import pathlib

import jax
import numpy as np

from experiments import (
  ala2,
  ala2_flows,
  ala2_methods,
  evaluate_ala2,
  figures_compare,
  report_parts,
  study,
)
from experiments.ala2_flows import Made, World
from twoforone import plots
from twoforone.baselines import ala2_atoms
from twoforone.datasets import bead_file, embedded
from twoforone.evaluation import densities, structure
from twoforone.units import thermal_energy

METHODS = ala2_methods.METHODS
COLUMNS = {name: study.COLUMNS.get(name, '{:.4f}') for name in (
  'i.i.d. JS', 'i.i.d. floor', 'sim. JS', 'sim. floor', 'i.i.d. PMF', 'sim. PMF',
  'P(φ > 0) i.i.d.', 'P(φ > 0) sim.', 'sim. bond W1 [Å]', 'lost')} | {
  'seconds': '{:.0f}', 'evaluations': '{:.3g}', 'sampling [s]': '{:.0f}',
  'simulation [s]': '{:.0f}'}
LEGEND = """\
JS of (φ, ψ) in 60 × 60 bins against the held-out run [nat], floor: the same from as many training
frames; PMF: mean squared error of the free energy [(kcal/mol)²]; P(φ > 0) of the held-out run is
{left:.4f}. Trained on {frames:,} frames, Boltzmann generators on {atoms:,} of all atoms from the
same runs. No i.i.d. columns where a method has no density. The
simulation of a Boltzmann generator is {chains:,} Metropolis-adjusted Langevin chains of
{chain_steps:,} steps on the density of all atoms, in its own coordinates; the others are
{replicas:,} replicas of {steps:,} steps, one force each. Samples: {samples:,}, of plain
diffusion {calls} calls each. seconds: of training; evaluations: of forces that training simulated;
sampling, simulation: seconds of each with compilation. All measured beside whatever else ran. Mean
over the seeds ± their standard deviation, (k of n) where only k have the number. Below, where the
held-out run is below 4 kT in 60 bins: rms F<4 of a torsion; KL [nat] over bins occupied in both.
figure_3abc: -ln p of (φ, ψ) of the held-out run and of the Boltzmann generators of 22 atoms;
figure_3d: their flexible torsions with the core of 4 atoms; missing without those rows, or where
a row of an earlier version has no torsions."""
FURTHER = ('JS(φ, ψ) 20×20', 'KL(sample‖reference)', 'KL(reference‖sample)', 'population alpha_R')
BINS = 60  # along each axis, of the figures
CORES = {'b, core of 6 atoms': 'BG-REM 6 atoms', 'c, core of 4 atoms': 'BG-REM 4 atoms'}
ALL_ATOM = tuple(CORES.values())  # methods that train on all atoms
TORSION = 'torsion '  # begins the names of their arrays


def make_world(config, seed: int) -> World:
  """The embedded data, one run held out; where `data.train_size` says, frames of beads are drawn.

  Those of all atoms are always all of the training runs.
  """
  base = config.ala2.copy_and_resolve_references()
  base.seed = seed
  split = ala2.load_split(base)
  runs = bead_file.read(embedded.DIRECTORY / 'ala2_implicit_atoms.npz').positions
  others = np.delete(runs, base.data.fold, axis=0)
  card = embedded.read_card(embedded.DIRECTORY, name='ala2_implicit')
  return World(split, others.reshape(-1, *runs.shape[2:]), len(others), runs[base.data.fold],
               tuple(card['beads']), thermal_energy(split.train.system.temperature))


def run_method(config, world: World, name: str, seed: int, folder: pathlib.Path):
  """(numbers, arrays) of a row."""
  chosen = config.copy_and_resolve_references()
  chosen.ala2.seed = seed
  made = METHODS[name](chosen, world, jax.random.key(seed), folder)
  sets = finite_sets(made)
  torsions = {TORSION + angle: counts for angle, counts in (made.torsions or {}).items()}
  planes = {use: histogram(x) for use, x in sets.items()}
  return score(world, made, sets, planes, seed), torsions | planes


def finite_sets(made: Made) -> dict[str, np.ndarray]:
  """The samples and the replicas that were never lost, as far as there are any."""
  empty = np.empty((0, 5, 3))
  sets = report_parts.sound_sets(
    empty if made.samples is None else made.samples, empty[:, None] if made.x is None else made.x)
  return {use: x for use, x in sets.items() if len(x)}


def score(
  world: World, made: Made, sets: dict[str, np.ndarray], planes: dict[str, np.ndarray], seed: int
) -> dict[str, float]:
  """The columns of a row and further numbers; NaN for what a method does not have.

  `planes` are the histograms of the sets.
  """
  train = world.split.train
  rows = [row._asdict() for row in evaluate_ala2.evaluate_ala2(
    sets, reference=world.split.test.x, kT=world.kT, seed=seed,
    training=[train.x[train.run == k] for k in np.unique(train.run)])]
  value = study.look_up(rows)
  further = {f'{use} {metric}': value(use, metric) for use in sets for metric in FURTHER}
  exact = count_backbone(histogram(world.split.test.x))
  for use, counts in planes.items():
    errors = ala2_flows.torsion_errors(count_backbone(counts), exact)
    further |= {f'{use} {name}': error for name, error in errors.items()}
  return study.summarise(rows) | {
    'lost': made.lost, 'seconds': made.seconds, 'evaluations': made.evaluations,
    'sampling [s]': made.sampling, 'simulation [s]': made.simulating, **further,
    **(made.notes or {})}


def count_backbone(counts: np.ndarray) -> dict[str, np.ndarray]:
  """Counts of φ and of ψ, of those of both."""
  return {'φ': counts.sum(axis=1), 'ψ': counts.sum(axis=0)}


def histogram(x: np.ndarray) -> np.ndarray:
  """Counts of (φ, ψ)."""
  return densities.torsion_histogram(structure.phi_psi(x), BINS)


def describe(config, world: World) -> tuple[str, str]:
  """Title and legend."""
  left = structure.basins(structure.phi_psi(world.split.test.x))['phi_positive'].mean()
  chains, run, sample = config.chains, config.ala2.simulate, config.ala2.sample
  return 'Alanine dipeptide', LEGEND.format(
    left=left, frames=len(world.split.train.x),
    atoms=np.sum(~ala2_flows.atoms_for_validation(world)), chains=chains.replicas,
    chain_steps=(chains.burn_in_frames + chains.frames) * chains.stride, replicas=run.replicas,
    steps=run.parts * run.frames_per_part * run.stride, samples=sample.num_samples,
    calls=sample.num_steps)


def draw(
  config, world: World, arrays: dict[str, dict[str, np.ndarray]]
) -> dict[str, plots.Figure]:
  """By file: free energies of (φ, ψ) of every method's first seed, and figure_3 as far as it is."""
  del config
  reference = histogram(world.split.test.x)
  found = {'held-out run': reference} | {
    f'{name}, {use}': counts for name, uses in arrays.items() for use, counts in uses.items()
    if not use.startswith(TORSION)}
  figures = {'compare': plots.ramachandran(
    {name: densities.free_energy(counts, world.kT) for name, counts in found.items()})}
  planes = {'a, held-out run': reference} | {
    title: arrays[name]['i.i.d.'] for title, name in CORES.items() if name in arrays}
  if len(planes) > 1:
    figures['figure_3abc'] = figures_compare.plane_figure(planes)
  torsions = {angle.removeprefix(TORSION): counts for angle, counts in arrays.get(
    'BG-REM 4 atoms', {}).items() if angle.startswith(TORSION)}
  if torsions:
    exact = ala2_flows.count_torsions(world.test_atoms, ala2_atoms.CENTRAL_4)
    figures['figure_3d'] = figures_compare.torsion_figure(
      {'held-out run': exact, 'BG-REM 4 atoms': torsions})
  return figures
