"""What every experiment's command line shares: flags and the work folder."""

import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from twoforone.trajectory import write_json

ROOT = pathlib.Path(__file__).resolve().parents[1]


def start(run: Callable, default_config: str) -> None:
  """Parses --config and --workdir and calls `run(config, workdir)`: the whole of a main.

  `default_config` is relative to the repository.
  """
  with named_errors(sys.argv):
    config = config_flags.DEFINE_config_file(
      'config', str(ROOT / default_config), 'Config file, `file.py:variant`.')
  workdir = flags.DEFINE_string('workdir', None, 'Folder for everything the run leaves.')
  flags.mark_flag_as_required('workdir')

  def parse(arguments):
    with named_errors(arguments):
      return flags.FLAGS(tuple(arguments))

  def main(_) -> None:
    logging.set_verbosity(logging.WARNING)
    run(config.value, workdir.value)

  app.run(main, flags_parser=parse)


@contextlib.contextmanager
def named_errors(arguments: list[str]) -> Iterator[None]:
  """Turns what the flags raise into one line that names the field."""
  try:
    yield
  except (AttributeError, KeyError) as error:
    field = str(error).strip('\'"')
    wrong = [a for a in arguments if a.startswith('--config.') and field in a] or [field]
    raise SystemExit(f'{wrong[0]}: the config has no field {field!r}; its file lists those it has'
                     ) from None
  except (flags.Error, TypeError, ValueError) as error:
    raise SystemExit(f'error: {error}') from None


def prepare_workdir(
  workdir: str, config: ConfigDict, *, may_change: tuple[str, ...] = ()
) -> pathlib.Path:
  """Makes the folder, writes config.json into it and returns its absolute path.

  A folder that has a config.json is taken up again, so its config must be the one given: results
  of two configs in one folder could not be told apart.

  Args:
    workdir: the folder.
    config: of the run.
    may_change: fields (`a` or `a.b`) that may differ from the stored ones.

  Raises:
    ValueError: when the folder cannot be written to, or belongs to another config.
  """
  path = pathlib.Path(workdir).resolve()
  try:
    path.mkdir(parents=True, exist_ok=True)
    _check_same(path / 'config.json', config, may_change)
    write_json(path / 'config.json', config.to_dict())
  except OSError as error:
    raise ValueError(f'workdir: cannot write to {path}: {error}') from error
  return path


def _check_same(path: pathlib.Path, config: ConfigDict, may_change: tuple[str, ...]) -> None:
  """Raises ValueError at the first field in which the config differs from the stored one."""
  if not path.exists():
    return
  try:
    stored = _flatten(json.loads(path.read_text()))
  except (ValueError, AttributeError) as error:
    raise ValueError(f'{path}: cannot be read as a config: {error}') from error
  given = _flatten(json.loads(json.dumps(config.to_dict())))
  for name in sorted({*stored, *given} - set(may_change)):
    found, expected = given.get(name, 'nothing'), stored.get(name, 'nothing')
    if found != expected:
      raise ValueError(f'{name}: found {found!r}, expected {expected!r} as in {path}; '
                       'take a new --workdir for another config')


def _flatten(tree: dict, prefix: str = '') -> dict[str, object]:
  """Nested fields by their dotted names."""
  flat = {}
  for name, value in tree.items():
    flat |= _flatten(value, f'{prefix}{name}.') if isinstance(value, dict) else {
      f'{prefix}{name}': value}
  return flat
