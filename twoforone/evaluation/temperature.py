"""Two thermometers: of the momenta, and of the forces on the visited positions.

Both return one instantaneous temperature per frame, in K; its mean and error come from
`uncertainty.estimate`. A simulation is right when both agree with the thermostat. They read what
`simulate` reports of each frame (`Info`).
"""

import numpy as np
from jaxtyping import Float

from twoforone.units import BOLTZMANN


def kinetic_temperature(
  kinetic: Float[np.ndarray, '*frames'], num_beads: int
) -> Float[np.ndarray, '*frames']:
  """2 K / (3 n kB), K, from the kinetic energy Σ |p|²/2m [kJ/mol].

  All 3n degrees of freedom count: the centre of mass is thermalised too and is not removed.
  """
  return 2 * kinetic.astype(np.float64) / (3 * num_beads * BOLTZMANN)


def configurational_temperature(
  virial: Float[np.ndarray, '*frames'], num_beads: int
) -> Float[np.ndarray, '*frames']:
  """-W / (3 (n-1) kB), K, from the virial W = Σ F_i · (x_i - x̄) [kJ/mol].

  Integration by parts gives <∇U · (x - x̄)> = 3 (n-1) kT exactly for any potential that does not
  change under translation. It needs no second derivatives, no masses and no momenta. For an
  instantaneous value it is noisy, and it may be negative; only the mean is a temperature.
  """
  return -virial.astype(np.float64) / (3 * (num_beads - 1) * BOLTZMANN)
