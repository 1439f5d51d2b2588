"""Activations: y = f(x), element by element (Softmax: along the last axis).

Backward:  dL/dx = dL/dy * f'(x).  Each derivative below but SiLU's is a function of the output
alone, so the output is all that is saved, and a model may compute f in place.

Second order.  The Jacobian is symmetric, so a tangent passes as a gradient does: ty = tx * f'(x).
Backward, dx = dy * h(a) with h(a) = f'(x) as a function of what was saved, moves by

    ddx = ddy * h(a) + dy * h'(a) * ta

where a is the output and ta = ty, or a is the input and ta = tx.  h' = 0 for the two straight ones.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import registry
from ..kernels import ops
from .arguments import Array
from .base import Cache, Layer
from .configuration import register


class Elementwise(Layer):
    """Base of the activations: subclasses write f, f' times a gradient, and how that moves."""

    reads: str = "output"  # what derivative reads: the "output" y, or the "input" x
    curved: bool = True  # whether f' moves with x
    rising: bool = False  # whether f never falls, so that it commutes with a maximum
    overwrites: bool = False  # whether derivative takes `out`, which may be dy itself
    kind: str | None = None  # its name to the kernels that add a bias in the same pass
    negative_slope: float = 0.0  # of the kind "leaky_relu"
    second_order = ("derivative_tangent",)

    def __init_subclass__(cls, **options: Any) -> None:
        """A class that writes one of the passes anew is not bypassed by what it inherits."""
        super().__init_subclass__(**options)
        over = Elementwise.derivative_over
        cls._forget("derivative", overwrites=False, kind=None, derivative_over=over)
        cls._forget("apply", kind=None)

    def apply(self, x: Array, out: Array | None = None) -> Array:
        """f(x), into `out` if it is given (which may be x itself).

        Raises TypeError where a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define apply()")

    def derivative(self, dy: Array, a: Array) -> Array:
        """dy * f'(x), from a = f(x), or from a = x if that is what it `reads`.

        A class that says `overwrites` takes `out` too, the array to write into.
        Raises TypeError where a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define derivative()")

    def derivative_over(self, dy: Array, a: Array) -> Array:
        """derivative(dy, a), where dy may be written over."""
        return self.derivative(dy, a, dy) if self.overwrites else self.derivative(dy, a)  # type: ignore[call-arg]

    def derivative_tangent(self, dy: Array, ddy: Array, a: Array, ta: Array) -> Array:
        """The derivative of derivative(dy, a) along (ddy, ta).

        Raises TypeError where a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define derivative_tangent()")

    def setup(self, input_shape, key):
        return input_shape

    def compute(self, x, training, rng, keep):
        y = self.apply(x)
        return y, Cache(self.read(x, y) if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        return (self.derivative(dy, saved) if to_input else None), {}

    def pushforward(self, tx, saved):
        ty = self.derivative(tx, saved)
        return ty, self.read(tx, ty)

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        return (self.derivative_tangent(kept, ddy, saved, moved) if to_input else None), {}

    def read(self, x: Array, y: Array) -> Array:
        """Of input x and output y, or of their tangents, the one that derivative reads."""
        return y if self.reads == "output" else x


class Straight(Elementwise):
    """Base of those whose slope does not move with x (kinks apart): h' = 0."""

    curved = False
    rising = True

    def derivative_tangent(self, dy, ddy, a, ta):
        return self.derivative(ddy, a)


@register
class LeakyReLU(Straight):
    """y = x where x > 0, else negative_slope * x.  Maas et al. (2013).  Any shape.

    dx = dy where y > 0, else negative_slope * dy: y has the sign of x.  At the kink, x = 0, the
    subgradient is negative_slope (as in PyTorch and TensorFlow).
    Raises ValueError for a negative_slope outside [0, 1].

        >>> layer = mg.LeakyReLU(0.2)
        >>> layer.build(2)
        (2,)
        >>> layer.forward(np.array([[-5.0, 5.0]], "float32"))[0].tolist()
        [[-1.0, 5.0]]
    """

    arguments = ("negative_slope",)
    overwrites = True
    kind = "leaky_relu"

    def __init__(self, negative_slope: float = 0.2) -> None:
        super().__init__()
        if not 0 <= negative_slope <= 1:
            raise ValueError(
                f"LeakyReLU: negative_slope={negative_slope} should lie between 0 and 1"
            )
        self.negative_slope = float(negative_slope)

    def apply(self, x, out=None):
        return ops(x).leaky_relu(x, self.negative_slope, out)

    def derivative(self, dy, a, out=None):
        return ops(dy).leaky_relu_backward(dy, a, self.negative_slope, out)


