"""Time, work and memory of compiled loops, measured in turn because a shared machine drifts.

A loop is compiled ahead of time, called once to warm up, then timed with the loops it is compared
with: A B A B ... Each call runs many steps inside one compiled scan and ends on the device.
"""

import json
import multiprocessing
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Loop(NamedTuple):
  """A compiled function that is called again on what it returned.

  Attributes:
    advance: runs it once and waits for the result.
    steps: number of steps in one call; batch: configurations in each step.
    flops: floating-point operations of one step, counted by XLA in the compiled program; None
      where nothing counts them.
    memory: bytes of arguments, results and temporaries, or None.
    compile_seconds: tracing included.
  """

  advance: Callable[[], None]
  steps: int
  batch: int
  flops: float | None
  memory: int | None
  compile_seconds: float


def compile_loop(
  function: Callable, arguments: tuple, carry: Callable[[tuple, Any], tuple], *,
  steps: int, batch: int
) -> Loop:
  """Compiles a jitted function; `carry(arguments, result)` gives the arguments of the next call.

  XLA counts the body of a loop once, so the count of a scan over steps is that of one step.
  """
  start = time.perf_counter()
  compiled = function.lower(*arguments).compile()
  seconds = time.perf_counter() - start
  memory = compiled.memory_analysis()
  cell = [arguments]

  def advance():
    result = jax.block_until_ready(compiled(*cell[0]))
    cell[0] = carry(cell[0], result)

  return Loop(
    advance, steps=steps, batch=batch, flops=compiled.cost_analysis().get('flops', 0.0),
    memory=(memory.argument_size_in_bytes + memory.output_size_in_bytes
            + memory.temp_size_in_bytes - memory.alias_size_in_bytes),
    compile_seconds=seconds)


def time_in_turn(loops: dict[str, Loop], *, repeats: int) -> dict[str, list[float]]:
  """Seconds per step of each loop in each round, after one warm-up round."""
  seconds = {name: [] for name in loops}
  for loop in loops.values():
    loop.advance()
  for _ in range(repeats):
    for name, loop in loops.items():
      start = time.perf_counter()
      loop.advance()
      seconds[name].append((time.perf_counter() - start) / loop.steps)
  return seconds


def make_row(loop: Loop, seconds: list[float]) -> dict:
  """The numbers of one loop: medians, with the range of the rounds beside them."""
  median = statistics.median(seconds)
  row = {
    'batch': loop.batch, 'steps': loop.steps, 'seconds': median,
    'seconds_least': min(seconds), 'seconds_most': max(seconds),
    'configurations_per_second': loop.batch / median, 'compile_seconds': loop.compile_seconds}
  if loop.flops is not None:
    row['gflop'] = loop.flops / 1e9
  if loop.memory is not None:
    row['memory_mib'] = loop.memory / 2**20
  return row


def median_ratio(slow: list[float], fast: list[float]) -> float:
  """Median over rounds of slow / fast, each round's two times taken next to each other."""
  return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def make_gemm(size: int, *, steps: int) -> Loop:
  """`steps` products of square float32 matrices, each needing the one before."""
  def products(a, b):
    return jax.lax.scan(lambda a, _: (jnp.dot(a, b), None), a, length=steps)[0]

  # The identity keeps the numbers in range; its zeros cost as much as any number.
  arguments = (jnp.ones((size, size)), jnp.eye(size))
  loop = compile_loop(
    jax.jit(products), arguments, lambda arguments, result: (result, arguments[1]),
    steps=steps, batch=1)
  return loop._replace(flops=2.0 * size**3)


def describe_machine(gemm: Loop, *, repeats: int, modules: tuple[str, ...]) -> dict:
  """The device, its rate of matrix products, and what it takes to import the package."""
  rate = gemm.flops / statistics.median(time_in_turn({'gemm': gemm}, repeats=repeats)['gemm'])
  device = jax.devices()[0]
  print(f'{device.device_kind}: {rate / 1e9:.0f} GFLOP/s in products of square float32 matrices',
        flush=True)
  return {
    'device': device.device_kind, 'platform': device.platform,
    'system': f'{platform.system()} {platform.machine()}', 'jax': jax.__version__,
    'gemm_rate': rate, 'import_seconds': import_times(modules)}


def peak_memory_mib() -> float:
  """The most resident memory this process has had since its program was started, in MiB."""
  status = pathlib.Path('/proc/self/status')
  if status.exists():  # Linux; its getrusage hands the peak of the parent down to a child
    line = next(line for line in status.read_text().splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 2**10
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / 2**20 if sys.platform == 'darwin' else peak / 2**10


def in_fresh_process(function: Callable, *arguments) -> Any:
  """function(*arguments) in a process of its own: a peak never falls within a process.

  Both must be picklable. A process that is killed (out of memory) raises BrokenProcessPool.
  """
  with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
    return pool.submit(function, *arguments).result()


def import_times(modules: tuple[str, ...]) -> dict[str, dict[str, float]]:
  """Seconds to import each module in a fresh process: jax alone, then the module on top of it."""
  times = {}
  for module in modules:
    script = ('import json, time; a = time.perf_counter(); import jax, jax.numpy; '
              f'b = time.perf_counter(); import {module}; c = time.perf_counter(); '
              "print(json.dumps({'jax': b - a, 'module': c - b}))")
    output = subprocess.check_output([sys.executable, '-c', script], text=True)
    times[module] = json.loads(output.splitlines()[-1])
  return times
