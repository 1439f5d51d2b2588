"""The matrices of Cook and Toom: exact for rationals, and how far they magnify roundings."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from minigan.kernels import cooktoom

pytestmark = pytest.mark.cpu("exact matrices, on paper")

TILES = [(m, r) for r in range(2, 6) for m in range(2, 10 - r)]


@pytest.mark.parametrize("m, r", TILES)
def test_the_identity_in_whole_numbers(m, r):
    """V_m^T [(V_r g) * (V_n^-T d)], in fractions: not a digit is lost."""
    n = m + r - 1
    rng = np.random.default_rng(m * 10 + r)
    d, g = ([Fraction(int(v)) for v in rng.integers(-9, 10, size)] for size in (n, r))
    inverse = cooktoom.inverted(cooktoom.powers(n, n))
    points = [
        sum(a * b for a, b in zip(row, g, strict=True))
        * sum(inverse[j][i] * d[j] for j in range(n))
        for i, row in enumerate(cooktoom.powers(n, r))
    ]
    A = cooktoom.powers(n, m)
    y = [sum(A[i][o] * points[i] for i in range(n)) for o in range(m)]
    assert y == [sum(d[o + u] * g[u] for u in range(r)) for o in range(m)]


@pytest.mark.parametrize("m, r", TILES)
def test_the_transforms(m, r):
    A, G, B = cooktoom.transforms(m, r)
    d, g = np.random.default_rng(0).standard_normal((2, m + r - 1))
    y = A.T @ ((G @ g[:r]) * (B.T @ d))
    np.testing.assert_allclose(y, [d[o : o + r] @ g[:r] for o in range(m)], atol=1e-13)


def test_a_single_tap_needs_no_transform():
    for matrix in cooktoom.transforms(1, 1):
        np.testing.assert_allclose(matrix, [[1.0]])


def test_too_many_points():
    with pytest.raises(ValueError, match="m=8, r=5 need 11 points; there are 9"):
        cooktoom.transforms(8, 5)
