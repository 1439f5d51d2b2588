"""The three convolution passes, in blocks of images that stay in cache, a share a thread.

A pass is a list of pieces.  A piece pairs the windows of a source array with a sub-grid of pixels
of a target array; between them stands a matrix cut out of the kernel:

    target[grid] = columns(source, windows) @ matrix          conv2d, conv2d_adjoint
    d matrix     = columns(source, windows)^T @ target[grid]  conv2d_dkernel

conv2d is one piece: all taps, all pixels.  conv2d_adjoint has one piece for each phase of the
stride (geometry.phases): pixels of one residue read the same taps, so the result is written once,
without a scatter.  The gradient of the kernel may use either list, since both describe the same
pairs of pixels: it gathers the side with fewer channels.

Wide convolutions run by Cook and Toom instead (toom.py), which also makes both passes of a backward
at once.  A convolution with few output channels is dearest in its windows, and turns round: product
first, then one shifted add for each tap (`scatter`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..geometry import Geometry, Windows, phases, reach
from ..geometry import windows as windows_of
from . import plan, pool, threads, toom
from .grids import Toom
from .windows import columns, halo

Grid = tuple[slice, slice]
STRIP = 32  # columns that are turned into rows in one go: they share the lines of the cache


class Piece(NamedTuple):
    """rows, cols: the windows of the source; grid: pixels of the target; taps: of the kernel."""

    rows: Windows
    cols: Windows
    grid: Grid
    taps: Grid


def whole(geo: Geometry) -> list[Piece]:
    """conv2d: every window of the big side, every pixel of the small side, every tap."""
    everything = (slice(None), slice(None))
    return [Piece(windows_of(geo.rows), windows_of(geo.cols), everything, everything)]


def by_phase(geo: Geometry) -> list[Piece]:
    """conv2d_adjoint: for each phase, windows of the small side and pixels of the big side."""
    (_, _, _, sh, _), (_, _, _, sw, _) = geo
    return [
        Piece(
            r.windows,
            c.windows,
            grid=(slice(r.first, None, sh), slice(c.first, None, sw)),
            taps=(slice(r.tap, None, sh), slice(c.tap, None, sw)),
        )
        for r in phases(geo.rows)
        for c in phases(geo.cols)
    ]


def conv2d(x: np.ndarray, kernel: np.ndarray, geo: Geometry) -> np.ndarray:
    """(N, H, W, C), (KH, KW, C, OC) -> (N, OH, OW, OC)."""
    KH, KW, C, OC = kernel.shape
    shape = plan.Shape(C, OC, geo, len(x))
    path = plan.forward(shape)
    if path.toom:
        return by_toom(x, path.toom, shape, False, kernel)[0]
    if path.form == "scatter":
        turned = Geometry(geo.rows.flipped(), geo.cols.flipped())
        return scatter(x, kernel[::-1, ::-1].transpose(0, 1, 3, 2), turned)
    y = pool.empty((len(x), geo.rows.out, geo.cols.out, OC), x.dtype)
    _apply(x, [(p, kernel.reshape(KH * KW * C, OC)) for p in whole(geo)], y, shape)
    return y


def conv2d_adjoint(y: np.ndarray, kernel: np.ndarray, geo: Geometry) -> np.ndarray:
    """(N, OH, OW, OC), (KH, KW, C, OC) -> (N, H, W, C)."""
    C, OC = kernel.shape[2:]
    shape = plan.Shape(C, OC, geo, len(y))
    path = plan.adjoint(shape)
    if path.toom:
        return by_toom(y, path.toom, shape, True, kernel)[0]
    if path.form == "scatter":
        return scatter(y, kernel, geo)
    x = pool.empty((len(y), geo.rows.size, geo.cols.size, C), y.dtype)
    _apply(y, [(p, _phase_matrix(kernel, p)) for p in by_phase(geo)], x, shape)
    return x


def conv2d_dkernel(x: np.ndarray, dy: np.ndarray, geo: Geometry) -> np.ndarray:
    """(N, H, W, C), (N, OH, OW, OC) -> (KH, KW, C, OC)."""
    C, OC, KH, KW = x.shape[-1], dy.shape[-1], geo.rows.kernel, geo.cols.kernel
    shape = plan.Shape(C, OC, geo, len(x))
    path = plan.dkernel(shape)
    if path.toom:
        return by_toom(x, path.toom, shape, False, other=dy)[1]
    if path.form == "big":
        (matrix,) = _pair(x, whole(geo), dy, shape)
        return matrix.reshape(KH, KW, C, OC)
    pieces = by_phase(geo)
    dkernel = pool.zeros((KH, KW, C, OC), x.dtype)
    for piece, matrix in zip(pieces, _pair(dy, pieces, x, shape), strict=True):
        taps = matrix.reshape(piece.rows.taps, piece.cols.taps, OC, C)[::-1, ::-1]
        dkernel[piece.taps] = taps.transpose(0, 1, 3, 2)  # (taps, taps, C, OC)
    return dkernel


def conv2d_gradients(
    x: np.ndarray, dy: np.ndarray, kernel: np.ndarray, geo: Geometry
) -> tuple[np.ndarray, np.ndarray]:
    """conv2d_adjoint(dy, kernel) and conv2d_dkernel(x, dy): the backward pass of conv2d."""
    return _gradients(dy, x, kernel, geo, to_big=True)


def conv2d_adjoint_gradients(
    y: np.ndarray, dx: np.ndarray, kernel: np.ndarray, geo: Geometry
) -> tuple[np.ndarray, np.ndarray]:
    """conv2d(dx, kernel) and conv2d_dkernel(dx, y): the backward pass of conv2d_adjoint."""
    return _gradients(dx, y, kernel, geo, to_big=False)


def _gradients(
    given: np.ndarray, other: np.ndarray, kernel: np.ndarray, geo: Geometry, to_big: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(the given gradient taken to the other side, the kernel's gradient)."""
    big, small = (other, given) if to_big else (given, other)
    shape = plan.Shape(big.shape[-1], small.shape[-1], geo, len(big))
    t = plan.gradients(shape, "adjoint" if to_big else "forward")
    if t is None:
        taken = (conv2d_adjoint if to_big else conv2d)(given, kernel, geo)
        return taken, conv2d_dkernel(big, small, geo)
    return by_toom(given, t, shape, to_big, kernel, other)


