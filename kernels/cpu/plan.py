"""Which form a convolution pass takes, and in what blocks, from a stated cost model.

    gather     im2col, one product                     taps * channels copied, all multiply-adds
    scatter    one product, shifted adds               taps * outputs added, all multiply-adds
    toom       transforms, a product for each point    points moved, few multiply-adds (toom.py)

Costs are nanoseconds on one thread for one image, for rates that a core of 2023 reaches in float32;
only their ratios matter.  The plan depends on shapes alone, never on the dtype, so that what is
proven in float64 and complex128 is the code that trains in float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

from ..geometry import Geometry
from .product import FLOP
from .toom import Toom, images_in_block, taps_of, tiled

COPY = 0.26  # an element of a gathered window
ADD = 0.9  # an element added into the image by a scatter
THIN_FLOP = 0.03  # a multiply-add in a product with a thin side (under THIN)
THIN = 16

POINT_FLOP = 0.0115  # a multiply-add in the products of the points, whose factors come from afar
POINT = {"V": 0.45, "M": 0.46, "V back": 1.2, "M back": 0.56}  # a point through its transform
KERNEL_POINT = 0.55  # an element of the kernel's points, each time it is written or added to
LARGEST_TILE = 8  # points along an axis: beyond, float32 loses too many digits
GAIN = 0.9  # of another form's cost, that toom must stay below to be taken

chosen: Path | None = None  # for every pass, whatever it costs
exact = os.environ.get("MINIGAN_EXACT", "") not in ("", "0")  # no toom: the plain products

BLOCK = 1 << 19  # elements of gathered windows in one block: it stays in cache
FEW_ROWS = 64  # a product with fewer rows than this is slow


class Shape(NamedTuple):
    """The sizes of a convolution pass: the channels of both sides and the geometry."""

    channels: int
    out_channels: int
    geo: Geometry
    images: int = 32

    @property
    def taps(self) -> int:
        return self.geo.rows.kernel * self.geo.cols.kernel

    @property
    def flips(self) -> bool:
        return all(a.stride == 1 and 0 <= a.before < a.kernel for a in self.geo)


class Path(NamedTuple):
    """The form of a pass, and its cost; toom: the tiles, if it is that form."""

    form: str
    cost: float
    toom: Toom | None = None


def forward(shape: Shape) -> Path:
    """conv2d. Only a geometry that can be flipped may scatter: stride 1, padded less than k."""
    gather = shape.taps * shape.channels * COPY + _product(shape, shape.out_channels)
    scatter = shape.taps * shape.out_channels * ADD + _product(shape, shape.taps)
    turned = shape.flips and scatter < gather
    plain = Path("scatter", scatter) if turned else Path("gather", gather)
    return _cheaper(plain, shape, "forward")


def adjoint(shape: Shape) -> Path:
    """conv2d_adjoint; its gather is that of the small side, by phases of the stride."""
    gather = shape.taps * shape.out_channels * COPY + _product(shape, shape.channels)
    scatter = shape.taps * shape.channels * ADD + _product(shape, shape.taps)
    plain = Path("scatter", scatter) if scatter < gather else Path("gather", gather)
    return _cheaper(plain, shape, "adjoint")


def dkernel(shape: Shape) -> Path:
    """conv2d_dkernel: gathers the windows of the "big" side, or of the "small" side by phases."""
    width = min(shape.channels, shape.out_channels)
    form = "small" if shape.out_channels < shape.channels else "big"
    cost = shape.taps * width * COPY + _product(shape, width)
    return _cheaper(Path(form, cost), shape, "dkernel")


def _cheaper(plain: Path, shape: Shape, what: str) -> Path:
    """The plain path or the best by Cook and Toom; costs from now on are of an image."""
    if chosen is not None:
        return chosen
    rows, cols = shape.geo
    plain = plain._replace(cost=plain.cost * rows.out * cols.out)
    found = None if exact else best_toom(shape, what)
    return found if found and found.cost < GAIN * plain.cost else plain


@lru_cache(maxsize=4096)
def best_toom(shape: Shape, what: str) -> Path | None:
    """The cheapest tiles in either direction, or None where there are too many taps or too few."""
    if any(a.kernel < a.stride for a in shape.geo):
        return None  # pixels that no window reads would take part
    choices = [_tile_sizes(taps_of(a)) for a in shape.geo]
    paths = [
        Path("toom", toom_cost(t, shape, what), t)
        for outward in (False, True)
        for m in choices[0]
        for p in choices[1]
        for t in [tiled(shape.geo, (m, p), outward)]
    ]
    return min(paths, key=lambda path: path.cost, default=None)


def _tile_sizes(r: int) -> range:
    """The outputs of a tile that r taps allow; a single tap needs no tiles."""
    return range(1, 2) if r == 1 else range(2, LARGEST_TILE - r + 2)


def toom_cost(t: Toom, shape: Shape, what: str) -> float:
    """Of a pass over one image, in this direction and with these tiles."""
    phases = t.geo.rows.stride * t.geo.cols.stride
    big, small = phases * shape.channels, shape.out_channels
    into, out = (small, big) if t.outward else (big, small)
    points, matrix = t.points * t.tiles, t.points * big * small
    product = points * big * small * POINT_FLOP
    if what == "dkernel":
        transforms = points * (into * POINT["V"] + out * POINT["M back"])
        sums = shape.images / images_in_block(t, big + small) + 2
        return product + transforms + matrix * KERNEL_POINT * sums / shape.images
    with_the_grain = (what == "adjoint") == t.outward
    kinds = ("V", "M") if with_the_grain else ("V back", "M back")
    transforms = points * (into * POINT[kinds[0]] + out * POINT[kinds[1]])
    return product + transforms + 2 * matrix * KERNEL_POINT / shape.images


@contextmanager
def exactly() -> Iterator[None]:
    """Inside a with block, no pass runs by Cook and Toom."""
    global exact
    before, exact = exact, True
    try:
        yield
    finally:
        exact = before


@contextmanager
def always(path: Path) -> Iterator[None]:
    """Inside a with block, every pass of a convolution runs by this path."""
    global chosen
    before, chosen = chosen, path
    try:
        yield
    finally:
        chosen = before


def seconds(shape: Shape) -> float:
    """A rough time for a plain pass over all images, on one thread."""
    pixels = shape.images * shape.geo.rows.out * shape.geo.cols.out
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
