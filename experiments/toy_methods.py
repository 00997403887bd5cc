"""Every method of the comparison on a toy: `method(config, problem, key) -> toys.Found`.

All see the same draws; force matching and its student also see what they are made for, force labels
and a flow. Profiles come from the learned density or energy on a grid, not from samples.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import fit, toy_chains, toy_flows, toy_objectives, toys
from experiments.toys import Found, Problem
from twoforone import energy, geometry, optimizers, sampler
from twoforone.baselines import (
  basis,
  cgnet,
  flow,
  flow_cgnet,
  lipschitz,
  relative_entropy,
  walkers,
)
from twoforone.losses import classification
from twoforone.networks.mlp import MLPEnergy


def histogram(config, problem: Problem, key) -> Found:
  """The training draws in bins of the grid's points: what no model must be worse than."""
  s = problem.train.s.ravel()
  return Found(toys.count_energy(problem, s), None, s, 0.0)


def force_matching(config, problem: Problem, key) -> Found:
  """CGNet on the exact force labels of the draws."""
  return match_forces(config, problem, key, (problem.train.s, problem.train.f),
                      (problem.validation.s, problem.validation.f))


def flow_force_matching(config, problem: Problem, key) -> Found:
  """Flow-CGNet: a student of the augmented flow's forces."""
  flow_key, draw_key, student_key = jax.random.split(key, 3)
  chosen = toy_flows.spline_pair(problem, flow_key)
  prior = flow.normal_prior(2)
  fitted, density = toy_flows.fit_flow(
    config.flow, flow_key, chosen, prior, problem.train.s, problem.validation.s)
  start = time.monotonic()
  augmented = flow_cgnet.make_augmented(
    density, flow.make_sample(chosen, prior), (1, 1))
  draw = jax.jit(jax.vmap(flow_cgnet.make_force_draw(augmented), (None, 0)))
  x, f = draw(fitted.params, jax.random.split(draw_key, config.student_draws))
  examples, selection = flow_cgnet.make_examples(x, f, max_square=config.student_max_square)
  part, seconds = len(examples.x) // 5, time.monotonic() - start + fitted.seconds
  found = match_forces(config, problem, student_key, tuple(a[part:] for a in examples[:2]),
                       tuple(a[:part] for a in examples[:2]))
  return found._replace(seconds=found.seconds + seconds, notes={'kept': selection.kept})


def entropy_quadrature(config, problem: Problem, key) -> Found:
  """Classical relative entropy, model averages by quadrature: the oracle."""
  points = jnp.linspace(problem.exact.s[0], problem.exact.s[-1], 1001)[:, None, None]
  return minimise_entropy(config, problem, key, lambda model: walkers.make_quadrature(points), ())


def entropy_langevin(config, problem: Problem, key) -> Found:
  """Classical relative entropy, model averages from chains at kT."""
  settings = config.entropy

  def make(model):
    return walkers.make_simulated(
      walkers.make_mala(model, settings.step), model, kT=1.0, num_frames=settings.num_frames,
      stride=settings.stride)

  return minimise_entropy(config, problem, key, make, problem.train.s[:settings.walkers])