def by_toom(
    given: np.ndarray, t: Toom, shape: plan.Shape, to_big: bool,
    kernel: np.ndarray | None = None, other: np.ndarray | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """(given taken to the other side by the kernel, the kernel's gradient with `other` there)."""
    taken = target = None
    if kernel is not None:
        rows, cols = shape.geo
        sides = (rows.size, cols.size) if to_big else (rows.out, cols.out)
        channels = shape.channels if to_big else shape.out_channels
        taken = pool.empty((len(given), *sides, channels), given.dtype)
        target = toom.end(taken, t, to_big)
    pair = None if other is None else toom.end(other, t, to_big)
    source = toom.end(given, t, not to_big)
    return taken, toom.convolve(source, t, plan.seconds(shape), kernel, target, pair)


def _phase_matrix(kernel: np.ndarray, piece: Piece) -> np.ndarray:
    """The phase's taps in reverse order: (KH, KW, C, OC) -> (taps*taps*OC, C)."""
    taps = kernel[piece.taps][::-1, ::-1]
    turned = pool.empty((*taps.shape[:2], taps.shape[3], taps.shape[2]), kernel.dtype)
    for c in range(0, taps.shape[2], STRIP):  # (taps, taps, C, OC) -> (taps, taps, OC, C)
        turned[..., c : c + STRIP] = taps[:, :, c : c + STRIP].swapaxes(2, 3)
    return turned.reshape(-1, kernel.shape[2])


def _apply(
    source: np.ndarray, pieces: list[tuple[Piece, np.ndarray]], target: np.ndarray,
    shape: plan.Shape,
) -> None:  # fmt: skip
    """target[grid] = columns(source, windows) @ matrix, for every piece."""
    height = max(p.rows.number for p, _ in pieces)
    width = max(p.cols.number for p, _ in pieces)
    depth = max(len(matrix) for _, matrix in pieces)
    kernel = max(matrix.size for _, matrix in pieces)

    def share(first: int, last: int) -> None:
        size = plan.images_per_block(height * width, depth, kernel)
        for n in threads.blocks(first, last, size):
            block, moved = _with_halo(source[n], [p for p, _ in pieces])
            for piece, (_, matrix) in zip(moved, pieces, strict=True):
                for r in threads.blocks(0, piece.rows.number, _rows(piece, depth, kernel)):
                    windows = columns(block, piece.rows.part(r.start, r.stop), piece.cols)
                    _product(windows, matrix, target[(n, *piece.grid)][:, r])

    threads.run(share, len(source), plan.seconds(shape))


def _with_halo(x: np.ndarray, pieces: list[Piece]) -> tuple[np.ndarray, list[Piece]]:
    """The images with the zeros that the pieces' windows reach, and the pieces seen from there."""
    rows, cols = reach([p.rows for p in pieces]), reach([p.cols for p in pieces])
    moved = [
        p._replace(rows=p.rows.seen_from(rows[0]), cols=p.cols.seen_from(cols[0])) for p in pieces
    ]
    return halo(x, *rows, *cols), moved


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out[n, h, w, c] = a @ b, straight into place where the pixels of `out` are contiguous."""
    if not b.size:
        out[...] = 0  # a phase that no tap reaches
    elif out.flags.c_contiguous:
        np.matmul(a, b, out=out.reshape(len(a), -1))
    else:
        product = pool.empty(out.shape, out.dtype)
        np.matmul(a, b, out=product.reshape(len(a), -1))
        out[...] = product


def _pair(
    source: np.ndarray, pieces: list[Piece], target: np.ndarray, shape: plan.Shape
) -> list[np.ndarray]:
    """[columns(source, windows)^T @ target[grid] for every piece], summed in a fixed order."""
    width = target.shape[-1]
    depth = max(p.rows.taps * p.cols.taps for p in pieces) * source.shape[-1]
    most = max(p.rows.number * p.cols.number for p in pieces)

    def share(first: int, last: int) -> list[np.ndarray]:
        sums = [
            pool.zeros((p.rows.taps * p.cols.taps * source.shape[-1], width), target.dtype)
            for p in pieces
        ]
        size = plan.images_per_block(most, depth, depth * width)
        for n in threads.blocks(first, last, size):
            block, moved = _with_halo(source[n], pieces)
            for piece, total in zip(moved, sums, strict=True):
                for r in threads.blocks(0, piece.rows.number, _rows(piece, depth, depth * width)):
                    a = columns(block, piece.rows.part(r.start, r.stop), piece.cols)
                    pixels = target[(n, *piece.grid)][:, r].reshape(len(a), width)
                    total += np.matmul(a.T, pixels, out=pool.empty(total.shape, total.dtype))
        return sums

    work = plan.seconds(shape)
    parts = threads.run(share, len(source), work)
    for part in parts[1:]:
        for total, more in zip(parts[0], part, strict=True):
            total += more
    return parts[0]


def scatter(y: np.ndarray, kernel: np.ndarray, geo: Geometry) -> np.ndarray:
    """conv2d_adjoint for few channels C: x[s*o + t - before] += y[o] K[t]^T, tap by tap.

    The product is made with the pixels last, (KH*KW*C, OC) @ (OC, pixels), so that the adds run
    along rows of pixels.
    """
    KH, KW, C, OC = kernel.shape
    (rows, cols), N = geo, len(y)
    matrix = np.ascontiguousarray(kernel).reshape(KH * KW * C, OC)
    height = max(rows.before + rows.size, (rows.out - 1) * rows.stride + KH)
    width = max(cols.before + cols.size, (cols.out - 1) * cols.stride + KW)
    x = pool.empty((N, rows.size, cols.size, C), y.dtype)

    def share(first: int, last: int) -> None:
        size = plan.images_per_block(rows.out * cols.out, KH * KW * C)
        for n in threads.blocks(first, last, size):
            pixels = y[n].reshape(-1, OC).T
            taps = pool.empty((len(matrix), pixels.shape[1]), y.dtype)
            taps = np.matmul(matrix, pixels, out=taps).reshape(
                KH, KW, C, n.stop - n.start, rows.out, cols.out
            )
            image = pool.zeros((C, n.stop - n.start, height, width), y.dtype)
            for i in range(KH):
                down = slice(i, i + (rows.out - 1) * rows.stride + 1, rows.stride)
                for j in range(KW):
                    right = slice(j, j + (cols.out - 1) * cols.stride + 1, cols.stride)
                    image[:, :, down, right] += taps[i, j]
            image = image[:, :, rows.before :, cols.before :][:, :, : rows.size, : cols.size]
            x[n] = image.transpose(1, 2, 3, 0)  # (C, N, H, W) -> (N, H, W, C)

    work = plan.seconds(plan.Shape(C, OC, geo, N))
    threads.run(share, N, work)
    return x


def _rows(piece: Piece, depth: int, kernel: int) -> int:
    return plan.rows_per_block(piece.rows.number, piece.cols.number, depth, kernel)
