"""The Fokker-Planck residual of a model over the noise: a diagnostic that needs no simulation."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments import markdown
from experiments.models import Model
from twoforone import plots
from twoforone.losses import fokker_planck
from twoforone.schedule import reached

SIGMAS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 0.9)  # those that a schedule reaches


def residual_curve(model: Model, params, x: np.ndarray, seed: int = 0) -> fokker_planck.Curve:
  """How far the energy is from moving with the noise as a density must, over sigma.

  In units of D beta/2, the scale of the equation's right side: schedules that run through the noise
  at another speed compare.

  Args:
    params: of the energy.
    x: frames [F, n, 3] in nm, not those of the training.
    seed: of the noise.

  Raises:
    ValueError: for a direct score, which has no energy.
  """
  if model.energy is None:
    raise ValueError('residual: a direct score has no energy')
  residual = fokker_planck.make_exact_residual(model.energy, model.schedule)
  sigmas = jnp.array(reached(model.schedule, SIGMAS))

  def curve(params, x):
    sigma, rms, mean = fokker_planck.fokker_planck_curve(
      residual, model.schedule, params, jax.random.key(seed), x, sigmas)
    speed = jax.vmap(lambda sigma: fokker_planck.noise_rate(
      model.schedule, model.schedule.time(sigma)) / 2)(sigma)
    return fokker_planck.Curve(sigma, rms / speed, mean / speed)

  found = jax.jit(curve)(params, jnp.asarray(x / model.scale))
  return fokker_planck.Curve(*map(np.asarray, found))


def figure(curves: Mapping[str, fokker_planck.Curve]) -> plots.Figure:
  """Root mean square of the residual over sigma, its mean over frames removed, by name."""
  named = {name: plots.Curve(found.sigma, found.rms) for name, found in curves.items()}
  return plots.curves({'': named}, x_label='sigma', y_label='Fokker-Planck residual / (D β/2)',
                      x_log=True, y_log=True)


def table(curve: fokker_planck.Curve) -> str:
  """The curve as Markdown."""
  return markdown.table(('sigma', 'rms, mean removed', 'mean'), (
    (f'{sigma:g}', f'{rms:.2e}', f'{mean:+.2e}') for sigma, rms, mean in zip(*curve, strict=True)))
