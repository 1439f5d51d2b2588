"""The grids between which a convolution is a correlation of stride 1, cut into tiles.

With stride s, pixel i of the big side is  i + before = s*q + a: its phase a becomes a channel of
position q.  Where a grid lies on its images is all that a correlation needs to know of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..cooktoom import transforms
from ..geometry import Axis, Geometry
from .windows import halo


class Place(NamedTuple):
    """Where a grid lies on an axis: position q, phase a is pixel step*q + a - before of `size`."""

    size: int
    step: int
    before: int


class Side(NamedTuple):
    """One axis of a correlation: `tiles` tiles of m outputs, r taps, and both grids' places."""

    m: int
    r: int
    tiles: int
    into: Place
    out: Place

    @property
    def n(self) -> int:
        """Points of a tile."""
        return self.m + self.r - 1

    @property
    def read(self) -> int:
        """Positions of the grid that goes in."""
        return self.m * self.tiles + self.r - 1

    @property
    def written(self) -> int:
        """Positions of the grid that comes out."""
        return self.m * self.tiles

    def matrix(self, name: str, dtype: np.dtype) -> np.ndarray:
        """A, B or G."""
        return getattr(transforms(self.m, self.r), name).astype(dtype)


class Grid(NamedTuple):
    """A grid on both axes: where it lies, and its positions."""

    rows: Place
    cols: Place
    positions: tuple[int, int]

    @property
    def phases(self) -> int:
        """Pixels at a position, which become channels."""
        return self.rows.step * self.cols.step


class Toom(NamedTuple):
    """A correlation in two dimensions; outward: from the small side of the geometry to the big."""

    geo: Geometry
    outward: bool
    rows: Side
    cols: Side

    @property
    def points(self) -> int:
        """Of a tile."""
        return self.rows.n * self.cols.n

    @property
    def tiles(self) -> int:
        """Of an image."""
        return self.rows.tiles * self.cols.tiles

    @property
    def into(self) -> Grid:
        """The grid that goes in."""
        return Grid(self.rows.into, self.cols.into, (self.rows.read, self.cols.read))

    @property
    def out(self) -> Grid:
        """The grid that comes out."""
        return Grid(self.rows.out, self.cols.out, (self.rows.written, self.cols.written))


def tiled(geo: Geometry, m: tuple[int, int], outward: bool) -> Toom:
    """The correlation of a geometry with tiles of m outputs."""
    side = outwards if outward else inwards
    return Toom(geo, outward, side(geo.rows, m[0]), side(geo.cols, m[1]))


def taps_of(a: Axis) -> int:
    """r = ceil(kernel/stride)."""
    return -(-a.kernel // a.stride)


def inwards(a: Axis, m: int) -> Side:
    """From the big side to the small."""
    return Side(
        m, taps_of(a), -(-a.out // m), Place(a.size, a.stride, a.before), Place(a.out, 1, 0)
    )


def outwards(a: Axis, m: int) -> Side:
    """From the small side to the big, from the position `first` on, where its first pixel is.

    Position q of the big side reads y[q-u], u < r: the first one from first - r + 1 on.
    """
    first, last = a.before // a.stride, (a.before + a.size - 1) // a.stride
    r, tiles = taps_of(a), -(-(last - first + 1) // m)
    into = Place(a.out, 1, r - 1 - first)
    return Side(m, r, tiles, into, Place(a.size, a.stride, a.before - a.stride * first))


# grids: (N, positions, row phases, positions, column phases * C)


def grid_of(x: np.ndarray, g: Grid) -> np.ndarray:
    """The grid of the images x (N, H, W, C), zeros outside. A row lies in one piece."""
    (Q, P), a, b, C = g.positions, g.rows.step, g.cols.step, x.shape[3]
    top, left = -g.rows.before, -g.cols.before
    block = halo(x, top, top + Q * a, left, left + P * b)
    if block.strides[2:] != (C * x.itemsize, x.itemsize):
        block = np.ascontiguousarray(block)
    return block.reshape(len(x), Q, a, P, b * C)


def put(grid: np.ndarray, image: np.ndarray, g: Grid) -> None:
    """The pixels of a grid that lie in the images (N, H, W, C); zeros where it has none."""
    (N, Q, a, _, _), C = grid.shape, image.shape[3]
    pixels = grid.reshape(N, Q * a, -1, C)
    (down, i), (right, j) = overlap(g.rows, Q * a), overlap(g.cols, pixels.shape[2])
    if (down, right) != (slice(0, g.rows.size), slice(0, g.cols.size)):
        image[...] = 0
    image[:, down, right] = pixels[:, i, j]


def overlap(place: Place, pixels: int) -> tuple[slice, slice]:
    """The pixels of an axis that a grid of so many covers, and the same as the grid counts them."""
    first, last = max(0, -place.before), min(place.size, pixels - place.before)
    last = max(first, last)
    return slice(first, last), slice(first + place.before, last + place.before)
