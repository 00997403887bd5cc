"""The benchmark's clockwork, and that its rivals are the network they claim to be."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import benchmark, benchmark_large, measure
from experiments.configs.benchmark import get_config
from twoforone.networks.graph_transformer import GraphTransformer


def test_gemm_counts_its_work():
  loop = measure.make_gemm(64, steps=3)
  seconds = measure.time_in_turn({'gemm': loop}, repeats=2)['gemm']
  assert loop.flops == 2 * 64**3 and len(seconds) == 2 and min(seconds) > 0


def test_loop_counts_one_step_and_goes_on_from_its_result():
  seen = []

  def carry(arguments, result):
    seen.append(float(result[0, 0]))
    return result, arguments[1]

  def products(a, b):
    return jax.lax.scan(lambda a, _: (a @ b, None), a, length=5)[0]

  arguments = (jnp.ones((64, 64)), 2 * jnp.eye(64))
  loop = measure.compile_loop(jax.jit(products), arguments, carry, steps=5, batch=1)
  loop.advance()
  loop.advance()
  assert seen == [2.0**5, 2.0**10]
  assert abs(loop.flops / (2 * 64**3) - 1) < 0.01  # the loop's counter is counted too


def test_ratio_is_taken_round_by_round():
  # A machine three times slower in the second round leaves the ratio as it was.
  assert measure.median_ratio([2.0, 6.0], [1.0, 3.0]) == 2.0


def test_fresh_process_has_a_peak_of_its_own():
  held = np.ones(2**26)  # 512 MiB
  ours, theirs = measure.peak_memory_mib(), measure.in_fresh_process(measure.peak_memory_mib)
  # Both have imported JAX, which takes up to 300 MiB; what else this process has, it alone has.
  assert ours > held.nbytes / 2**20 and 20 < theirs < min(400, ours)


def test_chains_have_bonds_and_keep_out_of_their_own_way():
  x = benchmark_large.chains(16, 40)
  np.testing.assert_allclose(np.linalg.norm(np.diff(x, axis=1), axis=-1), benchmark_large.BOND)
  np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-12)
  i, j = np.triu_indices(40, 2)
  closest = np.linalg.norm(x[:, i] - x[:, j], axis=-1).min(axis=1)
  # A chain may wall itself in; a free random walk of this length comes closer in every frame.
  assert (closest > benchmark_large.CLOSEST - 1e-9).mean() > 0.8
  np.testing.assert_array_equal(x, benchmark_large.chains(16, 40))


@pytest.mark.slow
def test_row_of_a_chain_trained_in_pieces():
  row = benchmark_large.measure_row('invariant', 'train', 7, 4, 2, 1, 1)
  assert row['size'] == 'chain_7' and row['at_once'] == 2 and 'gflop' not in row
  assert row['seconds'] > 0 and 0 < row['memory_mib'] < row['peak_mib']


def test_large_rows_name_what_is_wrong():
  with pytest.raises(ValueError, match="found kind 'fly'"):
    benchmark_large.measure_row('invariant', 'fly', 7, 4, 2, 1, 1)
  with pytest.raises(ValueError, match='expected a divisor of 4'):
    benchmark_large.measure_row('invariant', 'train', 7, 4, 3, 1, 1)
  with pytest.raises(ValueError, match="large_forms: found 'literal'"):
    benchmark_large.make_model('literal', 7)


def test_unknown_variant():
  with pytest.raises(ValueError, match='variant'):
    get_config('huge')


@pytest.mark.slow
def test_smoke_writes_its_tables(tmp_path):
  benchmark.run(get_config('smoke'), tmp_path)
  table = json.loads((tmp_path / 'benchmark.json').read_text())
  forms = {(row['kind'], row['form']) for row in table['rows']}
  assert forms == {('force', 'factorised'), ('force', 'literal'), ('simulate', 'invariant'),
                   ('simulate', 'factorised')}
  large, *published = table['rows']
  assert all(row['seconds'] > 0 and row['gflop'] > 0 for row in published)
  assert large['at_once'] == 2 and large['peak_mib'] > large['memory_mib'] > 0
  text = (tmp_path / 'benchmark.md').read_text()
  assert '| 5 | invariant |' in text and '| 7 | invariant | 4 | 2 |' in text


def test_the_rival_in_pytorch_is_the_same_network():
  torch = pytest.importorskip('torch', reason='torch is no dependency; the benchmark can use it')
  from experiments import literal_torch
  beads, width = 4, 16
  ours = GraphTransformer(beads, width, 2)
  x, t, species = jax.random.normal(jax.random.key(0), (beads, 3)), jnp.float32(0.3), jnp.arange(4)
  params = ours.init(jax.random.key(1), x, t, species)
  theirs = literal_torch.LiteralTransformer(beads, width, 2)

  def copy(linear, params):
    linear.weight.data = torch.tensor(np.asarray(params['kernel']).T)
    if 'bias' in params:
      linear.bias.data = torch.tensor(np.asarray(params['bias']))

  tree = params['params']
  for name in ('node_embedding', 'edge_embedding', 'decoder'):
    copy(getattr(theirs, name), tree[name])
  for k, block in enumerate(theirs.blocks):
    layer = tree[f'block_{k}']
    for name in ('query', 'key', 'value', 'edge', 'out'):
      copy(getattr(block.attention, name), layer['attention'][name])
    copy(block.feed_forward[0], layer['feed_forward']['hidden'])
    copy(block.feed_forward[2], layer['feed_forward']['out'])
    for k, name in enumerate(('attention_gate', 'feed_forward_gate')):
      block.gates[k].linear.weight.data = torch.tensor(
        np.asarray(layer[name]['kernel']).reshape(1, -1))
  noise = jax.grad(lambda x: ours.apply(params, x - x.mean(0), t, species))(x)
  found = theirs(torch.tensor(np.asarray(x))[None], torch.tensor([0.3]), training=False)[0]
  # Float32 through two layers; the noise is of order 0.1 to 1.
  np.testing.assert_allclose(found.detach() - found.detach().mean(0), noise, atol=1e-5)
