"""What of the fine radius follows from the beads: a head that knows it, and the constant."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import fine_radius
from twoforone.baselines.time_integrated.graph import make_system
from twoforone.baselines.time_integrated.history import make_windows
from twoforone.baselines.time_integrated.radius import bead_radius
from twoforone.evaluation import polymers

WITHIN = np.array([0.5, 1.0, 1.5, 2.0])  # of the four chains


def chain():
  bonds = np.stack([np.arange(5), np.arange(1, 6)], axis=1)
  return make_system(np.zeros(6, int), bonds, np.arange(6) // 2, np.ones(6),
                     num_particles=6, num_beads=3, num_bonds=5)


@pytest.fixture(scope='module')
def world():
  systems = jax.tree.map(lambda *leaves: np.stack(leaves), *[chain()] * 4)
  spread = np.arange(1.0, 5.0)[:, None, None]
  x = (spread * np.random.default_rng(0).normal(size=(2, 60, 4, 3, 3))).astype(np.float32)
  fine = polymers.squared_radius(x, systems.beads.mass) + WITHIN
  return SimpleNamespace(systems=systems, reference=SimpleNamespace(
    x=x, fine=fine, within=WITHIN.mean()))


def make_model(within):
  """Its embedding says what lies within the beads of a chain; its latent hands that on."""
  def radius(params, x, latent, beads):
    return jnp.sqrt(bead_radius(x, beads) + latent)

  return SimpleNamespace(
    embed=lambda params, fine, num_beads: jnp.full((num_beads, 1), within) + 0 * fine.species[0],
    predict=lambda params, history, embedding, beads: (None, embedding[0, 0]), radius=radius)


def test_the_constant_is_the_mean_of_what_lies_within(world):
  x = np.moveaxis(world.reference.x[0], 1, 0)
  windows = make_windows(x, world.systems, num_frames=3, dilation=1,
                         square_radius=world.reference.fine[0].T)
  np.testing.assert_allclose(fine_radius.within_beads(windows), WITHIN.mean(), rtol=1e-6)


def test_a_head_is_measured_beside_the_constant(world):
  x = world.reference.x[0]
  found = fine_radius.score(SimpleNamespace(history=3), world, make_model(1.25), None, x)
  # The head knows the mean alone, as the constant does: the same error, that of the chains' spread.
  for how in ('', ', constant'):
    np.testing.assert_allclose(found[f'fine Rg² error{how}'], WITHIN.std(), rtol=1e-4)
    assert found[f'fine Rg² r2{how}'] > 0.8  # the replicas' own means differ
  wrong = fine_radius.score(SimpleNamespace(history=3), world, make_model(4.25), None, x)
  np.testing.assert_allclose(wrong['fine Rg² error'], np.hypot(WITHIN.std(), 3.0), rtol=1e-4)
  lost = np.where(np.arange(4)[:, None, None] == 2, np.nan, x)
  assert np.isfinite(fine_radius.score(
    SimpleNamespace(history=3), world, make_model(1.25), None, lost)['fine Rg² r2'])


def test_without_a_head_there_is_nothing_to_say(world):
  assert fine_radius.score(None, world, SimpleNamespace(radius=None), None, None) == {}
