"""What `config.data` of `experiments.protein` names: trajectories, public frames, proteins, shards.

`load` reads a molecule, `divide` makes its training, validation and held-out frames.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments import streaming
from experiments.configs.protein import DATA
from experiments.models import pick
from twoforone.datasets import (
  blocks,
  cg_map,
  chignolin,
  dataset,
  embedded,
  fast_folders,
  force_file,
  molecule,
  peptide,
  shards,
  trajectory_file,
)

# The fields of `data` that each kind reads, beside its split.
FIELDS = {
  'trajectories': ('name', 'topology', 'trajectories', 'forces', 'constraints', 'selection', 'map',
                   'temperature', 'stride', 'whole', 'mass', 'interval', 'num_runs'),
  'metadynamics': ('name', 'path', 'num_runs', 'resample'),
  'fast_folder': ('name', 'path', 'stride', 'num_runs'),
  'embedded': ('name', 'selection'),
  'shards': ('path', 'num_runs', 'resample', 'block', 'block_steps', 'bound')}
# What frames of beads do not need, but a native structure of atoms does.
OF_NATIVE = {'metadynamics': ('selection',), 'fast_folder': ('selection',),
             'shards': ('selection', 'map')}
OF_SPLIT = {'runs': ('fold', 'validation_fraction')}


class Molecule(NamedTuple):
  """A molecule and what is known of it.

  Attributes:
    data: all frames in order of time, or stretches of them where they are on disk.
    native: the native structure [n, 3] in nm, or None.
    on_disk: all frames, or None where `data` are.
  """

  data: dataset.Dataset
  native: np.ndarray | None
  on_disk: shards.Shards | None = None


def load(config: ConfigDict) -> Molecule:
  """The frames and the native structure that `config.data` names.

  Raises:
    ValueError: for an unknown kind, a field that would do nothing, a native structure of another
      number of beads.
  """
  load_kind = pick('data.kind', config.data.kind, {
    'trajectories': load_trajectories, 'metadynamics': load_metadynamics,
    'fast_folder': load_fast_folder, 'embedded': load_embedded,
    'shards': lambda data: load_shards(data, 100 * config.evaluation.tica_lag)})
  check_fields(config.data)
  found = load_kind(config.data)
  beads = found.data.system.beads
  if found.native is not None and len(found.native) != len(beads):
    raise ValueError(f'data.native: found {len(found.native)} beads in {config.data.native!r}, '
                     f'expected {len(beads)}, those of the frames')
  return found


def check_fields(data) -> None:
  """Passes when every field of `data` that was changed is read.

  Raises:
    ValueError: for the first one that nothing reads.
  """
  read = {'kind', 'native', 'split', *FIELDS[data.kind], *OF_SPLIT.get(data.split, ())}
  if data.native and not data.native.endswith('.npz'):
    read.update(OF_NATIVE.get(data.kind, ()))
  for field, default in DATA.items():
    if field not in read and data[field] != default:
      raise ValueError(
        f'data.{field}: found {data[field]!r}, expected {default!r}: nothing reads it with '
        f'data.kind {data.kind!r}, data.split {data.split!r} and data.native {data.native!r}')


def load_trajectories(data) -> Molecule:
  """Files that mdtraj reads, each an independent run."""
  return Molecule(molecule.load_molecule(**trajectory_options(data)), load_native(data, data.name))


def trajectory_options(data) -> dict:
  """The arguments of `molecule.open_molecule`."""
  return {
    'topology': data.topology, 'trajectories': list(data.trajectories), 'name': data.name,
    'cg_map': choose_map(data, data.topology), 'temperature': data.temperature,
    'stride': data.stride, 'interval': data.interval or None, 'whole': data.whole,
    'mass': np.array(data.mass, float) if data.mass else None,
    'forces': list(data.forces) or None, 'constraints': find_constraints(data)}


def find_constraints(data) -> np.ndarray | None:
  """Pairs of atoms at a fixed distance, which `data.constraints` names."""
  return pick('data.constraints', data.constraints, {
    '': lambda: None,
    'hydrogen_bonds': lambda: force_file.hydrogen_bonds(
      trajectory_file.read_topology(data.topology))})()


def choose_map(data, topology: str) -> cg_map.LinearMap:
  """From the atoms of a file to the beads that `data.selection` and `data.map` name."""
  if data.map.endswith(('.npy', '.npz')):
    return cg_map.read_map(data.map)
  atoms = trajectory_file.read_topology(topology)
  return pick('data.map', data.map, {
    '': lambda: cg_map.select_atoms(atoms, data.selection),
    'centre_of_mass': lambda: cg_map.centre_of_mass(
      atoms, cg_map.residue_groups(atoms, data.selection))})()


def load_native(data, name: str) -> np.ndarray | None:
  """The native structure that `data.native` names, in an .npz that of the protein `name`."""
  if not data.native:
    return None
  if data.native == 'topology':
    return load_topology_positions(data)
  if data.native.endswith('.npz'):
    return fast_folders.load_native(data.native, name)
  return molecule.load_native(data.native, cg_map=choose_map(data, data.native))


def load_topology_positions(data) -> np.ndarray:
  """The beads as `data.topology` places them."""
  if data.kind != 'trajectories':
    raise ValueError("data.native: found 'topology', expected a file: data.topology is none of "
                     f'data.kind {data.kind!r}')
  try:
    return molecule.load_native(data.topology, cg_map=choose_map(data, data.topology))
  except ValueError as error:
    raise ValueError(f"data.native: found 'topology', expected positions in {data.topology} "
                     f'({error})') from error


def load_metadynamics(data) -> Molecule:
  """The public frames of chignolin with their weights."""
  loaded = chignolin.load_chignolin(data.path)
  named = loaded._replace(system=loaded.system._replace(name=data.name))
  return Molecule(named, load_native(data, 'chignolin'))


def load_fast_folder(data) -> Molecule:
  """A protein of Lindorff-Larsen et al. (2011), cut into pieces of time."""
  loaded = fast_folders.load_fast_folder(
    data.path, data.name, num_runs=data.num_runs, stride=data.stride)
  return Molecule(loaded, load_native(data, data.name))


def load_embedded(data) -> Molecule:
  """A peptide of the project's own data, its native structure beside it unless one is named."""
  loaded = peptide.load_peptide(data.name, data.selection)
  if data.native:
    return Molecule(loaded, load_native(data, data.name))
  native = embedded.DIRECTORY / f'{data.name}_native.pdb'
  return Molecule(loaded, molecule.load_native(native, data.selection))


