"""Convolutions and transposed convolutions of images (NHWC) and of signals (N, time, channels).

A convolution of geometry (stride s, padding p before) is, on each axis,

    y[o] = sum over taps t of x[s*o + t - p] K[t]                 "big" x -> "small" y

It pairs pixel s*o + t - p of the big side with pixel o of the small side, through tap t.  All six
passes walk over the same pairs and differ in which of the three arrays is the sum:

    Conv2D           forward: small    dx: big      dkernel: K
    Conv2DTranspose  forward: big      dx: small    dkernel: K

so Conv2DTranspose is the adjoint of Conv2D and adds no mathematics of its own.  The kernel of both
is stored (KH, KW, channels of the big side, channels of the small side).

groups=g cuts the channels of both sides into g equal parts and convolves each part on its own: a
block-diagonal kernel, of which only the blocks are stored, (KH, KW, big channels / g, small
channels).
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import home
from ..kernels import ops
from ..kernels.geometry import Axis, Geometry, axis, transposed_axis
from .arguments import Shape, one_of, pair, positive, show_shape
from .configuration import register
from .linear import Linear


class Convolution(Linear):
    """Base of the four convolution layers: arguments, shapes and geometry."""

    arguments = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "use_bias",
        "activation",
        "kernel_initializer",
        "bias_initializer",
        "groups",
    )
    axes = 2  # spatial axes
    transposed = False  # the output is the big side of the geometry

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        *,
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        use_bias: bool = True,
        activation: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        groups: int = 1,
    ) -> None:
        super().__init__(use_bias, activation, kernel_initializer, bias_initializer)
        name = type(self).__name__
        self.groups = positive(groups, "groups", name)
        self.filters = positive(filters, "filters", name)
        self.kernel_size = self._sides(kernel_size, "kernel_size")
        self.strides = self._sides(strides, "strides")
        self.padding = one_of(padding, ("same", "valid"), "padding", name)

    def _sides(self, value: Any, what: str) -> tuple[int, int]:
        """(rows, cols); a signal is an image of one row."""
        name = type(self).__name__
        if self.axes == 2:
            return pair(value, what, name)
        value = value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
        return 1, positive(value, what, name)

    def config(self):
        config = super().config()
        if self.axes == 1:
            config |= {"kernel_size": self.kernel_size[1], "strides": self.strides[1]}
        return config

    def setup(self, input_shape, key):
        if len(input_shape) != self.axes + 1:
            kind = "(None, height, width, channels)" if self.axes == 2 else "(None, time, channels)"
            raise ValueError(
                f"{self.name}: {type(self).__name__} takes {kind}, got {show_shape(input_shape)}"
            )
        height, width, channels = self.as_image(input_shape)
        try:
            self.geometry = Geometry(self.axis(height, 0), self.axis(width, 1))
        except ValueError as error:
            raise ValueError(f"{self.name}: input {show_shape(input_shape)}: {error}") from None
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"{self.name}: groups={self.groups} should divide the {channels} channels of the "
                f"input and the {self.filters} filters; choose a common divisor, as "
                f"{math.gcd(channels, self.filters)}"
            )
        big, small = (self.filters, channels) if self.transposed else (channels, self.filters)
        shape = (*self.kernel_size, big // self.groups, small)
        self.create(shape[2 - self.axes :], self.filters, key)
        return self.output_of(self.geometry)

    def axis(self, size: int, which: int) -> Axis:
        """The geometry of one axis of `size` pixels; which: 0 for rows, 1 for columns."""
        make = transposed_axis if self.transposed else axis
        return make(size, self.kernel_size[which], self.strides[which], self.padding)

    def output_of(self, geo: Geometry) -> Shape:
        """The output shape of a geometry `geo`: its small side, or the big one if transposed."""
        sides = [a.size if self.transposed else a.out for a in geo]
        return (*sides[2 - self.axes :], self.filters)

    def as_image(self, shape: Shape) -> Shape:
        """A signal's shape (..., time, channels) as that of an image, (..., 1, time, channels)."""
        return shape if self.axes == 2 else (*shape[:-2], 1, *shape[-2:])

    def image(self, x: Any) -> Any:
        """The array x as images (N, H, W, C)."""
        return x.reshape(self.as_image(x.shape))

    def like(self, image: Any, shape: Shape) -> Any:
        """The array `image` (N, H, W, C) in a shape of the layer's own, given without N."""
        return image.reshape(image.shape[0], *shape)

    @property
    def kernel(self) -> Any:
        """The kernel as (KH, KW, big channels of a group, small channels)."""
        kernel = self.params["kernel"]
        return kernel.reshape(*self.kernel_size, *kernel.shape[-2:])

    # the three passes, group by group: big is (N, H, W, C), small (N, OH, OW, OC)

    def gather(self, big: Any) -> Any:
        """small = conv2d(big, kernel)."""
        pairs = zip(self.cut(big), self.cut(self.kernel), strict=True)
        return join([ops(x).conv2d(x, k, self.geometry) for x, k in pairs])

    def scatter(self, small: Any) -> Any:
        """big = conv2d_adjoint(small, kernel)."""
        pairs = zip(self.cut(small), self.cut(self.kernel), strict=True)
        return join([ops(y).conv2d_adjoint(y, k, self.geometry) for y, k in pairs])

    def pair_up(self, big: Any, small: Any) -> Any:
        """The kernel's gradient, conv2d_dkernel(big, small), in the kernel's own shape."""
        pairs = zip(self.cut(big), self.cut(small), strict=True)
        found = join([ops(y).conv2d_dkernel(x, y, self.geometry) for x, y in pairs])
        return found.reshape(self.params["kernel"].shape)

    def gradients(self, big: Any, small: Any) -> tuple[Any, Any]:
        """The gradient that came in, taken to the other side, and pair_up(big, small)."""
        parts = zip(self.cut(big), self.cut(small), self.cut(self.kernel), strict=True)
        if self.transposed:
            found = [ops(x).conv2d_adjoint_gradients(y, x, k, self.geometry) for x, y, k in parts]
        else:
            found = [ops(x).conv2d_gradients(x, y, k, self.geometry) for x, y, k in parts]
        taken, dkernel = (join(list(each)) for each in zip(*found, strict=True))
        return self.like(taken, self.input_shape), dkernel.reshape(self.params["kernel"].shape)

    def cut(self, a: Any) -> list[Any]:
        """The groups of an array a, along its last axis."""
        width = a.shape[-1] // self.groups
        return [a[..., i * width : (i + 1) * width] for i in range(self.groups)]


