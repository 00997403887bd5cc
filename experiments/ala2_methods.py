"""Every method of the comparison on alanine: `method(config, world, key, folder) -> Made`.

All see the same training frames of five beads; force matching also their mapped forces, and the
Boltzmann generators of 22 atoms the all-atom frames of the same runs.
"""

import pathlib
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import dynamics, fit, stages, study
from twoforone import energy, force, langevin, train
from twoforone.baselines import (
  ala2_atoms,
  boltzmann_generator,
  bonded,
  cgflow,
  cgnet,
  flow,
  flow_cgnet,
  lipschitz,
  mixed_coordinates,
  molecule_flow,
  relative_entropy,
  walkers,
)
from twoforone.datasets import dataset
from twoforone.evaluation import profiles
from twoforone.geometry import centre, dihedral
from twoforone.simulate import make_bond_check
from twoforone.types import EnergyFn
from twoforone.units import thermal_energy


class World(NamedTuple):
  """What a method is given.

  Attributes:
    split: frames of five beads with forces; the test part is for the scores alone.
    atoms: all-atom frames of the training runs, one after another, [F, 22, 3] in nm.
    num_runs: how many those are.
    beads: which atoms the five beads are.
    kT: of the data [kJ/mol].
  """

  split: dataset.Split
  atoms: np.ndarray
  num_runs: int
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
  """

  samples: np.ndarray | None
  x: np.ndarray | None
  lost: int
  seconds: float
  evaluations: int = 0
  notes: dict[str, float] | None = None


def force_matching(config, world: World, key, folder: pathlib.Path) -> Made:
  """CGNet: harmonic bonds and angles and a network of internal coordinates, on mapped forces."""
  fit_key, run_key = jax.random.split(key)
  fitted, model = fit_forces(config, world, fit_key, folder / 'model',
                             *(labelled(part) for part in (world.split.train,
                                                           world.split.validation)))
  x, lost = simulate(config, world, model, fitted.params, run_key, folder / 'simulation')
  notes = {'validation force error': fitted.validation, 'of the prior alone': prior_error(world)}
  return Made(None, x, lost, fitted.seconds, notes=notes)


def flow_iid(config, world: World, key, folder: pathlib.Path) -> Made:
  """The augmented flow of internal coordinates, and its draws."""
  fit_key, draw_key = jax.random.split(key)
  model, fitted = fit_flow(config, world, fit_key, folder / 'model')
  draw = jax.jit(jax.vmap(model.density.sample, (None, 0)))
  samples = draw_in_batches(
    lambda keys: draw(fitted.params, keys)[0], draw_key, config.ala2.sample)
  return Made(samples, None, 0, fitted.seconds, notes={'validation': fitted.validation})


def flow_force_matching(config, world: World, key, folder: pathlib.Path) -> Made:
  """Flow-CGNet: CGNet on the forces of the augmented flow, in place of mapped ones."""
  flow_key, draw_key, fit_key, run_key = jax.random.split(key, 4)
  model, teacher = fit_flow(config, world, flow_key, folder / 'teacher')
  start, settings = time.monotonic(), config.student
  draw = jax.jit(jax.vmap(flow_cgnet.make_force_draw(model.density), (None, 0)))
  x, f = draw_in_batches(lambda keys: jnp.stack(draw(teacher.params, keys), axis=1), draw_key,
                         settings).swapaxes(0, 1)
  examples, selection = flow_cgnet.make_examples(x, f, max_square=settings.max_square)
  seconds, part = time.monotonic() - start + teacher.seconds, len(examples.x) // 5
  fitted, model = fit_forces(
    config, world, fit_key, folder / 'model', (examples.x[part:], examples.f[part:]),
    (examples.x[:part], examples.f[:part]))
  frames, lost = simulate(config, world, model, fitted.params, run_key, folder / 'simulation')
  return Made(None, frames, lost, seconds + fitted.seconds, notes={'kept': selection.kept})


def generator(config, world: World, key, folder: pathlib.Path, core: tuple[str, ...]) -> Made:
  """BG-REM of all 22 atoms around a Cartesian core; the five beads of its draws."""
  init_key, fit_key, draw_key = jax.random.split(key, 3)
  table, settings = ala2_atoms.make_ala2_table(core), config.generator
  atoms = mixed_coordinates.order_twins(world.atoms, table)
  coordinates = mixed_coordinates.make_mixed_coordinates(
    mixed_coordinates.fit_mixed_coordinates(atoms, table))
  q = np.asarray(jax.jit(lambda x: jax.lax.map(
    lambda x: coordinates.encode(x)[0], x, batch_size=1000))(atoms))
  # Runs are one after another: the last tenth of each is for validation.
  last = np.arange(len(q)) % (len(q) // world.num_runs) >= 0.9 * len(q) // world.num_runs
  layers, prior = molecule_flow.make_molecule_flow(
    coordinates.num_real, coordinates.num_circular, widths=tuple(settings.widths))
  loss = boltzmann_generator.make_likelihood_loss(flow.make_log_density(layers, prior))
  fitted = fit.fit(loss, layers.init(init_key), q[~last], q[last], settings, fit_key,
                   folder=folder / 'model')
  sample = jax.jit(jax.vmap(flow.make_sample(layers, prior), (None, 0)))
  decode, beads = jax.vmap(coordinates.decode), list(world.beads)
  samples = draw_in_batches(
    lambda keys: decode(sample(fitted.params, keys)[0])[0], draw_key, config.ala2.sample)
  errors = torsion_errors(samples, world.atoms, table, core)
  return Made(samples[:, beads], None, 0, fitted.seconds,
              notes={'validation': fitted.validation, **errors})


def torsion_errors(x, reference, table, core: tuple[str, ...]) -> dict[str, float]:
  """rms error of the profile of each flexible torsion where the training frames' is below 4 kT."""
  found = {}
  rows = table.rows[table.flexible]
  edges = np.linspace(-np.pi, np.pi, 61)
  for name, row in zip(ala2_atoms.torsion_names(core), rows, strict=True):
    (_, model), (_, exact) = (profiles.sample_profile(np.asarray(jax.vmap(dihedral)(
      *(frames[:, atom] for atom in row))), edges) for frames in (x, reference))
    mask = profiles.below(exact, 4.0)
    found[f'rms F<4 of {name}'] = profiles.aligned_rms(model, exact, mask)
  return found


