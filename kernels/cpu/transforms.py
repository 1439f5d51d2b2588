"""The transforms of Cook and Toom on tiles and on kernels, each with its adjoint.

    input_to_points    V = B^T x B        points_to_input     dx = B V B^T, overlapping tiles added
    points_to_output   y = A^T M A        output_to_points    M = A dy A^T
    kernel_to_points   U = G K G^T        points_to_kernel    dK = G^T dU G

cooktoom.py has A, B and G; grids.py the grids (N, positions, row phases, positions, column
phases*C).  Each of the first four is one product along the rows of all tiles, and one along the
columns of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import as_strided

from . import pool, threads
from .grids import Side, Toom

STRIP = 1 << 12  # columns of a kernel that are transformed in one go: they stay in cache
ELEMENT = 2e-10  # seconds for an element of a kernel's points, for deciding whether threads pay


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


def kernel_to_points(kernel: np.ndarray, t: Toom) -> np.ndarray:
    """U = G K G^T: (KH, KW, C, OC) -> (points, phases*C, OC)."""
    C, OC = kernel.shape[2:]
    (rows, cols), (r, s, q, p) = t.geo, phases_of_taps(t)
    padded = kernel
    if (rows.kernel, cols.kernel) != (r * s, q * p):
        padded = pool.zeros((r * s, q * p, C, OC), kernel.dtype)
        padded[: rows.kernel, : cols.kernel] = kernel
    taps = turned(padded.reshape(r, s, q, p, C * OC), t)
    U = pool.empty((t.points, s, p, C * OC), kernel.dtype)
    G = both_sides(t, kernel.dtype)

    def strip(a: int, b: int, c: slice) -> None:
        np.matmul(G, taps[:, a, :, b, c].reshape(r * q, -1), out=U[:, a, b, c])

    by_strips(strip, U.shape)
    return U.reshape(t.points, s * p * C, OC)


def points_to_kernel(dU: np.ndarray, t: Toom) -> np.ndarray:
    """The adjoint: (points, phases*C, OC) -> (KH, KW, C, OC)."""
    (rows, cols), (r, s, q, p), OC = t.geo, phases_of_taps(t), dU.shape[2]
    dU = dU.reshape(t.points, s, p, -1)
    kernel = pool.empty((r, s, q, p, dU.shape[3]), dU.dtype)
    taps, GT = turned(kernel, t), both_sides(t, dU.dtype).T

    def strip(a: int, b: int, c: slice) -> None:
        taps[:, a, :, b, c] = (GT @ dU[:, a, b, c]).reshape(r, q, -1)

    by_strips(strip, dU.shape)
    whole = kernel.reshape(r * s, q * p, -1, OC)
    return np.ascontiguousarray(whole[: rows.kernel, : cols.kernel])


def phases_of_taps(t: Toom) -> tuple[int, int, int, int]:
    """(r, s, q, p): tap s*u + a is tap u of r in phase a of s, and so along columns."""
    rows, cols = t.geo
    return t.rows.r, rows.stride, t.cols.r, cols.stride


def turned(taps: np.ndarray, t: Toom) -> np.ndarray:
    """The taps (r, s, q, p, ...) in the order in which the correlation meets them."""
    return taps[::-1, :, ::-1] if t.outward else taps


def by_strips(strip: Callable[[int, int, slice], None], shape: tuple[int, ...]) -> None:
    """strip(row phase, column phase, columns) for all of (points, s, p, columns)."""
    _, s, p, width = shape

    def share(first: int, last: int) -> None:
        for c in threads.blocks(first, last, STRIP):
            for a in range(s):
                for b in range(p):
                    strip(a, b, c)

    threads.run(share, width, math.prod(shape) * ELEMENT)


def both_sides(t: Toom, dtype: np.dtype) -> np.ndarray:
    """G of the rows and of the columns, as one matrix (points, r*r)."""
    return np.kron(t.rows.matrix("G", dtype), t.cols.matrix("G", dtype))
