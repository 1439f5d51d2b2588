"""The matrices of Cook and Toom: a short correlation with fewer multiplications. Exact rationals.

To be computed are m outputs of a correlation with r taps, y[o] = sum_u d[o+u] g[u], from the
n = m+r-1 values d.  Its transpose is a product of polynomials: g(t) of degree r-1 times y'(t) of
degree m-1 has n coefficients, and is known from its values at n points.  With V_k the matrix of the
powers t^0 .. t^(k-1) at the n points,

    product = V_n^-1 [(V_r g) * (V_m y')]        * element by element: n multiplications, not m r

and transposing the linear map y' -> product, for a fixed g, gives the correlation:

    y = V_m^T [(V_r g) * (V_n^-T d)] = A^T [(G g) * (B^T d)]

with A = V_m, G = V_r, B^T = V_n^-T.  In two dimensions each of the three is applied along rows and
along columns.  "Point" infinity stands for the highest coefficient: a row 0 .. 0 1.

Any factor may move between the three, point by point.  Rows of B^T are scaled to an absolute sum of
1, and A and G are balanced, which keeps the numbers that float32 adds up about equally large.
(Winograd, 1980; Lavin and Gray, 2016; Barabasz et al., 2020, for the choice of points.)
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

POINTS = [Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2", "3", "-3")]


class Transforms(NamedTuple):
    """A (n, m), G (n, r) and B (n, n), as above, in float64."""

    A: np.ndarray
    G: np.ndarray
    B: np.ndarray


@lru_cache
def transforms(m: int, r: int) -> Transforms:
    """The three matrices for m outputs and r taps."""
    n = m + r - 1
    if n - 1 > len(POINTS):
        raise ValueError(f"m={m}, r={r} need {n - 1} points; there are {len(POINTS)}")
    inverse = inverted(powers(n, n))
    BT = [[inverse[j][i] for j in range(n)] for i in range(n)]  # V_n^-T
    sizes = [sum(map(abs, row)) for row in BT]
    BT = [[v / size for v in row] for row, size in zip(BT, sizes, strict=True)]
    G = [[v * size for v in row] for row, size in zip(powers(n, r), sizes, strict=True)]
    A = np.array(powers(n, m), dtype=np.float64)
    g = np.array(G, dtype=np.float64)
    balance = np.sqrt(np.abs(g).sum(axis=1) / np.abs(A).sum(axis=1))[:, None]
    return Transforms(A * balance, g / balance, np.array(BT, dtype=np.float64).T.copy())


def powers(n: int, k: int) -> list[list[Fraction]]:
    """V_k at n points: t^0 .. t^(k-1) at the first n-1 of POINTS, and 0 .. 0 1 at infinity."""
    rows = [[p**j for j in range(k)] for p in POINTS[: n - 1]]
    return [*rows, [Fraction(0)] * (k - 1) + [Fraction(1)]]


def inverted(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """The inverse, by elimination."""
    n = len(matrix)
    rows = [[*row, *(Fraction(i == j) for j in range(n))] for i, row in enumerate(matrix)]
    for c in range(n):
        pivot = next(i for i in range(c, n) if rows[i][c])
        rows[c], rows[pivot] = rows[pivot], rows[c]
        rows[c] = [v / rows[c][c] for v in rows[c]]
        for i in range(n):
            if i != c:
                rows[i] = [v - rows[i][c] * w for v, w in zip(rows[i], rows[c], strict=True)]
    return [row[n:] for row in rows]
