"""Chooses the noise level at which the score is read as a force, on validation data.

Each level is simulated and scored against the validation frames: a low level is sharp but learned
from little signal, a high one is blurred by sigma. Of the levels that lose the fewest replicas and
whose JS is within two standard errors of the least, the one of sharpest bonds is named. The JS is
that of (φ, ψ) for alanine dipeptide, the mean over pair distances for another molecule. Leaves
noise_level.md, .json and .png.
"""

import functools
from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict

from experiments import (
  command_line,
  correcting,
  markdown,
  milestones,
  report_parts,
  stages,
  subject,
)
from twoforone import plots
from twoforone.evaluation import densities, structure, temperature, uncertainty
from twoforone.schedule import level_time
from twoforone.trajectory import write_json
from twoforone.units import NM_PER_ANGSTROM

GROUPS = 5  # of replicas, for the error of a JS
BONDS, TEMPERATURES = 'bond W1 [Å]', ('kinetic [K]', 'configurational [K]')
FORMATS = {'level': '{:d}', 'lost': '{:d}', **dict.fromkeys(TEMPERATURES, '{:.1f}')}  # or {:.4f}


def run(config: ConfigDict, workdir: str) -> int:
  """Simulates every level of `config.levels`; returns the level to use."""
  correcting.refuse(config, 'experiments.noise_level')
  split, js, make_feed = subject.load(config)
  system, distances = split.train.system, choose_distances(config)
  stages.check_config(config, system)
  folder = command_line.prepare_workdir(workdir, config)
  model, params = stages.get_model(config, split, system, folder / 'model', js, make_feed)
  for level in config.levels:
    level_time(model.schedule, level)  # an error now, not after the others
  samples = stages.sample(config, model, params, system, folder / 'samples')
  start = stages.choose_start(config, split, samples)
  rows = []
  for level in config.levels:
    chosen = config.copy_and_resolve_references()  # an automatic time step is of one level
    chosen.simulate.level = int(level)
    x, info, lost = stages.simulate(chosen, model, params, split, start, folder / f'level_{level}')
    sound = report_parts.sound_replicas(x)
    sigma = float(model.schedule.sigma(np.float32(level / model.schedule.num_steps)))
    scores = score_level(x[:, sound], info.kinetic[:, sound], info.virial[:, sound],
                         split.validation.x, distances) if sound.sum() >= GROUPS else {}
    rows.append({**dict.fromkeys(columns(distances), float('nan')), 'level': int(level),
                 'sigma': sigma, 'lost': report_parts.count_lost(lost), **scores})
    print(format_rows(rows[-1:]))
  (name, distance), *_ = distances.items()
  floor = distance(split.train.x, split.validation.x)
  best = choose(rows, name)
  write(folder, rows, name, floor, best)
  return best


def choose_distances(config) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
  """Name -> JS of two sets of frames; the first one is chosen by."""
  if subject.is_alanine(config):
    return {f'JS {bins}×{bins}': functools.partial(milestones.torsion_js, bins=bins)
            for bins in (60, 20)}
  return {'pair-distance JS': milestones.pair_js}


def columns(distances) -> list[str]:
  """Of the table, in order."""
  first, *others = distances
  return ['level', 'sigma', first, 'error', *others, BONDS, *TEMPERATURES, 'lost']


def score_level(x, kinetic, virial, validation, distances) -> dict[str, float]:
  """Distances of a simulation to the validation frames, and its two temperatures."""
  beads = x.shape[-2]
  scores = {name: distance(x, validation) for name, distance in distances.items()}
  first, *_ = distances.values()
  groups = [first(part, validation) for part in np.array_split(x, GROUPS, axis=1)]
  scores['error'] = float(np.std(groups, ddof=1) / np.sqrt(GROUPS))
  bonds = (structure.chain_columns(frames, 'bonds') for frames in (x, validation))
  scores[BONDS] = float(np.mean([
    densities.wasserstein(*pair) for pair in zip(*bonds, strict=True)])) / NM_PER_ANGSTROM
  measured = (temperature.kinetic_temperature(kinetic, beads),
              temperature.configurational_temperature(virial, beads))
  return scores | {name: uncertainty.estimate(values).mean
                   for name, values in zip(TEMPERATURES, measured, strict=True)}


def choose(rows: list[dict], js: str) -> int:
  """The level of sharpest bonds among those of the least JS, within two standard errors.

  Args:
    js: its column, whose standard error is `error`.

  Raises:
    ValueError: when no level kept enough replicas to be scored.
  """
  scored = [row for row in rows if np.isfinite(row[js])]
  if not scored:
    raise ValueError(f'levels: found {[row["level"] for row in rows]}, of which none kept {GROUPS} '
                     'replicas to be scored; expected higher ones or a smaller simulate.dt')
  kept = [row for row in scored if row['lost'] == min(row['lost'] for row in scored)]
  least = min(kept, key=lambda row: row[js])
  close = [row for row in kept if row[js] <= least[js] + 2 * least['error']]
  return min(close, key=lambda row: row[BONDS])['level']


def write(folder, rows: list[dict], js: str, floor: float, best: int) -> None:
  """The table as Markdown and JSON, and its curves."""
  text = (f'# Noise level\n\nBest on validation data: **{best}**. JS of training against '
          f'validation frames: {floor:.4f}.\n\n{format_rows(rows)}\n\n![curves](noise_level.png)\n')
  (folder / 'noise_level.md').write_text(text)
  write_json(folder / 'noise_level.json', {'best': best, 'floor': floor, 'rows': rows})
  column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
  panels = {
    name: {'simulation': plots.Curve(column['level'], column[name], column.get(error))}
    for name, error in ((js, 'error'), (BONDS, None), (TEMPERATURES[0], None))}
  plots.save(plots.curves(panels, x_label='noise level', y_label=list(panels)),
             folder / 'noise_level.png')
  print(text)


def format_rows(rows: list[dict]) -> str:
  return markdown.table(rows[0], (
    [FORMATS.get(name, '{:.4f}').format(value) for name, value in row.items()] for row in rows))


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/noise_level.py')
