"""The check of second order: layers that do not write it, or only half of it."""

from __future__ import annotations

import pytest

import minigan as mg
from minigan.layers.activations import Elementwise
from minigan.layers.base import Cache, Layer


class Cube(Elementwise):
    reads = "input"

    def apply(self, x, out=None):
        return x * x * x

    def derivative(self, dy, a):
        return 3 * a * a * dy


class HalfWritten(Layer):
    def setup(self, input_shape, key):
        return input_shape

    def compute(self, x, training, rng, keep):
        return x * x, Cache(x if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        return 2 * saved * dy, {}

    def pushforward(self, tx, saved):
        return 2 * saved * tx, tx


LACKING = {Cube: "derivative_tangent", HalfWritten: "pullback_tangent"}


@pytest.mark.parametrize("cls", LACKING)
def test_first_order_is_checked_and_second_order_said_to_be_missing(cls):
    report = mg.check_gradients(cls(), (4,))
    assert report.ok
    assert [row.note for row in report.rows if row.quantity == "tangent"] == ["not written"]


@pytest.mark.parametrize("cls", LACKING)
def test_a_penalty_asks_for_it_before_anything_moves(cls):
    G = mg.Sequential([mg.Dense(4)], input_shape=(3,))
    D = mg.Sequential([mg.Dense(4), mg.Sequential([cls()]), mg.Dense(1)], input_shape=(4,))
    with pytest.raises(TypeError, match=rf"{cls.__name__} does not define {LACKING[cls]}\(\)"):
        mg.GAN(G, D, penalty="r1")
    mg.GAN(G, D)


def test_a_layer_that_adds_the_missing_method_is_complete():
    class WholeCube(Cube):
        def derivative_tangent(self, dy, ddy, a, ta):
            return 3 * a * a * ddy + 6 * a * ta * dy

    report = mg.check_gradients(WholeCube(), (4,))
    assert report.ok and "tangent" in {r.quantity for r in report.rows if r.engine == "complex"}


def test_the_whole_result_of_input_gradient_is_no_dy():
    layer = mg.Dense(2)
    layer.build((3,))
    x = mg.asarray([[1.0, 2.0, 3.0]]).astype("float32")
    y, cache = layer.forward(x)
    with pytest.raises(TypeError, match="dy is a tuple; of dx, first = input_gradient"):
        layer.backward_tangent(layer.input_gradient(y, cache), y, x, cache)
