"""Every method of the comparison on alanine: `method(config, world, key, folder) -> Made`.

All see the same training frames of five beads; force matching also their mapped forces, and the
Boltzmann generators of 22 atoms the all-atom frames of the same runs.
"""

import math
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import ala2_flows, correcting, dynamics, fit, report_parts, stages, study
from experiments.ala2_flows import Made, World, timed
from twoforone import checkpoint, energy, force, langevin, optimizers
from twoforone.baselines import (
  ala2_atoms,
  bonded,
  cgnet,
  flow_cgnet,
  lipschitz,
  relative_entropy,
  walkers,
)
from twoforone.datasets import dataset
from twoforone.geometry import centre, dihedral
from twoforone.simulate import make_bond_check
from twoforone.types import EnergyFn
from twoforone.units import thermal_energy


def force_matching(config, world: World, key, folder: pathlib.Path) -> Made:
  """CGNet: harmonic bonds and angles and a network of internal coordinates, on mapped forces."""
  fit_key, run_key = jax.random.split(key)
  fitted, model = fit_forces(config, world, fit_key, folder / 'model',
                             *(labelled(part) for part in (world.split.train,
                                                           world.split.validation)))
  notes = {'validation force error': fitted.validation, 'of the prior alone': prior_error(world)}
  made = simulate(config, world, model, fitted.params, run_key, folder / 'simulation')
  return made._replace(seconds=fitted.seconds, notes=notes)


def flow_force_matching(config, world: World, key, folder: pathlib.Path) -> Made:
  """Flow-CGNet: CGNet on the forces of the augmented flow, in place of mapped ones."""
  flow_key, draw_key, fit_key, run_key = jax.random.split(key, 4)
  model, teacher = ala2_flows.fit_flow(config, world, flow_key, folder / 'teacher')
  start, settings = time.monotonic(), config.student
  draw = jax.jit(jax.vmap(flow_cgnet.make_force_draw(model.density), (None, 0)))
  pairs = ala2_flows.draw_in_batches(
    lambda keys: jnp.stack(draw(teacher.params, keys), axis=1), draw_key, settings)
  x, f = pairs.swapaxes(0, 1)
  examples, selection = flow_cgnet.make_examples(x, f, max_square=settings.max_square)
  seconds, part = time.monotonic() - start + teacher.seconds, len(examples.x) // 5
  fitted, model = fit_forces(
    config, world, fit_key, folder / 'model', (examples.x[part:], examples.f[part:]),
    (examples.x[:part], examples.f[:part]))
  made = simulate(config, world, model, fitted.params, run_key, folder / 'simulation')
  return made._replace(seconds=seconds + fitted.seconds, notes={'kept': selection.kept})


def entropy_langevin(config, world: World, key, folder: pathlib.Path) -> Made:
  """Classical relative entropy, model averages from chains at the temperature of the data."""
  settings = config.entropy

  def make(model):
    return walkers.make_simulated(
      make_integrator(config, world, model), model, kT=world.kT, num_frames=settings.num_frames,
      stride=settings.stride, skip=settings.skip, project=centre)

  return minimise_entropy(config, world, key, folder, make, ())


def entropy_tempering(config, world: World, key, folder: pathlib.Path) -> Made:
  """Classical relative entropy, model averages from parallel tempering: as many chains in all."""
  settings = config.entropy

  def make(model):
    return walkers.make_tempered(
      make_integrator(config, world, model), model,
      kT=tuple(world.kT * rung for rung in settings.ladder), num_frames=settings.num_frames,
      stride=settings.stride, skip=settings.skip, project=centre)

  return minimise_entropy(config, world, key, folder, make, (len(settings.ladder),))


def minimise_entropy(
  config, world: World, key, folder: pathlib.Path, make_sampler, rungs: tuple[int, ...]
) -> Made:
  """The energy of CGNet, its averages from samples that are drawn again when too few are left.

  `make_sampler(energy)` is one of `walkers`, whose walkers lead with the axes [R, *rungs].
  """
  init_key, run_key, simulate_key = jax.random.split(key, 3)
  params, log, seconds, model = fit_entropy(
    config, world, init_key, run_key, folder / 'model', make_sampler, rungs)
  made = simulate(config, world, model, params, simulate_key, folder / 'simulation')
  return made._replace(
    seconds=float(seconds), evaluations=relative_entropy.total_evaluations(log), notes={
      'resamplings': int(np.sum(log.resampled)), 'last N_eff': float(log.effective[-1]),
      'last P(phi > 0)': float(log.population[-1])})


