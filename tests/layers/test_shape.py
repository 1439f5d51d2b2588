"""Flatten and Reshape: renamings of axes in row-major order."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from tests.helpers import draw, laid_out


@pytest.mark.parametrize("layout", ["C", "F", "negative", "strided", "transposed"])
def test_flatten_is_row_major_whatever_the_layout(layout):
    layer = mg.Flatten()
    assert layer.build((2, 3, 4), "float64") == (24,)
    x = draw((5, 2, 3, 4))
    y, cache = layer.forward(laid_out(x, layout))
    for n, i, j, k in np.ndindex(x.shape):
        assert y[n, i * 12 + j * 4 + k] == x[n, i, j, k]
    dy = draw((5, 24), seed=1)
    assert np.array_equal(layer.backward(laid_out(dy, layout), cache)[0].ravel(), dy.ravel())


@pytest.mark.parametrize(
    "target, shape",
    [((6, 4), (6, 4)), ((-1,), (24,)), ((2, -1, 3), (2, 4, 3)), (24, (24,)), ([4, 6], (4, 6))],
)
def test_reshape(target, shape):
    layer = mg.Reshape(target)
    assert layer.build((2, 3, 4), "float64") == shape
    x = draw((5, 2, 3, 4))
    y, cache = layer.forward(x)
    assert y.shape == (5, *shape) and np.array_equal(y.ravel(), x.ravel())
    dx, grads = layer.backward(y, cache)
    assert np.array_equal(dx, x) and grads == {}


def test_gradients():
    for layer in (mg.Flatten(), mg.Reshape((3, -1))):
        report = mg.check_gradients(layer, (2, 3, 2), batch=2)
        assert report.ok and report.max_error <= 1e-11, str(report)


def test_errors():
    for target in ((5, 5), (-1, 7), (-1, 48)):
        with pytest.raises(ValueError, match=r"reshape: \(None, 2, 3, 4\) has 24 values a sample"):
            mg.Reshape(target).build((2, 3, 4))
    with pytest.raises(ValueError, match="more than one -1"):
        mg.Reshape((-1, -1))
    with pytest.raises(ValueError, match="target_shape=0"):
        mg.Reshape((0, 4))
