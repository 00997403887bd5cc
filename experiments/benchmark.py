"""How fast training and simulation are, beside the machine's own matrix products.

For every published size the factorised graph transformer is timed in turn with the literal form
(N × N edge tensors) at the same batch; then the default network against both on alanine, for 1 to
10,000 replicas. Matrix products are timed in the same rounds. Long chains and crowds of replicas
are in `benchmark_large`. Leaves benchmark.json and .md.
"""


from ml_collections import ConfigDict

from experiments import benchmark_large, command_line, measure
from experiments import benchmark_loops as loops
from experiments.benchmark_table import write_markdown
from experiments.configs.published_sizes import PUBLISHED_SIZES
from twoforone.trajectory import write_json

ALANINE = 'alanine_dipeptide'


def run(config: ConfigDict, workdir: str) -> dict:
  """Measures everything and returns what it wrote."""
  workdir = command_line.prepare_workdir(workdir, config)
  rows = benchmark_large.measure_all(config)  # before this process holds a device that others need
  gemm = measure.make_gemm(config.gemm_size, steps=config.gemm_steps)
  machine = measure.describe_machine(gemm, repeats=config.repeats, modules=tuple(config.imports))
  for kind in config.kinds:
    for name in config.sizes:
      rows += compare_forms(config, kind, name, gemm)
  for name in config.published_batch:
    size = PUBLISHED_SIZES[name]
    models = {'factorised': loops.make_transformer(size, literal=False)}
    rows += compare(config, 'train', name, models, size['batch'], config.train_steps, gemm)
  for replicas in config.replicas:
    rows += compare_networks(config, replicas, gemm)
  for batch in config.invariant_batch:
    models = {'invariant': loops.make_invariant(PUBLISHED_SIZES[ALANINE]['beads'])}
    rows += compare(config, 'train', ALANINE, models, batch, config.invariant_steps, gemm)
  table = {'machine': machine | {'peak_memory_mib': measure.peak_memory_mib()}, 'rows': rows}
  write_json(workdir / 'benchmark.json', table)
  write_markdown(workdir / 'benchmark.md', table)
  print(f'wrote {workdir / "benchmark.json"} and {workdir / "benchmark.md"}')
  return table


def compare_forms(config: ConfigDict, kind: str, name: str, gemm: measure.Loop) -> list[dict]:
  """Factorised against literal at one published size, with at most `max_pairs` edges in a step."""
  size = PUBLISHED_SIZES[name]
  wanted, steps = ((size['batch'], config.train_steps) if kind == 'train'
                   else (config.size_replicas, config.simulation_steps))
  batch = min(wanted, max(1, config.max_pairs // size['beads'] ** 2))
  models = {form: loops.make_transformer(size, literal=form == 'literal')
            for form in ('factorised', 'literal')}
  return compare(config, kind, name, models, batch, steps, gemm,
                 rivals=make_rivals(config, kind, size, batch, steps))


def compare_networks(config: ConfigDict, replicas: int, gemm: measure.Loop) -> list[dict]:
  """Simulated steps of alanine: the default network and both forms of the transformer."""
  size = PUBLISHED_SIZES[ALANINE]
  models = {'invariant': loops.make_invariant(size['beads']),
            'factorised': loops.make_transformer(size, literal=False)}
  if replicas <= config.literal_replicas:
    models['literal'] = loops.make_transformer(size, literal=True)
  steps = min(config.most_steps, max(2, config.replica_steps // replicas))
  rivals = ({} if replicas > config.literal_replicas
            else make_rivals(config, 'simulate', size, replicas, min(steps, 20)))
  return compare(config, 'simulate', ALANINE, models, replicas, steps, gemm, rivals=rivals)


def make_rivals(config, kind: str, size: dict, batch: int, steps: int) -> dict[str, measure.Loop]:
  """The literal network in PyTorch, where `config.pytorch` asks for it."""
  if not config.pytorch or kind == 'force':
    return {}
  from experiments import literal_torch  # torch is no dependency of the package
  make = {'train': literal_torch.training_loop, 'simulate': literal_torch.simulation_loop}[kind]
  return {'pytorch': make(size, batch, steps=steps)}


def compare(config, kind: str, name: str, models: dict, batch: int, steps: int,
            gemm: measure.Loop, rivals: dict[str, measure.Loop] | None = None) -> list[dict]:
  """One row for each model, all timed in turn, with matrix products in every round."""
  make = {'train': loops.training_loop, 'force': loops.force_loop,
          'simulate': loops.simulation_loop}[kind]
  compiled = {form: make(model, batch, steps=steps) for form, model in models.items()}
  compiled |= rivals or {}
  seconds = measure.time_in_turn(compiled | {'gemm': gemm}, repeats=config.repeats)
  rows = []
  for form, loop in compiled.items():
    row = {'kind': kind, 'size': name, 'beads': PUBLISHED_SIZES[name]['beads'], 'form': form}
    row |= measure.make_row(loop, seconds[form])
    if loop.flops is not None:
      relative = measure.median_ratio(seconds['gemm'], seconds[form])
      row['gemm_fraction'] = relative * loop.flops / gemm.flops
    for rival in ('literal', 'pytorch'):
      if rival in seconds:
        row[f'{rival}_ratio'] = measure.median_ratio(seconds[rival], seconds[form])
    rows.append(row)
    share = f', {row["gemm_fraction"]:.2f} of GEMM' if 'gemm_fraction' in row else ''
    print(f'{kind:8s} {name:18s} {form:10s} batch {batch:6d} {1e3 * row["seconds"]:10.2f} ms/step'
          f'{share}', flush=True)
  return rows


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/benchmark.py')
