"""Tables as Markdown."""

from collections.abc import Collection, Iterable


def table(heads: Collection[str], rows: Iterable[Collection[str]]) -> str:
  """A line of heads, one that sets them off, then a line for each row of cells.

  Raises:
    ValueError: for a row of more or fewer cells than heads.
  """
  lines = [heads, ('---',) * len(heads), *rows]
  for line in lines:
    if len(line) != len(heads):
      raise ValueError(f'cells: found {list(line)}, expected one for each of {list(heads)}')
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
