"""Flows of alanine: the augmented chain, and Boltzmann generators of all 22 atoms.

Also what every method of the comparison is given (World) and gives (Made).
"""

import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from experiments import fit, report_parts
from twoforone import simulate, trajectory
from twoforone.baselines import (
  ala2_atoms,
  boltzmann_generator,
  cgflow,
  flow,
  mixed_coordinates,
  molecule_flow,
  splines,
  walkers,
)
from twoforone.datasets import dataset
from twoforone.evaluation import densities, profiles, structure
from twoforone.geometry import dihedral, keep

Result = TypeVar('Result')

JS_OF_FRAMES = 'JS of its own frames'  # a floor of what it learns from them
TORSION_EDGES = np.linspace(-np.pi, np.pi, 61)


class World(NamedTuple):
  """What a method is given.

  Attributes:
    split: frames of five beads with forces; the test part is for the scores alone.
    atoms: all-atom frames of the training runs, one after another, [F, 22, 3] in nm.
    num_runs: how many those are.
    test_atoms: all-atom frames of the held-out run, for the scores alone.
    beads: which atoms the five beads are.
    kT: of the data [kJ/mol].
  """

  split: dataset.Split
  atoms: np.ndarray
  num_runs: int
  test_atoms: np.ndarray
  beads: tuple[int, ...]
  kT: float


class Made(NamedTuple):
  """What a method gives.

  Attributes:
    samples: i.i.d. structures [F, 5, 3] in nm, None where there are none.
    x: simulated frames [F, R, 5, 3] in nm, None where there are none.
    lost: replicas lost.
    seconds: of the training.
    evaluations: force evaluations that training simulated.
    notes: further numbers by name.
    torsions: counts of each flexible torsion of all-atom samples, by its name.
    sampling, simulating: seconds of drawing the samples and of simulating, with compilation; NaN
      where a part of them was found, or none is made.
  """

  samples: np.ndarray | None
  x: np.ndarray | None
  lost: int
  seconds: float
  evaluations: int = 0
  notes: dict[str, float] | None = None
  torsions: dict[str, np.ndarray] | None = None
  sampling: float = float('nan')
  simulating: float = float('nan')


def flow_iid(config, world: World, key, folder: pathlib.Path) -> Made:
  """The augmented flow of internal coordinates, and its draws."""
  fit_key, draw_key = jax.random.split(key)
  model, fitted = fit_flow(config, world, fit_key, folder / 'model')
  draw = jax.jit(jax.vmap(model.density.sample, (None, 0)))
  samples, sampling = timed(lambda: draw_in_batches(
    lambda keys: draw(fitted.params, keys)[0], draw_key, config.ala2.sample))
  return Made(samples, None, 0, fitted.seconds, notes={'validation': fitted.validation},
              sampling=sampling)


def generator(
  config, world: World, key, folder: pathlib.Path, *, settings, core: tuple[str, ...]
) -> Made:
  """BG-REM of all 22 atoms around a Cartesian core; the five beads of its draws."""
  init_key, fit_key, draw_key, run_key = jax.random.split(key, 4)
  table = ala2_atoms.make_ala2_table(core)
  atoms = mixed_coordinates.order_twins(world.atoms, table)
  coordinates = mixed_coordinates.make_mixed_coordinates(
    mixed_coordinates.fit_mixed_coordinates(atoms, table))
  q = np.asarray(jax.jit(lambda x: jax.lax.map(
    lambda x: coordinates.encode(x)[0], x, batch_size=1000))(atoms))
  last = atoms_for_validation(world)
  layers, prior = molecule_flow.make_molecule_flow(
    coordinates.num_real, coordinates.num_circular, widths=tuple(settings.widths))
  density = flow.make_log_density(layers, prior)
  fitted = fit.fit(boltzmann_generator.make_likelihood_loss(density), layers.init(init_key),
                   q[~last], q[last], settings, fit_key, folder=folder / 'model')
  sample = jax.jit(jax.vmap(flow.make_sample(layers, prior), (None, 0)))
  decode, beads = jax.jit(jax.vmap(lambda q: coordinates.decode(q)[0])), list(world.beads)
  samples, sampling = timed(lambda: draw_in_batches(
    lambda keys: decode(sample(fitted.params, keys)[0]), draw_key, config.ala2.sample))

  def simulate_atoms():
    chains, accepted = simulate_density(config.chains, density, fitted.params, run_key, q[~last],
                                        coordinates.num_circular)
    return np.asarray(jax.lax.map(decode, chains))[:, :, beads], accepted

  (x, accepted), simulating = timed(simulate_atoms)
  counts, exact = (count_torsions(atoms, core) for atoms in (samples, world.test_atoms))
  given, left = (structure.phi_psi(part) for part in (world.atoms[:, beads], world.split.test.x))
  notes = {'validation': fitted.validation, JS_OF_FRAMES: densities.torsion_js(given, left),
           'accepted steps': accepted}
  return Made(samples[:, beads], x, int(np.sum(~report_parts.sound_replicas(x))), fitted.seconds,
              torsions=counts, notes=notes | torsion_errors(counts, exact), sampling=sampling,
              simulating=simulating)


