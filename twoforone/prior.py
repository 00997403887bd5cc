"""A prior energy without learned parameters: bonds, angles and closest approach under noise.

energy = Gaussian + Σ (shell - the Gaussian's own law of the pair) + coupling + Σ walls. A shell is
the law of b n + sqrt(v) ξ (n uniform on the sphere, ξ normal), harmonic about b while v << b².
Noise moves (b, v) to (alpha b, alpha² v + 2 sigma²) and nothing else: a shell is exact at every
level, and at sigma = 1 only |x|²/2 is left. An angle is kept by the distance of its ends (no
arccos); the coupling knows how that varies with the bonds. A wall is an empty ball about each bead
that noise fills from all sides.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twoforone.geometry import centre, distances, other_pairs
from twoforone.schedule import Schedule
from twoforone.types import EnergyFn

PerPair = Float[Array, ' pairs']
TAIL = (1e-3, 1e-2)  # quantiles of the closest approach that place the wall
TAIL_WIDTH = 0.764  # distance of these two quantiles in a normal law of width one


class Prior(NamedTuple):
  """What `fit_prior` finds in whitened frames; a card stores it as lists.

  Attributes:
    bead_covariance: <x_i · x_j> / 3 of the centred beads, [n, n].
    pairs: bonded beads and the ends of each angle, [P, 2] int.
    radius: b of each pair's shell, [P].
    covariance: of the distances, its diagonal the v of the shells, [P, P].
    overlap: mean of (∂d_k/∂x) · (∂d_l/∂x), how noise moves distances together, [P, P].
    wall: closest approach of all other pairs and the width of its edge, [2].
  """

  bead_covariance: np.ndarray
  pairs: np.ndarray
  radius: np.ndarray
  covariance: np.ndarray
  overlap: np.ndarray
  wall: np.ndarray


def fit_prior(
  x: Float[np.ndarray, 'frames beads 3'], bonds: Int[np.ndarray, 'bonds 2']
) -> Prior:
  """Boltzmann inversion of whitened training frames, by moments.

  A shell is a density of the bond *vector*, so the Jacobian d² is part of the fit: (b, v) give the
  mean and variance of d² in the frames, b² + 3v and 4 b² v + 6 v². Correlations of distances are
  those of the frames. The wall is the lower tail of the closest approach of beads that are neither
  bonded nor in one angle: its edge at the 0.1 % quantile, as wide as the tail up to 1 %.

  Raises:
    ValueError: for bonds that name no pair of beads, or no more frames than pairs.
  """
  num_beads = x.shape[1]
  check_bonds(bonds, num_beads)
  pairs = stiff_pairs(bonds)
  if len(x) <= len(pairs):
    raise ValueError(f'x: found {len(x)} frames, expected more than {len(pairs)}, the bonds and '
                     'angles')
  x = np.asarray(x, np.float64)
  x = x - x.mean(axis=1, keepdims=True)
  r = x[:, pairs[:, 0]] - x[:, pairs[:, 1]]
  radius, variance = _fit_shells(np.sum(r**2, axis=-1))
  d = np.linalg.norm(r, axis=-1)
  covariance = np.cov(d, rowvar=False).reshape(len(pairs), len(pairs))
  ratio = np.sqrt(variance / np.maximum(np.diag(covariance), np.finfo(float).tiny))
  covariance *= ratio[:, None] * ratio
  return Prior(np.einsum('fia,fja->ij', x, x) / (3 * len(x)), pairs, radius, covariance,
               _overlap(r / d[..., None], pairs, num_beads), _fit_wall(x, pairs))


def stiff_pairs(bonds: Int[np.ndarray, 'bonds 2']) -> Int[np.ndarray, 'pairs 2']:
  """The bonds, then the two ends of each angle (beads bonded to the same bead)."""
  bonded = [tuple(sorted(map(int, pair))) for pair in bonds]
  neighbours = {i: {a + b - i for a, b in bonded if i in (a, b)} for i in np.ravel(bonded)}
  ends = {(i, j) for beads in neighbours.values() for i in beads for j in beads if i < j}
  return np.array(sorted(set(bonded)) + sorted(ends - set(bonded)))


def check_bonds(bonds: Int[np.ndarray, 'bonds 2'], num_beads: int) -> None:
  """Nothing for bonds between different beads of `num_beads`.

  Raises:
    ValueError: for others, or none.
  """
  if len(bonds) == 0 or bonds.min() < 0 or bonds.max() >= num_beads or not np.diff(bonds).all():
    raise ValueError(f'bonds: found {bonds.tolist()}, expected pairs of different beads '
                     f'among 0 to {num_beads - 1}')


def make_prior(prior: Prior, schedule: Schedule) -> EnergyFn:
  """energy(params, x, t): the prior at noise level t; `params` is not used.

  Add it to a network's energy with `energy.add_energies`. The force is finite wherever the beads
  are. The normalisers of Gaussian and shells make energies of different levels comparable.
  """
  gaussian, stiff, walls = _make_gaussian(prior), _make_stiff(prior), _make_walls(prior)

  def energy(params, x, t):
    del params
    x, alpha, sigma = centre(x), schedule.alpha(t), schedule.sigma(t)
    return gaussian(x, alpha, sigma) + stiff(x, alpha, sigma) + walls(x, alpha, sigma)

  return energy


def fitted_time_step(
  prior: Prior, *, mass: np.ndarray, kT: float, scale: float, noise: float = 0.0,
  fraction: float = 0.5,
) -> float:
  """dt = fraction · 2 / ω_max [ps], ω_max of the stiffest mode of bonds and angles.

  ω² are the eigenvalues of (kT / scale²) C⁻¹ G, C the covariance of the distances and G their
  overlap over masses [n] in amu. Verlet and BAOAB are stable below ω dt = 2. `kT` [kJ/mol] is of
  the data, `noise` the sigma / alpha at which the force is read: it makes bonds softer.

  Raises:
    ValueError: for the wrong number of masses or numbers that are not positive.
  """
  num_beads = len(prior.bead_covariance)
  if np.shape(mass) != (num_beads,) or not np.all(np.asarray(mass) > 0):
    raise ValueError(f'mass: found {mass}, expected {num_beads} positive numbers of amu')
  for name, value in (('kT', kT), ('scale', scale), ('fraction', fraction)):
    if not value > 0:
      raise ValueError(f'{name}: found {value}, expected a positive number')
  covariance = prior.covariance + noise**2 * prior.overlap
  overlap = _overlap_with_masses(prior, np.asarray(mass, np.float64))
  stiffest = np.linalg.eigvals(np.linalg.solve(covariance, overlap)).real.max()
  return float(2 * fraction * scale / np.sqrt(kT * stiffest))


def _make_gaussian(prior: Prior):
  """The normal law of all beads: eigenvalue λ of the covariance becomes alpha² λ + sigma²."""
  eigenvalues, basis = np.linalg.eigh(prior.bead_covariance)
  # The first is the centre of mass, which does not move.
  eigenvalues, basis = jnp.asarray(np.maximum(eigenvalues[1:], 0)), jnp.asarray(basis[:, 1:])

  def gaussian(x, alpha, sigma):
    variance = alpha**2 * eigenvalues + sigma**2
    square = jnp.sum((basis.T @ x) ** 2, axis=1)
    return 0.5 * jnp.sum(square / variance + 3 * jnp.log(variance))

  return gaussian


def _make_stiff(prior: Prior):
  """Shells in place of what the Gaussian says of the pairs, and the coupling of stiff pairs."""
  (i, j), K = prior.pairs.T, prior.bead_covariance
  spread = jnp.asarray(K[i, i] + K[j, j] - 2 * K[i, j])
  variance, (modes, mode_variance) = jnp.asarray(np.diag(prior.covariance)), _modes(prior)

  def stiff(x, alpha, sigma):
    d, b = distances(x, prior.pairs), alpha * prior.radius
    v, wide = alpha**2 * variance + 2 * sigma**2, alpha**2 * spread + 2 * sigma**2
    pairs = _shell(d, b, v) + 1.5 * jnp.log(v) - 0.5 * d**2 / wide - 1.5 * jnp.log(wide)
    u = (d - b * _langevin(d * b / v)) * _directed(b, v)
    coupled = (modes @ u) ** 2 / (alpha**2 * mode_variance + sigma**2)
    return jnp.sum(pairs) + 0.5 * (jnp.sum(coupled) - jnp.sum(u**2 / v))

  return stiff


def _make_walls(prior: Prior):
  """-log of the chance that noise has not carried the pair out of a ball that was empty.

  A ball of radius a with an edge of width w: noise moves (a, w²) to (alpha a, alpha² w² +
  2 sigma²). Exact for a uniform density around it.
  """
  apart = other_pairs(prior.pairs, len(prior.bead_covariance))
  closest, width = map(float, prior.wall)

  def walls(x, alpha, sigma):
    spread = jnp.sqrt(alpha**2 * width**2 + 2 * sigma**2)
    return -jnp.sum(_log_outside(distances(x, apart), alpha * closest, spread))

  return walls


def _log_outside(d: PerPair, a: Array, s: Array) -> PerPair:
  """log P(|d n + s ξ| > a) of a direction n and a normal ξ in space; 0 for a = 0.

  P = Φ(u) + Φ(-v) + (s/d) (φ(u) - φ(v)) with u = (d - a)/s and v = (d + a)/s, a noncentral χ² of
  three degrees of freedom; all of it over Φ(u), so that nothing is lost deep inside.
  """
  u, v, z = (d - a) / s, (d + a) / s, 2 * a * d / s**2
  inside = jax.scipy.special.log_ndtr(u)
  far = jnp.maximum(z, 0.03)
  ratio = jnp.where(z > 0.03, -jnp.expm1(-far) / far, 1 - z / 2 + z**2 / 6 - z**3 / 24)
  hazard = jnp.exp(-0.5 * u**2 - 0.5 * np.log(2 * np.pi) - inside)  # φ(u) / Φ(u)
  beyond = jnp.exp(jax.scipy.special.log_ndtr(-v) - inside) + 2 * a / s * ratio * hazard
  return inside + jnp.log1p(beyond)


def _shell(d: PerPair, b: PerPair, v: PerPair) -> PerPair:
  """-log of the mean over directions n of exp(-|r - b n|²/2v) = (d - b)²/2v + log(2z/(1 - e^-2z)).

  Here d = |r|, z = d b / v, and the derivative by d is (d - b _langevin(z)) / v.
  """
  z = d * b / v
  far = jnp.maximum(z, 0.3)
  near = z - z**2 / 6 + z**4 / 180 - z**6 / 2835
  log_ratio = jnp.where(z > 0.3, jnp.log(2 * far) - jnp.log(-jnp.expm1(-2 * far)), near)
  return 0.5 * (d - b) ** 2 / v + log_ratio


def _directed(b: Array, v: Array) -> Array:
  """1 where noise leaves a distance its direction, v << b², and 0 where it is lost.

  The coupling, exact for small displacements only, fades so. The 6 is near the least denoising loss
  of the prior alone on five-bead alanine.
  """
  return (b**2 / (b**2 + 6 * v)) ** 2


def _langevin(z: PerPair) -> PerPair:
  """coth z - 1/z, by its series near zero."""
  far = jnp.maximum(z, 0.3)
  return jnp.where(z > 0.3, 1 / jnp.tanh(far) - 1 / far, z / 3 - z**3 / 45 + 2 * z**5 / 945)


def _modes(prior: Prior) -> tuple[Array, Array]:
  """Combinations W d that vary apart: W G Wᵀ = 1, W C Wᵀ = diag(λ), so noise adds sigma² to each.

  Directions of G that hardly a motion of the beads follows (rings, stars) are left out.
  """
  overlap, basis = np.linalg.eigh(prior.overlap)
  keep = overlap > 1e-2 * overlap.max()
  root = basis[:, keep] / np.sqrt(overlap[keep])
  variance, turn = np.linalg.eigh(root.T @ prior.covariance @ root)
  return jnp.asarray((root @ turn).T), jnp.asarray(np.maximum(variance, 0))


def _fit_shells(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(b, v) with b² + 3v and 4 b² v + 6 v² the mean and variance of d² [frames, pairs]."""
  mean = square.mean(axis=0)
  share = np.minimum(1.5 * square.var(axis=0) / mean**2, 1)  # 1 for a normal law: no shell
  variance = mean / 3 * share / (1 + np.sqrt(1 - share))
  return np.sqrt(np.maximum(mean - 3 * variance, 0)), variance


