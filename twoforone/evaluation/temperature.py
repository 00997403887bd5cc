"""Two thermometers: of the momenta, and of the forces on the visited positions.

Both return one instantaneous temperature per frame, in K; its mean and error come from
`uncertainty.estimate`. A simulation is right when both agree with the thermostat.
"""

import numpy as np
from jaxtyping import Float

from twoforone.units import BOLTZMANN


def kinetic_temperature(
  momentum: Float[np.ndarray, '*frames beads 3'], mass: Float[np.ndarray, ' beads']
) -> Float[np.ndarray, '*frames']:
  """Σ |p|²/m / (3 n kB), K.

  All 3n degrees of freedom count: the centre of mass is thermalised too and is not removed.

  Args:
    momentum: [amu nm/ps].
    mass: [amu].
  """
  momentum = momentum.astype(np.float64)
  kinetic = np.sum(momentum**2 / mass[:, None], axis=(-2, -1))
  return kinetic / (3 * len(mass) * BOLTZMANN)


def configurational_temperature(
  x: Float[np.ndarray, '*frames beads 3'], force: Float[np.ndarray, '*frames beads 3']
) -> Float[np.ndarray, '*frames']:
  """-Σ F_i · (x_i - x̄) / (3 (n-1) kB), K: the virial theorem of a bound molecule.

  Integration by parts gives <∇U · (x - x̄)> = 3 (n-1) kT exactly for any potential that does not
  change under translation. It needs no second derivatives, no masses and no momenta. For an
  instantaneous value it is noisy, and it may be negative; only the mean is a temperature.

  Args:
    x: visited positions [nm].
    force: of the simulated force field at x [kJ/mol/nm].
  """
  x, force = x.astype(np.float64), force.astype(np.float64)
  virial = -np.sum(force * (x - x.mean(axis=-2, keepdims=True)), axis=(-2, -1))
  return virial / (3 * (x.shape[-2] - 1) * BOLTZMANN)
