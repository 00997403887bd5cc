"""A work folder belongs to one config."""

import json

import pytest
from ml_collections import ConfigDict

from experiments.command_line import prepare_workdir


def config(**changes):
  fields = ConfigDict({'length': 10.0, 'beads': ('N', 'CA'), 'train': {'steps': 5, 'seed': 0}})
  fields.update_from_flattened_dict(changes)
  return fields


def test_the_same_config_is_taken_up_again(tmp_path):
  folder = prepare_workdir(str(tmp_path / 'new'), config())
  assert prepare_workdir(str(folder), config()) == folder
  assert json.loads((folder / 'config.json').read_text()) == {
    'length': 10.0, 'beads': ['N', 'CA'], 'train': {'steps': 5, 'seed': 0}}


@pytest.mark.parametrize('changes, message', [
  ({'length': 20.0}, r'length: found 20\.0, expected 10\.0 as in .*config\.json'),
  ({'beads': ('N',)}, r"beads: found \['N'\], expected \['N', 'CA'\]"),
  ({'train.seed': 1}, r'train\.seed: found 1, expected 0'),
])
def test_another_config_is_an_error_that_names_the_field(tmp_path, changes, message):
  prepare_workdir(str(tmp_path), config())
  with pytest.raises(ValueError, match=message):
    prepare_workdir(str(tmp_path), config(**changes))
  assert json.loads((tmp_path / 'config.json').read_text())['length'] == 10.0


def test_a_field_that_is_new_or_gone_is_another_config(tmp_path):
  prepare_workdir(str(tmp_path), ConfigDict({'a': 1, 'b': 2}))
  with pytest.raises(ValueError, match="b: found 'nothing', expected 2"):
    prepare_workdir(str(tmp_path), ConfigDict({'a': 1}))
  with pytest.raises(ValueError, match="c: found 3, expected 'nothing'"):
    prepare_workdir(str(tmp_path), ConfigDict({'a': 1, 'b': 2, 'c': 3}))


def test_fields_that_may_change_are_stored_anew(tmp_path):
  prepare_workdir(str(tmp_path), config())
  prepare_workdir(str(tmp_path), config(**{'length': 20.0, 'train.seed': 1}),
                  may_change=('length', 'train.seed'))
  assert json.loads((tmp_path / 'config.json').read_text())['length'] == 20.0


@pytest.mark.parametrize('text', ['{"a": ', '[1]'])
def test_a_torn_config_is_named(tmp_path, text):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(ValueError, match=r'config\.json: cannot be read as a config'):
    prepare_workdir(str(tmp_path), config())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match=r'workdir: cannot write to .*file'):
    prepare_workdir(str(tmp_path / 'file'), config())
