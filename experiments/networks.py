"""Networks against each other: as long a training each, and as dear a simulation.

The cost of a step is measured first and kept in costs.json, which a study that goes on reads.
Leaves networks.md, .json and .png, and a folder for each run (`experiments.study`).
"""

import json
import pathlib

from ml_collections import ConfigDict

from experiments import command_line, cost, markdown, study
from twoforone.trajectory import write_json


def run(config: ConfigDict, workdir: str) -> dict:
  """Runs what is missing and returns run -> seed -> numbers."""
  folder = command_line.prepare_workdir(workdir, config, may_change=('seeds',))
  costs = measure_costs(config, folder)
  changes = {name: add_budget(config, fields, costs[name])
             for name, fields in config.networks.to_dict().items()}
  heading = '\n\n'.join(['# Networks', describe(config, costs, changes)])

  def write(table):
    study.write(folder, 'networks', heading, table, study.use_figure(table))

  return study.run_all(study.make_config(config, changes), folder, write)


def measure_costs(config, folder: pathlib.Path) -> dict[str, dict[str, float]]:
  """name -> milliseconds of a training and of a simulated step, measured now or found."""
  path = folder / 'costs.json'
  if not path.exists():
    configs = {}
    for name, fields in config.networks.to_dict().items():
      configs[name] = config.ala2.copy_and_resolve_references()
      configs[name].update(fields)
    trained = cost.training_cost(configs, **config.cost)
    simulated = cost.simulation_cost(configs, **config.cost)
    write_json(path, {
      name: {'train': trained[name]['ms per step'], 'simulate': 1e3 * simulated[name]}
      for name in configs})
  return json.loads(path.read_text())


def add_budget(config, fields: dict, costs: dict[str, float]) -> dict:
  """`fields` with as many training steps and simulated parts as the minutes allow."""
  chosen = config.ala2.copy_and_resolve_references()
  chosen.update(fields)
  train, settings = chosen.train, chosen.simulate
  chunks = round(6e4 * config.training_minutes / costs['train'] / train.chunk)
  part = settings.frames_per_part * settings.stride * costs['simulate']
  least = settings.burn_in_frames // settings.frames_per_part + 1
  steps = max(chunks, 1) * train.chunk
  return fields | {
    'train': fields.get('train', {}) | {
      'num_steps': steps, 'validate_every': max(chunks // 10, 1) * train.chunk},
    'simulate': fields.get('simulate', {}) | {
      'parts': max(round(6e4 * config.simulation_minutes / part), least)}}


def describe(config, costs: dict, changes: dict) -> str:
  """What a step costs and how many the budget pays for."""
  heads = ('network', 'ms per training step', 'training steps', 'ms per simulated step',
           'ps per replica')
  rows = []
  for name, found in costs.items():
    settings = ConfigDict(config.ala2.simulate.to_dict() | changes[name]['simulate'])
    length = settings.parts * settings.frames_per_part * settings.stride * settings.dt
    rows.append((name, f'{found["train"]:.1f}', f'{changes[name]["train"]["num_steps"]:,}',
                 f'{found["simulate"]:.3f}', f'{length:.0f}'))
  return (f'{config.training_minutes:g} minutes of training at batch {config.ala2.train.batch_size}'
          f', {config.simulation_minutes:g} minutes of simulation of '
          f'{config.ala2.simulate.replicas} replicas.'
          '\n\n' + markdown.table(heads, rows))


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/networks.py')
