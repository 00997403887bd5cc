"""Pickles are read as data: what they hold comes out, what they would call is refused."""

import io
import os
import pickle
import struct

import numpy as np
import pytest
from deeptime.decomposition import TICA

from twoforone.datasets import array_file, plain_pickle, reference_files

# --- torch's legacy format, written without torch -------------------------------------------------


class Torch:
  """Stands for a name of torch in a pickle that is being written."""

  def __init__(self, module, name):
    self.module, self.name = module, name

  def __call__(self):
    """Never called: pickle asks for it of what it writes as a function."""


class Pickler(pickle._Pickler):
  """Writes `Torch` as the name it stands for, and storages as persistent ids."""

  def save(self, obj, save_persistent_id=True):
    if isinstance(obj, Torch):
      self.write(pickle.GLOBAL + f'{obj.module}\n{obj.name}\n'.encode())
    elif isinstance(obj, Storage) and obj.inside:
      self.save(('storage', Torch('torch', obj.kind), '0', 'cpu', len(obj.values), None))
      self.write(pickle.BINPERSID)
    elif isinstance(obj, Storage):
      self.save_reduce(Torch('torch.storage', '_load_from_bytes'), (obj.to_bytes(),))
    elif isinstance(obj, Tensor):
      storage, shape = Storage(obj.values.ravel()), obj.values.shape
      strides = tuple(s // obj.values.itemsize for s in obj.values.strides)
      self.save_reduce(Torch('torch._utils', '_rebuild_tensor_v2'),
                       (storage, 0, obj.shape or shape, strides, False, {}))
    else:
      super().save(obj, save_persistent_id)


class Storage:
  def __init__(self, values, inside=False):
    self.values, self.inside = values, inside
    self.kind = {'f4': 'FloatStorage', 'f8': 'DoubleStorage'}[values.dtype.str[1:]]

  def to_bytes(self):
    parts = (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True},
             Storage(self.values, inside=True), ['0'])
    return (b''.join(dumps(part) for part in parts)
            + struct.pack('<q', len(self.values)) + self.values.tobytes())


class Tensor:
  def __init__(self, values, shape=None):
    self.values, self.shape = values, shape


def dumps(value):
  file = io.BytesIO()
  Pickler(file, 2).dump(value)
  return file.getvalue()


def write(path, value, protocol=4):
  path.write_bytes(pickle.dumps(value, protocol))
  return path


# --- What is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize('protocol', range(6))
def test_arrays_of_every_protocol(tmp_path, protocol):
  values = {
    'c': np.arange(6.0).reshape(2, 3), 'f': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    'big': np.arange(3, dtype='>i4'), 'empty': np.zeros((0, 2), np.float32),
    'scalar': np.float64(2.5), 'flag': np.array([True, False]), 'list': [1, (2, 'three')]}
  found = plain_pickle.read_pickle(write(tmp_path / 'some', values, protocol))
  assert found.keys() == values.keys()
  for name, value in values.items():
    if isinstance(value, np.ndarray):
      np.testing.assert_array_equal(found[name], value)
      assert found[name].dtype == value.dtype
    else:
      assert found[name] == value


@pytest.mark.parametrize('layout', ['npy', 'pickle'])
def test_dihedrals(tmp_path, layout):
  density = np.random.default_rng(0).dirichlet(np.ones(3600)).reshape(60, 60)
  path = tmp_path / 'saved_dih_probs'
  if layout == 'npy':
    with open(path, 'wb') as file:
      np.save(file, density)
  else:
    write(path, density)
  np.testing.assert_array_equal(reference_files.read_dihedrals(path)['probability'], density)
  with pytest.raises(ValueError, match=r'bad: found an array of shape \(60, 60\), expected a dens'):
    reference_files.read_dihedrals(write(tmp_path / 'bad', 2 * density))


def test_pair_distances_in_legacy_torch_tensors(tmp_path):
  counts = [np.arange(k, dtype=np.float32) for k in (3, 5)]
  longest = np.array([12.0, 20.0], np.float32)  # Å
  path = tmp_path / 'saved_pwd'
  path.write_bytes(dumps({'gt_max': Tensor(longest), 'gt_hist': [Tensor(c) for c in counts]}))
  found = reference_files.read_pair_distances(path)
  np.testing.assert_allclose(found['longest'], [1.2, 2.0], rtol=1e-6)
  for a, b in zip(np.split(found['counts'], np.cumsum(found['bins'])[:-1]), counts, strict=True):
    np.testing.assert_array_equal(a, b)
  reference_files.convert(path, 'pair_distances', tmp_path / 'plain.npz')
  np.testing.assert_array_equal(array_file.read(tmp_path / 'plain.npz')['bins'], [3, 5])
  with pytest.raises(ValueError, match="kind: found 'angles', expected one of"):
    reference_files.convert(path, 'angles', tmp_path / 'plain.npz')


