"""The passes of the normalisations over their large arrays; their sums are in reduce.py.

A large array is seen as (A, M, B), the middle axis being the one that was summed over.  mean, scale
and their like are small: a number, a vector along the last axis, or an array of as many axes as the
large one, of length 1 where it was summed.  A kernel reads element [a*stride_a + b*stride_b] of it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import cupy
import numpy as np

from .arrays import alike, contiguous, into, number, room
from .launch import kernel

Array = Any

_normalise = kernel("normalise", "normalise")
_scale_shift = kernel("normalise", "scale_shift")
_normalise_dx = kernel("normalise", "normalise_dx")
_subtract_scaled = kernel("normalise", "subtract_scaled")


def normalise(x: Array, mean: Array, inverse_deviation: Array) -> Array:
    """(x - mean) * inverse_deviation."""
    x = contiguous(x)
    y = cupy.empty_like(x)
    _normalise(x.size, x, y, *_small(x, mean, inverse_deviation))
    return y


def scale_shift(x: Array, scale: Array, shift: Array, out: Array | None = None) -> Array:
    """x * scale + shift, into `out` if it is given (which may be x)."""
    x = contiguous(x)
    y = room(x, out)
    _scale_shift(x.size, x, y, *_small(x, scale, shift))
    return into(y, out)


def normalise_dx(g: Array, xhat: Array, scale: Array, mean_g: Array, mean_gx: Array) -> Array:
    """scale * (g - mean(g) - xhat * mean(g*xhat)); the means are those of the normalised group."""
    g, xhat = alike(g, xhat)
    dx = cupy.empty_like(g)
    _normalise_dx(g.size, g, xhat, dx, *_small(g, scale, mean_g, mean_gx))
    return dx


def subtract_scaled(a: Array, b: Array, scale_b: Array, c: Array, scale_c: Array) -> Array:
    """a - b * scale_b - c * scale_c. May write into a."""
    a, b, c = alike(a, b, c)
    _subtract_scaled(a.size, a, b, c, *_small(a, scale_b, scale_c))
    return a


def _small(large: Array, *operands: Any) -> list[Any]:
    """M*B and B of the large array, then each small operand and its strides along A and B."""
    numbers = (int, float, np.number)
    arrays = [number(float(a), large.dtype) if isinstance(a, numbers) else a for a in operands]
    fitted = _fitted(large.shape, tuple(a.shape for a in arrays))
    if fitted is None:  # they have no view in common: written out in full
        arrays = [a if a.size == 1 else cupy.broadcast_to(a, large.shape) for a in arrays]
        fitted = (1, 1), [(0, 0) if a.size == 1 else (1, 0) for a in arrays]
    (M, B), strides = fitted
    pairs = zip(arrays, strides, strict=True)
    return [M * B, B, *(part for a, s in pairs for part in (contiguous(a), *s))]


@cache
def _fitted(
    shape: tuple[int, ...], small: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, int], list[tuple[int, int]]] | None:
    """((M, B), the strides along A and B of each small shape), or None if there is no such view."""
    views = {_view(shape, s) for s in small if math.prod(s) > 1 and len(s) > 1}
    if len(views) > 1 or None in views:
        return None
    M, B = views.pop() or (1, 1) if views else (math.prod(shape[:-1]), shape[-1])
    strides = []
    for s in small:
        if math.prod(s) == 1:
            strides.append((0, 0))
        elif len(s) > 1:
            strides.append((B, 1))
        elif B == s[0]:
            strides.append((0, 1))
        else:
            return None
    return (M, B), strides


def _view(shape: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, int] | None:
    """(M, B) from the axes that the small shape lacks, if they are neighbours."""
    lacking = [i for i, (n, k) in enumerate(zip(shape, small, strict=True)) if n != k]
    if not lacking:
        return 1, 1
    first, last = lacking[0], lacking[-1] + 1
    if math.prod(small[first:last]) != 1:
        return None
    return math.prod(shape[first:last]), math.prod(shape[last:])
