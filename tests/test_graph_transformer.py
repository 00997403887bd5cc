import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import literal_attention
from experiments.configs.published_sizes import PUBLISHED_SIZES
from twoforone import energy, schedule
from twoforone.networks import edges
from twoforone.networks.graph_transformer import GraphTransformer
from twoforone.networks.layers import EdgeAttention
from twoforone.networks.noise_features import make_noise_features

MODES = {
  'differences': (edges.differences, literal_attention.differences, False),
  'squared distances': (edges.squared_distances, literal_attention.squared_distances, False),
  'both': (
    edges.differences_and_distances, literal_attention.differences_and_distances, False),
  'absolute': (edges.constant, literal_attention.constant, True),
}
BEADS = 6
T = 0.3


def small(**options):
  return GraphTransformer(BEADS, width=16, num_layers=2, heads=2, head_dim=8, **options)


def start(model):
  """Parameters of order 1/3, positions, time and species; two beads share a species."""
  random = np.random.default_rng(0)
  x = jnp.asarray(random.normal(size=(BEADS, 3)))
  species = jnp.array([0, 1, 2, 3, 4, 2])
  inputs = x - x.mean(axis=0), jnp.asarray(T), species
  shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
  params = jax.tree.map(lambda a: jnp.asarray(random.normal(size=a.shape) / 3), shapes)
  return params, *inputs


def quick(function):
  """Compiled without optimisation: second derivatives otherwise take long to compile."""
  return jax.jit(function, compiler_options={'xla_backend_optimization_level': 0})


def assert_same(ours, theirs, tolerance):
  """All arrays agree to `tolerance` times the largest element of any.

  Rounding is relative to the terms of a sum, not to the sum: the gradient in the bias of the keys
  is zero but for rounding, because the softmax does not see that bias.
  """
  scale = max(float(jnp.abs(b).max()) for b in jax.tree.leaves(theirs))
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, scale))


def with_gradients(phi):
  """phi(params, x), its gradient in x, and both gradients of phi + |grad_x phi|²."""

  def loss(params, x):
    value, gradient = jax.value_and_grad(phi, argnums=1)(params, x)
    return value + jnp.sum(gradient**2), (value, gradient)

  return jax.grad(loss, argnums=(0, 1), has_aux=True)


def compare_layers(mode, tolerance):
  """One attention layer in both forms: phi is a fixed projection of its output."""
  edge_input, literal_edges, _ = MODES[mode]
  params, x, *_ = start(small(edges=edge_input))
  params = {'layer': params['params']['block_0']['attention'],
            'embedding': params['params']['edge_embedding']}
  project = jnp.cos(jnp.arange(BEADS * 16, dtype=x.dtype)).reshape(BEADS, 16)
  layer = EdgeAttention(heads=2, head_dim=8)
  basis = jnp.eye(1 + edge_input.num_inputs, edge_input.num_inputs, k=-1, dtype=x.dtype)

  def nodes(x):
    return jnp.sin(x @ project[:3])  # node features that move with the positions

  def ours(params, x):
    edge_basis = literal_attention.linear(params['embedding'], basis)
    out = layer.apply({'params': params['layer']}, nodes(x), x, edge_input, edge_basis)
    return jnp.sum(project * out)

  def theirs(params, x):
    edge_features = literal_attention.linear(params['embedding'], literal_edges(x))
    out = literal_attention.attention(params['layer'], nodes(x), edge_features, heads=2)
    return jnp.sum(project * out)

  both = quick(lambda *args: (with_gradients(ours)(*args), with_gradients(theirs)(*args)))
  assert_same(*both(params, x), tolerance)


def compare_networks(tolerance):
  """The whole network as published, values, gradients and second derivatives."""
  model = small()
  literal = literal_attention.make_literal_transformer(BEADS, heads=2)
  params, x, t, species = start(model)

  def phi(network):
    return with_gradients(lambda params, x: network(params, x, t, species))

  both = quick(lambda *args: (phi(model.apply)(*args), phi(literal)(*args)))
  assert_same(*both(params, x), tolerance)


# float32 rounds at 6e-8; sums over some tens of terms and two differentiations use up the rest.
def test_factorised_attention_is_the_literal_one():
  compare_layers('both', 1e-5)


@pytest.mark.parametrize('mode', MODES)
def test_factorised_attention_is_the_literal_one_in_double(mode):
  with jax.enable_x64(True):
    compare_layers(mode, 1e-12)


def test_network_is_the_literal_one():
  compare_networks(1e-5)


def test_network_is_the_literal_one_in_double():
  with jax.enable_x64(True):
    compare_networks(1e-12)


@pytest.mark.parametrize('direct', [False, True])
def test_other_inputs_and_outputs_are_the_literal_ones(direct):
  options = {'absolute': True, 'direct': direct}
  model = small(edges=edges.squared_distances, **options)
  literal = literal_attention.make_literal_transformer(
    BEADS, heads=2, edges=literal_attention.squared_distances, **options)
  arguments = start(model)
  # Rounding in float32, as above.
  assert_same(model.apply(*arguments), literal(*arguments), 1e-5)


