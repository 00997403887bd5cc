"""The correction by relative entropy: its splines, its fit with known answers, its use."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import correcting, models
from twoforone import correction, energy
from twoforone.datasets.dataset import Dataset, Split
from twoforone.geometry import random_rotation
from twoforone.system import make_chain

BONDS = np.array([[0, 1], [1, 2]])
WIDTH, MODEL, DATA = 0.05, 0.50, 0.53  # nm: both ends of three beads, normal
SPLINES = correction.PairSplines(np.array([[0, 2]]), np.array([0.4]), np.array([0.6]))


def chains(distance):
  """Three beads [F, 3, 3] whose ends are so far apart."""
  x = np.zeros((len(distance), 3, 3))
  x[:, 1, 1], x[:, 2, 0] = 0.3, distance
  return x


def draw(mean, count, seed):
  return chains(np.random.default_rng(seed).normal(mean, WIDTH, count))


def fit(model, data, **changes):
  basis = correction.make_pair_basis(correction.fit_pair_splines(data, BONDS), **changes)
  mean, variance = correction.measure_means(basis, data, np.arange(len(data)) * 4 // len(data))
  return basis, correction.fit_correction(correction.evaluate_basis(basis, model), mean, variance)


def test_splines_are_of_the_pairs_without_bonds():
  x = np.random.default_rng(0).normal(size=(200, 5, 3))
  splines = correction.fit_pair_splines(x, np.array([[1, 0], [2, 3]]), tail=0.1)
  found = {tuple(pair) for pair in splines.pairs.tolist()}
  assert found == {(i, j) for i in range(5) for j in range(i + 1, 5)} - {(0, 1), (2, 3)}
  distance = np.linalg.norm(x[:, 0] - x[:, 2], axis=-1)
  place = splines.pairs.tolist().index([0, 2])
  np.testing.assert_allclose([splines.low[place], splines.high[place]],
                             np.quantile(distance, [0.1, 0.9]))


def test_splines_of_a_distance_sum_to_one_and_end_with_no_force():
  x = np.random.default_rng(1).normal(size=(100, 3, 3))
  basis = correction.make_pair_basis(correction.fit_pair_splines(x, BONDS), count=6)
  values = correction.evaluate_basis(basis, x)
  assert values.shape == (100, 6) == (100, correction.basis_size(basis, x))
  np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)
  c = np.random.default_rng(2).normal(size=6).astype(np.float32)
  score = energy.make_score(correction.make_correction(basis))
  far = jnp.asarray(chains(np.array([1e3]))[0], jnp.float32)
  np.testing.assert_array_equal(score(c, far, jnp.float32(0)), 0)
  near = jnp.asarray(x[0], jnp.float32)
  turned = near @ random_rotation(jax.random.key(0)).T + 1.0
  np.testing.assert_allclose(basis(turned), basis(near), atol=1e-5)


def test_fit_of_states_is_the_log_ratio_of_their_shares():
  simulated, data = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
  values = np.repeat(np.eye(3), (1000 * simulated).astype(int), axis=0)
  found = correction.fit_correction(values, data, np.full(3, 1e-12))
  expected = np.log(simulated / data)
  np.testing.assert_allclose(found.coefficients - found.coefficients.mean(),
                             expected - expected.mean(), atol=1e-5)
  weighted = expected - simulated @ expected
  assert found.size == pytest.approx(np.sqrt(simulated @ weighted**2), rel=1e-4)
  ratio = data / simulated
  assert found.effective_share == pytest.approx(
    np.exp(-np.sum(simulated * ratio * np.log(ratio))), rel=1e-4)


def test_fit_keeps_inside_the_errors_of_the_means():
  values = np.repeat(np.eye(2), (500, 500), axis=0)
  mean, variance = np.array([0.7, 0.3]), np.array([0.02, 0.05])
  c = correction.fit_correction(values, mean, variance).coefficients
  w = np.exp(-c) / np.exp(-c).sum()
  np.testing.assert_allclose(mean - w + variance * c, 0, atol=1e-6)  # the gradient of S
  assert 0.5 < w[0] < 0.7


def test_correction_is_the_log_ratio_of_densities():
  model, data = draw(MODEL, 40_000, 0), draw(DATA, 40_000, 1)
  basis, found = fit(model, data, count=6)
  r = np.linspace(DATA - WIDTH, DATA + WIDTH, 5)
  energies = correction.evaluate_basis(basis, chains(r)) @ found.coefficients
  # ln p_model - ln p_data is linear in r; forty thousand draws know its slope to a few percent.
  slope = np.polyfit(r, energies, 1)[0]
  assert slope == pytest.approx(-(DATA - MODEL) / WIDTH**2, rel=0.06)
  fresh, other = draw(DATA, 20_000, 2), draw(MODEL, 20_000, 3)
  gain = correction.likelihood_gain(basis, found.coefficients, other, fresh)
  assert gain == pytest.approx((DATA - MODEL) ** 2 / WIDTH**2 / 2, rel=0.06)  # KL of two normals
  nothing = correction.likelihood_gain(basis, 0 * found.coefficients, other, fresh)
  assert nothing == pytest.approx(0, abs=1e-12)


def test_nothing_to_correct_stays_within_the_noise():
  _, found = fit(draw(MODEL, 20_000, 4), draw(MODEL, 20_000, 5))
  assert found.size < 0.05  # kT; sampling gives sqrt(2 · 7 coefficients / 20,000) = 0.03
  assert found.effective_share > 0.99


def test_means_have_the_scatter_of_the_runs():
  x = np.concatenate([draw(mean, 1000, seed) for seed, mean in enumerate((0.45, 0.50, 0.58))])
  run = np.repeat([4, 2, 9], 1000)
  basis = correction.make_pair_basis(correction.fit_pair_splines(x, BONDS), 5)
  mean, variance = correction.measure_means(basis, x, run)
  values = correction.evaluate_basis(basis, x)
  each = np.array([values[run == k].mean(axis=0) for k in (4, 2, 9)])
  np.testing.assert_allclose(mean, values.mean(axis=0), atol=1e-6)
  np.testing.assert_allclose(variance, each.var(axis=0, ddof=1) / 3, rtol=1e-4, atol=1e-9)
  one, _ = correction.measure_means(basis, x, np.zeros(3000, int))  # cut into ten pieces
  np.testing.assert_allclose(one, mean, atol=1e-6)


@pytest.mark.parametrize(('call', 'message'), [
  (lambda: correction.fit_pair_splines(np.zeros((9, 2, 3)), np.array([[0, 1]])), 'all pairs of 2'),
  (lambda: correction.make_pair_basis(SPLINES, 3), 'count: found 3'),
  (lambda: correction.fit_correction(np.full((2, 1), np.nan), np.ones(1), np.ones(1)), 'NaN'),
  (lambda: correction.fit_correction(np.ones((2, 1)), np.ones(1), np.zeros(1)), 'variance'),
  (lambda: correction.measure_means(
    jnp.ravel, np.zeros((1, 3, 3)), np.zeros(1, int)), '1 frames'),
])
def test_bad_input_is_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()


def make_case(tmp_path, model_energy):
  """What `correcting.correct` takes, of frames that stand for a simulation."""
  def dataset(x):
    system = make_chain('three', ('A', 'B', 'C'), (12.0,) * 3, 300.0)
    return Dataset(x, None, np.repeat([0, 1], len(x) // 2), 1.0, system)

  split = Split(*(dataset(draw(DATA, count, seed))
                  for seed, count in enumerate((4000, 1000, 1000))))
  settings = types.SimpleNamespace(coefficients=6, rounds=1)
  config = types.SimpleNamespace(simulate=types.SimpleNamespace(correction=settings))
  score = (energy.make_score(model_energy) if model_energy
           else lambda params, x, t: -params * x)
  model = models.Model(None, model_energy, score, None, 0.5, None)
  return config, model, 2.0, split, draw(MODEL, 8000, 9).reshape(400, 20, 3, 3), 0, tmp_path


@pytest.mark.parametrize('model_energy', [
  lambda params, x, t: 0.5 * params * jnp.sum(x**2), None], ids=['energy', 'direct score'])
def test_corrected_model_adds_to_energy_and_score(tmp_path, model_energy):
  case = make_case(tmp_path, model_energy)
  model, params = correcting.correct(*case)
  _, same = correcting.correct(*case)  # reads what the first has left
  np.testing.assert_array_equal(params[1], same[1])
  x, t = jnp.asarray(case[3].train.x[0] / 0.5, jnp.float32), jnp.float32(0)
  added = model.score(params, x, t) - case[1].score(2.0, x, t)
  # Ends are pushed apart: the data are wider than the simulation.
  assert added[2, 0] > 0 > added[0, 0]
  assert (model.energy is None) == (model_energy is None)
  if model_energy:
    np.testing.assert_allclose(
      model.score(params, x, t), -jax.grad(model.energy, argnums=1)(params, x, t))
  left = json.loads((tmp_path / 'correction.json').read_text())
  # The relative entropy is 0.18 nat; the scatter of two runs holds the fit back, tails are cut.
  assert 0.1 < left['validation gain'] < 0.2
  assert left['replicas lost'] == 0


def test_simulation_without_a_sound_replica_is_not_corrected(tmp_path):
  case = list(make_case(tmp_path, None))
  case[4] = np.full_like(case[4], np.nan)
  with pytest.raises(ValueError, match='found all 20 replicas'):
    correcting.correct(*case)
