"""One energy for both uses: does the simulation equal the i.i.d. samples, and which term does it?

Every objective of the config is trained with every seed and scored against the held-out run; then
the training steps of all are timed in turn, and of each energy of the first seed are taken, on
validation frames, the Fokker-Planck residual and what time steps it bears, and of itself the weight
it gives the basin that dynamics seldom reach. Leaves consistency.md, .json and .png, costs.json,
energies.json, residual.png, and a folder for each run (`experiments.study`).
"""

import json
import pathlib

import numpy as np
from ml_collections import ConfigDict

from experiments import (
  ala2,
  command_line,
  cost,
  markdown,
  populations,
  residual,
  stages,
  study,
  time_steps,
  uses,
)
from twoforone import plots
from twoforone.datasets.ala2 import ala2_system
from twoforone.evaluation import structure, uncertainty
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
  """run -> of its first seed what `describe` and `residual_figure` show, measured now or found."""
  path, seed = folder / 'energies.json', config.seeds[0]
  found = json.loads(path.read_text()) if path.exists() else {}
  for name in config.runs:
    if found.get(name, {}).get('seed') == seed:
      continue
    chosen = study.configure(config, name, seed, folder)
    chosen.pretrained = str(study.model_folder(folder, study.source(config, name), seed) / 'best')
    split, system = ala2.load_split(chosen), ala2_system()
    model, params = stages.get_model(chosen, split, system, folder)
    x = uncertainty.evenly(split.validation.x, config.frames)
    curve = residual.residual_curve(model, params, x)
    quarter = uses.automatic_dt(chosen, model, system, params, x)
    found[name] = {'seed': seed} | {
      field: values.tolist() for field, values in curve._asdict().items()}
    found[name]['stable step [fs]'] = 4e3 * quarter
    found[name]['time steps'] = time_steps.measure_steps(
      chosen, model, params, system,
      uncertainty.evenly(split.validation.x, chosen.simulate.replicas), config.time_steps)
    if chosen.simulate.level == 0:  # the one at which the density of the flow is known
      found[name]['P(φ > 0)'] = populations.energy_population(
        model, params, phi_positive, len(system.beads), **config.population)._asdict()
    write_json(path, found)
  return {name: row for name, row in found.items() if row.get('seed') == seed}


def phi_positive(x: np.ndarray) -> np.ndarray:
  """Which frames are in the basin that dynamics seldom reach."""
  return structure.basins(structure.phi_psi(x))['phi_positive']


def residual_figure(config, energies: dict[str, dict]) -> plots.Figure:
  """The residuals of the energies that the config names."""
  return residual.figure({
    name: Curve(*(np.array(energies[name][field]) for field in Curve._fields))
    for name in config.curves if name in energies})


def describe(costs: dict, energies: dict) -> str:
  """What a training step costs, what time steps the energy bears, and its own P(φ > 0)."""
  least = min(found['ms per step'] for found in costs.values())
  steps = list(dict.fromkeys(step for found in energies.values()
                             for step in found.get('time steps', {})))
  heads = ['run', 'ms per training step', 'of the cheapest', 'GFLOP', 'P(φ > 0) of the energy',
           'effective share', 'largest stable step [fs]', *(f'{step} fs' for step in steps)]
  rows = []
  for name, found in energies.items():
    cost = costs.get(name, {})
    share, own = found.get('P(φ > 0)', {}), found.get('time steps', {})
    cells = [f'{cost["ms per step"]:.1f}', f'{cost["ms per step"] / least:.2f}',
             f'{cost["GFLOP per step"]:.2f}'] if cost else [''] * 3
    cells += [f'{share["share"]:.4f} ± {share["error"]:.4f}',
              f'{share["effective_share"]:.2f}'] if share else [''] * 2
    cells.append(f'{found["stable step [fs]"]:.1f}')
    cells += [describe_step(own[step]) if step in own else '' for step in steps]
    rows.append((name, *cells))
  return ('\n\nOf the first seed. Training steps were timed in turn in one run. P(φ > 0) of the '
          'energy: from the density of its own flow, weighed by exp(-energy), no dynamics; '
          'effective share: of the samples behind it. The largest stable step is 2 / ω of the '
          'stiffest mode at validation frames; for each time step tried, the replicas lost and '
          'the width of bonds relative to validation frames.\n\n' + markdown.table(heads, rows)
          + '\n\n![residual](residual.png)')


def describe_step(found: dict) -> str:
  """How many replicas were lost with a time step, and how wide bonds are in the others."""
  width = '' if found['bond width'] is None else f', {found["bond width"]:.2f}'
  return f'{found["lost"]} of {found["replicas"]}{width}'


def write(folder: pathlib.Path, table: dict, more: str = '') -> None:
  """The table so far and the JS of both uses; in the end also what was measured of each energy."""
  heading = '# One energy, two uses\n\nMean over the training seeds ± their standard deviation.'
  study.write(folder, 'consistency', heading + more, table, study.use_figure(table))


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/consistency.py')
