"""Sums over the pixels, and BatchNorm's passes, in blocks over threads.

Sums are taken block by block and the blocks added in order, which keeps both the rounding error
of float32 and the dependence on timing out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import reference
from . import pool, threads
from .elementwise import (
    ELEMENT,
    each,
    leaky_relu_backward,
    matrices,
    sigmoid_backward,
    tanh_backward,
)

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


def paired_sums(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(column_sums(a), product_sums(a, b))."""
    return column_sums(a), product_sums(a, b)


def biased_activation_backward(
    dy: np.ndarray, y: np.ndarray, kind: str, slope: float, out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(dz = dy * f'(z), from y = f(z); dbias = the sum of dz over all axes but the last)."""
    if kind == "leaky_relu":
        dz = leaky_relu_backward(dy, y, slope, out)
    else:
        dz = {"tanh": tanh_backward, "sigmoid": sigmoid_backward}[kind](dy, y, out)
    return dz, column_sums(dz)


def batch_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and (biased) variance over all axes but the last: (..., C) -> (C,), (C,)."""
    rows = _matrix(x)
    mean = column_sums(rows) / len(rows)

    def squares(block: np.ndarray) -> np.ndarray:
        centred = block - mean
        return np.einsum("ij,ij->j", centred, centred)

    return mean, _sums(squares, rows) / len(rows)


def sums(a: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The sum over these axes, not the first, which stay as axes of length 1."""
    shape = tuple(1 if i in axes else n for i, n in enumerate(a.shape))
    out = np.empty(shape, a.dtype)
    each(lambda a, out: np.copyto(out, reference.sums(a, axes)), a, out)
    return out


def _with_factors(
    block: Callable[..., None], arrays: tuple[np.ndarray, ...], factors: tuple[Any, ...]
) -> None:
    """block(*blocks of the arrays, *factors).

    A factor is a number, a vector along the last axis, or an array of as many axes as the arrays,
    which is cut into blocks as they are unless its first axis has length 1.
    """
    axes, n = arrays[0].ndim, len(arrays)
    full = [axes > 1 and np.ndim(f) == axes for f in factors]
    cut = [is_full and len(f) > 1 for is_full, f in zip(full, factors, strict=True)]
    if not any(full):
        each(lambda *blocks: block(*blocks, *factors), *matrices(*arrays))
        return

    def with_blocks(*blocks: np.ndarray) -> None:
        own = iter(blocks[n:])
        block(*blocks[:n], *(next(own) if c else f for f, c in zip(factors, cut, strict=True)))

    each(with_blocks, *arrays, *(f for f, c in zip(factors, cut, strict=True) if c))


def normalise(x: np.ndarray, mean: np.ndarray, inverse_deviation: np.ndarray) -> np.ndarray:
    """(x - mean) * inverse_deviation."""
    out = pool.empty(x.shape, x.dtype)

    def block(x: np.ndarray, out: np.ndarray, mean: Any, inverse_deviation: Any) -> None:
        np.subtract(x, mean, out=out)
        out *= inverse_deviation

    _with_factors(block, (x, out), (mean, inverse_deviation))
    return out


def scale_shift(
    x: np.ndarray, scale: np.ndarray, shift: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """x * scale + shift, into `out` if it is given (which may be x)."""
    out = pool.empty(x.shape, x.dtype) if out is None else out

    def block(x: np.ndarray, out: np.ndarray, scale: Any, shift: Any) -> None:
        np.multiply(x, scale, out=out)
        out += shift

    _with_factors(block, (x, out), (scale, shift))
    return out


def normalise_dx(
    g: np.ndarray, xhat: np.ndarray, scale: np.ndarray, mean_g: np.ndarray, mean_gx: np.ndarray
) -> np.ndarray:
    """scale * (g - mean(g) - xhat * mean(g*xhat))."""
    out = pool.empty(g.shape, g.dtype)

    def block(
        g: np.ndarray, xhat: np.ndarray, out: np.ndarray, scale: Any, mean_g: Any, mean_gx: Any
    ) -> None:
        np.multiply(xhat, mean_gx, out=out)
        np.subtract(g, out, out=out)
        out -= mean_g
        out *= scale

    _with_factors(block, (g, xhat, out), (scale, mean_g, mean_gx))
    return out


def subtract_scaled(
    a: np.ndarray, b: np.ndarray, scale_b: np.ndarray, c: np.ndarray, scale_c: np.ndarray
) -> np.ndarray:
    """a -= b * scale_b + c * scale_c, in place."""

    def block(a: np.ndarray, b: np.ndarray, c: np.ndarray, scale_b: Any, scale_c: Any) -> None:
        product = b * scale_b
        a -= product
        np.multiply(c, scale_c, out=product)
        a -= product

    _with_factors(block, (a, b, c), (scale_b, scale_c))
    return a
