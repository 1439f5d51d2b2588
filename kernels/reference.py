"""The definition of every kernel: slow, obvious, and what each fast path is tested against.

Arrays are NHWC.  Shape letters: N H W C is the big side of a convolution, N OH OW OC its small
side, KH KW the kernel, and the kernel array is always (KH, KW, C, OC).

A convolution is a gather followed by a product, and its adjoint a product followed by a scatter:

    columns = im2col(x)          (N*OH*OW, KH*KW*C)      y = columns @ K
    columns = y @ K^T            (N*OH*OW, KH*KW*C)      x = col2im(columns)

im2col and col2im are adjoint to each other, which is all the calculus there is.  The six passes
of Conv2D and Conv2DTranspose are three functions with the roles exchanged:

                        forward            gradient of the input    gradient of the kernel
    Conv2D              conv2d(x, K)       conv2d_adjoint(dy, K)    conv2d_dkernel(x, dy)
    Conv2DTranspose     conv2d_adjoint     conv2d(dy, K)            conv2d_dkernel(dy, x)

The functions below use only operations that CuPy's arrays answer to as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .geometry import Geometry

Array = Any


def conv2d_loops(x: Array, kernel: Array, geo: Geometry) -> Array:
    """y[n,o,p,d] = sum over i,j,c of x[n, s*o+i-before, s*p+j-before, c] * K[i,j,c,d]."""
    (N, H, W, C), (KH, KW, _, OC), (rows, cols) = x.shape, kernel.shape, geo
    y = np.zeros_like(x, shape=(N, rows.out, cols.out, OC))
    for o in range(rows.out):
        for p in range(cols.out):
            for i in range(KH):
                for j in range(KW):
                    h = rows.stride * o + i - rows.before
                    w = cols.stride * p + j - cols.before
                    if 0 <= h < H and 0 <= w < W:
                        y[:, o, p] += x[:, h, w] @ kernel[i, j]
    return y


def pad(x: Array, geo: Geometry) -> Array:
    """x inside zeros, so that every window of every tap is in range."""
    (N, H, W, C), (rows, cols) = x.shape, geo
    height = max(rows.before + H, (rows.out - 1) * rows.stride + rows.kernel)
    width = max(cols.before + W, (cols.out - 1) * cols.stride + cols.kernel)
    padded = np.zeros_like(x, shape=(N, height, width, C))
    padded[:, rows.before : rows.before + H, cols.before : cols.before + W] = x
    return padded


def tap(geo: Geometry, i: int, j: int) -> tuple[slice, slice, slice]:
    """The pixels of the padded image that tap (i, j) reads, over all windows."""
    rows, cols = geo
    return (
        slice(None),
        slice(i, i + (rows.out - 1) * rows.stride + 1, rows.stride),
        slice(j, j + (cols.out - 1) * cols.stride + 1, cols.stride),
    )


def im2col(x: Array, geo: Geometry) -> Array:
    """Gather: (N, H, W, C) -> columns (N, OH, OW, KH, KW, C)."""
    (N, _, _, C), (rows, cols) = x.shape, geo
    padded = pad(x, geo)
    shape = (N, rows.out, cols.out, rows.kernel, cols.kernel, C)
    columns = np.zeros_like(x, shape=shape)
    for i in range(rows.kernel):
        for j in range(cols.kernel):
            columns[:, :, :, i, j] = padded[tap(geo, i, j)]
    return columns


def col2im(columns: Array, geo: Geometry) -> Array:
    """Scatter, the adjoint of im2col: columns (N, OH, OW, KH, KW, C) -> (N, H, W, C)."""
    (N, _, _, KH, KW, C), (rows, cols) = columns.shape, geo
    padded = pad(np.zeros_like(columns, shape=(N, rows.size, cols.size, C)), geo)
    for i in range(KH):
        for j in range(KW):
            padded[tap(geo, i, j)] += columns[:, :, :, i, j]
    return padded[:, rows.before :, cols.before :][:, : rows.size, : cols.size]


def conv2d(x: Array, kernel: Array, geo: Geometry) -> Array:
    """(N, H, W, C), (KH, KW, C, OC) -> (N, OH, OW, OC)."""
    N, OC, (rows, cols) = len(x), kernel.shape[-1], geo
    columns = im2col(x, geo).reshape(N * rows.out * cols.out, -1)
    return (columns @ kernel.reshape(-1, OC)).reshape(N, rows.out, cols.out, OC)


def conv2d_adjoint(y: Array, kernel: Array, geo: Geometry) -> Array:
    """(N, OH, OW, OC), (KH, KW, C, OC) -> (N, H, W, C)."""
    (N, OH, OW, OC), (KH, KW, C, _) = y.shape, kernel.shape
    columns = y.reshape(-1, OC) @ kernel.reshape(-1, OC).T  # (N*OH*OW, KH*KW*C)
    return col2im(columns.reshape(N, OH, OW, KH, KW, C), geo)


def conv2d_dkernel(x: Array, dy: Array, geo: Geometry) -> Array:
    """(N, H, W, C), (N, OH, OW, OC) -> (KH, KW, C, OC)."""
    C, OC, (rows, cols) = x.shape[-1], dy.shape[-1], geo
    columns = im2col(x, geo).reshape(-1, rows.kernel * cols.kernel * C)
    return (columns.T @ dy.reshape(-1, OC)).reshape(rows.kernel, cols.kernel, C, OC)


def conv2d_gradients(x: Array, dy: Array, kernel: Array, geo: Geometry) -> tuple[Array, Array]:
    """The backward pass of conv2d: (dx, dkernel)."""
    return conv2d_adjoint(dy, kernel, geo), conv2d_dkernel(x, dy, geo)


def conv2d_adjoint_gradients(
    y: Array, dx: Array, kernel: Array, geo: Geometry
) -> tuple[Array, Array]:
    """The backward pass of conv2d_adjoint: (dy, dkernel)."""
    return conv2d(dx, kernel, geo), conv2d_dkernel(dx, y, geo)


def empty_like(a: Array, shape: tuple[int, ...]) -> Array:
    """A new array of a's dtype and home."""
    return np.empty_like(a, shape=shape)


