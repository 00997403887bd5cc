"""The flow of a whole molecule in mixed coordinates, for a Boltzmann generator of 22 atoms.

Layers alternate between even and odd coordinates: real ones (core, angles, lengths, stiff torsions)
by affine couplings, flexible torsions by circular splines. The base is N(0, T) times uniform
circles. With `mixed_coordinates` of 4 or 6 central atoms this is panel c or b of the BG-REM study.
"""


import numpy as np

from twoforone.baselines import couplings, flow
from twoforone.baselines.couplings import coupling
from twoforone.baselines.flow import Flow, Prior


def make_molecule_flow(
  num_real: int, num_circular: int, *, num_layers: int = 8, num_bins: int = 8,
  widths: tuple[int, ...] = (128, 128), bound: float = 1.0,
) -> tuple[Flow, Prior]:
  """(flow, prior) over [real | circular]; `flow.make_log_density` and `make_sample` take them.

  Each layer moves half of the real and half of the circular coordinates; its networks see the
  others, angles as cosine and sine.

  Args:
    num_real: of `positions.Coordinates`.
    num_circular: likewise.
    num_layers: each moves every second coordinate.
    num_bins: of the circular splines.
    widths: hidden layers of each network.
    bound: of the logarithm of an affine scale.

  Raises:
    ValueError: for fewer than two real coordinates.
  """
  if num_real < 2:
    raise ValueError(f'num_real: found {num_real}, expected at least 2')
  real, circular = np.arange(num_real), num_real + np.arange(num_circular)
  scale, turn = couplings.affine(bound=bound), couplings.circular_spline(num_bins)
  layers = []
  for k in range(num_layers):
    given = np.concatenate([real[1 - k % 2::2], circular[1 - k % 2::2]])
    seen = {'given': given.tolist(), 'angles': np.intersect1d(given, circular).tolist(),
            'widths': widths}
    layers += [coupling(transform, moved=moved.tolist(), **seen) for transform, moved in
               ((scale, real[k % 2::2]), (turn, circular[k % 2::2])) if len(moved)]
  priors = [flow.normal_prior(num_real)]
  priors += [flow.uniform_prior(num_circular)] if num_circular else []
  return flow.chain(*layers), flow.join_priors(*priors)
