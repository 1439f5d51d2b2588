"""The pooling layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from tests.helpers import draw

X = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])[None, :, :, None]


def run(layer, x):
    layer.build(x.shape[1:], x.dtype)
    y, cache = layer.forward(x)
    return y[0, :, :, 0].tolist(), layer.backward(np.ones_like(y), cache)[0][0, :, :, 0].tolist()


def test_values_of_max_pooling():
    assert run(mg.MaxPooling2D(2), X) == ([[5]], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert run(mg.MaxPooling2D(2, padding="same"), X)[0] == [[5, 6], [8, 9]]
    y, dx = run(mg.MaxPooling2D(2, strides=1), X)
    assert y == [[5, 6], [8, 9]] and dx == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    y, dx = run(mg.MaxPooling2D(3, strides=1, padding="same"), -X)
    assert y == [[-1, -1, -2], [-1, -1, -2], [-4, -4, -5]]  # the zeros of the padding never win
    assert dx == [[4, 2, 0], [2, 1, 0], [0, 0, 0]]


def test_values_of_average_pooling():
    y, dx = run(mg.AveragePooling2D(2), X)
    assert y == [[3]] and dx == [[0.25, 0.25, 0], [0.25, 0.25, 0], [0, 0, 0]]
    y, dx = run(mg.AveragePooling2D(2, padding="same"), X)
    assert y == [[3, 4.5], [7.5, 9]]
    assert dx == [[0.25, 0.25, 0.5], [0.25, 0.25, 0.5], [0.5, 0.5, 1]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_of_a_tie_the_first_in_row_major_order_gets_all(dtype):
    x = np.ones((1, 2, 2, 1), dtype)
    assert run(mg.MaxPooling2D(2), x)[1] == [[1, 0], [0, 0]]
    x[0, 0, 0] = 0
    assert run(mg.MaxPooling2D(2), x)[1] == [[0, 1], [0, 0]]
    x[0, 0, 1] = 0
    assert run(mg.MaxPooling2D(2), x)[1] == [[0, 0], [1, 0]]


def test_strides_are_the_pool_size_unless_given():
    layer = mg.MaxPooling2D((2, 3))
    assert layer.strides == (2, 3)
    assert layer.build((5, 7, 2)) == (2, 2, 2)
    assert mg.MaxPooling2D((2, 3), padding="same").build((5, 7, 2)) == (3, 3, 2)
    assert mg.AveragePooling2D(3, strides=(1, 2)).build((5, 7, 2)) == (3, 3, 2)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=30)
@given(
    st.sampled_from([mg.MaxPooling2D, mg.AveragePooling2D]),
    pairs, pairs, st.sampled_from(["same", "valid"]), st.integers(1, 2), st.integers(0, 50),
)  # fmt: skip
def test_gradients(cls, size, strides, padding, batch, seed):
    layer = cls(size, strides=strides, padding=padding)
    report = mg.check_gradients(layer, (5, 4, 2), batch=batch, seed=seed)
    assert report.ok and report.max_error <= 1e-11, str(report)


def test_max_pooling_keeps_the_winners_and_not_the_input():
    layer = mg.MaxPooling2D(2)
    layer.build((4, 4, 1), "float64")
    x = draw((2, 4, 4, 1))
    y, cache = layer.forward(x)
    dy = draw(y.shape, seed=1)
    expected = layer.backward(dy, cache)[0].copy()
    x[...] = np.roll(x, 1, axis=2)
    assert np.array_equal(layer.backward(dy, cache)[0], expected)


def test_errors():
    with pytest.raises(ValueError, match=r"max_pooling2d: input \(None, 2, 5, 1\): a kernel of 3"):
        mg.MaxPooling2D(3).build((2, 5, 1))
    with pytest.raises(ValueError, match=r"AveragePooling2D takes \(None, height, width, chan"):
        mg.AveragePooling2D(2).build((4, 4))
    with pytest.raises(ValueError, match="MaxPooling2D: pool_size=0"):
        mg.MaxPooling2D(0)
    with pytest.raises(ValueError, match="padding='SAME' is unknown"):
        mg.MaxPooling2D(2, padding="SAME")
    with pytest.raises(TypeError):
        mg.MaxPooling2D(2, 2)
