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
from contextvars import ContextVar
from functools import lru_cache
from typing import NamedTuple

from ..geometry import Geometry
from .grids import Toom, taps_of, tiled
from .product import FLOP
from .toom import images_in_block

COPY = 0.26  # an element of a gathered window
ADD = 0.9  # an element added into the image by a scatter
THIN_FLOP = 0.03  # a multiply-add in a product with a thin side (under THIN)
THIN = 16

POINT = {"V": 0.95, "M": 0.9, "V back": 1.45, "M back": 0.6}  # a point through its transform
KERNEL_POINT = 0.55  # an element of the kernel's points, each time it is made or used
FEW_CHANNELS = 28  # of a side, below which its transforms are too many small products
LARGEST_TILE = 8  # points along an axis: beyond, float32 loses too many digits

chosen: ContextVar[Path | None] = ContextVar("chosen", default=None)  # see always
exact: ContextVar[bool] = ContextVar(  # see exactly
    "exact", default=os.environ.get("MINIGAN_EXACT", "") not in ("", "0")
)

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
    def windows(self) -> int:
        """Of the big side: one for each pixel of the small side."""
        return self.geo.rows.out * self.geo.cols.out

    @property
    def phase_windows(self) -> float:
        """Of the small side: one for each pixel of the big side, with a phase's share of taps."""
        pixels = self.geo.rows.size * self.geo.cols.size
        return pixels / (self.geo.rows.stride * self.geo.cols.stride)

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
    paths = [Path("gather", shape.windows * gather)]
    if shape.flips:
        paths.append(Path("scatter", shape.windows * scatter))
    return _cheapest(paths, shape, "forward")


def adjoint(shape: Shape) -> Path:
    """conv2d_adjoint; its gather is that of the small side, by phases of the stride."""
    gather = shape.taps * shape.out_channels * COPY + _product(shape, shape.channels)
    scatter = shape.taps * shape.channels * ADD + _product(shape, shape.taps)
    paths = [
        Path("gather", shape.phase_windows * gather),
        Path("scatter", shape.windows * scatter),
    ]
    return _cheapest(paths, shape, "adjoint")


def dkernel(shape: Shape) -> Path:
    """conv2d_dkernel: gathers the windows of the "big" side, or of the "small" side by phases."""
    C, OC = shape.channels, shape.out_channels
    big = shape.taps * C * COPY + _product(shape, min(shape.taps * C, OC))
    small = shape.taps * OC * COPY + _product(shape, min(shape.taps * OC, C))
    paths = [Path("big", shape.windows * big), Path("small", shape.phase_windows * small)]
    return _cheapest(paths, shape, "dkernel")


def _cheapest(plain: list[Path], shape: Shape, what: str) -> Path:
    """The cheapest of the plain paths and that by Cook and Toom."""
    path = chosen.get()
    if path is not None:
        return path
    best = min(plain, key=lambda path: path.cost)
    found = None if exact.get() else best_toom(shape, what)
    return found if found and found.cost < best.cost else best


@lru_cache(maxsize=4096)
def best_toom(shape: Shape, what: str) -> Path | None:
    """The cheapest tiles in either direction, if there are any."""
    paths = [Path("toom", toom_cost(t, shape, what), t) for t in tilings(shape)]
    return min(paths, key=lambda path: path.cost, default=None)


def gradients(shape: Shape, what: str) -> Toom | None:
    """Tiles for both passes of a backward at once, `what` and dkernel; None: better one by one."""
    path = chosen.get()
    if path is not None:
        return path.toom
    return None if exact.get() else _best_for_both(shape, what)


@lru_cache(maxsize=4096)
def _best_for_both(shape: Shape, what: str) -> Toom | None:
    apart = (adjoint if what == "adjoint" else forward)(shape).cost + dkernel(shape).cost
    paths = [Path("toom", both_cost(t, shape, what), t) for t in tilings(shape)]
    best = min(paths, key=lambda path: path.cost, default=None)
    return best.toom if best and best.cost < apart else None


