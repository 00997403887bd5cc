"""The studies as one command each, made as small as they go: what they run and what they leave."""

import json

import numpy as np
import pytest

from experiments import consistency, kinetics, networks
from experiments.configs import consistency as consistency_config
from experiments.configs import kinetics as kinetics_config
from experiments.configs import networks as networks_config
from twoforone.datasets import ala2 as embedded

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
  not (embedded.DIRECTORY / f'{embedded.NAME}_beads.npz').exists(),
  reason='the embedded data are not in data/')]
TINY = {
  'data': {'train_size': 2000},
  'network': {'widths': (8,)},
  'train': {'num_steps': 4, 'chunk': 2, 'validate_every': 2, 'save_every': 0, 'batch_size': 32,
            'milestone': {'samples': 0, 'levels': ()}},
  'sample': {'num_steps': 5, 'num_samples': 100, 'batch_size': 100},
  # Hardly trained: steps so short that no bond leaves its limit.
  'simulate': {'replicas': 5, 'parts': 2, 'frames_per_part': 10, 'burn_in_frames': 5, 'stride': 2,
               'dt': 1e-6, 'longest_bond': 100.0}}


def test_consistency_trains_scores_and_measures_what_its_config_names(tmp_path):
  config = consistency_config.get_config('smoke')
  config.ala2.update(TINY)
  config.update({'runs': ('plain',), 'curves': ('plain',), 'frames': 2})
  table = consistency.run(config, str(tmp_path))
  assert list(table) == ['plain'] and np.isfinite(table['plain'][0]['sim. JS'])
  left = {path.name for path in tmp_path.iterdir()}
  assert left == {'config.json', 'consistency.md', 'consistency.json', 'consistency.png',
                  'costs.json', 'energies.json', 'residual.png', 'plain'}
  energies = json.loads((tmp_path / 'energies.json').read_text())
  assert np.isfinite(energies['plain']['rms']).all() and energies['plain']['stable step [fs]'] > 0
  assert energies['plain']['time steps']['2']['replicas'] == 5
  assert 0 <= energies['plain']['P(φ > 0)']['share'] <= 1
  assert '| plain | ' in (tmp_path / 'consistency.md').read_text()
  assert consistency.run(config, str(tmp_path)) == table  # read, not made again


def test_networks_get_their_budget_and_are_scored(tmp_path):
  config = networks_config.get_config('smoke')
  config.ala2.update(TINY)
  config.update({'training_minutes': 1e-9, 'simulation_minutes': 1e-9})
  for name in ('equivariant', 'transformer'):
    del config.networks[name]
  table = networks.run(config, str(tmp_path))
  assert list(table) == ['invariant'] and np.isfinite(table['invariant'][0]['i.i.d. JS'])
  costs = json.loads((tmp_path / 'costs.json').read_text())
  assert costs['invariant']['train'] > 0 and costs['invariant']['simulate'] > 0
  # The least that there is: a chunk of training.
  text = (tmp_path / 'networks.md').read_text()
  assert f'| invariant | {costs["invariant"]["train"]:.1f} | 2 |' in text
  assert (tmp_path / 'networks.png').exists()


def test_kinetics_of_the_committed_checkpoint_leave_a_report(tmp_path):
  config = kinetics_config.get_config('smoke')
  config.pretrained = kinetics_config.get_config().pretrained
  config.update({'cluster_sizes': (2, 3, 4), 'cluster_stride': 200})
  config.sample.update({'num_steps': 20, 'num_samples': 20, 'batch_size': 20})
  config.simulate.update({'replicas': 20, 'parts': 2, 'frames_per_part': 20, 'stride': 100})
  found = kinetics.run(config, str(tmp_path))
  left = {path.name for path in tmp_path.iterdir()}
  assert left >= {'config.json', 'kinetics.md', 'kinetics.json', 'kinetics.png', 'simulation'}
  assert json.loads((tmp_path / 'config.json').read_text())['lags'] == [2.0, 4.0]
  assert found['lost'] == 0 and found['sets']['simulation']['frames'] == 20 * 40
  stored = json.loads((tmp_path / 'kinetics.json').read_text())['sets']['all-atom']
  assert stored['frames'] == 200_000 and len(stored['rows'][0]['passages']) == 2
  text = (tmp_path / 'kinetics.md').read_text()
  for name in found['sets']:
    assert f'| {name} | {found["sets"][name]["frames"]:,} |' in text
  assert '{' not in text  # tables, no records
  low, value, high = (np.array(stored['rows'][0][name]) for name in (
    'matrix_low', 'matrix', 'matrix_high'))
  assert (low <= value).all() and (value <= high).all()
