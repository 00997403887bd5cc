"""The force field of a model, corrected by relative entropy where `simulate.correction` asks.

Each round simulates the force field as it is, and adds what its pair distances lack; with the first
come walls where no training frame has been.
"""

import json
import pathlib

import numpy as np

from experiments import dynamics, ladders, models, report_parts, uses
from twoforone import correction, energy, reweighting, sharding
from twoforone.correction import PairCorrection
from twoforone.datasets.dataset import Split
from twoforone.evaluation import uncertainty
from twoforone.trajectory import write_json

FRAMES = 40_000  # most of a round that are reweighted
NUMBERS = 50_000_000  # most of their splines held at once
NARROWEST = 0.05  # nm: pairs of beads that move less are left out
WALL = 0.01  # nm: softer than a bond of C-alpha beads, 0.006; a time step of 4 fs bears it


def check_settings(config, system) -> None:
  """Raises ValueError for what would otherwise surface only after a round."""
  settings, ladder, beads = config.simulate.correction, config.simulate.tempering, len(system.beads)
  for name, least in (('rounds', 0), ('parts', 1), ('coefficients', 4)):
    if settings[name] < least:
      raise ValueError(f'simulate.correction.{name}: found {settings[name]}, expected at least '
                       f'{least}')
  if not settings.rounds:
    return
  if len(system.bonds) >= beads * (beads - 1) // 2:
    raise ValueError(f'simulate.correction.rounds: found {settings.rounds} for {beads} beads that '
                     'are all bonded, expected 0: there is no distance to correct')
  if config.simulate.replicas < 2:
    raise ValueError(f'simulate.correction.rounds: found {settings.rounds} for one replica, '
                     'expected 0: its penalty is chosen by replicas that it has not seen')
  if ladder.rungs > 1 and ladder.highest <= system.temperature:
    raise ValueError(f'simulate.tempering.highest: found {ladder.highest} K, expected more than '
                     f'{system.temperature} K, that of the data, at which the force field is '
                     'corrected')


def check_data(config, split: Split) -> None:
  """Raises ValueError where the training frames leave nothing to correct."""
  if config.simulate.correction.rounds:
    correction.no_correction(split.train.x[:2000], split.train.system.bonds,
                             narrowest=NARROWEST)


def refuse(config, report: str) -> None:
  """Raises ValueError for a correction that the report would not name."""
  if config.simulate.correction.rounds:
    raise ValueError(f'simulate.correction.rounds: found {config.simulate.correction.rounds}, '
                     f'expected 0: {report} is of the force field as trained')


def round_folder(folder: pathlib.Path, k: int) -> pathlib.Path:
  """Of round k, in that of the simulation."""
  return folder / f'round_{k}'


def round_config(config, split: Split):
  """The config of the simulation of a round: at the temperature of the data, nothing exported."""
  chosen = config.copy_and_resolve_references()
  settings = chosen.simulate
  settings.temperature = split.train.system.temperature
  settings.parts, settings.formats = settings.correction.parts, ()
  settings.burn_in_frames = round_burn_in(config)
  return chosen


def round_burn_in(config) -> int:
  """Frames at the start of a round that are left out: half of them."""
  return config.simulate.correction.parts * config.simulate.frames_per_part // 2


def corrected(model: models.Model, params, found: PairCorrection | None):
  """The model with the correction and the parameters of both, or as they are without one."""
  if found is None:
    return model, params
  if model.energy is not None:
    total = correction.correct_energy(model.energy)
    return model._replace(energy=total, score=energy.make_score(total)), (params, found)
  slope = energy.make_score(correction.pair_energy)
  return model._replace(score=lambda params, x, t: (
    model.score(params[0], x, t) + slope(params[1], x, t))), (params, found)


def improve(
  config, model: models.Model, split: Split, x: np.ndarray, lost: int, folder: pathlib.Path,
  before: PairCorrection | None
) -> None:
  """Writes the correction that the model needs after this round, to be read with `read_round`.

  Every simulation with it, of every process, has to have the same numbers to the last digit.

  Args:
    model: without a correction.
    x: simulated frames [F, R, n, 3] in nm of the model with that of `before`, after the burn-in.
    lost: replicas lost in that simulation.
    folder: of the round.

  Raises:
    ValueError: when fewer than two replicas of the round are sound.
  """
  sound = x[:, report_parts.sound_replicas(x)]
  if not len(x) or sound.shape[1] < 2:
    raise ValueError(f'simulate.correction: found {sound.shape[1] if len(x) else 0} sound '
                     f'replicas of {x.shape[1]} in {folder}, expected at least 2')
  if sharding.is_first():
    write_json(folder / 'correction.json',
               fit(config, model, split, sound, before) | {'replicas lost': lost})
  sharding.wait('correction')


