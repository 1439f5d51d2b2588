"""UpSampling2D."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from tests.helpers import draw


@pytest.mark.parametrize("size", [1, 2, (1, 3), (3, 2)])
def test_the_formulas(size):
    layer = mg.UpSampling2D(size)
    fh, fw = layer.size
    assert layer.build((2, 3, 2), "float64") == (2 * fh, 3 * fw, 2)
    x = draw((2, 2, 3, 2))
    y, cache = layer.forward(x)
    for i, j in np.ndindex(2 * fh, 3 * fw):
        assert np.array_equal(y[:, i, j], x[:, i // fh, j // fw])
    dy = draw(y.shape, seed=1)
    dx, _ = layer.backward(dy, cache)
    for a, b in np.ndindex(2, 3):
        block = dy[:, a * fh : (a + 1) * fh, b * fw : (b + 1) * fw]
        np.testing.assert_allclose(dx[:, a, b], block.sum(axis=(1, 2)), rtol=1e-13)


@settings(max_examples=15)
@given(*(st.integers(1, 3) for _ in range(5)), st.integers(0, 50))
def test_gradients(fh, fw, h, w, batch, seed):
    report = mg.check_gradients(mg.UpSampling2D((fh, fw)), (h, w + 1, 2), batch=batch, seed=seed)
    assert report.ok and report.max_error <= 1e-11, str(report)


def test_errors():
    with pytest.raises(ValueError, match=r"takes \(None, height, width, channels\), got"):
        mg.UpSampling2D(2).build((4, 4))
    with pytest.raises(ValueError, match="UpSampling2D: size=0"):
        mg.UpSampling2D(0)
    with pytest.raises(TypeError, match="here it is size"):
        mg.UpSampling2D(scale_factor=2)
