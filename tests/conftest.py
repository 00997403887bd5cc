"""Cheap compilations, and one for programs that several tests share: a cache as old as the run.

Tests compile far more than they run: without LLVM's optimisations they take two thirds of the time.
Both are in the environment, for the processes that tests start compile the same programs.
"""

import collections
import os
import shutil
import tempfile

import jax
import pytest

CHEAP = '--xla_backend_optimization_level=0'
if jax.__version_info__ < (0, 11):  # a flag that XLA does not know ends the process
  CHEAP += ' --xla_cpu_use_fusion_emitters=false'  # a quarter less to compile
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {CHEAP}'
CACHE = 'JAX_COMPILATION_CACHE_DIR'
LEAST_SECONDS = 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'


def pytest_configure(config):
  if not hasattr(config, 'workerinput'):  # workers inherit both from the process that starts them
    os.environ |= {CACHE: tempfile.mkdtemp(prefix='twoforone_tests_'), LEAST_SECONDS: '0'}
  jax.config.update(CACHE.lower(), os.environ[CACHE])
  jax.config.update(LEAST_SECONDS.lower(), float(os.environ[LEAST_SECONDS]))


def pytest_unconfigure(config):
  if not hasattr(config, 'workerinput'):
    shutil.rmtree(os.environ.pop(CACHE), ignore_errors=True)


def pytest_collection_modifyitems(items):
  """Files with the most slow tests first: none of them is left for one worker at the end."""
  slow = collections.Counter(item.path for item in items if item.get_closest_marker('slow'))
  items.sort(key=lambda item: -slow[item.path])


@pytest.fixture
def environment():
  """environment(devices): of a process with so many CPU devices that compiles as cheaply."""

  def environment(devices=1):
    flags = f'{CHEAP} --xla_force_host_platform_device_count={devices}'
    return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags}

  return environment
