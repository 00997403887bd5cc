"""The force field of a finished run, for use in other programs: its correction is in it."""

import json
import pathlib
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments import correcting, stages, uses
from twoforone import checkpoint
from twoforone.system import System
from twoforone.types import ForceFn, PotentialFn


class ForceField(NamedTuple):
  """What the simulation of a run was driven by.

  Attributes:
    system: beads, masses, bonds and the temperature of the data, the only one that it is for.
    params: the first argument of both functions.
    force: (params, x[n, 3] in nm) -> [n, 3] in kJ/mol/nm.
    potential: (params, x) -> kJ/mol; None for a direct score, which has none.
  """

  system: System
  params: Any
  force: ForceFn
  potential: PotentialFn | None


def load_force_field(workdir: str) -> ForceField:
  """The force field in the folder of `experiments.ala2` or `experiments.protein`.

  Read at the run's own noise level, with the correction that its simulation ended with; neither
  the data nor the topology are needed. Jit the functions; vmap them over many configurations.

  Raises:
    ValueError: naming the file that is missing or cannot be read.
  """
  folder = pathlib.Path(workdir)
  path = folder / 'config.json'
  try:
    config = ConfigDict(json.loads(path.read_text()))
  except (OSError, ValueError) as error:
    raise ValueError(f'{path}: cannot be read as a config: {error}') from error
  source = config.pretrained or str(folder / 'model' / 'best')
  system = checkpoint.system_from_card(checkpoint.read_card(stages.find_model(source)))
  model, params = stages.load_model(source, config, system)
  model, params = correcting.corrected(
    model, params, correcting.read_last(config, folder / 'simulation'))
  options = config, model, system, config.simulate.level
  potential = None if model.energy is None else uses.make_potential(*options)
  return ForceField(system, params, uses.make_force(*options), potential)