def matmul(a: Array, b: Array) -> Array:
    """(M, K) @ (K, N) -> (M, N)."""
    return a @ b


def column_sums(a: Array) -> Array:
    """The sum over all axes but the last: (..., C) -> (C,)."""
    return a.reshape(-1, a.shape[-1]).sum(axis=0)


def sums(a: Array, axes: tuple[int, ...]) -> Array:
    """The sum over these axes, which stay as axes of length 1.

    One axis after the other: in float32 a few short sums round less than one long one.
    """
    for axis in sorted(axes, reverse=True):
        a = a.sum(axis=axis, keepdims=True)
    return a


def add_bias(y: Array, bias: Array) -> Array:
    """y + bias along the last axis. May write into y."""
    return y + bias


def biased_activation(z: Array, bias: Array, kind: str, slope: float) -> Array:
    """f(z + bias), f by its name: "leaky_relu" of this slope, "tanh" or "sigmoid".

    May write into z.
    """
    z = z + bias
    if kind == "leaky_relu":
        return leaky_relu(z, slope)
    return {"tanh": tanh, "sigmoid": sigmoid}[kind](z)


def biased_activation_backward(
    dy: Array, y: Array, kind: str, slope: float, out: Array | None = None
) -> tuple[Array, Array]:
    """(dz = dy * f'(z), from y = f(z); dbias = the sum of dz over all axes but the last).

    dz goes into `out` if it is given (which may be dy).
    """
    if kind == "leaky_relu":
        dz = leaky_relu_backward(dy, y, slope, out)
    else:
        dz = {"tanh": tanh_backward, "sigmoid": sigmoid_backward}[kind](dy, y, out)
    return dz, column_sums(dz)


def leaky_relu(x: Array, slope: float, out: Array | None = None) -> Array:
    """x where x > 0, else slope*x. Only the real part decides."""
    return _into(np.where(x.real > 0, x, slope * x), out)


def leaky_relu_backward(dy: Array, y: Array, slope: float, out: Array | None = None) -> Array:
    """dy where y > 0, else slope*dy (at the kink itself: slope)."""
    return _into(np.where(y.real > 0, dy, slope * dy), out)


def tanh(x: Array, out: Array | None = None) -> Array:
    """The hyperbolic tangent."""
    return _into(np.tanh(x), out)