def load_shards(data, length: int) -> Molecule:
  """The folder of `experiments.make_shards`; stretches of so many frames are read."""
  opened = shards.open_shards(data.path)
  stretches = blocks.read_stretches(opened, size=data.bound, length=length)
  if stretches.forces is not None:
    force_file.check_virial(
      stretches, [f'{data.path}: forces of stretch {k}' for k in np.unique(stretches.run)])
  return Molecule(stretches, load_native(data, opened.system.name), opened)


def divide(config, found: Molecule) -> tuple[dataset.Split, Callable | None]:
  """The three parts, and for frames on disk the `make_feed` of `stages.get_model`."""
  if found.on_disk is None:
    return split_data(config, found.data), None
  return streaming.divide(
    config, found.on_disk, split_data(config, shards.number_frames(found.on_disk)))


def split_data(config, data: dataset.Dataset) -> dataset.Split:
  """Runs held out, or the published split; drawn by weight where the frames have weights.

  A single run is cut into `data.num_runs` pieces of time. Of weighted data `data.resample` training
  frames are drawn, or as many as there are where it is 0, and as large a share of the other parts.

  Raises:
    ValueError: for fewer than no frames to draw, or frames to draw by weights that are not there.
  """
  settings = config.data
  if settings.resample < 0 or (settings.resample and data.weight is None):
    raise ValueError(f'data.resample: found {settings.resample}, expected '
                     f'{"0: the frames have no weights" if data.weight is None else "0 or more"}')
  if len(np.unique(data.run)) == 1:
    data = dataset.cut_runs(data, settings.num_runs)
  split = pick('data.split', settings.split, {
    'runs': lambda: dataset.split_fold(
      data, tuple(settings.fold), validation_fraction=settings.validation_fraction),
    'published': lambda: fast_folders.split_published(data)})()
  if data.weight is None:
    return split
  share = settings.resample / len(split.train.x) if settings.resample else 1.0
  return dataset.Split(*(dataset.resample(part, max(1, round(share * len(part.x))), config.seed)
                         for part in split))
