"""Embedding: rows of a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from tests.helpers import draw


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
def test_the_formulas(shape, kind):
    layer = mg.Embedding(5, 3)
    assert layer.build(shape, "float64") == (*shape, 3)
    x = np.random.default_rng(0).integers(5, size=(6, *shape)).astype(kind)
    y, cache = layer.forward(x)
    dy = draw(y.shape, seed=1)
    dx, grads = layer.backward(dy, cache)
    one_hot = np.eye(5)[x.ravel()]
    assert np.array_equal(y.reshape(-1, 3), one_hot @ layer.params["embeddings"])
    np.testing.assert_allclose(grads["embeddings"], one_hot.T @ dy.reshape(-1, 3), atol=1e-14)
    assert dx is None


def test_rows_of_absent_labels_have_no_gradient_and_repeated_ones_add():
    layer = mg.Embedding(4, 2)
    layer.build((), "float64")
    y, cache = layer.forward(np.array([2, 0, 2]))
    _, grads = layer.backward(np.array([[1.0, 2], [3, 4], [5, 6]]), cache)
    assert grads["embeddings"].tolist() == [[3, 4], [0, 0], [6, 8], [0, 0]]


def test_the_output_is_not_the_table():
    layer = mg.Embedding(4, 2)
    layer.build((), "float64")
    y, _ = layer.forward(np.array([1]))
    y += 1
    assert not np.array_equal(y[0], layer.params["embeddings"][1])


@settings(max_examples=15)
@given(*(st.integers(1, 5) for _ in range(3)), st.sampled_from([(), (2,)]), st.integers(0, 50))
def test_gradients(classes, units, batch, shape, seed):
    report = mg.check_gradients(mg.Embedding(classes, units), shape, batch=batch, seed=seed)
    assert report.ok and report.max_error <= 1e-11, str(report)


def test_errors():
    layer = mg.Embedding(5, 3)
    layer.build(())
    for labels in ([0, 5], [-1, 2], [100]):
        with pytest.raises(ValueError, match="embedding: labels run from 0 to 4, got"):
            layer.forward(np.array(labels))
    for labels in (np.array([1.0]), np.array([True]), [1, 2], "a"):
        with pytest.raises(TypeError, match="labels are whole numbers"):
            layer.forward(labels)
    for labels in (np.zeros((2, 1), int), np.zeros((), int)):
        with pytest.raises(ValueError, match=r"expected labels of shape \(None,\), got"):
            layer.forward(labels)
    with pytest.raises(ValueError, match="Embedding: classes=0"):
        mg.Embedding(0, 3)
    with pytest.raises(ValueError):
        mg.Embedding(5, 3).forward(np.array([1]))
