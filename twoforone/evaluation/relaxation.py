"""Relaxation and diffusion of a time series, in numpy float64.

C(t) = <δA(0) δA(t)> / <δA²> by FFT, each lag divided by its own number of pairs. Three relaxation
times of one C, equal for an exponential: first crossing of 1/e, integral to the first zero, and a
fit. D is a sixth of the slope of the mean squared displacement over a window of lags.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import fft, optimize


class Relaxation(NamedTuple):
  """Relaxation times of one correlation function, in the unit of the interval.

  Attributes:
    crossing: where C first falls to 1/e, interpolated; NaN when it never does.
    integrated: ∫ C dt to the first zero, by the trapezoidal rule; NaN when there is none.
    fitted: tau of the exp(-t/tau) nearest to C up to the first zero (to the end without one).
  """

  crossing: float
  integrated: float
  fitted: float


def autocorrelation(
  series: Float[np.ndarray, 'frames *parts']
) -> Float[np.ndarray, ' lags']:
  """<a(0)·a(t)> / <a²> for the lags below half of the frames; no mean is removed.

  Args:
    series: at least four frames; components of a vector, or several series of one length, along
      the other axes are summed before the division.

  Raises:
    ValueError: for too few frames, values that are not finite, or zeros throughout.
  """
  frames = len(series)
  flat = series.reshape(frames, -1).astype(np.float64)
  if frames < 4 or not np.isfinite(flat).all() or not flat.any():
    raise ValueError(f'series: found {frames} frames, {np.isfinite(flat).sum()} of {flat.size} '
                     'values finite, expected at least four frames, finite and not all zero')
  spectrum = np.abs(fft.rfft(flat, fft.next_fast_len(2 * frames), axis=0)) ** 2
  pairs = frames - np.arange(frames // 2)
  products = fft.irfft(spectrum.sum(axis=1), fft.next_fast_len(2 * frames))[:len(pairs)] / pairs
  return products / products[0]


def fluctuations(
  series: Float[np.ndarray, 'frames *parts']
) -> Float[np.ndarray, 'frames *parts']:
  """The series less its mean over everything: replicas share one mean."""
  return series - series.mean(dtype=np.float64)


def relaxation_times(correlation: Float[np.ndarray, ' lags'], interval: float) -> Relaxation:
  """The three times of a correlation function whose lags are `interval` apart, C(0) = 1."""
  below = np.flatnonzero(correlation <= np.exp(-1))
  crossing = integrated = float('nan')
  if below.size:
    k = below[0]
    before, after = correlation[k - 1], correlation[k]
    crossing = float(interval * (k - 1 + (before - np.exp(-1)) / (before - after)))
  zeros = np.flatnonzero(correlation <= 0)
  positive = correlation[:zeros[0]] if zeros.size else correlation
  if zeros.size:  # the last interval ends where the line between two lags meets zero
    last, beyond = positive[-1], correlation[zeros[0]]
    inside = positive.sum() - (positive[0] + last) / 2
    integrated = float(interval * (inside + last / 2 * last / (last - beyond)))
  return Relaxation(crossing, integrated, _fit(positive, interval))


def _fit(correlation, interval):
  lags = interval * np.arange(len(correlation))

  def error(log_tau):
    return np.sum((correlation - np.exp(-lags / np.exp(log_tau))) ** 2)

  ends = np.log(interval * 1e-2), np.log(interval * 1e2 * len(correlation))
  return float(np.exp(optimize.minimize_scalar(error, bounds=ends, method='bounded').x))


def mean_squared_displacement(
  position: Float[np.ndarray, 'frames *chains 3'], lags: Sequence[int] | np.ndarray
) -> Float[np.ndarray, 'lags *chains']:
  """<|X(t + lag) - X(t)|²> over all origins t, of unwrapped positions.

  Raises:
    ValueError: for a lag that no pair of frames spans.
  """
  if not 0 < min(lags) <= max(lags) < len(position):
    raise ValueError(f'lags: found {min(lags)} to {max(lags)}, expected 1 to '
                     f'{len(position) - 1}, below the number of frames')
  x = position.astype(np.float64)

  def displacement(lag):
    step = x[lag:] - x[:-lag]
    return np.einsum('f...d,f...d->...', step, step) / len(step)

  return np.stack([displacement(lag) for lag in lags])


def diffusion_coefficient(
  position: Float[np.ndarray, 'frames *chains 3'], *, window: tuple[int, int], interval: float
) -> Float[np.ndarray, '*chains']:
  """D: a sixth of the slope of a straight line through the MSD over the lags of the window.

  The line has a free offset, so that neither the ballistic start nor noise of the positions counts.

  Args:
    position: unwrapped, for example the centre of mass.
    window: first and last lag in frames, past the ballistic regime and short against the run.
    interval: between frames.
  """
  lags = np.arange(window[0], window[1] + 1)
  if len(lags) < 2:
    raise ValueError(f'window: found {window}, expected a first and a later last lag')
  offset = lags - lags.mean()
  msd = mean_squared_displacement(position, lags)
  slope = np.tensordot(offset, msd, axes=(0, 0)) / np.sum(offset**2)
  return np.asarray(slope / (6 * interval))
