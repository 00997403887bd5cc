"""The two uses of a trained model: a sampler and a force field with its dynamics."""

import jax.numpy as jnp
import numpy as np

from experiments.models import Model, pick
from twoforone import langevin, sampler
from twoforone.force import make_force_field
from twoforone.schedule import level_time
from twoforone.system import System
from twoforone.types import ForceFn
from twoforone.units import thermal_energy

INTEGRATORS = {'langevin': langevin.make_langevin, 'overdamped': langevin.make_overdamped}


def make_sampler(config, model: Model) -> sampler.Sampler:
  """sample(params['energy'], key, shape) in whitened units, as `config.sample` says."""
  if config.sample.kind == 'dpm_solver':
    return sampler.make_dpm_sampler(
      model.score, model.schedule, num_steps=config.sample.num_steps,
      stochastic_above=config.sample.stochastic_above)
  if config.sample.kind == 'flow':
    return sampler.make_ode_sampler(
      model.score, model.schedule, num_steps=config.sample.num_steps)[0]
  times = pick('sample.kind', config.sample.kind, {
    'ancestral': lambda: None,
    'ancestral_log_snr': lambda: sampler.log_snr_times(model.schedule, config.sample.num_steps),
  })()
  return sampler.make_ancestral_sampler(model.score, model.schedule, times=times)


def make_force(config, model: Model, system: System, level: int) -> ForceFn:
  """The force field at a noise level, of positions in nm."""
  t = level_time(model.schedule, level)
  exact = config.simulate.exact_scaling
  return make_force_field(
    model.score, t=t, kT=thermal_energy(system.temperature), scale=model.scale,
    alpha=float(model.schedule.alpha(jnp.float32(t))) if exact else 1.0)


def make_integrator(config, model: Model, system: System, level: int) -> langevin.Integrator:
  """The dynamics of `config.simulate` on that force field."""
  settings = config.simulate
  make = pick('simulate.integrator', settings.integrator, INTEGRATORS)
  return make(make_force(config, model, system, level), mass=choose_mass(settings, system),
              dt=settings.dt, friction=settings.friction)


def automatic_dt(config, model: Model, system: System, params, x: np.ndarray) -> float:
  """A quarter of the largest stable time step [ps] at some of the frames x [F, n, 3] in nm."""
  force = make_force(config, model, system, config.simulate.level)
  return langevin.automatic_time_step(
    force, params, jnp.asarray(x[:50]), mass=choose_mass(config.simulate, system))


def choose_mass(settings, system: System) -> np.ndarray:
  """The masses of the config, or those of the system where it has none."""
  return np.array(settings.mass or system.mass)
