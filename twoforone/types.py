"""The contracts every module plugs into; all are for one configuration of `beads` beads.

Batching is `jax.vmap` at the edge. Parameters come first, then the key, then arrays. Inside a
network or a schedule positions are whitened, `x / scale`; in a force field they are in nm.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int, Key

Params = Any
"""A pytree of arrays."""

Beads = Float[Array, 'beads dim']
"""Positions; dim is 3 for a molecule, anything for a toy in an external field."""

Scalar = Float[Array, '']
PRNGKey = Key[Array, '']


@runtime_checkable
class NetworkFn(Protocol):
  """`network(params, x[n,3], t[], species[n]) -> phi`, a scalar (or [n,3] for a direct score)."""

  def __call__(self, params: Params, x: Beads, t: Scalar, species: Int[Array, ' beads']) -> Array:
    ...


@runtime_checkable
class EnergyFn(Protocol):
  """`energy(params, x[n,3], t[]) -> []`: -log p_t(x) up to a constant, in kT, x whitened."""

  def __call__(self, params: Params, x: Beads, t: Scalar) -> Scalar: ...


@runtime_checkable
class ScoreFn(Protocol):
  """`score(params, x[n,3], t[]) -> [n,3]`: grad_x log p_t(x), x whitened."""

  def __call__(self, params: Params, x: Beads, t: Scalar) -> Beads: ...


@runtime_checkable
class PotentialFn(Protocol):
  """`potential(params, x[n,3]) -> []` in kJ/mol, x in nm."""

  def __call__(self, params: Params, x: Beads) -> Scalar: ...


@runtime_checkable
class ForceFn(Protocol):
  """`force(params, x[n,3]) -> [n,3]` in kJ/mol/nm, x in nm."""

  def __call__(self, params: Params, x: Beads) -> Beads: ...


@runtime_checkable
class LossFn(Protocol):
  """`loss(params, key, example) -> []`; an example is x, (x, f) or a history."""

  def __call__(self, params: Params, key: PRNGKey, example: Any) -> Scalar: ...


ProjectFn = Callable[[Beads], Beads]
"""`project(x)`: `geometry.centre` for a molecule, `geometry.keep` in an external field."""

NoiseLevelFn = Callable[[PRNGKey], Scalar]
"""`draw_level(key) -> t[]`: draws a diffusion time for one training example."""

WeightFn = Callable[[Scalar], Scalar]
"""`weight(t) -> []`: multiplies the loss at diffusion time t."""
