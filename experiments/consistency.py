"""One energy for both uses: does the simulation equal the i.i.d. samples, and which term does it?

Every objective of the config is trained with every seed and scored against the held-out run; then
the training steps of all are timed in turn, and the Fokker-Planck residual of each energy is taken
on validation frames. Leaves consistency.md, .json and .png, costs.json, residual.json and .png, and
a folder for each run (`experiments.study`).
"""

import json
import pathlib

import numpy as np
from ml_collections import ConfigDict

from experiments import ala2, command_line, cost, stages, study
from experiments.residual import residual_curve
from twoforone import plots
from twoforone.datasets.ala2 import ala2_system


def run(config: ConfigDict, workdir: str) -> dict:
  """Runs what is missing and returns run -> seed -> numbers."""
  folder = command_line.prepare_workdir(workdir, config, may_change=('runs', 'seeds'))
  table = study.run_all(config, folder, lambda table: write(folder, table))
  costs = measure_costs(config, folder)
  plots.save(residual_figure(measure_residuals(config, folder)), folder / 'residual.png')
  write(folder, table, costs, '\n\n![residual](residual.png)')
  return table


def measure_costs(config, folder: pathlib.Path) -> dict[str, dict[str, float]]:
  """run -> milliseconds and GFLOP per training step, timed in turn now or found."""
  path = folder / 'costs.json'
  found = json.loads(path.read_text()) if path.exists() else {}
  trained = [name for name in config.runs if study.source(config, name) == name]
  if not set(trained) <= set(found):
    configs = {name: study.configure(config, name, 0, folder) for name in trained}
    found = cost.training_cost(configs, **config.cost)
    path.write_text(json.dumps(found, indent=2) + '\n')
  return found


def measure_residuals(config, folder: pathlib.Path) -> dict[str, dict]:
  """run -> sigma, rms and mean of its residual, of the first seed."""
  path = folder / 'residual.json'
  found = json.loads(path.read_text()) if path.exists() else {}
  for name in config.curves:
    if name in found or name not in config.runs:
      continue
    chosen = study.configure(config, name, config.seeds[0], folder)
    chosen.pretrained = str(folder / name / f'seed_{config.seeds[0]}' / 'model' / 'best')
    split = ala2.load_split(chosen)
    model, params = stages.get_model(chosen, split, ala2_system(), folder)
    x = split.validation.x
    curve = residual_curve(model, params, x[::max(1, len(x) // config.residual_frames)])
    found[name] = {field: values.tolist() for field, values in curve._asdict().items()}
    path.write_text(json.dumps(found, indent=2) + '\n')
  return found


def residual_figure(residuals: dict[str, dict]) -> plots.Figure:
  """Root mean square of R / D over sigma, its mean over frames removed."""
  named = {name: plots.Curve(np.array(curve['sigma']), np.array(curve['rms']))
           for name, curve in residuals.items()}
  return plots.curves({'': named}, x_label='sigma', y_label='Fokker-Planck residual / D',
                      x_log=True, y_log=True)


def write(folder: pathlib.Path, table: dict, costs: dict | None = None, more: str = '') -> None:
  """The table so far and the JS of both uses; in the end also the costs."""
  groups = {name: {use: study.values(seeds, column) for use, column in study.USES.items()}
            for name, seeds in table.items()}
  heading = '# One energy, two uses\n\nMean over the training seeds ± their standard deviation.'
  if costs:
    least = min(found['ms per step'] for found in costs.values())
    lines = ['| training step, timed in turn | ms | of the cheapest | GFLOP |', '|---|---|---|---|']
    lines += [f'| {name} | {found["ms per step"]:.1f} | {found["ms per step"] / least:.2f} | '
              f'{found["GFLOP per step"]:.2f} |' for name, found in costs.items()]
    heading += '\n\n' + '\n'.join(lines)
  study.write(folder, 'consistency', heading + more, table,
              plots.groups(groups, y_label=study.JS, y_log=True))


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/consistency.py')
