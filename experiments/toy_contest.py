"""The comparison on a toy: its methods, how a row is made, and what the table and figure show."""

import pathlib
import re

import jax
import numpy as np

from experiments import figures_compare, toy_methods, toys
from twoforone import plots
from twoforone.evaluation import profiles

METHODS = toy_methods.METHODS
COLUMNS = {
  'rms_4': '{:.3f}', 'rms_6': '{:.3f}', 'rms_8': '{:.3f}', 'below_4': '{:.3f}',
  'above_4': '{:.3f}', 'difference': '{:.3f}', 'weight_above': '{:.4f}',
  'sampled above': '{:.4f}', 'simulated above': '{:.4f}', 'simulated rms_4': '{:.3f}',
  'force error': '{:.3f}', 'kl': '{:.5f}', 'nll': '{:.4f}',
  'seconds': '{:.0f}', 'evaluations': '{:.3g}'}
LEGEND = """\
Energies in kT. rms_4, rms_6, rms_8: of the free energy where the exact one is below 4, 6, 8 kT,
means there made equal; below_4, above_4: the same within either side of the barrier at {barrier:g}.
difference: free energy above minus below it (exact {difference:.3f}); weight_above: of the learned
density (exact {weight:.4f}); sampled above: of as many draws; simulated above, simulated rms_4: of
chains on the learned energy that begin on training draws, too short to cross the barrier. force
error: root mean square over that of the exact mean force. kl, nll [nat]; nll on {frames:,} test
draws. seconds: of training and sampling with compilation, measured beside whatever else ran;
evaluations: of forces of the model that training simulated. Mean over the seeds ± their standard
deviation; every method has the same {frames:,} draws, a fifth of them for validation. {figure}: the
potential and, along its white line, the free energy of the Boltzmann generators. Metropolis data:
the negative control, 2,000 frames of short trajectories from each basin in place of the draws;
equal counts, so a difference near 0. figure_resampling: of each update of relative entropy the
share of its weighted samples below the barrier, and the force evaluations up to it."""
FIGURES = {'double_well': 'figure_1', 'mueller': 'figure_2'}


def make_world(config, seed: int) -> toys.Problem:
  """The draws of a seed and the exact answer."""
  return toys.make_problem(config.system, config.frames, seed)


def run_method(config, world: toys.Problem, name: str, seed: int, folder: pathlib.Path):
  """(numbers, arrays) of a row; nothing of a toy is long enough to be kept in `folder`."""
  del folder
  found = METHODS[name](config, world, jax.random.key(seed))
  return toys.score(world, found), {
    's': world.exact.s, 'energy': found.energy} | (found.arrays or {})


def describe(config, world: toys.Problem) -> tuple[str, str]:
  """Title and legend."""
  weight = profiles.weight_above(world.exact.s, world.exact.energy, world.barrier)
  return config.system.replace('_', ' ').capitalize(), LEGEND.format(
    barrier=world.barrier, difference=profiles.basin_difference(weight), weight=weight,
    frames=config.frames, figure=FIGURES[config.system])


def draw(
  config, world: toys.Problem, arrays: dict[str, dict[str, np.ndarray]]
) -> dict[str, plots.Figure]:
  """By file: free energies of every method's first seed, and the figure of Boltzmann generators.

  The updates of relative entropy too, where a row has kept them.
  """
  families, curve = {}, figures_compare.toy_curve
  exact = curve(world.exact.s, world.exact.energy)
  for name, found in arrays.items():
    family = families.setdefault(re.split(r'[ ,]', name)[0], {'exact': exact})
    family[name] = curve(found['s'], found['energy'])
  generators = {name: found for name, found in families.get('BG-REM', {'exact': exact}).items()
                if not name.endswith((toy_methods.CONTROL, toy_methods.SEVERAL))}
  figures = {'compare': plots.curves(families, x_label='s', y_label='free energy [kT]'),
             FIGURES[config.system]: figures_compare.toy_figure(
               toys.define(config.system), generators)}
  logs = {name: found for name, found in arrays.items() if 'population' in found}
  if logs:
    below = 1 - profiles.weight_above(world.exact.s, world.exact.energy, world.barrier)
    figures['figure_resampling'] = figures_compare.resampling_figure(logs, below)
  return figures
