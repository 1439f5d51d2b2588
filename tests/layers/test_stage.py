"""Stages compute what their layers compute one after the other, in less memory."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan.layers.stage import ActivatedStage, PooledStage, group
from tests.helpers import KEY, arrays_in, draw

ACTIVATIONS = [mg.LeakyReLU(0.2), mg.ReLU(), mg.Tanh(), mg.Sigmoid(), mg.Softmax()]
BODIES = {
    "dense": (lambda: mg.Dense(4, bias_initializer="random_normal"), (5,)),
    "conv": (lambda: mg.Conv2D(4, 3, padding="same"), (4, 3, 2)),
    "transposed": (lambda: mg.Conv2DTranspose(4, 3, strides=2), (2, 3, 2)),
    "norm": (lambda: mg.BatchNorm(), (3, 2, 4)),
}


def model_of(layers, shape):
    model = mg.Sequential(layers, input_shape=shape, dtype="float64", key=mg.random.Key(1, "w"))
    for p in model.params.values():
        p += 0.1 * draw(p.shape, seed=8)
    return model


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("activation", [type(a) for a in ACTIVATIONS])
@pytest.mark.parametrize("training", [True, False])
def test_a_stage_is_its_layers(body, activation, training):
    make, shape = BODIES[body]
    model = model_of([make(), activation()], shape)
    assert [type(stage) for _, stage in model._stages] == [ActivatedStage]
    x = draw((3, *shape))
    before = x.copy()
    first, second = model.layers
    z, c1 = first.forward(x, training=training)
    expected, c2 = second.forward(z, training=training)
    y, cache = model.forward(x, training=training)
    assert np.array_equal(y, expected) and np.array_equal(x, before)
    dy = draw(y.shape, seed=1)
    dz, _ = second.backward(dy, c2)
    dx_expected, grads_expected = first.backward(dz, c1)
    for _ in range(2):  # the output written over z serves any number of backward passes
        dx, grads = model.backward(dy, cache)
        assert np.array_equal(dx, dx_expected)
        assert all(np.array_equal(g, grads_expected[k.split(".", 1)[1]]) for k, g in grads.items())
    model.commit(cache)
    if training and body == "norm":
        assert model.layers[0].state["moving_mean"].any()


@pytest.mark.parametrize(
    "layers, shape, stages",
    [
        ([mg.Dense(3), mg.Tanh(), mg.Tanh()], (4,), [2, 1]),
        ([mg.Dense(3, activation="tanh"), mg.ReLU()], (4,), [1, 1]),
        ([mg.Tanh(), mg.Dense(3), mg.ReLU()], (4,), [1, 2]),
        ([mg.Dropout(0.5), mg.ReLU()], (4,), [1, 1]),
        ([mg.Flatten(), mg.ReLU()], (4,), [1, 1]),
        ([mg.Dense(3), mg.BatchNorm(), mg.ReLU(), mg.Dense(2)], (4,), [1, 2, 1]),
    ],
)  # fmt: skip
def test_what_is_grouped(layers, shape, stages):
    model = model_of(layers, shape)
    found = [2 if isinstance(s, ActivatedStage) else 1 for _, s in group(model.children())]
    assert found == stages
    x = draw((3, *shape))
    before = x.copy()
    y, cache = model.forward(x, rng=KEY)
    by_hand = x
    for name, layer in model.children():
        by_hand, _ = layer.forward(by_hand, rng=KEY.child(name))
    assert np.array_equal(y, by_hand) and np.array_equal(x, before)


@pytest.mark.parametrize("body", BODIES)
def test_gradients_through_stages(body):
    make, shape = BODIES[body]
    for activation in (mg.LeakyReLU(0.2), mg.Tanh(), mg.Softmax()):
        report = mg.check_gradients(mg.Sequential([make(), activation]), shape)
        assert report.ok and report.max_error <= 1e-11, str(report)


RISING = {
    "tanh": mg.Tanh, "leaky": lambda: mg.LeakyReLU(0.2), "relu": mg.ReLU, "sigmoid": mg.Sigmoid,
}  # fmt: skip


@pytest.mark.parametrize("name", RISING)
@pytest.mark.parametrize("pooling", [{"pool_size": 2}, {"pool_size": 3, "strides": 2}])
def test_a_maximum_before_a_rising_activation_is_the_maximum_behind_it(name, pooling):
    layers = [mg.Conv2D(4, 3, padding="same"), RISING[name](), mg.MaxPooling2D(**pooling)]
    model = model_of(layers, (7, 6, 2))
    ((_, stage),) = model._stages
    assert isinstance(stage.layer, PooledStage)
    x = draw((3, 7, 6, 2))
    y, cache = model.forward(x)
    caches, by_hand = [], x
    for layer in model.layers:
        by_hand, c = layer.forward(by_hand)
        caches.append(c)
    np.testing.assert_array_equal(y, by_hand)
    dy = draw(y.shape, seed=1)
    dx, grads = model.backward(dy, cache)
    d = dy
    for layer, c in zip(model.layers[::-1], caches[::-1], strict=True):
        d, own = layer.backward(d, c)
    np.testing.assert_allclose(dx, d, atol=1e-14)
    np.testing.assert_allclose(grads["conv2d.kernel"], own["kernel"], atol=1e-13)
    assert mg.check_gradients(model).ok


@pytest.mark.parametrize("activation", [mg.SiLU, mg.Softmax, lambda: mg.Activation("silu")])
def test_activations_that_may_fall_stay_before_the_maximum(activation):
    layers = [mg.Conv2D(4, 3), activation(), mg.MaxPooling2D(2)]
    model = model_of(layers, (7, 6, 2))
    assert not any(isinstance(getattr(s, "layer", s), PooledStage) for _, s in model._stages)
    assert mg.check_gradients(model).ok


@pytest.mark.cpu("what a cache holds on the host")
def test_the_winners_are_small_and_the_large_values_are_given_back():
    model = model_of([mg.Conv2D(4, 3), mg.Tanh(), mg.MaxPooling2D(2)], (10, 10, 2))
    y, cache = model.forward(draw((2, 10, 10, 2)))
    arrays = arrays_in(cache.saved)
    assert max(a.size for a in arrays) == 2 * 10 * 10 * 2  # x; no array of the 8 x 8 x 4 maps
    assert any(a.dtype == np.uint8 and a.shape == y.shape for a in arrays)
