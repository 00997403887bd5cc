"""From the fields of a config (or of a checkpoint's card) to the functions of the method."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twoforone import checkpoint, energy, schedule
from twoforone.losses import classification
from twoforone.networks import edges
from twoforone.networks.equivariant import EquivariantEnergy, PairStatistics, fit_pair_statistics
from twoforone.networks.graph_transformer import GraphTransformer
from twoforone.networks.invariant import InvariantEnergy, Invariants, fit_invariants
from twoforone.networks.noise_features import make_noise_features, scalar_time
from twoforone.prior import Prior, fit_prior, make_prior
from twoforone.schedule import Schedule
from twoforone.system import System
from twoforone.types import EnergyFn, ScoreFn

SCHEDULES = {'cosine': schedule.cosine_schedule, 'linear': schedule.linear_schedule,
             'vp': schedule.vp_schedule}
EDGES = {'differences': edges.differences, 'squared_distances': edges.squared_distances,
         'both': edges.differences_and_distances, 'none': edges.constant}
RECORDS = {'invariants': Invariants, 'pairs': PairStatistics, 'prior': Prior}


class Statistics(NamedTuple):
  """What was read off the whitened training frames; None where the model does not use it."""

  invariants: Invariants | None = None
  pairs: PairStatistics | None = None
  prior: Prior | None = None


class Model(NamedTuple):
  """The five functions of the method and what they need around them.

  Attributes:
    schedule: of the noise.
    energy: None for a direct score.
    score: of whitened positions; its parameters are `params['energy']`.
    init: key -> params, {'energy': ..., 'offset': ...}.
    scale: length that whitens the data [nm].
    statistics: of the training frames, that network and prior need.
  """

  schedule: Schedule
  energy: EnergyFn | None
  score: ScoreFn
  init: Callable[..., Any]
  scale: float
  statistics: Statistics


def make_model(config, system: System, scale: float, statistics: Statistics) -> Model:
  """The functions that `config.network` and `config.schedule` name.

  Raises:
    ValueError: for a name that is not known.
  """
  noise = make_schedule(config.schedule)
  network = make_network(config.network, noise, len(system.beads), statistics)
  species = jnp.asarray(system.species)
  if config.network.kind == 'direct_transformer':
    reduced = None
    score = make_direct_score(config.network, network, noise, species, statistics)
  else:
    reduced = make_energy(config.network, network, noise, species, statistics)
    score = energy.make_score(reduced)
  init_offset, _ = classification.make_offset(noise)

  @jax.jit  # else every operation of the network is compiled by itself
  def init(key):
    x = jax.random.normal(key, (len(system.beads), 3))
    params = {'energy': network.init(key, x, jnp.float32(0.5), species)}
    return params | ({'offset': init_offset()} if config.loss.classification else {})

  return Model(noise, reduced, score, init, scale, statistics)


def make_schedule(config) -> Schedule:
  """The schedule of a schedule config."""
  return pick('schedule.kind', config.kind, SCHEDULES)(num_steps=config.num_steps)


def make_network(config, noise: Schedule, num_beads: int, statistics: Statistics):
  """The flax module of a network config."""
  base, noise_widths = not config.prior, tuple(config.noise_widths)
  if config.kind == 'invariant':
    return InvariantEnergy(
      noise, statistics.invariants, tuple(config.widths), noise_widths, base=base,
      squares=config.squares)
  if config.kind == 'equivariant':
    return EquivariantEnergy(
      noise, statistics.pairs, config.width, config.vectors, config.num_layers,
      cutoff=config.cutoff or None, noise_widths=noise_widths, base=base)
  if config.kind not in ('transformer', 'direct_transformer'):
    raise ValueError(f'network.kind: found {config.kind!r}, expected one of '
                     "['direct_transformer', 'equivariant', 'invariant', 'transformer']")
  features = make_noise_features(noise, noise_widths) if config.smooth_time else scalar_time
  return GraphTransformer(
    num_beads, config.width, config.num_layers, config.heads, config.head_dim,
    edges=pick('network.edges', config.edges, EDGES), absolute=config.absolute,
    time_features=features, direct=config.kind == 'direct_transformer', zero_output=config.prior)


def make_energy(config, network, noise: Schedule, species, statistics: Statistics) -> EnergyFn:
  """The network's energy; with `config.prior` the network learns what the prior lacks."""
  if not config.prior:
    return energy.make_energy(network.apply, noise, species)

  def residual(params, x, t, species):
    # The others have this factor already: what is left over is of order one in kT.
    factor = noise.sigma(t) if config.kind == 'transformer' else 1.0
    return factor * network.apply(params, x, t, species)

  return energy.add_energies(
    energy.make_energy(residual, noise, species), make_prior(statistics.prior, noise))


def make_direct_score(config, network, noise: Schedule, species, statistics: Statistics) -> ScoreFn:
  """The network's score without an energy; with `config.prior` beside that of the prior."""
  direct = energy.make_direct_score(network.apply, noise, species)
  if not config.prior:
    return direct
  prior = energy.make_score(make_prior(statistics.prior, noise))
  return lambda params, x, t: direct(params, x, t) + prior(params, x, t)


def model_card(config, model: Model, system: System, kT: float) -> dict:
  """What a checkpoint needs beside its weights to be a force field."""
  level = config.simulate.level
  return {
    'system': checkpoint.system_card(system), 'schedule': config.schedule.to_dict(),
    'level': level, 't': schedule.level_time(model.schedule, level), 'kT': kT,
    'scale': model.scale, 'config': config.to_dict(),
    'statistics': {name: None if found is None else found._asdict()
                   for name, found in model.statistics._asdict().items()}}


def model_from_card(card: dict, config, system: System) -> Model:
  """The model whose weights lie beside the card; network, schedule and loss are the card's.

  Raises:
    ValueError: when the weights are of another system.
  """
  checkpoint.check_card(card, system)
  with config.unlocked():
    config.network.squares = False  # of cards older than the field
    for part in ('network', 'schedule', 'loss'):
      config[part].update(card['config'][part])
  statistics = Statistics(**{
    name: found and RECORDS[name](**{field: np.asarray(value) for field, value in found.items()})
    for name, found in card['statistics'].items()})
  return make_model(config, system, card['scale'], statistics)


def fit_model(config, system: System, x: np.ndarray, scale: float) -> Model:
  """A model whose statistics come from the training frames x [F, n, 3] in nm."""
  x, kind = x / scale, config.network.kind
  statistics = Statistics(
    invariants=fit_invariants(x) if kind == 'invariant' else None,
    pairs=fit_pair_statistics(x, system.species) if kind == 'equivariant' else None,
    prior=fit_prior(x, system.bonds) if config.network.prior else None)
  return make_model(config, system, scale, statistics)


def pick(field: str, name: str, choices: dict):
  """choices[name], or a ValueError that names the field."""
  if name not in choices:
    raise ValueError(f'{field}: found {name!r}, expected one of {sorted(choices)}')
  return choices[name]