def minimise_entropy(config, world: World, key, folder: pathlib.Path) -> Made:
  """Classical relative entropy: the energy of CGNet, its averages from chains drawn again."""
  settings, start = config.entropy, time.monotonic()
  init_key, run_key, simulate_key = jax.random.split(key, 3)
  x = jnp.asarray(world.split.train.x)
  model, params = make_energy(config, world, init_key)
  # An output of zero: the chains begin on the prior, which is stable.
  params['params'] = {name: jax.tree.map(jnp.zeros_like, layer) if 'bias' not in layer else layer
                      for name, layer in params['params'].items()}
  optimizer = optax.with_extra_args_support(train.adamw(
    learning_rate=settings.learning_rate, final_learning_rate=0.01 * settings.learning_rate,
    num_steps=settings.updates, max_norm=settings.max_norm))
  sampler = walkers.make_simulated(
    make_integrator(config, world, model), model, kT=world.kT, num_frames=settings.num_frames,
    stride=settings.stride, skip=settings.skip, project=centre)
  update = relative_entropy.make_update(
    model, relative_entropy.make_mean_energy(model, settings.batch_size), sampler, optimizer,
    ratio=settings.ratio,
    observe=lambda x: (dihedral(x[0], x[1], x[2], x[3]) > 0).astype(jnp.float32))
  state = relative_entropy.init_state(
    sampler, optimizer, params, dataset.subset(world.split.train, settings.walkers, 0).x)
  run = relative_entropy.make_run(update, settings.updates)
  with jax.default_matmul_precision('highest'):
    state, log = run(state, run_key, x)
  jax.block_until_ready(state)
  seconds = time.monotonic() - start
  frames, lost = simulate(config, world, model, state.params, simulate_key, folder / 'simulation')
  notes = {'resamplings': int(np.sum(log.resampled)), 'last N_eff': float(log.effective[-1]),
           'last P(phi > 0)': float(log.population[-1])}
  return Made(None, frames, lost, seconds, relative_entropy.total_evaluations(log), notes)


def denoise(config, world: World, folder: pathlib.Path, objective: str) -> Made:
  """Two for one with an objective of `config.objectives`."""
  chosen = config.ala2.copy_and_resolve_references()
  chosen.update(config.objectives[objective].to_dict())
  samples, x, _, lost = stages.make_frames(
    chosen, world.split, world.split.train.system, folder)
  return Made(samples, x, len(lost), study.training_cost(folder / 'model')['training [s]'])


