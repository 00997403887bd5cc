"""Whether a learned step turns with the molecule: its networks as they are, before and after.

The message-passing networks do not, by design; the equivariant ones must, up to float32 rounding.
"""

import jax
import jax.numpy as jnp

from experiments import step_world
from twoforone.geometry import random_rotation


def turning_error(config, world, model, params) -> float:
  """Largest relative error of mean, covariance and score, over molecules turned at random.

  The histories are moved too, by about a bond; the score is of their last frame, at the lowest
  level of the ladder.
  """
  sigma, length = config.refine.lowest * world.scales.length, world.scales.length
  embedding = step_world.embed(model, params, world.systems)
  beads = jax.tree.map(jnp.asarray, world.systems.beads)
  keys = jax.random.split(jax.random.key(0), len(embedding))

  def one(key, history, embedding, beads):
    key_rotation, key_shift = jax.random.split(key)
    rotation = random_rotation(key_rotation)
    shift = length * jax.random.normal(key_shift, (3,))

    def outcome(history):
      distribution, latent = model.predict(params, history, embedding, beads)
      score = model.score(params, history[-1], latent, beads, jnp.float32(sigma))
      mean, score = (jnp.where(beads.mask[:, None], a, 0) for a in (distribution.mean, score))
      return mean, distribution.covariance(), score

    mean, covariance, score = outcome(history)
    wide = jnp.kron(jnp.eye(len(mean)), rotation)
    expected = mean @ rotation.T, wide @ covariance @ wide.T, score @ rotation.T
    found = outcome(jnp.where(beads.mask[:, None], history @ rotation.T + shift, 0))
    return jnp.stack([jnp.linalg.norm(f - e) / jnp.linalg.norm(e)
                      for f, e in zip(found, expected, strict=True)])

  with jax.default_matmul_precision('highest'):
    errors = jax.jit(jax.vmap(one))(keys, jnp.asarray(world.histories), embedding, beads)
  return float(errors.max())
