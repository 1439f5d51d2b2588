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


def columns(x: np.ndarray, rows: Windows, cols: Windows) -> np.ndarray:
    """The windows of x[N,H,W,C] as a matrix (N*rows.count*cols.count, rows.taps*cols.taps*C).

    The planar form returns the transpose of a contiguous matrix: BLAS takes both.
    """
    view = window_view(x, rows, cols)
    n, oh, ow, kh, kw, c = view.shape
    if kw * c < PLANAR:
        planar = pool.empty((kh, kw, c, n, oh, ow), x.dtype)
        np.copyto(planar, view.transpose(3, 4, 5, 0, 1, 2))  # (KH, KW, C, N, OH, OW)
        return planar.reshape(kh * kw * c, n * oh * ow).T
    if (kh, kw, rows.step, cols.step) == (1, 1, 1, 1) and view.flags.c_contiguous:
        return view.reshape(n * oh * ow, c)
    out = pool.empty(view.shape, x.dtype)
    np.copyto(out, view)
    return out.reshape(n * oh * ow, kh * kw * c)


def window_view(x: np.ndarray, rows: Windows, cols: Windows) -> np.ndarray:
    """A read-only view (N, rows.count, cols.count, rows.taps, cols.taps, C) of x with its halo."""
    block = halo(x, rows, cols)
    n, _, _, c = block.shape
    sn, sh, sw, sc = block.strides
    return as_strided(
        block,
        (n, rows.count, cols.count, rows.taps, cols.taps, c),
        (sn, sh * rows.step, sw * cols.step, sh, sw, sc),
        writeable=False,
    )


def halo(x: np.ndarray, rows: Windows, cols: Windows) -> np.ndarray:
    """The pixels rows.start:rows.stop, cols.start:cols.stop of x, zeros where x has none."""
    (N, H, W, C) = x.shape
    top, bottom = max(rows.start, 0), min(rows.stop, H)
    left, right = max(cols.start, 0), min(cols.stop, W)
    if (top, bottom, left, right) == (rows.start, rows.stop, cols.start, cols.stop):
        return x[:, top:bottom, left:right]
    block = pool.empty((N, rows.stop - rows.start, cols.stop - cols.start, C), x.dtype)
    if top >= bottom or left >= right:
        block.fill(0)
        return block
    inner = slice(top - rows.start, bottom - rows.start)
    block[:, : inner.start] = 0
    block[:, inner.stop :] = 0
    block[:, inner, : left - cols.start] = 0
    block[:, inner, right - cols.start :] = 0
    block[:, inner, left - cols.start : right - cols.start] = x[:, top:bottom, left:right]
    return block
