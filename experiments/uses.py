"""The two uses of a trained model: a sampler and a force field with its dynamics."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.models import Model, pick
from twoforone import force as force_module
from twoforone import langevin, metropolis, resampled, sampler
from twoforone.schedule import level_time
from twoforone.simulate import make_bond_check, simulate, start_replicas
from twoforone.system import System
from twoforone.types import ForceFn, PotentialFn
from twoforone.units import thermal_energy

INTEGRATORS = ('langevin', 'overdamped', 'metropolis')


def make_sampler(config, model: Model) -> sampler.Sampler:
  """sample(params['energy'], key, shape) in whitened units, as `config.sample` says."""
  if config.sample.kind == 'dpm_solver':
    return sampler.make_dpm_sampler(
      model.score, model.schedule, num_steps=config.sample.num_steps,
      stochastic_above=config.sample.stochastic_above)
  if config.sample.kind == 'resampled':
    if model.energy is None:
      raise ValueError("sample.kind: a direct score has no energy to weigh samples with; set "
                       "'dpm_solver'")
    return resampled.make_resampled_sampler(
      model.energy, model.score, model.schedule, num_steps=config.sample.num_steps,
      resample_above=config.sample.resample_above,
      stochastic_above=config.sample.stochastic_above)
  if config.sample.kind == 'flow':
    return sampler.make_ode_sampler(
      model.score, model.schedule, num_steps=config.sample.num_steps)[0]
  times = pick('sample.kind', config.sample.kind, {
    'ancestral': lambda: None,
    'ancestral_log_snr': lambda: sampler.log_snr_times(model.schedule, config.sample.num_steps),
  })()
  return sampler.make_ancestral_sampler(model.score, model.schedule, times=times)


def make_corrector(config, model: Model, system: System, dt: float) -> Callable:
  """move(params, key, x[S, n, 3]) -> x in nm: some Langevin steps of the force field for each.

  The corrector after the predictor (Song et al. 2021), at the lowest noise level: beads that came
  too close part, friction keeps the rest where it is. A molecule that breaks is NaN.
  """
  steps, friction = config.sample.corrector_steps, config.sample.corrector_friction
  integrator = langevin.make_langevin(
    make_force(config, model, system, level=0), dt=dt,
    mass=choose_mass(config.simulate, system), friction=friction)
  check = make_bond_check(system.bonds, config.simulate.longest_bond)

  def move(params, key, x):
    kT = jnp.full(len(x), thermal_energy(system.temperature))
    state = start_replicas(integrator, params, key, x, kT)
    _, frames, _ = simulate(integrator, params, state, kT, num_frames=1, stride=steps, check=check)
    return frames[0]

  return jax.jit(move)


def make_force(config, model: Model, system: System, level: int) -> ForceFn:
  """The force field at a noise level, of positions in nm."""
  return _at_once(config, force_module.make_force_field(
    model.score, **reading(config, model, system, level)))


def make_potential(config, model: Model, system: System, level: int) -> PotentialFn:
  """The potential of that force field, of positions in nm.

  Raises:
    ValueError: for a direct score, which has none.
  """
  if model.energy is None:
    raise ValueError('network.kind: a direct score has no potential, which tempering and the '
                     'metropolis integrator need')
  return _at_once(config, force_module.make_potential(
    model.energy, **reading(config, model, system, level)))


def make_integrator(config, model: Model, system: System, level: int) -> langevin.Integrator:
  """The dynamics of `config.simulate` on that force field."""
  settings, force = config.simulate, make_force(config, model, system, level)
  make = pick('simulate.integrator', settings.integrator, {
    'langevin': lambda: functools.partial(langevin.make_langevin, force),
    'overdamped': lambda: functools.partial(langevin.make_overdamped, force),
    'metropolis': lambda: functools.partial(
      metropolis.make_metropolis_langevin, force, make_potential(config, model, system, level)),
  })()
  return make(mass=choose_mass(settings, system), dt=settings.dt, friction=settings.friction)


def automatic_dt(
  config, model: Model, system: System, params, x: np.ndarray, level: int | None = None
) -> float:
  """A quarter of the largest stable time step [ps] at some of the frames x [F, n, 3] in nm.

  Of the force at `config.simulate.level`, or another one.
  """
  force = make_force(config, model, system, config.simulate.level if level is None else level)
  return langevin.automatic_time_step(
    force, params, jnp.asarray(x[:50]), mass=choose_mass(config.simulate, system))


def choose_mass(settings, system: System) -> np.ndarray:
  """The masses of the config, or those of the system where it has none."""
  return np.array(settings.mass or system.mass)


def _at_once(config, function):
  """A force or potential of so many replicas at a time as the config says."""
  at_once = config.simulate.at_once
  return force_module.in_pieces(function, at_once) if at_once else function


def reading(config, model: Model, system: System, level: int) -> dict[str, float]:
  """At what noise, in which units and with which scaling the model is read."""
  t = level_time(model.schedule, level)
  return {
    't': t, 'kT': thermal_energy(system.temperature), 'scale': model.scale,
    'alpha': float(model.schedule.alpha(jnp.float32(t))) if config.simulate.exact_scaling else 1.0}
