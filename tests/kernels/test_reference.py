"""The definitions, against loops, brute force and each other's adjoints."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan import kernels
from minigan.kernels import cpu, reference
from minigan.kernels.geometry import Axis, Geometry, axis
from tests.helpers import assert_close, draw

SETTINGS = settings(max_examples=30)

any_axis = st.builds(
    lambda size, out, kernel, stride, before: Axis(size, out, kernel, stride, before % kernel),
    *(st.integers(1, n) for n in (7, 4, 4, 3)),
    st.integers(0, 3),
)
geometries = st.builds(Geometry, any_axis, any_axis)
seeds = st.integers(0, 1000)
sizes = st.integers(1, 3)


def dot(a, b):
    return (a * b).sum()


def shapes(geo, n, c, oc):
    rows, cols = geo
    return (
        (n, rows.size, cols.size, c),
        (rows.kernel, cols.kernel, c, oc),
        (n, rows.out, cols.out, oc),
    )


@SETTINGS
@given(geometries, sizes, sizes, sizes, seeds)
def test_conv2d_is_the_loops(geo, n, c, oc, seed):
    x, kernel, _ = (draw(s, seed=seed + i) for i, s in enumerate(shapes(geo, n, c, oc)))
    assert_close(
        reference.conv2d(x, kernel, geo), reference.conv2d_loops(x, kernel, geo), 48, scale=10
    )


def test_loops_by_hand():
    # 5 pixels, kernel 2, stride 2, padded as TensorFlow pads: one zero after the last pixel
    geo = Geometry(axis(1, 1, 1, "same"), axis(5, 2, 2, "same"))
    x = np.array([1.0, 2, 3, 4, 5]).reshape(1, 1, 5, 1)
    kernel = np.array([10.0, 1]).reshape(1, 2, 1, 1)
    assert reference.conv2d_loops(x, kernel, geo).ravel().tolist() == [12.0, 34.0, 50.0]


@SETTINGS
@given(geometries, sizes, sizes, sizes, seeds)
def test_the_three_functions_are_one_trilinear_form(geo, n, c, oc, seed):
    x, kernel, y = (draw(s, seed=seed + i) for i, s in enumerate(shapes(geo, n, c, oc)))
    form = dot(reference.conv2d(x, kernel, geo), y)
    assert form == pytest.approx(dot(x, reference.conv2d_adjoint(y, kernel, geo)), abs=1e-10)
    assert form == pytest.approx(dot(kernel, reference.conv2d_dkernel(x, y, geo)), abs=1e-10)


@SETTINGS
@given(geometries, sizes, sizes, seeds)
def test_col2im_is_adjoint_to_im2col(geo, n, c, seed):
    (rows, cols) = geo
    x = draw((n, rows.size, cols.size, c), seed=seed)
    columns = draw((n, rows.out, cols.out, rows.kernel, cols.kernel, c), seed=seed + 1)
    left = dot(reference.im2col(x, geo), columns)
    assert left == pytest.approx(dot(x, reference.col2im(columns, geo)), abs=1e-10)


def test_windows_wholly_in_the_padding_are_zero():
    geo = Geometry(Axis(3, 5, 2, 1, 3), Axis(3, 5, 2, 1, 3))
    x, kernel = draw((2, 3, 3, 2)), draw((2, 2, 2, 1), seed=1)
    y = reference.conv2d(x, kernel, geo)
    assert not y[:, 0].any() and not y[:, :, 0].any() and y[:, 2:, 2:].all()
    assert_close(y, reference.conv2d_loops(x, kernel, geo), 8, scale=5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_results_have_the_dtype_of_the_input(dtype):
    geo = Geometry(axis(5, 3, 2, "same"), axis(4, 2, 1, "valid"))
    x, kernel, dy = (draw(s, dtype) for s in shapes(geo, 2, 2, 3))
    results = {
        "conv2d": reference.conv2d(x, kernel, geo),
        "conv2d_loops": reference.conv2d_loops(x, kernel, geo),
        "conv2d_adjoint": reference.conv2d_adjoint(dy, kernel, geo),
        "conv2d_dkernel": reference.conv2d_dkernel(x, dy, geo),
        "max_pool2d": reference.max_pool2d(x, geo)[0],
        "average_pool2d": reference.average_pool2d(x, geo),
        "average_pool2d_adjoint": reference.average_pool2d_adjoint(dy, geo),
        "upsample2d": reference.upsample2d(x, (2, 3)),
        "leaky_relu": reference.leaky_relu(x, 0.2),
        "sigmoid": reference.sigmoid(x),
        "tanh_backward": reference.tanh_backward(x, x),
        "sigmoid_backward": reference.sigmoid_backward(x, x),
        "batch_moments": reference.batch_moments(x)[1],
        "column_sums": reference.column_sums(x),
    }
    assert {k: v.dtype.name for k, v in results.items()} == dict.fromkeys(results, dtype)


def test_max_pool_by_hand():
    x = np.array([[3.0, 3, -1, -2], [3, 1, -4, -1], [5, 0, 0, 0]])[None, :, :, None]
    geo = Geometry(axis(3, 2, 2, "same"), axis(4, 2, 2, "same"))
    y, winner = reference.max_pool2d(x, geo)
    assert y[0, :, :, 0].tolist() == [[3.0, -1.0], [5.0, 0.0]]
    assert winner[0, :, :, 0].tolist() == [[0, 0], [0, 0]]  # the first in row-major order
    dx = reference.max_pool2d_adjoint(np.array([[1.0, 2], [3, 4]])[None, :, :, None], winner, geo)
    assert dx[0, :, :, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0]]


def test_padding_never_wins_a_max_pool():
    geo = Geometry(axis(3, 3, 1, "same"), axis(3, 3, 1, "same"))
    x = -1 - np.random.default_rng(0).random((2, 3, 3, 2))
    assert (reference.max_pool2d(x, geo)[0] < 0).all()


@SETTINGS
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), seeds)
def test_max_pool_by_brute_force(h, w, k, s, seed):
    geo = Geometry(axis(h, k, s, "same"), axis(w, k, s, "same"))
    x = np.random.default_rng(seed).integers(-2, 3, (2, h, w, 1)).astype(float)  # many ties
    y, _ = reference.max_pool2d(x, geo)
    dy = draw(y.shape, seed=seed)
    expected, dx = np.empty_like(y), np.zeros_like(x)
    for n, o, p in np.ndindex(y.shape[:3]):
        pixels = [
            (r, c)
            for r in range(s * o - geo.rows.before, s * o - geo.rows.before + k)
            for c in range(s * p - geo.cols.before, s * p - geo.cols.before + k)
            if 0 <= r < h and 0 <= c < w
        ]
        best = max(pixels, key=lambda rc, n=n: x[n, rc[0], rc[1], 0])  # max takes the first
        expected[n, o, p, 0] = x[n, best[0], best[1], 0]
        dx[n, best[0], best[1], 0] += dy[n, o, p, 0]
    assert np.array_equal(y, expected)
    found = reference.max_pool2d_adjoint(dy, reference.max_pool2d(x, geo)[1], geo)
    np.testing.assert_allclose(found, dx, atol=1e-14)


def test_average_pool_counts_only_the_image():
    geo = Geometry(axis(3, 2, 2, "same"), axis(3, 3, 1, "same"))
    assert np.array_equal(
        reference.average_pool2d(np.ones((1, 3, 3, 2)), geo), np.ones((1, 2, 3, 2))
    )
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    # the lower row of windows holds pixels 6, 7, 8 alone
    assert reference.average_pool2d(x, geo)[0, 1, :, 0].tolist() == [6.5, 7.0, 7.5]


@SETTINGS
@given(geometries, sizes, sizes, seeds)
def test_average_pool_and_its_adjoint(geo, n, c, seed):
    counts = reference.pool_counts(np.ones((1, geo.rows.size, geo.cols.size, 1)), geo)
    if not counts.all():
        return  # a window without any pixel has no mean
    x = draw((n, geo.rows.size, geo.cols.size, c), seed=seed)
    dy = draw((n, geo.rows.out, geo.cols.out, c), seed=seed + 1)
    left = dot(reference.average_pool2d(x, geo), dy)
    assert left == pytest.approx(dot(x, reference.average_pool2d_adjoint(dy, geo)), abs=1e-11)


@given(sizes, sizes, sizes, sizes, seeds)
@SETTINGS
def test_upsampling_and_its_adjoint(h, w, fh, fw, seed):
    x = draw((2, h, w, 2), seed=seed)
    y = reference.upsample2d(x, (fh, fw))
    for i, j in np.ndindex(h * fh, w * fw):
        assert np.array_equal(y[:, i, j], x[:, i // fh, j // fw])
    dy = draw(y.shape, seed=seed + 1)
    left = dot(y, dy)
    assert left == pytest.approx(dot(x, reference.upsample2d_adjoint(dy, (fh, fw))), abs=1e-11)


@pytest.mark.parametrize("x", [-700.0, -30.0, -1.5, 0.0, 1e-9, 2.0, 40.0])
def test_activations_against_math(x):
    a = np.array([x])
    sigmoid = 1 / (1 + math.exp(-x))
    assert reference.sigmoid(a)[0] == pytest.approx(sigmoid, rel=1e-14, abs=0)
    assert reference.tanh(a)[0] == pytest.approx(math.tanh(x), rel=1e-15)
    assert reference.leaky_relu(a, 0.25)[0] == (x if x > 0 else 0.25 * x)


def test_the_subgradient_at_the_kink_is_the_slope():
    assert reference.leaky_relu_backward(np.array([3.0]), np.array([0.0]), 0.25)[0] == 0.75


def test_batch_moments_are_mean_and_biased_variance():
    x = draw((4, 3, 2))
    mean, var = reference.batch_moments(x)
    for c in range(2):
        values = x[..., c].ravel().tolist()
        m = math.fsum(values) / 12
        assert mean[c] == pytest.approx(m, abs=1e-15)
        assert var[c] == pytest.approx(math.fsum((v - m) ** 2 for v in values) / 12, rel=1e-14)


def test_batch_norm_passes_are_their_formulas():
    x, dy = draw((4, 3)), draw((4, 3), seed=1)
    a, b, c = (draw((3,), seed=s) for s in (2, 3, 4))
    for n, k in np.ndindex(4, 3):
        assert reference.normalise(x, a, b)[n, k] == (x[n, k] - a[k]) * b[k]
        assert reference.scale_shift(x, a, b)[n, k] == x[n, k] * a[k] + b[k]
        expected = a[k] * (dy[n, k] - b[k] - x[n, k] * c[k])
        assert reference.normalise_dx(dy, x, a, b, c)[n, k] == pytest.approx(expected, rel=1e-14)
    expected = [math.fsum(x[:, k] * dy[:, k]) for k in range(3)]
    np.testing.assert_allclose(reference.product_sums(x, dy), expected, rtol=1e-13)


# the two sets of kernels


def functions(module):
    return {
        name: f
        for name, f in vars(module).items()
        if inspect.isfunction(f)
        and not name.startswith("_")
        and f.__module__.startswith("minigan.kernels")
    }


def test_both_sets_have_the_same_names_and_parameters():
    fast, slow = functions(cpu), functions(reference)
    assert set(fast) == set(cpu.__all__)
    only_defined = {"conv2d_loops", "pad", "tap", "im2col", "col2im", "pool_counts"}
    assert set(slow) - set(fast) == only_defined
    for name, function in fast.items():
        mine = inspect.signature(function).parameters
        theirs = inspect.signature(slow[name]).parameters
        assert [(p.name, p.default) for p in mine.values()] == [
            (p.name, p.default) for p in theirs.values()
        ], name


def test_ops_follow_the_array_and_using_exchanges_the_set():
    a = np.zeros(2)
    assert kernels.ops(a) is cpu
    assert kernels.ops(object()) is reference  # an array of any other home
    with kernels.using("reference"):
        assert kernels.ops(a) is reference
        with kernels.using("cpu"):
            assert kernels.ops(a) is cpu
        assert kernels.ops(a) is reference
    with pytest.raises(ZeroDivisionError), kernels.using("reference"):
        raise ZeroDivisionError
    assert kernels.ops(a) is cpu
    with pytest.raises(ValueError, match="'gpu' is unknown; choose one of cpu, exact, reference"):
        with kernels.using("gpu"):
            pass