def test_oracle_sees_a_wrong_edge_input():
  model = small(edges=edges.differences)
  params, x, t, species = start(model)
  wrong = literal_attention.make_literal_transformer(
    BEADS, heads=2, edges=lambda x: -literal_attention.differences(x))
  # phi is of order one, and what it differs by from the right one is rounding, 1e-5.
  assert abs(model.apply(params, x, t, species) - wrong(params, x, t, species)) > 0.1


@pytest.mark.parametrize('name', PUBLISHED_SIZES)
def test_parameter_count_of_published_sizes(name):
  size = PUBLISHED_SIZES[name]
  model = GraphTransformer(size['beads'], size['width'], size['num_layers'])
  x = jnp.zeros((size['beads'], 3))
  params = jax.eval_shape(
    model.init, jax.random.key(0), x, jnp.asarray(T), jnp.arange(size['beads']))
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == size['parameters']


def test_initial_values_are_those_of_pytorch():
  model = small()
  params = model.init(jax.random.key(0), *start(model)[1:])['params']
  for layer, fan_in in ((params['node_embedding'], BEADS + 1), (params['edge_embedding'], 3),
                        (params['block_0']['attention']['out'], 16)):
    bound = fan_in**-0.5
    for leaf in (layer['kernel'], layer['bias']):
      # The largest of m uniform draws exceeds bound/2 with probability 1 - 2^-m, m >= 16.
      assert bound / 2 < jnp.abs(leaf).max() <= bound
  assert jnp.abs(params['block_0']['attention_gate']['kernel']).max() <= 48**-0.5


def test_translation_invariance():
  model = small(edges=edges.differences_and_distances)
  params, x, t, species = start(model)
  shifted = model.apply(params, x + jnp.array([1.0, -2.0, 0.5]), t, species)
  # Squares of coordinates of order 3 cancel: float32 leaves about 1e-6 of each.
  np.testing.assert_allclose(shifted, model.apply(params, x, t, species), atol=1e-5)


def test_absolute_positions_break_translation_invariance():
  model = small(edges=edges.constant, absolute=True)
  params, x, t, species = start(model)
  # Of phi's own size, which is of order one.
  assert abs(model.apply(params, x + 1.0, t, species) - model.apply(params, x, t, species)) > 0.1


@pytest.mark.parametrize('mode', MODES)
def test_equal_species_can_be_exchanged(mode):
  model = small(edges=MODES[mode][0], absolute=MODES[mode][2])
  params, x, t, species = start(model)
  phi = model.apply(params, x, t, species)
  swapped = jnp.array([0, 1, 5, 3, 4, 2])  # beads 2 and 5 are of one species
  # float32: the same sums in another order, phi up to ten.
  np.testing.assert_allclose(model.apply(params, x[swapped], t, species), phi, atol=1e-5)
  other = jnp.array([1, 0, 2, 3, 4, 5])
  assert abs(model.apply(params, x[other], t, species) - phi) > 1e-3  # a hundred times that


def test_gradient_is_finite_with_coincident_beads():
  model = small(edges=edges.differences_and_distances, absolute=True)
  params, x, t, species = start(model)
  gradient = quick(jax.grad(model.apply, argnums=1))
  for coincident in (x.at[1].set(x[0]), jnp.zeros_like(x)):
    assert jnp.isfinite(gradient(params, coincident, t, species)).all()


def test_only_differences_see_a_mirror_image():
  mirror = jnp.array([1.0, 1.0, -1.0])
  for edge_input, blind in ((edges.differences, False), (edges.squared_distances, True)):
    model = small(edges=edge_input)
    params, x, t, species = start(model)
    gap = abs(model.apply(params, x * mirror, t, species) - model.apply(params, x, t, species))
    assert (gap < 1e-5) if blind else (gap > 0.1)  # rounding, and phi's own size


def test_constant_edges_carry_no_positions():
  model = small(edges=edges.constant)
  params, x, t, species = start(model)
  assert model.apply(params, 2 * x, t, species) == model.apply(params, x, t, species)


def test_direct_score_has_three_numbers_a_bead():
  model = small(direct=True)
  params, x, t, species = start(model)
  score = energy.make_direct_score(model.apply, schedule.cosine_schedule(), species)
  assert score(params, x, t).shape == x.shape
  # A Hessian is symmetric to rounding; 1 % of asymmetry is not the gradient of anything.
  jacobian = quick(jax.jacfwd(score, argnums=1))(params, x, t).reshape(3 * BEADS, 3 * BEADS)
  assert jnp.abs(jacobian - jacobian.T).max() > 1e-2 * jnp.abs(jacobian).max()


def test_noise_features_are_smooth_in_the_variance():
  noise = schedule.vp_schedule()
  features = make_noise_features(noise, (0.1, 1.0))
  sigma = noise.sigma(jnp.asarray(T))
  expected = sigma**2 / (sigma**2 + jnp.array([0.01, 1.0]))
  np.testing.assert_allclose(features(jnp.asarray(T)), expected, rtol=1e-6)
  model = small(time_features=features)
  params, x, t, species = start(model)
  assert jnp.isfinite(model.apply(params, x, t, species))
  assert params['params']['node_embedding']['kernel'].shape == (BEADS + 2, 16)
  with pytest.raises(ValueError, match='widths'):
    make_noise_features(noise, (0.1, 0.0))
