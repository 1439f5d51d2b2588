"""SpectralNorm: the largest singular value, its derivative, and the vector that follows it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.layers.configuration import from_config, to_config
from tests.helpers import draw

STEP = 1e-20

# name -> (the layer inside, input shape, the kernel as (all else, outputs))
INNER = {
    "dense": (lambda: mg.Dense(4), (5,), lambda k: k),
    "conv2d": (lambda: mg.Conv2D(4, (3, 2)), (5, 4, 2), lambda k: k.reshape(-1, 4)),
    "conv1d": (lambda: mg.Conv1D(4, 3), (5, 2), lambda k: k.reshape(-1, 4)),
    "groups": (lambda: mg.Conv2D(4, 2, groups=2), (4, 4, 6), lambda k: k.reshape(-1, 4)),
    "conv2d_transpose": (
        lambda: mg.Conv2DTranspose(4, 3, strides=2), (3, 2, 5),
        lambda k: np.moveaxis(k, 2, -1).reshape(-1, 4),
    ),
    "conv1d_transpose": (
        lambda: mg.Conv1DTranspose(4, 3), (3, 5), lambda k: np.moveaxis(k, 1, -1).reshape(-1, 4),
    ),
}  # fmt: skip
every_inner = pytest.mark.parametrize("name", INNER)


def layer_of(name, dtype="float64"):
    """The normalised layer, its matrix and a batch."""
    make, shape, matrix = INNER[name]
    layer = mg.SpectralNorm(make())
    layer.build(shape, dtype, key=mg.random.Key(1, "spectral weights"))
    return layer, matrix(layer.params["kernel"]), draw((3, *shape), dtype)


@every_inner
def test_sigma_becomes_the_largest_singular_value(name):
    layer, w, x = layer_of(name)
    largest = np.linalg.svd(w, compute_uv=False)[0]
    found = []
    for _ in range(200):
        found.append(float(layer.stretch().sigma))
        layer.commit(layer.forward(x)[1])
    assert 0 < found[0] < 0.99 * largest  # so that there was something to find
    assert np.diff(found).min() > -1e-13 and found[-1] == pytest.approx(largest, rel=1e-6)
    assert np.linalg.norm(layer.state["u"]) == pytest.approx(1, rel=1e-12)


@every_inner
def test_the_formulas_of_one_power_iteration(name):
    layer, w, x = layer_of(name)
    u = layer.state["u"].copy()
    assert np.linalg.norm(u) == pytest.approx(1, rel=1e-12)
    v = w @ u / np.linalg.norm(w @ u)
    sigma = np.linalg.norm(w.T @ v)
    _, cache = layer.forward(x)
    layer.commit(cache)
    np.testing.assert_allclose(layer.state["u"], w.T @ v / sigma, rtol=1e-12)
    inner = INNER[name][0]()
    inner.build(x.shape[1:], "float64")
    inner.params["kernel"][...] = layer.params["kernel"] / sigma
    layer.state["u"][...] = u
    layer.params["bias"][...] = inner.params["bias"][...] = draw((4,), seed=2)
    y, cache = layer.forward(x)
    z, inner_cache = inner.forward(x)
    np.testing.assert_allclose(y, z, rtol=1e-11, atol=1e-13)
    dy = draw(y.shape, seed=3)
    dx, grads = layer.backward(dy, cache)
    dx_inner, inner_grads = inner.backward(dy, inner_cache)
    np.testing.assert_allclose(dx, dx_inner, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(grads["bias"], inner_grads["bias"], rtol=1e-12)
    # dL/dW = (G - sum(G * What) dsigma/dW) / sigma, as written
    u_next, matrix = w.T @ v / sigma, INNER[name][2]
    c = w @ u_next
    slope = np.outer(v, u_next) + np.outer(c - v * (v @ c), u) / np.linalg.norm(w @ u)
    g = matrix(inner_grads["kernel"])
    expected = (g - (g * w / sigma).sum() * slope) / sigma
    np.testing.assert_allclose(matrix(grads["kernel"]), expected, rtol=1e-10, atol=1e-12)


@every_inner
def test_the_gradient_of_sigma_is_its_complex_step(name):
    layer, w, _ = layer_of(name)
    twin, found = layer.astype("complex128"), layer.stretch().gradient
    kernel = twin.params["kernel"]
    for index in np.ndindex(kernel.shape):
        kernel[index] += 1j * STEP
        slope = twin.stretch().sigma.imag / STEP
        kernel[index] -= 1j * STEP
        unit = np.zeros(kernel.shape)
        unit[index] = 1
        assert (INNER[name][2](unit) * found).sum() == pytest.approx(slope, abs=1e-12)


def test_at_singular_vectors_the_gradient_is_the_paper_s():
    """Miyato et al. (2018), equation 12: v u^T."""
    layer, w, _ = layer_of("dense")
    left, _, right = np.linalg.svd(w)
    layer.state["u"][...] = right[0]
    expected = np.outer(left[:, 0], right[0])
    np.testing.assert_allclose(layer.stretch().gradient, expected, atol=1e-13)


@settings(max_examples=25, derandomize=True)
@given(
    st.sampled_from(list(INNER)), st.sampled_from([None, "tanh", "silu"]), st.booleans(),
    st.integers(0, 50),
)  # fmt: skip
def test_gradients(name, activation, training, seed):
    make, shape, _ = INNER[name]
    layer = mg.SpectralNorm(make().with_activation(activation))
    report = mg.check_gradients(layer, shape, seed=seed, training=training)
    assert report.ok and report.max_error <= 1e-11, str(report)


def test_only_commit_moves_u_and_only_after_training():
    layer, _, x = layer_of("conv2d")
    u, array = layer.state["u"].copy(), layer.state["u"]
    y, cache = layer.forward(x)
    layer.backward(draw(y.shape), cache)
    inference, no_training = layer.forward(x, training=False)
    assert np.array_equal(y, inference)
    layer.commit(no_training)
    assert np.array_equal(layer.state["u"], u)
    layer.commit(layer.forward(x, keep=False)[1])
    assert layer.state["u"] is array and not np.array_equal(array, u)


def test_writing_into_the_parameters_takes_effect_at_the_next_call():
    layer, _, x = layer_of("dense")
    y, cache = layer.forward(x)
    before = layer.backward(y, cache)[0]
    layer.params["kernel"] *= 7
    np.testing.assert_allclose(layer.forward(x)[0], y, rtol=1e-12)  # scales are divided out
    assert np.array_equal(layer.backward(y, cache)[0], before)  # a cache keeps its own kernel
    layer.params["kernel"][0] += 3
    assert not np.allclose(layer.forward(x)[0], y)


def test_in_a_model():
    """Names, logits without the sigmoid, and a round trip through JSON."""
    model = mg.Sequential(
        [mg.SpectralNorm(mg.Conv2D(2, 3, activation="silu")), mg.Flatten(),
         mg.SpectralNorm(mg.Dense(1, activation="sigmoid"))],
        input_shape=(4, 4, 1), dtype="float64",
    )  # fmt: skip
    assert list(model.params) == [f"spectral_normalization{i}.{p}" for i in ("", "_1") for p in (
        "kernel", "bias")]  # fmt: skip
    assert list(model.state) == ["spectral_normalization.u", "spectral_normalization_1.u"]
    x = draw((3, 4, 4, 1))
    p, cache = model.forward(x)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-model.logits().forward(x)[0])), rtol=1e-13)
    before = {k: a.copy() for k, a in model.state.items()}
    model.commit(cache)
    assert all(not np.array_equal(before[k], a) for k, a in model.state.items() if a.size > 1)
    again = from_config(to_config(model))
    assert to_config(again) == to_config(model)
    again.params.flat[...], again.state.flat[...] = model.params.flat, model.state.flat
    assert np.array_equal(again.forward(x)[0], model.forward(x)[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_kernel_of_zeros_gives_finite_numbers(dtype):
    layer, _, x = layer_of("dense", dtype)
    layer.params["kernel"][...] = 0
    y, cache = layer.forward(x)
    dx, grads = layer.backward(np.ones_like(y), cache)
    assert np.array_equal(y, np.zeros_like(y)) and not dx.any()
    assert np.isfinite(grads["kernel"]).all() and y.dtype == dtype


def test_a_kernel_of_zeros_leaves_u_and_is_not_the_end():
    layer, _, x = layer_of("dense", "float32")
    kernel, u = layer.params["kernel"].copy(), layer.state["u"].copy()
    layer.params["kernel"][...] = 0
    for _ in range(3):
        layer.commit(layer.forward(x)[1])
    assert np.array_equal(layer.state["u"], u)
    layer.params["kernel"][...] = kernel
    assert np.array_equal(layer.forward(x)[0], layer_of("dense", "float32")[0].forward(x)[0])


def test_the_layer_inside_must_not_be_built():
    inner = mg.Dense(3)
    inner.build((4,))
    with pytest.raises(ValueError, match="SpectralNorm: dense is built already.*wrap it first"):
        mg.SpectralNorm(inner)


def test_the_layer_inside_must_have_a_kernel():
    for wrong in (mg.Tanh(), mg.BatchNorm(), mg.SpectralNorm(mg.Dense(2))):
        text = f"takes a Dense layer or a convolution, got {type(wrong).__name__}"
        with pytest.raises(TypeError, match=text):
            mg.SpectralNorm(wrong)
    with pytest.raises(TypeError, match="got Dense; write it with its brackets"):
        mg.SpectralNorm(mg.Dense)


def test_a_layer_that_is_wrapped_twice_becomes_two():
    conv = mg.Conv2D(2, 2)
    model = mg.Sequential([mg.SpectralNorm(conv), mg.SpectralNorm(conv)], input_shape=(5, 5, 2))
    assert [layer.output_shape for layer in model.layers] == [(4, 4, 2), (3, 3, 2)]
    assert conv.output_shape is None and len(model.params) == 4
    x = draw((2, 5, 5, 2)).astype("float32")
    byhand = x
    for layer in model.layers:
        byhand = layer.forward(byhand)[0]
        assert byhand.shape[1:] == layer.output_shape
    np.testing.assert_array_equal(model.forward(x)[0], byhand)
