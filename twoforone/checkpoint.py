"""Saving and restoring a pytree with orbax, and the card without which weights mean nothing.

A checkpoint is a folder named by its step; it appears by a rename once it is complete, so a kill
leaves the one before. Arrays are stored by their path in the tree, typed PRNG keys as their data,
nothing about devices: restore on any number of them. This is the only importer of orbax.
"""

import json
import os
import pathlib
import re
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp

from twoforone.system import System

UNITS = 'nm, ps, amu, kJ/mol, K, rad'
CARD_FIELDS = ('system', 'schedule', 't', 'level', 'kT', 'scale', 'config', 'units')


def save(directory: str | os.PathLike, step: int, tree, *, keep: int | None = None) -> None:
  """Saves the tree as `step`, replacing a checkpoint of the same step.

  Args:
    directory: of all checkpoints of one run; made when it is missing.
    step: names the checkpoint, not negative.
    tree: a pytree of arrays; typed keys are allowed.
    keep: remove the oldest beyond this many; None keeps all.

  Raises:
    ValueError: for a negative step, or when the folder cannot be written (the disk is full for
      example); the checkpoints before it are whole.
  """
  if step < 0:
    raise ValueError(f'step: found {step}, expected zero or a positive number')
  directory = pathlib.Path(directory).absolute()
  arrays = {name: value for name, value in _to_arrays(tree).items() if value.size}
  versions = [version for s, version, _ in _checkpoints(directory) if s == step]
  name = f'{step}.{max(versions) + 1}' if versions else f'{step}'
  try:
    directory.mkdir(parents=True, exist_ok=True)
    _checkpointer().save(directory / name, args=ocp.args.PyTreeSave(arrays))
  except Exception as error:  # orbax raises many kinds, and adds pages after the reason
    reason = str(error).partition(' [os_error_code')[0]
    raise ValueError(f'directory: cannot write to {directory}: {reason}') from error
  complete = _checkpoints(directory)
  newest = {s: path for s, _, path in complete}
  kept = list(newest.values())[-(keep or len(newest)):]
  for _, _, path in complete:
    if path not in kept and jax.process_index() == 0:  # of several processes one tidies up
      shutil.rmtree(path)


def restore(directory: str | os.PathLike, like, step: int | None = None):
  """The tree saved as `step`, with the structure, types and placement of `like`.

  Args:
    directory: given to `save`.
    like: a tree of arrays, or of shapes and types from `jax.eval_shape`.
    step: None for the newest.

  Raises:
    ValueError: when there is no such checkpoint, or its tree differs from `like`.
  """
  directory = pathlib.Path(directory).absolute()
  newest = {s: path for s, _, path in _checkpoints(directory)}
  step = max(newest, default=None) if step is None else step
  if step not in newest:
    wanted = 'at least one' if step is None else step
    raise ValueError(f'{directory}: found checkpoints {sorted(newest)}, expected {wanted}')
  try:
    arrays = _checkpointer().restore(newest[step])
  except Exception as error:
    raise ValueError(f'{newest[step]}: cannot be read, is it complete? {error}') from error
  leaves, structure = jax.tree_util.tree_flatten_with_path(like)
  expected = {_name(path): leaf for path, leaf in leaves}
  different = set(arrays) ^ {name for name, leaf in expected.items() if leaf.size}
  if different:
    raise ValueError(
      f'{newest[step]}: the tree differs from the expected one at {sorted(different)[:6]}')
  return structure.unflatten(
    [_like(newest[step], name, arrays.get(name), leaf) for name, leaf in expected.items()])


def latest_step(directory: str | os.PathLike) -> int | None:
  """The newest complete checkpoint's step; None when there is none."""
  return max((step for step, _, _ in _checkpoints(pathlib.Path(directory))), default=None)


def system_card(system: System) -> dict:
  """The part of a card that says which molecule the weights are for."""
  return {
    'name': system.name, 'beads': list(system.beads),
    'species': np.asarray(system.species).tolist(), 'mass': np.asarray(system.mass).tolist(),
    'bonds': np.asarray(system.bonds).tolist(), 'temperature': system.temperature}