def is_done(folder: pathlib.Path, params) -> bool:
  """Whether the round of these parameters in `folder` has left its correction."""
  return ((folder / 'correction.json').exists()
          and dynamics.stored_setting(folder, 'params') == dynamics.fingerprint(params))


def read_round(folder: pathlib.Path) -> PairCorrection:
  """The correction that the round in `folder` has left."""
  return read(folder / 'correction.json')


def read(path: pathlib.Path) -> PairCorrection:
  """The correction in a correction.json.

  Raises:
    ValueError: when it cannot be read, or lacks a field.
  """
  try:
    found = json.loads(path.read_text())
    return PairCorrection(**{
      name: np.array(found[name], np.int32 if name == 'pairs' else np.float32)
      for name in PairCorrection._fields})
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ValueError(f'{path}: cannot be read as a correction: {error!r}') from error


def read_last(config, folder: pathlib.Path) -> PairCorrection | None:
  """That of the last round of the simulation in `folder`; None for a config without one."""
  rounds = config.simulate.correction.rounds
  return read_round(round_folder(folder, rounds - 1)) if rounds else None


def fit(
  config, model: models.Model, split: Split, sound: np.ndarray, before: PairCorrection | None
) -> dict:
  """The correction and what tells how good it is, for correction.json.

  The frames of the first round have not felt its walls, which reach some in a thousand of them.

  Args as `improve`; `sound`: frames [F, R, n, 3] in nm of the sound replicas.
  """
  # Positions as the force field sees them.
  unit = uses.reading(config, model, split.train.system, config.simulate.level)['alpha']
  unit /= model.scale
  start = before or correction.no_correction(
    split.train.x * unit, split.train.system.bonds, narrowest=NARROWEST * unit,
    wall=WALL * unit, count=config.simulate.correction.coefficients)
  most = max(4, min(FRAMES, NUMBERS // start.coefficients.size))
  sound = uncertainty.evenly(sound.swapaxes(0, 1), most // 2).swapaxes(0, 1)
  frames = uncertainty.evenly(sound, most // sound.shape[1]) * unit
  replica = np.tile(np.arange(frames.shape[1]), len(frames))
  frames = frames.reshape(-1, *frames.shape[2:])
  values = correction.evaluate_splines(start, frames)
  mean, variance = correction.measure_means(start, split.train.x * unit, split.train.run)
  _, chance = correction.measure_means(start, frames, replica)
  found = reweighting.fit_correction(
    values, replica, mean, variance, chance, start.coefficients.ravel(),
    count=start.coefficients.shape[1])
  change = values @ found.coefficients
  total = start.coefficients + found.coefficients.reshape(start.coefficients.shape)
  return {
    'frames': len(frames), 'temperature [K]': split.train.system.temperature,
    'penalty': found.penalty if np.isfinite(found.penalty) else None,
    'effective share': reweighting.effective_share(change),
    'size [kT]': float(change.std()), 'training gain': found.gain(mean),
    'validation gain': found.gain(correction.mean_splines(start, split.validation.x * unit)),
    **{name: np.asarray(value).tolist()
       for name, value in start._replace(coefficients=total)._asdict().items()}}


def notes(config, folder: pathlib.Path) -> list[str]:
  """What each round did, for the report in `folder`."""
  lines = []
  for k in range(config.simulate.correction.rounds):
    found = json.loads((round_folder(folder / 'simulation', k) / 'correction.json').read_text())
    start = (f'Correction {k + 1} of the force field, by the relative entropy of its pair '
             f'distances, from {found["frames"]:,} frames of its own simulation at '
             f'{found["temperature [K]"]:g} K, {found["replicas lost"]} replicas lost')
    splines = 'no splines, for none gained anything' if found['penalty'] is None else (
      f'{found["size [kT]"]:.2f} kT wide; {found["effective share"]:.2f} of these frames are left '
      f'when they are reweighted; {found["training gain"]:+.3f} nat per training frame and '
      f'{found["validation gain"]:+.3f} per validation frame on replicas that it has not seen; '
      f'penalty {found["penalty"]:g}')
    lines.append(f'{start}: {splines}.')
  if lines:
    lines.append('With it come walls: a pair that is closer than in any training frame is pushed '
                 f'apart, by kT / 2 at {10 * WALL:g} Å further in.')
  return lines


def uncorrected(config, folder: pathlib.Path) -> dict[str, np.ndarray]:
  """The sound replicas [F, R, n, 3] in nm of the first round, by the name they have in a report."""
  if not config.simulate.correction.rounds:
    return {}
  read = ladders.read_lowest if config.simulate.tempering.rungs > 1 else dynamics.read_run
  x, _ = read(round_folder(folder / 'simulation', 0))
  x = x[round_burn_in(config):]
  x = x[:, report_parts.sound_replicas(x)]
  return {'uncorrected simulation': x} if x.size else {}
