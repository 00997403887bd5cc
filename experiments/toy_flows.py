"""Flows on a toy: Boltzmann generators and the augmented flow, `method(config, problem, key)`.

The free energy is an integral of the density, never a histogram of draws.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments import fit, toy_chains, toys
from experiments.toys import Found, Problem
from twoforone.baselines import boltzmann_generator, flow, marginal, splines
from twoforone.datasets import toy_draws
from twoforone.evaluation import profiles

LADDER = (1.0, 1.5, 2.0, 3.0)  # kT of the data of `generator_temperatures`
ETA = marginal.make_grid((-7.0,), (7.0,), (1401,))  # of one auxiliary channel


def generator_spline(config, problem: Problem, key) -> Found:
  """BG-REM of s by one monotone spline: exact in one dimension."""
  s = problem.train.s[:, 0]
  standardise = flow.fit_standardise(s)
  z = jax.vmap(lambda x: standardise.forward((), x)[0])(jnp.asarray(s))
  chosen = flow.chain(standardise, boltzmann_generator.monotone_spline(
    box=splines.fit_box(np.asarray(z))))
  return run_flow(config, config.generator_spline, problem, key, chosen, 1)


def generator_affine(config, problem: Problem, key) -> Found:
  """BG-REM by affine couplings of s and an auxiliary channel."""
  s = problem.train.s
  standardise = flow.fixed_affine(np.array([s.mean(), 0.0]), np.array([s.std(), 1.0]))
  chosen = flow.chain(standardise, boltzmann_generator.real_nvp(2))
  return run_flow(config, config.generator_affine, problem, key, chosen, 2)


def generator_plane_spline(config, problem: Problem, key) -> Found:
  """BG-REM of the plane by spline couplings, projected onto the axis."""
  chosen = boltzmann_generator.fit_spline_flow(problem.train.r)
  return run_plane(config, problem, key, chosen)


def generator_plane_affine(config, problem: Problem, key) -> Found:
  """BG-REM of the plane by affine couplings, projected onto the axis."""
  chosen = flow.chain(flow.fit_standardise(problem.train.r), boltzmann_generator.real_nvp(2))
  return run_plane(config, problem, key, chosen)


def generator_temperatures(config, problem: Problem, key) -> Found:
  """BG-REM by additive couplings, trained on the double well at several temperatures at once.

  As many draws in all as the other methods have. Its Jacobian is constant, so the temperature of
  the prior is that of the draws; but then level sets have the volumes of a Gaussian's, which those
  of two wells have not: the notes say what is left of the difference of the basins.

  Raises:
    ValueError: for another toy, whose potential of mean force depends on the temperature.
  """
  if config.system != 'double_well':
    raise ValueError(f"system: found {config.system!r}, expected 'double_well'")
  prior = flow.normal_prior(2)
  chosen = flow.chain(flow.fit_standardise(problem.train.r), boltzmann_generator.nice(2))
  seed = int(jax.random.randint(key, (), 1000, 2**30))
  fitted, density = fit_flow(
    config.generator_affine, key, chosen, prior, draw_temperatures(len(problem.train.s), seed),
    draw_temperatures(len(problem.validation.s), seed + len(LADDER)))
  found = look(config, problem, key, chosen, prior, fitted, marginal.make_marginal(density, ETA),
               lambda x: x[:, 0])
  return found._replace(notes=compare_temperatures(problem, fitted.params, density))


def draw_temperatures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Examples (x [F, 1, 2], T) of the double well, `count` in all over the ladder."""
  draws = toy_draws.draw_ladder(toy_draws.draw_double_well, LADDER, count // len(LADDER), seed)
  return boltzmann_generator.join_temperatures(list(np.moveaxis(draws, 1, 0)), LADDER)


def compare_temperatures(problem: Problem, params, density: flow.LogDensityFn) -> dict[str, float]:
  """Difference of the basins at each temperature, exact and by quadrature of the density [kT]."""
  s, exact, notes = problem.exact.s, problem.exact.energy, {}
  log_marginal = marginal.make_marginal(density, ETA)

  @jax.jit
  def energy(temperature):
    return jax.lax.map(lambda x: -log_marginal(params, x[None], temperature),
                       jnp.asarray(s, jnp.float32), batch_size=toys.GRID_PART)

  for kT in LADDER:
    # The potential of mean force of the double well is the same at all temperatures.
    for name, values in (('found', energy(kT)), ('exact', exact / kT)):
      above = profiles.weight_above(s, np.asarray(values, np.float64), problem.barrier)
      notes[f'difference at kT {kT:g}, {name}'] = profiles.basin_difference(above)
  return notes


def flow_iid(config, problem: Problem, key) -> Found:
  """An augmented flow of s and an auxiliary channel, spline couplings (Köhler et al. 2023)."""
  return run_flow(config, config.flow, problem, key, spline_pair(problem, key), 2)


def spline_pair(problem: Problem, key) -> flow.Flow:
  """Spline couplings of s and an auxiliary channel, in a box that holds both."""
  s = problem.train.s[:, 0]
  return boltzmann_generator.fit_spline_flow(
    np.concatenate([s, np.asarray(jax.random.normal(key, s.shape))], axis=1))


def fit_flow(settings, key, chosen: flow.Flow, prior: flow.Prior, train, validation):
  """(what `fit` leaves, the log-density): likelihood of s or r; further channels are auxiliary.

  Examples are frames, or (frames, their temperatures).
  """
  init_key, fit_key = jax.random.split(key)
  frames = jax.tree.leaves(train)[0]
  density = flow.make_log_density(chosen, prior)
  loss = boltzmann_generator.make_likelihood_loss(
    density, num_auxiliary=prior.size - frames[0].size)
  return fit.fit(loss, chosen.init(init_key), train, validation, settings, fit_key), density


def run_flow(config, settings, problem: Problem, key, chosen: flow.Flow, size: int) -> Found:
  """A flow of s and its auxiliary channels: the marginal by quadrature, and draws."""
  prior = flow.normal_prior(size)
  fitted, density = fit_flow(
    settings, key, chosen, prior, problem.train.s, problem.validation.s)
  integrated = density if size == 1 else marginal.make_marginal(density, ETA)
  return look(config, problem, key, chosen, prior, fitted, integrated, lambda x: x[:, 0])


def run_plane(config, problem: Problem, key, chosen: flow.Flow) -> Found:
  """A flow of the plane, its density integrated across the axis."""
  prior, axis = flow.normal_prior(2), np.array(problem.axis)
  fitted, density = fit_flow(
    config.generator_plane, key, chosen, prior, problem.train.r, problem.validation.r)
  normal = problem.train.r @ np.array([-axis[1], axis[0]]) / np.linalg.norm(axis)
  across = marginal.make_grid((normal.min() - 1.0,), (normal.max() + 1.0,), (401,))
  projected = marginal.make_projected(density, axis, across)
  return look(config, problem, key, chosen, prior, fitted, projected, lambda x: x @ axis)


def look(
  config, problem: Problem, key, chosen, prior, fitted: fit.Fitted, log_density, project
) -> Found:
  """Energy and force on the grid from the log-density of s; draws, each made an s by `project`."""
  values, force = toys.on_grid(problem, lambda x: -log_density(fitted.params, x.ravel()))
  samples, seconds = draw_flow(chosen, prior, fitted.params, key, len(problem.test.s))
  simulated = simulate_grid(config, problem, values, force, jax.random.fold_in(key, 2))
  return Found(values, force, project(samples), fitted.seconds + seconds, simulated=simulated)


def simulate_grid(config, problem: Problem, values, force, key) -> np.ndarray:
  """s of chains on the curve through an energy and its force on the grid."""
  model = toy_chains.make_tabulated_energy(problem.exact.s, values, force)
  return toy_chains.simulate(config, problem, model, (), key)


def draw_flow(chosen: flow.Flow, prior: flow.Prior, params, key, count: int):
  """(draws [count, d], seconds)."""
  start = time.monotonic()
  draw = jax.jit(jax.vmap(flow.make_sample(chosen, prior), (None, 0)))
  x, _ = draw(params, jax.random.split(jax.random.fold_in(key, 1), count))
  return np.asarray(x), time.monotonic() - start
