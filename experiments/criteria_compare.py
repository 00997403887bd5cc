"""What rows of `experiments.compare` must reach, set before they were made, and whether they do.

The limits are of the median of three seeds of the default variants: 100,000 draws of a toy, the
frames of `ala2`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments import ala2_flows, markdown

EXACT_DIFFERENCE = 3.380  # kT, of the double well's basins


class Criterion(NamedTuple):
  """`value(row)` of a method must lie in `passes`; `label` says what it is."""

  method: str
  label: str
  value: Callable[[dict], float]
  passes: tuple[float, float]


def column(name: str) -> Callable[[dict], float]:
  """row -> its number of that name, NaN where it has none."""
  return lambda row: row.get(name, float('nan'))


def off_difference(row: dict) -> float:
  """How far the difference of the double well's basins is off [kT]."""
  return abs(row['difference'] - EXACT_DIFFERENCE)


def within(row: dict) -> float:
  """rms of the free energy within the worse basin [kT]; one without any part below 4 kT is none."""
  return float(np.nanmax([row['below_4'], row['above_4']]))


def worst_torsion(row: dict) -> float:
  """The largest rms F<4 of a flexible torsion [kT]."""
  return max((value for name, value in row.items() if name.startswith('rms F<4 of')),
             default=float('nan'))


def over_frames(row: dict) -> float:
  """JS of the samples over that of the frames they were learned from."""
  return row['i.i.d. JS'] / column(ala2_flows.JS_OF_FRAMES)(row)


def over_prior(row: dict) -> float:
  """Validation force error over that of the prior alone."""
  return column('validation force error')(row) / column('of the prior alone')(row)


def rms(method: str, limits: dict[str, float]) -> list[Criterion]:
  """Largest values of columns of a toy."""
  return [Criterion(method, name, column(name), (0, most)) for name, most in limits.items()]


def apart(method: str, most: float) -> Criterion:
  """The largest error of the double well's difference."""
  return Criterion(method, f'difference - {EXACT_DIFFERENCE:.3f}', off_difference, (0, most))


CRITERIA = {
  'double_well': (
    *rms('BG-REM spline', {'rms_4': 0.08, 'rms_6': 0.12}), apart('BG-REM spline', 0.10),
    *rms('BG-REM affine', {'rms_4': 0.12, 'rms_6': 0.20}), apart('BG-REM affine', 0.15),
    *rms('Flow i.i.d.', {'rms_4': 0.08, 'rms_6': 0.12}), apart('Flow i.i.d.', 0.10),
    *rms('CGNet', {'force error': 0.05}), Criterion('CGNet', 'within a basin', within, (0, 0.05)),
    *rms('Flow-CGNet', {'force error': 0.15}),
    Criterion('Flow-CGNet', 'within a basin', within, (0, 0.08)),
    *rms('RE quadrature', {'rms_6': 0.08}), apart('RE quadrature', 0.06),
    *rms('RE tempering', {'rms_4': 0.12})),
  'mueller': (
    *rms('BG-REM plane, spline', {'rms_4': 0.08, 'rms_6': 0.15}),
    Criterion('BG-REM plane, spline', 'weight_above', column('weight_above'), (0.021, 0.030)),
    *rms('BG-REM plane, affine', {'rms_6': 0.35}), *rms('Flow i.i.d.', {'rms_6': 0.15}),
    *rms('CGNet', {'rms_4': 0.10}), *rms('Flow-CGNet', {'rms_4': 0.10}),
    *rms('RE quadrature', {'rms_6': 0.15})),
  'ala2': (
    # 0.012 with frames of 0.0082 themselves.
    Criterion('BG-REM 4 atoms', 'i.i.d. JS / its frames\'', over_frames, (0, 0.012 / 0.0082)),
    Criterion('BG-REM 4 atoms', 'rms F<4, worst torsion', worst_torsion, (0, 0.25)),
    Criterion('BG-REM 6 atoms', 'i.i.d. JS', column('i.i.d. JS'), (0, 0.05)),
    Criterion('Flow i.i.d.', 'i.i.d. JS', column('i.i.d. JS'), (0, 0.015)),
    Criterion('CGNet', 'force error / the prior\'s', over_prior, (0, 1)),
    Criterion('CGNet', 'lost', column('lost'), (0, 0)),
    Criterion('CGNet', 'sim. JS', column('sim. JS'), (0, 0.25)),
    Criterion('Flow-CGNet', 'sim. JS', column('sim. JS'), (0, 0.06)),
    Criterion('RE', 'sim. JS', column('sim. JS'), (0, 0.10))),
}


def judge(system: str, table: dict[str, dict]) -> str:
  """Markdown: a line for each criterion of a method in the table, method -> seed -> numbers."""
  rows = []
  for method, label, value, (least, most) in CRITERIA[system]:
    if method in table:
      median = float(np.median([value(row) for row in table[method].values()]))
      limit = f'{least:.3g} to {most:.3g}' if least else f'{most:.3g}'
      met = 'met' if least <= median <= most else 'not met'
      rows.append((method, label, f'{median:.4g}', limit, met))
  return 'Limits set beforehand, and the median of the seeds:\n\n' + markdown.table(
    ('method', 'number', 'median', 'limit', ''), rows)