def atoms_for_validation(world: World) -> np.ndarray:
  """Which all-atom frames do not train a generator [F]: the last tenth of each run."""
  count = len(world.atoms)
  return np.arange(count) % (count // world.num_runs) >= 0.9 * count // world.num_runs


def simulate_density(
  settings, density: flow.LogDensityFn, params, key, q: np.ndarray, num_circular: int
) -> tuple[np.ndarray, float]:
  """Metropolis-adjusted Langevin chains on -ln of a density, in its own coordinates.

  The path is no dynamics of atoms: lengths and angles are z-scores, constrained lengths left out.

  Args:
    settings: replicas, frames and stride of the chains; burn_in_frames left out; step.
    density: over q; what `params` are of.
    q: frames to start from, [F, d], the last `num_circular` of d angles.

  Returns:
    Frames [settings.frames, replicas, d] and the part of the steps that was accepted.
  """
  integrator = walkers.make_mala(boltzmann_generator.make_flow_energy(density), settings.step)
  angles = q.shape[1] - num_circular + np.arange(num_circular)
  start_key, run_key = jax.random.split(key)
  start = jax.random.choice(start_key, q, (settings.replicas,), replace=False)[:, None]
  kT, frames = jnp.ones(settings.replicas), settings.burn_in_frames + settings.frames
  run = simulate.make_simulation(
    integrator, num_frames=frames, stride=settings.stride,
    project=lambda x: x.at[:, angles].set(splines.wrap(x[:, angles])))
  state, x, _ = run(
    params, simulate.init_replicas(integrator, params, run_key, start, kT, project=keep), kT)
  accepted = float(state.dynamics.accepted.mean()) / (frames * settings.stride)
  return np.asarray(x[settings.burn_in_frames:, :, 0]), accepted


def timed(
  make: Callable[[], Result], folder: pathlib.Path | None = None
) -> tuple[Result, float]:
  """(make(), its seconds), NaN where parts of it lay in the folder already."""
  resumed, start = folder is not None and trajectory.count_parts(folder), time.monotonic()
  made = make()
  return made, float('nan') if resumed else time.monotonic() - start


def count_torsions(x: np.ndarray, core: tuple[str, ...]) -> dict[str, np.ndarray]:
  """Counts of each flexible torsion of frames [F, 22, 3], by its name, in equal bins."""
  table = ala2_atoms.make_ala2_table(core)
  angle = jax.jit(jax.vmap(dihedral))
  return {name: np.histogram(angle(*(x[:, atom] for atom in row)), TORSION_EDGES)[0]
          for name, row in zip(ala2_atoms.torsion_names(core), table.rows[table.flexible],
                               strict=True)}


def torsion_errors(
  counts: dict[str, np.ndarray], reference: dict[str, np.ndarray]
) -> dict[str, float]:
  """rms error of the profile of each torsion where the reference's is below 4 kT.

  A bin without a draw counts as one with half a draw.
  """
  found = {}
  for name in counts:
    model, exact = (densities.free_energy(np.maximum(part[name], 0.5), 1.0)
                    for part in (counts, reference))
    found[f'rms F<4 of {name}'] = profiles.aligned_rms(model, exact, profiles.below(exact, 4))
  return found


def fit_flow(config, world: World, key, folder: pathlib.Path):
  """(the augmented flow of the training frames, what `fit` leaves)."""
  init_key, fit_key = jax.random.split(key)
  train_x, validation_x = world.split.train.x, world.split.validation.x
  model = cgflow.make_cgflow(cgflow.fit_marginals(train_x), widths=tuple(config.flow.widths))
  return model, fit.fit(model.loss, model.init(init_key), train_x, validation_x, config.flow,
                        fit_key, folder=folder)


def draw_in_batches(draw, key, settings) -> np.ndarray:
  """settings.num_samples rows of draw(keys), batch by batch."""
  count = -(-settings.num_samples // settings.batch_size)
  drawn = [np.asarray(draw(jax.random.split(jax.random.fold_in(key, k), settings.batch_size)))
           for k in range(count)]
  return np.concatenate(drawn)[:settings.num_samples]
