"""UpSampling2D and the convolution behind it, as one transposed convolution of the small image.

Derivation, along one axis.  Upsampled by f, pixel i of the image is x[i // f].  A convolution of
stride 1 with k taps and p pixels of padding gives, at pixel o = f*q + b,

    y[f*q + b] = sum over t of  x[(f*q + b + t - p) // f] K[t] = sum over u of  x[q + u] F[u, b]
    F[u, b]    = sum over the t with (b + t - p) // f = u  of  K[t]

since f*q comes out of the division.  So the f*f phases of y are small convolutions of x itself:
5 x 5 taps on the large image become 3 x 3 on the small one, 9 products for 25.  And a sum over
pairs with f*o + t' - p' = i is what a transposed convolution of stride f is: put o = q + u, then
F[u, b] is its tap t' = b - f*u + p', with p' = f * (the largest u).  Its kernel is S K S^T, where S
is the matrix of zeros and ones that says which K[t] goes into which tap; gradients come back
through S^T.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Constant
from ..kernels import ops
from ..kernels.geometry import Axis, Geometry
from .arguments import Array
from .base import Layer
from .conv import Conv2D
from .linear import Linear
from .upsampling import UpSampling2D


class UpsampledConv(Linear):
    """A stage: Conv2D(UpSampling2D(x)), with the parameters of the Conv2D."""

    def __init__(self, up: UpSampling2D, conv: Conv2D) -> None:
        self.conv, self.name, self.dtype = conv, conv.name, conv.dtype
        self.input_shape, self.output_shape = up.input_shape, conv.output_shape
        self.use_bias, self._function = conv.use_bias, conv._function
        axes = [
            folded(side, factor, a)
            for side, factor, a in zip(up.input_shape, up.size, conv.geometry, strict=False)
        ]
        self.geometry = Geometry(*(a for a, _ in axes))
        self.folds = [Constant(S) for _, S in axes]

    @property
    def params(self) -> Any:
        """Those of the convolution."""
        return self.conv.params

    def product(self, x):
        return ops(x).conv2d_adjoint(x, self.kernel(x), self.geometry)

    def product_dx(self, dz):
        return ops(dz).conv2d(dz, self.kernel(dz), self.geometry)

    def product_dkernel(self, x, dz):
        return self._unfold(ops(x).conv2d_dkernel(dz, x, self.geometry))

    def product_gradients(self, x, dz):
        dx, d = ops(x).conv2d_adjoint_gradients(x, dz, self.kernel(dz), self.geometry)
        return dx, self._unfold(d)

    def kernel(self, like: Array) -> Array:
        """S K S^T: (taps, taps, filters, C), as the transposed convolution has it."""
        return fold(self.params["kernel"], *self._folds(like)).swapaxes(2, 3)

    def _unfold(self, d: Array) -> Array:
        """The gradient of S K S^T by K."""
        rows, cols = self._folds(d)
        d = d.swapaxes(2, 3)  # (taps, taps, filters, C) -> (taps, taps, C, filters)
        return fold(d, rows.T, cols.T).reshape(self.params["kernel"].shape)

    def _folds(self, like: Array) -> list[Array]:
        return [S.like(like) for S in self.folds]


def fold(kernel: Array, rows: Array, cols: Array) -> Array:
    """rows @ kernel @ cols^T on the first two axes: (KH, KW, C, OC) -> (taps, taps, C, OC)."""
    KH, KW, C, OC = kernel.shape
    k = (rows @ kernel.reshape(KH, -1)).reshape(len(rows), KW, C * OC)
    return (cols @ k).reshape(len(rows), len(cols), C, OC)


def folded(side: int, factor: int, a: Axis) -> tuple[Axis, np.ndarray]:
    """(the transposed convolution's axis, S) for `side` pixels upsampled and then convolved."""
    reads = [(b + t - a.before) // factor for b in range(factor) for t in range(a.kernel)]
    lowest, highest = min(reads), max(reads)
    taps = factor * (highest - lowest + 1)
    S = np.zeros((taps, a.kernel))
    for b in range(factor):
        for t in range(a.kernel):
            u = (b + t - a.before) // factor
            S[b + factor * (highest - u), t] = 1
    return Axis(a.out, side, taps, factor, factor * highest), S


def folds(up: Layer, conv: Layer) -> bool:
    """Whether these two neighbours can be one."""
    return (
        type(up) is UpSampling2D
        and type(conv) is Conv2D
        and conv.strides == (1, 1)
        and conv.groups == 1
    )
