"""What the kernels below share about arrays on the device."""

from __future__ import annotations

from functools import cache
from typing import Any

import cupy

from .launch import check_real, current_device

Array = Any


def contiguous(a: Array) -> Array:
    """The array, copied if it is a strided view; TypeError for what has no kernels."""
    check_real(a.dtype, "minigan's kernels")
    return a if a.flags.c_contiguous else cupy.ascontiguousarray(a)


def alike(*arrays: Array) -> list[Array]:
    """The arrays as `contiguous` gives them; ValueError unless they have one shape."""
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise ValueError(f"arrays of one shape are needed, got {', '.join(map(str, shapes))}")
    return [contiguous(a) for a in arrays]


def empty_like(a: Array, shape: tuple[int, ...]) -> Array:
    """A new array of a's dtype and home."""
    return cupy.empty(shape, a.dtype)


def number(value: float, dtype: Any) -> Array:
    """One number as an array of shape (1,), written on the device."""
    return _number(float(value), dtype.name, current_device())


@cache
def _number(value: float, dtype: str, device: int) -> Array:
    return cupy.full((1,), value, dtype)


def room(like: Array, out: Array | None) -> Array:
    """`out` if a kernel can write into it, else a new array."""
    return out if out is not None and out.flags.c_contiguous else cupy.empty_like(like)


def into(value: Array, out: Array | None) -> Array:
    """The value in `out`, if there is one that is not the value itself."""
    if out is None or out is value:
        return value
    out[...] = value
    return out
