"""The project's own data: a file of beads, its topology, and the card that describes both.

`name.json` says how `name_beads.npz` was made and holds its sha256, so that files which do not
belong together are an error; `name.pdb` has all atoms.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / 'data'
REMAKE = 'python -m experiments.generate_ala2 --workdir=...'


def find_embedded(
  name: str, directory: str | os.PathLike = DIRECTORY
) -> tuple[dict[str, Any], pathlib.Path]:
  """The card and the bead file that it describes.

  Raises:
    ValueError: when one is missing or damaged, or they do not belong together.
  """
  card = read_card(directory, name=name)
  path = pathlib.Path(directory) / f'{name}_beads.npz'
  _check_there(path)
  found = hashlib.sha256(path.read_bytes()).hexdigest()
  if found != card['sha256']['beads']:
    raise ValueError(f'{path}: found sha256 {found}, expected {card["sha256"]["beads"]}, that of '
                     'its card; the file is damaged or not the one the card describes')
  return card, path


def read_card(directory: str | os.PathLike, *, name: str) -> dict[str, Any]:
  """How the files were made: config, force field, integrator, versions, sha256 of each file.

  Raises:
    ValueError: when the card is missing, is not JSON or lacks a field.
  """
  path = pathlib.Path(directory) / f'{name}.json'
  _check_there(path)
  try:
    card = json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(f'{path}: cannot be read as JSON ({error})') from error
  for field, part in (('config', 'temperature'), ('config', 'interval'), ('sha256', 'beads')):
    if part not in card.get(field, {}):
      raise ValueError(f'{path}: {field}.{part}: the field is missing')
  return card


def _check_there(path: pathlib.Path) -> None:
  if not path.is_file():
    raise ValueError(f'{path}: no such file; it is in the repository (clone it and install it with '
                     f'`pip install -e .`), {REMAKE!r} makes it anew')
