"""Upsampling and a convolution as one: the fold, its gradients, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.kernels.geometry import axis
from minigan.layers.upsampled import UpsampledConv, folded
from tests.helpers import draw


def models(size, kernel, padding, shape, **options):
    """The two layers as a stage, and one after the other."""
    layers = [
        mg.UpSampling2D(size),
        mg.Conv2D(3, kernel, padding=padding, bias_initializer="random_normal", **options),
    ]
    fused = mg.Sequential(layers, input_shape=shape, dtype="float64", key=mg.random.Key(1, "w"))
    return fused, fused.layers


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from(["same", "valid"]),
    st.tuples(st.integers(2, 5), st.integers(2, 5), st.integers(1, 3)),
    st.sampled_from([None, "tanh"]),
)
def test_it_is_the_two_layers(size, kernel, padding, shape, activation):
    if padding == "valid" and any(k > f * n for k, f, n in zip(kernel, size, shape, strict=False)):
        return
    model, (up, conv) = models(size, kernel, padding, shape, activation=activation)
    assert [type(stage) for _, stage in model._stages] == [UpsampledConv]
    x = draw((2, *shape))
    y, cache = model.forward(x)
    big, up_cache = up.forward(x)
    expected, conv_cache = conv.forward(big)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    dy = draw(y.shape, seed=1)
    dx, grads = model.backward(dy, cache)
    dbig, own = conv.backward(dy, conv_cache)
    np.testing.assert_allclose(dx, up.backward(dbig, up_cache)[0], atol=1e-12)
    for name, g in own.items():
        np.testing.assert_allclose(grads[f"conv2d.{name}"], g, atol=1e-12)


@pytest.mark.parametrize("activation", [None, "silu"])
def test_gradients(activation):
    model, _ = models(2, 5, "same", (3, 4, 2), activation=activation)
    report = mg.check_gradients(model)
    assert report.ok and report.max_error <= 1e-11, str(report)


def test_the_parameters_are_the_convolutions_own():
    model, (_, conv) = models((2, 1), 3, "same", (3, 4, 2))
    x = draw((2, 3, 4, 2))
    before = model.forward(x)[0]
    conv.params["kernel"][...] *= 2
    conv.params["bias"][...] = 0
    bias_free = before - model.forward(x)[0]
    assert np.abs(bias_free).max() > 0
    other = model.astype("complex128")
    other.params["conv2d.kernel"][...] = 0
    assert not other.forward(x)[0].any() and model.forward(x)[0].any()


def test_nine_products_for_twenty_five():
    _, S = folded(8, 2, axis(16, 5, 1, "same"))
    assert S.shape == (6, 5)  # 3 taps for each of 2 phases
    assert (S.sum(axis=0) == 2).all()  # each tap is used once by each phase


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [mg.UpSampling2D(2), mg.Conv2D(4, 3, strides=2)],
        lambda: [mg.UpSampling2D(2), mg.Conv2D(4, 3, groups=2)],
        lambda: [mg.UpSampling2D(2), mg.Conv2DTranspose(4, 3)],
        lambda: [mg.UpSampling2D(2), mg.Tanh(), mg.Conv2D(4, 3)],
        lambda: [mg.Resampling2D(2), mg.Conv2D(4, 3)],
    ],
)
def test_what_is_not_folded(layers):
    model = mg.Sequential(layers(), input_shape=(4, 4, 2))
    assert not any(isinstance(stage, UpsampledConv) for _, stage in model._stages)
