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

tile by tile, where the last line of dx adds up overlapping tiles.  The second and the third share
the points of dy, as a backward pass does.

The points of a whole batch would go out to memory and back between the products, and the points of
a kernel are read anew for each block of images.  So, where the kernel's points are few, a thread
takes blocks as small as them, which stay in its cache.  Where they are many, blocks are large, and
threads share the images in the transforms and the points in the products: each reads its part of U
alone, and has all tiles for it.

A pixel that is not finite spreads over its tiles, further than in a plain convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import pool, threads
from .grids import Grid, Toom, grid_of, put
from .transforms import (
    input_to_points,
    kernel_to_points,
    output_to_points,
    points_to_input,
    points_to_kernel,
    points_to_output,
)

WORK = 1 << 18  # points of images that are transformed in one go: they stay in cache
NEAR = 5 << 17  # points that stay in cache with a kernel of as many
BLOCK = 3 << 23  # points of a block where the kernel has more

Map = Callable[[np.ndarray, "Toom", np.ndarray], None]  # from the first array into the last


class End(NamedTuple):
    """Images at one end of a correlation, their grid, and the maps to its points and back."""

    images: np.ndarray
    big: bool  # side of the geometry
    grid: Grid
    there: Map
    back: Map

    @property
    def channels(self) -> int:
        """Of the grid, where phases are channels."""
        return self.images.shape[3] * self.grid.phases

    def part(self, n: slice) -> End:
        """The same with some of the images."""
        return self._replace(images=self.images[n])


def end(images: np.ndarray, t: Toom, big: bool) -> End:
    """Images on the big or the small side: where the correlation begins, or where it ends."""
    if big != t.outward:
        return End(images, big, t.into, input_to_points, points_to_input)
    return End(images, big, t.out, output_to_points, points_to_output)


def convolve(
    source: End, t: Toom, work: float,
    kernel: np.ndarray | None = None, target: End | None = None, other: End | None = None,
) -> Any:  # fmt: skip
    """One or two passes from the points of the source, which are made once.

    target: the other side, written as the convolution of the source (or its adjoint, as the sides
        are), with the kernel (KH, KW, C, OC).
    other: images of the other side; what returns is the gradient of the kernel, from the pair.
    work: a rough time in seconds.
    """
    U: Any = None if kernel is None else kernel_to_points(kernel, t)  # (points, big, small)
    if U is not None and not source.big:
        U = U.transpose(0, 2, 1)
    sides = source.channels, (target or other or source).channels

    def block(n: slice) -> Any:
        P, dU = points_of(source.part(n), t, work), None
        if other is not None:
            dU = paired(P, points_of(other.part(n), t, work), source.big, work)
        if target is not None:
            images_from(product(P, U, work), target.part(n), t, work)
        return dU

    def share(blocks: list[slice]) -> Any:
        total: Any = None
        for n in blocks:
            dU = block(n)
            total = dU if total is None or dU is None else np.add(total, dU, out=total)
        return total

    total, *more = over_threads(share, len(source.images), t, sides, work)
    if other is None:
        return None
    for part in more:
        total += part
    return points_to_kernel(total, t)


def over_threads(
    share: Callable[[list[slice]], Any], images: int, t: Toom, channels: tuple[int, int],
    work: float,
) -> list[Any]:  # fmt: skip
    """share(blocks of images) on each thread, or of all on this one, where the steps are shared."""
    size = images_in_block(t, *channels, images)
    if is_near(t, *channels):
        return threads.run(lambda i, j: share(threads.blocks(i, j, size)), images, work)
    return [share(threads.blocks(0, images, size))]


def images_in_block(t: Toom, K: int, L: int, images: int) -> int:
    """How many of the images go through the points together, with K and L channels there."""
    fit = (NEAR if is_near(t, K, L) else BLOCK) // (t.points * t.tiles * (K + L))
    blocks = -(-images // max(1, fit))
    return -(-images // max(1, blocks))  # all of one size


def is_near(t: Toom, K: int, L: int) -> bool:
    """Whether the points of a kernel between K and L channels stay in cache."""
    return t.points * K * L <= NEAR


def product(P: np.ndarray, U: np.ndarray, work: float) -> np.ndarray:
    """P U for each point: (n, n, N, tiles, K), (points, K, L) -> (n, n, N, tiles, L)."""
    M = pool.empty((*P.shape[:4], U.shape[2]), P.dtype)
    p, m = flat(P), flat(M)
    threads.run(lambda i, j: np.matmul(p[i:j], U[i:j], out=m[i:j]), len(U), work)
    return M


def paired(P: np.ndarray, Q: np.ndarray, big: bool, work: float) -> np.ndarray:
    """The sum over images and tiles of the big side's points times the small's, for each point.

    (n, n, N, tiles, K), (n, n, N, tiles, L) -> (points, channels of the big side, of the small).
    """
    b, s = (P, Q) if big else (Q, P)
    b, s = flat(b).transpose(0, 2, 1), flat(s)
    dU = pool.empty((len(b), b.shape[1], s.shape[2]), P.dtype)
    threads.run(lambda i, j: np.matmul(b[i:j], s[i:j], out=dU[i:j]), len(dU), work)
    return dU


def flat(points: np.ndarray) -> np.ndarray:
    """(n, n, N, tiles, K) -> (points, N*tiles, K)."""
    n, p, N, tiles, K = points.shape
    return points.reshape(n * p, N * tiles, K)


def points_of(end: End, t: Toom, work: float) -> np.ndarray:
    """The points (n, n, N, tiles, K) of the images at an end, by way of its grid."""
    N, dtype = len(end.images), end.images.dtype
    points = pool.empty((t.rows.n, t.cols.n, N, t.tiles, end.channels), dtype)

    def share(first: int, last: int) -> None:
        for k in threads.blocks(first, last, images_at_once(points)):
            end.there(grid_of(end.images[k], end.grid), t, points[:, :, k])

    threads.run(share, N, work)
    return points


def images_from(points: np.ndarray, end: End, t: Toom, work: float) -> None:
    """The images at an end, written from their points by way of its grid."""
    (Q, P), a, b = end.grid.positions, end.grid.rows.step, end.grid.cols.step

    def share(first: int, last: int) -> None:
        for k in threads.blocks(first, last, images_at_once(points)):
            grid = pool.empty((k.stop - k.start, Q, a, P, b * end.images.shape[3]), points.dtype)
            end.back(points[:, :, k], t, grid)
            put(grid, end.images[k], end.grid)

    threads.run(share, len(end.images), work)


def images_at_once(points: np.ndarray) -> int:
    """Images of a block (n, n, N, tiles, K) whose points stay in cache."""
    return max(1, WORK * points.shape[2] // points.size)
