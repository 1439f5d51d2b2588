"""Optimizers against independent implementations."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import minigan as mg
from minigan import optimizers
from minigan.flat import FlatDict
from tests.helpers import draw

SHAPES = {"b": (3,), "a": (2, 2)}


def arrays(seed, dtype="float64", flat=False):
    found = {k: draw(s, dtype, seed + i) for i, (k, s) in enumerate(SHAPES.items())}
    return FlatDict.of(found) if flat else found


def walk(optimizer, steps, dtype="float64", flat=False, start=0):
    params = arrays(100, dtype, flat)
    for t in range(start, start + steps):
        optimizer.step(params, arrays(10 * t, dtype, flat))
    return params


def by_hand(rule, steps):
    """Each number moved on its own, in plain Python floats."""
    params = {k: p.copy() for k, p in arrays(100).items()}
    for k, p in params.items():
        for index in np.ndindex(p.shape):
            history = [arrays(10 * t)[k][index] for t in range(steps)]
            p[index] = rule(float(p[index]), [float(g) for g in history])
    return params


def adam(p, gs, lr=0.01, b1=0.5, b2=0.9, epsilon=1e-3, form="keras"):
    for t in range(1, len(gs) + 1):
        # the closed form of the decayed means
        m = (1 - b1) * math.fsum(b1 ** (t - i) * gs[i - 1] for i in range(1, t + 1))
        v = (1 - b2) * math.fsum(b2 ** (t - i) * gs[i - 1] ** 2 for i in range(1, t + 1))
        if form == "torch":
            mhat, vhat = m / (1 - b1**t), v / (1 - b2**t)
            p -= lr * mhat / (math.sqrt(vhat) + epsilon)
        else:
            p -= lr * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (math.sqrt(v) + epsilon)
    return p


@pytest.mark.parametrize("form", ["keras", "torch"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("flat", [True, False])
def test_adam_is_its_closed_form(form, steps, flat):
    optimizer = mg.Adam(0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-3, form=form)
    found = walk(optimizer, steps, flat=flat)
    expected = by_hand(lambda p, gs: adam(p, gs, form=form), steps)
    for k, p in expected.items():
        np.testing.assert_allclose(found[k], p, rtol=1e-13)


def test_the_forms_differ_in_where_epsilon_stands():
    one, two = (
        walk(mg.Adam(0.01, beta_2=0.9, epsilon=0.1, form=form), 1) for form in ("keras", "torch")
    )
    assert np.abs(one["a"] - two["a"]).max() > 1e-4


def test_the_defaults_of_adam():
    optimizer = mg.Adam()
    assert (optimizer.learning_rate, optimizer.beta_1, optimizer.beta_2) == (2e-4, 0.5, 0.999)
    assert optimizer.form == "keras" and optimizer.epsilon == 1e-7
    assert mg.Adam(form="torch").epsilon == 1e-8 and mg.Adam(epsilon=0.5).epsilon == 0.5


@pytest.mark.parametrize("form", ["keras", "torch"])
def test_a_constant_gradient_moves_by_the_learning_rate_at_every_step(form):
    """Without the step counter the early steps are large, or the late ones many times too small."""
    p, optimizer = {"p": np.zeros(1)}, mg.Adam(0.01, beta_1=0.9, form=form)
    gradient = {"p": np.full(1, 0.3)}
    for t in range(1, 3001):
        before = p["p"].copy()
        optimizer.step(p, gradient)
        if t in (1, 2, 10, 100, 3000):
            assert (before - p["p"])[0] == pytest.approx(0.01, rel=1e-3), t
    assert optimizer.t == 3000 == optimizer.state["t"]


def test_the_step_counter_is_counted_once_for_the_whole_network():
    optimizer = mg.Adam()
    walk(optimizer, 4)
    assert optimizer.t == 4


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd(momentum):
    def rule(p, gs):
        for t in range(1, len(gs) + 1):
            p -= 0.1 * math.fsum(momentum ** (t - i) * gs[i - 1] for i in range(1, t + 1))
        return p

    found = walk(mg.SGD(0.1, momentum=momentum), 4)
    for k, p in by_hand(rule, 4).items():
        np.testing.assert_allclose(found[k], p, rtol=1e-13)


def test_rmsprop():
    def rule(p, gs):
        for t in range(1, len(gs) + 1):
            v = 0.2 * math.fsum(0.8 ** (t - i) * gs[i - 1] ** 2 for i in range(1, t + 1))
            p -= 0.1 * gs[t - 1] / (math.sqrt(v) + 0.01)
        return p

    found = walk(mg.RMSprop(0.1, rho=0.8, epsilon=0.01), 4)
    for k, p in by_hand(rule, 4).items():
        np.testing.assert_allclose(found[k], p, rtol=1e-13)


ALL = {
    "adam": lambda: mg.Adam(0.01),
    "adam torch": lambda: mg.Adam(0.01, form="torch"),
    "sgd": lambda: mg.SGD(0.1),
    "momentum": lambda: mg.SGD(0.1, momentum=0.9),
    "rmsprop": lambda: mg.RMSprop(0.1),
}
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


@every
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_flat_and_separate_arrays_move_by_the_same_bits(make, dtype):
    flat, separate = walk(make(), 5, dtype, flat=True), walk(make(), 5, dtype)
    assert all(np.array_equal(flat[k], p) and p.dtype == dtype for k, p in separate.items())
    assert np.array_equal(flat.flat, np.concatenate([p.ravel() for p in flat.values()]))


@every
def test_gradients_are_left_alone_and_parameters_move_in_place(make):
    params, grads = arrays(100, flat=True), arrays(0, flat=True)
    held, before = dict(params), grads.flat.copy()
    start = params.flat.copy()
    optimizer = make()
    for _ in range(2):
        optimizer.step(params, grads)
    assert all(params[k] is a for k, a in held.items())
    assert np.array_equal(grads.flat, before)
    assert (params.flat != start).all()
    # downhill: against the sign of the gradient
    assert (np.sign(start - params.flat) == np.sign(before)).all()


@every
def test_another_order_of_the_gradients_is_no_other_gradient(make):
    params, other = arrays(100, flat=True), arrays(100, flat=True)
    one, two = make(), make()
    for t in range(3):
        grads = arrays(10 * t)
        one.step(params, FlatDict.of(grads))
        two.step(other, FlatDict.of(dict(reversed(grads.items()))))
    assert np.array_equal(params.flat, other.flat)


@every
@pytest.mark.parametrize("reverse", [False, True])
def test_a_state_continues_to_the_same_bits(make, reverse):
    straight = walk(make(), 6, flat=True)
    first = make()
    params = walk(first, 3, flat=True)
    state = {k: v if k == "t" else v.copy() for k, v in first.state.items()}
    if reverse:  # a file may keep its arrays in another order
        state = dict(sorted(state.items(), reverse=True))
    second = make()
    second.state = state
    assert second.t == 3
    for t in range(3, 6):
        second.step(params, arrays(10 * t, flat=True))
    assert np.array_equal(params.flat, straight.flat)
    kept = {k: v if k == "t" else v.copy() for k, v in first.state.items()}
    for k, v in state.items():  # the state that was given is not moved
        assert np.array_equal(v, kept[k])


def test_what_a_state_holds():
    optimizer = mg.Adam()
    assert optimizer.state == {"t": 0}
    walk(optimizer, 1)
    assert list(optimizer.state) == ["t", "m.b", "m.a", "v.b", "v.a"]
    assert optimizer.state["m.a"].shape == (2, 2)
    assert mg.SGD().state == {"t": 0}


@every
def test_there_and_back(make):
    optimizer = make()
    again = optimizers.get(json.loads(json.dumps(optimizer.config())))
    assert type(again) is type(optimizer) and again.config() == optimizer.config()
    one, two = walk(optimizer, 3), walk(again, 3)
    assert all(np.array_equal(one[k], two[k]) for k in one)


def test_errors():
    optimizer = mg.Adam()
    params = arrays(100)
    for grads in ({"a": params["a"]}, {**params, "c": params["a"]}, {}, None):
        with pytest.raises(ValueError, match="params and grads must have the same keys"):
            optimizer.step(params, grads)
    assert optimizer.t == 0
    optimizer.step(params, arrays(0))
    for other in (
        {"b": np.zeros(3), "c": np.zeros((2, 2))},
        {"b": np.zeros(3), "a": np.zeros((4, 1))},
        {"b": np.zeros(3, "float32"), "a": np.zeros((2, 2), "float32")},
    ):
        with pytest.raises(ValueError, match="not the parameters it has stepped before"):
            optimizer.step(other, {k: p.copy() for k, p in other.items()})
    with pytest.raises(ValueError, match="SGD: learning_rate=-1.0 should be a number of 0 or more"):
        mg.SGD(-1.0)
    with pytest.raises(ValueError, match="beta_1=1.0 .* of 0 or more, and less than 1"):
        mg.Adam(beta_1=1.0)
    with pytest.raises(ValueError, match="form='pytorch' is unknown"):
        mg.Adam(form="pytorch")
    with pytest.raises(ValueError, match=r"'adma' is unknown.*did you mean 'adam'"):
        optimizers.get("adma")
    with pytest.raises(TypeError):
        mg.Adam(1e-3, 0.5)


def test_a_gradient_of_another_shape_does_not_spread():
    params = {"p": np.zeros((3, 2))}
    with pytest.raises(ValueError):
        mg.SGD().step(params, {"p": np.ones((3, 1))})
    with pytest.raises(ValueError):
        mg.Adam().step(params, {"p": np.ones((1, 2))})
    assert not params["p"].any()
