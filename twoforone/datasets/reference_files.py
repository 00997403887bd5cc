"""The reference histograms that Arts et al. (2023) saved beside their code, as plain arrays.

Four kinds: dihedrals of alanine dipeptide, and pair distances, RMSD and TICA of the fast folders.
Lengths are converted from Å to nm; `convert` writes an .npz.
"""

import os
from typing import Any

import numpy as np

from twoforone import units
from twoforone.datasets.plain_pickle import Named, read_pickle

Arrays = dict[str, np.ndarray]


def read_dihedrals(path: str | os.PathLike) -> Arrays:
  """probability [60, 60] over (phi, psi) in [-pi, pi], sums to one.

  Raises:
    ValueError: for a damaged file, another shape or sum.
  """
  found = read_pickle(path)
  if getattr(found, 'shape', None) != (60, 60) or abs(found.sum() - 1) > 1e-6:
    raise ValueError(f'{path}: found {_describe(found)}, expected a density [60, 60] that sums to '
                     'one')
  return {'probability': found}


def read_pair_distances(path: str | os.PathLike) -> Arrays:
  """longest [pairs] in nm, counts of all pairs one after the other, bins [pairs].

  The counts of pair k are `np.split(counts, np.cumsum(bins)[:-1])[k]`, over its distances from
  zero to `longest[k]`.

  Raises:
    ValueError: for a damaged file or missing fields.
  """
  found = _fields(path, read_pickle(path), ('gt_max', 'gt_hist'))
  counts = [np.asarray(pair) for pair in found['gt_hist']]
  if len(counts) != len(found['gt_max']) or any(pair.ndim != 1 for pair in counts):
    raise ValueError(f'{path}: gt_hist: found {len(counts)} histograms, expected one for each of '
                     f'{len(found["gt_max"])} pairs')
  return {'longest': units.NM_PER_ANGSTROM * found['gt_max'], 'counts': np.concatenate(counts),
          'bins': np.array([len(pair) for pair in counts])}


def read_rmsd(path: str | os.PathLike) -> Arrays:
  """rmsd [100] in nm, the centres of bins, and free energy [100] in kT, infinite where empty.

  Raises:
    ValueError: for a damaged file or missing fields.
  """
  found = _fields(path, read_pickle(path), ('bin_mids', 'energies'))
  if np.shape(found['bin_mids']) != np.shape(found['energies']):
    raise ValueError(f'{path}: energies: found shape {np.shape(found["energies"])}, expected '
                     f'{np.shape(found["bin_mids"])}, that of bin_mids')
  return {'rmsd': units.NM_PER_ANGSTROM * np.asarray(found['bin_mids']),
          'free_energy': np.asarray(found['energies'])}


def read_tica(path: str | os.PathLike) -> Arrays:
  """A TICA model with the density of a set in the plane of its first two components.

  mean [features], coefficients [features, components] and eigenvalues [components], so that
  (feature - mean) @ coefficients are the components; density [101, 101], x and y edges [102].

  Raises:
    ValueError: for a damaged file or missing fields.
  """
  found = read_pickle(path)
  if not isinstance(found, tuple) or len(found) != 4 or not isinstance(found[0], Named):
    raise ValueError(f'{path}: found {_describe(found)}, expected (model, density, x edges, '
                     'y edges)')
  model, density, x, y = found
  names = {'_mean_0': 'mean', '_instantaneous_coefficients': 'coefficients',
           '_singular_values': 'eigenvalues'}
  values = {new: _search(model, old) for old, new in names.items()}
  missing = [old for old, new in names.items() if values[new] is None]
  if missing or np.shape(density) != (len(x) - 1, len(y) - 1):
    raise ValueError(f'{path}: found no {missing} in the model or a density of shape '
                     f'{np.shape(density)} with {len(x)} and {len(y)} edges')
  return {**values, 'density': density, 'x_edges': x, 'y_edges': y}


READERS = {'dihedrals': read_dihedrals, 'pair_distances': read_pair_distances, 'rmsd': read_rmsd,
           'tica': read_tica}


def convert(path: str | os.PathLike, kind: str, target: str | os.PathLike) -> None:
  """Writes the arrays of one file as an .npz.

  Raises:
    ValueError: for an unknown kind, or what the reader of the kind refuses.
  """
  if kind not in READERS:
    raise ValueError(f'kind: found {kind!r}, expected one of {sorted(READERS)}')
  np.savez(target, **READERS[kind](path))


def _fields(path: str | os.PathLike, found: Any, names: tuple[str, ...]) -> dict[str, Any]:
  missing = [name for name in names if not isinstance(found, dict) or name not in found]
  if missing:
    raise ValueError(f'{path}: {missing[0]}: the field is missing, found {_describe(found)}')
  return found


def _search(value: Any, name: str) -> np.ndarray | None:
  """The first array of that name in nested objects."""
  if not isinstance(value, dict):
    return None
  if isinstance(value.get(name), np.ndarray):
    return value[name]
  return next((array for array in (_search(part, name) for part in value.values())
               if array is not None), None)


def _describe(value: Any) -> str:
  if isinstance(value, np.ndarray):
    return f'an array of shape {value.shape}'
  return f'{type(value).__name__} of {sorted(map(str, value))[:8]}' if isinstance(
    value, dict) else type(value).__name__
