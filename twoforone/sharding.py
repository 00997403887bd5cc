"""Spreading replicas or batches over devices: one mesh axis, leading array axes split along it.

Parameters are copied to every device. Replicas never talk, so a sharded simulation has no
communication; jit inserts what a training step needs. No change of code: place the arrays, call.
"""

import math
from collections.abc import Callable

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh(axis: str = 'replica', size: int | None = None) -> Mesh:
  """A one-axis mesh over all devices, or over gcd(size, devices) of them.

  Args:
    axis: name of the axis.
    size: number of replicas (or of examples) that has to divide evenly.
  """
  count = jax.device_count() if size is None else math.gcd(size, jax.device_count())
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
    spec = PartitionSpec(axis) if a.ndim else PartitionSpec()
    return jax.device_put(a, NamedSharding(mesh, spec))

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
  return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
