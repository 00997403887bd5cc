"""The force field of a model, corrected by relative entropy where `simulate.correction` asks.

Each round simulates the force field as it is, and adds what its pair distances lack.
"""

import json
import pathlib
from collections.abc import Callable

import numpy as np

from experiments import dynamics, ladders, models, report_parts
from twoforone import correction, energy
from twoforone.datasets.dataset import Split
from twoforone.trajectory import write_json

FRAMES = 40_000  # most of a round that are reweighted
NUMBERS = 100_000_000  # most of their basis held at once


def round_folder(folder: pathlib.Path, k: int) -> pathlib.Path:
  """Of round k, in that of the simulation."""
  return folder / f'round_{k}'


def round_config(config, split: Split):
  """The config of the simulation of a round: at the temperature of the data, nothing exported."""
  chosen = config.copy_and_resolve_references()
  settings = chosen.simulate
  settings.temperature = split.train.system.temperature
  settings.parts, settings.formats = settings.correction.parts, ()
  settings.burn_in_frames = settings.parts * settings.frames_per_part // 2
  return chosen


def correct(
  config, model: models.Model, params, split: Split, x: np.ndarray, lost: int, folder: pathlib.Path
):
  """The model with its correction, and the parameters of both.

  The fit is kept in correction.json and read from there: a simulation that goes on needs the same
  numbers to the last digit.

  Args:
    x: simulated frames [F, R, n, 3] in nm of the model as it is, after the burn-in.
    lost: replicas lost in that simulation.
    folder: of the round.

  Raises:
    ValueError: when no replica of the round is sound.
  """
  train, path = split.train, folder / 'correction.json'
  splines = correction.fit_pair_splines(train.x / model.scale, train.system.bonds)
  basis = correction.make_pair_basis(splines, config.simulate.correction.coefficients)
  if not path.exists():
    sound = x[:, report_parts.sound_replicas(x)]
    if not sound.size:
      raise ValueError(f'simulate.correction: found all {x.shape[1]} replicas of {folder} lost, '
                       'expected some to correct the force field with')
    write_json(path, fit(basis, split, sound, model.scale) | {'replicas lost': lost})
  c = np.array(json.loads(path.read_text())['coefficients'], np.float32)
  added = correction.make_correction(basis)
  return add_correction(model, added), (params, c)


def add_correction(model: models.Model, added: energy.EnergyFn) -> models.Model:
  """The model whose parameters are (those of before, c)."""
  if model.energy is not None:
    corrected = correction.correct_energy(model.energy, added)
    return model._replace(energy=corrected, score=energy.make_score(corrected))
  slope = energy.make_score(added)
  return model._replace(score=lambda params, x, t: (
    model.score(params[0], x, t) + slope(params[1], x, t)))


def fit(basis, split: Split, sound: np.ndarray, scale: float) -> dict:
  """The coefficients and what tells how good they are, on training and validation frames.

  The means differ by chance too: by how the runs of the data scatter, and the replicas.
  """
  size = correction.basis_size(basis, split.train.x)
  replica = np.tile(np.arange(sound.shape[1]), len(sound))
  frames = sound.reshape(-1, *sound.shape[2:])
  count = min(len(frames), FRAMES, max(1, NUMBERS // size))
  chosen = np.linspace(0, len(frames) - 1, count).astype(int)
  frames = frames[chosen] / scale
  mean, variance = correction.measure_means(basis, split.train.x / scale, split.train.run)
  _, chance = correction.measure_means(basis, frames, replica[chosen])
  found = correction.fit_correction(
    correction.evaluate_basis(basis, frames), mean, variance + chance)
  gains = {f'{name} gain': correction.likelihood_gain(
    basis, found.coefficients, frames, part.x / scale)
    for name, part in (('training', split.train), ('validation', split.validation))}
  return {'frames': count, 'effective share': found.effective_share, 'size [kT]': found.size,
          **gains, 'coefficients': found.coefficients.tolist()}


def notes(config, folder: pathlib.Path) -> list[str]:
  """What each round did, for the report in `folder`."""
  lines = []
  for k in range(config.simulate.correction.rounds):
    path = round_folder(folder / 'simulation', k) / 'correction.json'
    found = json.loads(path.read_text())
    lines.append(
      f'Force field corrected by the relative entropy of its pair distances, from '
      f'{found["frames"]:,} frames of its own simulation: {found["size [kT]"]:.2f} kT wide, '
      f'{found["effective share"]:.2f} of the frames left when they are reweighted, '
      f'{found["training gain"]:+.3f} nat per training frame and {found["validation gain"]:+.3f} '
      f'per validation frame; {found["replicas lost"]} replicas lost in that simulation.')
  return lines


def uncorrected(config, folder: pathlib.Path) -> dict[str, np.ndarray]:
  """The sound replicas [F, R, n, 3] in nm of the first round, by the name they have in a report."""
  if not config.simulate.correction.rounds:
    return {}
  x = read_round(config, round_folder(folder / 'simulation', 0))
  x = x[:, report_parts.sound_replicas(x)]
  return {'uncorrected simulation': x} if x.size else {}


def read_round(config, folder: pathlib.Path) -> np.ndarray:
  """The second half of the frames of a round."""
  read: Callable = (ladders.read_lowest if config.simulate.tempering.rungs > 1
                    else dynamics.read_run)
  x = read(folder)[0]
  return x[len(x) // 2:]
