"""Tables have a line for each row and a cell for each head."""

import pytest

from experiments import markdown


def test_a_table_as_it_is_written_by_hand():
  heads = {'name': '{}', 'φ [°]': '{:.1f}'}  # a mapping gives its keys
  rows = (row.values() for row in ({'a': 'first', 'b': '1.5'}, {'a': 'second', 'b': ''}))
  assert markdown.table(heads, rows) == (
    '| name | φ [°] |\n| --- | --- |\n| first | 1.5 |\n| second |  |')
  assert markdown.table(('alone',), []) == '| alone |\n| --- |'


@pytest.mark.parametrize('row', [('a',), ('a', 'b', 'c')])
def test_a_row_of_another_length_is_named(row):
  with pytest.raises(ValueError, match=r"cells: found \['a'.*expected .* \['x', 'y'\]"):
    markdown.table(('x', 'y'), [('a', 'b'), row])
