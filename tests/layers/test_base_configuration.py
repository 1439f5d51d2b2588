"""Configurations, names, keys and layers of one's own."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minigan as mg
from minigan.layers import configuration
from minigan.layers.base import Cache
from minigan.layers.configuration import from_config, snake_case, to_config
from tests.helpers import CASES, both, built, every_case, inputs, same


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
    assert covered == set(configuration._registry.values()) & {
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
        configuration._registry.pop("Doubled", None)
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
