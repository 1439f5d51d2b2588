"""Activations: y = f(x), element by element (Softmax: along the last axis).

Backward:  dL/dx = dL/dy * f'(x).  Each derivative below is a function of the output alone, so the
output is all that is saved, and a model may compute f in place.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import registry
from ..kernels import ops
from .base import Array, Cache, Layer, register


class Elementwise(Layer):
    """Base of the activations: subclasses write f and f' times a gradient."""

    def apply(self, x: Array, out: Array | None = None) -> Array:
        """f(x), into `out` if it is given (which may be x itself)."""
        raise TypeError(f"{type(self).__name__} does not define apply()")

    def derivative(self, dy: Array, y: Array, out: Array | None = None) -> Array:
        """dy * f'(x) from y = f(x), into `out` if it is given (which may be dy itself)."""
        raise TypeError(f"{type(self).__name__} does not define derivative()")

    def setup(self, input_shape, key):
        return input_shape

    def compute(self, x, training, rng, keep):
        y = self.apply(x)
        return y, Cache(y if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        return (self.derivative(dy, saved) if to_input else None), {}


@register
class LeakyReLU(Elementwise):
    """y = x where x > 0, else negative_slope * x.  Maas et al. (2013).

    dx = dy where y > 0, else negative_slope * dy: y has the sign of x.  At the kink, x = 0, the
    subgradient is negative_slope (as in PyTorch and TensorFlow).
    """

    arguments = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.2) -> None:
        super().__init__()
        if not 0 <= negative_slope <= 1:
            raise ValueError(
                f"LeakyReLU: negative_slope={negative_slope} should lie between 0 and 1"
            )
        self.negative_slope = float(negative_slope)

    def apply(self, x, out=None):
        return ops(x).leaky_relu(x, self.negative_slope, out)

    def derivative(self, dy, y, out=None):
        return ops(dy).leaky_relu_backward(dy, y, self.negative_slope, out)


@register
class ReLU(Elementwise):
    """y = max(x, 0).  dx = dy where y > 0, else 0; at x = 0 the subgradient is 0."""

    def apply(self, x, out=None):
        return ops(x).leaky_relu(x, 0.0, out)

    def derivative(self, dy, y, out=None):
        return ops(dy).leaky_relu_backward(dy, y, 0.0, out)


@register
class Tanh(Elementwise):
    """y = tanh(x).  dx = dy * (1 - y^2)."""

    def apply(self, x, out=None):
        return ops(x).tanh(x, out)

    def derivative(self, dy, y, out=None):
        return ops(dy).tanh_backward(dy, y, out)


@register
class Sigmoid(Elementwise):
    """y = 1/(1 + exp(-x)).  dx = dy * y * (1 - y)."""

    def apply(self, x, out=None):
        return ops(x).sigmoid(x, out)

    def derivative(self, dy, y, out=None):
        return ops(dy).sigmoid_backward(dy, y, out)


@register
class Softmax(Elementwise):
    """y_i = exp(x_i) / sum_j exp(x_j) along the last axis.

    dy_i/dx_j = y_i * (delta_ij - y_j), so dx_j = y_j * (dy_j - sum_i dy_i * y_i).
    """

    def apply(self, x, out=None):
        highest = x.real.max(axis=-1, keepdims=True)
        e = np.exp(x - highest)
        y = e / e.sum(axis=-1, keepdims=True)
        return y if out is None else _copy(y, out)

    def derivative(self, dy, y, out=None):
        dx = y * (dy - (dy * y).sum(axis=-1, keepdims=True))
        return dx if out is None else _copy(dx, out)


def _copy(value: Array, out: Array) -> Array:
    out[...] = value
    return out


class Identity(Elementwise):
    """y = x: the activation of a layer that has none."""

    def apply(self, x, out=None):
        return x

    def derivative(self, dy, y, out=None):
        return dy


@register
class Activation(Elementwise):
    """An activation by name: linear, relu, leaky_relu, tanh, sigmoid or softmax."""

    arguments: ClassVar[tuple[str, ...]] = ("activation",)

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self._function = get(activation)

    def apply(self, x, out=None):
        return self._function.apply(x, out)

    def derivative(self, dy, y, out=None):
        return self._function.derivative(dy, y, out)


NAMES: dict[str, type[Elementwise]] = {
    "linear": Identity,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "softmax": Softmax,
}


def get(name: Any) -> Elementwise:
    """The activation of this name; None is linear."""
    return registry.find("activation", NAMES, "linear" if name is None else name)()
