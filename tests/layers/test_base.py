"""The contract that every layer keeps, and what a caller is told when it is broken."""

from __future__ import annotations

import gc
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.kernels import cpu, using
from minigan.kernels.cpu import pool
from minigan.layers import base
from minigan.layers.base import Cache, from_config, snake_case, to_config
from tests.helpers import (
    CASES,
    KEY,
    LAYOUTS,
    arrays_in,
    built,
    case_names,
    draw,
    inputs,
    laid_out,
)

every_case = pytest.mark.parametrize("name", CASES)


def both(layer, x, seed=1, **options):
    """y, dx, grads with a random dy, as one dictionary."""
    y, cache = layer.forward(x, rng=KEY, **options)
    dx, grads = layer.backward(draw(y.shape, y.dtype, seed), cache)
    return {"y": y, "dx": dx, **grads}


def same(a, b):
    return list(a) == list(b) and all(
        (a[k] is None and b[k] is None) or np.array_equal(a[k], b[k]) for k in a
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
WORK = {
    "dense": (None, {"column_sums"}),
    "dense tanh": (None, {"column_sums"}),
    "conv2d": ({"conv2d_adjoint"}, {"conv2d_dkernel", "column_sums"}),
    "conv2d_transpose": ({"conv2d"}, {"conv2d_dkernel", "column_sums"}),
    "conv1d": ({"conv2d_adjoint"}, {"conv2d_dkernel", "column_sums"}),
    "conv1d_transpose": ({"conv2d"}, {"conv2d_dkernel", "column_sums"}),
    "batch_normalization": ({"batch_norm_dx"}, set()),
    "dropout": ({"multiply"}, set()),
    "leaky_re_lu": ({"leaky_relu_backward"}, set()),
    "re_lu": ({"leaky_relu_backward"}, set()),
    "tanh": ({"tanh_backward"}, set()),
    "sigmoid": ({"sigmoid_backward"}, set()),
    "max_pooling2d": ({"max_pool2d_adjoint"}, set()),
    "average_pooling2d": ({"average_pool2d_adjoint"}, set()),
    "up_sampling2d": ({"upsample2d_adjoint"}, set()),
    "embedding": (set(), {"matmul"}),
    "sequential": ({"conv2d_adjoint"}, {"conv2d_dkernel", "column_sums"} - {"column_sums"}),
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
                patch.setattr(cpu, kernel, forbidden)
            layer.backward(dy, cache, wrt=wrt)
        if kernels:
            with monkeypatch.context() as patch:
                for kernel in kernels:
                    patch.setattr(cpu, kernel, forbidden)
                with pytest.raises(AssertionError, match="nobody asked"):
                    layer.backward(dy, cache)


def test_dense_makes_one_product_for_each_thing_asked(monkeypatch):
    layer, x = built("dense"), inputs("dense")
    y, cache = layer.forward(x)
    calls = []
    matmul = cpu.matmul
    monkeypatch.setattr(cpu, "matmul", lambda a, b: calls.append(a.shape) or matmul(a, b))
    for wrt, count in (("both", 2), ("input", 1), ("params", 1)):
        calls.clear()
        layer.backward(draw(y.shape), cache, wrt=wrt)
        assert len(calls) == count


def test_a_frozen_batch_norm_in_inference_takes_no_sums(monkeypatch):
    layer, x = built("batch_normalization"), inputs("batch_normalization")
    y, cache = layer.forward(x, training=False)
    for kernel in ("column_sums", "product_sums", "batch_norm_dx"):
        monkeypatch.setattr(cpu, kernel, None)
    dx, _ = layer.backward(draw(y.shape), cache, wrt="input")
    assert dx.shape == x.shape


def test_below_the_first_parameters_nothing_is_computed(monkeypatch):
    model = mg.Sequential(
        [mg.UpSampling2D(2), mg.Tanh(), mg.Conv2D(2, 3), mg.Sigmoid()], input_shape=(3, 3, 2)
    )
    y, cache = model.forward(draw((2, 3, 3, 2), "float32"))
    for kernel in ("upsample2d_adjoint", "tanh_backward", "conv2d_adjoint"):
        monkeypatch.setattr(cpu, kernel, None)
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


# dtypes


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("training", [True, False])
def test_the_dtype_goes_through(name, dtype, training):
    layer = built(name, dtype)
    result = both(layer, inputs(name, dtype=dtype), training=training)
    layer.commit(layer.forward(inputs(name, dtype=dtype), rng=KEY)[1])
    result |= layer.params | layer.state
    assert {k: a.dtype.name for k, a in result.items() if a is not None} == dict.fromkeys(
        [k for k, a in result.items() if a is not None], dtype
    )


@every_case
def test_float32_agrees_with_float64(name):
    layer, x = built(name), inputs(name)
    exact = both(layer, x.astype("float32").astype("float64") if x.dtype.kind == "f" else x)
    found = both(layer.astype("float32"), x if x.dtype.kind == "i" else x.astype("float32"))
    for k, a in exact.items():
        if a is not None:
            scale = max(np.abs(a).max(), 1e-2)
            assert np.abs(found[k] - a).max() < 3e-5 * scale, k


@every_case
def test_another_dtype_is_an_error_except_real_into_complex(name):
    layer = built(name, "float32")
    if CASES[name][2]:
        with pytest.raises(TypeError, match="whole numbers"):
            layer.forward(inputs(name).astype("float32"))
    else:
        for dtype in ("float64", "complex128", "int64", "float16"):
            with pytest.raises(TypeError, match=rf"{dtype}.*float32.*astype\('float32'\)"):
                layer.forward(inputs(name, dtype="float64").astype(dtype))
        twin = layer.astype("complex128")
        for dtype in ("float32", "float64"):
            x = inputs(name, dtype=dtype)
            y, _ = twin.forward(x, rng=KEY)
            expected, _ = twin.forward(x.astype("complex128"), rng=KEY)
            assert y.dtype == np.complex128 and np.array_equal(y, expected)
    y, cache = layer.forward(inputs(name, dtype="float32"), rng=KEY)
    with pytest.raises(TypeError, match=r"dy is float64, the layer float32.*astype\('float32'\)"):
        layer.backward(y.astype("float64"), cache)


@every_case
def test_astype_is_a_copy(name):
    layer = built(name)
    before = {k: a.copy() for k, a in (layer.params | layer.state).items()}
    other = layer.astype("float64")
    for a in [*other.params.values(), *other.state.values()]:
        a += 1
    assert same(layer.params | layer.state, before)
    assert (other.name, other.output_shape) == (layer.name, layer.output_shape)
    twin = layer.astype("complex128")
    assert same(twin.astype("float64").params, layer.params)


# errors


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
        shape = base.show_shape(layer.input_shape)
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


# configuration and names


@every_case
def test_a_layer_made_again_from_its_configuration(name):
    layer = built(name)
    text = json.dumps(to_config(layer))
    again = from_config(json.loads(text))
    assert type(again) is type(layer)
    assert json.dumps(to_config(again)) == text or isinstance(layer, mg.Sequential)
    if again.output_shape is None:
        again.build(CASES[name][1], "float64")
    assert again.output_shape == layer.output_shape
    for k, a in (layer.params | layer.state).items():
        assert (again.params | again.state)[k].shape == a.shape
        (again.params | again.state)[k][...] = a
    assert same(both(again, inputs(name)), both(layer, inputs(name)))


@every_case
def test_the_same_key_gives_the_same_weights(name):
    make, shape, _ = CASES[name]
    found = []
    for seed in (1, 1, 2):
        layer = make()
        layer.build(shape, key=mg.random.Key(seed, "weights"))
        found.append(layer.params)
    assert same(found[0], found[1])
    drawn = [k for k in found[0] if "kernel" in k or "embeddings" in k]
    assert all(not np.array_equal(found[0][k], found[2][k]) for k in drawn)


def test_every_layer_has_a_case():
    covered = {type(make()) for make, _, _ in CASES.values()}
    assert covered == set(base._registry.values()) & {
        v for v in vars(mg).values() if isinstance(v, type)
    } | {mg.Sequential}


def test_unknown_descriptions():
    with pytest.raises(ValueError, match=r"'Conv2d' is unknown \(did you mean 'Conv2D'\?\)"):
        from_config({"class": "Conv2d", "config": {}})
    for spec in (None, {}, {"class": "Dense"}, [], {"class": "Dense", "config": 3}):
        with pytest.raises(ValueError, match="'class' and 'config'"):
            from_config(spec)


def test_a_layer_of_ones_own():
    class Doubled(mg.Layer):
        arguments = ("factor",)

        def __init__(self, factor=2.0):
            super().__init__()
            self.factor = factor

        def setup(self, input_shape, key):
            return input_shape

        def compute(self, x, training, rng, keep):
            return self.factor * x, Cache(True if keep else None)

        def pullback(self, dy, saved, to_input, to_params):
            return (self.factor * dy if to_input else None), {}

    with pytest.raises(TypeError, match="Doubled is not registered: put @mg.register"):
        to_config(Doubled())
    try:
        mg.register(Doubled)
        assert from_config(to_config(Doubled(3.0))).factor == 3.0
    finally:
        base._registry.pop("Doubled", None)
    model = mg.Sequential([Doubled(3.0)], input_shape=(2,))
    y, cache = model.forward(np.ones((1, 2), "float32"))
    assert y.tolist() == [[3.0, 3.0]]
    assert model.backward(y, cache, wrt="input")[0].tolist() == [[9.0, 9.0]]


@pytest.mark.parametrize(
    "cls, name",
    [
        (mg.Dense, "dense"),
        (mg.Conv2D, "conv2d"),
        (mg.Conv2DTranspose, "conv2d_transpose"),
        (mg.Conv1D, "conv1d"),
        (mg.Conv1DTranspose, "conv1d_transpose"),
        (mg.BatchNorm, "batch_normalization"),
        (mg.MaxPooling2D, "max_pooling2d"),
        (mg.AveragePooling2D, "average_pooling2d"),
        (mg.UpSampling2D, "up_sampling2d"),
        (mg.LeakyReLU, "leaky_re_lu"),
        (mg.ReLU, "re_lu"),
        (mg.Tanh, "tanh"),
        (mg.Sigmoid, "sigmoid"),
        (mg.Softmax, "softmax"),
        (mg.Activation, "activation"),
        (mg.Dropout, "dropout"),
        (mg.Flatten, "flatten"),
        (mg.Reshape, "reshape"),
        (mg.Embedding, "embedding"),
        (mg.Sequential, "sequential"),
    ],
)
def test_names_are_those_of_keras(cls, name):
    assert snake_case(cls.__name__) == name


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
