"""The quickstart notebook: committed clean, runs top to bottom, and ends with numbers that hold."""

import json
import os
import pathlib

import nbclient
import nbformat
import pytest

from twoforone.datasets import ala2

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATH = ROOT / 'experiments' / 'colab' / 'quickstart.ipynb'
CODE = [cell for cell in nbformat.read(PATH, 4).cells if cell.cell_type == 'code']


@pytest.fixture(scope='module')
def executed(tmp_path_factory):
  """The notebook after a run at smoke sizes."""
  if not (ala2.DIRECTORY / f'{ala2.NAME}_beads.npz').exists():
    pytest.skip('the embedded data are not in data/')
  notebook = nbformat.read(PATH, 4)
  folder = tmp_path_factory.mktemp('quickstart')
  path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
  client = nbclient.NotebookClient(
    notebook, timeout=900, kernel_name='python3', resources={'metadata': {'path': str(folder)}})
  client.execute(env={  # it computes more than it compiles: this level is three times as fast
    **os.environ, 'TWOFORONE_SMOKE': '1', 'PYTHONPATH': path,
    'XLA_FLAGS': '--xla_backend_optimization_level=1'})
  assert not any(folder.iterdir())  # the installed package was used: nothing was cloned
  return notebook


@pytest.fixture(scope='module')
def results(executed):
  """The JSON line of the last cell."""
  return json.loads(executed.cells[-1].outputs[0].text)


def test_committed_without_outputs_and_with_names_for_cells():
  assert all(not cell.outputs and cell.execution_count is None for cell in CODE)
  assert {'install', 'sizes', 'first-three', 'sample', 'simulate', 'end'} <= {
    cell.id for cell in CODE}
  assert max(len(line) for cell in CODE for line in cell.source.splitlines()) <= 100


@pytest.mark.slow
def test_every_figure_is_shown(executed):
  shown = {cell.id for cell in executed.cells for output in cell.get('outputs', [])
           if 'image/png' in output.get('data', {})}
  assert shown == {'levels', 'well-plot', 'ala2-curve', 'ala2-plot'}


@pytest.mark.slow
@pytest.mark.parametrize('use', ['i.i.d.', 'simulation'])
def test_the_double_well_comes_back_from_both_uses(results, use):
  # Against the exact density an untrained network scores 0.20, a simulation that stays where it
  # starts 0.12 and the two wells exchanged 0.10; 500 steps of training leave about 0.005.
  assert results['well'][use]['js'] < results['well'][use]['floor'] + 0.02


@pytest.mark.slow
def test_tied_levels_can_be_read_where_denoising_alone_cannot(results):
  lowest = results['well']['lowest level']
  assert lowest['with tied levels'] < lowest['denoising'] / 2


@pytest.mark.slow
@pytest.mark.parametrize('use', ['i.i.d.', 'simulation'])
def test_alanine_is_learnt_from_a_few_steps(results, use):
  # 300 steps find the basins but not yet their weights; uniform torsions are 0.4 above the floor.
  assert results['ala2'][use]['js'] < results['ala2'][use]['floor'] + 0.1


@pytest.mark.slow
def test_no_replica_is_lost_and_the_thermostat_works(results):
  assert results['well']['lost'] == results['ala2']['lost'] == 0
  assert abs(results['ala2']['temperature'] - 300) < 5 * results['ala2']['temperature error']
