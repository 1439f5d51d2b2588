"""Activations: their formulas, their kinks, and Softmax's Jacobian."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.layers import activations
from tests.helpers import draw


def logistic(x):
    return 1 / (1 + math.exp(-x))


def logistic_slope(x):
    return 1 / (2 + 2 * math.cosh(x))


def zero(x):
    return 0.0


# name -> (layer, f, f', f'')
TABLE = {
    "linear": (lambda: mg.Activation("linear"), lambda x: x, lambda x: 1.0, zero),
    "relu": (mg.ReLU, lambda x: max(x, 0.0), lambda x: 1.0 if x > 0 else 0.0, zero),
    "leaky_relu": (
        mg.LeakyReLU, lambda x: x if x > 0 else 0.2 * x, lambda x: 1.0 if x > 0 else 0.2, zero,
    ),
    "tanh": (
        mg.Tanh, math.tanh, lambda x: 1 / math.cosh(x) ** 2,
        lambda x: -2 * math.tanh(x) / math.cosh(x) ** 2,
    ),
    "sigmoid": (
        mg.Sigmoid, logistic, logistic_slope, lambda x: -logistic_slope(x) * math.tanh(x / 2),
    ),
    "silu": (
        mg.SiLU, lambda x: x * logistic(x), lambda x: logistic(x) + x * logistic_slope(x),
        lambda x: logistic_slope(x) * (2 - x * math.tanh(x / 2)),
    ),
}  # fmt: skip
POINTS = [-20.0, -3.0, -0.5, -1e-8, 0.0, 1e-8, 0.7, 2.0, 30.0]


def run(layer, x, dy):
    layer.build(x.shape[1:], x.dtype)
    y, cache = layer.forward(x)
    return y, layer.backward(dy, cache)[0]


@pytest.mark.parametrize("name", TABLE)
def test_the_formulas_and_the_kinks(name):
    make, f, slope, _ = TABLE[name]
    x, dy = np.array([POINTS]), draw((1, len(POINTS)))
    for layer in (make(), mg.Activation(name)):
        y, dx = run(layer, x, dy)
        for i, point in enumerate(POINTS):
            assert y[0, i] == pytest.approx(f(point), rel=1e-14, abs=1e-16)
            assert dx[0, i] == pytest.approx(dy[0, i] * slope(point), rel=1e-7, abs=1e-13)


@pytest.mark.parametrize("name", TABLE)
def test_the_second_derivatives(name):
    """ty = f' tx and ddx = f' ddy + f'' tx dy."""
    make, _, slope, bend = TABLE[name]
    x = np.array([POINTS])
    tx, dy, ddy = (draw(x.shape, seed=s) for s in (1, 2, 3))
    for layer in (make(), mg.Activation(name)):
        layer.build(x.shape[1:], x.dtype)
        _, cache = layer.forward(x)
        ty, (ddx, _) = layer.tangent(tx, cache), layer.backward_tangent(dy, ddy, tx, cache)
        for i, point in enumerate(POINTS):
            first, second = slope(point), bend(point)
            assert ty[0, i] == pytest.approx(first * tx[0, i], rel=1e-7, abs=1e-13)
            expected = first * ddy[0, i] + second * tx[0, i] * dy[0, i]
            assert ddx[0, i] == pytest.approx(expected, rel=1e-7, abs=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("at", [0.0, -0.0])
def test_at_the_kink(dtype, at):
    x, dy = np.full((2, 3), at, dtype), np.full((2, 3), 3, dtype)
    assert (run(mg.ReLU(), x, dy)[1] == 0).all()
    assert (run(mg.LeakyReLU(0.25), x, dy)[1] == 0.75).all()
    assert (run(mg.LeakyReLU(0.0), x, dy)[1] == 0).all()
    assert (run(mg.LeakyReLU(1.0), x, dy)[1] == 3).all()


def test_softmax():
    x, dy = 3 * draw((4, 3, 5)), draw((4, 3, 5), seed=1)
    y, dx = run(mg.Softmax(), x, dy)
    for n, t in np.ndindex(4, 3):
        e = [math.exp(v) for v in x[n, t]]
        p = np.array(e) / math.fsum(e)
        np.testing.assert_allclose(y[n, t], p, rtol=1e-13)
        jacobian = np.diag(p) - np.outer(p, p)  # dy_i/dx_j = y_i (delta_ij - y_j)
        np.testing.assert_allclose(dx[n, t], jacobian.T @ dy[n, t], atol=1e-14)


@pytest.mark.filterwarnings("error")
def test_extreme_inputs():
    x = np.array([[-1e4, 0, 1e4], [800, 800, -800]])
    y, dx = run(mg.Softmax(), x, np.ones((2, 3)))
    assert np.array_equal(y, [[0, 0, 1], [0.5, 0.5, 0]]) and np.array_equal(dx, np.zeros((2, 3)))
    y, dx = run(mg.Sigmoid(), x, np.ones((2, 3)))
    assert np.allclose(y, [[0, 0.5, 1], [1, 1, 0]]) and np.isfinite(dx).all()
    y, dx = run(mg.Tanh(), x.astype("float32"), np.ones((2, 3), "float32"))
    assert np.array_equal(y, [[-1, 0, 1], [1, 1, -1]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu"])
def test_all_derivatives_of_extreme_inputs(name, dtype):
    """Far out the three are straight lines: f' is 0, and 1 on the right of SiLU; f'' is 0."""
    layer, x = mg.Activation(name), np.array([[-1e30, -1e4, -800, 800, 1e4, 1e30]], dtype)
    layer.build((6,), dtype)
    y, cache = layer.forward(x)
    slope = np.array([[0, 0, 0, 1, 1, 1]], dtype) * (name == "silu")
    assert np.array_equal(y, {"silu": slope * x, "sigmoid": x.real > 0}.get(name, np.sign(x.real)))
    ones = np.ones_like(x)
    assert np.array_equal(layer.backward(ones, cache)[0], slope)
    assert np.array_equal(layer.tangent(ones, cache), slope)
    assert np.array_equal(layer.backward_tangent(ones, 3 * ones, ones, cache)[0], 3 * slope)


