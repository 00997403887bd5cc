"""From the fields of a config (or of a checkpoint's card) to the functions of the method."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twoforone import checkpoint, energy, schedule
from twoforone.losses import classification
from twoforone.networks import edges
from twoforone.networks.graph_transformer import GraphTransformer
from twoforone.networks.invariant import InvariantEnergy, Invariants, fit_invariants
from twoforone.networks.noise_features import make_noise_features, scalar_time
from twoforone.schedule import Schedule
from twoforone.system import System
from twoforone.types import EnergyFn, ScoreFn

SCHEDULES = {'cosine': schedule.cosine_schedule, 'linear': schedule.linear_schedule,
             'vp': schedule.vp_schedule}
EDGES = {'differences': edges.differences, 'squared_distances': edges.squared_distances,
         'both': edges.differences_and_distances, 'none': edges.constant}
NOISE_WIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0)


class Model(NamedTuple):
  """The five functions of the method and what they need around them.

  Attributes:
    schedule: of the noise.
    energy: None for a direct score.
    score: of whitened positions; its parameters are `params['energy']`.
    init: key -> params, {'energy': ..., 'offset': ...}.
    scale: length that whitens the data [nm].
    invariants: statistics of the invariant network, or None.
  """

  schedule: Schedule
  energy: EnergyFn | None
  score: ScoreFn
  init: Callable[..., Any]
  scale: float
  invariants: Invariants | None


def make_model(config, system: System, scale: float, invariants: Invariants | None) -> Model:
  """The functions that `config.network` and `config.schedule` name.

  Raises:
    ValueError: for a name that is not known.
  """
  noise = make_schedule(config.schedule)
  network = make_network(config.network, noise, len(system.beads), invariants)
  species = jnp.asarray(system.species)
  direct = config.network.kind == 'direct_transformer'
  reduced = None if direct else energy.make_energy(network.apply, noise, species)
  score = (energy.make_direct_score(network.apply, noise, species) if direct
           else energy.make_score(reduced))
  init_offset, _ = classification.make_offset(noise)

  def init(key):
    x = jax.random.normal(key, (len(system.beads), 3))
    params = {'energy': network.init(key, x, jnp.float32(0.5), species)}
    return params | ({'offset': init_offset()} if config.loss.classification else {})

  return Model(noise, reduced, score, init, scale, invariants)


def make_schedule(config) -> Schedule:
  """The schedule of a schedule config."""
  return pick('schedule.kind', config.kind, SCHEDULES)(num_steps=config.num_steps)


def make_network(config, noise: Schedule, num_beads: int, invariants: Invariants | None):
  """The flax module of a network config."""
  if config.kind == 'invariant':
    return InvariantEnergy(noise, invariants, tuple(config.widths), NOISE_WIDTHS)
  if config.kind not in ('transformer', 'direct_transformer'):
    raise ValueError(f'network.kind: found {config.kind!r}, expected one of '
                     "['direct_transformer', 'invariant', 'transformer']")
  features = make_noise_features(noise, NOISE_WIDTHS) if config.smooth_time else scalar_time
  return GraphTransformer(
    num_beads, config.width, config.num_layers, config.heads, config.head_dim,
    edges=pick('network.edges', config.edges, EDGES), absolute=config.absolute,
    time_features=features, direct=config.kind == 'direct_transformer')


def model_card(config, model: Model, system: System, kT: float) -> dict:
  """What a checkpoint needs beside its weights to be a force field."""
  level = config.simulate.level
  return {
    'system': checkpoint.system_card(system), 'schedule': config.schedule.to_dict(),
    'level': level, 't': schedule.level_time(model.schedule, level), 'kT': kT,
    'scale': model.scale, 'config': config.to_dict(),
    'invariants': None if model.invariants is None else model.invariants._asdict()}


def model_from_card(card: dict, config, system: System) -> Model:
  """The model whose weights lie beside the card; network, schedule and loss are the card's.

  Raises:
    ValueError: when the weights are of another system.
  """
  checkpoint.check_card(card, system)
  with config.unlocked():
    for part in ('network', 'schedule', 'loss'):
      config[part].update(card['config'][part])
  known = card['invariants']
  invariants = known and Invariants(**{name: np.asarray(known[name]) for name in known})
  return make_model(config, system, card['scale'], invariants)


def fit_model(config, system: System, x: np.ndarray, scale: float) -> Model:
  """A model whose statistics come from the training frames x [F, n, 3] in nm."""
  invariants = fit_invariants(x / scale) if config.network.kind == 'invariant' else None
  return make_model(config, system, scale, invariants)


def pick(field: str, name: str, choices: dict):
  """choices[name], or a ValueError that names the field."""
  if name not in choices:
    raise ValueError(f'{field}: found {name!r}, expected one of {sorted(choices)}')
  return choices[name]
