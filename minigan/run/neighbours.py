"""Nearest neighbours by brute force, in blocks that bound the memory.

Points are rows of numbers. |a - b|^2 = |a|^2 + |b|^2 - 2 a.b is computed in float64:
exactly for pixels, whose sums stay below 2^53; for floats after the mean of b is subtracted from
both, which changes no distance and keeps the terms small.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_ROWS = 1024  # of a block, at most
_VALUES = 1 << 23  # of a block's points, at most: 64 MB


def nearest(
    a: np.ndarray, b: np.ndarray, skip: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of a (N, F) the nearest row of b (M, F): its index, and the distance, both (N,).

    skip: for each row of a the index of a row of b that does not count, e.g. the same point.
    Of equally near rows the first is taken; of floats rounding may make another the nearer one.
    """
    found = np.zeros(len(a), np.int64)
    least = np.full(len(a), np.inf)
    for rows, columns, squares, _ in _blocks(a, b, skip):
        first = squares.argmin(axis=1)
        square = squares[np.arange(len(first)), first]
        better = square < least[rows]
        found[rows][better] = columns.start + first[better]
        least[rows][better] = square[better]
    return found, np.sqrt(least)


def distances(a: np.ndarray, b: np.ndarray, k: int, skip: np.ndarray | None = None) -> np.ndarray:
    """The distances of each row of a (N, F) to the k nearest rows of b (M, F): (N, k), rising.

    skip: as for nearest; there are k other rows at least.
    """
    least = np.full((len(a), k), np.inf)
    for rows, _, squares, _ in _blocks(a, b, skip):
        together = np.concatenate([least[rows], squares], axis=1)
        least[rows] = np.partition(together, k - 1, axis=1)[:, :k]
    return np.sqrt(np.sort(least, axis=1))


def radii(points: np.ndarray, k: int) -> np.ndarray:
    """The distance of each row (N, F) to the k-th nearest of the others: (N,). N is above k."""
    return distances(points, points, k, np.arange(len(points)))[:, -1]


def inside(
    points: np.ndarray, centres: np.ndarray, radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many balls hold each point (N, F), and how many points each ball holds: (N,) and (M,).

    centres (M, F), radius (M,): a ball holds what is no farther than its radius, to within the
    rounding of distances; so it holds the neighbour that gave it its radius.
    """
    balls, held = np.zeros(len(points), np.int64), np.zeros(len(centres), np.int64)
    for rows, columns, squares, rounding in _blocks(points, centres):
        hits = squares <= radius[columns] ** 2 + 2 * rounding  # the radius is rounded too
        balls[rows] += hits.sum(axis=1)
        held[columns] += hits.sum(axis=0)
    return balls, held


def _blocks(
    a: np.ndarray, b: np.ndarray, skip: np.ndarray | None = None
) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray]]:
    """(rows of a, rows of b, their squared distances, bounds of the rounding) block by block.

    A sum of F products is off by F/2 eps |a||b| at most, so all three by F eps (|a|^2 + |b|^2);
    a few eps more are for the additions, the centre and the root.
    """
    size = max(1, min(_ROWS, _VALUES // max(1, a.shape[1])))
    centre = b.mean(axis=0, dtype=np.float64) if b.dtype.kind == "f" else np.float64(0)
    eps = (a.shape[1] + 8) * np.finfo(np.float64).eps
    for i in range(0, len(a), size):
        x = a[i : i + size] - centre
        xx = (x * x).sum(axis=1)
        rows = slice(i, i + len(x))
        for j in range(0, len(b), size):
            y = b[j : j + size] - centre
            yy = (y * y).sum(axis=1)
            columns = slice(j, j + len(y))
            squares, rounding = x @ y.T, xx[:, None] + yy
            squares *= -2  # in place, as blocks are large
            squares += rounding
            rounding *= eps
            squares[squares < rounding] = 0  # the same point, or below what can be told
            if skip is not None:
                own = skip[rows] - j
                here = np.flatnonzero((own >= 0) & (own < len(y)))
                squares[here, own[here]] = np.inf
            yield rows, columns, squares, rounding
