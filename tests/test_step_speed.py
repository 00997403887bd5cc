"""Speed of a step against molecular dynamics of long chains, in the same run."""

from types import SimpleNamespace

import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from experiments import step_speed
from experiments.configs import time_integrated as configs


@pytest.mark.slow
def test_long_chains_are_timed_from_frames_of_their_own_dynamics(monkeypatch):
  rounds = []

  def time_in_turn(loops, *, repeats):
    rounds.append({name: loop.steps for name, loop in loops.items()})
    for loop in loops.values():  # each can be called on what it returned
      loop.advance()
      loop.advance()
    return {'learned': [2.0, 2.0, 2.0], 'dynamics': [6.0, 4.0, 90.0]}

  monkeypatch.setattr(step_speed.measure, 'time_in_turn', time_in_turn)
  config = configs.get_config('smoke')
  config.speed = ConfigDict({'length': 1, 'frames': 2, 'time': 2.0,
                             'long': {'length': 24, 'level': 8.0, 'chains': 2}})
  seen = []

  def step(params, key, history, embedding, beads):
    seen.append((history.shape, beads.mask.shape))
    return jnp.roll(history, -1, axis=0)

  model = SimpleNamespace(
    embed=lambda params, fine, num_beads: jnp.zeros((num_beads, 1)) + 0.0 * fine.species[0])
  world = SimpleNamespace(reference=SimpleNamespace(reference=SimpleNamespace(size=jnp.ones(0))))
  found = step_speed.compare(config, world, step, model, {})
  assert found['speed'] != found['speed']  # no chain of that length
  assert found['speed, long chain'] == 3.0  # the median over rounds, of one interval each
  assert rounds == [{'learned': 2, 'dynamics': 2}]
  assert seen[0] == ((config.history, 3, 3), (3,))
