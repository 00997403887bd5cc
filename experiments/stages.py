"""The stages of an experiment on one molecule: model, samples, simulation.

Each is written to its folder and goes on where it stopped; they know no molecule in particular.
"""

import json
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments import (
  command_line,
  correcting,
  dynamics,
  ladders,
  milestones,
  models,
  objectives,
  report_parts,
  training,
  uses,
)
from twoforone import checkpoint, sharding, trajectory
from twoforone.datasets import dataset
from twoforone.evaluation import temperature
from twoforone.schedule import level_time
from twoforone.simulate import Info, make_bond_check
from twoforone.units import thermal_energy

STARTS = ('samples', 'data')
# Folded into the key of the seed, round k as ROUND + k. The training splits that key too, and its
# second and third are 1 and 2: harmless, for what it draws from them has other shapes and uses.
DRAW, SIMULATE, CORRECTOR, ROUND = 1, 2, 3, 4
EXTENDABLE = ('simulate.parts', 'simulate.formats', 'simulate.written_replicas',
              'sample.num_samples')  # fields that a run taken up again may change


def check_alone() -> None:
  """Raises ValueError in one of several processes: all would write the same samples and report."""
  if jax.process_count() > 1:
    raise ValueError(f'jax.process_count: found {jax.process_count()}, expected 1: samples and the '
                     'report are made in one process; train with stages.get_model and simulate '
                     'with stages.simulate in several, then start this in one')


def check_config(config, system) -> None:
  """Raises ValueError for what would otherwise surface only after the training."""
  settings = config.simulate
  for name in ('num_steps', 'validate_every', 'save_every'):
    if config.train[name] % config.train.chunk:
      raise ValueError(f'train.{name}: found {config.train[name]}, expected a multiple of '
                       f'train.chunk = {config.train.chunk}')
  thermal_energy(settings.temperature)
  models.pick('simulate.integrator', settings.integrator, dict.fromkeys(uses.INTEGRATORS))
  models.pick('simulate.start', settings.start, dict.fromkeys(STARTS))
  if not settings.dt >= 0:
    raise ValueError(f'simulate.dt: found {settings.dt} ps, expected a positive number, or 0')
  if not settings.dt and config.train.milestone.levels and not config.pretrained:
    raise ValueError('simulate.dt: found 0, expected a positive number: the simulations of '
                     'train.milestone.levels come before there is a force to choose a step for')
  level_time(models.make_schedule(config.schedule), settings.level)
  make_bond_check(system.bonds, settings.longest_bond)
  if len(settings.mass) not in (0, len(system.beads)):
    raise ValueError(f'simulate.mass: found {len(settings.mass)} values, expected '
                     f'{len(system.beads)}, one for each bead, or none for those of the system')
  for suffix in settings.formats:
    models.pick('simulate.formats', suffix, dict.fromkeys(trajectory.SUFFIXES))
  if settings.tempering.rungs > 1 and settings.stride % settings.tempering.exchange_every:
    raise ValueError(f'simulate.stride: found {settings.stride}, expected a multiple of '
                     f'tempering.exchange_every = {settings.tempering.exchange_every}')
  if settings.parts * settings.frames_per_part <= settings.burn_in_frames:
    raise ValueError(f'simulate.burn_in_frames: found {settings.burn_in_frames}, expected fewer '
                     f'than parts × frames_per_part = {settings.parts * settings.frames_per_part}')
  check_samples(config)
  correcting.check_settings(config, system)


def check_samples(config) -> None:
  """Raises ValueError for samples that cannot be drawn, or are too few for the replicas."""
  settings, dynamic = config.sample, config.simulate
  if settings.corrector_steps < 0:
    raise ValueError(f'sample.corrector_steps: found {settings.corrector_steps}, expected at '
                     'least 0')
  if not settings.corrector_friction > 0:
    raise ValueError(f'sample.corrector_friction: found {settings.corrector_friction}, expected a '
                     'positive number')
  if settings.kind == 'ancestral' and settings.num_steps != config.schedule.num_steps:
    raise ValueError(f'sample.num_steps: found {settings.num_steps}, expected '
                     f'{config.schedule.num_steps}: ancestral sampling takes every level of the '
                     'schedule')
  copies = dynamic.replicas * dynamic.tempering.rungs
  if settings.num_samples < copies:
    raise ValueError(f'sample.num_samples: found {settings.num_samples}, expected at least '
                     f'{copies}: every copy starts from a sample')


