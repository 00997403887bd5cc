"""Two for one on alanine dipeptide: one network, i.i.d. samples and a simulation.

Leaves in `workdir`: config.json, model/ (metrics.csv, checkpoints with card), samples/,
simulation/, trajectory.xtc with .pdb, report.md, metrics.json, metrics.csv and the plots. Run the
same command again after an interruption: every stage goes on where it stopped.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments import (
  command_line,
  dynamics,
  milestones,
  models,
  objectives,
  report,
  report_ala2,
  training,
  uses,
)
from twoforone import checkpoint, trajectory
from twoforone.datasets import ala2, dataset, frames
from twoforone.schedule import level_time
from twoforone.simulate import Info, make_bond_check
from twoforone.units import thermal_energy

STARTS = ('samples', 'data')
EXTENDABLE = ('simulate.parts', 'sample.num_samples')
ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(config: ConfigDict, workdir: str) -> list[report.Row]:
  """Trains (or loads), samples, simulates and evaluates; returns the rows of the report."""
  system = ala2.ala2_system()
  check_config(config, system)
  folder = command_line.prepare_workdir(workdir, config, may_change=EXTENDABLE)
  split = load_split(config)
  model, params = get_model(config, split, system, folder / 'model')
  samples = sample(config, model, params, system, folder / 'samples')
  start = choose_start(config, split, samples)
  x, info, lost = simulate(config, model, params, system, start, folder / 'simulation')
  rows = report_ala2.write_results(config, folder, split, samples, x, info, lost)
  print(f'report: {folder / "report.md"}')
  return rows


def check_config(config, system) -> None:
  """Raises ValueError for what would otherwise surface only after the training."""
  settings = config.simulate
  thermal_energy(settings.temperature)
  models.pick('simulate.integrator', settings.integrator, uses.INTEGRATORS)
  models.pick('simulate.start', settings.start, dict.fromkeys(STARTS))
  if not settings.dt >= 0:
    raise ValueError(f'simulate.dt: found {settings.dt} ps, expected a positive number, or 0')
  if not settings.dt and config.train.milestone.levels and not config.pretrained:
    raise ValueError('simulate.dt: found 0, expected a positive number: the simulations of '
                     'train.milestone.levels come before there is a force to choose a step for')
  level_time(models.make_schedule(config.schedule), settings.level)
  make_bond_check(system.bonds, settings.longest_bond)
  if len(settings.mass) != len(system.beads):
    raise ValueError(f'simulate.mass: found {len(settings.mass)} values, expected '
                     f'{len(system.beads)}, one for each bead')
  if config.sample.num_samples < settings.replicas:
    raise ValueError(f'sample.num_samples: found {config.sample.num_samples}, expected at least '
                     f'{settings.replicas}: every replica starts from a sample')
  if settings.parts * settings.frames_per_part <= settings.burn_in_frames:
    raise ValueError(f'simulate.burn_in_frames: found {settings.burn_in_frames}, expected fewer '
                     f'than parts × frames_per_part = {settings.parts * settings.frames_per_part}')


def load_data(config: ConfigDict) -> dataset.Dataset:
  """The data of `config.data`, all runs."""
  data = config.data
  if not data.path:
    return ala2.load_ala2()
  if data.layout == 'fu_berlin':
    return ala2.load_fu_berlin(data.path, interval=data.interval)
  return frames.load_frames(
    data.path, ala2.ala2_system(), forces_path=data.forces_path or None,
    length_unit=data.length_unit, force_unit=data.force_unit, num_runs=data.num_runs,
    interval=data.interval)


def load_split(config: ConfigDict) -> dataset.Split:
  """The data of `config.data`, one run held out."""
  return split_data(config, load_data(config))


def split_data(config: ConfigDict, loaded: dataset.Dataset) -> dataset.Split:
  """One run held out, as `config.data` says."""
  data = config.data
  split = dataset.split_fold(loaded, data.fold, validation_fraction=data.validation_fraction)
  if data.train_size:
    split = split._replace(train=dataset.subset(split.train, data.train_size, config.seed))
  return split


def get_model(config, split: dataset.Split, system, folder: pathlib.Path):
  """The model and its energy's parameters, trained here or taken from `config.pretrained`."""
  if config.pretrained:
    source = pathlib.Path(config.pretrained)
    source = source if source.is_absolute() or source.exists() else ROOT / source
    model = models.model_from_card(checkpoint.read_card(source), config, system)
    return model, training.load_params(model, source)
  scale = dataset.data_scale(split.train.x)
  model = models.fit_model(config, system, split.train.x, scale)
  card = models.model_card(config, model, system, thermal_energy(system.temperature))
  examples, validation = (objectives.make_examples(config, data, scale)
                          for data in (split.train, split.validation))
  label = objectives.make_label(config, model, examples, system)
  params = training.train_model(
    config, model, objectives.make_phases(config, model, label), examples, validation, folder,
    card, milestones.make_milestone(config, model, system, split.validation.x))
  return model, params


def sample(config, model: models.Model, params, system, folder: pathlib.Path) -> np.ndarray:
  """i.i.d. structures [F, n, 3] in nm, written batch by batch."""
  settings = config.sample
  draw = jax.jit(uses.make_sampler(config, model), static_argnums=2)
  key = jax.random.fold_in(jax.random.key(config.seed), 1)
  shape = (settings.batch_size, len(system.beads), 3)
  total = -(-settings.num_samples // settings.batch_size)
  done = trajectory.count_parts(folder)
  for k in tqdm(range(done, total), initial=done, total=total, unit='batch', desc='sample'):
    x = draw(params, jax.random.fold_in(key, k), shape)
    trajectory.write_part(folder, k, {'x': np.asarray(x * model.scale)})
  drawn = np.concatenate([part['x'] for part in trajectory.read_parts(folder)])
  return drawn[:settings.num_samples]


def choose_start(config, split: dataset.Split, samples: np.ndarray) -> np.ndarray:
  """Where the replicas start [R, n, 3] in nm."""
  replicas = config.simulate.replicas
  return models.pick('simulate.start', config.simulate.start, {
    'samples': lambda: samples[:replicas],
    'data': lambda: dataset.subset(split.train, replicas, config.seed).x})()


def simulate(config, model: models.Model, params, system, start: np.ndarray, folder: pathlib.Path):
  """Frames [F, R, n, 3] in nm after the burn-in, their info, and the replicas lost."""
  settings = config.simulate
  if not settings.dt:
    settings.dt = uses.automatic_dt(config, model, system, params, start)
  integrator = uses.make_integrator(config, model, system, settings.level)
  lost = dynamics.simulate_to_disk(
    integrator, params, jax.random.fold_in(jax.random.key(config.seed), 2),
    jnp.asarray(start),
    jnp.full(settings.replicas, thermal_energy(settings.temperature)), folder,
    num_parts=settings.parts, frames_per_part=settings.frames_per_part, stride=settings.stride,
    dt=settings.dt, settings={'level': settings.level, 'friction': settings.friction,
                              'integrator': settings.integrator},
    check=make_bond_check(system.bonds, settings.longest_bond))
  x, info = dynamics.read_run(folder)
  keep = slice(settings.burn_in_frames, None)
  return x[keep], Info(*(value[keep] for value in info)), lost


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/ala2.py')
