"""Long chains and crowds of replicas: time and peak memory of a step that is made in pieces.

A batch is trained on in microbatches and replicas get their forces some at a time, so the memory
is that of `at_once` configurations, not of all. Each row is measured in a process of its own.
"""

import numpy as np
from ml_collections import ConfigDict

from experiments import benchmark_loops as loops
from experiments import measure
from experiments.configs.published_sizes import PUBLISHED_SIZES
from twoforone.networks.equivariant import EquivariantEnergy, fit_pair_statistics
from twoforone.networks.graph_transformer import GraphTransformer
from twoforone.networks.invariant import InvariantEnergy, fit_invariants

BOND = 0.38  # nm, between neighbouring alpha carbons
CLOSEST = 0.45  # nm, of other beads
CUTOFF = 1.5  # nm, of the equivariant network's messages
TRIES = 16  # directions tried for each bead
FRAMES = 64  # enough statistics for an untrained network


def measure_all(config: ConfigDict) -> list[dict]:
  """One row for each of `config.large` and each network of `config.large_forms`."""
  rows = []
  for kind, beads, batch, at_once, steps in config.large:
    for form in config.large_forms:
      row = measure.in_fresh_process(
        measure_row, form, kind, beads, batch, at_once, steps, config.repeats)
      rows.append(row)
      print(f'{kind:8s} {beads:4d} beads {form:11s} batch {batch:6d} {1e3 * row["seconds"]:10.2f} '
            f'ms/step, peak of the process {row["peak_mib"]:.0f} MiB', flush=True)
  return rows


def measure_row(
  form: str, kind: str, beads: int, batch: int, at_once: int, steps: int, repeats: int
) -> dict:
  """Time and memory of one network's steps, in this process.

  XLA counts the work of one piece only, so the row has no GFLOP.

  Raises:
    ValueError: for a kind that is not known, or a batch that is not so many whole pieces.
  """
  if kind not in ('train', 'simulate'):
    raise ValueError(f"large: found kind {kind!r}, expected 'train' or 'simulate'")
  if batch % at_once:
    raise ValueError(f'large: found {at_once} configurations at once, expected a divisor of '
                     f'{batch}')
  model = make_model(form, beads)
  loop = (loops.training_loop(model, batch, steps=steps, num_microbatches=batch // at_once)
          if kind == 'train' else
          loops.simulation_loop(model, batch, steps=steps, at_once=at_once))
  seconds = measure.time_in_turn({form: loop}, repeats=repeats)[form]
  row = {'kind': kind, 'size': f'chain_{beads}', 'beads': beads, 'form': form, 'at_once': at_once}
  return row | measure.make_row(loop._replace(flops=None), seconds) | {
    'peak_mib': measure.peak_memory_mib()}


def make_model(form: str, beads: int) -> loops.Model:
  """An untrained network for a synthetic chain, of the published width at a published length.

  Raises:
    ValueError: for a form that is not known.
  """
  x = chains(FRAMES, beads)
  scale = float(x.std())
  x = (x / scale).astype(np.float32)
  if form == 'invariant':
    network = InvariantEnergy(loops.SCHEDULE, fit_invariants(x))
  elif form == 'equivariant':
    pairs = fit_pair_statistics(x, np.arange(beads))
    network = EquivariantEnergy(loops.SCHEDULE, pairs, cutoff=CUTOFF / scale)
  elif form == 'factorised':
    sizes = {size['beads']: size for size in PUBLISHED_SIZES.values()}
    size = sizes.get(beads, PUBLISHED_SIZES['protein_g'])
    network = GraphTransformer(beads, size['width'], size['num_layers'])
  else:
    raise ValueError(f"large_forms: found {form!r}, expected 'invariant', 'equivariant' or "
                     "'factorised'")
  return loops.initialise(network, network.apply, x, scale)


def chains(num_frames: int, beads: int, *, seed: int = 0) -> np.ndarray:
  """Centred random chains [num_frames, beads, 3] in nm that keep out of their own way.

  Each bead lies one bond further in the first of some random directions that is clear of all
  beads before; where none is, in the clearest.
  """
  random, frames = np.random.default_rng(seed), np.arange(num_frames)
  x = np.zeros((num_frames, beads, 3))
  for k in range(1, beads):
    step = random.normal(size=(num_frames, TRIES, 3))
    tried = x[:, k - 1, None] + BOND * step / np.linalg.norm(step, axis=-1, keepdims=True)
    gaps = np.linalg.norm(tried[:, :, None] - x[:, None, :k - 1], axis=-1)
    clear = np.minimum(gaps.min(axis=-1, initial=CLOSEST), CLOSEST)
    x[:, k] = tried[frames, clear.argmax(axis=1)]
  return x - x.mean(axis=1, keepdims=True)
