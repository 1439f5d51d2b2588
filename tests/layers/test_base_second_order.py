"""The contract that `tangent`, `input_gradient` and `backward_tangent` of every layer keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.kernels import using
from tests.gradcheck_helpers import Own
from tests.helpers import (
    CASES,
    KEY,
    LAYOUTS,
    arrays_in,
    built,
    case_names,
    draw,
    every_case,
    inputs,
    laid_out,
    same,
    watch,
)

# engine -> (dtype, step, tolerance): Im f(x + ih)/h, and five values of f
ENGINES = {"complex": ("complex128", 1e-20, 1e-12), "five-point": ("float64", 1e-4, 1e-9)}

# their slope moves with x: backward_tangent has a part that ddy = 0 leaves
CURVED = [
    *(n for n in CASES if "norm" in n and not n.startswith("spectral")),
    "dense tanh", "dense softmax", "dense silu", "conv2d_transpose valid", "tanh", "si_lu",
    "sigmoid", "softmax", "activation", "parallel concat", "sequential",
]  # fmt: skip


def direction(x, seed, dtype="float64"):
    """A tangent of this input; None for labels."""
    return None if x.dtype.kind in "iu" else draw(x.shape, dtype, seed)


def setting(name, training=True, dtype="float64", batch=3):
    """A layer after a forward pass, and (tx, dy, ddy)."""
    layer, x = built(name).astype(dtype), inputs(name, batch)
    x = x if CASES[name][2] else x.astype(dtype)
    y, cache = layer.forward(x, training=training, rng=KEY)
    return layer, x, cache, (direction(x, 2, dtype), *(draw(y.shape, dtype, s) for s in (3, 4)))


def by_hand(layer, cache, tx, dy, ddy, wrt="both"):
    """The derivatives of y, dx and the gradients as x moves along tx and dy along ddy."""
    ddx, dgrads = layer.backward_tangent(dy, ddy, tx, cache, wrt=wrt)
    return {"y": layer.tangent(tx, cache), "dx": ddx, **(dgrads or {})}


def moved(layer, x, tx, dy, ddy, training=True, engine="complex"):
    """The same from forward and backward alone, run at moved x and dy."""
    dtype, step, _ = ENGINES[engine]
    twin = layer.astype(dtype)

    def at(h):
        y, cache = twin.forward(x if tx is None else x + h * tx, training=training, rng=KEY)
        dx, grads = twin.backward((dy + h * ddy).astype(dtype), cache)
        found = {"y": y.astype(dtype), "dx": dx, **grads}
        return {k: a for k, a in found.items() if a is not None}

    if engine == "complex":
        return {k: a.imag / step for k, a in at(1j * step).items()}
    f = [at(k * step) for k in (-2, -1, 1, 2)]
    return {k: (f[0][k] - 8 * f[1][k] + 8 * f[2][k] - f[3][k]) / (12 * step) for k in f[0]}


def assert_same_derivatives(found, expected, tolerance):
    for k, e in expected.items():
        scale = max(1, float(np.abs(e).max()))
        np.testing.assert_allclose(found[k], e, rtol=0, atol=tolerance * scale, err_msg=k)


@every_case
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("training", [True, False])
def test_they_are_the_derivatives_of_the_passes(name, engine, training):
    layer, x, cache, (tx, dy, ddy) = setting(name, training)
    found = by_hand(layer, cache, tx, dy, ddy)
    expected = moved(layer, x, tx, dy, ddy, training, engine)
    assert list(found) == ["y", "dx", *layer.params]
    assert (found["dx"] is None) == ("dx" not in expected) == bool(CASES[name][2])
    assert_same_derivatives(found, expected, ENGINES[engine][2])


@pytest.mark.parametrize("name", CURVED)
def test_curved_layers_move_their_gradient_with_x_alone(name):
    layer, _, cache, (tx, dy, ddy) = setting(name)
    ddx, _ = layer.backward_tangent(dy, 0 * ddy, tx, cache, wrt="input")
    assert np.abs(ddx).max() > 1e-3


@every_case
@pytest.mark.parametrize("training", [True, False])
def test_along_ddy_it_is_backward(name, training):
    layer, _, cache, (tx, dy, ddy) = setting(name, training)
    found = by_hand(layer, cache, None if tx is None else 0 * tx, dy, ddy)
    assert not found.pop("y").any()
    dx, grads = layer.backward(ddy, cache)
    expected = {k: a for k, a in {"dx": dx, **grads}.items() if a is not None}
    assert_same_derivatives(found, expected, 1e-13)


@every_case
def test_linear_in_the_directions(name):
    layer, x, cache, (tx, dy, ddy) = setting(name)
    other, other_ddy = direction(x, 5), draw(ddy.shape, seed=6)
    one, two = by_hand(layer, cache, tx, dy, ddy), by_hand(layer, cache, other, dy, other_ddy)
    joint = None if tx is None else 2 * tx - 3 * other
    found = by_hand(layer, cache, joint, dy, 2 * ddy - 3 * other_ddy)
    expected = {k: 2 * one[k] - 3 * two[k] for k in one if one[k] is not None}
    assert_same_derivatives(found, expected, 1e-12)


@every_case
def test_wrt(name):
    layer, _, cache, (tx, dy, ddy) = setting(name)
    ddx, dgrads = layer.backward_tangent(dy, ddy, tx, cache)
    assert all(g.shape == layer.params[k].shape for k, g in dgrads.items())
    ddx_only, none = layer.backward_tangent(dy, ddy, tx, cache, wrt="input")
    assert none is None and same({"dx": ddx}, {"dx": ddx_only})
    none, dgrads_only = layer.backward_tangent(dy, ddy, tx, cache, wrt="params")
    assert none is None and same(dgrads, dgrads_only)
    with pytest.raises(ValueError, match="wrt='all' should be one of 'both', 'input', 'params'"):
        layer.backward_tangent(dy, ddy, tx, cache, wrt="all")


@every_case
@pytest.mark.parametrize("training", [True, False])
def test_a_kept_first_pass_gives_the_same_bits(name, training):
    layer, _, cache, (tx, dy, ddy) = setting(name, training)
    dx, first = layer.input_gradient(dy, cache)
    assert same({"dx": dx}, {"dx": layer.backward(dy, cache, wrt="input")[0]})
    expected = by_hand(layer, cache, tx, dy, ddy)
    for wrt, keys in (("both", list(expected)), ("input", ["dx"]), ("params", list(layer.params))):
        found = by_hand(layer, cache, tx, first, ddy, wrt)
        assert same({k: found[k] for k in keys}, {k: expected[k] for k in keys})


@every_case
def test_the_input_gradient_is_the_caller_s_own(name):
    """Whoever scales it in place does not change what backward_tangent reads."""
    layer, _, cache, (tx, dy, ddy) = setting(name)
    dx, first = layer.input_gradient(dy, cache)
    expected = by_hand(layer, cache, tx, dy, ddy)
    for part in dx if isinstance(dx, tuple) else (dx,):
        if part is not None:
            part[...] = np.nan
    assert same(by_hand(layer, cache, tx, first, ddy), expected)


@every_case
@pytest.mark.parametrize("training", [True, False])
def test_calls_are_pure_and_their_order_is_free(name, training):
    layer, x, cache, directions = setting(name, training)
    y, other_cache = layer.forward(inputs(name, seed=8), training=training, rng=KEY)
    tx, dy, ddy = directions
    dx, first = layer.input_gradient(dy, cache)
    held = arrays_in([x, *directions, cache.saved, first.kept, layer.params, layer.state, y, dx])
    before = [a.copy() for a in held]
    expected = by_hand(layer, cache, tx, dy, ddy), by_hand(layer, other_cache, tx, dy, ddy)
    for which in (1, 0, 0, 1):
        layer.backward(ddy, (cache, other_cache)[which])
        layer.input_gradient(ddy, (cache, other_cache)[which])
        layer.backward_tangent(first, ddy, tx, cache)
        found = by_hand(layer, (cache, other_cache)[which], tx, dy, ddy)
        assert same(found, expected[which])
    assert all(np.array_equal(a, b) for a, b in zip(held, before, strict=True))


@pytest.mark.parametrize("name", [n for n in CASES if built(n).params])
def test_a_user_may_write_into_the_gradients(name):
    layer, _, cache, (tx, dy, ddy) = setting(name)
    dx, first = layer.input_gradient(dy, cache)
    found = by_hand(layer, cache, tx, first, ddy)
    expected = {k: None if a is None else a.copy() for k, a in found.items()}
    for k in layer.params:
        found[k].fill(np.nan)
    assert same(by_hand(layer, cache, tx, first, ddy), expected)


@every_case
@pytest.mark.parametrize("training", [True, False])
def test_float32(name, training):
    layer, x, cache, directions = setting(name, training, "float32")
    found = by_hand(layer, cache, *directions)
    assert all(a is None or a.dtype == np.float32 for a in found.values())
    wide, tx, dy, ddy = (None if a is None else a.astype("float64") for a in (x, *directions))
    exact = layer.astype("float64")
    _, cache = exact.forward(x if CASES[name][2] else wide, training=training, rng=KEY)
    expected = by_hand(exact, cache, tx, dy, ddy)
    expected = {k: a for k, a in expected.items() if a is not None}
    assert_same_derivatives(found, expected, 1e-5)


@settings(max_examples=80, derandomize=True)
@given(case_names, st.booleans(), st.tuples(*[st.sampled_from(LAYOUTS)] * 3))
def test_any_memory_layout(name, training, layouts):
    layer, _, cache, directions = setting(name, training)
    expected = by_hand(layer, cache, *directions)
    pairs = zip(directions, layouts, strict=True)
    found = by_hand(layer, cache, *(None if a is None else laid_out(a, m) for a, m in pairs))
    assert_same_derivatives(found, {k: a for k, a in expected.items() if a is not None}, 1e-12)


@every_case
def test_the_reference_kernels_give_the_same(name):
    layer, _, cache, directions = setting(name)
    fast = by_hand(layer, cache, *directions)
    with using("reference"):
        slow = by_hand(layer, cache, *directions)
    assert_same_derivatives(fast, {k: a for k, a in slow.items() if a is not None}, 1e-12)


@every_case
def test_a_batch_of_one(name):
    layer, x, cache, (tx, dy, ddy) = setting(name, batch=1)
    found = by_hand(layer, cache, tx, dy, ddy)
    assert_same_derivatives(found, moved(layer, x, tx, dy, ddy), 1e-11)


# layer -> kernels that wrt="params" must not run after a kept first pass, and wrt="input"
GRADIENTS, TURNED = "conv2d_gradients", "conv2d_adjoint_gradients"  # both in one go
WORK = {
    "dense": (set(), {"column_sums"}),
    "conv2d": ({"conv2d_adjoint", GRADIENTS}, {"conv2d_dkernel", GRADIENTS, "column_sums"}),
    "conv2d_transpose groups": ({"conv2d", TURNED}, {"conv2d_dkernel", TURNED, "column_sums"}),
    "spectral_norm conv2d_transpose": (
        {"conv2d", TURNED},
        {"conv2d_dkernel", TURNED, "column_sums"},
    ),
    "batch_normalization": ({"subtract_scaled"}, set()),
    "layer_norm": ({"subtract_scaled"}, set()),
    "tanh": ({"tanh_tangent"}, set()),
    "si_lu": ({"silu_tangent"}, set()),
    "max_pooling2d": ({"max_pool2d_adjoint"}, set()),
    "sequential": ({"conv2d_adjoint", GRADIENTS}, {"conv2d_dkernel", GRADIENTS}),
}


@pytest.mark.parametrize("name", WORK)
def test_wrt_and_a_kept_first_pass_save_the_work(name, monkeypatch):
    layer, _, cache, (tx, dy, ddy) = setting(name)
    _, first = layer.input_gradient(dy, cache)

    def forbidden(*_, **__):
        raise AssertionError("this kernel computes what nobody asked for")

    monkeypatch.setattr(type(layer), "pullback_kept", forbidden)
    for wrt, kernels in zip(("params", "input"), WORK[name], strict=True):
        with monkeypatch.context() as patch:
            for kernel in kernels:
                watch(patch, kernel, lambda _: forbidden)
            layer.backward_tangent(first, ddy, tx, cache, wrt=wrt)
            if kernels:
                with pytest.raises(AssertionError, match="nobody asked"):
                    layer.backward_tangent(first, ddy, tx, cache)
    with pytest.raises(AssertionError, match="nobody asked"):
        layer.backward_tangent(dy, ddy, tx, cache)


# misuse


@every_case
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_directions_of_another_batch_are_an_error(name, batch):
    layer, _, cache, (tx, dy, ddy) = setting(name)
    for wrong, what in ((ddy, "ddy"), (dy, "dy")):
        bad = draw((batch, *wrong.shape[1:]))
        given_dy, given_ddy = (dy, bad) if what == "ddy" else (bad, ddy)
        with pytest.raises(ValueError, match=f"^{layer.name}: {what} has shape") as error:
            layer.backward_tangent(given_dy, given_ddy, tx, cache)
        assert str(bad.shape) in str(error.value) and str(ddy.shape) in str(error.value)
    if tx is not None:
        bad = draw((batch, *tx.shape[1:]))
        for call in (layer.tangent, lambda t, c: layer.backward_tangent(dy, ddy, t, c)):
            with pytest.raises(ValueError, match=r"tx has shape .* forward was .*; tx is a"):
                call(bad, cache)


@every_case
def test_directions_of_another_dtype_or_shape_are_an_error(name):
    layer, x, cache, (tx, dy, ddy) = setting(name)
    with pytest.raises(TypeError, match=r"ddy is float32.*convert it with \.astype\('float64'\)"):
        layer.backward_tangent(dy, ddy.astype("float32"), tx, cache)
    if tx is None:
        with pytest.raises(ValueError, match=f"^{layer.name}: labels cannot move; .* is None"):
            layer.tangent(draw(x.shape), cache)
        return
    with pytest.raises(TypeError, match=r"float32, the layer float64.*\.astype\('float64'\)"):
        layer.tangent(tx.astype("float32"), cache)
    with pytest.raises(ValueError) as error:
        layer.tangent(tx[..., None], cache)
    assert str(tx[..., None].shape) in str(error.value)
    assert len(str(error.value).splitlines()) <= 5
    with pytest.raises(ValueError, match="tx has shape NoneType"):
        layer.tangent(None, cache)


@pytest.mark.parametrize("name", ["dense tanh", "batch_normalization", "sequential"])
def test_caches_and_first_passes_that_do_not_belong_are_an_error(name):
    layer, x, cache, (tx, dy, ddy) = setting(name)
    _, other = layer.forward(x, rng=KEY)
    _, first = layer.input_gradient(dy, other)
    with pytest.raises(ValueError, match=f"^{layer.name}: this first backward pass was made with"):
        layer.backward_tangent(first, ddy, tx, cache)
    twin, (_, empty) = layer.astype("float64"), layer.forward(x, keep=False)
    calls = {
        "tangent": lambda who, c: who.tangent(tx, c),
        "input_gradient": lambda who, c: who.input_gradient(dy, c),
        "backward_tangent": lambda who, c: who.backward_tangent(dy, ddy, tx, c),
    }
    for what, call in calls.items():
        with pytest.raises(ValueError, match=f"or of a copy of this layer; give {what} the cache"):
            call(twin, cache)
        with pytest.raises(ValueError, match=f"{what} needs the cache .*keep=False"):
            call(layer, empty)


class OnlyForward(Own):
    """Second order written by half."""

    def pushforward(self, tx, saved):
        return 2 * saved * tx * self.params["w"], tx


def test_a_layer_without_second_order_says_what_to_write():
    for layer, missing in ((Own(), r"pushforward\(\) and pull"), (OnlyForward(), "pullback_tange")):
        layer.build((3,), "float64")
        x = draw((2, 3))
        y, cache = layer.forward(x)
        with pytest.raises(TypeError, match=f"{type(layer).__name__} does not define {missing}"):
            layer.tangent(x, cache)
            layer.backward_tangent(y, y, x, cache)
    model = mg.Sequential([mg.Dense(3), Own()], input_shape=(3,), dtype="float64")
    y, cache = model.forward(x)
    assert model.backward(y, cache)[0].shape == x.shape
    with pytest.raises(TypeError, match="Own does not define pushforward.*gradient penalties"):
        model.backward_tangent(y, y, x, cache)


def test_a_real_direction_of_a_complex_layer_is_promoted():
    layer, _, cache, (tx, dy, ddy) = setting("dense tanh", dtype="complex128")
    found = by_hand(layer, cache, tx.real, dy, ddy)
    assert same(found, by_hand(layer, cache, tx.real + 0j, dy, ddy))