METHODS = {
  'BG-REM 4 atoms': lambda *args: generator(*args, core=ala2_atoms.CENTRAL_4),
  'BG-REM 6 atoms': lambda *args: generator(*args, core=ala2_atoms.CENTRAL_6),
  'Flow i.i.d.': flow_iid, 'CGNet': force_matching, 'Flow-CGNet': flow_force_matching,
  'RE': minimise_entropy,
  'diffusion, plain': lambda config, world, key, folder: denoise(config, world, folder, 'plain'),
  'diffusion, consistent':
    lambda config, world, key, folder: denoise(config, world, folder, 'consistent'),
}


def labelled(part: dataset.Dataset) -> tuple[np.ndarray, np.ndarray]:
  """Positions [nm] and forces in kT [1/nm]."""
  return part.x, part.forces / thermal_energy(part.system.temperature)


def make_energy(config, world: World, key) -> tuple[EnergyFn, dict]:
  """CGNet's energy of the training frames in kT, x in nm, and its parameters at the start."""
  train_part, settings = world.split.train, config.matching
  bonds = train_part.system.bonds
  features = cgnet.make_internal_features(len(train_part.system.beads), bonds)
  scaling = cgnet.fit_scaling(features, train_part.x)
  network = cgnet.CGNetwork(widths=tuple(settings.widths))
  prior = bonded.make_harmonic_energy(bonded.fit_harmonics(train_part.x, bonds))
  model = energy.add_energies(cgnet.make_cgnet_energy(network, features, scaling), prior)
  return model, network.init(key, jnp.zeros(len(scaling.mean)))


def fit_forces(config, world: World, key, folder: pathlib.Path, examples, validation):
  """(what `fit` leaves, the energy), on examples (x, f) or (x, f, weight)."""
  init_key, fit_key = jax.random.split(key)
  model, params = make_energy(config, world, init_key)
  loss = cgnet.make_force_matching_loss(energy.make_score(model))
  loss = cgnet.with_weight(loss) if len(examples) == 3 else loss
  projection = lipschitz.make_exact_projection(config.matching.lipschitz)
  fitted = fit.fit(
    loss, params, examples, validation, config.matching, fit_key, folder=folder,
    constrain=lambda optimizer: train.with_projection(optimizer, *projection))
  return fitted, model


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


def prior_error(world: World) -> float:
  """The loss of the harmonic terms alone on the validation frames, in kT²/nm²."""
  part, bonds = world.split.train, world.split.train.system.bonds
  score = energy.make_score(bonded.make_harmonic_energy(bonded.fit_harmonics(part.x, bonds)))
  loss = cgnet.make_force_matching_loss(score)
  x, f = labelled(world.split.validation)
  return float(jax.jit(jax.vmap(lambda x, f: loss(None, None, (x, f))))(x, f).mean())


def make_integrator(config, world: World, model: EnergyFn) -> langevin.Integrator:
  """Langevin dynamics of an energy in kT at the temperature of the data."""
  settings = config.ala2.simulate
  field = force.make_force_field(
    energy.make_score(model), t=0.0, kT=world.kT, scale=1.0, alpha=1.0)
  return langevin.make_langevin(field, mass=np.array(world.split.train.system.mass),
                                dt=settings.dt, friction=settings.friction)


def simulate(config, world: World, model: EnergyFn, params, key, folder: pathlib.Path):
  """Frames [F, R, 5, 3] in nm after the burn-in, from training frames; how many are lost."""
  settings, system = config.ala2.simulate, world.split.train.system
  start = dataset.subset(world.split.train, settings.replicas, config.ala2.seed).x
  lost = dynamics.simulate_to_disk(
    make_integrator(config, world, model), params, key, jnp.asarray(start),
    jnp.full(settings.replicas, world.kT), folder, num_parts=settings.parts,
    frames_per_part=settings.frames_per_part, stride=settings.stride, dt=settings.dt,
    settings={'friction': settings.friction},
    check=make_bond_check(system.bonds, settings.longest_bond))
  x, _ = dynamics.read_run(folder)
  return x[settings.burn_in_frames:], len(lost)