def system_from_card(card: dict) -> System:
  """The molecule that the weights beside the card are for."""
  found = card['system']
  return System(
    found['name'], tuple(found['beads']), np.array(found['species'], np.int32),
    np.array(found['mass'], np.float64), np.array(found['bonds'], np.int32).reshape(-1, 2),
    found['temperature'])


def write_card(directory: str | os.PathLike, card: dict) -> None:
  """Writes card.json beside the checkpoints; `units` is added.

  Args:
    directory: given to `save`.
    card: `system` (see `system_card`), `schedule`, `t` and `level` of the force, `kT` of the data
      [kJ/mol], `scale` [nm], `config`.

  Raises:
    ValueError: when a field is missing.
    OSError: naming the file, when it cannot be written.
  """
  card = {**card, 'units': UNITS}
  _check_fields('card', card)
  directory = pathlib.Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  temporary = directory / '.card.json'
  text = json.dumps(card, indent=2, default=lambda a: np.asarray(a).tolist())
  try:
    temporary.write_text(text + '\n')
  except OSError as error:
    temporary.unlink(missing_ok=True)
    raise OSError(f'{directory / "card.json"}: cannot be written ({error})') from error
  os.replace(temporary, directory / 'card.json')


def read_card(directory: str | os.PathLike) -> dict:
  """The card beside the checkpoints.

  Raises:
    ValueError: when it is missing, is not JSON or lacks a field.
  """
  path = pathlib.Path(directory) / 'card.json'
  try:
    card = json.loads(path.read_text())
  except (OSError, json.JSONDecodeError) as error:
    raise ValueError(f'{path}: cannot be read: {error}') from error
  _check_fields(path, card)
  return card


def check_card(card: dict, system: System) -> None:
  """Checks that the weights are for this system, at its temperature: energies are in its kT.

  Raises:
    ValueError: naming the first of name, beads, species, mass, temperature and units that differs.
  """
  expected = system_card(system)
  for field in ('name', 'beads', 'species', 'mass', 'temperature'):
    found = card['system'].get(field)
    if found != expected[field]:
      raise ValueError(
        f'checkpoint of another system: {field}: found {found}, expected {expected[field]}')
  if card['units'] != UNITS:
    raise ValueError(f'units: found {card["units"]}, expected {UNITS}')


def _check_fields(where, card) -> None:
  missing = [field for field in CARD_FIELDS if field not in card]
  if missing:
    raise ValueError(f'{where}: found no {", ".join(missing)}, expected {", ".join(CARD_FIELDS)}')


def _checkpointer() -> ocp.Checkpointer:
  return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())


def _checkpoints(directory: pathlib.Path) -> list[tuple[int, int, pathlib.Path]]:
  """(step, version, folder) of every complete checkpoint, oldest first."""
  found = [(re.fullmatch(r'(\d+)(?:\.(\d+))?', path.name), path)
           for path in directory.glob('[0-9]*')]
  return sorted((int(match[1]), int(match[2] or 0), path) for match, path in found if match)


def _name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='.') or 'tree'


def _is_key(leaf) -> bool:
  return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_arrays(tree) -> dict[str, np.ndarray]:
  leaves = {_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
  return {name: np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
          for name, leaf in leaves.items()}


def _like(path, name: str, value, leaf):
  """`value` (None: an empty array, which is not stored) as an array of the kind of `leaf`."""
  if _is_key(leaf):
    impl = jax.random.key_impl(leaf) if isinstance(leaf, jax.Array) else None
    value = jax.random.wrap_key_data(np.asarray(value), impl=impl)
  else:
    value = np.zeros(leaf.shape, leaf.dtype) if value is None else np.asarray(value)
  if (value.shape, value.dtype) != (leaf.shape, leaf.dtype):
    raise ValueError(f'{path}: {name}: found {value.dtype}{list(value.shape)}, '
                     f'expected {leaf.dtype}{list(leaf.shape)}')
  if isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1:
    return jax.device_put(value, leaf.sharding)
  return value if _is_key(leaf) else jax.numpy.asarray(value)
