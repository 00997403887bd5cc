"""From the fields of a config to the networks, the loss and the step of `time_integrated`."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.models import pick
from twoforone.baselines.time_integrated import (
  equivariant,
  message_passing,
  noise,
  radius,
  refinement,
)
from twoforone.baselines.time_integrated.graph import Scales
from twoforone.baselines.time_integrated.guard import Guard
from twoforone.baselines.time_integrated.history import make_perturb
from twoforone.baselines.time_integrated.model import (
  StepModel,
  make_step,
  make_step_loss,
  make_step_model,
  with_guard,
)
from twoforone.types import LossFn

HEADS = {'markov': noise.markov_gaussian, 'isotropic': noise.isotropic_gaussian}


class Setup(NamedTuple):
  """What a network of the config gives.

  Attributes:
    model: its functions.
    loss: for training.
    steps: the learned step by its name, '' without and 'refined' with refinement.
  """

  model: StepModel
  loss: LossFn
  steps: dict[str, Callable]


def make_setup(config, network, scales: Scales, r_max: float) -> Setup:
  """Model, loss and steps of `network`, one of `config.networks`."""
  embedding = message_passing.Embedding(**network.embedding)
  dynamics, score = pick('kind', network.kind, KINDS)(network, scales)
  head = radius.RadiusHead(scales, config.radius_width) if config.radius_width else None
  model = make_step_model(embedding, dynamics, score, head)
  if config.guard:
    model = with_guard(model, Guard(r_max, config.guard), scales)
  sigmas = refinement.noise_ladder(
    config.refine.highest * scales.acceleration, config.refine.lowest * scales.length,
    config.refine.levels)
  low, high = np.array(config.noise) * scales.velocity
  loss = make_step_loss(
    model, scales, perturb=make_perturb(low, high), rotate=network.rotate,
    score_loss=refinement.make_score_loss(model.score, sigmas),
    score_windows=config.refine.windows, share_latent=network.share_latent,
    radius_loss=radius.make_radius_loss(model.radius, scales) if head else None)
  refine = refinement.make_refine(
    model.score, sigmas=sigmas, steps=config.refine.steps, rate=config.refine.rate)
  return Setup(model, loss, {'': make_step(model, scales),
                             'refined': make_step(model, scales, refine=refine)})


def make_message_passing(network, scales: Scales):
  """The baseline's (dynamics, score)."""
  sizes = dict(network.sizes)
  return (message_passing.Dynamics(scales, min_std=network.min_std, **sizes),
          message_passing.Score(scales, sees_noise=network.sees_noise, **sizes))


def make_equivariant(network, scales: Scales):
  """The equivariant (dynamics, score)."""
  sizes = dict(network.sizes)
  head = pick('head', network.head, HEADS)
  return (equivariant.EquivariantDynamics(scales, distribution=head, **sizes),
          equivariant.EquivariantScore(scales, **sizes))


KINDS = {'gns': make_message_passing, 'equivariant': make_equivariant}
