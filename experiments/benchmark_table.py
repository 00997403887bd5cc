"""The benchmark's numbers as Markdown."""

import pathlib

from experiments import markdown

COLUMNS = (
  ('beads', 'beads', '{:d}'), ('form', 'network', '{}'), ('batch', 'batch', '{:d}'),
  ('at_once', 'at once', '{:d}'),
  ('milliseconds', 'ms/step', '{:.3g}'), ('configurations_per_second', 'batch·steps/s', '{:.3g}'),
  ('literal_ratio', 'literal / this', '{:.3g}×'), ('pytorch_ratio', 'PyTorch / this', '{:.3g}×'),
  ('gflop', 'GFLOP/step', '{:.3g}'),
  ('gemm_fraction', 'of GEMM rate', '{:.2f}'), ('memory_mib', 'MiB', '{:.0f}'),
  ('peak_mib', 'process MiB', '{:.0f}'),
  ('compile_seconds', 'compile s', '{:.1f}'))

TITLES = {'train': 'Training step (gradient through the score, optimiser, EMA)',
          'force': 'Force call', 'simulate': 'Simulated step (BAOAB, one force call)'}


def write_markdown(path: pathlib.Path, table: dict) -> None:
  """Machine, then one table for training, forces and simulation each."""
  machine = table['machine']
  lines = [
    '# Benchmark', '',
    f'{machine["device"]} ({machine["platform"]}), jax {machine["jax"]}, {machine["system"]}. '
    f'Square float32 matrix products: {machine["gemm_rate"] / 1e9:.0f} GFLOP/s. '
    f'Peak memory of the process: {machine["peak_memory_mib"]:.0f} MiB.', '',
    'Medians; networks of one size and batch were timed in turn. Literal is the same network with '
    'its N × N × 512 edge tensors in JAX, pytorch the same in PyTorch with a Python loop over '
    'steps. FLOP are those XLA counts in each compiled program; the GEMM rate that they are '
    'compared with was timed in the same rounds. MiB are the arguments, results and temporaries of '
    'the compiled program. Rows with a batch worked through so many configurations at once ran in '
    'a process of their own, whose peak resident memory (Python, JAX and compiling included) is '
    'given beside; synthetic chains where no published size has their number of beads.', '']
  for kind, title in TITLES.items():
    lines += [f'## {title}', '', format_rows(r for r in table['rows'] if r['kind'] == kind), '']
  lines += ['## Import in a fresh process', '', markdown.table(
    ('module', 'jax s', 'module on top s'), (
      (module, f'{seconds["jax"]:.2f}', f'{seconds["module"]:.2f}')
      for module, seconds in machine['import_seconds'].items()))]
  path.write_text('\n'.join(lines) + '\n')


def format_rows(rows) -> str:
  """A Markdown table; a column that a row lacks is left blank."""
  rows = (row | {'milliseconds': 1e3 * row['seconds']} for row in rows)
  return markdown.table([title for _, title, _ in COLUMNS], (
    [form.format(row[name]) if name in row else '' for name, _, form in COLUMNS] for row in rows))
