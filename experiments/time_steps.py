"""How long a time step a force field bears: what is lost and how wide bonds become with each."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments import milestones
from experiments.models import Model
from twoforone.evaluation.structure import bond_widths
from twoforone.system import System


def measure_steps(
  config, model: Model, params, system: System, x: np.ndarray, steps: Sequence[float]
) -> dict[str, dict[str, float | None]]:
  """Time step [fs] -> replicas lost, and the mean width of bonds relative to the start's.

  The width is that of sound replicas, None without one.
  Every replica makes `config.simulate.frames_per_part` × `stride` steps; the second half is scored.

  Args:
    config: of `experiments.ala2`; all but its time step is kept.
    params: of the energy.
    x: frames [R, n, 3] in nm, where the replicas start; not those of the training.
    steps: [fs], each of which is tried.
  """
  expected, found = bond_widths(x).mean(), {}
  for step in steps:
    chosen = config.copy_and_resolve_references()
    chosen.simulate.dt = 1e-3 * step
    simulate = milestones.make_simulate(chosen, model, system, chosen.simulate.level)
    state, frames = simulate(params, jax.random.key(config.seed), jnp.asarray(x))
    sound = np.asarray(state.lost_frame) < 0
    late = np.asarray(frames)[len(frames) // 2:, sound]
    found[f'{step:g}'] = {
      'replicas': len(x), 'lost': int((~sound).sum()),
      'bond width': float(bond_widths(late).mean() / expected) if sound.any() else None}
  return found
