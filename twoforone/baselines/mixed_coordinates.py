"""A molecule as a whitened Cartesian core with a Z-matrix around it (Noé et al. 2019).

  x <-> q = [core | angles | lengths | stiff torsions | flexible torsions]

The core is centred and turned onto a fixed reference r by Kabsch's rule on its own atoms alone.
That asks Σ r_i × s_i = 0, linear in the aligned s: exactly six principal components have no
variance and nothing is lost. Real coordinates are z-scores, flexible torsions stay angles in
[-π, π), constrained lengths are constants and not in q.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from twoforone.baselines import zmatrix
from twoforone.baselines.bonded import over_frames
from twoforone.baselines.positions import Coordinates
from twoforone.baselines.splines import wrap
from twoforone.baselines.zmatrix import Internals
from twoforone.geometry import superpose

Frames = Float[np.ndarray, 'frames atoms 3']
STIFF = 0.6  # rad; stiff torsions vary by 0.1 to 0.2, hydrogens that change places by 1


class Table(NamedTuple):
  """Which atoms are the core and how the others hang on it.

  Attributes:
    core: [c].
    rows: (atom; j, k, l) of `zmatrix`, [m, 4].
    flexible: which torsions are circular coordinates, [m] bool.
    twins: pairs of equal atoms that hang on the same three, [pairs, 2].
  """

  core: np.ndarray
  rows: np.ndarray
  flexible: np.ndarray
  twins: np.ndarray


class MixedCoordinates(NamedTuple):
  """What `fit_mixed_coordinates` finds in training frames; a card stores it as lists.

  Attributes:
    core, rows, flexible: of the table.
    reference: the core that all are turned onto, centred, [c, 3] nm.
    core_mean, core_basis, core_std: of the aligned core, [3c], [3c - 6, 3c] orthonormal, [3c - 6].
    mean, std: of length, angle and torsion of each row, [3, m]; 0 and 1 of a flexible torsion.
    constrained: whose length is the constant mean, [m] bool.
  """

  core: np.ndarray
  rows: np.ndarray
  flexible: np.ndarray
  reference: np.ndarray
  core_mean: np.ndarray
  core_basis: np.ndarray
  core_std: np.ndarray
  mean: np.ndarray
  std: np.ndarray
  constrained: np.ndarray


def order_twins(x: Frames, table: Table) -> Frames:
  """The frames with twins exchanged where the first one's torsion is negative.

  Independent runs may number the hydrogens of a methyl group differently: equal atoms, but another
  chirality of their numbers, so that a stiff torsion has two values. An exchange leaves the density
  of the molecule alone.
  """
  x = x.copy()
  for first, second in table.twins.tolist():
    torsion = _measure(x, table.rows[table.rows[:, 0] == first])[:, 2]
    swap = np.flatnonzero(torsion < 0)
    x[np.ix_(swap, [first, second])] = x[np.ix_(swap, [second, first])]
  return x


def fit_mixed_coordinates(
  x: Frames, table: Table, *, constraint_width: float = 2e-4
) -> MixedCoordinates:
  """Means, widths and principal components in training frames.

  Args:
    x: frames in nm, whole molecules; their twins in order.
    table: the first frame's core becomes the reference.
    constraint_width: lengths that vary less are constrained [nm]; rounding makes some 4e-5, a stiff
      bond has 2e-3.

  Raises:
    ValueError: for a stiff torsion that is not stiff, a core in a plane or too few frames.
  """
  reference = x[0, table.core].astype(np.float64)
  reference -= reference.mean(axis=0)
  core_mean, core_basis, core_std = fit_core(align(x[:, table.core], reference))
  length, angle, torsion = np.split(_measure(x, table.rows), 3, axis=1)
  centre = np.where(table.flexible, 0.0, np.angle(np.exp(1j * torsion).mean(axis=0)))
  spread = np.angle(np.exp(1j * (torsion - centre))).std(axis=0)
  loose = np.flatnonzero(~table.flexible & (spread > STIFF))
  if len(loose):
    raise ValueError(f'x: the torsion of row {table.rows[loose[0]].tolist()} varies by '
                     f'{spread[loose[0]]:.2g} rad, expected at most {STIFF}; make it flexible, or '
                     'put equal hydrogens in order (order_twins)')
  mean = np.stack([length.mean(axis=0), angle.mean(axis=0), centre])
  std = np.stack([length.std(axis=0), angle.std(axis=0), np.where(table.flexible, 1.0, spread)])
  return MixedCoordinates(*table[:3], reference, core_mean, core_basis, core_std, mean, std,
                          std[0] < constraint_width)


def align(core: Frames, reference: Float[np.ndarray, 'atoms 3']) -> Frames:
  """Each frame centred and turned onto the centred reference, in float64 (Kabsch 1976)."""
  core = core.astype(np.float64)
  core = core - core.mean(axis=1, keepdims=True)
  u, _, vt = np.linalg.svd(core.transpose(0, 2, 1) @ reference)
  u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
  return core @ (u @ vt)


def fit_core(
  aligned: Frames
) -> tuple[Float[np.ndarray, ' all'], Float[np.ndarray, 'd all'], Float[np.ndarray, ' d']]:
  """Mean, principal components and standard deviations of aligned cores, d = 3c - 6.

  Raises:
    ValueError: when not exactly six components have no variance, as of frames that were aligned on
      other atoms.
  """
  flat = aligned.reshape(len(aligned), -1)
  variance, basis = np.linalg.eigh(np.cov(flat, rowvar=False))
  # Rounding of float64 leaves 1e-15 of the largest; a stiff bond is above 1e-5.
  zero = int(np.sum(variance < 1e-10 * variance[-1]))
  if zero != 6:
    raise ValueError(f'core: found {zero} principal components of {len(variance)} without variance '
                     f'in {len(aligned)} frames, expected 6, those of rigid motions; align the '
                     'core on its own atoms, which must neither lie in a plane nor be constrained')
  return flat.mean(axis=0), basis[:, 6:].T, np.sqrt(variance[6:])


def make_mixed_coordinates(found: MixedCoordinates) -> Coordinates:
  """encode and decode of one configuration; decode leaves the core on the reference.

  dx is that of all 3n coordinates without constrained lengths; beside dq stand a translation and a
  rotation vector. With K_ab(s) = δ_ab Σ r_i · s_i - Σ s_ia r_ib over the c atoms of the core

    ln|dx/dq| = ln|det K(s)| - ln det K(r) / 2 + (3/2) ln c + Σ (2 ln b + ln sin θ) + Σ ln std.
  """
  place = zmatrix.make_placement(found.rows, found.core)
  index, core_volume = _layout(found), _make_core_volume(found.reference)
  width = np.concatenate([found.core_std, found.std.ravel()[index]])
  log_width, num_core = float(np.log(width).sum()), len(found.core_std)

  def volume(s, internals):
    held = jnp.where(found.constrained, found.mean[0], internals.length)
    return core_volume(s) + zmatrix.log_volume(internals._replace(length=held)) + log_width

  def encode(x):
    s = superpose(x[found.core], jnp.asarray(found.reference, x.dtype))
    internals = zmatrix.measure_rows(x, found.rows)
    values = jnp.stack(internals) - found.mean
    values = values.at[2].set(wrap(values[2]))
    core = found.core_basis @ (s.ravel() - found.core_mean)
    return jnp.concatenate([core, values.ravel()[index]]) / width, -volume(s, internals)

  def decode(q):
    core, rest = jnp.split(q * width, (num_core,))
    s = (found.core_mean + core @ found.core_basis).reshape(-1, 3)
    values = jnp.zeros(found.mean.size, q.dtype).at[index].set(rest)
    internals = Internals(*(found.mean + values.reshape(found.mean.shape)))
    return place(s, internals), volume(s, internals)

  num_circular = int(found.flexible.sum())
  return Coordinates(encode, decode, len(width) - num_circular, num_circular)


def _measure(x: Frames, rows: np.ndarray) -> Float[np.ndarray, 'frames values']:
  """Lengths, then angles, then torsions of all rows."""
  return over_frames(lambda x: jnp.concatenate(zmatrix.measure_rows(x, rows)), x)


def _layout(found: MixedCoordinates) -> np.ndarray:
  """Where angles, free lengths, stiff and flexible torsions are in the flat [3, m] internals."""
  m = len(found.rows)
  return np.concatenate([
    m + np.arange(m), np.flatnonzero(~found.constrained),
    2 * m + np.flatnonzero(~found.flexible), 2 * m + np.flatnonzero(found.flexible)])


def _make_core_volume(reference: np.ndarray) -> Callable:
  """Volume of a core's coordinates by its whitened ones and rigid motions, without the widths.

  Rotations leave the space of aligned cores along e_a × s_i, its normals are e_b × r_i: K is their
  overlap, K(r) the Gram matrix of the normals. A translation by one moves c atoms: √c each.
  """

  def overlap(s):
    return jnp.sum(reference * s) * jnp.eye(3) - s.T @ reference

  gram = np.sum(reference**2) * np.eye(3) - reference.T @ reference
  constant = float(1.5 * np.log(len(reference)) - 0.5 * np.linalg.slogdet(gram)[1])

  def core_volume(s):
    return jnp.linalg.slogdet(overlap(s))[1] + constant

  return core_volume
