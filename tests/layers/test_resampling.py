"""Resampling2D: values by hand, the formula of its docstring, and its adjoint."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.layers.configuration import from_config, to_config
from tests.helpers import draw

factors = st.sampled_from([0.5, 0.4, 0.75, 1.0, 1.3, 2.0, 3.0])


def built(factor, shape, dtype="float64", **options):
    layer = mg.Resampling2D(factor, **options)
    return layer, layer.build(shape, dtype)


def row(values, factor, **options):
    """One row of pixels, one channel, resampled along its length."""
    layer, _ = built((1, factor), (1, len(values), 1), **options)
    return layer.forward(np.array(values, float).reshape(1, 1, -1, 1))[0].ravel().tolist()


def test_values():
    """What Keras and PyTorch (align_corners=False) give, pixel by pixel."""
    assert row([0, 4, 8], 2) == [0, 1, 3, 5, 7, 8]
    assert row([0, 3], 3) == pytest.approx([0, 0, 1, 2, 3, 3])
    assert row([0, 8, 4, 12], 0.5, antialias=False) == [4, 8]
    # weights 1, 3, 3, 1 of eighths; at the borders the first is outside
    assert row([0, 8, 4, 12], 0.5) == pytest.approx([(24 + 4) / 7, (8 + 12 + 36) / 7])
    assert row([5, 7, 9], 1) == [5, 7, 9]
    assert row([0, 4, 8], 2, antialias=False) == row([0, 4, 8], 2)


def pixel(x, o, n, out, antialias):
    """(sum of w_i x_i, sum of w_i) of pixel o of the result along the first axis, as written."""
    c = (o + 1 / 2) * n / out - 1 / 2
    r = max(1, n / out) if antialias else 1
    w = [max(0, 1 - abs(i - c) / r) for i in range(n)]
    return sum(w[i] * x[i] for i in range(n)) / math.fsum(w)


@settings(max_examples=30, derandomize=True)
@given(st.integers(3, 6), st.integers(3, 6), factors, factors, st.booleans())
def test_the_formula(h, w, fh, fw, antialias):
    layer, shape = built((fh, fw), (h, w, 2), antialias=antialias)
    oh, ow = math.floor(fh * h + 1e-9), math.floor(fw * w + 1e-9)
    assert shape == (oh, ow, 2)
    x = draw((3, h, w, 2))
    tall = np.stack([pixel(np.moveaxis(x, 1, 0), o, h, oh, antialias) for o in range(oh)], axis=1)
    y = np.stack([pixel(np.moveaxis(tall, 2, 0), p, w, ow, antialias) for p in range(ow)], axis=2)
    found, cache = layer.forward(x)
    np.testing.assert_allclose(found, y, rtol=1e-12, atol=1e-13)
    dy = draw(y.shape, seed=1)
    dx, grads = layer.backward(dy, cache)
    assert grads == {} and dx.shape == x.shape
    assert (y * dy).sum() == pytest.approx((x * dx).sum(), rel=1e-11)
    ty = layer.tangent(dx, cache)
    assert np.array_equal(ty, layer.forward(dx)[0])


@settings(max_examples=15, derandomize=True)
@given(st.integers(3, 5), st.integers(3, 6), factors, factors, st.booleans(), st.integers(0, 50))
def test_gradients(h, w, fh, fw, antialias, seed):
    layer = mg.Resampling2D((fh, fw), antialias=antialias)
    report = mg.check_gradients(layer, (h, w, 2), seed=seed)
    assert report.ok and report.max_error <= 1e-11, str(report)


@pytest.mark.parametrize("factor", [0.3, 0.5, 1.7, 2])
def test_a_flat_image_stays_flat(factor):
    layer, _ = built(factor, (7, 9, 2), "float32")
    y, _ = layer.forward(np.full((1, 7, 9, 2), 3, "float32"))
    assert y.dtype == np.float32 and np.abs(y - 3).max() < 1e-5


def test_antialiasing_keeps_stripes_from_turning_into_a_flat_image_of_one_colour():
    stripes = [1, -1, -1, 1, -1, -1, 1, -1, -1]
    sparse, smooth = (row(stripes, 1 / 3, antialias=a) for a in (False, True))
    assert sparse == pytest.approx([-1, -1, -1])
    assert np.abs(np.array(smooth) + 1 / 3).max() < 0.2


@pytest.mark.parametrize(
    "factor, n, out", [(0.29, 100, 29), (0.7, 10, 7), (1.1, 10, 11), (0.5, 5, 2)]
)
def test_sides_are_rounded_down_but_not_by_a_rounding_error(factor, n, out):
    assert built((factor, 1), (n, 2, 1))[1] == (out, 2, 1)


def test_arguments():
    assert built(2, (3, 4, 1))[0].factor == (2.0, 2.0)
    layer = mg.Resampling2D((0.5, 2), antialias=False)
    again = from_config(to_config(layer))
    assert again.factor == (0.5, 2.0) and again.antialias is False
    assert mg.Resampling2D((np.int64(2), np.float32(0.5))).factor == (2.0, 0.5)
    for bad in (0, True, -1, float("inf"), float("nan"), "2", (2,), (1, 2, 3), None):
        with pytest.raises(ValueError, match=r"Resampling2D: factor=.*a positive number, or two"):
            mg.Resampling2D(bad)
    with pytest.raises(ValueError, match=r"takes \(None, height, width, channels\), got \(None, 5"):
        mg.Resampling2D(2).build((5, 2))
    with pytest.raises(ValueError, match=r"resampling2d: factor=\(0.3, 0.3\) leaves nothing of"):
        mg.Resampling2D(0.3).build((3, 8, 1))
