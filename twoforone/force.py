"""Two: the score at low noise, read as a force field in physical units.

At noise level t the model knows the density of x_t = alpha x_0 + sigma noise. As a density of
x_0 = x / scale this reads p(x) ∝ p_t(alpha x / scale), hence

  U(x) = kT energy(alpha x / scale, t),   F(x) = (kT alpha / scale) score(alpha x / scale, t).

That is the exact form. Arts et al. (2023, eq. 10) evaluate at the unscaled x; `alpha=1.0` gives
that form (it differs by 1 - alpha, below 0.1 % at the published levels). `kT` is the thermal
energy of the *data*; the thermostat's is given to the integrator.
"""

import jax
import jax.numpy as jnp

from twoforone.types import EnergyFn, ForceFn, PotentialFn, ScoreFn


def make_force_field(
  score: ScoreFn, *, t: float, kT: float, scale: float, alpha: float
) -> ForceFn:
  """force(params, x) = (kT alpha / scale) score(params, alpha x / scale, t), kJ/mol/nm.

  Args:
    score: of the whitened positions.
    t: diffusion time at which the score is read.
    kT: thermal energy of the training data [kJ/mol].
    scale: length that whitened the data [nm].
    alpha: schedule.alpha(t) for the exact form, 1.0 for that of Arts et al. (2023).

  Raises:
    ValueError: when a number is out of range.
  """
  _check(t, kT, scale, alpha)

  def force(params, x):
    return (kT * alpha / scale) * score(params, (alpha / scale) * x, jnp.asarray(t, x.dtype))

  return force


def make_potential(
  energy: EnergyFn, *, t: float, kT: float, scale: float, alpha: float
) -> PotentialFn:
  """potential(params, x) = kT energy(params, alpha x / scale, t), kJ/mol; see `make_force_field`.

  Raises:
    ValueError: when a number is out of range.
  """
  _check(t, kT, scale, alpha)

  def potential(params, x):
    return kT * energy(params, (alpha / scale) * x, jnp.asarray(t, x.dtype))

  return potential


def in_pieces(force: ForceFn | PotentialFn, at_once: int) -> ForceFn | PotentialFn:
  """The same force or potential which, under `vmap`, is of `at_once` configurations at a time.

  Replicas then cost the memory of their states, and only `at_once` that of the network, however
  many times they are mapped over (rungs of ladders). Where they are divided over devices, so is
  each piece. The parameters must be the same for all.

  Raises:
    ValueError: for fewer than one at a time.
  """
  if at_once < 1:
    raise ValueError(f'at_once: found {at_once}, expected at least 1')

  @jax.custom_batching.custom_vmap
  def pieces(params, x):
    return force(params, x)

  @pieces.def_vmap
  def _(axis_size, in_batched, params, x):
    del axis_size
    if not in_batched[1]:  # in the Jacobian of one configuration only its tangents are many
      return force(params, x), False
    return many(params, x), True

  @jax.custom_batching.custom_vmap
  def many(params, x):
    rest = len(x) % at_once
    # Compiled by itself: JAX 0.10 cannot trace a mapped custom_jvp of the network once more.
    whole, each = len(x) - rest, jax.jit(jax.vmap(force, (None, 0)))
    if not whole:
      return each(params, x)
    # A piece has every k-th configuration: neighbours are on one device, each piece on all.
    split = x[:whole].reshape(at_once, -1, *x.shape[1:]).swapaxes(0, 1)
    found = jax.lax.map(lambda x: each(params, x), split).swapaxes(0, 1)
    found = found.reshape(whole, *found.shape[2:])
    return jnp.concatenate([found, each(params, x[whole:])]) if rest else found

  @many.def_vmap
  def _(axis_size, in_batched, params, x):
    if not in_batched[1]:
      return many(params, x), False
    found = many(params, x.reshape(-1, *x.shape[2:]))
    return found.reshape(axis_size, -1, *found.shape[1:]), True

  return pieces


def _check(t: float, kT: float, scale: float, alpha: float) -> None:
  if not 0 <= t <= 1:
    raise ValueError(f't: found {t}, expected a diffusion time in [0, 1]')
  for name, value in (('kT', kT), ('scale', scale), ('alpha', alpha)):
    if not value > 0:
      raise ValueError(f'{name}: found {value}, expected a positive number')
