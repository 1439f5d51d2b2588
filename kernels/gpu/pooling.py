"""Pooling and nearest-neighbour upsampling: windows of images, an element a thread."""

from __future__ import annotations

from typing import Any

import cupy

from ..geometry import Geometry
from .arrays import contiguous
from .conv import numbers
from .launch import kernel

Array = Any

_max_pool = kernel("pooling", "max_pool")
_max_pool_adjoint = kernel("pooling", "max_pool_adjoint")
_max_pool_tangent = kernel("pooling", "max_pool_tangent")
_average_pool = kernel("pooling", "average_pool")
_average_pool_adjoint = kernel("pooling", "average_pool_adjoint")
_upsample = kernel("pooling", "upsample")
_upsample_adjoint = kernel("pooling", "upsample_adjoint")


def max_pool2d(x: Array, geo: Geometry) -> tuple[Array, Array]:
    """(N, H, W, C) -> maxima (N, OH, OW, C) and the winning taps (N, OH, OW, C) as integers."""
    x = contiguous(x)
    y = _small(x, geo)
    winner = cupy.empty(y.shape, "int32")
    _max_pool(y.size, x, y, winner, *numbers(geo, x.shape[-1]))
    return y, winner


def max_pool2d_adjoint(dy: Array, winner: Array, geo: Geometry) -> Array:
    """Each dy goes to the pixel that won: (N, OH, OW, C) -> (N, H, W, C)."""
    dy = contiguous(dy)
    dx = _big(dy, geo)
    _max_pool_adjoint(dx.size, dy, winner, dx, *numbers(geo, dy.shape[-1]))
    return dx


def max_pool2d_tangent(tx: Array, winner: Array, geo: Geometry) -> Array:
    """tx at the pixels that won: (N, H, W, C) -> (N, OH, OW, C)."""
    tx = contiguous(tx)
    ty = _small(tx, geo)
    _max_pool_tangent(ty.size, tx, winner, ty, *numbers(geo, tx.shape[-1]))
    return ty


def average_pool2d(x: Array, geo: Geometry) -> Array:
    """(N, H, W, C) -> the mean of the pixels of each window; those of the padding do not count."""
    x = contiguous(x)
    y = _small(x, geo)
    _average_pool(y.size, x, y, *numbers(geo, x.shape[-1]))
    return y


def average_pool2d_adjoint(dy: Array, geo: Geometry) -> Array:
    """Each dy is shared out equally over its window: (N, OH, OW, C) -> (N, H, W, C)."""
    dy = contiguous(dy)
    dx = _big(dy, geo)
    _average_pool_adjoint(dx.size, dy, dx, *numbers(geo, dy.shape[-1]))
    return dx


def upsample2d(x: Array, factor: tuple[int, int]) -> Array:
    """Nearest neighbour: every pixel becomes a block: (N, H, W, C) -> (N, fh*H, fw*W, C)."""
    x = contiguous(x)
    N, H, W, C = x.shape
    y = cupy.empty((N, H * factor[0], W * factor[1], C), x.dtype)
    _upsample(y.size, x, y, H, W, C, *factor)
    return y


def upsample2d_adjoint(dy: Array, factor: tuple[int, int]) -> Array:
    """The sum over each block: (N, fh*H, fw*W, C) -> (N, H, W, C)."""
    dy = contiguous(dy)
    N, height, width, C = dy.shape
    H, W = height // factor[0], width // factor[1]
    dx = cupy.empty((N, H, W, C), dy.dtype)
    _upsample_adjoint(dx.size, dy, dx, H, W, C, *factor)
    return dx


def _small(x: Array, geo: Geometry) -> Array:
    return cupy.empty((len(x), geo.rows.out, geo.cols.out, x.shape[-1]), x.dtype)


def _big(y: Array, geo: Geometry) -> Array:
    return cupy.empty((len(y), geo.rows.size, geo.cols.size, y.shape[-1]), y.dtype)
