"""Cheap compilations, and one for programs that several tests share: a cache as old as the run.

Tests compile far more than they run: without LLVM's optimisations they take two thirds of the time.
"""

import os
import shutil
import tempfile

import jax

os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} --xla_backend_optimization_level=0'
CACHE = 'TWOFORONE_TEST_CACHE'  # workers inherit it from the process that starts them


def pytest_configure(config):
  if not hasattr(config, 'workerinput'):
    os.environ[CACHE] = tempfile.mkdtemp(prefix='twoforone_tests_')
  jax.config.update('jax_compilation_cache_dir', os.environ[CACHE])
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 1.0)


def pytest_unconfigure(config):
  if not hasattr(config, 'workerinput'):
    shutil.rmtree(os.environ.pop(CACHE), ignore_errors=True)
