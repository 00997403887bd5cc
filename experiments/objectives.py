"""From `config.loss` to what is minimised: noise levels, weights, terms and when they come in."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.models import Model, pick
from twoforone.datasets.dataset import Dataset
from twoforone.losses import classification, denoising, fokker_planck, noise_levels, target_score
from twoforone.losses.denoising import LabelFn
from twoforone.prior import stiff_pairs
from twoforone.schedule import Schedule
from twoforone.system import System
from twoforone.train import Auxiliary
from twoforone.types import LossFn, NoiseLevelFn, WeightFn
from twoforone.units import thermal_energy

DISTANCES = {'squared': (jnp.square, 2), 'absolute': (jnp.abs, 1)}
RESIDUALS = {  # how the Fokker-Planck residual is taken; see `make_fokker_planck_residual`
  'exact': {},
  'scoremd': {'probe': 1e-4, 'constant': 1.0,
              'time_derivative': fokker_planck.make_stencil(1e-3, 5e-4, lowest=-np.inf)},
}


class Phase(NamedTuple):
  """From which step on what is minimised."""

  start: int
  loss: LossFn
  auxiliary: Auxiliary | None


def make_phases(config, model: Model, label: LabelFn = denoising.noise_label) -> list[Phase]:
  """The phases of a training, first to last; each starts at a whole chunk.

  The costly or disturbing terms of `config.loss` come in where their `..._from` says, with the last
  chunk at the latest. `label` is what the score is trained on, from `make_label`.
  """
  settings, last = config.loss, config.train.num_steps // config.train.chunk - 1

  def step_of(fraction):
    return min(round(fraction * (last + 1)), last) * config.train.chunk

  classify = step_of(settings.classification_from) if settings.classification else 0
  planck = step_of(settings.fokker_planck_from) if settings.fokker_planck else 0
  phases = []
  for start in sorted({0, classify, planck}):
    auxiliary = (Auxiliary(make_fokker_planck(config, model), settings.fokker_planck_examples)
                 if settings.fokker_planck and start >= planck else None)
    loss = make_loss(config, model, label, classify=start >= classify)
    phases.append(Phase(start, loss, auxiliary))
  return phases


def make_examples(config, data: Dataset, scale: float):
  """Whitened positions [F, n, 3], or (positions, reduced forces) where forces are trained on.

  Raises:
    ValueError: when the data have no forces.
  """
  if not config.loss.forces:
    return data.x / scale
  if data.forces is None:
    raise ValueError(f'loss.forces: found {config.loss.forces!r}, expected \'\': the data have no '
                     'forces')
  return data.x / scale, data.forces * (scale / thermal_energy(data.system.temperature))


def make_label(config, model: Model, examples, system: System) -> LabelFn:
  """The noise, or noise and forces mixed by what these training examples say of their scatter."""
  if not config.loss.forces:
    return denoising.noise_label
  part = pick('loss.forces', config.loss.forces, {
    'all': lambda: target_score.whole,
    'no_bonds': lambda: target_score.make_bond_filter(system.bonds),
    'no_angles': lambda: target_score.make_bond_filter(stiff_pairs(system.bonds))})()
  variance = target_score.fit_force_variance(*examples, part=part)
  return target_score.make_force_label(model.schedule, force_variance=variance, part=part)


def make_loss(
  config, model: Model, label: LabelFn = denoising.noise_label, *, classify: bool = True
) -> LossFn:
  """The loss that `config.loss` describes, on `params` = {'energy', 'offset'}."""
  settings, noise = config.loss, model.schedule
  draw_level, weight = make_levels(settings, noise), make_weight(settings, noise)
  distance, _ = pick('loss.distance', settings.distance, DISTANCES)
  if settings.classification and classify:
    if model.energy is None:
      raise ValueError('loss.classification: a direct score has no energy to classify with; set 0')
    loss = classification.make_denoising_classification_loss(
      model.energy, classification.make_offset(noise)[1], noise, draw_level=draw_level,
      weight=weight, strength=settings.classification, distance=distance, label=label,
      draw_other=classification.near_or_far(noise, draw_level, width=settings.pair_width))
  else:
    loss = denoising.on_energy(denoising.make_denoising_loss(
      model.score, noise, draw_level=draw_level, weight=weight, distance=distance, label=label))
  return denoising.with_random_rotation(loss) if settings.rotate else loss


def make_fokker_planck(config, model: Model) -> LossFn:
  """The Fokker-Planck loss, on `params` = {'energy', 'offset'}; the offset takes no part.

  The network's own dependence on the noise can hold the normaliser. The offset's knots, linear in
  log sigma, would bring a time derivative that grows without bound towards t = 0.
  """
  noise = model.schedule
  residual = pick('loss.fokker_planck_residual', config.loss.fokker_planck_residual, RESIDUALS)
  loss = fokker_planck.make_fokker_planck_loss(
    fokker_planck.make_fokker_planck_residual(model.energy, noise, **residual), noise,
    draw_level=make_levels(config.loss, noise))
  if config.loss.forces:
    loss = target_score.on_positions(loss)

  loss = denoising.on_energy(loss)
  return lambda params, key, example: config.loss.fokker_planck * loss(params, key, example)


def make_levels(settings, noise: Schedule) -> NoiseLevelFn:
  """How the diffusion time of an example is drawn."""
  draw_level = noise_levels.categorical_levels(level_weights(settings, noise))
  if not settings.low_noise_fraction:
    return draw_level
  low = noise_levels.log_uniform_sigma(noise, settings.sigma_min, settings.sigma_max)
  return noise_levels.mix_levels(draw_level, low, settings.low_noise_fraction)


def make_weight(settings, noise: Schedule) -> WeightFn:
  """The loss multiplier at t: low noise lifted, and the clean structure as the target if asked."""
  lifted = noise_levels.low_noise_weight(
    noise, strength=settings.weight_strength, sigma_floor=settings.weight_floor,
    maximum=settings.weight_maximum)
  _, power = pick('loss.distance', settings.distance, DISTANCES)
  target = pick('loss.objective', settings.objective, {
    'noise': noise_levels.constant_weight,
    'clean': noise_levels.clean_weight(noise, power=power)})
  return lambda t: lifted(t) * target(t)


def level_weights(settings, noise: Schedule) -> np.ndarray:
  """Probability of each level, up to a factor (the families of Arts et al. 2023)."""
  parameter = settings.level_parameter
  return pick('loss.levels', settings.levels, {
    'uniform': lambda: np.ones(noise.num_steps),
    'score_matching': lambda: noise_levels.score_matching_weights(noise),
    'higher_until': lambda: noise_levels.higher_until_weights(noise, int(parameter)),
    'lower_bound': lambda: noise_levels.lower_bound_weights(noise, parameter),
    'p2': lambda: noise_levels.p2_weights(noise, gamma=parameter),
  })()