def make_frames(
  config, split: dataset.Split, system, folder: pathlib.Path,
  js: Callable[..., float] = milestones.torsion_js, make_feed: Callable | None = None
):
  """Every stage in turn: i.i.d. samples, simulated frames, their info, the replicas lost."""
  correcting.check_data(config, split)
  model, params = get_model(config, split, system, folder / 'model', js, make_feed)
  samples = sample(config, model, params, system, folder / 'samples')
  start = choose_start(config, split, samples)
  return samples, *simulate(config, model, params, split, start, folder / 'simulation')


def get_model(
  config, split: dataset.Split, system, folder: pathlib.Path,
  js: Callable[..., float] = milestones.torsion_js, make_feed: Callable | None = None
):
  """The model and its energy's parameters, trained here or taken from `config.pretrained`.

  Args:
    js: of frames against validation frames, for the milestones of the training.
    make_feed: `blocks.make_feed` but for how a block is prepared, where the training frames are
      on disk and those of the split a few of them; None trains on those of the split.
  """
  if config.pretrained:
    return load_model(config.pretrained, config, system)
  if config.train.start:
    model, start = start_model(config, system)
  else:
    model = models.fit_model(config, system, split.train.x, dataset.data_scale(split.train.x))
    start = None
  scale = model.scale
  card = models.model_card(config, model, system, thermal_energy(system.temperature))
  examples, validation = (objectives.make_examples(config, data, scale)
                          for data in (split.train, split.validation))
  label = objectives.make_label(config, model, examples, system)

  def prepare(block):
    return training.place(config.train, objectives.make_examples(config, block, scale))

  feed = make_feed(prepare) if make_feed else hold(prepare(split.train))
  params = training.train_model(
    config, model, objectives.make_phases(config, model, label), feed, validation, folder,
    card, milestones.make_milestone(config, model, system, split.validation.x, js), start)
  return model, params


def load_model(folder: str, config, system):
  """A trained model and its energy's parameters; its network, schedule and loss enter `config`."""
  source = find_model(folder)
  model = models.model_from_card(checkpoint.read_card(source), config, system)
  return model, training.load_params(model, source)


def find_model(folder: str) -> pathlib.Path:
  """Its path; one that is not here is taken to be relative to the repository."""
  source = pathlib.Path(folder)
  return source if source.is_absolute() or source.exists() else command_line.ROOT / source


def start_model(config, system):
  """The model of `train.start` for the loss of `config`, and the energy's first parameters."""
  loss = config.loss.copy_and_resolve_references()
  card = checkpoint.read_card(find_model(config.train.start))
  # The weights may be of another temperature: they are only where this training starts.
  trained, params = load_model(
    config.train.start, config, system._replace(temperature=card['system']['temperature']))
  config.loss.update(loss)
  return models.make_model(config, system, trained.scale, trained.statistics), params


def hold(examples) -> Callable:
  """feed(step): the same examples for every step."""
  return lambda step: examples


