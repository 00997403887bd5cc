"""What every experiment's command line shares: flags and the work folder."""

import json
import pathlib

from absl import flags
from ml_collections import ConfigDict, config_flags

from twoforone.trajectory import write_atomically


def define_flags(default_config: str | None = None):
  """Defines --config and --workdir and returns their holders."""
  config = config_flags.DEFINE_config_file(
    'config', default_config, 'Config file, `file.py:variant`.')
  workdir = flags.DEFINE_string('workdir', None, 'Folder for everything the run leaves.')
  flags.mark_flags_as_required(['workdir'] + ([] if default_config else ['config']))
  return config, workdir


def prepare_workdir(workdir: str, config: ConfigDict) -> pathlib.Path:
  """Makes the folder, writes config.json into it and returns its absolute path.

  Raises:
    ValueError: when the folder cannot be made or written to.
  """
  path = pathlib.Path(workdir).resolve()
  try:
    path.mkdir(parents=True, exist_ok=True)
    write_atomically(path / 'config.json',
                     lambda file: file.write(json.dumps(config.to_dict(), indent=2).encode()))
  except OSError as error:
    raise ValueError(f'workdir: cannot write to {path}: {error}') from error
  return path
