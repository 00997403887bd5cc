"""Predict, then refine: the least loss, the spread of refined frames, repairs, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone.baselines.time_integrated.graph import BeadGraph
from twoforone.baselines.time_integrated.refinement import (
  make_refine,
  make_score_loss,
  noise_ladder,
)

FRAME = np.array([[0.0, 0, 0], [1.5, 0, 0], [2.0, 1.4, 0], [3.0, 1.0, 1.2]], np.float32)
VARIANCE = 0.09


def beads(num_beads=4):
  return BeadGraph(np.arange(num_beads) < 4, np.ones(num_beads, np.float32),
                   np.zeros((num_beads, num_beads), bool))


def padded(x, num_beads):
  return jnp.pad(x, ((0, num_beads - len(x)), (0, 0)))


def gaussian(variance, x, latent, beads, sigma):
  """s of beads spread with a variance about latent, up to a translation (as a network sees it)."""
  mask = beads.mask[:, None]
  displaced = (x - latent) * mask
  displaced = (displaced - displaced.sum(axis=0) / mask.sum()) * mask
  return -sigma * displaced / (variance + sigma**2)


def test_the_ladder_falls_by_one_factor():
  np.testing.assert_allclose(noise_ladder(0.8, 0.1, 4), [0.8, 0.4, 0.2, 0.1])


@pytest.mark.parametrize('make, message', [
  (lambda: noise_ladder(0.1, 0.2, 4), r'highest, lowest: found 0\.1, 0\.2'),
  (lambda: noise_ladder(0.1, 0.0, 4), r'highest, lowest: found 0\.1, 0\.0'),
  (lambda: noise_ladder(0.2, 0.1, 1), 'num: found 1 levels'),
  (lambda: make_refine(gaussian, sigmas=np.array([0.1]), rate=1.5), r'rate: found 1\.5'),
  (lambda: make_refine(gaussian, sigmas=np.array([0.1]), steps=0), 'steps: found 0')])
def test_bad_settings_are_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_the_least_loss_of_gaussian_frames_is_known_and_no_other_score_has_less():
  sigmas = noise_ladder(1.0, 0.1, 5)
  loss = make_score_loss(gaussian, sigmas)

  def example_loss(variance, key):
    noise_key, key = jax.random.split(key)
    frame = FRAME + VARIANCE**0.5 * jax.random.normal(noise_key, FRAME.shape)
    return loss(variance, key, (padded(frame, 6), padded(FRAME, 6), beads(6)))

  keys = jax.random.split(jax.random.key(0), 20_000)
  values = jax.jit(jax.vmap(jax.value_and_grad(example_loss), (None, 0)))
  value, slope = (np.asarray(v, np.float64) for v in values(jnp.float32(VARIANCE), keys))
  expected = 0.5 * 3 / 4 * np.mean(VARIANCE / (VARIANCE + sigmas**2))
  assert abs(value.mean() - expected) < 4 * value.std() / len(keys) ** 0.5
  assert abs(slope.mean()) < 4 * slope.std() / len(keys) ** 0.5
  for wrong in (0.5 * VARIANCE, 2 * VARIANCE):
    excess = np.asarray(values(jnp.float32(wrong), keys)[0]) - value
    assert excess.mean() > 4 * excess.std() / len(keys) ** 0.5


def langevin_variance(variance, start, sigmas, steps, rate):
  """Of a Gaussian that goes through the linear steps of `make_refine` with the exact score."""
  for sigma in np.repeat(sigmas, steps):
    shrink = 1 - rate * sigma**2 / (variance + sigma**2)
    start = shrink**2 * start + 2 * rate * sigma**2
  return start * (variance / (variance + sigmas[-1] ** 2)) ** 2


@pytest.mark.parametrize('start', [0.0, 1.0])
def test_refined_gaussian_frames_have_the_right_spread_wherever_they_start(start):
  # Slow enough to forget the start; the linear recursion includes what finite steps leave.
  sigmas, rate, steps, num = noise_ladder(0.3, 0.05, 6), 0.5, 40, 2_000
  refine = make_refine(gaussian, sigmas=sigmas, steps=steps, rate=rate)
  frames = FRAME + start**0.5 * jax.random.normal(jax.random.key(1), (num, *FRAME.shape))
  keys = jax.random.split(jax.random.key(2), num)
  refined = jax.jit(jax.vmap(refine, (None, 0, 0, None, None)))(
    jnp.float32(VARIANCE), keys, frames, FRAME, beads())
  # The centroid stays where it was, whatever the noise: float32 sums over 240 steps.
  np.testing.assert_allclose(refined.mean(axis=1), frames.mean(axis=1), atol=1e-5)
  displaced = np.asarray(refined - FRAME, np.float64)
  displaced -= displaced.mean(axis=1, keepdims=True)
  squares = np.sum(displaced**2, axis=(1, 2)) / (3 * 3)  # three of four beads are free
  expected = langevin_variance(VARIANCE, start, sigmas, steps, rate)
  assert abs(squares.mean() - expected) < 4 * squares.std() / num**0.5
  assert abs(expected - VARIANCE) < 0.01 * VARIANCE


def test_a_displaced_bead_is_pulled_back_where_only_one_frame_is_possible():
  refine = make_refine(gaussian, sigmas=noise_ladder(0.5, 0.02, 8))
  moved = jnp.asarray(FRAME).at[2].add(jnp.array([0.5, -0.3, 0.2]))
  back = jax.jit(refine)(jnp.float32(0), jax.random.key(0), moved, FRAME, beads())
  shape = back - back.mean(axis=0)
  # The last step takes all noise out when the variance is zero.
  np.testing.assert_allclose(shape, FRAME - FRAME.mean(axis=0), atol=1e-5)


def test_the_original_ladder_cannot_reach_what_the_truncated_one_repairs():
  """Steps of constant eps over 20 levels from 10 to 0.01, without their noise."""
  moved = FRAME[0, 0] + 0.5
  x = moved
  for sigma in np.repeat(noise_ladder(10.0, 0.01, 20), 10):
    x -= 5e-5 * np.clip(x / sigma, -1, 1) / sigma  # |s| at most 1, as of its typical noise
  assert 0.1 < moved - x < 0.2  # spec 2.4: about 0.16
  high = sum(10 * 5e-5 / sigma for sigma in noise_ladder(10.0, 0.01, 20) if sigma > 0.1)
  assert high < 0.02


def log_density(r):
  """Of the distance of two beads along a line, both signs alike: |r| < 0.6 is almost never seen."""
  return -((jnp.maximum(jnp.abs(r), 0.2) / 0.8) ** -6.0) - r**2 / 2


def two_beads(params, x, latent, beads, sigma):
  """Their s, by quadrature; the distance has noise of variance 2 sigma²."""
  del params, latent, beads
  grid = jnp.linspace(-5.0, 5.0, 801)
  r = x[1, 0] - x[0, 0]
  weight = jax.nn.softmax(log_density(grid) - (r - grid) ** 2 / (4 * sigma**2))
  slope = weight @ (grid - r) / (2 * sigma**2)
  return jnp.zeros_like(x).at[:2, 0].set(sigma * slope * jnp.array([-1.0, 1.0]))


def test_overlaps_are_repaired_and_right_frames_keep_their_distribution():
  refine = make_refine(two_beads, sigmas=noise_ladder(0.15, 0.03, 8))
  pair = BeadGraph(np.ones(2, bool), np.ones(2, np.float32), np.zeros((2, 2), bool))
  fine, num = np.linspace(-5, 5, 20_001), 1_000
  cumulative = np.cumsum(np.exp(log_density(fine)))
  right = np.interp((np.arange(num) + 0.5) / num, cumulative / cumulative[-1], fine)
  predicted = np.random.default_rng(0).standard_normal(num)  # a Gaussian overlooks the repulsion
  assert np.mean(np.abs(predicted) < 0.6) > 0.4 and np.mean(np.abs(right) < 0.6) < 1e-3
  frames = jnp.zeros((2 * num, 2, 3)).at[:, 1, 0].set(np.concatenate([right, predicted]))
  refined = jax.jit(jax.vmap(refine, (None, 0, 0, None, None)))(
    0.0, jax.random.split(jax.random.key(0), 2 * num), frames, jnp.zeros((2, 3)), pair)
  kept, repaired = np.asarray(refined[:, 1, 0] - refined[:, 0, 0]).reshape(2, num)
  assert np.mean(np.abs(repaired) < 0.6) < 0.01 and np.mean(np.abs(kept) < 0.6) < 0.01
  # These start as the quantiles: their mean differs by less than that of as many draws.
  assert abs(np.mean(kept**2) - np.mean(right**2)) < 4 * np.std(right**2) / num**0.5


def test_padding_stays_at_zero_and_real_beads_do_not_see_it():
  refine = jax.jit(make_refine(gaussian, sigmas=noise_ladder(0.3, 0.02, 4)))
  arguments = jnp.float32(0), jax.random.key(0)
  moved = jnp.asarray(FRAME).at[1, 2].add(0.4)
  more = refine(*arguments, padded(moved, 7), padded(FRAME, 7), beads(7))
  np.testing.assert_array_equal(more[4:], 0)
  # The noise has another shape and so other values; with zero variance it does not matter.
  np.testing.assert_allclose(
    more[:4], refine(*arguments, moved, jnp.asarray(FRAME), beads()), atol=1e-5)
