"""Penalties on D's slope: their values, their gradients, and D's gradient with them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import minigan as mg
from minigan import penalties
from tests.helpers import draw
from tests.penalty_helpers import TOLERANCE, H, formula, measured_slope

KINDS = ("wgan-gp", "r1", "r2")
every_kind = pytest.mark.parametrize("kind", KINDS)

# the value and its derivative, of gradients given as numbers


@every_kind
@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 3, 2), (1, 6)])
def test_the_value_and_its_derivative(kind, shape):
    g = draw(shape)
    value, v = mg.GradientPenalty(kind, weight=7.0)(g)
    assert value == pytest.approx(formula(kind, g, 7.0), rel=1e-13)
    for index in np.ndindex(shape):
        moved = g + 0j
        moved[index] += 1j * H
        assert v[index] == pytest.approx(formula(kind, moved, 7.0).imag / H, rel=TOLERANCE)


@pytest.mark.filterwarnings("error")
def test_where_the_slope_is_zero_or_one():
    g = np.zeros((3, 4))
    g[0, 2], g[1] = -1, 0.5  # of norm 1, 1 and 0
    value, v = mg.GradientPenalty()(g)
    assert value == pytest.approx(10 / 3, rel=1e-15) and not v.any()
    for kind in ("r1", "r2"):
        value, v = mg.GradientPenalty(kind)(g)
        assert value == pytest.approx(10 / 2 * 2 / 3, rel=1e-15)
        np.testing.assert_allclose(v, 10 / 3 * g)


@every_kind
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_dtypes(kind, dtype):
    value, v = mg.GradientPenalty(kind)(draw((3, 4), dtype))
    assert value.dtype == v.dtype == dtype


@every_kind
def test_weight_and_every_are_factors(kind):
    g = draw((5, 3))
    value, v = mg.GradientPenalty(kind, weight=1.0)(g)
    for options, factor in (({"weight": 2.5}, 2.5), ({"weight": 2.5, "every": 4}, 10), ({}, 10)):
        scaled, scaled_v = mg.GradientPenalty(kind, **options)(g)
        assert scaled == pytest.approx(factor * value, rel=1e-14)
        np.testing.assert_allclose(scaled_v, factor * v, rtol=1e-14)


# of a network written by hand: D(x) = w . tanh(x A + b), dD/dx = A (w (1 - tanh^2))


def hand_written(seed=0):
    d = mg.Sequential(
        [mg.Dense(4, activation="tanh"), mg.Dense(1)], input_shape=(3,), dtype="float64"
    )
    d.params.flat[...] = draw(d.params.flat.shape, seed=seed)
    return d


def loss_by_hand(params, x, weights, terms):
    """sum(weights * logits) + the penalties on their rows."""
    A, b = params["dense.kernel"], params["dense.bias"]
    w, c = params["dense_1.kernel"], params["dense_1.bias"]
    h = np.tanh(x @ A + b)  # (N, 4)
    g = (w[:, 0] * (1 - h * h)) @ A.T  # (N, 3)
    total = (weights * (h @ w + c)).sum()
    return total + sum(formula(p.kind, g[rows], p.weight * p.every) for p, rows in terms)


TERMS = [
    [("r1", slice(None))],
    [("wgan-gp", slice(None))],
    [("r1", slice(3)), ("r2", slice(3, None))],
    [("r2", slice(3, None)), ("wgan-gp", slice(1, 4))],  # rows with both
]


@pytest.mark.parametrize("terms", TERMS)
def test_the_gradient_of_a_loss_and_penalties_by_hand(terms):
    terms = [(mg.GradientPenalty(kind, weight=3.0, every=2), rows) for kind, rows in terms]
    d, x, dlogits = hand_written(), draw((7, 3), seed=1), draw((7, 1), seed=2)
    cache = d.forward(x)[1]
    grads, value = penalties.penalised_backward(d, dlogits, cache, terms)
    assert value == pytest.approx(loss_by_hand(d.params, x, 0 * dlogits, terms), rel=1e-13)
    assert list(grads) == list(d.params)
    for name, found in grads.items():
        for index in np.ndindex(found.shape):
            moved = {k: p + 0j for k, p in d.params.items()}
            moved[name][index] += 1j * H
            expected = loss_by_hand(moved, x, dlogits, terms).imag / H
            assert found[index] == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


def test_without_penalties_it_is_the_ordinary_backward():
    d, dlogits = hand_written(), draw((4, 1), seed=2)
    cache = d.forward(draw((4, 3)))[1]
    grads, value = penalties.penalised_backward(d, dlogits, cache, [])
    assert value == 0
    assert np.array_equal(grads.flat, d.backward(dlogits, cache, wrt="params")[1].flat)


def test_nothing_of_the_pass_is_changed():
    d, dlogits = hand_written(), draw((4, 1), seed=2)
    x = draw((4, 3))
    cache = d.forward(x)[1]
    before = d.params.flat.copy(), dlogits.copy(), x.copy()
    terms = [(mg.GradientPenalty("r1"), slice(None))]
    one, two = (penalties.penalised_backward(d, dlogits, cache, terms) for _ in range(2))
    assert np.array_equal(one[0].flat, two[0].flat) and one[1] == two[1]
    for a, b in zip(before, (d.params.flat, dlogits, x), strict=True):
        assert np.array_equal(a, b)


# of a critic whose slope is measured


def critic(norm):
    middle = [norm()] if norm else []
    d = mg.Sequential(
        [mg.Conv2D(4, 3, strides=2, padding="same"), *middle, mg.LeakyReLU(0.2), mg.Flatten(),
         mg.Dense(3, activation="silu"), mg.Dense(1)],
        input_shape=(3, 4, 2), dtype="float64", key=mg.random.Key(1, "critic"),
    )  # fmt: skip
    d.params.flat += 0.3 * draw(d.params.flat.shape, seed=5)
    return d


@every_kind
@pytest.mark.parametrize("norm", [None, mg.BatchNorm, mg.LayerNorm, mg.InstanceNorm])
def test_the_value_is_that_of_the_measured_slope(kind, norm):
    d, x = critic(norm), draw((3, 3, 4, 2), seed=3)
    logits, cache = d.forward(x)
    terms = [(mg.GradientPenalty(kind), slice(None))]
    value = penalties.penalised_backward(d, 0 * logits, cache, terms)[1]
    twin = d.astype("complex128")
    slope = measured_slope(lambda moved: twin.forward(moved)[0], x)
    assert value == pytest.approx(formula(kind, slope, 10), rel=TOLERANCE)


@every_kind
@pytest.mark.parametrize("norm", [None, mg.BatchNorm, lambda: mg.LayerNorm(over="sample")])
def test_the_gradient_is_the_complex_step_of_the_slopes_formula(kind, norm):
    """By D's parameters: D's backward pass at moved parameters, the formula written above."""
    d, x = critic(norm), draw((3, 3, 4, 2), seed=3)
    logits, cache = d.forward(x)
    terms = [(mg.GradientPenalty(kind), slice(None))]
    grads = penalties.penalised_backward(d, 0 * logits, cache, terms)[0]
    direction = draw(d.params.flat.shape, seed=6)
    twin = d.astype("complex128")
    twin.params.flat += 1j * H * direction
    logits, cache = twin.forward(x + 0j)
    slope = twin.backward(np.ones_like(logits), cache, wrt="input")[0]
    found, expected = (grads.flat * direction).sum(), formula(kind, slope, 10).imag / H
    assert abs(expected) > 0.1
    assert found == pytest.approx(expected, rel=TOLERANCE)


# what users write


def test_get():
    assert penalties.get(None) == [] == penalties.get([])
    penalty = mg.GradientPenalty("r2", weight=1.5, every=3)
    assert penalties.get(penalty) == [penalty]
    (named,) = penalties.get("r1")
    assert (named.kind, named.weight, named.every) == ("r1", 10, 1)
    found = penalties.get([penalty, "wgan-gp", json.loads(json.dumps(penalty.config())), None])
    assert found[0] is penalty and [p.kind for p in found] == ["r2", "wgan-gp", "r2"]
    assert found[2].config() == {"kind": "r2", "weight": 1.5, "every": 3} == penalty.config()
    assert [mg.GradientPenalty(kind).place for kind in KINDS] == ["between", "real", "fake"]


def test_errors():
    with pytest.raises(ValueError, match="kind='r3' is unknown; choose one of 'wgan-gp', 'r1'"):
        mg.GradientPenalty("r3")
    for weight in (-1, math.inf, math.nan):
        with pytest.raises(
            ValueError, match="weight=.* should be a number of 0 or more, and finite"
        ):
            mg.GradientPenalty(weight=weight)
    for every in (0, -2, 1.5):
        with pytest.raises(ValueError, match="every=.* should be a whole number of 1 or more"):
            mg.GradientPenalty(every=every)
