"""Objectives of the two-dimensional toy: sums of named terms, written 'a+b'."""

from experiments.models import pick
from experiments.objectives import RESIDUALS
from twoforone import energy, geometry, schedule
from twoforone.losses import classification, denoising, fokker_planck, noise_levels
from twoforone.losses.denoising import LabelFn
from twoforone.types import EnergyFn, LossFn

NOISE = schedule.vp_schedule()
T_MIN = 1e-5  # where ScoreMD reads the force
TERMS = {
  'plain': 't uniform',
  'low_noise': 'half of the draws log-uniform in sigma',
  'flat': 'loss weights that lift low noise',
  'classification': 'noise-level classification',
  'forces': 'exact forces beside the noise, mixed by their variance',
  'fokker_planck': 'Fokker-Planck residual, constant D, exact time derivative, probes of 1e-3',
  'scoremd': "the same with ScoreMD's constant 1, clamped time stencil, probes of 1e-4",
}
FOKKER_PLANCK = {'fokker_planck': RESIDUALS['exact'], 'scoremd': RESIDUALS['scoremd']}


def make_loss(
  config, objective: str, reduced: EnergyFn, label: LabelFn = denoising.noise_label
) -> LossFn:
  """The sum of the objective's terms, on `params` = {'energy', 'offset'}.

  `label` is what the score is trained on; with the term 'forces' the caller gives it.
  """
  settings, terms = config.loss, split_terms(objective)
  draw_level = noise_levels.uniform_times(T_MIN, 1.0)
  if 'low_noise' in terms:
    low = noise_levels.log_uniform_sigma(NOISE, settings.sigma_min, settings.sigma_max)
    draw_level = noise_levels.mix_levels(draw_level, low, settings.low_noise_fraction)
  weight = noise_levels.constant_weight if 'flat' not in terms else noise_levels.low_noise_weight(
    NOISE, strength=settings.weight_strength, sigma_floor=settings.weight_floor,
    maximum=settings.weight_maximum)
  options = {'draw_level': draw_level, 'weight': weight, 'project': geometry.keep}
  _, offset = classification.make_offset(NOISE)
  if 'classification' in terms:
    loss = classification.make_denoising_classification_loss(
      reduced, offset, NOISE, strength=settings.classification, label=label, **options,
      draw_other=classification.near_or_far(NOISE, draw_level, width=settings.pair_width))
  else:
    loss = denoising.on_energy(
      denoising.make_denoising_loss(energy.make_score(reduced), NOISE, label=label, **options))
  for term in set(terms) & set(FOKKER_PLANCK):
    residuals = fokker_planck.make_fokker_planck_residual(
      reduced, NOISE, project=geometry.keep, **FOKKER_PLANCK[term])
    residual_loss = denoising.on_energy(
      fokker_planck.make_fokker_planck_loss(residuals, NOISE, **options))
    loss = denoising.add_losses((1.0, loss), (settings.fokker_planck, residual_loss))
  return loss


def split_terms(objective: str) -> list[str]:
  """The terms of 'a+b'; ValueError for one that is not known."""
  for term in objective.split('+'):
    pick('objectives', term, TERMS)
  return objective.split('+')
