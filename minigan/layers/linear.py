"""What Dense and the convolutions have in common: y = f(A(K) x + b), with A linear in x and in K.

Let z = A(K) x + b and y = f(z).  With dz = dy * f'(z), the chain rule gives

    dx      = A(K)^T dz                 the adjoint of x -> A(K) x
    dkernel = the adjoint of K -> A(K) x, applied to dz
    dbias   = sum of dz over all axes but the channels, since b is added at each of them

Second order: along tx (the parameters stay), z moves by tz = A(K) tx, and dz, as the backward of
the activation does, by ddz = f'(z) ddy + f''(z) tz dy.  A is linear in x and in K: the product
rule gives

    ddx      = A(K)^T ddz
    ddkernel = the gradient of sum(ddz * A(K) x) + sum(dz * A(K) tx) with respect to K
    ddbias   = sum of ddz

with no kernel that the first order does not have.

A layer says what A and its two adjoints are; the rest stands here, once.
"""

from __future__ import annotations

import copy
from typing import Any

from .. import initializers
from ..kernels import ops
from . import activations
from .arguments import Array, Shape
from .base import Cache, Layer


class Linear(Layer):
    """Base of Dense, Conv2D, Conv2DTranspose, Conv1D and Conv1DTranspose.

    Subclasses write setup, product, product_dx and product_dkernel.
    """

    fresh_dx = True

    def __init_subclass__(cls, **options: Any) -> None:
        """A class that writes one of the products anew has them one by one in backward too."""
        super().__init_subclass__(**options)
        for product in ("product_dx", "product_dkernel"):
            cls._forget(product, product_gradients=Linear.product_gradients)

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
        """A(K) x, in a new array. Raises TypeError where a subclass does not define it."""
        raise TypeError(f"{type(self).__name__} does not define product()")

    def product_dx(self, dz: Array) -> Array:
        """A(K)^T dz, in a new array. Raises TypeError where a subclass does not define it."""
        raise TypeError(f"{type(self).__name__} does not define product_dx()")

    def product_dkernel(self, x: Array, dz: Array) -> Array:
        """The gradient of sum(dz * A(K) x) with respect to K.

        Raises TypeError where a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define product_dkernel()")

    def product_gradients(self, x: Array, dz: Array) -> tuple[Array, Array]:
        """(product_dx(dz), product_dkernel(x, dz)), which a layer may have in one go."""
        return self.product_dx(dz), self.product_dkernel(x, dz)

    # the passes

    def compute(self, x, training, rng, keep):
        z, y = self._activated(self._function, x)
        a = None if self.owns_output else self._function.read(z, y)
        return y, Cache((x, a) if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        x, a = saved
        return self._pull_through(self._function, dy, a, x, to_input, to_params, over=False)

    def pullback_over(self, dy, saved, to_input, to_params):
        x, a = saved
        return self._pull_through(self._function, dy, a, x, to_input, to_params, over=True)

    def compute_activated(self, f, x, training, rng, keep):
        y = self._activated(f, x)[1]
        return y, Cache((x, None) if keep else None)

    def pullback_activated(self, f, dy, y, saved, to_input, to_params, over):
        return self._pull_through(f, dy, y, saved[0], to_input, to_params, over)

    def _activated(self, f: activations.Elementwise, x: Array) -> tuple[Array, Array]:
        """(z, y = f(z)), which are one array where f' is a function of y."""
        z = self.product(x)
        if self.use_bias and f.kind:  # both in one pass
            y = ops(z).biased_activation(z, self.params["bias"], f.kind, f.negative_slope)
            return y, y
        if self.use_bias:
            z = ops(z).add_bias(z, self.params["bias"])
        return z, f.apply(z, out=z if f.reads == "output" else None)

    def _pull_through(
        self, f: activations.Elementwise, dy: Array, a: Array, x: Array,
        to_input: bool, to_params: bool, over: bool,
    ) -> tuple[Any, dict[str, Array]]:  # fmt: skip
        """The backward pass from y = f(z), with a = y, or z if f' is a function of that."""
        if to_params and self.use_bias and f.kind:  # dz and dbias in one pass
            dz, dbias = ops(dy).biased_activation_backward(
                dy, a, f.kind, f.negative_slope, dy if over else None
            )
            return self._pull(dz, x, to_input, to_params, dbias)
        dz = f.derivative_over(dy, a) if over else f.derivative(dy, a)  # dz = dy * f'(z)
        return self._pull(dz, x, to_input, to_params)

    def _pull(
        self, dz: Array, x: Array, to_input: bool, to_params: bool, dbias: Array | None = None
    ) -> tuple[Any, dict[str, Array]]:
        if not to_params:
            return (self.product_dx(dz) if to_input else None), {}
        grads, dx = {}, None
        if to_input:
            dx, grads["kernel"] = self.product_gradients(x, dz)  # A(K)^T dz, and dkernel
        else:
            grads["kernel"] = self.product_dkernel(x, dz)
        if self.use_bias:
            grads["bias"] = ops(dz).column_sums(dz) if dbias is None else dbias
        return dx, grads

    def pushforward(self, tx, saved):
        _, a = saved
        tz = self.product(tx)  # A(K) tx
        ty = self._function.derivative(tz, a)  # f'(z) tz
        return ty, (tx, self._function.read(tz, ty))

    def pullback_kept(self, dy, saved):
        _, a = saved
        dz = self._function.derivative(dy, a)
        return self.product_dx(dz), (dy if self._function.curved else None, dz)

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        (x, a), (tx, ta), (dy, dz) = saved, moved, kept
        ddz = self._function.derivative_tangent(dy, ddy, a, ta)  # f'(z) ddy + f''(z) tz dy
        ddx, dgrads = self._pull(ddz, x, to_input, to_params)  # A(K)^T ddz, and with x the kernel's
        if to_params:
            dgrads["kernel"] += self.product_dkernel(tx, dz)
        return ddx, dgrads

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
        """Create kernel and bias; both know the fans of the kernel.

        kernel_shape: (..., in, out).  outputs: the bias's length.  key: that of setup.
        """
        fans = initializers.fans(kernel_shape)
        self.add("kernel", kernel_shape, self.kernel_initializer, key, fans)
        if self.use_bias:
            self.add("bias", (outputs,), self.bias_initializer, key, fans)
