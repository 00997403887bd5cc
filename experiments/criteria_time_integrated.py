"""What the numbers of learned steps must be, P1 to P12, and the table of whether they are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments import markdown
from experiments.score_time_integrated import RARE, STRETCH, Measured

INFINITE = float('inf')


class Criterion(NamedTuple):
  """What a number must be: within `passes`, better within `target`; None where nothing is asked."""

  id: str
  label: str
  passes: tuple[float, float] | None = None
  target: tuple[float, float] | None = None


CRITERIA = {
  'sound': Criterion('P1', f'chains finite throughout, no bond over {STRETCH:g} q',
                     (1, INFINITE), (1, INFINITE)),
  'length': Criterion('P1', 'rollout / training trajectory', (10, INFINITE), (10, INFINITE)),
  'radius r2': Criterion('P2', 'r² of mean Rg²', (0.8, INFINITE), (0.9, INFINITE)),
  'radius relative error': Criterion('P3', 'relative MAE of mean Rg²', (0, 0.2), (0, 0.12)),
  'radius R2': Criterion('P3', 'R² of mean Rg²', (0.6, INFINITE), (0.85, INFINITE)),
  'log tau r2': Criterion('P4', 'r² of log τ', (0.5, INFINITE), (0.6, INFINITE)),
  'tau r2': Criterion('P4', 'r² of τ', (0.4, INFINITE), (0.6, INFINITE)),
  'tau ratio': Criterion('P5', 'median τ / reference', (0.67, 1.5), (0.8, 1.25)),
  'radius W1': Criterion('P6', 'W1 of Rg² / replicas', (0, 4), (0, 2)),
  'collisions': Criterion('P7', 'collision excess', (0, 3), (0, 1.5)),
  'bond mean': Criterion('P8', 'deviation of bond mean', (0, 0.05), (0, 0.02)),
  'bond sd': Criterion('P8', 'deviation of bond sd', (0, 0.1), (0, 0.05)),
  'diffusion': Criterion('P9', 'D / exact', (0.75, 1.25), (0.9, 1.1)),
  'turning': Criterion('P10', 'error of mean, covariance and score when turned and moved',
                       (0, 1e-4), (0, 1e-5)),
  'NLL gain': Criterion('P11', 'NLL, by how much below the baseline\'s', (0, INFINITE),
                        (0, INFINITE)),
  'radius r2 gain': Criterion('P11', 'r² of mean Rg², by how much above', None, (0, INFINITE)),
  'log tau r2 gain': Criterion('P11', 'r² of log τ, by how much above', None, (0, INFINITE)),
  'tau r2 gain': Criterion('P11', 'r² of τ, by how much above', None, (0, INFINITE)),
  'speed': Criterion('P12', 'speed / molecular dynamics', (4, INFINITE)),
  'speed, long chain': Criterion('P12', 'speed / molecular dynamics, long chain', None,
                                 (50, INFINITE)),
  'radius error': Criterion('', 'MAE of mean Rg²'),
  'log tau r2 without length': Criterion('', 'r² of log τ, trend with log N removed'),
  'log integrated tau r2': Criterion('', 'r² of log τ, integrated'),
  'log fitted tau r2': Criterion('', 'r² of log τ, fitted'),
  'log end-to-end tau r2': Criterion('', 'r² of log τ of the end-to-end vector'),
  'bond mean, worst chain': Criterion('', 'deviation of bond mean, worst chain'),
  'bond sd, worst chain': Criterion('', 'deviation of bond sd, worst chain'),
}
PRECONDITIONS = {'radius r2': 0.95, 'log tau r2': 0.8}  # of the floor, else it is too short
LEGEND = (
  'Cells: mean over seeds, range in brackets, verdict of the mean. A number that not all chains '
  'have is not met; N is how many have it. Every number is the mean of those against replica A '
  'and against replica B alone, on as many frames; floor: replica A against B; short MD: one '
  'replica, from as many frames as a training run has, against the other. τ: first crossing '
  'of 1/e by the autocorrelation of Rg²; a correlation that never falls so far has none. q: the '
  f'99.9 % quantile of the reference\'s bonds. Collision excess: frames whose closest pair is '
  f'below the reference\'s {100 * RARE:g} % quantile, over {100 * RARE:g} %, mean over chains; a '
  'frame that is not finite is a collision. Deviations: mean over chains of |ratio - 1|. Rg² is '
  'that of the beads. P10: relative, in float32, the worst chain. P11: against the message-passing '
  'networks of the same seed and as many training steps, refined against refined. P12: of steps '
  'without refinement.')

Seeds = dict[int, dict[str, Measured]]


def verdict(criterion: Criterion, seeds: Sequence[Measured], chains: int) -> str:
  """'met (target)', 'met', 'not met', 'target not met', or '' where nothing is asked or known."""
  if not seeds or criterion.passes is criterion.target is None:
    return ''
  value, fewest = np.mean([m.value for m in seeds]), min(m.chains for m in seeds)
  passes, reaches = (ends is not None and fewest >= chains and bool(ends[0] <= value <= ends[1])
                     for ends in (criterion.passes, criterion.target))
  if criterion.passes is None:
    return 'met (target)' if reaches else 'target not met'
  return 'not met' if not passes else 'met (target)' if reaches else 'met'


def preconditions(limits: dict[str, Measured], chains: int) -> list[str]:
  """Whether the reference is long enough to judge anything."""
  lines = []
  for key, least in PRECONDITIONS.items():
    value, known = limits[key]
    met = value >= least and known == chains
    lines.append(f'Precondition, {CRITERIA[key].label} between the reference replicas: '
                 f'{value:.3g}, at least {least:g} needed, {known} of {chains} chains: '
                 + ('met.' if met else 'not met; the reference is too short.'))
  return lines


def criteria_table(
  table: dict[str, Seeds], known: dict[str, dict[str, Measured]],
  verdicts: dict[str, dict[str, str]], chains: int
) -> str:
  """Markdown: a line per criterion; a column for what is known, without verdict, and per model.

  A criterion of which no model has a number has no line.
  """
  heads = [f'{name} ({len(seeds)} seed{"s" * (len(seeds) > 1)})' for name, seeds in table.items()]
  rows = []
  for key, criterion in CRITERIA.items():
    cells = [_cell(column(seeds, key), chains, verdicts[name][key])
             for name, seeds in table.items()]
    if not any(cells):
      continue
    rows.append((criterion.id, criterion.label, _interval(criterion.passes),
                 _interval(criterion.target),
                 *(_cell(column({0: numbers}, key), chains, '') for numbers in known.values()),
                 *cells))
  return markdown.table(('', 'criterion', 'pass', 'target', *known, *heads), rows)


def column(seeds: Seeds, key: str) -> list[Measured]:
  """The number of each seed that has it."""
  return [numbers[key] for numbers in seeds.values() if key in numbers]


def _cell(seeds: Sequence[Measured], chains: int, text: str) -> str:
  if not seeds:
    return ''
  values, fewest = np.array([m.value for m in seeds]), min(m.chains for m in seeds)
  spread = f' ({values.min():.3g} to {values.max():.3g})' if len(values) > 1 else ''
  count = f', N = {fewest} of {chains}' if fewest < chains else ''
  return f'{values.mean():.3g}{spread}{count}' + (f': {text}' if text else '')


def _interval(ends: tuple[float, float] | None) -> str:
  if ends is None:
    return ''
  low, high = ends
  return f'≥ {low:g}' if high == INFINITE else f'≤ {high:g}' if low == 0 else f'{low:g} to {high:g}'
