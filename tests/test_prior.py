"""The prior on bonds and angles whose noised densities are known by quadrature or by sampling."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from twoforone import geometry, prior
from twoforone.energy import make_score
from twoforone.schedule import Schedule, cosine_schedule

SCHEDULE = cosine_schedule()
LENGTH, WIDTH = 1.5, 0.03  # of a whitened bond
RNG = np.random.default_rng(0)


def random_directions(count):
  v = RNG.standard_normal((count, 3))
  return v / np.linalg.norm(v, axis=1, keepdims=True)


def dimers(count):
  """Frames of two beads, the bond's length N(LENGTH, WIDTH²)."""
  bond = (LENGTH + WIDTH * RNG.standard_normal((count, 1))) * random_directions(count)
  return np.stack([bond, -bond], axis=1) / 2


def trimers(count):
  """Frames of three beads: two normal bonds and a normal angle that opens as the first shortens."""
  z = RNG.standard_normal((3, count))
  first, second = LENGTH + WIDTH * z[0], 1.1 * LENGTH + WIDTH * z[1]
  angle = 2.0 + 0.06 * (0.6 * z[2] - 0.8 * z[0])
  u = random_directions(count)
  w = np.cross(u, random_directions(count))
  w /= np.linalg.norm(w, axis=1, keepdims=True)
  third = second[:, None] * (np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * w)
  return np.stack([first[:, None] * u, 0 * u, third], axis=1)


def chains(count, beads=5):
  """Frames of a random walk of stiff bonds, centred, their bond of the usual length."""
  steps = LENGTH * random_directions(count * (beads - 1)).reshape(count, beads - 1, 3)
  x = np.concatenate([np.zeros((count, 1, 3)), np.cumsum(steps, axis=1)], axis=1)
  return x - x.mean(axis=1, keepdims=True)


def bonds_of(beads):
  return np.stack([np.arange(beads - 1), np.arange(1, beads)], axis=1)


def without_shells(found):
  """Only the Gaussian of the beads is left."""
  K, (i, j) = found.bead_covariance, found.pairs.T
  return found._replace(
    radius=0 * found.radius, covariance=np.diag(K[i, i] + K[j, j] - 2 * K[i, j]),
    wall=np.array([0.0, 1.0]))


def standard_error(sample):
  return sample.std() / np.sqrt(len(sample))


@functools.cache
def fitted(kind, beads, count=20_000):
  x = kind(count)
  return x, prior.fit_prior(x, bonds_of(beads))


def time_of(sigma):
  return SCHEDULE.time(jnp.float32(sigma))


def compiled(found, schedule=SCHEDULE):
  """score(None, x[F, n, 3], t), jitted: compiling is most of the time of these tests."""
  score = make_score(prior.make_prior(found, schedule))
  return jax.jit(jax.vmap(score, in_axes=(None, 0, None)))


def excess(score, x, sigma):
  """<(noise + sigma score) · sigma score> per frame, zero on average where the score is true.

  Also |sigma score|² per frame, to compare with.
  """
  t = time_of(sigma)
  x = jnp.asarray(x - x.mean(axis=1, keepdims=True), jnp.float32)
  noise = jax.random.normal(jax.random.key(0), x.shape)
  noise -= noise.mean(axis=1, keepdims=True)
  s = SCHEDULE.sigma(t) * score(None, SCHEDULE.alpha(t) * x + SCHEDULE.sigma(t) * noise, t)
  return [np.asarray(jnp.sum(product, axis=(1, 2)), np.float64)
          for product in ((noise + s) * s, s**2)]


def noised_bond_force(r, alpha, sigma):
  """-d/dr of -log of the density of the bond vector, from the integral over the true length."""
  length = LENGTH + WIDTH * np.linspace(-8, 8, 2001)
  def log_density(r):
    s2, b = 2 * sigma**2, alpha * length
    gap = np.exp(-((r[:, None] - b) ** 2) / (2 * s2)) - np.exp(-((r[:, None] + b) ** 2) / (2 * s2))
    weight = np.exp(-((length - LENGTH) ** 2) / (2 * WIDTH**2))
    return np.log((gap * weight / (r[:, None] * b)).sum(axis=1))
  return (log_density(r + 1e-5) - log_density(r - 1e-5)) / 2e-5


