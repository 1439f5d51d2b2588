"""UpSampling2D: nearest neighbour."""

from __future__ import annotations

from ..kernels import ops
from .arguments import pair, show_shape
from .base import Cache, Fixed
from .configuration import register


@register
class UpSampling2D(Fixed):
    """Every pixel becomes a block of size[0] x size[1]: (N, H, W, C) -> (N, fh*H, fw*W, C).

    Derivation.  y[i, j] = x[i // fh, j // fw], so dL/dx[a, b] is the sum of dy over the block of
    (a, b).  Linear in x: tangents are upsampled as images are.

    size: pixels, a number or (fh, fw).  Raises ValueError for less than 1; build, for inputs that
    are not (N, H, W, C).

        >>> mg.UpSampling2D((2, 3)).build((4, 4, 8))
        (8, 12, 8)
    """

    arguments = ("size",)

    def __init__(self, size: int | tuple[int, int] = 2) -> None:
        super().__init__()
        self.size = pair(size, "size", "UpSampling2D")

    def setup(self, input_shape, key):
        if len(input_shape) != 3:
            raise ValueError(
                f"{self.name}: UpSampling2D takes (None, height, width, channels), "
                f"got {show_shape(input_shape)}"
            )
        height, width, channels = input_shape
        return height * self.size[0], width * self.size[1], channels

    def compute(self, x, training, rng, keep):
        return ops(x).upsample2d(x, self.size), Cache(True if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        return (ops(dy).upsample2d_adjoint(dy, self.size) if to_input else None), {}

    def pushforward(self, tx, saved):
        return ops(tx).upsample2d(tx, self.size), None
