"""Normalisation: the formulas of its docstrings, running state, and the traps of testing it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.layers.configuration import from_config, to_config
from minigan.numeric import Numeric, compare
from tests.helpers import built, draw


def layer_on(shape, dtype="float64", make=mg.BatchNorm, **options):
    layer = make(**options)
    layer.build(shape, dtype)
    if not layer.params:
        return layer
    layer.params["gamma"][...] = draw((shape[-1],), seed=5)
    layer.params["beta"][...] = draw((shape[-1],), seed=6)
    return layer


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 2, 3)])
def test_the_formulas_in_training(shape):
    layer = layer_on(shape, epsilon=0.01)
    x, dy = 2 + draw((5, *shape)), draw((5, *shape), seed=1)
    y, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)
    for c in range(3):
        xs, ys, dys = (a[..., c].ravel() for a in (x, y, dy))
        m = len(xs)
        mean = math.fsum(xs) / m
        var = math.fsum((xs - mean) ** 2) / m
        s = 1 / math.sqrt(var + 0.01)
        xhat = (xs - mean) * s
        gamma, beta = layer.params["gamma"][c], layer.params["beta"][c]
        np.testing.assert_allclose(ys, gamma * xhat + beta, rtol=1e-13)
        assert grads["gamma"][c] == pytest.approx(math.fsum(dys * xhat), rel=1e-12)
        assert grads["beta"][c] == pytest.approx(math.fsum(dys), rel=1e-12)
        # the whole Jacobian: dxhat_i/dx_j = s (delta_ij - 1/m - xhat_i xhat_j / m)
        jacobian = s * (np.eye(m) - 1 / m - np.outer(xhat, xhat) / m)
        np.testing.assert_allclose(dx[..., c].ravel(), gamma * dys @ jacobian, atol=1e-13)


def test_the_formulas_in_inference():
    layer = layer_on((2, 3), epsilon=0.01)
    layer.state["moving_mean"][...] = [1, 2, 3]
    layer.state["moving_variance"][...] = [4, 5, 6]
    x, dy = draw((5, 2, 3)), draw((5, 2, 3), seed=1)
    y, cache = layer.forward(x, training=False)
    dx, grads = layer.backward(dy, cache)
    gamma, beta = layer.params["gamma"], layer.params["beta"]
    s = 1 / np.sqrt(np.array([4, 5, 6]) + 0.01)
    xhat = (x - [1, 2, 3]) * s
    np.testing.assert_allclose(y, gamma * xhat + beta, rtol=1e-13)
    np.testing.assert_allclose(dx, gamma * s * dy, rtol=1e-13)
    np.testing.assert_allclose(grads["gamma"], (dy * xhat).sum(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(grads["beta"], dy.sum(axis=(0, 1)), rtol=1e-12)
    before = {k: a.copy() for k, a in layer.state.items()}
    layer.commit(cache)
    assert all(np.array_equal(before[k], a) for k, a in layer.state.items())


@pytest.mark.parametrize("unbiased", [False, True])
def test_commit_moves_the_running_state_and_nothing_else_does(unbiased):
    layer = layer_on((2, 3), momentum=0.9, unbiased=unbiased)
    assert not layer.state["moving_mean"].any() and (layer.state["moving_variance"] == 1).all()
    mean, var = np.zeros(3), np.ones(3)
    for step in range(3):
        x = 3 + 2 * draw((5, 2, 3), seed=step)
        _, cache = layer.forward(x)
        layer.forward(draw((5, 2, 3), seed=99))
        assert np.array_equal(layer.state["moving_mean"], mean)
        layer.commit(cache)
        batch_var = x.reshape(10, 3).var(axis=0, ddof=1 if unbiased else 0)
        mean = 0.9 * mean + 0.1 * x.reshape(10, 3).mean(axis=0)
        var = 0.9 * var + 0.1 * batch_var
        np.testing.assert_allclose(layer.state["moving_mean"], mean, rtol=1e-13)
        np.testing.assert_allclose(layer.state["moving_variance"], var, rtol=1e-13)
        mean, var = (layer.state[k].copy() for k in ("moving_mean", "moving_variance"))


def test_commit_keeps_the_arrays():
    layer = layer_on((3,))
    before = dict(layer.state)
    layer.commit(layer.forward(draw((4, 3)))[1])
    assert all(layer.state[k] is a for k, a in before.items())


def test_commit_needs_no_saved_cache():
    layer = layer_on((3,), momentum=0.5)
    x = draw((4, 3))
    layer.commit(layer.forward(x, keep=False)[1])
    np.testing.assert_allclose(layer.state["moving_mean"], x.mean(axis=0) / 2, rtol=1e-13)


def test_a_batch_of_one_vector():
    layer = layer_on((3,), unbiased=True, momentum=0.0)
    y, cache = layer.forward(draw((1, 3)))
    assert np.array_equal(y, layer.params["beta"][None])
    assert np.array_equal(layer.backward(draw((1, 3), seed=1), cache)[0], np.zeros((1, 3)))
    layer.commit(cache)
    assert np.array_equal(layer.state["moving_variance"], np.zeros(3))


def test_ones_upstream_give_no_gradient_and_the_comparison_says_so():
    """dx is 0 for dy = 1: a check with that dy would pass for dx = 0 and for any multiple of dx."""
    layer = built("batch_normalization")
    twin = layer.astype("complex128")
    x = draw((3, 4, 3, 2))
    y, cache = layer.forward(x)
    dx, _ = layer.backward(np.ones_like(y), cache)
    assert np.abs(dx).max() < 1e-14
    rng = np.random.default_rng(0)
    values = {"input": x}
    numeric = Numeric(lambda v: twin.forward(v["input"] + 0j)[0].sum(), values, "input", "complex")
    for g in (dx, 0 * dx, -37 * dx):
        row = compare("BatchNorm", "input", g, numeric, rng, null=False)
        assert not row.ok and "vacuous" in row.note
    assert compare("BatchNorm", "input", dx, numeric, rng, null=True).verdict == "null"


@settings(max_examples=20)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3), st.booleans(), st.booleans(),
    st.sampled_from([1e-5, 1e-3, 0.05]), st.integers(3, 5), st.integers(0, 50),
)  # fmt: skip
def test_gradients(shape, training, unbiased, epsilon, batch, seed):
    layer = mg.BatchNorm(epsilon=epsilon, unbiased=unbiased)
    report = mg.check_gradients(layer, tuple(shape), batch=batch, seed=seed, training=training)
    assert report.ok and report.max_error <= 1e-11, str(report)


def test_float32_with_a_large_mean():
    layer = mg.BatchNorm()
    layer.build((30, 30, 2))
    x = (1e4 + draw((8, 30, 30, 2))).astype("float32")
    y, _ = layer.forward(x)
    exact = x.astype("float64")
    exact = (exact - exact.mean(axis=(0, 1, 2))) / np.sqrt(exact.var(axis=(0, 1, 2)) + 1e-3)
    assert np.abs(y - exact).max() < 0.02


def test_arguments():
    assert mg.BatchNorm().momentum == 0.99 and mg.BatchNorm().epsilon == 1e-3
    with pytest.raises(TypeError):
        mg.BatchNorm(0.8)
    with pytest.raises(ValueError, match=r"epsilon=0.8.*was it meant to be the momentum\?"):
        mg.BatchNorm(epsilon=0.8)
    with pytest.raises(ValueError, match="momentum=1.5 should lie between 0 and 1"):
        mg.BatchNorm(momentum=1.5)
    with pytest.raises(TypeError, match="here it is epsilon"):
        mg.BatchNorm(eps=1e-5)
    with pytest.raises(ValueError, match="takes 2 to 4 axes"):
        mg.BatchNorm().build((2, 2, 2, 2))
    assert mg.BatchNorm().null_gradients() == set()


# the norms of single samples: for each value of a sample (h, w, c), the number of its group


def of_sample(h, w, c):
    return np.zeros((h, w, c), int)


def of_position(h, w, c):
    return np.repeat(np.arange(h * w), c).reshape(h, w, c)


def of_channel(h, w, c):
    return np.tile(np.arange(c), (h, w, 1))


# name -> (layer, options, whether the mean is subtracted, groups)
GROUPED = {
    "layer_norm": (mg.LayerNorm, {"over": "position"}, True, of_position),
    "layer_norm sample": (mg.LayerNorm, {"over": "sample"}, True, of_sample),
    "instance_norm": (mg.InstanceNorm, {}, True, of_channel),
    "pixel_norm": (mg.PixelNorm, {}, False, of_position),
}
every_grouped = pytest.mark.parametrize("name", GROUPED)


@every_grouped
@pytest.mark.parametrize("training", [True, False])
def test_the_formulas_of_the_norms_of_a_sample(name, training):
    """One group at a time, with the whole Jacobian P of xhat, and its movement along tx."""
    make, options, centred, groups = GROUPED[name]
    shape = (3, 2, 4)
    layer = layer_on(shape, make=make, epsilon=0.01, **options)
    gamma, beta = (layer.params.get(k, np.full(4, v)) for k, v in (("gamma", 1.0), ("beta", 0.0)))
    x, dy, ddy, tx = (draw((5, *shape), seed=s) for s in range(4))
    x += 1
    y, cache = layer.forward(x, training=training)
    ty = layer.tangent(tx, cache)
    dx, grads = layer.backward(dy, cache)
    ddx, dgrads = layer.backward_tangent(dy, ddy, tx, cache)
    xhat, txhat = np.zeros_like(x), np.zeros_like(x)
    which = groups(*shape)
    for n, i in np.ndindex(5, which.max() + 1):
        own = n, which == i
        m, g, dg = x[own].size, (gamma * dy)[own], (gamma * ddy)[own]
        mean = math.fsum(x[own]) / m if centred else 0
        s = 1 / math.sqrt(math.fsum((x[own] - mean) ** 2) / m + 0.01)
        h = s * (x[own] - mean)
        P = s * (np.eye(m) - centred / m - np.outer(h, h) / m)
        xhat[own], th = h, P @ tx[own]
        txhat[own] = th
        a = s * (tx[own] * h).mean()
        moved = P @ dg - s * (h * (g * th).mean() + th * (g * h).mean()) - a * (P @ g)
        np.testing.assert_allclose(dx[own], P @ g, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(ddx[own], moved, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(y, gamma * xhat + beta, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(ty, gamma * txhat, rtol=1e-11, atol=1e-13)
    axes = (0, 1, 2)
    expected = {"gamma": (dy * xhat).sum(axes), "beta": dy.sum(axes)}
    moved = {"gamma": (ddy * xhat + dy * txhat).sum(axes), "beta": ddy.sum(axes)}
    assert list(grads) == list(dgrads) == list(layer.params)
    for k in grads:
        np.testing.assert_allclose(grads[k], expected[k], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(dgrads[k], moved[k], rtol=1e-11, atol=1e-13)


@every_grouped
def test_the_samples_of_a_batch_do_not_meet(name):
    make, options, *_ = GROUPED[name]
    layer = layer_on((3, 4, 2), make=make, **options)
    x = draw((4, 3, 4, 2))
    y, cache = layer.forward(x)
    dx, _ = layer.backward(y[::-1], cache)
    for n in range(4):
        alone, cache = layer.forward(x[n : n + 1])
        np.testing.assert_allclose(alone[0], y[n], rtol=1e-13)
        np.testing.assert_allclose(
            layer.backward(y[::-1][n : n + 1], cache)[0][0], dx[n], atol=1e-13
        )
    assert not layer.state and cache.state is None


@settings(max_examples=30, derandomize=True)
@given(
    st.sampled_from(list(GROUPED)), st.lists(st.integers(2, 4), min_size=1, max_size=4),
    st.booleans(), st.integers(0, 50),
)  # fmt: skip
def test_gradients_of_the_norms_of_a_sample(name, shape, training, seed):
    make, options, *_ = GROUPED[name]
    shape = (*shape, 3) if make is mg.InstanceNorm else (*shape[:-1], shape[-1] + 1)
    report = mg.check_gradients(make(**options), shape, batch=2, seed=seed, training=training)
    assert report.ok and report.max_error <= 1e-11, str(report)


def test_pixel_norm_of_zeros_is_zero():
    layer = layer_on((2, 3), "float32", make=mg.PixelNorm)
    y, cache = layer.forward(np.zeros((1, 2, 3), "float32"))
    dx, _ = layer.backward(np.ones_like(y), cache)
    assert not y.any() and np.allclose(dx, 1e4, rtol=1e-5)  # 1/sqrt(epsilon)


def test_arguments_of_the_norms_of_a_sample():
    assert [make().epsilon for make, *_ in GROUPED.values()] == [1e-3, 1e-3, 1e-3, 1e-8]
    assert mg.LayerNorm().over == "position"
    for make, options, *_ in GROUPED.values():
        layer = make(epsilon=0.02, **options)
        again = from_config(to_config(layer))
        assert to_config(again) == to_config(layer) and again.epsilon == 0.02
        with pytest.raises(ValueError, match=f"{make.__name__}: epsilon=0.5 should be small"):
            make(epsilon=0.5)
        with pytest.raises(ValueError, match=f"{make.__name__} takes .*got"):
            make(**options).build(())
    with pytest.raises(ValueError, match="over='batch' is unknown; choose one of 'position', 'sam"):
        mg.LayerNorm(over="batch")
    with pytest.raises(ValueError, match=r"InstanceNorm takes \(None, time, .*got \(None, 3\)"):
        mg.InstanceNorm().build((3,))


@pytest.mark.parametrize(
    "inner", [lambda: mg.Conv2D(4, 2), lambda: mg.SpectralNorm(mg.Conv2D(4, 2))]
)
@pytest.mark.parametrize("name", ["batch_normalization", *GROUPED])
def test_a_bias_before_a_norm_is_null_where_its_channel_s_mean_is_subtracted(name, inner):
    make, options = (mg.BatchNorm, {}) if name == "batch_normalization" else GROUPED[name][:2]
    model = mg.Sequential([inner(), make(**options)], input_shape=(4, 4, 2), dtype="float64")
    bias = next(k for k in model.params if k.endswith("bias"))
    null = {bias} if make in (mg.BatchNorm, mg.InstanceNorm) else set()
    assert model.null_gradients() == null
    report = mg.check_gradients(model)  # asserts that they are zero, and that no other is
    assert report.ok and report.max_error <= 1e-11, str(report)
