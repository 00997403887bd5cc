"""Dense layers whose weight gradient is one matrix product.

Under `vmap` the gradient of x @ kernel contracts several axes, and XLA's CPU compiler then copies
one operand, transposed, element by element: three times the time of the product itself. Here the
axes are merged first. Reverse mode only: these networks are never differentiated in x.
"""

import flax.linen as nn
import jax
from jaxtyping import Array, Float


@jax.custom_vjp
def matmul(
  x: Float[Array, '*rows inputs'], kernel: Float[Array, 'inputs outputs']
) -> Float[Array, '*rows outputs']:
  """x @ kernel."""
  return x @ kernel


def _forward(x, kernel):
  return x @ kernel, (x, kernel)


def _backward(saved, gradient):
  x, kernel = saved
  rows = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
  return gradient @ kernel.T, rows[0].T @ rows[1]


matmul.defvjp(_forward, _backward)


class Dense(nn.Module):
  """x @ kernel + bias; the options and initial values of `nn.Dense`."""

  features: int
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x: Float[Array, '*rows inputs']) -> Float[Array, '*rows {self.features}']:
    x = matmul(x, self.param('kernel', self.kernel_init, (x.shape[-1], self.features)))
    if not self.use_bias:
      return x
    return x + self.param('bias', nn.initializers.zeros, (self.features,))
