"""The contract that both passes of every layer keep."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.kernels import using
from minigan.kernels.cpu import pool
from tests.helpers import (
    CASES,
    KEY,
    LAYOUTS,
    arrays_in,
    both,
    built,
    case_names,
    draw,
    every_case,
    inputs,
    laid_out,
    same,
    watch,
)


@every_case
@pytest.mark.parametrize("training", [True, False])
def test_passes_are_pure(name, training):
    layer, x = built(name), inputs(name)
    params = {k: a.copy() for k, a in layer.params.items()}
    state = {k: a.copy() for k, a in layer.state.items()}
    x_before = x.copy()
    y, cache = layer.forward(x, training=training, rng=KEY)
    y_before = y.copy()
    dy = draw(y.shape, seed=1)
    dy_before = dy.copy()
    layer.backward(dy, cache)
    layer.backward(dy, cache, wrt="params")
    assert np.array_equal(x, x_before) and np.array_equal(dy, dy_before)
    assert np.array_equal(y, y_before)
    assert same(layer.params, params) and same(layer.state, state)


@every_case
@pytest.mark.parametrize("training", [True, False])
def test_two_live_caches_through_a_third_forward_in_any_order(name, training):
    layer = built(name)
    xs = [inputs(name, seed=s) for s in (1, 2, 3)]
    expected = []
    for x in xs[:2]:
        expected.append(both(layer, x, training=training))
    ys, caches = zip(*(layer.forward(x, training=training, rng=KEY) for x in xs), strict=True)
    dy = draw(ys[0].shape, seed=1)
    for i in (1, 0, 1, 0, 0):
        dx, grads = layer.backward(dy, caches[i])
        assert same({"y": ys[i], "dx": dx, **grads}, expected[i])
    if name != "flatten" and CASES[name][2] is None and layer.params:
        assert not same(expected[0], expected[1])


@every_case
def test_a_user_may_write_into_what_a_pass_returned(name):
    """Not into y, which a cache may share; but dx and the gradients are the caller's."""
    layer, x = built(name), inputs(name)
    expected = both(layer, x)
    y, cache = layer.forward(x, rng=KEY)
    dy = draw(y.shape, seed=1)
    dx, grads = layer.backward(dy, cache)
    assert not any(np.shares_memory(g, a) for g in grads.values() for a in layer.params.values())
    for g in grads.values():
        g.fill(np.nan)
    dx, grads = layer.backward(dy, cache)
    assert same({"y": y, "dx": dx, **grads}, expected)


@every_case
def test_wrt(name):
    layer, x = built(name), inputs(name)
    y, cache = layer.forward(x, rng=KEY)
    dy = draw(y.shape, seed=1)
    dx, grads = layer.backward(dy, cache)
    assert list(grads) == list(layer.params)
    assert all(g.shape == layer.params[k].shape for k, g in grads.items())
    assert dx is None if CASES[name][2] else dx.shape == x.shape
    dx_only, none = layer.backward(dy, cache, wrt="input")
    assert none is None and same({"dx": dx}, {"dx": dx_only})
    none, grads_only = layer.backward(dy, cache, wrt="params")
    assert none is None and same(grads, grads_only)
    with pytest.raises(ValueError, match="wrt='inputs' should be one of 'both', 'input', 'params'"):
        layer.backward(dy, cache, wrt="inputs")


# layer, kernels that a pass wrt="params" must not run, and wrt="input"
GRADIENTS, TURNED = "conv2d_gradients", "conv2d_adjoint_gradients"  # both in one go
WORK = {
    "dense": (None, {"column_sums"}),
    "dense tanh": (None, {"biased_activation_backward"}),
    "conv2d": ({"conv2d_adjoint", GRADIENTS}, {"conv2d_dkernel", GRADIENTS, "column_sums"}),
    "conv2d_transpose": ({"conv2d", TURNED}, {"conv2d_dkernel", TURNED, "column_sums"}),
    "conv1d": ({"conv2d_adjoint", GRADIENTS}, {"conv2d_dkernel", GRADIENTS, "column_sums"}),
    "conv1d_transpose": ({"conv2d", TURNED}, {"conv2d_dkernel", TURNED, "column_sums"}),
    "batch_normalization": ({"normalise_dx"}, set()),
    "dropout": ({"multiply"}, set()),
    "leaky_re_lu": ({"leaky_relu_backward"}, set()),
    "re_lu": ({"leaky_relu_backward"}, set()),
    "tanh": ({"tanh_backward"}, set()),
    "sigmoid": ({"sigmoid_backward"}, set()),
    "max_pooling2d": ({"max_pool2d_adjoint"}, set()),
    "average_pooling2d": ({"average_pool2d_adjoint"}, set()),
    "up_sampling2d": ({"upsample2d_adjoint"}, set()),
    "embedding": (set(), {"matmul"}),
    "sequential": ({"conv2d_adjoint", GRADIENTS}, {"conv2d_dkernel", GRADIENTS}),
}


@pytest.mark.parametrize("name", WORK)
def test_wrt_saves_the_work(name, monkeypatch):
    layer, x = built(name), inputs(name)
    y, cache = layer.forward(x, rng=KEY)
    dy = draw(y.shape, seed=1)

    def forbidden(*_, **__):
        raise AssertionError("this kernel computes what nobody asked for")

    for wrt, kernels in zip(("params", "input"), WORK[name], strict=True):
        with monkeypatch.context() as patch:
            for kernel in kernels or ():
                watch(patch, kernel, lambda _: forbidden)
            layer.backward(dy, cache, wrt=wrt)
        if kernels:
            with monkeypatch.context() as patch:
                for kernel in kernels:
                    watch(patch, kernel, lambda _: forbidden)
                with pytest.raises(AssertionError, match="nobody asked"):
                    layer.backward(dy, cache)


