"""What Dense and the convolutions have in common: y = f(A(K) x + b), with A linear in x and in K.

Let z = A(K) x + b and y = f(z).  With dz = dy * f'(z), the chain rule gives

    dx      = A(K)^T dz                 the adjoint of x -> A(K) x
    dkernel = the adjoint of K -> A(K) x, applied to dz
    dbias   = sum of dz over all axes but the channels, since b is added at each of them

A layer says what A and its two adjoints are; the rest stands here, once.
"""

from __future__ import annotations

import copy
from typing import Any

from .. import initializers
from ..kernels import ops
from . import activations
from .base import Array, Cache, Layer, Shape


class Linear(Layer):
    """Base of Dense, Conv2D, Conv2DTranspose, Conv1D and Conv1DTranspose."""

    def __init__(
        self, use_bias: bool, activation: Any, kernel_initializer: Any, bias_initializer: Any
    ) -> None:
        super().__init__()
        self.use_bias = bool(use_bias)
        self.activation = activation
        self._function = activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    # what a layer says

    def product(self, x: Array) -> Array:
        """A(K) x, in a new array."""
        raise TypeError(f"{type(self).__name__} does not define product()")

    def product_dx(self, dz: Array) -> Array:
        """A(K)^T dz."""
        raise TypeError(f"{type(self).__name__} does not define product_dx()")

    def product_dkernel(self, x: Array, dz: Array) -> Array:
        """The gradient of sum(dz * A(K) x) with respect to K."""
        raise TypeError(f"{type(self).__name__} does not define product_dkernel()")

    # the passes

    def compute(self, x, training, rng, keep):
        z = self.product(x)
        if self.use_bias:
            z = ops(z).add_bias(z, self.params["bias"])
        y = self._function.apply(z, out=z)
        return y, Cache((x, None if self.owns_output else y) if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        x, y = saved
        dz = self._function.derivative(dy, y)  # dz = dy * f'(z)
        dx = self.product_dx(dz) if to_input else None  # A(K)^T dz
        grads = {}
        if to_params:
            grads["kernel"] = self.product_dkernel(x, dz)
            if self.use_bias:
                grads["bias"] = ops(dz).column_sums(dz)
        return dx, grads

    @property
    def owns_output(self) -> bool:  # type: ignore[override]
        """Without an activation, backward does not read y."""
        return isinstance(self._function, activations.Identity)

    def with_activation(self, activation: str | None) -> Linear:
        """This layer with another activation, sharing its parameters."""
        other = copy.copy(self)
        other.activation = activation
        other._function = activations.get(activation)
        return other

    def create(self, kernel_shape: Shape, outputs: int, key: Any) -> None:
        """Create kernel and bias; both know the fans of the kernel."""
        fans = initializers.fans(kernel_shape)
        self.add("kernel", kernel_shape, self.kernel_initializer, key, fans)
        if self.use_bias:
            self.add("bias", (outputs,), self.bias_initializer, key, fans)