def tilings(shape: Shape) -> list[Toom]:
    """Tiles of every size, in both directions, where there are neither too many taps nor too few.

    None for thin sides, whose transforms are many small products.
    """
    if any(a.kernel < a.stride for a in shape.geo):
        return []  # pixels that no window reads would take part
    if min(shape.channels, shape.out_channels) < FEW_CHANNELS:
        return []
    if all(taps_of(a) == 1 for a in shape.geo):
        return []  # a single product already
    rows, cols = (_tile_sizes(taps_of(a)) for a in shape.geo)
    return [tiled(shape.geo, (m, p), out) for out in (False, True) for m in rows for p in cols]


def _tile_sizes(r: int) -> range:
    """The outputs of a tile that r taps allow; a single tap needs no tiles."""
    return range(1, 2) if r == 1 else range(2, LARGEST_TILE - r + 2)


def toom_cost(t: Toom, shape: Shape, what: str) -> float:
    """Of a pass over one image, in this direction and with these tiles."""
    big, small = t.geo.rows.stride * t.geo.cols.stride * shape.channels, shape.out_channels
    matrix, images = t.points * big * small, max(1, shape.images)
    product = t.tiles * matrix * FLOP
    if what == "dkernel":
        transforms = _there(t, shape, True) + _there(t, shape, False)
        blocks = images / images_in_block(t, big, small, images)
        return product + transforms + (blocks + 0.5) * matrix * KERNEL_POINT / images
    to_big = what == "adjoint"
    back = _moved(t, shape, to_big, "V back" if to_big != t.outward else "M")
    return product + _there(t, shape, not to_big) + back + 2 * matrix * KERNEL_POINT / images


def both_cost(t: Toom, shape: Shape, what: str) -> float:
    """Of a pass and dkernel, which share the points of one side."""
    apart = toom_cost(t, shape, what) + toom_cost(t, shape, "dkernel")
    return apart - _there(t, shape, what == "forward")


def _there(t: Toom, shape: Shape, big: bool) -> float:
    """The points of one side's image."""
    return _moved(t, shape, big, "V" if big != t.outward else "M back")


def _moved(t: Toom, shape: Shape, big: bool, kind: str) -> float:
    phases = t.geo.rows.stride * t.geo.cols.stride
    channels = phases * shape.channels if big else shape.out_channels
    return t.points * t.tiles * channels * POINT[kind]


@contextmanager
def exactly() -> Iterator[None]:
    """Inside a with block, no pass that this thread calls runs by Cook and Toom."""
    token = exact.set(True)
    try:
        yield
    finally:
        exact.reset(token)


@contextmanager
def always(path: Path) -> Iterator[None]:
    """Inside a with block, every pass of a convolution that this thread calls runs by this path."""
    token = chosen.set(path)
    try:
        yield
    finally:
        chosen.reset(token)


def seconds(shape: Shape) -> float:
    """A rough time for a plain pass over all images, on one thread."""
    pixels = shape.images * shape.geo.rows.out * shape.geo.cols.out
    return pixels * _product(shape, min(shape.channels, shape.out_channels)) * 1e-9


def images_per_block(pixels: int, width: int, kernel: int = 0) -> int:
    """How many images to gather at once, when one has `pixels` windows of `width` elements.

    kernel: the elements that each block reads besides; a block of fewer is not worth that.
    """
    room = max(BLOCK, kernel)
    return max(1, room // max(1, pixels * width), -(-FEW_ROWS // max(1, pixels)))


def rows_per_block(rows: int, cols: int, width: int, kernel: int = 0) -> int:
    """How many rows of one image to gather at once, when a single image fills several blocks."""
    return max(1, min(rows, max(4 * BLOCK, kernel) // max(1, cols * width)))


def _product(shape: Shape, width: int) -> float:
    """The product's time: slow when its result has few columns."""
    rate = THIN_FLOP if width < THIN else FLOP
    return shape.taps * shape.channels * shape.out_channels * rate
