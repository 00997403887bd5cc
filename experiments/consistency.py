"""One energy for both uses: does the simulation equal the i.i.d. samples, and which term does it?

Every objective of the config is trained with every seed and scored against the held-out run; then
the training steps of all are timed in turn, and each energy's Fokker-Planck residual and largest
stable time step are taken on validation frames. Leaves consistency.md, .json and .png, costs.json,
energies.json, residual.png, and a folder for each run (`experiments.study`).
"""

import json
import pathlib

import numpy as np
from ml_collections import ConfigDict

from experiments import ala2, command_line, cost, residual, stages, study, uses
from twoforone import plots
from twoforone.datasets.ala2 import ala2_system
from twoforone.losses.fokker_planck import Curve
from twoforone.trajectory import write_json


def run(config: ConfigDict, workdir: str) -> dict:
  """Runs what is missing and returns run -> seed -> numbers."""
  folder = command_line.prepare_workdir(workdir, config, may_change=('runs', 'seeds', 'curves'))
  table = study.run_all(config, folder, lambda table: write(folder, table))
  costs = measure_costs(config, folder)
  energies = measure_energies(config, folder)
  plots.save(residual_figure(config, energies), folder / 'residual.png')
  write(folder, table, describe(costs, energies))
  return table


def measure_costs(config, folder: pathlib.Path) -> dict[str, dict[str, float]]:
  """run -> milliseconds and GFLOP per training step, timed in turn now or found."""
  path = folder / 'costs.json'
  found = json.loads(path.read_text()) if path.exists() else {}
  trained = [name for name in config.runs if study.source(config, name) == name]
  if not set(trained) <= set(found):
    configs = {name: study.configure(config, name, 0, folder) for name in trained}
    found = cost.training_cost(configs, **config.cost)
    write_json(path, found)
  return found


def measure_energies(config, folder: pathlib.Path) -> dict[str, dict]:
  """run -> its residual over sigma and its largest stable step [fs], of the first seed."""
  path, seed = folder / 'energies.json', config.seeds[0]
  found = json.loads(path.read_text()) if path.exists() else {}
  for name in config.runs:
    if name in found:
      continue
    chosen = study.configure(config, name, seed, folder)
    chosen.pretrained = str(study.model_folder(folder, study.source(config, name), seed) / 'best')
    split, system = ala2.load_split(chosen), ala2_system()
    model, params = stages.get_model(chosen, split, system, folder)
    x = split.validation.x[::max(1, len(split.validation.x) // config.frames)]
    curve = residual.residual_curve(model, params, x)
    quarter = uses.automatic_dt(chosen, model, system, params, x)
    found[name] = {field: values.tolist() for field, values in curve._asdict().items()}
    found[name]['stable step [fs]'] = 4e3 * quarter
    write_json(path, found)
  return found


def residual_figure(config, energies: dict[str, dict]) -> plots.Figure:
  """The residuals of the energies that the config names."""
  return residual.figure({
    name: Curve(*(np.array(energies[name][field]) for field in Curve._fields))
    for name in config.curves if name in energies})


def describe(costs: dict, energies: dict) -> str:
  """What a training step costs, timed in turn, and how long a time step the energy bears."""
  least = min(found['ms per step'] for found in costs.values())
  lines = ['| run | ms per training step | of the cheapest | GFLOP | largest stable step [fs] |',
           '|---|---|---|---|---|']
  for name, found in costs.items():
    step, flop = found['ms per step'], found['GFLOP per step']
    lines.append(f'| {name} | {step:.1f} | {step / least:.2f} | {flop:.2f} | '
                 f'{energies[name]["stable step [fs]"]:.1f} |')
  return ('\n\nTraining steps were timed in turn in one run. The stable step is 2 / ω of the '
          'stiffest mode at validation frames.\n\n' + '\n'.join(lines)
          + '\n\n![residual](residual.png)')


def write(folder: pathlib.Path, table: dict, more: str = '') -> None:
  """The table so far and the JS of both uses; in the end also what was measured of each energy."""
  heading = '# One energy, two uses\n\nMean over the training seeds ± their standard deviation.'
  study.write(folder, 'consistency', heading + more, table, study.use_figure(table))


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/consistency.py')
