"""Gathering windows of pixels: one strided copy for a block of images.

Inside a block padded with zeros, window (p, q), tap (i, j) is at row  row.step*p + i  and column
col.step*q + j: a view with six axes, of which the last two lie side by side in memory.  Copying
the view is im2col.  With one to a few channels that side-by-side run is short, and the copy is
made with the pixels last ("planar") instead.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..geometry import Windows
from . import pool

PLANAR = 16  # a run of taps x channels shorter than this is copied planar


def halo(x: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """The pixels top:bottom, left:right of x[N,H,W,C], zeros where x has none."""
    (N, H, W, C) = x.shape
    t, b, lo, r = max(top, 0), min(bottom, H), max(left, 0), min(right, W)
    if (t, b, lo, r) == (top, bottom, left, right):
        return x[:, t:b, lo:r]
    block = pool.empty((N, bottom - top, right - left, C), x.dtype)
    if t >= b or lo >= r:
        block.fill(0)
        return block
    inner = slice(t - top, b - top)
    block[:, : inner.start] = 0
    block[:, inner.stop :] = 0
    block[:, inner, : lo - left] = 0
    block[:, inner, r - left :] = 0
    block[:, inner, lo - left : r - left] = x[:, t:b, lo:r]
    return block


def columns(block: np.ndarray, rows: Windows, cols: Windows) -> np.ndarray:
    """The windows of block[N,H,W,C] as a matrix (N*rows.number*cols.number, rows.taps*cols.taps*C).

    All windows lie inside the block.  The planar form returns the transpose of a contiguous matrix:
    BLAS takes both.
    """
    view = window_view(block, rows, cols)
    n, oh, ow, kh, kw, c = view.shape
    if kw * c < PLANAR:
        planar = pool.empty((kh, kw, c, n, oh, ow), block.dtype)
        np.copyto(planar, view.transpose(3, 4, 5, 0, 1, 2))  # (KH, KW, C, N, OH, OW)
        return planar.reshape(kh * kw * c, n * oh * ow).T
    if (kh, kw, rows.step, cols.step) == (1, 1, 1, 1) and view.flags.c_contiguous:
        return view.reshape(n * oh * ow, c)
    out = pool.empty(view.shape, block.dtype)
    np.copyto(out, view)
    return out.reshape(n * oh * ow, kh * kw * c)


def window_view(block: np.ndarray, rows: Windows, cols: Windows) -> np.ndarray:
    """A read-only view (N, rows.number, cols.number, rows.taps, cols.taps, C) of the windows."""
    n, _, _, c = block.shape
    sn, sh, sw, sc = block.strides
    return as_strided(
        block[:, rows.start :, cols.start :],
        (n, rows.number, cols.number, rows.taps, cols.taps, c),
        (sn, sh * rows.step, sw * cols.step, sh, sw, sc),
        writeable=False,
    )