def test_tensors_of_two_axes_and_beyond_their_storage(tmp_path):
  values = np.arange(6.0).reshape(2, 3)
  path = tmp_path / 'tensor'
  path.write_bytes(dumps([Tensor(values)]))
  np.testing.assert_array_equal(plain_pickle.read_pickle(path)[0], values)
  path.write_bytes(dumps(Tensor(values, shape=(4, 3))))
  with pytest.raises(ValueError, match=r'tensor: cannot be read.*beyond the 6 numbers stored'):
    plain_pickle.read_pickle(path)


def test_rmsd(tmp_path):
  energies = np.where(np.arange(100) > 90, np.inf, 1.0)
  path = write(tmp_path / 'rmsd', {'bin_mids': np.linspace(0, 10, 100), 'energies': energies})
  found = reference_files.read_rmsd(path)
  np.testing.assert_allclose(found['rmsd'], np.linspace(0, 1, 100))
  np.testing.assert_array_equal(found['free_energy'], energies)
  with pytest.raises(ValueError, match='bad: energies: the field is missing, found dict of'):
    reference_files.read_rmsd(write(tmp_path / 'bad', {'bin_mids': energies}))


def test_tica_model_without_deeptime(tmp_path):
  random = np.random.default_rng(0)
  x = np.cumsum(random.normal(size=(400, 3)), axis=0) + random.normal(size=(400, 3))
  tica = TICA(lagtime=2, dim=2)
  y = tica.fit(x).transform(x)
  density, *edges = np.histogram2d(*y.T, bins=101)
  found = reference_files.read_tica(write(tmp_path / 'tica', (tica, density, *edges)))
  # two ways to the same product
  np.testing.assert_allclose(((x - found['mean']) @ found['coefficients'])[:, :2], y, atol=1e-9)
  np.testing.assert_array_equal(found['eigenvalues'], tica.fetch_model().singular_values)
  np.testing.assert_array_equal(found['density'], density)
  np.testing.assert_array_equal(found['x_edges'], edges[0])
  with pytest.raises(ValueError, match=r'bad: found tuple, expected \(model, density'):
    reference_files.read_tica(write(tmp_path / 'bad', (density, density)))


# --- What is refused ------------------------------------------------------------------------------


class Malicious:
  def __init__(self, function, *arguments):
    self.function, self.arguments = function, arguments

  def __reduce__(self):
    return self.function, self.arguments


@pytest.mark.parametrize('protocol', [0, 2, 4])
@pytest.mark.parametrize(('function', 'arguments', 'name'), [
  (os.system, ('touch {}',), 'system'), (eval, ("open('{}', 'w')",), 'eval'),
  (getattr, ('x', 'upper'), 'getattr'), (np.load, ('{}',), 'load')])
def test_a_pickle_that_would_call_something_is_refused(
    tmp_path, protocol, function, arguments, name):
  mark = tmp_path / 'mark'
  evil = Malicious(function, *(argument.format(mark) for argument in arguments))
  path = write(tmp_path / 'evil', {'gt_max': np.zeros(3), 'gt_hist': evil}, protocol)
  with pytest.raises(ValueError, match=rf'evil: found the name \S+{name} in the pickle'):
    reference_files.read_pair_distances(path)
  assert not mark.exists()


def test_a_pickle_inside_a_storage_is_refused(tmp_path):
  inner = pickle.dumps(Malicious(os.system, f'touch {tmp_path / "mark"}'), 2)
  path = tmp_path / 'evil'
  path.write_bytes(dumps(Malicious(Torch('torch.storage', '_load_from_bytes'), inner)))
  with pytest.raises(ValueError, match=r'evil: found the name \S+system in the pickle'):
    plain_pickle.read_pickle(path)
  assert not (tmp_path / 'mark').exists()


def test_a_pickle_cannot_change_the_reader(tmp_path):
  path = tmp_path / 'evil'  # BUILD with a state of slots: setattr(_Tensor, 'make', None)
  path.write_bytes(b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x04\x00\x00\x00makeNs\x86b.')
  with pytest.raises(ValueError, match='evil: cannot be read'):
    plain_pickle.read_pickle(path)
  path.write_bytes(dumps(Tensor(np.ones(2))))
  np.testing.assert_array_equal(plain_pickle.read_pickle(path), np.ones(2))


def test_arrays_of_objects_are_refused(tmp_path):
  path = write(tmp_path / 'objects', np.array([1, None], object))
  with pytest.raises(ValueError, match=r"objects: cannot be read.*an array of 'O8'"):
    plain_pickle.read_pickle(path)


def test_damaged_files_are_named(tmp_path):
  path = write(tmp_path / 'half', {'x': np.zeros(1000)})
  path.write_bytes(path.read_bytes()[:500])
  with pytest.raises(ValueError, match='half: cannot be read, it is truncated or not a pickle'):
    plain_pickle.read_pickle(path)
  path = tmp_path / 'tensor'
  content = Storage(np.zeros(10)).to_bytes()
  path.write_bytes(content[:-8])
  with pytest.raises(ValueError, match='tensor: cannot be read, it is truncated'):
    plain_pickle.read_pickle(path)
  with pytest.raises(ValueError, match='absent: no such file'):
    plain_pickle.read_pickle(tmp_path / 'absent')
