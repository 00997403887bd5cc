"""Chooses the noise level at which the score is read as a force, on validation data.

Each level is simulated and scored against the validation frames: a low level is sharp but learned
from little signal, a high one is blurred by sigma. Of the levels that lose the fewest replicas and
whose JS(φ, ψ) is within two standard errors of the least, the one of sharpest bonds is named.
Leaves noise_level.md, .json and .png.
"""


import numpy as np
from ml_collections import ConfigDict

from experiments import ala2, command_line, correcting, report_parts, stages
from twoforone import plots
from twoforone.datasets.ala2 import ala2_system
from twoforone.evaluation import densities, structure, temperature, uncertainty
from twoforone.trajectory import write_json
from twoforone.units import NM_PER_ANGSTROM

GROUPS = 5  # of replicas, for the error of a JS
COLUMNS = {
  'level': '{:d}', 'sigma': '{:.4f}', 'JS 60×60': '{:.4f}', 'error': '{:.4f}', 'JS 20×20': '{:.4f}',
  'bond W1 [Å]': '{:.4f}', 'kinetic [K]': '{:.1f}', 'configurational [K]': '{:.1f}', 'lost': '{:d}'}


def run(config: ConfigDict, workdir: str) -> int:
  """Simulates every level of `config.levels`; returns the level to use."""
  correcting.refuse(config, 'experiments.noise_level')
  folder = command_line.prepare_workdir(workdir, config)
  system = ala2_system()
  split = ala2.load_split(config)
  model, params = stages.get_model(config, split, system, folder / 'model')
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
                         split.validation.x) if sound.sum() >= GROUPS else {}
    rows.append({**dict.fromkeys(COLUMNS, float('nan')), 'level': int(level), 'sigma': sigma,
                 'lost': report_parts.count_lost(lost), **scores})
    print(format_rows(rows[-1:]))
  floor = structure_floor(split)
  best = choose(rows)
  write(folder, rows, floor, best)
  return best


def score_level(x, kinetic, virial, validation) -> dict[str, float]:
  """Distances of a simulation to the validation frames, and its two temperatures."""
  found, expected = structure.internal_coordinates(x), structure.internal_coordinates(validation)
  beads = x.shape[-2]

  def js(torsions, bins):
    return densities.torsion_js(torsions, expected.dihedrals, bins)

  scores = {f'JS {bins}×{bins}': js(found.dihedrals, bins) for bins in (60, 20)}
  groups = [js(part, 60) for part in np.array_split(found.dihedrals, GROUPS, axis=1)]
  scores['error'] = float(np.std(groups, ddof=1) / np.sqrt(GROUPS))
  scores['bond W1 [Å]'] = float(np.mean([
    densities.wasserstein(found.bonds[..., k], expected.bonds[..., k])
    for k in range(beads - 1)])) / NM_PER_ANGSTROM
  scores['kinetic [K]'] = uncertainty.estimate(
    temperature.kinetic_temperature(kinetic, beads)).mean
  scores['configurational [K]'] = uncertainty.estimate(
    temperature.configurational_temperature(virial, beads)).mean
  return scores


def structure_floor(split) -> float:
  """JS 60×60 between the training and the validation frames."""
  return densities.torsion_js(*map(structure.phi_psi, (split.train.x, split.validation.x)))


def choose(rows: list[dict]) -> int:
  """The level of sharpest bonds among those of the least JS, within two standard errors.

  Raises:
    ValueError: when no level kept enough replicas to be scored.
  """
  scored = [row for row in rows if np.isfinite(row['JS 60×60'])]
  if not scored:
    raise ValueError(f'levels: found {[row["level"] for row in rows]}, of which none kept {GROUPS} '
                     'replicas to be scored; expected higher ones or a smaller simulate.dt')
  kept = [row for row in scored if row['lost'] == min(row['lost'] for row in scored)]
  least = min(kept, key=lambda row: row['JS 60×60'])
  close = [row for row in kept if row['JS 60×60'] <= least['JS 60×60'] + 2 * least['error']]
  return min(close, key=lambda row: row['bond W1 [Å]'])['level']


def write(folder, rows: list[dict], floor: float, best: int) -> None:
  """The table as Markdown and JSON, and its curves."""
  text = (f'# Noise level\n\nBest on validation data: **{best}**. JS of training against '
          f'validation frames: {floor:.4f}.\n\n{format_rows(rows)}\n\n![curves](noise_level.png)\n')
  (folder / 'noise_level.md').write_text(text)
  write_json(folder / 'noise_level.json', {'best': best, 'floor': floor, 'rows': rows})
  column = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
  panels = {
    name: {'simulation': plots.Curve(column['level'], column[name], column.get(error))}
    for name, error in (('JS 60×60', 'error'), ('bond W1 [Å]', None), ('kinetic [K]', None))}
  plots.save(plots.curves(panels, x_label='noise level', y_label=list(panels)),
             folder / 'noise_level.png')
  print(text)


def format_rows(rows: list[dict]) -> str:
  lines = [COLUMNS, ['---'] * len(COLUMNS)]
  lines += [[form.format(row[name]) for name, form in COLUMNS.items()] for row in rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/noise_level.py')
