"""Pooling and upsampling against their definitions, and their adjoints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minigan.kernels import cpu, reference
from minigan.kernels.geometry import Axis, Geometry, axis
from tests.helpers import DTYPES, LAYOUTS, assert_close, draw, forced, laid_out

axes = st.builds(
    lambda size, kernel, stride, padding: axis(
        max(size, kernel) if padding == "valid" else size, kernel, stride, padding
    ),
    *(st.integers(1, n) for n in (9, 4, 4)),
    st.sampled_from(["same", "valid", "valid"]),
)
tiles = st.integers(1, 3).flatmap(  # the fast form: windows side by side
    lambda k: st.builds(
        lambda size, stride: axis(max(size, k), k, stride, "valid"),
        st.integers(1, 9),
        st.integers(k, 4),
    )
)
geometries = st.builds(Geometry, axes, axes) | st.builds(Geometry, tiles, tiles)


def assert_adjoint(outer, inner):
    """<L x, dy> = <x, L^T dy>, given (L x, dy) and (x, L^T dy)."""
    (a, b), (c, d) = outer, inner
    tolerance = 1e-4 if a.dtype == "float32" else 1e-12
    assert abs((a * b).sum() - (c * d).sum()) <= tolerance * (1 + np.abs(a * b).sum())


@settings(max_examples=60)
@given(
    geometries, st.integers(1, 4), st.integers(1, 3), st.sampled_from(DTYPES),
    st.sampled_from(LAYOUTS), st.booleans(), st.integers(0, 100),
)  # fmt: skip
def test_max_pool_is_its_definition(geo, n, c, dtype, layout, ties, seed):
    x = draw((n, geo.rows.size, geo.cols.size, c), dtype, seed)
    x = laid_out(np.round(x) if ties else x, layout)
    with forced(threads_=2):
        y, winner = cpu.max_pool2d(x, geo)
        y_expected, winner_expected = reference.max_pool2d(x, geo)
        assert y.dtype == x.dtype
        assert np.array_equal(y, y_expected) and np.array_equal(winner, winner_expected)
        dy = laid_out(draw(y.shape, dtype, seed + 1), layout)
        found = cpu.max_pool2d_adjoint(dy, winner, geo)
        tx = laid_out(draw(x.shape, dtype, seed + 2), layout)
        ty = cpu.max_pool2d_tangent(tx, winner, geo)
    assert_close(found, reference.max_pool2d_adjoint(dy, winner, geo), 16)
    # the map x -> y with the winners held fixed is linear
    assert np.array_equal(cpu.max_pool2d_tangent(x, winner, geo), y)
    assert np.array_equal(ty, reference.max_pool2d_tangent(tx, winner, geo))
    assert ty.dtype == tx.dtype
    assert_adjoint((ty, dy), (tx, found))


@pytest.mark.parametrize("share", [0.1, 0.9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_value_that_is_not_a_number_wins(share, dtype):
    geo = Geometry(axis(6, 3, 3, "valid"), axis(8, 2, 2, "valid"))
    x = draw((3, 6, 8, 4), dtype)
    x[np.random.default_rng(0).random(x.shape) < share] = np.nan
    (y, winner), (y_expected, winner_expected) = (k.max_pool2d(x, geo) for k in (cpu, reference))
    assert np.isnan(y).any()
    assert np.array_equal(y, y_expected, equal_nan=True)
    assert np.array_equal(winner, winner_expected)


@pytest.mark.parametrize(
    "row", [(5, 2, 2, 2, 1), (4, 2, 3, 3, 2), (6, 3, 2, 3, 1), (5, 2, 1, 3, 0)]
)
def test_explicit_geometries(row):
    """Windows side by side that begin in the padding, as no layer makes them."""
    geo = Geometry(Axis(*row), Axis(4, 2, 2, 2, 0))
    x = -1 - np.abs(draw((3, row[0], 4, 2)))  # a pixel of the padding would win
    y, winner = cpu.max_pool2d(x, geo)
    expected, winner_expected = reference.max_pool2d(x, geo)
    assert np.array_equal(y, expected) and np.array_equal(winner, winner_expected)
    assert (y < 0).all()
    dy = draw(y.shape, seed=1)
    found = cpu.max_pool2d_adjoint(dy, winner, geo)
    assert_close(found, reference.max_pool2d_adjoint(dy, winner, geo), 4)


def test_of_equal_values_the_first_in_row_major_order_wins():
    geo = Geometry(axis(4, 2, 2, "valid"), axis(4, 2, 2, "valid"))
    x = np.zeros((1, 4, 4, 1))
    x[0, 1, 0] = x[0, 1, 1] = 1  # a tie in the second row of the first window
    y, winner = cpu.max_pool2d(x, geo)
    assert winner[0, :, :, 0].tolist() == [[2, 0], [0, 0]]
    dx = cpu.max_pool2d_adjoint(np.ones_like(y), winner, geo)
    assert [tuple(i) for i in np.argwhere(dx[0, :, :, 0])] == [(0, 2), (1, 0), (2, 0), (2, 2)]


def test_complex_numbers_are_compared_by_their_real_parts():
    geo = Geometry(axis(1, 1, 1, "valid"), axis(4, 2, 2, "valid"))
    x = np.array([1 + 0j, 1 + 9j, 0 + 9j, 0.5 - 9j]).reshape(1, 1, 4, 1)
    assert cpu.max_pool2d(x, geo)[1].ravel().tolist() == [0, 1]


def test_pixels_in_no_window_get_no_gradient():
    geo = Geometry(axis(5, 2, 2, "valid"), axis(5, 2, 3, "valid"))
    x = draw((2, 5, 5, 1))
    x[:, 4], x[:, :, 2] = 99, 99  # the largest pixels are outside every window
    y, winner = cpu.max_pool2d(x, geo)
    assert y.max() < 99
    dx = cpu.max_pool2d_adjoint(np.ones_like(y), winner, geo)
    assert not dx[:, 4].any() and not dx[:, :, 2].any() and dx.sum() == y.size


@settings(max_examples=40)
@given(geometries, st.integers(1, 3), st.sampled_from(DTYPES), st.sampled_from(LAYOUTS))
def test_average_pool(geo, c, dtype, layout):
    windows = reference.pool_counts(np.ones((1, geo.rows.size, geo.cols.size, 1)), geo)
    assume(windows.all())
    x = laid_out(draw((2, geo.rows.size, geo.cols.size, c), dtype), layout)
    y = cpu.average_pool2d(x, geo)
    dy = laid_out(draw(y.shape, dtype, 1), layout)
    dx = cpu.average_pool2d_adjoint(dy, geo)
    assert_close(y, reference.average_pool2d(x, geo), 16)
    assert_close(dx, reference.average_pool2d_adjoint(dy, geo), 16)
    assert_adjoint((y, dy), (x, dx))


@settings(max_examples=40)
@given(*(st.integers(1, 4) for _ in range(6)), st.sampled_from(DTYPES), st.sampled_from(LAYOUTS))
def test_upsampling(n, h, w, c, fh, fw, dtype, layout):
    x = laid_out(draw((n, h, w, c), dtype), layout)
    dy = laid_out(draw((n, h * fh, w * fw, c), dtype, 1), layout)
    before = x.copy(), dy.copy()
    with forced(threads_=3):
        y, dx = cpu.upsample2d(x, (fh, fw)), cpu.upsample2d_adjoint(dy, (fh, fw))
    assert np.array_equal(y, reference.upsample2d(x, (fh, fw)))
    assert_close(dx, reference.upsample2d_adjoint(dy, (fh, fw)), fh * fw, scale=16)
    assert y.flags.c_contiguous and not np.shares_memory(y, x)
    assert np.array_equal(x, before[0]) and np.array_equal(dy, before[1])
    assert_adjoint((y, dy), (x, dx))


@settings(max_examples=40, derandomize=True)
@given(
    *(st.integers(1, 5) for _ in range(6)), st.sampled_from(DTYPES), st.sampled_from(LAYOUTS),
    st.sampled_from([cpu, reference]),
)  # fmt: skip
def test_resampling(n, h, w, c, oh, ow, dtype, layout, module):
    x = laid_out(draw((n, h, w, c), dtype), layout)
    real = "float32" if dtype == "float32" else "float64"
    rows, cols = draw((oh, h), real, 1), draw((ow, w), real, 2)
    y = module.resample2d(x, rows, cols)
    assert_close(y, np.einsum("oh,nhwc,pw->nopc", rows, x, cols), h * w, scale=64)
    dy = laid_out(draw(y.shape, dtype, 3), layout)
    assert_adjoint((y, dy), (x, module.resample2d(dy, rows.T, cols.T)))


@pytest.mark.parametrize("stride, kernel", [(2, 2), (3, 2), (2, 3)])
def test_large_batches_over_threads_give_the_same_bits(stride, kernel):
    geo = Geometry(Axis(13, 4, kernel, stride, 0), Axis(12, 4, kernel, stride, 0))
    x, tx = draw((9, 13, 12, 5), "float32"), draw((9, 13, 12, 5), "float32", 1)

    def passes(count):
        with forced(threads_=count):
            y, winner = cpu.max_pool2d(x, geo)
            return y, winner, cpu.max_pool2d_tangent(tx, winner, geo)

    one, three = passes(1), passes(3)
    assert all(np.array_equal(a, b) for a, b in zip(one, three, strict=True))
