"""Save, restore, continue: exact, atomic, and refused when it belongs to something else."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import CHAIN
from twoforone.checkpoint import (
  check_card,
  latest_step,
  read_card,
  restore,
  save,
  system_card,
  system_from_card,
  write_card,
)


class State(NamedTuple):
  step: jax.Array
  params: dict
  nothing: None
  key: jax.Array


def make_state(seed=0):
  params = {'dense': {'kernel': jax.random.normal(jax.random.key(seed), (3, 4)),
                      'bias': jnp.zeros((0,))}}
  return State(jnp.int32(seed), params, None, jax.random.split(jax.random.key(seed), 2))


def test_every_leaf_and_key_comes_back(tmp_path):
  state = make_state(7)
  save(tmp_path, 3, state)
  for like in (make_state(0), jax.eval_shape(lambda: make_state(0))):
    back = restore(tmp_path, like)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    np.testing.assert_array_equal(back.params['dense']['kernel'], state.params['dense']['kernel'])
    assert back.step == 7 and back.step.dtype == jnp.int32
    np.testing.assert_array_equal(jax.random.normal(back.key[1]), jax.random.normal(state.key[1]))


def test_newest_kept_and_replaced(tmp_path):
  assert latest_step(tmp_path / 'none') is None
  for step in (1, 2, 10):
    save(tmp_path, step, make_state(step), keep=2)
  assert latest_step(tmp_path) == 10
  assert sorted(path.name for path in tmp_path.iterdir()) == ['10', '2']
  save(tmp_path, 10, make_state(11), keep=2)
  assert restore(tmp_path, make_state()).step == 11
  assert restore(tmp_path, make_state(), step=2).step == 2
  assert len(list(tmp_path.iterdir())) == 2


def test_a_wrong_tree_is_named(tmp_path):
  save(tmp_path, 0, make_state())
  other = make_state()._replace(params={'dense': {'kernel': jnp.zeros((5, 4)),
                                                  'bias': jnp.zeros((0,))}})
  with pytest.raises(ValueError, match=r'params.dense.kernel: found float32\[3, 4\]'):
    restore(tmp_path, other)
  with pytest.raises(ValueError, match=r'params\.extra'):
    restore(tmp_path, make_state()._replace(params={'extra': jnp.zeros(1)}))
  with pytest.raises(ValueError, match=r'found checkpoints \[0\], expected 5'):
    restore(tmp_path, make_state(), step=5)
  with pytest.raises(ValueError, match='at least one'):
    restore(tmp_path / 'none', make_state())


def test_a_small_network_is_small_on_disk(tmp_path):
  """40,000 float32 weights take 160 kB; the rest of the folder less than 20 kB."""
  save(tmp_path, 0, {'kernel': jax.random.normal(jax.random.key(0), (200, 200))})
  assert sum(f.stat().st_size for f in tmp_path.rglob('*') if f.is_file()) < 180_000


KILLED = """
import sys
import jax.numpy as jnp
from twoforone.checkpoint import save
for step in range(1, 10**6):
  save(sys.argv[1], step // 2, {'a': jnp.full((300, 300), float(step // 2))}, keep=2)
"""


@pytest.mark.slow
def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path):
  """Each step is saved twice, so the replacement of an existing one is hit as well."""
  for delay in (0.11, 0.23):
    process = subprocess.Popen([sys.executable, '-c', KILLED, str(tmp_path)])
    before = latest_step(tmp_path) or 0
    while (latest_step(tmp_path) or 0) < before + 2 and process.poll() is None:
      time.sleep(0.01)
      before = min(before, latest_step(tmp_path) or 0)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    newest = latest_step(tmp_path)
    back = restore(tmp_path, {'a': jnp.zeros((300, 300))})
    np.testing.assert_array_equal(back['a'], float(newest))
    for path in pathlib.Path(tmp_path).iterdir():
      if path.is_dir() and path.name.isdigit():
        assert int(path.name) <= newest


def make_card(**changes):
  return {'system': system_card(CHAIN), 'schedule': 'cosine', 't': 0.01, 'level': 10,
          'kT': 2.494, 'scale': 0.0945, 'config': {'width': np.int64(3)}, **changes}


def test_card_round_trip(tmp_path):
  write_card(tmp_path, make_card())
  card = read_card(tmp_path)
  check_card(card, CHAIN)
  assert card['scale'] == 0.0945 and card['config'] == {'width': 3}
  jax.tree.map(np.testing.assert_array_equal, system_from_card(card), CHAIN)
  assert latest_step(tmp_path) is None


def test_a_card_of_another_system_is_refused(tmp_path):
  write_card(tmp_path, make_card())
  with pytest.raises(ValueError, match='another system: name: found chain, expected ala2'):
    check_card(read_card(tmp_path), CHAIN._replace(name='ala2'))
  with pytest.raises(ValueError, match='another system: mass'):
    check_card(read_card(tmp_path), CHAIN._replace(mass=CHAIN.mass + 1))
  warmer = CHAIN._replace(temperature=CHAIN.temperature + 50)  # its kT would scale the forces
  with pytest.raises(ValueError, match='another system: temperature'):
    check_card(read_card(tmp_path), warmer)
  incomplete = make_card()
  del incomplete['scale']
  with pytest.raises(ValueError, match='found no scale'):
    write_card(tmp_path, incomplete)
  (tmp_path / 'card.json').write_text('{"system": ')
  with pytest.raises(ValueError, match=r'card\.json: cannot be read'):
    read_card(tmp_path)