@settings(max_examples=30)
@given(
    st.sampled_from([*TABLE, "softmax"]), st.lists(st.integers(2, 4), min_size=2, max_size=3),
    st.integers(0, 50),
)  # fmt: skip
def test_gradients(name, shape, seed):
    report = mg.check_gradients(mg.Activation(name), tuple(shape), batch=3, seed=seed)
    assert report.ok and report.max_error <= 1e-11, str(report)


@settings(max_examples=20)
@given(st.floats(0.01, 1), st.integers(0, 50))
def test_gradients_of_any_slope(slope, seed):
    report = mg.check_gradients(mg.LeakyReLU(slope), (4, 3), seed=seed)
    assert report.ok and report.max_error <= 1e-11, str(report)


@pytest.mark.parametrize("name", [*TABLE, "softmax"])
def test_in_place_forms(name):
    """A model may compute f in z itself, but not where backward reads z."""
    f = activations.get(name)
    x = draw((4, 5))
    y = f.apply(x.copy())
    z = x.copy()
    found = f.apply(z, out=z)
    assert np.array_equal(found, y)
    assert np.array_equal(z, x) if f.reads == "input" else found is z


def test_arguments():
    assert mg.LeakyReLU(negative_slope=0.3).negative_slope == 0.3
    for slope in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="should lie between 0 and 1"):
            mg.LeakyReLU(slope)
    with pytest.raises(TypeError, match="here it is negative_slope"):
        mg.LeakyReLU(alpha=0.2)
    with pytest.raises(ValueError, match=r"'gelu' is unknown; known are linear, relu"):
        mg.Activation("gelu")
    with pytest.raises(TypeError, match="no argument 'inplace'"):
        mg.ReLU(inplace=True)
