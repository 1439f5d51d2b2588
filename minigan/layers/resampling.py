"""Resampling2D: bilinear, up or down."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import Constant
from ..kernels import ops
from .arguments import is_number, show_shape
from .base import Cache, Fixed
from .configuration import register


@register
class Resampling2D(Fixed):
    """Bilinear resampling: (N, H, W, C) -> (N, floor(f*H), floor(f*W), C), factor f or (fh, fw).

    Pixels are squares and the borders of the images coincide, as in Keras, TensorFlow 2 and
    PyTorch (align_corners=False) for an output of this size; where f*H is not whole, PyTorch's
    scale_factor= instead spaces the pixels by 1/f, and leaves a margin.  antialias=True widens the
    triangle of weights when it shrinks the image, as their option of that name does; when it
    enlarges, the option changes nothing.

    Derivation.  Along an axis of n pixels, pixel o of the result lies at c = (o + 1/2) n/out - 1/2
    and is the mean of the pixels i with weights max(0, 1 - |i - c|/r), where r = 1, or n/out if it
    is wider and antialias is on.  So y = A_rows x A_cols^T with fixed matrices: the adjoint,
    dx = A_rows^T dy A_cols, and tangents, ty = A_rows tx A_cols^T, are the same kernel.

    Raises ValueError for a factor that is not positive and finite; build, for inputs that are not
    (N, H, W, C), and where nothing of them would be left.

        >>> mg.Resampling2D(0.5).build((28, 28, 8))
        (14, 14, 8)
    """

    arguments = ("factor", "antialias")

    def __init__(
        self, factor: float | tuple[float, float] = 2.0, *, antialias: bool = True
    ) -> None:
        super().__init__()
        pair = tuple(factor) if isinstance(factor, (tuple, list)) else (factor, factor)
        if (
            len(pair) != 2
            or not all(map(is_number, pair))
            or not all(0 < f < math.inf for f in pair)
        ):
            raise ValueError(
                f"Resampling2D: factor={factor!r} should be a positive number, or two: 2 doubles "
                "the sides, 0.5 halves them"
            )
        self.factor = (float(pair[0]), float(pair[1]))
        self.antialias = bool(antialias)

    def setup(self, input_shape, key):
        if len(input_shape) != 3:
            raise ValueError(
                f"{self.name}: Resampling2D takes (None, height, width, channels), "
                f"got {show_shape(input_shape)}"
            )
        sides = [
            math.floor(f * n * (1 + 1e-12)) for f, n in zip(self.factor, input_shape, strict=False)
        ]
        if min(sides) < 1:
            raise ValueError(
                f"{self.name}: factor={self.factor} leaves nothing of {show_shape(input_shape)}; "
                "use one of at least 1/side"
            )
        pairs = zip(input_shape, sides, strict=False)
        self.matrices = [Constant(triangle_weights(n, out, self.antialias)) for n, out in pairs]
        return (*sides, input_shape[2])

    def compute(self, x, training, rng, keep):
        return ops(x).resample2d(x, *self._weights(x)), Cache(True if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        if not to_input:
            return None, {}
        rows, cols = self._weights(dy)
        return ops(dy).resample2d(dy, rows.T, cols.T), {}

    def pushforward(self, tx, saved):
        return ops(tx).resample2d(tx, *self._weights(tx)), None

    def _weights(self, like: Any) -> list[Any]:
        """The two matrices, (OH, H) and (OW, W), in the dtype and at the home of an array."""
        return [a.like(like) for a in self.matrices]


def triangle_weights(n: int, out: int, antialias: bool) -> np.ndarray:
    """The matrix (out, n) of one axis; each row adds up to 1."""
    centres = (np.arange(out)[:, None] + 0.5) * n / out - 0.5  # (out, 1)
    radius = max(1.0, n / out) if antialias else 1.0
    weights = np.maximum(0, 1 - np.abs(np.arange(n) - centres) / radius)  # (out, n)
    return weights / weights.sum(axis=1, keepdims=True)
