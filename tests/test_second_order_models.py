"""Second order of whole critics, drawn at random: exact to machine precision, and symmetric."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from tests.helpers import KEY, draw, same, watch

STEP = 1e-20
TOLERANCE = 1e-11

smooth = st.sampled_from(["tanh", "sigmoid", "silu", None])
norms = st.sampled_from(
    [mg.BatchNorm, mg.LayerNorm, lambda: mg.LayerNorm(over="sample"), mg.InstanceNorm, mg.PixelNorm]
).map(lambda make: make())
activations = st.sampled_from(["tanh", "sigmoid", "silu", "softmax"]).map(mg.Activation)
convolutions = st.builds(
    lambda kernel, strides, activation, groups, spectral: (mg.SpectralNorm if spectral else plain)(
        mg.Conv2D(
            4, kernel, strides=strides, padding="same", activation=activation, groups=groups,
            bias_initializer="random_normal",
        )
    ),
    st.integers(1, 3), st.integers(1, 2), smooth, st.sampled_from([1, 2]), st.booleans(),
)  # fmt: skip
resizing = st.one_of(
    st.just(2).map(lambda size: mg.AveragePooling2D(size, padding="same")),
    st.sampled_from([1.5, (1, 2)]).map(mg.Resampling2D),
)


def plain(layer):
    return layer


def residual(body, activation):
    """x + conv(f(norm(x)))."""
    inner = mg.Sequential([body, mg.Conv2D(4, 3, padding="same", activation=activation)])
    return mg.Parallel([inner, mg.Activation("linear")], merge="add")


blocks = st.one_of(
    convolutions,
    norms,
    activations,
    resizing,
    st.builds(residual, st.one_of(norms, activations), smooth),
    st.just(0.3).map(mg.Dropout),
)


@st.composite
def critics(draw_from):
    """A critic of 4 by 5 images of 4 channels, its parameters moved off their start."""
    middle = draw_from(st.lists(blocks, min_size=1, max_size=4))
    head = [mg.Flatten(), mg.Dense(3, activation=draw_from(smooth)), mg.Dense(1)]
    model = mg.Sequential(
        [*middle, *head], input_shape=(4, 5, 4), dtype="float64", key=mg.random.Key(2, "critic")
    )
    model.params.flat += 0.1 * draw(model.params.flat.shape, seed=9)
    return model


def forward(model, x, training):
    return model.forward(x, training=training, rng=KEY)


def directions(model, x, seed):
    """(tx, a direction of the parameters)."""
    return draw(x.shape, seed=seed), {
        k: draw(a.shape, seed=seed + 1 + i) for i, (k, a) in enumerate(model.params.items())
    }


def assert_near(found, expected, scale):
    assert np.abs(found - expected).max() <= TOLERANCE * max(scale, 1)


@settings(max_examples=100, derandomize=True)
@given(critics(), st.booleans(), st.integers(0, 99))
def test_backward_tangent_is_the_complex_step_of_backward(model, training, seed):
    x = draw((3, 4, 5, 4), seed=seed)
    tx = draw(x.shape, seed=seed + 1)
    y, cache = forward(model, x, training)
    dy, ddy = draw(y.shape, seed=seed + 2), draw(y.shape, seed=seed + 3)
    _, first = model.input_gradient(dy, cache)
    ddx, dgrads = model.backward_tangent(first, ddy, tx, cache)
    twin = model.astype("complex128")
    y, moved = forward(twin, x + 1j * STEP * tx, training)
    dx, grads = twin.backward(dy + 1j * STEP * ddy, moved)
    assert_near(model.tangent(tx, cache), y.imag / STEP, np.abs(y.imag).max() / STEP)
    assert_near(ddx, dx.imag / STEP, np.abs(dx.imag).max() / STEP)
    assert list(dgrads) == list(grads)
    for k, g in grads.items():
        assert_near(dgrads[k], g.imag / STEP, np.abs(g.imag).max() / STEP)


@settings(max_examples=100, derandomize=True)
@given(critics(), st.booleans(), st.integers(0, 99))
def test_the_hessian_is_symmetric_in_the_input_and_the_parameters(model, training, seed):
    """u H v = v H u for f = sum(dy * y): between two inputs, and between inputs and parameters."""
    x = draw((3, 4, 5, 4), seed=seed)
    (u, p), (v, _) = directions(model, x, 1), directions(model, x, 50)
    y, cache = forward(model, x, training)
    dy, still = draw(y.shape, seed=seed + 1), np.zeros_like(y)
    along_u, mixed = model.backward_tangent(dy, still, u, cache)
    along_v, _ = model.backward_tangent(dy, still, v, cache, wrt="input")
    size = np.abs(along_u * v).sum() + np.abs(along_v * u).sum()
    assert_near((along_u * v).sum(), (along_v * u).sum(), size)

    twin = model.astype("complex128")
    for k, a in twin.params.items():
        a += 1j * STEP * p[k]
    _, moved = forward(twin, x + 0j, training)
    dx, _ = twin.backward(dy + 0j, moved, wrt="input")  # moved along p
    found = sum((mixed[k] * p[k]).sum() for k in p)
    size = sum(np.abs(mixed[k] * p[k]).sum() for k in p)
    assert_near(found, (dx.imag * u).sum() / STEP, size)
    assert_near(found, (dy * twin.tangent(u + 0j, moved).imag).sum() / STEP, size)


def conditional(merge):
    """Two inputs, an image and a label: features and the label's embedding, joined."""
    features = mg.Sequential([mg.Conv2D(3, 2), mg.SiLU(), mg.Flatten(), mg.Dense(4)])
    model = mg.Sequential(
        [mg.Parallel([features, mg.Embedding(5, 4)], merge=merge), mg.Tanh(), mg.Dense(1)]
    )
    model.build(((4, 3, 2), ()), "float64", mg.random.Key(4, "critic"))
    return model, (draw((3, 4, 3, 2)), np.array([0, 3, 3]))


