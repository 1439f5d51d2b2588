"""Stages compute what their layers compute one after the other, in less memory."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan.layers.stage import ActivatedStage, group
from tests.helpers import KEY, draw

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
