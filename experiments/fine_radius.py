"""How well the fine particles' Rg² follows from the beads: by a trained head, and by a constant.

Rg² = that of the beads + what lies within them. The constant is the mean of that over the training
data; the head is told what each bead is made of and how it moves.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import step_world
from experiments.score_time_integrated import over_known
from twoforone.baselines.time_integrated.history import Windows
from twoforone.evaluation import agreement, polymers

STRIDE = 10  # frames from one prediction to the next


def within_beads(windows: Windows) -> float:
  """Mean of Rg² of the particles minus that of the beads, over all frames."""
  mass = windows.systems.beads.mass[:, None]
  return float(np.mean(windows.square_radius - polymers.squared_radius(windows.x, mass)))


def score(config, world, model, params, x: np.ndarray) -> dict[str, float]:
  """Agreement of mean Rg² of the frames x [F, C, n, 3] with the replicas, and error of a frame.

  Nothing for a model without a head.
  """
  if model.radius is None:
    return {}
  chains, mass = world.reference, world.systems.beads.mass
  last, true = np.arange(config.history - 1, len(chains.fine[0]), STRIDE), chains.fine.mean(axis=1)
  predict = make_predict(world, model, params, config.history)
  errors = {'': predict(chains.x[0], last),
            ', constant': polymers.squared_radius(chains.x[0][last], mass) + chains.within}
  means = {'': predict(x, last).mean(axis=0),
           ', constant': polymers.squared_radius(x, mass).mean(axis=0) + chains.within}
  return {
    **{f'fine Rg² r2{how}': float(np.mean(
      [over_known(agreement.pearson_r2, found, replica).value for replica in true]))
      for how, found in means.items()},
    **{f'fine Rg² error{how}': float(np.sqrt(np.mean((found - chains.fine[0][last]) ** 2)))
       for how, found in errors.items()}}


def make_predict(world, model, params, history: int):
  """predict(x[F, C, n, 3], last[W]) -> [W, C]: the head's Rg² of the frames `last` of x."""
  embedding = step_world.embed(model, params, world.systems)
  beads = jax.tree.map(jnp.asarray, world.systems.beads)
  ends = np.arange(1 - history, 1)

  def one(frames, embedding, beads):
    _, latent = model.predict(params, frames, embedding, beads)
    return model.radius(params, frames[-1], latent, beads) ** 2

  @jax.jit
  def over_windows(histories):
    return jax.lax.map(lambda frames: jax.vmap(one)(frames, embedding, beads), histories)

  def predict(x, last):
    histories = x[last[:, None] + ends].swapaxes(1, 2)  # [W, C, k, n, 3]
    return np.asarray(over_windows(jnp.asarray(histories)))

  return predict
