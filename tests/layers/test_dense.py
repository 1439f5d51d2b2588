"""Dense: the formulas of its docstring, element by element."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from tests.helpers import draw

# activation -> (f, f') on one number
FUNCTIONS = {
    None: (lambda z: z, lambda z: 1.0),
    "relu": (lambda z: max(z, 0.0), lambda z: float(z > 0)),
    "leaky_relu": (lambda z: z if z > 0 else 0.2 * z, lambda z: 1.0 if z > 0 else 0.2),
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "sigmoid": (
        lambda z: 1 / (1 + math.exp(-z)),
        lambda z: math.exp(-z) / (1 + math.exp(-z)) ** 2,
    ),
}


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_formulas(activation, use_bias):
    layer = mg.Dense(2, activation=activation, use_bias=use_bias, bias_initializer="random_normal")
    layer.build((3,), "float64")
    f, slope = FUNCTIONS[activation]
    x, dy = draw((4, 3)), draw((4, 2), seed=1)
    kernel, bias = layer.params["kernel"], layer.params.get("bias", np.zeros(2))
    y, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)

    dz = np.empty((4, 2))
    for n, j in np.ndindex(4, 2):
        z = math.fsum(x[n, i] * kernel[i, j] for i in range(3)) + bias[j]
        assert y[n, j] == pytest.approx(f(z), abs=1e-14)
        dz[n, j] = dy[n, j] * slope(z)
    for n, i in np.ndindex(4, 3):
        assert dx[n, i] == pytest.approx(math.fsum(dz[n] * kernel[i]), abs=1e-14)
    for i, j in np.ndindex(3, 2):
        assert grads["kernel"][i, j] == pytest.approx(math.fsum(x[:, i] * dz[:, j]), abs=1e-14)
    if use_bias:
        for j in range(2):
            assert grads["bias"][j] == pytest.approx(math.fsum(dz[:, j]), abs=1e-14)
    assert list(grads) == (["kernel", "bias"] if use_bias else ["kernel"])


@settings(max_examples=20)
@given(
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.booleans(),
    st.sampled_from([*FUNCTIONS, "softmax"]), st.integers(0, 50),
)  # fmt: skip
def test_gradients(inputs, units, batch, use_bias, activation, seed):
    if activation == "softmax":
        units += 1  # the softmax of one number is 1, whatever the number
    layer = mg.Dense(units, use_bias=use_bias, activation=activation)
    if activation == "relu" and units * batch < 12:
        activation = None  # with few units all may be off, and then no gradient is left to check
        layer = mg.Dense(units, use_bias=use_bias)
    report = mg.check_gradients(layer, (inputs,), batch=batch, seed=seed)
    assert report.ok and report.max_error <= 1e-11, str(report)


def test_parameters():
    layer = mg.Dense(4)
    assert layer.build((3,)) == (4,)
    assert layer.params["kernel"].shape == (3, 4) and layer.params["bias"].shape == (4,)
    assert not layer.params["bias"].any()
    assert layer.count_params() == (16, 0)
    limit = math.sqrt(6 / 7)
    assert 0 < np.abs(layer.params["kernel"]).max() <= limit


def test_weights_are_live():
    layer = mg.Dense(1, use_bias=False)
    layer.build((2,))
    x = np.array([[1, 10]], "float32")
    layer.params["kernel"][...] = [[2], [3]]
    assert layer.forward(x)[0].item() == 32
    layer.params["kernel"] -= 1
    y, cache = layer.forward(x)
    assert y.item() == 21
    layer.params["kernel"][...] = 7
    assert layer.backward(y, cache)[0].tolist() == [[147, 147]]


def test_errors():
    with pytest.raises(ValueError, match=r"dense: Dense takes \(None, features\).*Flatten\(\)"):
        mg.Dense(2).build((4, 4, 1))
    for units in (0, -1, 2.5, "3", None, True):
        with pytest.raises(ValueError, match="Dense: units=.* whole number of 1 or more"):
            mg.Dense(units)
    with pytest.raises(ValueError, match=r"activation 'thanh' is unknown.*did you mean 'tanh'"):
        mg.Dense(2, activation="thanh")
    with pytest.raises(TypeError):
        mg.Dense(2, True)
    with pytest.raises(TypeError, match="here it is units"):
        mg.Dense(out_features=3)
