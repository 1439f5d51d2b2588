"""The convolution passes: im2col and one cuBLAS product, or a product and col2im.

The matrix K below is the kernel as (KH*KW*C, OC).  As in reference.py,

    gather    columns = im2col(x), y = columns @ K         and   dK = columns^T @ dy
    scatter   columns = y @ K^T, x = col2im(columns)

A gather of x makes KH*KW*C numbers a pixel of the small side, a scatter of y as many.  With
stride 1 the sides can be exchanged (geometry.Axis.flipped): then they are KH*KW*OC, and a gather
becomes a scatter.  So a convolution to few channels, as a generator's last, multiplies first and
adds afterwards.  Where OC < C, all three passes turn round.

Columns may be larger than all else together: images go through in slices of at most WORKSPACE bytes
of columns.  A slice has fewer than 2^31 elements, so that the kernels' indices are 32-bit numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cupy

from ..geometry import Geometry
from .arrays import contiguous
from .launch import kernel

Array = Any
WORKSPACE = 256 << 20  # bytes of columns at a time

_im2col = kernel("columns", "im2col")
_col2im = kernel("columns", "col2im")


def conv2d(x: Array, kernel: Array, geo: Geometry) -> Array:
    """(N, H, W, C), (KH, KW, C, OC) -> (N, OH, OW, OC)."""
    if _turns(kernel.shape, geo):
        return scatter(x, _matrix(_reversed(kernel)), _flipped(geo))
    return gather(x, geo, _matrix(kernel))[0]


def conv2d_adjoint(y: Array, kernel: Array, geo: Geometry) -> Array:
    """(N, OH, OW, OC), (KH, KW, C, OC) -> (N, H, W, C)."""
    if _turns(kernel.shape, geo):
        return gather(y, _flipped(geo), _matrix(_reversed(kernel)))[0]
    return scatter(y, _matrix(kernel), geo)


def conv2d_dkernel(x: Array, dy: Array, geo: Geometry) -> Array:
    """(N, H, W, C), (N, OH, OW, OC) -> (KH, KW, C, OC)."""
    shape = (geo.rows.kernel, geo.cols.kernel, x.shape[-1], dy.shape[-1])
    if _turns(shape, geo):
        return _restored(gather(dy, _flipped(geo), other=x)[1], shape)
    return gather(x, geo, other=dy)[1].reshape(shape)


def conv2d_gradients(x: Array, dy: Array, kernel: Array, geo: Geometry) -> tuple[Array, Array]:
    """conv2d_adjoint(dy, kernel) and conv2d_dkernel(x, dy): the backward pass of conv2d."""
    if not _turns(kernel.shape, geo):
        return conv2d_adjoint(dy, kernel, geo), conv2d_dkernel(x, dy, geo)
    dx, d = gather(dy, _flipped(geo), _matrix(_reversed(kernel)), x)  # one gather of dy for both
    return dx, _restored(d, kernel.shape)


def conv2d_adjoint_gradients(
    y: Array, dx: Array, kernel: Array, geo: Geometry
) -> tuple[Array, Array]:
    """conv2d(dx, kernel) and conv2d_dkernel(dx, y): the backward pass of conv2d_adjoint."""
    if _turns(kernel.shape, geo):
        return conv2d(dx, kernel, geo), conv2d_dkernel(dx, y, geo)
    dy, d = gather(dx, geo, _matrix(kernel), y)  # one gather of dx for both
    return dy, d.reshape(kernel.shape)


def gather(
    x: Array, geo: Geometry, matrix: Array | None = None, other: Array | None = None
) -> tuple[Any, Any]:
    """(im2col(x) @ matrix as images, im2col(x)^T @ other): either may be left out."""
    x, (rows, cols) = contiguous(x), geo
    depth = rows.kernel * cols.kernel * x.shape[-1]
    y: Any = None
    total: Any = None
    if matrix is not None:
        y = cupy.empty((len(x), rows.out, cols.out, matrix.shape[1]), x.dtype)
    for n in slices(x, rows.out * cols.out * depth):
        columns = im2col(x[n], geo).reshape(-1, depth)  # (N*OH*OW, KH*KW*C)
        if matrix is not None:
            cupy.matmul(columns, matrix, out=y[n].reshape(len(columns), y.shape[-1]))
        if other is not None:
            part = columns.T @ contiguous(other[n]).reshape(len(columns), other.shape[-1])
            total = part if total is None else cupy.add(total, part, out=total)
        del columns  # before the next are made
    return y, total


def scatter(y: Array, matrix: Array, geo: Geometry) -> Array:
    """col2im(y @ matrix^T)."""
    y, (rows, cols) = contiguous(y), geo
    N, OH, OW, OC = y.shape
    channels = len(matrix) // (rows.kernel * cols.kernel)
    x = cupy.empty((N, rows.size, cols.size, channels), y.dtype)
    for n in slices(x, OH * OW * len(matrix)):
        columns = y[n].reshape(-1, OC) @ matrix.T  # (N*OH*OW, KH*KW*C)
        _col2im(x[n].size, columns, x[n], *numbers(geo, channels))
        del columns  # before the next are made
    return x


def im2col(x: Array, geo: Geometry) -> Array:
    """Gather: (N, H, W, C) -> columns (N, OH, OW, KH, KW, C)."""
    (rows, cols), (N, _, _, C) = geo, x.shape
    if all(a.kernel == a.stride == 1 and a.before == 0 and a.out == a.size for a in geo):
        return x  # every window is its pixel
    columns = cupy.empty((N, rows.out, cols.out, rows.kernel, cols.kernel, C), x.dtype)
    _im2col(columns.size, x, columns, *numbers(geo, C))
    return columns


def slices(x: Array, columns: int) -> Iterator[slice]:
    """The images of the big side in slices whose columns, so many an image, fit into WORKSPACE.

    Their pixels too, which outnumber the columns where windows stand apart.
    """
    images, *sides = x.shape
    largest = max(columns, math.prod(sides), 1)
    size = max(1, WORKSPACE // (largest * x.dtype.itemsize))
    for first in range(0, max(images, 1), size):  # none are one empty slice
        yield slice(first, min(first + size, images))


def numbers(geo: Geometry, channels: int) -> tuple[int, ...]:
    """H, W, C, OH, OW, KH, KW, SH, SW, PH, PW."""
    rows, cols = geo
    return (
        *(rows.size, cols.size, channels, rows.out, cols.out, rows.kernel, cols.kernel),
        *(rows.stride, cols.stride, rows.before, cols.before),
    )


def _turns(shape: tuple[int, ...], geo: Geometry) -> bool:
    """Whether the small side has fewer channels and may be exchanged with the big one."""
    _, _, C, OC = shape
    return OC < C and geo.rows.stride == geo.cols.stride == 1


def _flipped(geo: Geometry) -> Geometry:
    return Geometry(geo.rows.flipped(), geo.cols.flipped())


def _reversed(kernel: Array) -> Array:
    """The kernel of the flipped geometry: (KH, KW, C, OC) -> (KH, KW, OC, C), taps reversed."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _restored(matrix: Array, shape: tuple[int, ...]) -> Array:
    """_reversed undone, from its matrix (KH*KW*OC, C)."""
    KH, KW, C, OC = shape
    return cupy.ascontiguousarray(_reversed(matrix.reshape(KH, KW, OC, C)))


def _matrix(kernel: Array) -> Array:
    """(KH, KW, C, OC) -> (KH*KW*C, OC)."""
    return contiguous(kernel).reshape(-1, kernel.shape[-1])
