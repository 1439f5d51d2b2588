"""Which form a convolution pass takes, and in what blocks, from a stated cost model.

Costs are nanoseconds on one thread for one pixel of the small side, for arithmetic rates that a
laptop core reaches; only their ratios matter.  The plan depends on shapes alone, never on the
dtype, so that what is proven in float64 and complex128 is the code that trains in float32.
"""

from __future__ import annotations

from typing import NamedTuple

from ..geometry import Geometry

COPY = 0.12  # an element of a gathered window
ADD = 0.5  # an element added into the image by a scatter
FLOP = 0.011  # a multiply-add in a wide product
THIN_FLOP = 0.03  # a multiply-add in a product with a thin side (under THIN)
THIN = 16

BLOCK = 1 << 19  # elements of gathered windows in one block: it stays in cache
FEW_ROWS = 64  # a product with fewer rows than this is slow


class Shape(NamedTuple):
    """The sizes of a convolution pass: the channels of both sides and the geometry."""

    channels: int
    out_channels: int
    geo: Geometry

    @property
    def taps(self) -> int:
        return self.geo.rows.kernel * self.geo.cols.kernel

    @property
    def flips(self) -> bool:
        return all(a.stride == 1 and 0 <= a.before < a.kernel for a in self.geo)


def forward(shape: Shape) -> str:
    """conv2d: "gather" (im2col, product) or "scatter" (product, shifted adds).

    Only a geometry that can be flipped may scatter: stride 1, padded by at most kernel - 1.
    """
    gather = shape.taps * shape.channels * COPY + _product(shape, shape.out_channels)
    scatter = shape.taps * shape.out_channels * ADD + _product(shape, shape.taps)
    return "scatter" if shape.flips and scatter < gather else "gather"


def adjoint(shape: Shape) -> str:
    """conv2d_adjoint: "gather" (by phases of the stride) or "scatter" (product, shifted adds)."""
    gather = shape.taps * shape.out_channels * COPY + _product(shape, shape.channels)
    scatter = shape.taps * shape.channels * ADD + _product(shape, shape.taps)
    return "scatter" if scatter < gather else "gather"


def dkernel(shape: Shape) -> str:
    """conv2d_dkernel: gather the windows of the "big" side, or of the "small" side by phases."""
    return "small" if shape.out_channels < shape.channels else "big"


def seconds(shape: Shape, pixels: int) -> float:
    """A rough time for a pass over this many pixels of the small side, on one thread."""
    return pixels * _product(shape, min(shape.channels, shape.out_channels)) * 1e-9


def images_per_block(pixels: int, width: int) -> int:
    """How many images to gather at once, when one has `pixels` windows of `width` elements."""
    return max(1, BLOCK // max(1, pixels * width), -(-FEW_ROWS // max(1, pixels)))


def rows_per_block(rows: int, cols: int, width: int) -> int:
    """How many rows of one image to gather at once, when a single image fills several blocks."""
    return max(1, min(rows, 4 * BLOCK // max(1, cols * width)))


def _product(shape: Shape, width: int) -> float:
    """The product's time: slow when its result has few columns."""
    rate = THIN_FLOP if width < THIN else FLOP
    return shape.taps * shape.channels * shape.out_channels * rate