def tanh_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """tanh' = 1 - tanh^2."""
    return _into(dy * (1 - y * y), out)


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """1/(1 + e^-x), computed from e^-|x| so that nothing overflows."""
    positive = x.real > 0
    small = np.exp(np.where(positive, -x, x))
    return _into(np.where(positive, 1, small) / (1 + small), out)


def sigmoid_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """sigmoid' = sigmoid * (1 - sigmoid)."""
    return _into(dy * y * (1 - y), out)


def tanh_tangent(dy: Array, ddy: Array, y: Array, ty: Array) -> Array:
    """The derivative of tanh_backward(dy, y) along (ddy, ty)."""
    return ddy * (1 - y * y) - 2 * dy * y * ty


def sigmoid_tangent(dy: Array, ddy: Array, y: Array, ty: Array) -> Array:
    """The derivative of sigmoid_backward(dy, y) along (ddy, ty)."""
    return ddy * y * (1 - y) + dy * (1 - 2 * y) * ty


def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    return x * sigmoid(x)


def silu_backward(dy: Array, x: Array) -> Array:
    """With s = sigmoid(x): silu' = s + x s (1 - s)."""
    s = sigmoid(x)
    return dy * (s + x * s * (1 - s))


def silu_tangent(dy: Array, ddy: Array, x: Array, tx: Array) -> Array:
    """The derivative of silu_backward(dy, x) along (ddy, tx).

    silu'' = s' + s' + x s'', where s' = s (1 - s) and s'' = s' (1 - 2 s).
    """
    s = sigmoid(x)
    slope = s * (1 - s)
    return ddy * (s + x * slope) + dy * tx * slope * (2 + x * (1 - 2 * s))