def sample(config, model: models.Model, params, system, folder: pathlib.Path) -> np.ndarray:
  """i.i.d. structures [F, n, 3] in nm, written batch by batch."""
  settings = config.sample
  draw = jax.jit(uses.make_sampler(config, model), static_argnums=2)
  correct = None
  key, key_corrector = (
    jax.random.fold_in(jax.random.key(config.seed), k) for k in (DRAW, CORRECTOR))
  shape = (settings.batch_size, len(system.beads), 3)
  total = -(-settings.num_samples // settings.batch_size)
  trajectory.remove_torn(folder)
  done = trajectory.count_parts(folder)
  for k in tqdm(range(done, total), initial=done, total=total, unit='batch', desc='sample'):
    x = draw(params, jax.random.fold_in(key, k), shape) * model.scale
    if settings.corrector_steps:
      correct = correct or uses.make_corrector(
        config, model, system, corrector_dt(config, model, system, params, x, folder))
      x = correct(params, jax.random.fold_in(key_corrector, k), x)
    trajectory.write_part(folder, k, {'x': np.asarray(x)})
  drawn, = trajectory.join_parts(folder, ('x',))
  return drawn[:settings.num_samples]


def corrector_dt(config, model: models.Model, system, params, x, folder: pathlib.Path) -> float:
  """The time step of the corrector [ps]; an automatic one is of the first batch, and kept."""
  if config.simulate.dt:
    return config.simulate.dt
  path = folder / 'corrector.json'
  if not path.exists():
    folder.mkdir(parents=True, exist_ok=True)
    sound = report_parts.finite_samples(np.asarray(x))
    dt = uses.automatic_dt(config, model, system, params, sound, level=0)
    trajectory.write_json(path, {'dt': dt})
  return json.loads(path.read_text())['dt']


def choose_start(config, split: dataset.Split, samples: np.ndarray) -> np.ndarray:
  """Where the replicas, on each of their rungs, start [R · M, n, 3] in nm.

  Raises:
    ValueError: when too few samples are finite.
  """
  replicas = config.simulate.replicas * config.simulate.tempering.rungs

  def from_samples():
    start = report_parts.finite_samples(samples)[:replicas]
    if len(start) < replicas:
      raise ValueError(f'samples: found {len(start)} finite ones of {len(samples)}, expected '
                       f'{replicas}, one for each replica')
    return start

  return models.pick('simulate.start', config.simulate.start, {
    'samples': from_samples,
    'data': lambda: dataset.subset(split.train, replicas, config.seed).x})()


def simulate(
  config, model: models.Model, params, split: dataset.Split, start: np.ndarray,
  folder: pathlib.Path
):
  """Frames [F, R, n, 3] in nm after the burn-in, their info, and the replicas lost.

  Of a ladder of temperatures those of the lowest. The force field is corrected first where
  `simulate.correction` asks for rounds of it.
  """
  system, found = split.train.system, None
  for k in range(config.simulate.correction.rounds):
    place = correcting.round_folder(folder, k)
    trained = correcting.corrected(model, params, found)
    if not correcting.is_done(place, trained[1]):
      x, _, lost = run_replicas(
        correcting.round_config(config, split), *trained, system, start, place, stream=ROUND + k)
      correcting.improve(config, model, split, x, report_parts.count_lost(lost), place, found)
    found = correcting.read_round(place)
  return run_replicas(config, *correcting.corrected(model, params, found), system, start, folder)


def run_replicas(
  config, model: models.Model, params, system, start: np.ndarray, folder: pathlib.Path, *,
  stream: int = SIMULATE
):
  """What `simulate` returns, of the force field as it is; `stream` numbers the random numbers.

  The memory at the peak is that of all frames, those of the burn-in too, and of two parts; to
  write them takes that of a few parts.
  """
  settings = config.simulate
  if not settings.dt:  # that of a run taken up again is kept: rounding differs between machines
    settings.dt = dynamics.stored_setting(folder, 'dt') or sharding.agree(
      uses.automatic_dt(config, model, system, params, start))
  integrator = uses.make_integrator(config, model, system, settings.level)
  key = jax.random.fold_in(jax.random.key(config.seed), stream)
  options = {
    'check': make_bond_check(system.bonds, settings.longest_bond),
    'settings': {'level': settings.level, 'friction': settings.friction,
                 'integrator': settings.integrator},
    'on_part': make_part_writer(config, system, folder)}
  tempered, potential = settings.tempering.rungs > 1, None
  if tempered or model.energy is not None:  # a direct score has none
    potential = uses.make_potential(config, model, system, settings.level)
  if tempered:
    lost = ladders.temper_to_disk(
      config, integrator, potential, params, key, start, folder, **options)
    x, info = ladders.read_lowest(folder)
  else:
    lost = dynamics.simulate_to_disk(
      integrator, params, key, jnp.asarray(start),
      jnp.full(settings.replicas, thermal_energy(settings.temperature)), folder,
      num_parts=settings.parts, frames_per_part=settings.frames_per_part, stride=settings.stride,
      dt=settings.dt, potential=potential, **options)
    x, info = dynamics.read_run(folder)
  keep = slice(settings.burn_in_frames, None)
  return x[keep], Info(*(value[keep] for value in info)), lost


def make_part_writer(config, system, folder: pathlib.Path) -> Callable:
  """on_part(part, read): the parts of the first replicas in the formats of `config.simulate`."""
  settings = config.simulate

  def on_part(part, read):
    def read_all():
      arrays = read()
      return {**arrays, 'temperature': temperature.kinetic_temperature(
        arrays['kinetic'], len(system.beads))}

    for suffix in settings.formats:
      trajectory.export_part(
        folder, part, read_all, system, suffix=suffix, interval=settings.stride * settings.dt,
        replicas=range(min(settings.written_replicas, settings.replicas)))

  return on_part