def test_bond_force_is_that_of_the_noised_marginal():
  _, found = fitted(dimers, 2, 200_000)
  score = compiled(found)
  for sigma in (0.007, 0.02, 0.1, 0.4, 0.8):
    t = time_of(sigma)
    alpha, sigma = float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t))
    width = np.sqrt((alpha * WIDTH) ** 2 + 2 * sigma**2)
    r = np.linspace(max(alpha * LENGTH - 3 * width, 0.05), alpha * LENGTH + 3 * width, 50)
    x = r[:, None, None] * np.array([[0.5, 0, 0], [-0.5, 0, 0]])
    force = score(None, jnp.asarray(x, jnp.float32), t)[:, 0, 0]
    # The force reaches 3 / width; shell and normal law differ by width/length, 2 %, there.
    np.testing.assert_allclose(force, noised_bond_force(r, alpha, sigma), atol=0.02 * 3 / width)


def test_on_noised_bonds_the_score_is_neither_too_strong_nor_too_weak():
  x, found = fitted(dimers, 2)
  score = compiled(found)
  for sigma in (0.01, 0.03, 0.1, 0.3, 0.7):
    value, _ = excess(score, x, sigma)
    assert abs(value.mean()) < 4 * standard_error(value)
  # Without broadening the bond is far too strong.
  blind = compiled(found, Schedule(lambda t: 1.0 + 0 * t, lambda t: 0.001 + 0 * t,
                                   SCHEDULE.time, 1000))
  value, square = excess(blind, x, 0.1)
  assert value.mean() > 0.9 * square.mean()


def test_bonds_and_angles_that_vary_together():
  x, found = fitted(trimers, 3)
  value, _ = excess(compiled(found), x, 0.01)
  assert abs(value.mean()) < 4 * standard_error(value)
  # Were they independent, the score would be 5 % too strong: same frames, same noise.
  apart = found._replace(covariance=np.diag(np.diag(found.covariance)))
  more = excess(compiled(apart), x, 0.01)[0] - value
  assert more.mean() > 4 * standard_error(more)


def test_the_prior_alone_denoises_better_than_the_gaussian_alone():
  x, found = fitted(chains, 5)
  # |noise + s|² = |noise|² + 2 (noise + s) s - |s|², of the same frames and noise for both.
  scores = [compiled(energy) for energy in (found, without_shells(found))]
  for sigma in (0.03, 0.2, 0.6):
    ours, plain = (2 * value - square for value, square in (
      excess(score, x[:4000], sigma) for score in scores))
    assert (plain - ours).mean() > 4 * standard_error(plain - ours)


def test_the_fit_finds_shells_and_knows_a_normal_law():
  count, b, v = 100_000, 2.0, 0.2
  normal = RNG.standard_normal((count, 3))
  for radius, expected in ((b, (b, v)), (0.0, (0.0, v))):
    r = radius * random_directions(count) + np.sqrt(v) * normal
    found = prior.fit_prior(np.stack([r, 0 * r], axis=1), bonds_of(2))
    # b² is a difference of moments known to 1/sqrt(count), so near zero b is known to its root.
    np.testing.assert_allclose(found.radius**2, expected[0] ** 2, atol=0.05)
    np.testing.assert_allclose(found.covariance, v, rtol=0.02)


def test_at_high_noise_it_is_the_gaussian_of_the_noised_data():
  x, found = fitted(chains, 5)
  score = compiled(found)
  for sigma in (0.8, 0.95, 0.999):
    t = time_of(sigma)
    alpha, sigma = float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t))
    noised = alpha * x[:50] + sigma * RNG.standard_normal((50, 5, 3))
    noised -= noised.mean(axis=1, keepdims=True)
    covariance = alpha**2 * found.bead_covariance + sigma**2 * np.eye(5)
    expected = -np.linalg.solve(covariance, noised)
    difference = np.asarray(score(None, jnp.asarray(noised, jnp.float32), t)) - expected
    # A shell differs from its Gaussian by the fourth cumulant, (alpha b)⁴ against the variance².
    bound = (alpha * LENGTH) ** 4 / (2 * sigma**2) ** 2 + 1e-5
    assert np.sqrt(np.mean(difference**2)) < bound * np.sqrt(np.mean(expected**2))