@pytest.mark.parametrize("merge", ["concat", "add", "dot"])
def test_a_conditional_critic(merge):
    model, (x, labels) = conditional(merge)
    tx = draw(x.shape, seed=1)
    y, cache = model.forward((x, labels))
    dy, ddy = draw(y.shape, seed=2), draw(y.shape, seed=3)
    (ddx, none), dgrads = model.backward_tangent(dy, ddy, (tx, None), cache)
    twin = model.astype("complex128")
    y, moved = twin.forward((x + 1j * STEP * tx, labels))
    (dx, _), grads = twin.backward(dy + 1j * STEP * ddy, moved)
    assert none is None
    assert_near(model.tangent((tx, None), cache), y.imag / STEP, 1)
    assert_near(ddx, dx.imag / STEP, 1)
    assert all(np.abs(g).max() > 0 for g in dgrads.values())
    for k, g in grads.items():
        assert_near(dgrads[k], g.imag / STEP, 1)


def test_a_product_of_two_branches_that_both_move():
    """Each from its own input; then both from one, behind layers without parameters."""
    branches = [mg.Dense(3, activation="tanh"), mg.Sequential([mg.SiLU(), mg.Dense(3)])]
    two = mg.Parallel(branches, merge="dot")
    two.build(((4,), (5,)), "float64")
    x, tx = (tuple(draw((3, n), seed=s + n) for n in (4, 5)) for s in (0, 10))
    y, cache = two.forward(x)
    dy, ddy = draw(y.shape, seed=2), draw(y.shape, seed=3)
    ddx, dgrads = two.backward_tangent(dy, ddy, tx, cache)
    twin = two.astype("complex128")
    y, moved = twin.forward(tuple(a + 1j * STEP * t for a, t in zip(x, tx, strict=True)))
    dx, grads = twin.backward(dy + 1j * STEP * ddy, moved)
    assert_near(two.tangent(tx, cache), y.imag / STEP, 1)
    for found, expected in [*zip(ddx, dx, strict=True), *((dgrads[k], grads[k]) for k in grads)]:
        assert_near(found, expected.imag / STEP, 1)

    branches = [mg.Dense(3), mg.Dense(3, activation="sigmoid")]
    model = mg.Sequential([mg.Tanh(), mg.Flatten(), mg.Parallel(branches, merge="dot")])
    report = mg.check_gradients(model, (2, 2))
    assert report.ok and report.max_error <= TOLERANCE, str(report)


def test_below_the_first_parameters_no_direction_goes_down(monkeypatch):
    model = mg.Sequential(
        [mg.UpSampling2D(2), mg.Tanh(), mg.Conv2D(2, 3), mg.Sigmoid()], input_shape=(3, 3, 2)
    )
    x = draw((2, 3, 3, 2), "float32")
    y, cache = model.forward(x)
    _, first = model.input_gradient(y, cache)
    _, expected = model.backward_tangent(first, y, x, cache)
    for kernel in ("upsample2d_adjoint", "tanh_tangent", "conv2d_adjoint"):
        watch(monkeypatch, kernel, lambda _: None)
    none, dgrads = model.backward_tangent(first, y, x, cache, wrt="params")
    assert none is None and same(dgrads, expected)
    bare = mg.Sequential([mg.Tanh()], input_shape=(3, 3, 2))
    y, cache = bare.forward(x)
    none, dgrads = bare.backward_tangent(y, y, x, cache, wrt="params")
    assert none is None and not dgrads


def test_the_directions_of_a_conditional_critic_are_checked():
    model, (x, labels) = conditional("add")
    _, cache = model.forward((x, labels))
    for wrong in (x, (x,), (x, None, None)):
        with pytest.raises(ValueError, match="tx is a tuple of 2 tangents.*None for labels"):
            model.tangent(wrong, cache)
    with pytest.raises(ValueError, match="embedding: labels cannot move; their tangent is None"):
        model.tangent((x, labels), cache)


@pytest.mark.parametrize("training", [True, False])
def test_stages_and_their_layers_one_by_one_agree(training):
    """A model fuses neighbours; the same chain rule over its layers gives the same."""
    model = mg.Sequential(
        [mg.Dense(6), mg.Tanh(), mg.BatchNorm(), mg.Sigmoid(), mg.Dense(5), mg.LeakyReLU(0.3),
         mg.LayerNorm(), mg.SiLU(), mg.Dense(1)],
        input_shape=(4,), dtype="float64",
    )  # fmt: skip
    assert len(model._stages) < len(model.layers)
    x, tx = draw((5, 4)), draw((5, 4), seed=1)
    y, cache = model.forward(x, training=training)
    dy, ddy = draw(y.shape, seed=2), draw(y.shape, seed=3)
    ddx, dgrads = model.backward_tangent(dy, ddy, tx, cache)
    caches, moves = [], [tx]
    for layer in model.layers:
        x, own = layer.forward(x, training=training)
        caches.append(own)
        moves.append(layer.tangent(moves[-1], own))
    np.testing.assert_allclose(model.tangent(tx, cache), moves[-1], rtol=1e-12)
    for i, (name, layer) in reversed(list(enumerate(model.children()))):
        dx, first = layer.input_gradient(dy, caches[i])
        ddy, found = layer.backward_tangent(first, ddy, moves[i], caches[i])
        dy = dx
        for k, g in found.items():
            np.testing.assert_allclose(dgrads[f"{name}.{k}"], g, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(ddx, ddy, rtol=1e-10, atol=1e-13)