def _fit_wall(x: np.ndarray, pairs: np.ndarray) -> np.ndarray:
  """[edge, width] of the closest approach of beads that are in no pair; [0, 1] for none."""
  apart = other_pairs(pairs, x.shape[1])
  if not len(apart):
    return np.array([0.0, 1.0])
  closest = np.full(len(x), np.inf)
  for i, j in apart:
    closest = np.minimum(closest, np.linalg.norm(x[:, i] - x[:, j], axis=-1))
  edge, inside = np.quantile(closest, TAIL)
  return np.array([edge, (inside - edge) / TAIL_WIDTH])


def _overlap(unit: np.ndarray, pairs: np.ndarray, num_beads: int) -> np.ndarray:
  """<J Jᵀ>: pairs that share a bead move together by the cosine between them; 2 on the diagonal."""
  sign = np.eye(num_beads)[pairs[:, 0]] - np.eye(num_beads)[pairs[:, 1]]
  cosine = np.einsum('fka,fla->kl', unit, unit) / len(unit)
  return cosine * (sign @ sign.T)


def _overlap_with_masses(prior: Prior, mass: np.ndarray) -> np.ndarray:
  """<J M⁻¹ Jᵀ>: two pairs share at most one bead, so its mass divides their overlap."""
  holds = (prior.pairs[:, :, None] == np.arange(len(mass))).any(axis=1).astype(float)
  shared, weighted = holds @ holds.T, (holds / mass) @ holds.T
  return prior.overlap * weighted / np.maximum(shared, 1)

