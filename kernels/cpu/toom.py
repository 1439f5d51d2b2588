"""Convolutions by Cook and Toom: fewer multiplications, as three products.

Every pass is a correlation of stride 1 between two grids.  With stride s, write pixel i of the big
side as i + before = s*q + a; its phases a become channels:

    inwards     small y[o]  = sum over u, a of  X[o+u, a] K[s*u + a]
    outwards    big X[q, a] = sum over u of     y[q-u] K[s*u + a]

Both have r = ceil(k/s) taps and s*s*C channels on the big side.  Either direction serves all three
passes, since a correlation has an adjoint and a gradient by its kernel (cooktoom.py has A, B, G):

    y = corr(x, K)        V = B^T x B    M = V U for each point    y = A^T M A      U = G K G^T
    dx = corr^T(dy, K)    M = A dy A^T   V = M U^T                 dx = B V B^T
    dK                    V of x, M of dy, dU = V^T M for each point, dK = G^T dU G

tile by tile, where the last line of dx adds up overlapping tiles.

A pixel that is not finite spreads over its tiles, further than in a plain convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..cooktoom import transforms
from ..geometry import Axis, Geometry
from . import pool, threads
from .product import matmul
from .windows import halo

WORK = 1 << 18  # points of images that are transformed in one go: they stay in cache
TILES = 384  # tiles of a block: enough rows for the product of a point
BLOCK = 1 << 23  # points of a block at the most

Map = Callable[[np.ndarray, "Toom", np.ndarray], None]  # from the first array into the last


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


# the four maps, each on a few images: one product along the rows of all tiles, and one along the
# columns of each


def input_to_points(grid: np.ndarray, t: Toom, V: np.ndarray) -> None:
    """V = B^T grid B: (N, Q, a, P, L) -> (n, n, N, tiles, a*L)."""
    rows, cols = t.rows, t.cols
    N, _, a, P, L = grid.shape
    sn, sq, sa, _, sl = grid.strides
    row_windows = view(  # the rows of each tile, which overlap: no copy
        grid, (N, rows.tiles, a, rows.n, P * L), (sn, sq * rows.m, sa, sq, sl)
    )
    d = pool.empty(row_windows.shape, grid.dtype)
    np.matmul(rows.matrix("B", grid.dtype).T, row_windows, out=d)
    *row, item = d.strides
    col_windows = view(
        d,
        (N, rows.tiles, a, rows.n, cols.tiles, cols.n, L),
        (*row, item * L * cols.m, item * L, item),
    )
    np.matmul(cols.matrix("B", grid.dtype).T, col_windows, out=by_tiles(V, t, a))


def points_to_input(V: np.ndarray, t: Toom, grid: np.ndarray) -> None:
    """The adjoint: grid = sum over the tiles of B V B^T."""
    rows, cols = t.rows, t.cols
    N, Q, a, P, L = grid.shape
    d = pool.empty((N, rows.tiles, a, rows.n, cols.tiles, cols.n, L), grid.dtype)
    np.matmul(cols.matrix("B", grid.dtype), by_tiles(V, t, a), out=d)
    e = pool.empty((N, rows.tiles, a, rows.n, P, L), grid.dtype)
    overlap_add(d, e, cols)
    f = pool.empty((N, rows.tiles, rows.n, a, P * L), grid.dtype)
    np.matmul(
        rows.matrix("B", grid.dtype),
        e.reshape(N, rows.tiles, a, rows.n, P * L),
        out=f.transpose(0, 1, 3, 2, 4),  # (N, tiles, a, n, P*L)
    )
    overlap_add(f.reshape(N, rows.tiles, rows.n, -1), grid.reshape(N, Q, -1), rows)


def overlap_add(tiles: np.ndarray, line: np.ndarray, side: Side) -> None:
    """Tiles of n positions (..., tiles, n, L), m apart, added up: (..., positions, L)."""
    line[..., side.written :, :] = 0
    for j in range(side.n):
        part = line[..., j : j + side.m * (side.tiles - 1) + 1 : side.m, :]
        if j < side.m:
            part[...] = tiles[..., j, :]
        else:  # where a tile reaches into the next
            part += tiles[..., j, :]


def points_to_output(M: np.ndarray, t: Toom, grid: np.ndarray) -> None:
    """grid = A^T M A: (n, n, N, tiles, a*L) -> (N, Q, a, P, L)."""
    rows, cols = t.rows, t.cols
    N, _, a, P, L = grid.shape
    d = pool.empty((N, rows.tiles, rows.n, a, cols.tiles, cols.m, L), grid.dtype)
    turned = by_tiles(M, t, a).transpose(0, 1, 3, 2, 4, 5, 6)  # (N, tiles, n, a, tiles, n, L)
    np.matmul(cols.matrix("A", grid.dtype).T, turned, out=d)
    np.matmul(
        rows.matrix("A", grid.dtype).T,
        d.reshape(N, rows.tiles, rows.n, a * P * L),
        out=grid.reshape(N, rows.tiles, rows.m, a * P * L),
    )


def output_to_points(grid: np.ndarray, t: Toom, M: np.ndarray) -> None:
    """The adjoint: M = A grid A^T."""
    rows, cols = t.rows, t.cols
    N, _, a, P, L = grid.shape
    d = pool.empty((N, rows.tiles, rows.n, a * P * L), grid.dtype)
    np.matmul(rows.matrix("A", grid.dtype), grid.reshape(N, rows.tiles, rows.m, a * P * L), out=d)
    split = d.reshape(N, rows.tiles, rows.n, a, cols.tiles, cols.m, L)
    turned = by_tiles(M, t, a).transpose(0, 1, 3, 2, 4, 5, 6)  # (N, tiles, n, a, tiles, n, L)
    np.matmul(cols.matrix("A", grid.dtype), split, out=turned)


def by_tiles(V: np.ndarray, t: Toom, a: int) -> np.ndarray:
    """(n, n, N, tiles, a*L) as (N, row tiles, a, row points, column tiles, column points, L)."""
    n, p, N, _, K = V.shape
    split = V.reshape(n, p, N, t.rows.tiles, t.cols.tiles, a, K // a)
    return split.transpose(2, 3, 5, 0, 4, 1, 6)


def view(a: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """A read-only view, whose elements may stand in it several times."""
    return as_strided(a, shape, strides, writeable=False)


# kernels


def kernel_to_points(kernel: np.ndarray, t: Toom) -> np.ndarray:
    """U = G K G^T: (KH, KW, C, OC) -> (points, channels in, channels out)."""
    (KH, KW, C, OC), (rows, cols) = kernel.shape, t.geo
    r, q, s, p = t.rows.r, t.cols.r, rows.stride, cols.stride
    padded = np.zeros((r * s, q * p, C, OC), kernel.dtype)
    padded[:KH, :KW] = kernel
    taps = padded.reshape(r, s, q, p, C, OC)
    if t.outward:  # the taps turned round
        taps = taps[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)  # (r, q, OC, s, p, C)
        channels = OC, s * p * C
    else:
        taps = taps.transpose(0, 2, 1, 3, 4, 5)  # (r, q, s, p, C, OC)
        channels = s * p * C, OC
    taps = np.ascontiguousarray(taps).reshape(r * q, -1)
    return matmul(both_sides(t, kernel.dtype), taps).reshape(t.points, *channels)


def points_to_kernel(dU: np.ndarray, t: Toom) -> np.ndarray:
    """The adjoint: (points, channels in, channels out) -> (KH, KW, C, OC)."""
    rows, cols = t.geo
    r, q, s, p = t.rows.r, t.cols.r, rows.stride, cols.stride
    taps = matmul(both_sides(t, dU.dtype).T, dU.reshape(t.points, -1))
    if t.outward:
        OC = dU.shape[1]
        taps = taps.reshape(r, q, OC, s, p, -1)[::-1, ::-1].transpose(0, 3, 1, 4, 5, 2)
    else:
        OC = dU.shape[2]
        taps = taps.reshape(r, q, s, p, -1, OC).transpose(0, 2, 1, 3, 4, 5)
    kernel = taps.reshape(r * s, q * p, -1, OC)  # (r, s, q, p, C, OC)
    return np.ascontiguousarray(kernel[: rows.kernel, : cols.kernel])


def both_sides(t: Toom, dtype: np.dtype) -> np.ndarray:
    """G of the rows and of the columns, as one matrix (points, r*r)."""
    return np.kron(t.rows.matrix("G", dtype), t.cols.matrix("G", dtype))


# the passes


def correlate(x: np.ndarray, kernel: np.ndarray, t: Toom, y: np.ndarray, work: float) -> None:
    """y = the correlation of x with the kernel (KH, KW, C, OC)."""
    U = kernel_to_points(kernel, t)
    through(x, (input_to_points, t.into), U, y, (points_to_output, t.out), t, work)


def correlate_adjoint(
    dy: np.ndarray, kernel: np.ndarray, t: Toom, dx: np.ndarray, work: float
) -> None:
    """dx = the adjoint of correlate, applied to dy."""
    U = kernel_to_points(kernel, t).transpose(0, 2, 1)
    through(dy, (output_to_points, t.out), U, dx, (points_to_input, t.into), t, work)


def through(
    source: np.ndarray, there: tuple[Map, Grid], U: np.ndarray,
    target: np.ndarray, back: tuple[Map, Grid], t: Toom, work: float,
) -> None:  # fmt: skip
    """target = back(there(source) U)."""

    def share(first: int, last: int) -> None:
        for n in threads.blocks(first, last, images_in_block(t, U.shape[1] + U.shape[2])):
            points = product(to_points(source[n], *there, t), U)
            from_points(points, *back, t, target[n])

    threads.run(share, len(source), work)


def correlate_dkernel(x: np.ndarray, dy: np.ndarray, t: Toom, work: float) -> np.ndarray:
    """The gradient of sum(dy * correlate(x, kernel)) by the kernel: (KH, KW, C, OC)."""
    channels = t.into.phases * x.shape[3] + t.out.phases * dy.shape[3]

    def share(first: int, last: int) -> np.ndarray:
        total: Any = None
        for n in threads.blocks(first, last, images_in_block(t, channels)):
            V = to_points(x[n], input_to_points, t.into, t)
            M = to_points(dy[n], output_to_points, t.out, t)
            v, m = V.reshape(t.points, -1, V.shape[4]), M.reshape(t.points, -1, M.shape[4])
            more = pool.empty((t.points, v.shape[2], m.shape[2]), v.dtype)
            np.matmul(v.transpose(0, 2, 1), m, out=more)
            total = more if total is None else np.add(total, more, out=total)
        return total

    sums = threads.run(share, len(x), work)
    for more in sums[1:]:
        sums[0] += more
    return points_to_kernel(sums[0], t)


def images_in_block(t: Toom, channels: int) -> int:
    """Images with enough tiles for the products, as far as their points fit.

    channels: of both grids.
    """
    fit = BLOCK // (t.points * t.tiles * channels)
    return max(1, min(-(-TILES // t.tiles), fit))


def parts(points: np.ndarray) -> list[slice]:
    """The images of a block (n, n, N, tiles, K), a few at a time."""
    N = points.shape[2]
    return threads.blocks(0, N, max(1, WORK * N // points.size))


def to_points(images: np.ndarray, transform: Map, g: Grid, t: Toom) -> np.ndarray:
    """The points (n, n, N, tiles, K) of a block of images, by way of its grid."""
    K = images.shape[3] * g.phases
    points = pool.empty((t.rows.n, t.cols.n, len(images), t.tiles, K), images.dtype)
    for n in parts(points):
        transform(grid_of(images[n], g), t, points[:, :, n])
    return points


def from_points(points: np.ndarray, transform: Map, g: Grid, t: Toom, images: np.ndarray) -> None:
    """The images of a block of points, by way of its grid."""
    (Q, P), a, L = g.positions, g.rows.step, g.cols.step * images.shape[3]
    for n in parts(points):
        grid = pool.empty((n.stop - n.start, Q, a, P, L), images.dtype)
        transform(points[:, :, n], t, grid)
        put(grid, images[n], g)


def product(V: np.ndarray, U: np.ndarray) -> np.ndarray:
    """V U for each point: (n, n, N, tiles, K), (points, K, L) -> (n, n, N, tiles, L)."""
    M = pool.empty((*V.shape[:4], U.shape[2]), V.dtype)
    np.matmul(V.reshape(len(U), -1, V.shape[4]), U, out=M.reshape(len(U), -1, U.shape[2]))
    return M
