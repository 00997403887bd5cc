"""What a training is good for while it runs: samples and short simulations at each validation.

Everything is scored against validation frames, with the averaged parameters of the moment.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import models, report_parts, uses
from twoforone.evaluation import densities, structure
from twoforone.losses.denoising import make_loss_by_sigma
from twoforone.schedule import level_time, reached
from twoforone.simulate import init_replicas, make_bond_check, make_simulation
from twoforone.system import System
from twoforone.units import thermal_energy

SIGMAS = (0.002, 0.004, 0.01, 0.03, 0.1, 0.3, 0.7)  # those that a schedule reaches
BINS = 20  # of each torsion: a few thousand frames fill 400 bins, not 3600


def make_milestone(
  config, model: models.Model, system: System, x_validation: np.ndarray,
  js: Callable[[np.ndarray, np.ndarray], float]
) -> Callable[..., dict[str, float]]:
  """milestone(params, key) -> name -> value; `params` are the energy's.

  `loss sigma=...` is the plain denoising loss at each of `SIGMAS`. With `train.milestone.samples` >
  0, `js iid` is the JS of that many samples, those `samples not finite` left out; `js level k` and
  `lost level k` are of a short simulation for each of `train.milestone.levels`, started from them.

  Args:
    x_validation: frames [F, n, 3] in nm.
    js: of two sets of frames, `torsion_js` or `pair_js`.
  """
  settings = config.train.milestone
  stride = -(-len(x_validation) // (20 * config.train.batch_size))
  frames = jnp.asarray(x_validation[::stride] / model.scale)
  sigmas = reached(model.schedule, SIGMAS)
  curve = jax.jit(make_loss_by_sigma(model.score, model.schedule, np.array(sigmas)))
  draw = jax.jit(uses.make_sampler(config, model), static_argnums=2)
  simulations = {level: make_simulate(config, model, system, level) for level in settings.levels}

  def milestone(params, key):
    values = {f'loss sigma={sigma:g}': float(value) for sigma, value in
              zip(sigmas, curve(params, key, frames), strict=True)}
    if not settings.samples:
      return values
    x = draw(params, key, (settings.samples, len(system.beads), 3)) * model.scale
    x = report_parts.finite_samples(np.asarray(x))
    values['samples not finite'] = float(settings.samples - len(x))
    if not len(x):
      return values
    values['js iid'] = js(x, x_validation)
    for level, simulate in simulations.items():
      state, frames_made = simulate(params, key, jnp.asarray(x[:config.simulate.replicas]))
      lost = np.asarray(state.lost_frame) >= 0
      values[f'lost level {level}'] = float(lost.sum())
      values[f'js level {level}'] = (
        float('nan') if lost.all() else js(np.asarray(frames_made)[:, ~lost], x_validation))
    return values

  return milestone


def make_simulate(config, model: models.Model, system: System, level: int) -> Callable:
  """simulate(params, key, x[R, n, 3]) -> (state, frames), one part long, at a noise level."""
  settings = config.simulate
  level_time(model.schedule, level)
  integrator = uses.make_integrator(config, model, system, level)
  run = make_simulation(integrator, num_frames=settings.frames_per_part, stride=settings.stride,
                        check=make_bond_check(system.bonds, settings.longest_bond))

  def simulate(params, key, x):
    kT = jnp.full(len(x), thermal_energy(settings.temperature))
    state, frames, _ = run(params, init_replicas(integrator, params, key, x, kT), kT)
    return state, frames

  return simulate


def torsion_js(x: np.ndarray, reference: np.ndarray, bins: int = BINS) -> float:
  """JS(φ, ψ) of frames of alanine's five beads [..., 5, 3] in nm, coarse bins of each torsion."""
  return densities.torsion_js(structure.phi_psi(x), structure.phi_psi(reference), bins)


def pair_js(x: np.ndarray, reference: np.ndarray) -> float:
  """Mean JS of the pair distances at offset 3, of any chain [..., n, 3] in nm."""
  first, second = (structure.pair_histograms(frames, offset=3) for frames in (x, reference))
  return float(structure.pair_distance_js(first, second).mean())