def test_without_shells_the_exact_score_of_normal_data_is_left_at_every_level():
  x = RNG.standard_normal((5000, 4, 3)) * np.array([1.0, 0.5, 2.0, 1.0])[:, None]
  x -= x.mean(axis=1, keepdims=True)
  found = without_shells(prior.fit_prior(x, bonds_of(4)))
  score = compiled(found)
  for t in (0.001, 0.3, 0.9):
    alpha, sigma = float(SCHEDULE.alpha(jnp.float32(t))), float(SCHEDULE.sigma(jnp.float32(t)))
    expected = -np.linalg.solve(alpha**2 * found.bead_covariance + sigma**2 * np.eye(4), x[:10])
    found_score = score(None, jnp.asarray(x[:10], jnp.float32), jnp.float32(t))
    np.testing.assert_allclose(found_score, expected, rtol=1e-4, atol=1e-4)  # float32


def test_a_wall_under_noise_is_the_noised_wall():
  # Straight chains of four: beads 0 and 3 are apart, the wall a step with a normal edge.
  _, found = fitted(functools.partial(chains, beads=4), 4)
  found = found._replace(wall=np.array([4.0, 0.05]))
  without = found._replace(wall=np.array([0.0, 1.0]))
  t = time_of(0.02)
  alpha, sigma = float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t))
  end = np.linspace(3.8, 4.2, 30)
  frames = np.zeros((30, 4, 3)) + np.array([0, 1.3, 2.6, 0])[:, None] * np.array([1.0, 0, 0])
  frames[:, 3, 0] = end
  push = [compiled(f)(None, jnp.asarray(frames, jnp.float32), t)[:, 3, 0]
          for f in (found, without)]
  # The density of the noised distance, by quadrature over the unnoised one.
  inside = np.linspace(3, 5, 4001)
  open_ = jax.scipy.stats.norm.cdf((inside - 4.0) / 0.05)
  moved = np.exp(-((end[:, None] - alpha * inside) ** 2) / (4 * sigma**2))
  slope = -(end[:, None] - alpha * inside) / (2 * sigma**2)
  expected = (moved * slope * open_).sum(axis=1) / (moved * open_).sum(axis=1)
  # That law is of a line; in space the wall curves, by s/a = 0.014 here.
  np.testing.assert_allclose(push[0] - push[1], expected, rtol=0.03, atol=0.1)


@pytest.mark.parametrize('a, s', [(1.0, 0.1), (1.0, 0.7), (0.5, 2.0)])
def test_noise_fills_an_empty_ball_from_all_sides(a, s):
  """Uniform points outside the ball, noised, have a density that scipy knows."""
  d = np.array([1e-4, 0.02, 0.3, 0.9, 1.0, 1.3, 2.5])
  expected = scipy.stats.ncx2.logsf((a / s) ** 2, 3, (d / s) ** 2)
  of = functools.partial(prior._log_outside, jnp.asarray(d, jnp.float32), s=jnp.float32(s))
  np.testing.assert_allclose(of(a=jnp.float32(a)), expected, rtol=1e-4, atol=1e-6)  # float32
  np.testing.assert_allclose(of(a=jnp.float32(0)), 0, atol=1e-6)


def test_finite_wherever_the_beads_are():
  line = np.array([1.4, 0, 0])
  x = jnp.asarray(np.stack([
    np.zeros((5, 3)), np.outer(np.arange(5), line), np.outer([0, 0, 1, 2, 2], line),
    np.outer([0, 1, 0, 1, 0], line), 100 * np.eye(5)[:, :3]]), jnp.float32)
  energy = prior.make_prior(fitted(chains, 5)[1], SCHEDULE)
  def all_of(x, t):
    return (*jax.value_and_grad(energy, argnums=1)(None, x, t),
            jax.hessian(energy, argnums=1)(None, x, t))
  everything = jax.jit(jax.vmap(all_of, in_axes=(0, None)))
  for t in (0.0, 0.1, 0.999):
    assert all(bool(jnp.isfinite(a).all()) for a in everything(x, jnp.float32(t)))


def test_energy_turns_and_moves_with_the_beads():
  x, found = fitted(chains, 5)
  energy = jax.jit(prior.make_prior(found, SCHEDULE))
  frame = jnp.asarray(x[0], jnp.float32)
  moved = frame @ geometry.random_rotation(jax.random.key(1)).T + 0.3
  t = time_of(0.1)
  np.testing.assert_allclose(energy(None, moved, t), energy(None, frame, t), rtol=1e-4)
  mirrored = frame * jnp.array([1.0, 1.0, -1.0])  # chirality is the network's affair
  np.testing.assert_allclose(energy(None, mirrored, t), energy(None, frame, t), rtol=1e-5)


