"""What the reports of all molecules share: notes, temperatures, losses and the sets to score."""

import json
import pathlib

import numpy as np

from experiments import report, training
from twoforone import plots
from twoforone.datasets.dataset import Split
from twoforone.evaluation import temperature, uncertainty
from twoforone.simulate import BlowUp, Info
from twoforone.tempering import LostCopy


def sound_sets(samples: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
  """The finite samples [F, n, 3] and the replicas [F, R, n, 3] that were never lost, by name."""
  sound, sets = sound_replicas(x), {'i.i.d.': finite_samples(samples)}
  if sound.any() and len(x):
    sets['simulation'] = x if sound.all() else x[:, sound]
  return sets


def finite_samples(samples: np.ndarray) -> np.ndarray:
  """Those of [F, n, 3] without NaN or infinity; not copied where nothing is left out."""
  finite = np.isfinite(samples.sum(axis=(1, 2)))
  return samples if finite.all() else samples[finite]


def sound_replicas(x: np.ndarray) -> np.ndarray:
  """Which replicas of [F, R, n, 3] are finite throughout, [R]."""
  return np.isfinite(x.sum(axis=(0, 2, 3)))


def count_lost(lost: list[BlowUp] | list[LostCopy]) -> int:
  """How many replicas were lost, of ladders those that were on the lowest rung."""
  return sum(not isinstance(record, LostCopy) or record.rung == 0 for record in lost)


def count_rows(
  lost: list[BlowUp] | list[LostCopy], num_samples: int, finite: int
) -> list[report.Row]:
  """How many replicas and copies were lost, and how many samples are not finite."""
  replicas = count_lost(lost)
  above = len(lost) - replicas
  rows = [report.Row('simulation', 'replicas lost', replicas, reference=0.0)]
  if above:  # their ladders are cut there, what is reported is sound
    rows.append(report.Row('simulation', 'copies lost on higher rungs', above, reference=0.0))
  return [*rows, report.Row('i.i.d.', 'samples not finite', num_samples - finite, reference=0.0)]


def notes(
  config, folder: pathlib.Path, split: Split, x: np.ndarray,
  lost: list[BlowUp] | list[LostCopy], held_out: str, others: str = 'of the other runs'
) -> list[str]:
  """What was compared with what, how tempering went, and every replica that was lost.

  Args:
    held_out: what the test part is.
    others: where the frames of the training part are from.
  """
  settings = config.simulate
  frames, replicas = x.shape[:2]
  # Of frames on disk only a bounded number is looked at here.
  use = 'compared with' if config.data.get('kind') == 'shards' else 'trained on'
  return [
    f'Held out: {held_out}, {len(split.test.x):,} frames; {use} '
    f'{len(split.train.x):,} frames {others}.',
    *resampling_notes(config.sample), *corrector_notes(config),
    f'Simulation: {replicas} replicas, {frames} frames each after '
    f'{settings.burn_in_frames} of burn-in, {settings.stride * settings.dt:g} ps apart; level '
    f'{settings.level}, {settings.dt * 1000:g} fs, friction {settings.friction:g}/ps, '
    f'{settings.temperature:g} K, {settings.integrator}; started from '
    f'{"samples" if settings.start == "samples" else "training frames"}.',
    *tempering_notes(config, folder), *metropolis_notes(folder),
    *(f'Lost: {blow_up}' for blow_up in lost)]


def resampling_notes(settings) -> list[str]:
  """That samples depend on each other, where they do."""
  if settings.kind != 'resampled':
    return []
  return [f'Samples: populations of {settings.batch_size:,}, drawn again by the energies of the '
          f'noise levels above sigma {settings.resample_above:g}; those of one are not independent '
          'of each other. Errors are between tenths of the samples, in the order drawn.']


def corrector_notes(config) -> list[str]:
  """How far the force field moved the samples, where it did."""
  steps, friction = config.sample.corrector_steps, config.sample.corrector_friction
  if not steps:
    return []
  return [f'Samples were then moved by {steps} Langevin steps at level 0, friction '
          f'{friction:g}/ps.']


def tempering_notes(config, folder: pathlib.Path) -> list[str]:
  """The ladder, its acceptance and its round trips, where there is one."""
  ladder = config.simulate.tempering
  if ladder.rungs < 2:
    return []
  found = json.loads((folder / 'simulation' / 'tempering.json').read_text())
  summary = '; '.join(f'{name}: {value}' for name, value in found.items())
  return ['The lowest rung of parallel tempering, an exchange every '
          f'{ladder.exchange_every} steps; {summary}.']


def metropolis_notes(folder: pathlib.Path) -> list[str]:
  """How many steps were accepted, where they could be rejected."""
  path = folder / 'simulation' / 'metropolis.json'
  if not path.exists():
    return []
  share = json.loads(path.read_text())['accepted steps']
  return [f'Of the Metropolis steps {share:.4f} were accepted.'] if share is not None else []


def thermal_rows(
  info: Info, sound: np.ndarray, num_beads: int, thermostat: float
) -> list[report.Row]:
  """Temperatures and mean potential energy of the sound replicas, with their errors."""
  kinetic = temperature.kinetic_temperature(info.kinetic[:, sound], num_beads)
  virial = temperature.configurational_temperature(info.virial[:, sound], num_beads)
  found = {'configurational temperature': uncertainty.estimate(virial)}
  if not np.isnan(kinetic).all():  # overdamped dynamics have no momenta
    found = {'kinetic temperature': uncertainty.estimate(kinetic)} | found
  rows = [report.Row('simulation', name, value.mean, unit='K', error=value.error,
                     reference=thermostat) for name, value in found.items()]
  if not np.isnan(info.potential).all():  # a direct score has none
    energy = uncertainty.estimate(info.potential[:, sound])
    rows.append(report.Row('simulation', 'potential energy, up to a constant', energy.mean,
                           'kJ/mol', error=energy.error))
  return rows


def training_figures(path: pathlib.Path) -> dict[str, tuple[str, plots.Figure]]:
  """Name -> (caption, figure): losses, losses by noise level, JS of the milestones' samples.

  None where the metrics.csv of `path` is absent: the model was not trained in this run.
  """
  rows = training.read_metrics(path)
  if not rows:
    return {}

  def curve(field):
    points = [(row['step'], row[field]) for row in rows if row.get(field) is not None]
    return plots.Curve(*map(np.array, zip(*points, strict=True)))

  fields = list(rows[-1])
  sigma, js = ([name for name in fields if name.startswith(start)] for start in ('loss s', 'js '))
  figures = {'training': ('Loss over training steps.', plots.training_curve(
    {'training': curve('loss'), 'validation': curve('validation_loss')}))}
  for name, caption, chosen, label in (
      ('loss_by_sigma', 'Denoising loss of validation frames by noise level.', sigma, 'loss'),
      ('milestones', 'Of samples and short simulations against validation frames; the counting '
       'floor of so few frames is part of it.', js, 'JS')):
    if chosen:
      figures[name] = caption, plots.curves(
        {'': {field: curve(field) for field in chosen}}, x_label='training step', y_label=label,
        y_log=True)
  return figures
