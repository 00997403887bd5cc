"""How well one number of each system is predicted, over many systems, in numpy float64.

Pearson's r² is blind to scale and offset, the coefficient of determination R² is not: print both,
and beside them the same between two independent references. Systems without a number must be left
out by the caller, who says how many.
"""

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, ' systems']


def pearson_r2(first: Values, second: Values) -> float:
  """cov² / (var · var); NaN where one of the sets is constant."""
  first, second = _checked(first, second)
  return _r2(first - first.mean(), second - second.mean())


def determination(predicted: Values, true: Values) -> float:
  """R² = 1 - Σ (p - t)² / Σ (t - <t>)²: 1 for equality, 0 for the mean, below it for worse."""
  predicted, true = _checked(predicted, true)
  return float(1 - np.sum((predicted - true) ** 2) / np.sum((true - true.mean()) ** 2))


def mean_error(predicted: Values, true: Values) -> float:
  """<|p - t|>, in the unit of the values."""
  predicted, true = _checked(predicted, true)
  return float(np.mean(np.abs(predicted - true)))


def mean_relative_error(predicted: Values, true: Values) -> float:
  """<|p - t| / |t|>."""
  predicted, true = _checked(predicted, true)
  return float(np.mean(np.abs(predicted - true) / np.abs(true)))


def detrended_r2(first: Values, second: Values, trend: Values) -> float:
  """r² of what is left of each set when its own straight line over `trend` is taken away.

  For relaxation times: of log tau over log N, so that length cannot carry the score (a squared
  partial correlation).
  """
  first, second = _checked(first, second)
  slope = np.stack([np.ones_like(first), trend.astype(np.float64)], axis=1)

  def residual(values):
    return values - slope @ np.linalg.lstsq(slope, values, rcond=None)[0]

  return _r2(residual(first), residual(second))


def _r2(first, second):
  product = np.sum(first**2) * np.sum(second**2)
  return float(np.sum(first * second) ** 2 / product) if product > 0 else float('nan')


def _checked(first, second):
  if len(first) != len(second) or len(first) < 3:
    raise ValueError(f'values: found {len(first)} and {len(second)} systems, expected the same '
                     'number, at least three')
  if not (np.isfinite(first).all() and np.isfinite(second).all()):
    raise ValueError('values: found some that are not finite, expected them to be left out')
  return first.astype(np.float64), second.astype(np.float64)
