"""An MLP energy for points in an external potential: no symmetry, one configuration at a time.

energy = |x|²/2 + MLP(x, noise): at the start the unit Gaussian, which is that of whitened data at
every noise level. The noise enters by features smooth in sigma² and scales each hidden unit (FiLM,
Perez et al. 2018), so that near sigma = 0 the energy is linear in sigma², as a density is.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Int

from twoforone.networks.noise_features import make_noise_features
from twoforone.schedule import Schedule
from twoforone.types import Beads, Scalar


class MLPEnergy(nn.Module):
  """phi(x, t, species) = sigma (|x|²/2 + MLP), see `energy.make_energy(project=geometry.keep)`.

  Attributes:
    schedule: of the noise.
    widths: of the hidden layers.
    noise_widths: where on the sigma axis the noise features change, see `make_noise_features`.
    code_width: of the layer between the noise features and the scales of the hidden units.
  """

  schedule: Schedule
  widths: tuple[int, ...] = (92, 92, 92)
  noise_widths: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
  code_width: int = 32

  @nn.compact
  def __call__(self, x: Beads, t: Scalar, species: Int[Array, ' beads']) -> Scalar:
    del species  # a point is known by where it is
    noise = make_noise_features(self.schedule, self.noise_widths)(t)
    code = nn.silu(nn.Dense(self.code_width)(noise))
    h = jnp.concatenate([x.ravel(), noise])
    for width in self.widths:
      h = nn.silu(nn.Dense(width)(h) * (1 + nn.Dense(width)(code)))
    out = nn.Dense(1, kernel_init=nn.initializers.zeros)(h)[0]
    return self.schedule.sigma(t) * (0.5 * jnp.sum(x**2) + out)
