"""What a run on alanine leaves for a person: report, tables, plots, a trajectory for viewers."""

import pathlib

import numpy as np

from experiments import evaluate, figures, report, training
from twoforone import plots, trajectory
from twoforone.datasets.dataset import Split
from twoforone.evaluation import temperature, uncertainty
from twoforone.simulate import BlowUp, Info
from twoforone.units import thermal_energy


def write_results(
  config, folder: pathlib.Path, split: Split, samples: np.ndarray, x: np.ndarray, info: Info,
  lost: list[BlowUp]
) -> list[report.Row]:
  """Scores both uses against the held-out run and writes everything into `folder`.

  Args:
    config: of the run.
    folder: the workdir.
    split: the data.
    samples: i.i.d. structures [F, n, 3] in nm.
    x: simulated frames [F, R, n, 3] in nm; NaN where a replica is lost.
    info: kinetic energy and virial of the same frames.
    lost: the replicas lost.
  """
  system, settings = split.test.system, config.simulate
  kT, interval = thermal_energy(system.temperature), settings.stride * settings.dt
  sound = np.isfinite(x).all(axis=(0, 2, 3))
  sets = {'i.i.d.': samples[np.isfinite(samples).all(axis=(1, 2))]}
  sets |= {'simulation': x[:, sound]} if sound.any() and len(x) else {}
  runs = [split.train.x[split.train.run == k] for k in np.unique(split.train.run)]
  rows = evaluate.evaluate_ala2(
    sets, reference=split.test.x, training=runs, kT=kT, seed=config.seed)
  if 'simulation' in sets:
    rows += temperature_rows(info, sound, len(system.beads), settings.temperature)
  rows += [report.Row('simulation', 'replicas lost', len(lost), reference=0.0),
           report.Row('i.i.d.', 'samples not finite', len(samples) - len(sets['i.i.d.']),
                      reference=0.0)]
  pictures = figures.ala2_figures(
    sets, reference=split.test.x, training=runs, kT=kT, system=system)
  if (folder / 'model' / 'metrics.csv').exists():
    pictures |= training_figures(training.read_metrics(folder / 'model' / 'metrics.csv'))
  if 'simulation' in sets:
    pictures['replicas'] = figures.replica_figure(x[:, sound], interval)
    trajectory.export(folder / 'trajectory.xtc', x[:, sound][:, 0], system, interval=interval)
  trajectory.export(folder / 'samples.xtc', samples[:1000], system, interval=1.0)
  report.write_report(folder, 'Alanine dipeptide: two for one', rows, pictures,
                      notes(config, split, x, lost))
  return rows


def notes(config, split: Split, x: np.ndarray, lost: list[BlowUp]) -> list[str]:
  """What was compared with what, and every replica that was lost."""
  settings = config.simulate
  frames, replicas = x.shape[:2]
  return [
    f'Held out: run {config.data.fold}, {len(split.test.x):,} frames; trained on '
    f'{len(split.train.x):,} frames of the other runs.',
    f'Simulation: {replicas} replicas, {frames} frames each after '
    f'{settings.burn_in_frames} of burn-in, {settings.stride * settings.dt:g} ps apart; level '
    f'{settings.level}, {settings.dt * 1000:g} fs, friction {settings.friction:g}/ps, '
    f'{settings.temperature:g} K, {settings.integrator}; started from '
    f'{"i.i.d. samples" if settings.start == "samples" else "training frames"}.',
    *(f'Lost: {blow_up}' for blow_up in lost)]


def temperature_rows(
  info: Info, sound: np.ndarray, num_beads: int, thermostat: float
) -> list[report.Row]:
  """Kinetic and configurational temperature of the sound replicas, with their errors."""
  kinetic = temperature.kinetic_temperature(info.kinetic[:, sound], num_beads)
  virial = temperature.configurational_temperature(info.virial[:, sound], num_beads)
  found = {'configurational temperature': uncertainty.estimate(virial)}
  if not np.isnan(kinetic).all():  # overdamped dynamics have no momenta
    found = {'kinetic temperature': uncertainty.estimate(kinetic)} | found
  return [report.Row('simulation', name, value.mean, unit='K', error=value.error,
                     reference=thermostat) for name, value in found.items()]


def training_figures(rows: list[dict]) -> dict[str, tuple[str, plots.Figure]]:
  """Name -> (caption, figure): losses, losses by noise level, JS of the milestones' samples."""
  def curve(field):
    points = [(row['step'], row[field]) for row in rows if row.get(field) is not None]
    return plots.Curve(*map(np.array, zip(*points, strict=True)))

  fields = list(rows[-1])
  sigma, js = ([name for name in fields if name.startswith(start)] for start in ('loss s', 'js '))
  figures = {'training': ('Loss over training steps.', plots.training_curve(
    {'training': curve('loss'), 'validation': curve('validation_loss')}))}
  for name, caption, chosen, label in (
      ('loss_by_sigma', 'Denoising loss of validation frames by noise level.', sigma, 'loss'),
      ('milestones', 'Of samples and short simulations against validation frames, 20×20 bins; '
       'the counting floor of so few frames is part of it.', js, 'JS(φ, ψ)')):
    if chosen:
      figures[name] = caption, plots.curves(
        {'': {field: curve(field) for field in chosen}}, x_label='training step', y_label=label,
        y_log=True)
  return figures
