"""Reads pickles of arrays without executing them: nothing in the file chooses what is called.

Arrays, torch tensors (in torch's legacy format) and objects of deeptime are rebuilt from their data
by the few functions below; any other name in the file is refused.
"""

import collections
import functools
import io
import os
import pathlib
import pickle
import re
from typing import Any

import numpy as np

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {'DoubleStorage': 'f8', 'FloatStorage': 'f4', 'LongStorage': 'i8', 'IntStorage': 'i4',
             'ByteStorage': 'u1', 'BoolStorage': '?'}


class Named(dict):
  """The attributes of an object whose class was not imported; `kind` is the name of the class."""

  kind = ''

  def __new__(cls, *args):
    return super().__new__(cls)

  def __init__(self, *args):
    super().__init__()

  def __setstate__(self, state):
    for part in state if isinstance(state, tuple) else (state,):
      self.update(part or {})


def read_pickle(path: str | os.PathLike) -> Any:
  """What an .npy or a pickle holds, as arrays, plain Python and `Named` objects.

  Raises:
    ValueError: for a file that is absent or damaged, or that asks for anything else.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise ValueError(f'{path}: no such file')
  content = path.read_bytes()
  try:
    if content.startswith(b'\x93NUMPY'):
      return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return _finish(_load(content))
  except _Refused as error:
    raise ValueError(f'{path}: found the name {error} in the pickle, expected arrays, tensors and '
                     'objects of deeptime; nothing of it was executed') from error
  except Exception as error:
    raise ValueError(f'{path}: cannot be read, it is truncated or not a pickle of arrays '
                     f'({error!r})') from error


class _Refused(Exception):
  """A name that is not one of the allowed."""


class _Type:
  """A dtype; its state holds the byte order."""

  def __init__(self, code, *_):
    self.code, self.order = code, '='

  def __setstate__(self, state):
    self.order = state[1]

  def make(self) -> np.dtype:
    if not isinstance(self.code, str) or not re.fullmatch(r'[biufc]\d+', self.code):
      raise ValueError(f'an array of {self.code!r}, expected numbers')
    return np.dtype(self.code).newbyteorder(self.order)


class _Array:
  """An array; its state holds shape, type and bytes."""

  def __setstate__(self, state):
    _, self.shape, self.dtype, fortran, self.content = state
    self.order = 'F' if fortran else 'C'

  def make(self) -> np.ndarray:
    flat = np.frombuffer(self.content, self.dtype.make())
    return flat.reshape(self.shape, order=self.order).copy()


class _Storage:
  """The numbers of one or several tensors, filled in once the end of the file is read."""

  def __init__(self, dtype: str, count: int):
    self.dtype, self.count, self.values = np.dtype(dtype).newbyteorder('<'), count, None


class _Tensor:
  """A view of a storage."""

  def __init__(self, storage, offset, shape, stride, *_):
    self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

  def make(self) -> np.ndarray:
    values, size = self.storage.values, int(np.prod(self.shape))
    last = self.offset + sum((n - 1) * k for n, k in zip(self.shape, self.stride, strict=True))
    negative = min((self.offset, *self.shape, *self.stride)) < 0
    if size and (negative or last >= len(values) or size > len(values)):
      raise ValueError(f'a tensor of shape {self.shape} beyond the {len(values)} numbers stored')
    return np.lib.stride_tricks.as_strided(
      values[self.offset:], self.shape, [k * values.itemsize for k in self.stride]).copy()


class _Unpickler(pickle.Unpickler):
  """Knows these names only."""

  def __init__(self, file, storages: dict[str, _Storage]):
    super().__init__(file)
    self.storages = storages

  def find_class(self, module: str, name: str) -> Any:
    found = _NAMES.get((module.replace('numpy._core', 'numpy.core'), name))
    if found is not None:
      return functools.partial(found)  # a new object: what the file sets on it ends with it
    if module == 'torch' and name in _STORAGES:
      return type(name, (), {'dtype': _STORAGES[name]})
    if module.split('.')[0] == 'deeptime' and name.isidentifier():
      return type(name, (Named,), {'kind': f'{module}.{name}'})
    raise _Refused(f'{module}.{name}')

  def persistent_load(self, pid) -> _Storage:
    _, kind, key, _, count = pid[:5]
    return self.storages.setdefault(key, _Storage(kind.dtype, count))


def _load(content: bytes) -> Any:
  """A pickle, or a legacy torch file: magic number, version, machine, object, keys, numbers."""
  file, storages = io.BytesIO(content), {}
  loaded = _Unpickler(file, storages).load()
  if not (isinstance(loaded, int) and loaded == _TORCH_MAGIC):
    return loaded
  _, _, loaded, keys = (_Unpickler(file, storages).load() for _ in range(4))
  for key in keys:
    storage = storages[key]
    count = int.from_bytes(file.read(8), 'little')
    numbers = file.read(count * storage.dtype.itemsize)
    if count != storage.count or len(numbers) < count * storage.dtype.itemsize:
      raise EOFError(f'{len(numbers)} bytes of {storage.count} numbers')
    storage.values = np.frombuffer(numbers, storage.dtype)
  return loaded


def _finish(value: Any) -> Any:
  """The value with all that stands for arrays made into them."""
  if isinstance(value, _Array | _Tensor):
    return value.make()
  if isinstance(value, dict):
    finished = Named() if isinstance(value, Named) else {}
    finished.update((_finish(key), _finish(item)) for key, item in value.items())
    if isinstance(value, Named):
      finished.kind = value.kind
    return finished
  if isinstance(value, list | tuple):
    return type(value)(_finish(item) for item in value)
  return value


def _scalar(dtype: _Type, content: bytes) -> Any:
  return np.frombuffer(content, dtype.make())[0]


def _from_buffer(content, dtype: _Type, shape, order) -> _Array:
  array = _Array()
  array.__setstate__((1, shape, dtype, order == 'F', bytes(content)))
  return array


def _encode(text: str, encoding: str) -> bytes:
  return text.encode('latin1') if encoding == 'latin1' else b''


_NAMES = {
  ('numpy', 'ndarray'): _Array,
  ('numpy', 'dtype'): _Type,
  ('numpy.core.multiarray', '_reconstruct'): lambda *_: _Array(),
  ('numpy.core.multiarray', 'scalar'): _scalar,
  ('numpy.core.numeric', '_frombuffer'): _from_buffer,
  ('_codecs', 'encode'): _encode,
  ('collections', 'OrderedDict'): collections.OrderedDict,
  ('copyreg', '_reconstructor'): lambda kind, *_: kind(),
  ('copy_reg', '_reconstructor'): lambda kind, *_: kind(),
  ('builtins', 'bytes'): lambda: b'',  # how old protocols write no bytes
  ('__builtin__', 'bytes'): lambda: b'',
  ('builtins', 'object'): _Array,  # the base that the two above name and ignore
  ('__builtin__', 'object'): _Array,
  ('torch._utils', '_rebuild_tensor_v2'): _Tensor,
  ('torch.storage', '_load_from_bytes'): _load,
}