def batch_moments(x: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance over all axes but the last, in two passes: (..., C) -> (C,), (C,).

    The variance is the mean of (x-mean)^2; E[x^2] - E[x]^2 would cancel in float32.
    """
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.mean(axis=0)
    centred = rows - mean
    return mean, (centred * centred).mean(axis=0)


# mean, scale, ... below are numbers, vectors along the last axis, or arrays with as many axes as x


def normalise(x: Array, mean: Array, inverse_deviation: Array) -> Array:
    """(x - mean) * inverse_deviation."""
    return (x - mean) * inverse_deviation


def scale_shift(x: Array, scale: Array, shift: Array, out: Array | None = None) -> Array:
    """x * scale + shift, into `out` if it is given (which may be x)."""
    return _into(x * scale + shift, out)


def normalise_dx(g: Array, xhat: Array, scale: Array, mean_g: Array, mean_gx: Array) -> Array:
    """scale * (g - mean(g) - xhat * mean(g*xhat)); the means are those of the normalised group."""
    return scale * (g - mean_g - xhat * mean_gx)


def subtract_scaled(a: Array, b: Array, scale_b: Array, c: Array, scale_c: Array) -> Array:
    """a - b * scale_b - c * scale_c. May write into a."""
    return a - b * scale_b - c * scale_c


def product_sums(a: Array, b: Array) -> Array:
    """The sum of a*b over all axes but the last: (..., C), (..., C) -> (C,)."""
    return column_sums(a * b)


def paired_sums(a: Array, b: Array) -> tuple[Array, Array]:
    """(column_sums(a), product_sums(a, b))."""
    return column_sums(a), product_sums(a, b)


def multiply(a: Array, b: Array) -> Array:
    """Elementwise product."""
    return a * b


def scaled_mask(x: Array, key: Any, rate: float) -> Array:
    """1/(1 - rate) where key.keep_mask(x.shape, rate) says so, else 0: real, of x's precision."""
    dtype = x.real.dtype
    return key.keep_mask(x.shape, rate).astype(dtype) * dtype.type(1 / (1 - rate))


def max_pool2d(x: Array, geo: Geometry) -> tuple[Array, Array]:
    """(N, H, W, C) -> maxima (N, OH, OW, C) and the winning taps (N, OH, OW, C) as integers.

    Pixels of the padding never win.  Of equal values the first in row-major order wins.
    """
    (N, _, _, C), (rows, cols) = x.shape, geo
    shape = (N, rows.out, cols.out, rows.kernel * cols.kernel, C)
    inside = im2col(np.ones_like(x, dtype=bool), geo).reshape(shape)
    columns = np.where(inside, im2col(x, geo).reshape(shape), x.dtype.type(-np.inf))
    winner = columns.real.argmax(axis=3)
    return np.take_along_axis(columns, winner[:, :, :, None], axis=3)[:, :, :, 0], winner


def max_pool2d_adjoint(dy: Array, winner: Array, geo: Geometry) -> Array:
    """Each dy goes to the pixel that won: (N, OH, OW, C) -> (N, H, W, C)."""
    (N, OH, OW, C), (rows, cols) = dy.shape, geo
    taps = np.cumsum(np.ones_like(winner, shape=(rows.kernel * cols.kernel,))) - 1  # 0, 1, 2, ...
    won = winner[:, :, :, None, :] == taps[:, None]  # (N, OH, OW, KH*KW, C)
    columns = won * dy[:, :, :, None, :]
    return col2im(columns.reshape(N, OH, OW, rows.kernel, cols.kernel, C), geo)


def max_pool2d_tangent(tx: Array, winner: Array, geo: Geometry) -> Array:
    """tx at the pixels that won: (N, H, W, C) -> (N, OH, OW, C). Adjoint to max_pool2d_adjoint."""
    (N, OH, OW, C), (rows, cols) = winner.shape, geo
    columns = im2col(tx, geo).reshape(N, OH, OW, rows.kernel * cols.kernel, C)
    return np.take_along_axis(columns, winner[:, :, :, None], axis=3)[:, :, :, 0]


def average_pool2d(x: Array, geo: Geometry) -> Array:
    """(N, H, W, C) -> the mean of the pixels of each window; those of the padding do not count."""
    return im2col(x, geo).sum(axis=(3, 4)) / pool_counts(x, geo)


def average_pool2d_adjoint(dy: Array, geo: Geometry) -> Array:
    """Each dy is shared out equally over its window: (N, OH, OW, C) -> (N, H, W, C)."""
    (N, OH, OW, C), (rows, cols) = dy.shape, geo
    share = (dy / pool_counts(dy, geo))[:, :, :, None, None, :]
    taps = np.ones_like(dy, shape=(1, 1, 1, rows.kernel, cols.kernel, 1))
    return col2im(share * taps, geo)


def pool_counts(like: Array, geo: Geometry) -> Array:
    """How many pixels of each window lie inside the image: (1, OH, OW, 1)."""
    rows, cols = geo
    ones = np.ones_like(like, shape=(1, rows.size, cols.size, 1), dtype=like.real.dtype)
    return im2col(ones, geo).sum(axis=(3, 4))


def upsample2d(x: Array, factor: tuple[int, int]) -> Array:
    """Nearest neighbour: every pixel becomes a block: (N, H, W, C) -> (N, fh*H, fw*W, C)."""
    return x.repeat(factor[0], axis=1).repeat(factor[1], axis=2)


def upsample2d_adjoint(dy: Array, factor: tuple[int, int]) -> Array:
    """The sum over each block: (N, fh*H, fw*W, C) -> (N, H, W, C)."""
    N, H, W, C = dy.shape
    fh, fw = factor
    return dy.reshape(N, H // fh, fh, W // fw, fw, C).sum(axis=(2, 4))


def resample2d(x: Array, rows: Array, cols: Array) -> Array:
    """y[n,o,p,c] = sum over h, w of rows[o,h] x[n,h,w,c] cols[p,w]: (N, H, W, C) -> (N, OH, OW, C).

    Its adjoint is resample2d(dy, rows.T, cols.T).
    """
    (N, H, W, C), OH, OW = x.shape, len(rows), len(cols)
    y = rows @ x.reshape(N, H, W * C)  # (N, OH, W*C)
    return (cols @ y.reshape(N * OH, W, C)).reshape(N, OH, OW, C)


def adam(
    p: Array, g: Array, m: Array, v: Array, rate: float, betas: tuple[float, float],
    root: float, epsilon: float,
) -> None:  # fmt: skip
    """In place: m, v <- moments of g;  p -= rate * m / (sqrt(v)*root + epsilon)."""
    m += (1 - betas[0]) * (g - m)
    v += (1 - betas[1]) * (g * g - v)
    p -= rate * m / (np.sqrt(v) * root + epsilon)


def _into(value: Array, out: Array | None) -> Array:
    if out is None:
        return value
    out[...] = value
    return out
