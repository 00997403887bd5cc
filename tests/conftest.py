"""One compilation for programs that several tests share: a cache that lives as long as the run."""

import os
import pathlib
import tempfile

import jax

# Every worker of one run has the same id, so they share what they compile.
RUN = os.environ.get('PYTEST_XDIST_TESTRUNUID', str(os.getpid()))
jax.config.update('jax_compilation_cache_dir',
                  str(pathlib.Path(tempfile.gettempdir()) / f'twoforone_tests_{RUN}'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 1.0)