@register
class ReLU(Straight):
    """y = max(x, 0).  dx = dy where y > 0, else 0; at x = 0 the subgradient is 0.  Any shape."""

    overwrites = True
    kind = "leaky_relu"  # of slope 0

    def apply(self, x, out=None):
        return ops(x).leaky_relu(x, 0.0, out)

    def derivative(self, dy, a, out=None):
        return ops(dy).leaky_relu_backward(dy, a, 0.0, out)


@register
class Tanh(Elementwise):
    """y = tanh(x).  dx = dy * (1 - y^2), ddx = ddy * (1 - y^2) - 2 * dy * y * ty.  Any shape."""

    kind = "tanh"
    rising = True
    overwrites = True

    def apply(self, x, out=None):
        return ops(x).tanh(x, out)

    def derivative(self, dy, a, out=None):
        return ops(dy).tanh_backward(dy, a, out)

    def derivative_tangent(self, dy, ddy, a, ta):
        return ops(dy).tanh_tangent(dy, ddy, a, ta)


@register
class Sigmoid(Elementwise):
    """y = 1/(1 + exp(-x)).  dx = dy * y * (1 - y), ddx = ddy * y (1 - y) + dy * (1 - 2 y) ty.

    Any shape.
    """

    kind = "sigmoid"
    rising = True
    overwrites = True

    def apply(self, x, out=None):
        return ops(x).sigmoid(x, out)

    def derivative(self, dy, a, out=None):
        return ops(dy).sigmoid_backward(dy, a, out)

    def derivative_tangent(self, dy, ddy, a, ta):
        return ops(dy).sigmoid_tangent(dy, ddy, a, ta)


@register
class SiLU(Elementwise):
    """y = x * s, s = sigmoid(x).  Elfwing et al. (2017), Ramachandran et al. (2017, "Swish").

    dx = dy * f', f' = s + x s', s' = s (1 - s); and ddx = ddy * f' + dy * f'' * tx with
    f'' = s' * (2 + x (1 - 2 s)).  Not a function of y, which falls and then rises: x is saved.
    Any shape.
    """

    reads = "input"

    def apply(self, x, out=None):
        return ops(x).silu(x)  # x is needed again

    def derivative(self, dy, a):
        return ops(dy).silu_backward(dy, a)

    def derivative_tangent(self, dy, ddy, a, ta):
        return ops(dy).silu_tangent(dy, ddy, a, ta)


@register
class Softmax(Elementwise):
    """y_i = exp(x_i) / sum_j exp(x_j) along the last axis: (N, ..., C) -> (N, ..., C).

    dy_i/dx_j = y_i * (delta_ij - y_j), so dx_j = y_j * (dy_j - sum_i dy_i * y_i), and
    ddx_j = ty_j * (dy_j - sum_i dy_i y_i) + y_j * (ddy_j - sum_i (ddy_i y_i + dy_i ty_i)).
    """

    def apply(self, x, out=None):
        highest = x.real.max(axis=-1, keepdims=True)
        e = np.exp(x - highest)
        y = e / e.sum(axis=-1, keepdims=True)
        if out is None:
            return y
        out[...] = y
        return out

    def derivative(self, dy, a):
        return a * (dy - (dy * a).sum(axis=-1, keepdims=True))

    def derivative_tangent(self, dy, ddy, a, ta):
        moved = (ddy * a + dy * ta).sum(axis=-1, keepdims=True)
        return ta * (dy - (dy * a).sum(axis=-1, keepdims=True)) + a * (ddy - moved)


class Identity(Straight):
    """y = x: the activation of a layer that has none."""

    def apply(self, x, out=None):
        return x

    def derivative(self, dy, a):
        return dy


@register
class Activation(Elementwise):
    """An activation by name: linear, relu, leaky_relu, tanh, sigmoid, silu or softmax.

    Any shape.  leaky_relu has the slope 0.2; LeakyReLU takes another.  "linear" changes nothing.
    activation: the name; ValueError for an unknown one.
    """

    arguments: ClassVar[tuple[str, ...]] = ("activation",)

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self._function = get(activation)
        self.reads, self.curved = self._function.reads, self._function.curved
        self.rising, self.negative_slope = self._function.rising, self._function.negative_slope
        if (type(self).apply, type(self).derivative) == (Activation.apply, Activation.derivative):
            self.kind = self._function.kind

    def apply(self, x, out=None):
        return self._function.apply(x, out)

    def derivative(self, dy, a):
        return self._function.derivative(dy, a)

    def derivative_over(self, dy, a):
        return self._function.derivative_over(dy, a)

    def derivative_tangent(self, dy, ddy, a, ta):
        return self._function.derivative_tangent(dy, ddy, a, ta)


NAMES: dict[str, type[Elementwise]] = {
    "linear": Identity,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "silu": SiLU,
    "softmax": Softmax,
}


def get(name: Any) -> Elementwise:
    """The activation of this name; None is linear."""
    return registry.find("activation", NAMES, "linear" if name is None else name)()
