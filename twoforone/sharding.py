"""Spreading replicas or batches over devices: one mesh axis, leading array axes split along it.

Parameters are copied to every device. Replicas never talk, so a sharded simulation has no
communication; jit inserts what a training step needs. No change of code: place the arrays, call.
The devices may belong to several processes (`jax.distributed`): each process then gives the same
values and holds its own part of them, and `gather` brings all of it to each.
"""

import math
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh(axis: str = 'replica', size: int | None = None) -> Mesh:
  """A one-axis mesh over all devices, or over gcd(size, devices) of them.

  Args:
    axis: name of the axis.
    size: number of replicas (or of examples) that has to divide evenly.

  Raises:
    ValueError: when this would leave devices of other processes out.
  """
  count = jax.device_count() if size is None else math.gcd(size, jax.device_count())
  if jax.process_count() > 1 and count < jax.device_count():
    raise ValueError(f'{axis}: found {size}, expected a multiple of {jax.device_count()}, the '
                     f'devices of {jax.process_count()} processes')
  return jax.make_mesh(
    (count,), (axis,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])


def shard(mesh: Mesh, tree):
  """The tree with the leading axis of each array split over the mesh; scalars are copied.

  Raises:
    ValueError: when a leading axis is not a multiple of the number of devices.
  """
  (axis,) = mesh.axis_names

  def place(path, a):
    if a.ndim and a.shape[0] % mesh.size:
      raise ValueError(
        f'{jax.tree_util.keystr(path) or "array"}: found leading axis {a.shape[0]}, '
        f'expected a multiple of {mesh.size} devices')
    return _put(a, NamedSharding(mesh, PartitionSpec(axis) if a.ndim else PartitionSpec()))

  return jax.tree_util.tree_map_with_path(place, tree)


def make_split(mesh: Mesh) -> Callable:
  """split(tree): inside a jitted function, the leading axes divided over the mesh.

  What is computed of each row then runs on its device, a mean over rows sums over all of them.
  """
  (axis,) = mesh.axis_names

  def split(tree):
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec(axis)))

  return split


def replicate(mesh: Mesh, tree):
  """The tree with a full copy of every array on each device of the mesh."""
  everywhere = NamedSharding(mesh, PartitionSpec())
  return jax.tree.map(lambda a: _put(a, everywhere), tree)


def gather(tree):
  """The tree as numpy arrays with all values, on every process; typed keys as local arrays."""

  def fetch(a):
    if _is_key(a):
      return jax.random.wrap_key_data(fetch(jax.random.key_data(a)), impl=jax.random.key_impl(a))
    if not isinstance(a, jax.Array) or a.is_fully_addressable or a.is_fully_replicated:
      return np.asarray(a)
    return np.asarray(multihost_utils.process_allgather(a, tiled=True))

  return jax.tree.map(fetch, tree)


def agree(value: float) -> float:
  """The first process's value on every one, for decisions that all have to take alike."""
  if jax.process_count() == 1:
    return float(value)
  return float(multihost_utils.broadcast_one_to_all(np.float32(value)))


def is_first() -> bool:
  """Whether this process is the one that writes files that all would write alike."""
  return jax.process_index() == 0


def wait(name: str) -> None:
  """Returns when every process has come here; `name` tells one such place from another."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def _put(a, sharding: NamedSharding):
  """The array placed; over several processes from the values that each of them has."""
  if sharding.is_fully_addressable:
    return jax.device_put(a, sharding)
  if isinstance(a, jax.Array) and not a.is_fully_addressable:
    return jax.jit(lambda a: a, out_shardings=sharding)(a)
  if _is_key(a):
    data = _put(jax.random.key_data(a), sharding)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(a))
  values = np.asarray(a)
  return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def _is_key(a) -> bool:
  return isinstance(a, jax.Array) and jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key)
