"""Reads the arrays of one .npy or .npz file, with an error that names the file and the reason.

Everything a broken download, a killed copy or a wrong path can do ends in one ValueError.
"""

import os
import pathlib
import zipfile
import zlib

import numpy as np

Arrays = dict[str, np.ndarray]


def read(path: str | os.PathLike) -> Arrays:
  """The arrays of an .npz by field name, or that of an .npy under its file name without suffix.

  Raises:
    ValueError: for a missing file, another suffix, a file that is truncated or of another kind.
  """
  path = pathlib.Path(path)
  if path.suffix not in ('.npy', '.npz'):
    raise ValueError(f'{path}: found the suffix {path.suffix!r}, expected .npy or .npz')
  if not path.is_file():
    raise ValueError(f'{path}: no such file')
  try:
    return _load(path)
  except (zipfile.BadZipFile, EOFError, zlib.error, OSError, ValueError) as error:
    raise ValueError(f'{path}: cannot be read, it is truncated or not an {path.suffix[1:]} file '
                     f'of plain arrays ({error})') from error


def _load(path: pathlib.Path) -> Arrays:
  """np.load by the suffix, never by content, and without pickles."""
  with open(path, 'rb') as file:
    if path.suffix == '.npy':
      return {path.stem: np.lib.format.read_array(file, allow_pickle=False)}
    with zipfile.ZipFile(file):  # raises BadZipFile where np.load would try a pickle
      pass
    with np.load(file, allow_pickle=False) as archive:
      return {name: archive[name] for name in archive.files}