def fit_entropy(
  config, world: World, init_key, run_key, folder: pathlib.Path, make_sampler,
  rungs: tuple[int, ...]
):
  """(parameters, log of the updates, seconds, energy), fitted now or found in the folder."""
  settings, start = config.entropy, time.monotonic()
  model, params = make_energy(config, world, init_key)  # that of the prior, which is stable
  optimizer = optax.with_extra_args_support(optimizers.adamw(
    learning_rate=settings.learning_rate, final_learning_rate=0.01 * settings.learning_rate,
    num_steps=settings.updates, max_norm=settings.max_norm))
  sampler = make_sampler(model)
  update = relative_entropy.make_update(
    model, relative_entropy.make_mean_energy(model, settings.batch_size), sampler, optimizer,
    ratio=settings.ratio,
    observe=lambda x: (dihedral(x[0], x[1], x[2], x[3]) > 0).astype(jnp.float32))
  ladder = math.prod(rungs)
  x = dataset.subset(world.split.train, settings.walkers // ladder * ladder, 0).x
  state = relative_entropy.init_state(
    sampler, optimizer, params, jnp.reshape(x, (-1, *rungs, *x.shape[1:])))
  run = relative_entropy.make_run(update, settings.updates)
  arguments = state, run_key, jnp.asarray(world.split.train.x)
  like = params, jax.eval_shape(run, *arguments)[1], jnp.zeros(())
  if checkpoint.latest_step(folder) is None:
    with jax.default_matmul_precision('highest'):
      state, log = jax.block_until_ready(run(*arguments))
    checkpoint.save(
      folder, settings.updates, (state.params, log, jnp.asarray(time.monotonic() - start)))
  return *checkpoint.restore(folder, like), model


def denoise(config, world: World, folder: pathlib.Path, objective: str) -> Made:
  """Two for one with an objective of `config.objectives`."""
  chosen = config.ala2.copy_and_resolve_references()
  chosen.update(config.objectives[objective].to_dict())
  correcting.refuse(chosen, 'experiments.compare')
  split, system = world.split, world.split.train.system
  model, params = stages.get_model(chosen, split, system, folder / 'model')
  samples, sampling = timed(
    lambda: stages.sample(chosen, model, params, system, folder / 'samples'), folder / 'samples')
  start = stages.choose_start(chosen, split, samples)
  (x, _, lost), simulating = timed(
    lambda: stages.simulate(chosen, model, params, split, start, folder / 'simulation'),
    folder / 'simulation')
  seconds = study.training_cost(folder / 'model')['training [s]']
  return Made(samples, x, report_parts.count_lost(lost), seconds, sampling=sampling,
              simulating=simulating)


METHODS = {
  'BG-REM 4 atoms': lambda config, *args: ala2_flows.generator(
    config, *args, settings=config.generator_4, core=ala2_atoms.CENTRAL_4),
  'BG-REM 6 atoms': lambda config, *args: ala2_flows.generator(
    config, *args, settings=config.generator_6, core=ala2_atoms.CENTRAL_6),
  'Flow i.i.d.': ala2_flows.flow_iid, 'CGNet': force_matching, 'Flow-CGNet': flow_force_matching,
  'RE': entropy_langevin, 'RE tempering': entropy_tempering,
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
    constrain=lambda optimizer: optimizers.with_projection(optimizer, *projection))
  return fitted, model


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


def simulate(
  config, world: World, model: EnergyFn, params, key, folder: pathlib.Path
) -> Made:
  """Frames [F, R, 5, 3] in nm after the burn-in, from training frames; nothing of the training."""
  settings, system = config.ala2.simulate, world.split.train.system
  start = dataset.subset(world.split.train, settings.replicas, config.ala2.seed).x
  lost, seconds = timed(lambda: dynamics.simulate_to_disk(
    make_integrator(config, world, model), params, key, jnp.asarray(start),
    jnp.full(settings.replicas, world.kT), folder, num_parts=settings.parts,
    frames_per_part=settings.frames_per_part, stride=settings.stride, dt=settings.dt,
    settings={'friction': settings.friction},
    check=make_bond_check(system.bonds, settings.longest_bond)), folder)
  x, _ = dynamics.read_run(folder)
  return Made(None, x[settings.burn_in_frames:], len(lost), 0.0, simulating=seconds)
