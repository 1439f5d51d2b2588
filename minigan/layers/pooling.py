"""Pooling: the largest or the mean value of each window."""

from __future__ import annotations

from typing import Any

from ..kernels import ops
from ..kernels.geometry import Geometry, axis
from .arguments import one_of, pair, show_shape
from .base import Cache, Fixed
from .configuration import register


class Pooling(Fixed):
    """Base: (N, H, W, C) -> (N, OH, OW, C). strides default to the pool size, as in Keras."""

    arguments = ("pool_size", "strides", "padding")

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 2,
        *,
        strides: Any = None,
        padding: str = "valid",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.pool_size = pair(pool_size, "pool_size", name)
        self.strides = pair(self.pool_size if strides is None else strides, "strides", name)
        self.padding = one_of(padding, ("same", "valid"), "padding", name)

    def setup(self, input_shape, key):
        if len(input_shape) != 3:
            raise ValueError(
                f"{self.name}: {type(self).__name__} takes (None, height, width, channels), "
                f"got {show_shape(input_shape)}"
            )
        try:
            sides = zip(input_shape, self.pool_size, self.strides, strict=False)
            self.geometry = Geometry(*(axis(*side, self.padding) for side in sides))
        except ValueError as error:
            raise ValueError(f"{self.name}: input {show_shape(input_shape)}: {error}") from None
        return self.geometry.rows.out, self.geometry.cols.out, input_shape[2]


@register
class MaxPooling2D(Pooling):
    """y[o] = max over the window's pixels; padding never wins.  (N, H, W, C) -> (N, OH, OW, C).

    pool_size, strides: pixels, a number or (rows, columns); strides=None is the pool_size.
    padding: "valid" or "same", with OH and OW as of Conv2D.
    Raises ValueError for numbers below 1 and another padding; build, for inputs of other axes and
    for a "valid" window that does not fit.

        >>> mg.MaxPooling2D(2).build((28, 28, 8))
        (14, 14, 8)

    Derivation.  y[o] = x[w(o)], where w(o) is the pixel that won, so dL/dx[i] is the sum of dy[o]
    over the windows o that i won.  Of equal pixels the first in row-major order wins.  Complex
    numbers are compared by their real parts.

    A small step along tx changes no winner (ties apart): ty[o] = tx[w(o)], and backward moves with
    dy alone.
    """

    owns_output = True

    def compute(self, x, training, rng, keep):
        y, winner = ops(x).max_pool2d(x, self.geometry)
        return y, Cache(winner if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        dx = ops(dy).max_pool2d_adjoint(dy, saved, self.geometry) if to_input else None
        return dx, {}

    def pushforward(self, tx, saved):
        return ops(tx).max_pool2d_tangent(tx, saved, self.geometry), None


@register
class AveragePooling2D(Pooling):
    """y[o] = mean over those pixels of the window that lie inside the image.

    (N, H, W, C) -> (N, OH, OW, C).  Takes the arguments of MaxPooling2D, and raises ValueError as
    it does.

    Derivation.  y[o] = sum_i x[i]/n(o), so dL/dx[i] = the sum of dy[o]/n(o) over the windows
    that hold i: the adjoint.  Linear in x, so the tangent is the mean of tx.
    """

    def compute(self, x, training, rng, keep):
        return ops(x).average_pool2d(x, self.geometry), Cache(True if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        dx = ops(dy).average_pool2d_adjoint(dy, self.geometry) if to_input else None
        return dx, {}

    def pushforward(self, tx, saved):
        return ops(tx).average_pool2d(tx, self.geometry), None
