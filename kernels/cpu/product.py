"""Matrix products, split over threads along the longer side of the result."""

from __future__ import annotations

import numpy as np

from . import pool, threads

FLOP = 0.009  # nanoseconds for a multiply-add


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(M, K) @ (K, N) -> (M, N)."""
    (m, k), n = a.shape, b.shape[1]
    out = pool.empty((m, n), np.result_type(a, b))
    work = m * k * n * FLOP * 1e-9
    if m >= n:
        threads.run(lambda i, j: np.matmul(a[i:j], b, out=out[i:j]), m, work)
    else:
        threads.run(lambda i, j: np.matmul(a, b[:, i:j], out=out[:, i:j]), n, work)
    return out