def test_pairs_of_chains_branches_and_rings():
  chain = prior.stiff_pairs(bonds_of(4))
  assert chain.tolist() == [[0, 1], [1, 2], [2, 3], [0, 2], [1, 3]]
  star = prior.stiff_pairs(np.array([[1, 0], [0, 2], [0, 3]]))
  assert star.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
  ring = prior.stiff_pairs(np.array([[0, 1], [1, 2], [2, 0]]))
  assert ring.tolist() == [[0, 1], [0, 2], [1, 2]]


def test_more_pairs_than_motions_still_have_a_finite_energy():
  # A bead with four neighbours: ten distances, nine motions; the tenth would make the score ten
  # times too strong. The Gaussian knows three of them too, so these count twice: where s is 2 s_0
  # and s_0 right, (noise + s) · s is 2 s_0², in all 3 · 2 of 3 · 4 + 6 · 1.
  corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
  x = np.concatenate([np.zeros((1, 3)), corners]) + 0.02 * RNG.standard_normal((500, 5, 3))
  found = prior.fit_prior(x, np.array([[0, 1], [0, 2], [0, 3], [0, 4]]))
  assert len(found.pairs) == 10
  value, square = excess(compiled(found), x, 0.1)
  # The widths of the distances, 0.02 under noise of 0.1, leave 4 % of that.
  error = 4 * standard_error(value) / square.mean() + 0.04 / 3
  assert abs(value.mean() / square.mean() - 1 / 3) < error


def test_a_card_brings_the_same_prior_back():
  x, found = fitted(chains, 5)
  card = json.loads(json.dumps({k: v.tolist() for k, v in found._asdict().items()}))
  again = prior.Prior(**{name: np.asarray(value) for name, value in card.items()})
  first, second = (compiled(f)(None, jnp.asarray(x[:2], jnp.float32), jnp.float32(0.2))
                   for f in (found, again))
  np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize('noise', [0.0, 0.02])
def test_time_step_of_a_bond(noise):
  # ω² = kT / (μ variance): Verlet's largest step is 2/ω.
  _, found = fitted(dimers, 2, 200_000)
  kT, scale, mass = 2.5, 0.1, np.array([12.0, 4.0])
  variance = (WIDTH**2 + 2 * noise**2) * scale**2
  step = prior.fitted_time_step(found, mass=mass, kT=kT, scale=scale, noise=noise, fraction=1.0)
  assert step == pytest.approx(2 / np.sqrt(kT / (3.0 * variance)), rel=0.01)  # the fit's error


def test_verlet_is_stable_up_to_that_step_and_not_above():
  x, found = fitted(trimers, 3)
  kT, scale, mass = 2.5, 0.1, np.array([12.0, 14.0, 12.0])
  score, t = make_score(prior.make_prior(found, SCHEDULE)), jnp.float32(0.0)
  noise = float(SCHEDULE.sigma(t) / SCHEDULE.alpha(t))
  limit = prior.fitted_time_step(found, mass=mass, kT=kT, scale=scale, noise=noise, fraction=1.0)

  @jax.jit
  def furthest(dt):
    def step(state, _):
      x, v = state
      v = v + dt * kT / scale * score(None, x / scale, t) / mass[:, None]
      return (x + dt * v, v), jnp.abs(x).max()
    start = jnp.asarray(scale * (x[0] - x[0].mean(axis=0)), jnp.float32)
    path = jax.lax.scan(step, (start, jnp.zeros_like(start)), length=2000)[1]
    return jnp.nan_to_num(path, nan=jnp.inf).max()

  # Anharmonicity moves the limit by some per cent.
  assert furthest(0.9 * limit) < 3 * LENGTH * scale < furthest(1.1 * limit)


def test_what_cannot_be_fitted_is_named():
  x = chains(30)
  for bonds in ([[0, 5]], [[1, 1]], [[-1, 2]], np.zeros((0, 2), int)):
    with pytest.raises(ValueError, match='bonds: found'):
      prior.fit_prior(x, np.array(bonds))
  with pytest.raises(ValueError, match='x: found 7 frames, expected more than 7'):
    prior.fit_prior(x[:7], bonds_of(5))
  found = fitted(chains, 5)[1]
  with pytest.raises(ValueError, match='mass: found'):
    prior.fitted_time_step(found, mass=np.ones(4), kT=2.5, scale=0.1)
  with pytest.raises(ValueError, match='scale: found 0'):
    prior.fitted_time_step(found, mass=np.ones(5), kT=2.5, scale=0.0)
