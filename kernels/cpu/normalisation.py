"""Sums over the pixels, and BatchNorm's passes, in blocks over threads.

Sums are taken block by block and the blocks added in order, which keeps both the rounding error
of float32 and the dependence on timing out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import pool, threads
from .elementwise import ELEMENT, each, matrices

ROWS = 512  # rows summed in one run before the partial sums are added


def _sums(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """The sum of function(*blocks) over blocks of rows: arrays (M, C) -> (C,)."""
    rows, size = len(arrays[0]), arrays[0].size

    def share(first: int, last: int) -> np.ndarray:
        parts = [
            function(*(a[k : min(k + ROWS, last)] for a in arrays))
            for k in range(first, last, ROWS)
        ]
        return np.add.reduce(parts, axis=0)

    return np.add.reduce(threads.run(share, rows, size * ELEMENT), axis=0)


def _matrix(a: np.ndarray) -> np.ndarray:
    return a.reshape(-1, a.shape[-1])


def column_sums(a: np.ndarray) -> np.ndarray:
    """The sum over all axes but the last: (..., C) -> (C,)."""
    if a.shape[-1] == 1:
        return a.sum().reshape(1)
    return _sums(lambda a: np.einsum("ij->j", a), _matrix(a))


def product_sums(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum of a*b over all axes but the last: (..., C), (..., C) -> (C,)."""
    return _sums(lambda a, b: np.einsum("ij,ij->j", a, b), _matrix(a), _matrix(b))


def batch_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and (biased) variance over all axes but the last: (..., C) -> (C,), (C,)."""
    rows = _matrix(x)
    mean = column_sums(rows) / len(rows)

    def squares(block: np.ndarray) -> np.ndarray:
        centred = block - mean
        return np.einsum("ij,ij->j", centred, centred)

    return mean, _sums(squares, rows) / len(rows)


def normalise(x: np.ndarray, mean: np.ndarray, inverse_deviation: np.ndarray) -> np.ndarray:
    """(x - mean) * inverse_deviation along the last axis."""
    out = pool.empty(x.shape, x.dtype)

    def block(x: np.ndarray, out: np.ndarray) -> None:
        np.subtract(x, mean, out=out)
        out *= inverse_deviation

    each(block, *matrices(x, out))
    return out


def scale_shift(
    x: np.ndarray, scale: np.ndarray, shift: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """x * scale + shift along the last axis, into `out` if it is given (which may be x)."""
    out = pool.empty(x.shape, x.dtype) if out is None else out

    def block(x: np.ndarray, out: np.ndarray) -> None:
        np.multiply(x, scale, out=out)
        out += shift

    each(block, *matrices(x, out))
    return out


def batch_norm_dx(
    dy: np.ndarray, xhat: np.ndarray, scale: np.ndarray, mean_dy: np.ndarray, mean_dyx: np.ndarray
) -> np.ndarray:
    """scale * (dy - mean(dy) - xhat * mean(dy*xhat))."""
    out = pool.empty(dy.shape, dy.dtype)

    def block(dy: np.ndarray, xhat: np.ndarray, out: np.ndarray) -> None:
        np.multiply(xhat, mean_dyx, out=out)
        np.subtract(dy, out, out=out)
        out -= mean_dy
        out *= scale

    each(block, *matrices(dy, xhat, out))
    return out
