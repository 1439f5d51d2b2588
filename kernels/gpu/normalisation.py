"""The passes of the normalisations over their large arrays; their sums are in reduce.py.

A large array is seen as (A, M, B), the middle axis being the one that was summed over.  mean, scale
and their like are small: a number, a vector along the last axis, or an array of as many axes as the
large one, of length 1 where it was summed.  A kernel reads element [a*stride_a + b*stride_b] of it.
"""

from __future__ import annotations

import math
from typing import Any

import cupy

from .arrays import contiguous, into, number
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
    y = out if out is not None and out.flags.c_contiguous else cupy.empty_like(x)
    _scale_shift(x.size, x, y, *_small(x, scale, shift))
    return into(y, out)


def normalise_dx(g: Array, xhat: Array, scale: Array, mean_g: Array, mean_gx: Array) -> Array:
    """scale * (g - mean(g) - xhat * mean(g*xhat)); the means are those of the normalised group."""
    g, xhat = contiguous(g), contiguous(xhat)
    dx = cupy.empty_like(g)
    _normalise_dx(g.size, g, xhat, dx, *_small(g, scale, mean_g, mean_gx))
    return dx


def subtract_scaled(a: Array, b: Array, scale_b: Array, c: Array, scale_c: Array) -> Array:
    """a - b * scale_b - c * scale_c. May write into a."""
    a, b, c = map(contiguous, (a, b, c))
    _subtract_scaled(a.size, a, b, c, *_small(a, scale_b, scale_c))
    return a


def _small(large: Array, *operands: Any) -> list[Any]:
    """M*B and B of the large array, then each small operand and its strides along A and B."""
    views = {_view(large.shape, a.shape) for a in operands if getattr(a, "ndim", 0) > 1}
    if len(views) > 1:
        shapes = [getattr(a, "shape", ()) for a in operands]
        raise ValueError(f"operands of shapes {shapes} do not fit together along {large.shape}")
    M, B = views.pop() if views else (large.size // large.shape[-1], large.shape[-1])
    arguments: list[Any] = [M * B, B]
    for a in operands:
        size = getattr(a, "size", 1)
        if size == 1:
            strides = (0, 0)
        elif a.ndim == 1 and size == large.shape[-1] == B:
            strides = (0, 1)
        elif a.ndim > 1 and size * M == large.size:
            strides = (B, 1)
        else:
            raise ValueError(f"an operand of shape {a.shape} does not fit along {large.shape}")
        array = a if hasattr(a, "ndim") else number(a, large.dtype)
        arguments += [contiguous(array), *strides]
    return arguments


def _view(shape: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, int]:
    """(M, B) from the axes that the small shape lacks."""
    summed = [i for i, (n, k) in enumerate(zip(shape, small, strict=True)) if n != k == 1]
    if not summed:
        return 1, 1
    first, last = summed[0], summed[-1] + 1
    if math.prod(small[first:last]) != 1:
        raise ValueError(f"an operand of shape {small} lacks axes of {shape} that are apart")
    return math.prod(shape[first:last]), math.prod(shape[last:])
