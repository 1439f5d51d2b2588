"""What a caller is told when the contract of a layer is broken."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan.layers import arguments
from tests.helpers import KEY, built, draw, every_case, inputs


def lines(error):
    return str(error.value).splitlines()


@every_case
def test_a_wrong_shape_names_what_was_expected_and_what_came(name):
    layer, x = built(name), inputs(name)
    for wrong in (x[..., None], x[:, None]):
        with pytest.raises(ValueError) as error:
            layer.forward(wrong)
        text = str(error.value)
        assert len(lines(error)) <= 5
        shape = arguments.show_shape(layer.input_shape)
        assert shape in text and str(wrong.shape) in text
        first = layer.layers[0].name if isinstance(layer, mg.Sequential) else layer.name
        child = layer.layers[0].name if isinstance(layer, mg.Parallel) else first
        assert text.startswith((first, child))


def test_the_remedy_is_named():
    layer = mg.Conv2D(2, 3)
    with pytest.raises(ValueError, match=r"not built yet; call build\(input_shape\)"):
        layer.forward(np.zeros((1, 5, 4, 2), "float32"))
    layer.build((5, 4, 2))
    with pytest.raises(ValueError, match=r"batch axis is missing: x\[None\]"):
        layer.forward(np.zeros((5, 4, 2), "float32"))
    with pytest.raises(ValueError, match=r"channels come last here: x\.transpose\(0, 2, 3, 1\)"):
        layer.forward(np.zeros((1, 2, 5, 4), "float32"))
    with pytest.raises(TypeError, match="a list; give an array"):
        layer.forward([[1.0]])
    with pytest.raises(ValueError, match="the batch is empty"):
        layer.forward(np.zeros((0, 5, 4, 2), "float32"))
    with pytest.raises(
        ValueError, match=r"dy has shape \(1, 5, 4, 2\), but the output.*\(1, 3, 2, 2\)"
    ):
        y, cache = layer.forward(np.zeros((1, 5, 4, 2), "float32"))
        layer.backward(np.zeros((1, 5, 4, 2), "float32"), cache)
    with pytest.raises(ValueError, match="backward needs the cache that forward returned"):
        layer.backward(y, None)
    with pytest.raises(ValueError, match="backward needs the cache that forward returned"):
        layer.backward(y, y)


@every_case
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_dy_of_another_batch_is_an_error(name, batch):
    layer = built(name)
    y, cache = layer.forward(inputs(name, batch=3), rng=KEY)
    with pytest.raises(ValueError) as error:
        layer.backward(draw((batch, *y.shape[1:])), cache)
    assert layer.name in str(error.value) and "dy" in str(error.value)


@pytest.mark.parametrize("shape", [(0,), (3, -1), (2.5,), ("a",), (None, 4)])
def test_an_input_shape_is_whole_numbers(shape):
    with pytest.raises(ValueError, match="whole numbers"):
        mg.Tanh().build(shape)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64", "floaty", None, object()])
def test_unknown_dtypes(dtype):
    with pytest.raises(TypeError, match="not one of float32, float64, complex128"):
        mg.Dense(2).build((3,), dtype=dtype)


def test_trainable_points_to_wrt():
    layer = mg.Dense(2)
    assert layer.trainable is True
    with pytest.raises(AttributeError, match=r'wrt="input"'):
        layer.trainable = False