def test_dense_makes_one_product_for_each_thing_asked(monkeypatch):
    layer, x = built("dense"), inputs("dense")
    y, cache = layer.forward(x)
    calls = []
    watch(monkeypatch, "matmul", lambda f: lambda a, b: calls.append(a.shape) or f(a, b))
    for wrt, count in (("both", 2), ("input", 1), ("params", 1)):
        calls.clear()
        layer.backward(draw(y.shape), cache, wrt=wrt)
        assert len(calls) == count


def test_a_frozen_batch_norm_in_inference_takes_no_sums(monkeypatch):
    layer, x = built("batch_normalization"), inputs("batch_normalization")
    y, cache = layer.forward(x, training=False)
    for kernel in ("column_sums", "product_sums", "normalise_dx"):
        watch(monkeypatch, kernel, lambda _: None)
    dx, _ = layer.backward(draw(y.shape), cache, wrt="input")
    assert dx.shape == x.shape


def test_below_the_first_parameters_nothing_is_computed(monkeypatch):
    model = mg.Sequential(
        [mg.UpSampling2D(2), mg.Tanh(), mg.Conv2D(2, 3), mg.Sigmoid()], input_shape=(3, 3, 2)
    )
    y, cache = model.forward(draw((2, 3, 3, 2), "float32"))
    for kernel in ("upsample2d_adjoint", "tanh_backward", "conv2d_adjoint"):
        watch(monkeypatch, kernel, lambda _: None)
    _, grads = model.backward(draw(y.shape, "float32"), cache, wrt="params")
    assert all(np.abs(g).max() > 0 for g in grads.values())


@every_case
def test_keep_false_gives_the_same_output_and_keeps_nothing(name):
    layer, x = built(name), inputs(name)
    y, _ = layer.forward(x, rng=KEY)
    other, cache = layer.forward(x, rng=KEY, keep=False)
    assert np.array_equal(y, other)
    assert cache.saved is None
    statistics = sum(a.size for a in layer.state.values()) + 8
    assert sum(np.size(a) for a in arrays_in(cache.state)) <= statistics
    with pytest.raises(ValueError, match=r"nothing \(was forward called with keep=False\?\)"):
        layer.backward(y, cache)


@pytest.mark.cpu("the memory of the host")
@pytest.mark.parametrize("keep", [True, False])
def test_keep_false_saves_the_memory(keep):
    model = mg.Sequential(
        [part for _ in range(8) for part in (mg.Dense(256), mg.BatchNorm(), mg.Tanh())],
        input_shape=(256,),
    )
    x = draw((512, 256), "float32")
    pool.clear()
    gc.collect()
    tracemalloc.start()
    try:
        y, cache = model.forward(x, keep=keep)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    shelf = pool.shelved()
    assert model.backward(y, cache) if keep else cache.saved is None
    if keep:
        assert held >= 16 * x.nbytes  # a BatchNorm's xhat and an activation, eight times
    else:
        assert held - shelf <= 1.2 * x.nbytes and peak <= 5 * x.nbytes


@every_case
@settings(max_examples=8, deadline=None)
@given(layout=st.sampled_from(LAYOUTS), training=st.booleans())
def test_any_memory_layout(name, layout, training):
    layer, x = built(name), inputs(name)
    y, cache = layer.forward(x, training=training, rng=KEY)
    dy = draw(y.shape, seed=1)
    dx, grads = layer.backward(dy, cache)
    y_2, cache_2 = layer.forward(laid_out(x, layout), training=training, rng=KEY)
    dx_2, grads_2 = layer.backward(laid_out(dy, layout), cache_2)
    expected, found = {"y": y, "dx": dx, **grads}, {"y": y_2, "dx": dx_2, **grads_2}
    for k, a in expected.items():
        if a is not None:
            np.testing.assert_allclose(found[k], a, rtol=1e-11, atol=1e-12, err_msg=k)


@every_case
def test_a_batch_of_one(name):
    result = both(built(name), inputs(name, batch=1))
    assert result["y"].shape[0] == 1
    assert all(np.isfinite(a).all() for a in result.values() if a is not None)


@every_case
def test_the_reference_kernels_give_the_same(name):
    layer, x = built(name), inputs(name)
    fast = both(layer, x)
    with using("reference"):
        slow = both(layer, x)
    for k, a in slow.items():
        if a is not None:
            np.testing.assert_allclose(fast[k], a, rtol=1e-11, atol=1e-12, err_msg=k)


# gradients


@settings(max_examples=40)
@given(case_names, st.integers(1, 3), st.integers(0, 100), st.booleans())
def test_gradients_of_every_case(name, batch, seed, training):
    layer = built(name)
    if "batch_normalization" in name or name == "sequential":
        batch = max(batch, 2) if training else batch
    if training and name == "batch_normalization vectors":
        batch = 3  # with two samples xhat is +1 and -1, and dx is zero but for epsilon
    report = mg.check_gradients(layer, batch=batch, seed=seed, training=training)
    assert report.ok, str(report)
    assert report.max_error <= 1e-11
