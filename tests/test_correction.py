"""The correction by relative entropy: its splines, its fit with known answers, its use."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import correcting, models, stages
from experiments.configs import ala2
from twoforone import correction, energy, reweighting
from twoforone.correction import PairCorrection
from twoforone.datasets.dataset import Dataset, Split
from twoforone.geometry import distances, random_rotation
from twoforone.schedule import cosine_schedule
from twoforone.system import make_chain

BONDS = np.array([[0, 1], [1, 2]])
WIDTH, MODEL, DATA = 0.05, 0.50, 0.53  # nm: both ends of three beads, normal
KL = (DATA - MODEL) ** 2 / WIDTH**2 / 2  # of the two, in nat


def chains(distance):
  """Three beads [F, 3, 3] whose ends are so far apart."""
  x = np.zeros((len(distance), 3, 3))
  x[:, 1, 1], x[:, 2, 0] = 0.3, distance
  return x


def draw(mean, count, seed):
  return chains(np.random.default_rng(seed).normal(mean, WIDTH, count))


def fit(model, data, **options):
  """The correction of independent frames, as if of twenty replicas and ten runs."""
  start = correction.no_correction(data, BONDS, **options)
  replica = np.arange(len(model)) * 20 // len(model)
  found = reweighting.fit_correction(
    correction.evaluate_splines(start, model), replica,
    *correction.measure_means(start, data, np.arange(len(data)) * 10 // len(data)),
    correction.measure_means(start, model, replica)[1], count=start.coefficients.shape[1])
  return start, found


def test_splines_are_of_the_pairs_that_are_free_to_move():
  x = np.random.default_rng(0).normal(size=(200, 5, 3))
  x[:, 4] = x[:, 0] + 1.0  # rigid
  start = correction.no_correction(x, np.array([[1, 0], [2, 3]]), narrowest=1e-3, tail=0.1)
  found = {tuple(pair) for pair in start.pairs.tolist()}
  assert found == {(i, j) for i in range(5) for j in range(i + 1, 5)} - {(0, 1), (2, 3), (0, 4)}
  distance = np.linalg.norm(x[:, 0] - x[:, 2], axis=-1)
  place = start.pairs.tolist().index([0, 2])
  np.testing.assert_allclose([start.low[place], start.high[place]],
                             np.quantile(distance, [0.1, 0.9]), rtol=1e-6)
  assert not start.coefficients.any()


def test_splines_of_a_distance_sum_to_one_and_end_with_no_force():
  x = np.random.default_rng(1).normal(size=(100, 3, 3))
  start = correction.no_correction(x, BONDS, count=6)
  values = correction.evaluate_splines(start, x)
  assert values.shape == (100, 6)
  np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)
  params = start._replace(coefficients=jnp.asarray(np.random.default_rng(2).normal(size=(1, 6))))
  score = energy.make_score(correction.pair_energy)
  for distance in (1e3, 0.0):  # beyond an end; beads in one place
    far = jnp.asarray(chains(np.array([distance]))[0], jnp.float32)
    np.testing.assert_array_equal(score(params, far, jnp.float32(0)), 0)
  near = jnp.asarray(x[0], jnp.float32)
  turned = near @ random_rotation(jax.random.key(0)).T + 1.0
  np.testing.assert_allclose(correction.pair_splines(start, turned),
                             correction.pair_splines(start, near), atol=1e-5)


def test_walls_stand_where_no_frame_has_been():
  x = np.random.default_rng(3).normal(size=(100, 4, 3))
  walls = correction.no_correction(x, np.array([[0, 1]]), wall=0.1)
  zero, slope = jnp.float32(0), jax.vmap(energy.make_score(correction.pair_energy), (None, 0, None))
  near = np.linalg.norm(x[:, walls.pairs[:, 0]] - x[:, walls.pairs[:, 1]], axis=-1)
  np.testing.assert_allclose(walls.closest, near.min(axis=0), rtol=1e-6)
  # In float32 a frame may lie by its last digit inside.
  np.testing.assert_allclose(slope(walls, jnp.asarray(x, jnp.float32), zero), 0, atol=1e-4)
  # Two beads of one pair closer than ever, along x; all others far away.
  i, j = walls.pairs[2]
  inside = np.diag([100.0, 200.0, 300.0, 400.0])[:, :3]
  inside[3] = 0, 500, 600
  inside[j] = inside[i] + np.array([walls.closest[2] - 0.2, 0, 0])
  one = jnp.asarray(inside, jnp.float32)
  np.testing.assert_allclose(correction.pair_energy(walls, one, zero), 0.5 * (0.2 / 0.1) ** 2,
                             rtol=1e-3)
  score = np.asarray(slope(walls, one[None], zero))[0]
  np.testing.assert_allclose(score[j], [0.2 / 0.1**2, 0, 0], rtol=1e-3)
  np.testing.assert_allclose(score[i], -score[j], rtol=1e-6)
  assert not correction.no_correction(x, np.array([[0, 1]])).wall < np.inf


def test_least_of_states_is_the_log_ratio_of_their_shares():
  simulated, data = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
  values = np.repeat(np.eye(3), (1000 * simulated).astype(int), axis=0)
  c = reweighting.minimise(values, data, np.full(3, 1e-12), np.full(3, 1e-12))
  expected = np.log(simulated / data)
  np.testing.assert_allclose(c - c.mean(), expected - expected.mean(), atol=1e-4)


def test_least_keeps_inside_the_errors_of_the_means():
  values = np.repeat(np.eye(2), (500, 500), axis=0)
  mean, variance, chance = np.array([0.7, 0.3]), np.array([0.02, 0.05]), np.array([0.01, 0.03])
  before = np.array([0.3, -0.2])
  c = reweighting.minimise(values, mean, variance, chance, before, penalty=2.0)
  w = np.exp(-c) / np.exp(-c).sum()
  slope = mean - w + 2 * (variance * (before + c) + chance * c)  # of S
  np.testing.assert_allclose(slope, 0, atol=1e-5)
  assert 0.5 < w[0] < 0.7


def test_rounds_end_where_the_penalty_holds_the_whole_correction():
  mean, variance = np.array([0.6, 0.4]), np.array([0.2, 0.2])
  total = np.zeros(2)
  for _ in range(30):
    share = np.exp(-total) / np.exp(-total).sum()
    values = np.repeat(np.eye(2), np.round(1e4 * share).astype(int), axis=0)
    total = total + reweighting.minimise(values, mean, variance, np.full(2, 1e-9), total)
  share = np.exp(-total) / np.exp(-total).sum()
  # Not at the mean of the data, whatever the errors, but where S of the model as trained is least.
  np.testing.assert_allclose(mean - share + variance * total, 0, atol=2e-4)
  assert share[0] < 0.59


def test_correction_is_the_log_ratio_of_densities():
  start, found = fit(draw(MODEL, 40_000, 0), draw(DATA, 40_000, 1), count=6)
  r = np.linspace(DATA - WIDTH, DATA + WIDTH, 5)
  energies = correction.evaluate_splines(start, chains(r)) @ found.coefficients
  # ln p_model - ln p_data is linear in r; the means of 40,000 draws give its slope to 2 %.
  assert np.polyfit(r, energies, 1)[0] == pytest.approx(-(DATA - MODEL) / WIDTH**2, rel=0.06)
  fresh, _ = correction.measure_means(start, draw(DATA, 40_000, 2), np.arange(40_000) // 4000)
  assert found.gain(fresh) == pytest.approx(KL, rel=0.1)
  # Of frames that are the model's the correction makes the likelihood worse, by as much.
  wrong, _ = correction.measure_means(start, draw(MODEL, 40_000, 3), np.arange(40_000) // 4000)
  assert found.gain(wrong) == pytest.approx(-KL, rel=0.1)


def correlated(replicas, frames, seed, pairs=30):
  """Values [F R, pairs 2] of states that rarely change, all of one collective coordinate."""
  rng = np.random.default_rng(seed)
  up = (rng.random((replicas, 1)) < 0.5) ^ (np.cumsum(
    rng.random((replicas, frames)) < 0.02, axis=1) % 2).astype(bool)
  noisy = up.T[..., None] ^ (rng.random((frames, replicas, pairs)) < 0.1)
  return np.stack([noisy, ~noisy], axis=-1).reshape(frames * replicas, -1).astype(float)


def test_chance_of_few_replicas_is_not_taken_for_a_difference():
  data, check = (correlated(2000, 100, seed) for seed in (0, 99))
  mean, tiny = data.mean(axis=0), np.full(60, 1e-9)
  replica = np.tile(np.arange(4), 100)

  def gain(c):
    return -c @ mean - np.log(np.mean(np.exp(-check @ c)))

  gains = []
  for seed in range(1, 6):  # simulations of the data's own energy, four replicas each
    model = correlated(4, 100, seed)
    each = np.array([model[replica == k].mean(axis=0) for k in range(4)])
    free = reweighting.minimise(model, mean, tiny, tiny)
    found = reweighting.fit_correction(model, replica, mean, tiny, each.var(axis=0, ddof=1) / 4,
                                      count=2)
    gains.append((gain(free), gain(found.coefficients)))
  free, held = np.array(gains).T
  assert (held >= free).all() and held.mean() > 0.6 * free.mean()  # both lose: -0.06 and -0.15
  assert (held == 0).any()  # where the halves disagree there is no correction


def test_a_correction_that_gains_nothing_is_none():
  # One replica is 20 : 80, the other 80 : 20, the data half and half: what corrects the one is
  # wrong for the other. In sample each half would gain 0.22 nat.
  values = np.repeat(np.tile(np.eye(2), (2, 1)), (20, 80, 80, 20), axis=0)
  replica = np.repeat([0, 1], 100)
  mean, tiny = np.array([0.5, 0.5]), np.full(2, 1e-9)
  found = reweighting.fit_correction(values, replica, mean, tiny, tiny, count=2,
                                    penalties=(1.0,))
  assert found.penalty == np.inf and not found.coefficients.any() and found.gain(mean) == 0


def test_a_simulation_too_far_from_the_data_is_not_corrected():
  near, far = (fit(draw(mean, 10_000, 0), draw(DATA, 10_000, 1))[1] for mean in (0.48, 0.30))
  assert near.penalty < np.inf
  # 4.6 standard deviations away: what would be left are the few frames of a tail.
  assert far.penalty == np.inf and not far.coefficients.any()


def test_effective_share_of_known_weights():
  assert reweighting.effective_share(np.zeros(7)) == pytest.approx(1)
  assert reweighting.effective_share(np.array([0.0, 0.0, 1e3, 1e3])) == pytest.approx(0.5)


def test_what_the_simulation_has_not_seen_gets_no_well():
  model, data = draw(0.45, 10_000, 0), draw(0.45, 10_000, 1)
  data[:500] = draw(0.9, 500, 2)  # a state that no replica has been in
  start, found = fit(model, data)
  # 5 % of the data are elsewhere: where they count, the splines next to them reach -2e4 kT.
  assert np.abs(found.coefficients).max() < 10.0
  seen = correction.evaluate_splines(start, model).max(axis=0) > 0.01
  assert not seen.all() and not found.coefficients[~seen].any()


def test_means_have_the_scatter_of_the_runs(monkeypatch):
  x = np.concatenate([draw(mean, 1000, seed) for seed, mean in enumerate((0.45, 0.50, 0.58))])
  start = correction.no_correction(x, BONDS, count=5)
  values = correction.evaluate_splines(start, x)

  def check(run, parts):
    mean, variance = correction.measure_means(start, x, run)
    each = np.array([values[part].mean(axis=0) for part in parts])
    np.testing.assert_allclose(mean, values.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
      variance, np.maximum(each.var(axis=0, ddof=1) / len(parts), 1 / 3000**2), rtol=1e-4)

  check(np.repeat([4, 2, 9], 1000), np.split(np.arange(3000), 3))
  check(np.zeros(3000, int), np.split(np.arange(3000), 10))  # one run: ten pieces of time
  monkeypatch.setattr(correction, 'VALUES', 700 * start.coefficients.size)  # 700 frames at a time
  check(np.repeat([4, 2, 9], 1000), np.split(np.arange(3000), 3))


ONE = np.ones(1)


@pytest.mark.parametrize(('call', 'message'), [
  (lambda: correction.no_correction(np.zeros((9, 2, 3)), np.array([[0, 1]])), 'no pair of the 2'),
  (lambda: correction.no_correction(np.zeros((9, 3, 3)), BONDS), 'free to move'),
  (lambda: correction.no_correction(np.zeros((9, 3, 3)), BONDS, count=3), 'count: found 3'),
  (lambda: reweighting.minimise(np.full((2, 1), np.nan), ONE, ONE, ONE), 'NaN'),
  (lambda: reweighting.minimise(np.ones((2, 1)), ONE, 0 * ONE, 0 * ONE), 'variance'),
  (lambda: reweighting.fit_correction(
    np.ones((2, 1)), np.zeros(2, int), ONE, ONE, ONE, count=1), 'replica: found one'),
  (lambda: correction.measure_means(
    PairCorrection(np.array([[0, 2]]), ONE, 2 * ONE, np.zeros((1, 4)), ONE, np.inf),
    np.zeros((1, 3, 3)), np.zeros(1, int)), '1 frames'),
])
def test_bad_input_is_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()


SCALE = 0.5  # nm
SYSTEM = make_chain('three', ('A', 'B', 'C'), (12.0,) * 3, 300.0)


def springs(params, x, t):
  """Two stiff bonds of 0.5 nm and soft ends, in kT, x whitened."""
  del t
  first, second, ends = distances(SCALE * x, jnp.array([[0, 1], [1, 2], [0, 2]]))
  bonds = ((first - 0.5) ** 2 + (second - 0.5) ** 2) / 0.02**2
  return 0.5 * bonds + 0.5 * ((ends - params) / WIDTH) ** 2


def make_case(direct=False):
  """A config, a model whose ends are at MODEL, and data whose ends are wider."""
  config = ala2.get_config('smoke')
  config.simulate.update({
    'replicas': 100, 'parts': 4, 'frames_per_part': 50, 'burn_in_frames': 40, 'stride': 50,
    'friction': 5.0, 'mass': (), 'longest_bond': 1.0, 'correction': {'rounds': 1, 'parts': 4}})

  def dataset(count, seed):
    return Dataset(draw(DATA, count, seed).astype(np.float32), None,
                   np.arange(count) * 10 // count, 1.0, SYSTEM)

  model = models.Model(
    cosine_schedule(num_steps=10_000), None if direct else springs, energy.make_score(springs),
    None, SCALE, models.Statistics())
  return config, model, Split(dataset(20_000, 0), dataset(2000, 1), dataset(10, 2))


def test_corrected_simulation_has_the_distances_of_the_data(tmp_path):
  config, model, split = make_case()
  start = draw(MODEL, 100, 5).astype(np.float32)
  params = jnp.float32(MODEL)
  x, _, lost = stages.simulate(config, model, params, split, start, tmp_path)
  assert not lost

  def ends(x):
    return np.linalg.norm(x[..., 2, :] - x[..., 0, :], axis=-1)

  data = ends(split.train.x)
  # 100 replicas of 16 ps that forget in some tenths of one: the mean is known to 0.001 nm.
  assert ends(x).mean() == pytest.approx(data.mean(), abs=0.003)
  assert ends(x).std() == pytest.approx(data.std(), rel=0.05)
  with config.unlocked():
    config.simulate.correction.rounds = 0
  as_it_is, *_ = stages.simulate(config, model, params, split, start, tmp_path / 'as_it_is')
  assert ends(as_it_is).mean() < data.mean() - 0.01


def test_a_corrected_simulation_goes_on_with_the_corrections_it_began_with(tmp_path):
  config, model, split = make_case()
  config.simulate.update({'replicas': 20, 'parts': 3, 'frames_per_part': 10, 'stride': 5,
                          'burn_in_frames': 0, 'correction': {'rounds': 2, 'parts': 2}})
  start = draw(MODEL, 20, 5).astype(np.float32)
  for name, parts in (('whole', 3), ('broken', 2), ('broken', 3)):
    config.simulate.parts = parts
    x, *_ = stages.simulate(config, model, jnp.float32(MODEL), split, start, tmp_path / name)
    assert x.shape == (10 * parts, 20, 3, 3)
  for name in ('part_00000.npz', 'part_00002.npz', 'round_0/correction.json',
               'round_1/correction.json'):
    one, other = ((tmp_path / run / name).read_bytes() for run in ('whole', 'broken'))
    assert one == other, name
  # A round that has left its correction is neither made nor read again.
  for part in (tmp_path / 'broken' / 'round_1').glob('part_*.npz'):
    part.unlink()
  config.simulate.parts = 4
  x, *_ = stages.simulate(config, model, jnp.float32(MODEL), split, start, tmp_path / 'broken')
  assert len(x) == 40 and not list((tmp_path / 'broken' / 'round_1').glob('part_*.npz'))
  with pytest.raises(ValueError, match='params'):  # of another model
    stages.simulate(config, model, jnp.float32(1.1 * MODEL), split, start, tmp_path / 'broken')


@pytest.mark.parametrize('direct', [False, True], ids=['energy', 'direct score'])
def test_corrected_model_is_the_sum(tmp_path, direct):
  config, model, split = make_case(direct)
  x = np.stack([draw(MODEL, 100, seed) for seed in range(40)])
  correcting.improve(config, model, split, x, 0, tmp_path, None)
  found = correcting.read_round(tmp_path)
  total, params = correcting.corrected(model, 0.5, found)
  one, t = jnp.asarray(split.train.x[0] / SCALE), jnp.float32(0)
  assert (total.energy is None) == direct
  if not direct:
    np.testing.assert_allclose(
      total.energy(params, one, t), springs(0.5, one, t) + correction.pair_energy(found, one, t),
      rtol=1e-6)
  np.testing.assert_allclose(
    total.score(params, one, t),
    model.score(0.5, one, t) + energy.make_score(correction.pair_energy)(found, one, t),
    rtol=1e-4, atol=1e-4)
  left = json.loads((tmp_path / 'correction.json').read_text())
  assert left['validation gain'] == pytest.approx(KL, rel=0.2)
  assert left['replicas lost'] == 0
  # A second round starts from the first: with its frames there is little to add.
  second = tmp_path / 'second'
  second.mkdir()
  wider = np.stack([draw(DATA, 100, seed) for seed in range(40, 80)])
  correcting.improve(config, model, split, wider, 0, second, found)
  more = correcting.read_round(second)
  added = np.abs(more.coefficients - found.coefficients).max()
  assert added < 0.2 * np.abs(found.coefficients).max()


def test_rounds_that_cannot_be_corrected_are_named(tmp_path):
  config, model, split = make_case()
  for x in (np.full((4, 20, 3, 3), np.nan), np.zeros((0, 20, 3, 3))):
    with pytest.raises(ValueError, match='found 0 sound replicas of 20'):
      correcting.improve(config, model, split, x, 20, tmp_path, None)
  rigid = split._replace(train=split.train._replace(x=np.zeros((20, 3, 3), np.float32)))
  with pytest.raises(ValueError, match='free to move'):
    correcting.check_data(config, rigid)
  with pytest.raises(ValueError, match='as trained'):
    correcting.refuse(config, 'this')


@pytest.mark.parametrize(('field', 'value', 'message'), [
  ('simulate.correction.rounds', -1, 'rounds: found -1'),
  ('simulate.correction.parts', 0, 'parts: found 0'),
  ('simulate.correction.coefficients', 3, 'coefficients: found 3'),
  ('simulate.replicas', 1, 'one replica'),
  ('sample.corrector_steps', -1, 'corrector_steps: found -1'),
  ('sample.corrector_friction', 0.0, 'corrector_friction: found 0'),
])
def test_settings_are_checked_before_the_training(field, value, message):
  config, _, _ = make_case()
  section, *rest = field.split('.')
  config.update({section: {rest[0]: {rest[1]: value} if rest[1:] else value}})
  with pytest.raises(ValueError, match=message):
    stages.check_config(config, SYSTEM)


def test_settings_that_the_molecule_forbids():
  config, _, _ = make_case()
  closed = SYSTEM._replace(bonds=np.array([[0, 1], [1, 2], [0, 2]]))
  with pytest.raises(ValueError, match='3 beads that are all bonded'):
    stages.check_config(config, closed)
  config.simulate.tempering.update({'rungs': 2, 'highest': 290.0})
  config.simulate.temperature = 250.0
  with pytest.raises(ValueError, match='highest: found 290'):
    stages.check_config(config, SYSTEM)
