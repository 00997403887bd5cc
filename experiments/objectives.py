"""From `config.loss` to the training loss: noise levels, weights, classification, rotation."""

import jax.numpy as jnp
import numpy as np

from experiments.models import Model, pick
from twoforone.losses import classification, denoising, noise_levels
from twoforone.schedule import Schedule
from twoforone.types import LossFn, WeightFn

DISTANCES = {'squared': (jnp.square, 2), 'absolute': (jnp.abs, 1)}


def make_loss(config, model: Model) -> LossFn:
  """The training loss that `config.loss` describes, on `params` = {'energy', 'offset'}."""
  settings, noise = config.loss, model.schedule
  draw_level = noise_levels.categorical_levels(level_weights(settings, noise))
  if settings.low_noise_fraction:
    low = noise_levels.log_uniform_sigma(noise, settings.sigma_min, settings.sigma_max)
    draw_level = noise_levels.mix_levels(draw_level, low, settings.low_noise_fraction)
  weight = make_weight(settings, noise)
  distance, _ = pick('loss.distance', settings.distance, DISTANCES)
  if settings.classification:
    if model.energy is None:
      raise ValueError('loss.classification: a direct score has no energy to classify with; set 0')
    _, offset = classification.make_offset(noise)
    loss = classification.make_denoising_classification_loss(
      model.energy, offset, noise, draw_level=draw_level, weight=weight,
      draw_other=classification.near_or_far(noise, draw_level, width=settings.pair_width),
      strength=settings.classification, distance=distance)
  else:
    plain = denoising.make_denoising_loss(
      model.score, noise, draw_level=draw_level, weight=weight, distance=distance)

    def loss(params, key, x):
      return plain(params['energy'], key, x)
  return denoising.with_random_rotation(loss) if settings.rotate else loss


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
