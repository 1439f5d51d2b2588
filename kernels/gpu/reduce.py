"""Sums over groups of values, in two launches: partial sums of chunks, then the sum of those."""

from __future__ import annotations

import math
from typing import Any

import cupy

from .arrays import alike, contiguous
from .launch import THREADS, kernel

Array = Any
BLOCKS = 1024  # what a long sum is cut for: enough to fill a GPU, few enough to add up
SUM, PRODUCT, SQUARED_DEVIATION = 0, 1, 2  # as in reduce.cu

_columns = kernel("reduce", "sum_columns")
_pairs = kernel("reduce", "sum_column_pairs")
_rows = kernel("reduce", "sum_rows")
_combine = kernel("reduce", "combine")


def chunks(length: int, groups: int, width: int) -> tuple[int, int]:
    """(elements of a chunk, number of chunks) for sums of `length` elements, from shapes alone."""
    wanted = max(1, min(BLOCKS // max(1, groups * width), -(-length // 64)))
    rows = max(1, -(-length // wanted))
    return rows, max(1, -(-length // rows))  # a sum of nothing is a chunk without elements


def middle_sums(what: int, a: Array, b: Array, A: int, M: int, B: int) -> Array:
    """The sums over the middle axis of arrays seen as (A, M, B): (A, B)."""
    width = -(-B // 32) if B > 1 else 1
    rows, number = chunks(M, A, width)
    partial = cupy.empty((A, number, B), a.dtype)
    if B > 1:
        _columns.blocks((A * width, number), (32, 8), what, a, b, partial, M, B, rows)
    else:
        _rows.blocks((A, number), (THREADS,), what, a, b, partial, M, rows)
    return combine(partial)


def combine(partial: Array) -> Array:
    """The sum over the chunks: (A, chunks, B) -> (A, B)."""
    A, number, B = partial.shape
    if number == 1:
        return partial.reshape(A, B)
    total = cupy.empty((A, B), partial.dtype)
    _combine.blocks((A, -(-B // 32)), (32, 32), partial, total, number, B)
    return total


def column_sums(a: Array) -> Array:
    """The sum over all axes but the last: (..., C) -> (C,)."""
    a = contiguous(a)
    C = a.shape[-1]
    return middle_sums(SUM, a, a, 1, a.size // C, C).reshape(C)


def product_sums(a: Array, b: Array) -> Array:
    """The sum of a*b over all axes but the last: (..., C), (..., C) -> (C,)."""
    a, b = alike(a, b)
    C = a.shape[-1]
    return middle_sums(PRODUCT, a, b, 1, a.size // C, C).reshape(C)


def paired_sums(a: Array, b: Array) -> tuple[Array, Array]:
    """(column_sums(a), product_sums(a, b))."""
    a, b = alike(a, b)
    C = a.shape[-1]
    M, width = a.size // C, -(-C // 32)
    rows, number = chunks(M, 1, width)
    partial, products = (cupy.empty((1, number, C), a.dtype) for _ in range(2))
    _pairs.blocks((width, number), (32, 8), a, b, partial, products, M, C, rows)
    return combine(partial).reshape(C), combine(products).reshape(C)


def sums(a: Array, axes: tuple[int, ...]) -> Array:
    """The sum over these axes, which stay as axes of length 1; neighbours go in one pass."""
    a, axes = contiguous(a), tuple(sorted(axes))
    first, last = axes[0], axes[0] + 1
    while last in axes:
        last += 1
    A, M, B = (math.prod(a.shape[i:j]) for i, j in ((0, first), (first, last), (last, a.ndim)))
    shape = (*a.shape[:first], *(1,) * (last - first), *a.shape[last:])
    total = middle_sums(SUM, a, a, A, M, B).reshape(shape)
    rest = tuple(i for i in axes if i >= last)
    return sums(total, rest) if rest else total


def batch_moments(x: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance over all axes but the last, in two passes: (..., C) -> (C,), (C,).

    The variance is the mean of (x-mean)^2; E[x^2] - E[x]^2 would cancel in float32.
    """
    x = contiguous(x)
    C = x.shape[-1]
    M = x.size // C
    mean = column_sums(x) / M
    return mean, middle_sums(SQUARED_DEVIATION, x, mean, 1, M, C).reshape(C) / M