class _Plain(Convolution):
    """Forward gathers: z = conv(x, K)."""

    def product(self, x):
        return self.like(self.gather(self.image(x)), self.output_shape)

    def product_dx(self, dz):
        return self.like(self.scatter(self.image(dz)), self.input_shape)

    def product_dkernel(self, x, dz):
        return self.pair_up(self.image(x), self.image(dz))

    def product_gradients(self, x, dz):
        return self.gradients(self.image(x), self.image(dz))


class _Transposed(Convolution):
    """Forward scatters: z is the big side, x the small one; the passes exchange their roles."""

    transposed = True

    def product(self, x):
        return self.like(self.scatter(self.image(x)), self.output_shape)

    def product_dx(self, dz):
        return self.like(self.gather(self.image(dz)), self.input_shape)

    def product_dkernel(self, x, dz):
        return self.pair_up(self.image(dz), self.image(x))

    def product_gradients(self, x, dz):
        return self.gradients(self.image(dz), self.image(x))


def join(parts: list[Any]) -> Any:
    """The groups side by side along the last axis."""
    return parts[0] if len(parts) == 1 else home(parts[0]).concatenate(parts, axis=-1)


@register
class Conv2D(_Plain):
    """y = f(conv(x, kernel) + bias): (N, H, W, C) -> (N, OH, OW, filters).

    kernel (KH, KW, C/groups, filters).  padding="same": OH = ceil(H/stride), padded as TensorFlow
    pads; "valid": OH = (H - KH)//stride + 1, and ValueError if the kernel does not fit.
    filters: channels of y.  kernel_size, strides: pixels, a number or (rows, columns).
    groups: parts into which the channels are cut, each convolved alone (top of this file).
    use_bias, activation, kernel_initializer, bias_initializer: as for Dense.
    Raises ValueError for numbers below 1 and unknown names; build, for inputs of other axes, and
    for groups that do not divide the channels on both sides.

        >>> mg.Conv2D(8, (3, 5), strides=2, padding="same").build((28, 21, 1))
        (14, 11, 8)
        >>> mg.Conv2D(8, (3, 5), strides=2).build((28, 21, 1))
        (13, 9, 8)

    Derivation (one axis; two axes are the same line twice).  z[n,o,d] = sum_{t,c} x[n, s*o+t-p, c]
    K[t,c,d].  Pixel i reaches z[o] through tap t exactly when s*o + t - p = i, so with dz = dL/dz

        dL/dx[n,i,c] = sum over (o,t) with s*o+t-p = i, and d, of dz[n,o,d] K[t,c,d]
        dL/dK[t,c,d] = sum over n, o of x[n, s*o+t-p, c] dz[n,o,d]
        dL/db[d]     = sum over n, o of dz[n,o,d]

    The first is conv2d_adjoint (a transposed convolution), the second conv2d_dkernel.
    """


@register
class Conv2DTranspose(_Transposed):
    """y = f(transposed conv(x, kernel) + bias): (N, H, W, C) -> (N, OH, OW, filters).

    kernel (KH, KW, filters/groups, C).  padding="same": OH = H*stride; "valid": H*stride +
    max(KH - stride, 0), as in Keras.
    Takes the arguments of Conv2D, and raises ValueError as it does, but any kernel fits.

        >>> mg.Conv2DTranspose(8, 4, strides=2, padding="same").build((7, 7, 128))
        (14, 14, 8)
        >>> mg.Conv2DTranspose(8, 4).build((1, 1, 100))
        (4, 4, 8)

    Derivation (one axis).  It is the adjoint of the convolution of that geometry:
    z[n,i,c] = sum over (o,t) with s*o+t-p = i, and d, of x[n,o,d] K[t,c,d].  With dz = dL/dz

        dL/dx[n,o,d] = sum_{t,c} dz[n, s*o+t-p, c] K[t,c,d]         a plain convolution of dz
        dL/dK[t,c,d] = sum over n, o of dz[n, s*o+t-p, c] x[n,o,d]  conv2d_dkernel, roles exchanged
        dL/db[c]     = sum over n, i of dz[n,i,c]
    """


@register
class Conv1D(_Plain):
    """Conv2D on signals: the derivation's one axis. (N, T, C) -> (N, OT, filters), T time steps.

    kernel (K, C/groups, filters).  OT is as the sides of Conv2D.
    Takes the arguments of Conv2D, with one number each for kernel_size and strides, in time steps,
    and raises ValueError as it does.
    """

    axes = 1


@register
class Conv1DTranspose(_Transposed):
    """Conv2DTranspose on signals: (N, T, C) -> (N, OT, filters), T time steps.

    kernel (K, filters/groups, C).  OT is as the sides of Conv2DTranspose.
    Takes the arguments of Conv1D, and raises ValueError as it does, but any kernel fits.
    """

    axes = 1
