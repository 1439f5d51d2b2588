"""Pooling and nearest upsampling: a few passes over strided views, tap by tap, over threads."""

from __future__ import annotations

import numpy as np

from .. import reference
from ..geometry import Geometry, windows
from . import pool, threads
from .elementwise import ELEMENT
from .windows import window_view

average_pool2d = reference.average_pool2d
average_pool2d_adjoint = reference.average_pool2d_adjoint
resample2d = reference.resample2d


def _tiles(geo: Geometry) -> bool:
    """Windows that neither overlap nor leave the image: pixels belong to one window at most."""
    return all(
        a.stride >= a.kernel and a.before == 0 and (a.out - 1) * a.stride + a.kernel <= a.size
        for a in geo
    )


def max_pool2d(x: np.ndarray, geo: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """(N, H, W, C) -> maxima and winning taps (N, OH, OW, C); the first of equal values wins.

    Where a value is not a number, all runs on the definition, which says what wins then.
    """
    if not _tiles(geo):
        return reference.max_pool2d(x, geo)
    rows, cols = geo
    shape = (len(x), rows.out, cols.out, x.shape[-1])
    best = pool.empty(shape, x.real.dtype)
    winner = pool.empty(shape, np.uint8 if rows.kernel * cols.kernel < 256 else np.intp)

    def share(first: int, last: int) -> bool:
        numbers = True
        for n in range(first, last):
            taps = window_view(x[n : n + 1].real, windows(rows), windows(cols))[0]
            numbers &= _winners(taps, best[n], winner[n])
        return numbers

    if not all(threads.run(share, len(x), x.size * ELEMENT)):
        return reference.max_pool2d(x, geo)  # there the first that is not a number wins
    return (max_pool2d_tangent(x, winner, geo) if x.dtype.kind == "c" else best), winner


def _winners(taps: np.ndarray, most: np.ndarray, who: np.ndarray) -> bool:
    """Maxima and winners of one image's windows (OH, OW, KH, KW, C); whether all are numbers."""
    most[...] = taps[:, :, 0, 0]
    who[...] = 0
    better, late = np.empty(most.shape, bool), np.empty_like(who)
    for t in range(1, taps.shape[2] * taps.shape[3]):
        value = taps[:, :, t // taps.shape[3], t % taps.shape[3]]  # (OH, OW, C)
        np.greater(value, most, out=better)
        np.maximum(most, value, out=most)
        np.multiply(better.view(np.uint8), who.dtype.type(t), out=late)
        np.maximum(who, late, out=who)  # t rises
    return not np.isnan(most.max(initial=-np.inf))


def max_pool2d_adjoint(dy: np.ndarray, winner: np.ndarray, geo: Geometry) -> np.ndarray:
    """Each dy goes to the pixel that won: (N, OH, OW, C) -> (N, H, W, C)."""
    if not _tiles(geo):
        return reference.max_pool2d_adjoint(dy, winner, geo)
    rows, cols = geo
    covered = all(a.out * a.kernel == a.size for a in geo)
    new = pool.empty if covered else pool.zeros
    dx = new((len(dy), rows.size, cols.size, dy.shape[-1]), dy.dtype)

    def share(first: int, last: int) -> None:
        for n in range(first, last):
            for t in range(rows.kernel * cols.kernel):
                _, down, right = reference.tap(geo, t // cols.kernel, t % cols.kernel)
                np.multiply(dy[n], winner[n] == t, out=dx[n, down, right])

    threads.run(share, len(dy), dx.size * ELEMENT)
    return dx


def max_pool2d_tangent(tx: np.ndarray, winner: np.ndarray, geo: Geometry) -> np.ndarray:
    """tx at the pixels that won: (N, H, W, C) -> (N, OH, OW, C)."""
    if not _tiles(geo):
        return reference.max_pool2d_tangent(tx, winner, geo)
    cols = geo.cols
    ty = pool.empty(winner.shape, tx.dtype)

    def share(first: int, last: int) -> None:
        for n in range(first, last):
            for t in range(geo.rows.kernel * cols.kernel):
                _, down, right = reference.tap(geo, t // cols.kernel, t % cols.kernel)
                np.copyto(ty[n], tx[n, down, right], where=winner[n] == t)

    threads.run(share, len(tx), tx.size * ELEMENT)
    return ty


def upsample2d(x: np.ndarray, factor: tuple[int, int]) -> np.ndarray:
    """Every pixel becomes a block: (N, H, W, C) -> (N, fh*H, fw*W, C)."""
    (N, H, W, C), (fh, fw) = x.shape, factor
    y = pool.empty((N, H, fh, W, fw, C), x.dtype)

    def share(first: int, last: int) -> None:
        y[first:last] = x[first:last, :, None, :, None, :]

    threads.run(share, N, y.size * ELEMENT)
    return y.reshape(N, H * fh, W * fw, C)


def upsample2d_adjoint(dy: np.ndarray, factor: tuple[int, int]) -> np.ndarray:
    """The sum over each block: (N, fh*H, fw*W, C) -> (N, H, W, C)."""
    (N, H, W, C), (fh, fw) = dy.shape, factor
    dx = pool.empty((N, H // fh, W // fw, C), dy.dtype)

    def share(first: int, last: int) -> None:
        part = dx[first:last]
        part[...] = dy[first:last, ::fh, ::fw]
        for i in range(fh):
            for j in range(fw):
                if i or j:
                    part += dy[first:last, i::fh, j::fw]

    threads.run(share, N, dy.size * ELEMENT)
    return dx
