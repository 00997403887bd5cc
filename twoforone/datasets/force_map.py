"""A check of mapped forces: the virial identity <F_i · (x_i - x_j)> = -3 kT for i != j.

Integrating p = exp(-U/kT) by parts gives it for every mean force F = -dU/dx of a potential that
does not change under translation. It holds for each *unbiased* estimate of the mean force, and
fails where constrained atoms were left out of the force map (Ciccotti et al. 2005).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class VirialIdentity(NamedTuple):
  """<F_i · (x_i - x_j)> / (3 kT) of each ordered pair, which is -1 for well mapped forces.

  Attributes:
    pairs: (i, j), [pairs, 2] int.
    mean: [pairs].
    error: standard error of the mean, [pairs].
  """

  pairs: np.ndarray
  mean: np.ndarray
  error: np.ndarray


def virial_identity(
  x: Float[np.ndarray, 'frames beads 3'],
  forces: Float[np.ndarray, 'frames beads 3'],
  run: Int[np.ndarray, ' frames'],
  *,
  kT: float,
  num_blocks: int,
) -> VirialIdentity:
  """<F_i · (x_i - x_j)> / (3 kT), the standard error from blocks contiguous in time.

  Args:
    x: positions [nm].
    forces: mapped forces [kJ/mol/nm].
    run: which run each frame is of; no block crosses from one run to another.
    kT: thermal energy of the data [kJ/mol].
    num_blocks: blocks of each run, each longer than the slowest motion.

  Raises:
    ValueError: when kT is not positive, or there are fewer than two blocks or too few frames.
  """
  if not kT > 0:
    raise ValueError(f'kT: found {kT}, expected a positive number')
  blocks = [block for index in np.unique(run)
            for block in np.array_split(np.flatnonzero(run == index), num_blocks)]
  size = np.array([len(block) for block in blocks])
  if len(blocks) < 2 or size.min() == 0:
    raise ValueError(f'num_blocks: found {num_blocks}, which cuts {len(x)} frames into '
                     f'{len(blocks)} blocks of {size.min()} or more, expected at least two blocks '
                     'and a frame in each')
  pairs = np.argwhere(~np.eye(x.shape[1], dtype=bool))
  values = np.stack([_mean_virial(x[b], forces[b])[tuple(pairs.T)] for b in blocks]) / (3 * kT)
  weight = (size / size.sum())[:, None]
  mean = np.sum(weight * values, axis=0)
  spread = np.sum((weight * (values - mean)) ** 2, axis=0)
  return VirialIdentity(pairs, mean, np.sqrt(spread * len(blocks) / (len(blocks) - 1)))


def _mean_virial(x: np.ndarray, forces: np.ndarray) -> np.ndarray:
  """The average over frames of F_i · (x_i - x_j), [beads, beads]."""
  product = np.einsum('fic,fjc->ij', forces, x, dtype=np.float64) / len(x)
  return np.diag(product)[:, None] - product
