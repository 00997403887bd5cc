"""Generated polymers: all files of a tiny run, its restart, free diffusion and blow-ups."""

import json
import pathlib

import jax
import numpy as np
import pytest

from experiments import generate_polymers, polymer_md
from experiments.configs.generate_polymers import get_config
from twoforone.datasets import polymer_file


def tiny():
  config = get_config('smoke')
  config.update({'lengths': (12,), 'num_train': 6, 'num_val': 1, 'num_test': 2, 'length': 20.0,
                 'test_length': 300.0, 'equilibration': 10.0, 'chunk': 10.0, 'seed': 1})
  return config


@pytest.fixture(scope='module')
def generated(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('polymers')
  return workdir, generate_polymers.run(tiny(), str(workdir))


def test_every_split_and_the_card_are_written(generated):
  _, paths = generated
  train, val, test = (polymer_file.read(paths[split]) for split in ('train', 'val', 'test'))
  assert train.x.shape == (6, 1, 40, 3, 3) and val.x.shape == (1, 1, 40, 3, 3)
  assert test.x.shape == (2, 2, 300, 3, 3)
  assert (train.interval, test.interval) == (0.5, 1.0)
  card = json.loads(pathlib.Path(paths['card']).read_text())
  assert set(card['groups']) == {'train_12', 'val_12', 'test_12'}
  assert card['groups']['test_12']['chain_steps'] == 2 * 2 * 31_000


def test_beads_are_the_centres_of_the_fine_chain(generated):
  # Fine Rg² = Rg² of the beads + spread inside beads, and a bead has four beads in a row.
  for molecule in polymer_file.molecules(polymer_file.read(generated[1]['test'])):
    coarse = np.var(molecule.x, axis=2).sum(axis=-1)
    inside = molecule.square_radius - coarse
    assert inside.min() > 0 and inside.max() < 1.5**2
    assert 0.5 < inside.mean() < 1.25  # a rod of four is (4² - 1) / 12 = 1.25


def test_chains_are_at_the_temperature_and_diffuse_freely(generated):
  card = json.loads(pathlib.Path(generated[1]['card']).read_text())
  count = 2 * 2 * 300 * 12 * 3 / 4  # velocities live 2 τ: a quarter of the frames count
  assert card['groups']['test_12']['kinetic'] == pytest.approx(1, abs=4 * np.sqrt(2 / count))
  data = polymer_file.read(generated[1]['test'])
  lag, steps = 10, []
  for molecule in polymer_file.molecules(data):
    whole = molecule.x.mean(axis=2)  # equal beads
    diffusion = 1 / (len(molecule.species) * data.friction)
    ballistic = (1 - np.exp(-data.friction * lag)) / data.friction
    steps.append((whole[:, lag::lag] - whole[:, :-lag:lag])
                 / np.sqrt(2 * diffusion * (lag - ballistic)))
  steps = np.concatenate([step.ravel() for step in steps])
  # Steps next to each other share velocity for 2 of 10 τ; a third more than independent ones.
  assert np.mean(steps**2) == pytest.approx(1, abs=4 * 1.3 * np.sqrt(2 / len(steps)))
  assert abs(steps.mean()) < 4 * 1.3 / np.sqrt(len(steps))


def test_replicas_and_chains_differ(generated):
  x = polymer_file.read(generated[1]['test']).x
  assert np.abs(x[:, 0] - x[:, 1]).max() > 1


def test_a_killed_run_goes_on_with_the_missing_group(generated, monkeypatch):
  workdir, paths = generated
  before = polymer_file.read(paths['test']).x
  (workdir / 'groups' / 'test_12.npz').unlink()
  made, simulate = [], generate_polymers.simulate_group

  def counted(config, name, *rest):
    made.append(name)
    return simulate(config, name, *rest)

  monkeypatch.setattr(generate_polymers, 'simulate_group', counted)
  generate_polymers.run(tiny(), str(workdir))
  assert made == ['test_12']
  np.testing.assert_array_equal(polymer_file.read(paths['test']).x, before)


@pytest.mark.parametrize('dt, chunk, interval, message', [
  (0.25, 10.0, 0.5, r'2 of 2 runs blew up, .* chain 0 replica 0 at 0.5 τ'),
  (0.01, 7.0, 0.5, 'chunk: found 7.0 τ, expected a whole part of 10.0 τ'),
  (0.01, 10.0, 0.3, 'interval: found 0.3 τ'), (0.03, 10.0, 0.5, 'dt: found 0.03 τ')])
def test_what_cannot_run_is_named(dt, chunk, interval, message):
  with pytest.raises(ValueError, match=message):
    polymer_md.simulate_chains(
      np.zeros((1, 8), int), jax.random.key(0), level=4.0, replicas=2, dt=dt, friction=0.5,
      equilibration=10.0, length=10.0, interval=interval, chunk=chunk)