def entropy_tempering(config, problem: Problem, key) -> Found:
  """Classical relative entropy, model averages from parallel tempering."""
  settings, rungs = config.entropy, len(config.entropy.ladder)

  def make(model):
    return walkers.make_tempered(
      walkers.make_mala(model, settings.step), model, kT=tuple(settings.ladder),
      num_frames=settings.num_frames, stride=settings.stride)

  start = problem.train.s[:settings.walkers // rungs * rungs].reshape(-1, rungs, 1, 1)
  return minimise_entropy(config, problem, key, make, start)


def diffusion_plain(config, problem: Problem, key) -> Found:
  """Two for one, denoising alone."""
  return denoise(config, problem, key, 'plain')


def diffusion_consistent(config, problem: Problem, key) -> Found:
  """Two for one, with low noise and noise-level classification."""
  return denoise(config, problem, key, 'low_noise+classification')


def on_trajectories(method: Callable) -> Callable:
  """A method that is given short trajectories from each basin: the negative control."""

  def with_other_data(config, problem: Problem, key) -> Found:
    data_key, key = jax.random.split(key)
    return method(config, toys.with_trajectories(config.system, problem, data_key), key)

  return with_other_data


UPDATES = ('population', 'effective', 'evaluations', 'resampled')
"""What rows of relative entropy keep of each update, `relative_entropy.Log`."""
CONTROL, SEVERAL = ', Metropolis data', ', temperatures'  # end the names of methods on other draws
METHODS = {
  'histogram': histogram,
  'BG-REM spline': toy_flows.generator_spline, 'BG-REM affine': toy_flows.generator_affine,
  'BG-REM plane, spline': toy_flows.generator_plane_spline,
  'BG-REM plane, affine': toy_flows.generator_plane_affine,
  'Flow i.i.d.': toy_flows.flow_iid, 'CGNet': force_matching, 'Flow-CGNet': flow_force_matching,
  'RE quadrature': entropy_quadrature, 'RE Langevin': entropy_langevin,
  'RE tempering': entropy_tempering,
  'diffusion, plain': diffusion_plain, 'diffusion, consistent': diffusion_consistent,
  f'BG-REM spline{CONTROL}': on_trajectories(toy_flows.generator_spline),
  f'Flow i.i.d.{CONTROL}': on_trajectories(toy_flows.flow_iid),
  f'BG-REM NICE{SEVERAL}': toy_flows.generator_temperatures,
}


def match_forces(config, problem: Problem, key, examples, validation) -> Found:
  """A CGNet energy of s, its matrices held inside a ball."""
  init_key, fit_key = jax.random.split(key)
  settings = config.matching
  network = cgnet.CGNetwork(tuple(settings.widths), activation=jax.nn.silu, skips=True)
  # z-scores would put a rare basin five widths away, where it is learned last.
  scaling = cgnet.Scaling(np.zeros(1), np.ones(1))
  model = cgnet.make_cgnet_energy(network, cgnet.coordinates, scaling)
  projection = lipschitz.make_exact_projection(settings.lipschitz)
  fitted = fit.fit(
    cgnet.make_force_matching_loss(energy.make_score(model)), network.init(init_key, jnp.zeros(1)),
    examples, validation, settings, fit_key,
    constrain=lambda optimizer: optimizers.with_projection(optimizer, *projection))
  values, force = toys.on_grid(problem, lambda x: model(fitted.params, x, 0.0))
  simulated = toy_chains.simulate(config, problem, model, fitted.params, jax.random.fold_in(key, 1))
  return Found(values, force, None, fitted.seconds, simulated=simulated)


def minimise_entropy(config, problem: Problem, key, make_sampler, start) -> Found:
  """Cubic splines of s between walls, by Newton steps on the relative entropy."""
  settings, began = config.entropy, time.monotonic()
  ends = settings.interval
  splined = basis.make_cubic_splines(*ends, settings.coefficients)
  model = basis.make_linear_energy(splined, basis.make_walls(*ends))
  ensemble, optimizer = make_sampler(model), relative_entropy.make_newton(model)
  update = relative_entropy.make_update(
    model, relative_entropy.linear_mean, ensemble, optimizer, ratio=settings.ratio,
    observe=lambda x: (x[0, 0] < problem.barrier).astype(jnp.float32))
  state = relative_entropy.init_state(
    ensemble, optimizer, jnp.zeros(settings.coefficients), jax.tree.map(jnp.asarray, start))
  run = relative_entropy.make_run(update, settings.updates)
  state, log = run(state, key, basis.mean_basis(splined, jnp.asarray(problem.train.s)))
  values, force = toys.on_grid(problem, lambda x: model(state.params, x, 0.0))
  population = np.asarray(log.population)
  return Found(values, force, None, time.monotonic() - began,
               relative_entropy.total_evaluations(log),
               {'resamplings': int(np.sum(log.resampled)), 'last N_eff': float(log.effective[-1]),
                'lowest population below': float(population.min()),
                'highest population below': float(population.max())},
               arrays={name: np.asarray(getattr(log, name)) for name in UPDATES})


def denoise(config, problem: Problem, key, objective: str) -> Found:
  """A diffusion model of whitened s, its energy read at almost no noise."""
  init_key, fit_key, draw_key = jax.random.split(key, 3)
  settings, noise = config.diffusion, toy_objectives.NOISE
  mean, scale = problem.train.s.mean(), problem.train.s.std()
  network = MLPEnergy(noise, tuple(settings.widths), tuple(settings.noise_widths))
  reduced = energy.make_energy(network.apply, noise, np.zeros(1, int), project=geometry.keep)
  params = {'energy': network.init(init_key, jnp.zeros((1, 1)), jnp.float32(0.5), np.zeros(1, int)),
            'offset': classification.make_offset(noise)[0]()}
  fitted = fit.fit(
    toy_objectives.make_loss(settings, objective, reduced), params,
    *((part.s - mean) / scale for part in (problem.train, problem.validation)), settings.train,
    fit_key)
  found = fitted.params['energy']
  values, force = toys.on_grid(
    problem, lambda x: reduced(found, (x - mean) / scale, jnp.float32(toy_objectives.T_MIN)))
  start = time.monotonic()
  draw = jax.jit(sampler.make_dpm_sampler(
    energy.make_score(reduced), noise, project=geometry.keep), static_argnums=2)
  samples = np.asarray(draw(found, draw_key, problem.test.s.shape)).ravel() * scale + mean
  return Found(values, force, samples, fitted.seconds + time.monotonic() - start)
