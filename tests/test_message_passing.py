"""The baseline networks of time-integrated dynamics: their sizes, their symmetries, padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twoforone import geometry
from twoforone.baselines.time_integrated.graph import BeadGraph, Scales, make_system
from twoforone.baselines.time_integrated.latent import Latent
from twoforone.baselines.time_integrated.message_passing import Dynamics, Embedding, Score
from twoforone.baselines.time_integrated.radius import RadiusHead

SPECIES = np.array([0, 1, 2, 3, 0, 1, 2, 4, 0, 3])
BONDS = np.array([[i, i + 1] for i in range(8)] + [[4, 9]])  # a chain with one side bead
CLUSTER = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 1])
MASS = np.ones(10)
SCALES = Scales(length=2.0, velocity=0.5, acceleration=0.7)
SIGMA = jnp.float32(0.1)
RNG = np.random.default_rng(0)
# A walk of four beads, so that bonded ones are about two apart.
FRAME = np.cumsum(RNG.normal(size=(4, 3)), axis=0)
HISTORY = np.asarray(FRAME + 0.3 * RNG.normal(size=(3, 4, 3)), np.float32)


def system(num_particles=10, num_beads=4, num_bonds=9):
  return make_system(SPECIES, BONDS, CLUSTER, MASS, num_particles=num_particles,
                     num_beads=num_beads, num_bonds=num_bonds)


def padded(history, num_beads):
  return jnp.pad(history, ((0, 0), (0, num_beads - history.shape[1]), (0, 0)))


def random_like(shapes):
  """Parameters that make the outputs depend on the inputs more than the usual start does."""
  rng = np.random.default_rng(1)

  def draw(leaf):
    spread = (2 / leaf.shape[0]) ** 0.5 if leaf.ndim == 2 else 1.0
    return jnp.asarray(spread * rng.standard_normal(leaf.shape), jnp.float32)

  return jax.tree.map(draw, shapes)


@functools.cache
def networks(sees_noise=False, **options):
  """Small networks and a function of their parameters that runs them one after the other."""
  embedding = Embedding(features=6, width=8, num_layers=2)
  dynamics = Dynamics(SCALES, width=8, num_layers=2, **options)
  score = Score(SCALES, width=8, num_layers=2, sees_noise=sees_noise, **options)
  head = RadiusHead(SCALES, width=8)

  def init(key, history, fine, beads):
    e = embedding.init(key, fine, len(beads.mask))
    pooled = embedding.apply(e, fine, len(beads.mask))
    d = dynamics.init(key, history, pooled, beads)
    _, latent = dynamics.apply(d, history, pooled, beads)
    return (e, d, score.init(key, history[-1], latent, beads, SIGMA),
            head.init(key, history[-1], latent, beads))

  def run(params, history, fine, beads):
    e, d, s, h = params
    pooled = embedding.apply(e, fine, len(beads.mask))
    distribution, latent = dynamics.apply(d, history, pooled, beads)
    return {'pooled': pooled, 'mean': distribution.mean, 'std': distribution.std,
            'latent': latent.scalars, 'expected': latent.expected,
            'score': score.apply(s, history[-1], latent, beads, SIGMA),
            'radius': head.apply(h, history[-1], latent, beads)}

  shapes = jax.eval_shape(init, jax.random.key(0), jnp.asarray(HISTORY), *system())
  return random_like(shapes), jax.jit(run)


def outputs(history, fine, beads, **options):
  params, run = networks(**options)
  return run(params, jnp.asarray(history, jnp.float32), fine, beads)


def assert_close(found, expected, scale=1e-5):
  # float32 through some ten layers with layer norms over eight numbers only.
  np.testing.assert_allclose(found, expected, atol=scale * (1 + np.abs(expected).max()))


@functools.cache
def count(network, *shapes):
  """Parameters of the layers, and of the tables of codes."""
  beads = BeadGraph(jnp.ones(9, bool), jnp.ones(9), jnp.zeros((9, 9), bool))
  arrays = [jnp.zeros(shape) for shape in shapes]
  extra = (SIGMA,) if isinstance(network, Score) else ()
  if not isinstance(network, Dynamics):
    arrays[1] = Latent(arrays[1], None, arrays[0])
  params = jax.eval_shape(network.init, jax.random.key(0), *arrays, beads, *extra)
  sizes = {jax.tree_util.keystr(path): leaf.size for path, leaf in
           jax.tree_util.tree_leaves_with_path(params)}
  tables = sum(size for name, size in sizes.items() if "['embedding']" in name)
  return sum(sizes.values()) - tables, tables


def test_the_published_polymer_model_has_its_published_size():
  fine, _ = system()
  shapes = jax.eval_shape(lambda key: Embedding().init(key, fine, 9), jax.random.key(0))
  total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  assert total == 300_288 + 5 * 32  # the table of particle types is counted on its own
  dynamics, bond_codes = count(Dynamics(SCALES), (30, 9, 3), (9, 128))
  assert (dynamics, bond_codes) == (1_173_894, 2 * 32)
  head, _ = count(RadiusHead(SCALES), (9, 3), (9, 128))
  assert head == 99_073
  assert total + dynamics + bond_codes + head == 1_573_479


def test_the_published_battery_model_has_its_published_sizes():
  # 19 velocities, 128 from the embedding, one for the mass. The published embedding network has
  # 64 parameters more than ours, for the mass of a particle, which its species already tells; its
  # score network shares the 64 numbers of the bond codes with the dynamics.
  assert count(Dynamics(SCALES, sees_mass=True), (20, 9, 3), (9, 128)) == (1_170_182, 64)
  assert count(Score(SCALES, sees_mass=True), (9, 3), (9, 128)) == (1_162_499, 64)


@pytest.mark.parametrize('options', [
  {}, {'cutoff': 3.0, 'self_loops': True, 'sees_mass': True, 'sees_noise': True}],
  ids=['plain', 'all options'])
def test_padding_is_not_seen(options):
  plain = outputs(HISTORY, *system(), **options)
  fine, beads = system(num_particles=13, num_beads=6, num_bonds=11)
  more = outputs(padded(HISTORY, 6), fine, beads, **options)
  for name, expected in plain.items():
    # Sums over more terms, all of them zero, may be taken in another order: a few roundings.
    assert_close(more[name][:4] if expected.ndim else more[name], expected, 1e-6)
  for name in ('pooled', 'latent', 'expected', 'score'):
    np.testing.assert_array_equal(more[name][4:], 0)
  # What stands in the padding changes nothing, to the last bit.
  species = np.where(np.arange(13) < 10, fine.species, -1)
  junk = padded(HISTORY, 6).at[:, 4:].set(jnp.array([0.3, -7.0, 2.0]))
  other = outputs(junk, fine._replace(species=species), beads, **options)
  for name in ('pooled', 'latent', 'expected', 'score', 'radius'):
    np.testing.assert_array_equal(other[name], more[name])
  np.testing.assert_array_equal(other['mean'][:4], more['mean'][:4])


def test_moving_the_molecule_changes_nothing_but_turning_it_does():
  plain = outputs(HISTORY, *system())
  moved = outputs(HISTORY + np.array([3.0, -2.0, 5.0], np.float32), *system())
  for name, expected in plain.items():
    assert_close(moved[name], expected)
  rotation = np.asarray(geometry.random_rotation(jax.random.key(1)))
  turned = outputs(HISTORY @ rotation.T, *system())
  for name in ('mean', 'score'):  # the gap that an equivariant network closes
    difference = turned[name] - plain[name] @ rotation.T
    assert np.linalg.norm(difference) > 0.5 * np.linalg.norm(plain[name])
  assert np.abs(turned['std'] - plain['std']).max() > 0.1


def test_beads_in_another_order_give_the_same_in_that_order():
  fine, beads = system()
  order = np.array([2, 0, 3, 1])  # the bead that stands at each new place
  place = np.argsort(order)
  shuffled = outputs(
    HISTORY[:, order], fine._replace(cluster=place[fine.cluster]),
    BeadGraph(beads.mask[order], beads.mass[order], beads.bonded[np.ix_(order, order)]))
  for name, expected in outputs(HISTORY, fine, beads).items():
    assert_close(shuffled[name], expected[order] if expected.ndim else expected)


def test_embeddings_know_bonds_and_species():
  fine, beads = system()
  plain = outputs(HISTORY, fine, beads)['pooled']
  species = fine.species.copy()
  species[8] = 2
  for changed in (fine._replace(species=species), fine._replace(
      senders=np.full_like(fine.senders, 10), receivers=np.full_like(fine.receivers, 10))):
    assert np.abs(outputs(HISTORY, changed, beads)['pooled'] - plain).max() > 0.1


def test_beads_beyond_the_cutoff_see_each_other_only_along_bonds():
  params, run = networks(cutoff=3.0)
  fine, _ = system()

  def latent_of_first(shift, bonded):
    history = np.array([[0, 0, 0], [4.0 + shift, 0, 0]], np.float32) * np.ones((3, 1, 1))
    beads = BeadGraph(np.ones(2, bool), np.ones(2), np.array([[False, bonded], [bonded, False]]))
    half = fine._replace(cluster=np.arange(10) // 5)
    return run(params, jnp.asarray(history, jnp.float32), half, beads)['latent'][0]

  np.testing.assert_array_equal(latent_of_first(0, False), latent_of_first(9, False))
  assert np.abs(latent_of_first(0, True) - latent_of_first(9, True)).max() > 1e-3


def test_whitening_makes_the_unit_of_length_irrelevant():
  plain = outputs(HISTORY, *system())
  params, _ = networks()
  scales = Scales(*(10 * s for s in SCALES))
  dynamics = Dynamics(scales, width=8, num_layers=2)
  _, beads = system()
  distribution, _ = jax.jit(dynamics.apply)(params[1], 10 * HISTORY, plain['pooled'], beads)
  assert_close(distribution.mean, plain['mean'])
  assert_close(distribution.std, plain['std'])


def test_only_a_score_that_sees_noise_tells_its_level_and_the_expected_frame():
  _, beads = system()
  latent = Latent(jnp.ones((4, 8)), None, jnp.zeros((4, 3)))
  x = jnp.asarray(HISTORY[-1])
  for sees_noise in (False, True):
    score = Score(SCALES, width=8, num_layers=1, sees_noise=sees_noise)
    params = random_like(jax.eval_shape(score.init, jax.random.key(0), x, latent, beads, SIGMA))
    run = jax.jit(score.apply)
    plain = run(params, x, latent, beads, SIGMA)
    for other in (run(params, x, latent, beads, 3 * SIGMA),
                  run(params, x, latent._replace(expected=0.3 * x), beads, SIGMA)):
      assert (np.abs(other - plain).max() > 1e-2) == sees_noise
    assert_close(run(params, x + 2.0, latent, beads, SIGMA), plain)


def test_std_stays_above_its_floor_and_gradients_are_finite_at_coincident_beads():
  params, _ = networks()
  _, beads = system()
  dynamics = Dynamics(SCALES, width=8, num_layers=2, min_std=0.3)
  history = jnp.zeros((3, 4, 3))
  pooled = jnp.ones((4, 6))

  def loss(d, history):
    distribution, _ = dynamics.apply(d, history, pooled, beads)
    return -distribution.log_density(jnp.ones((4, 3))), distribution.std

  gradients, std = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params[1], history)
  assert std.min() > 0.3
  assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
