"""Objectives on logits: values, derivatives, one side alone, clipping."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import minigan as mg
from minigan import objectives
from tests.helpers import draw

H = 1e-20
REAL, FAKE = 2 * draw((5, 1)), 2 * draw((3, 1), seed=1)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def mean(f, a):
    return math.fsum(f(v) for v in a.ravel().tolist()) / a.size


def derivative(value, a):
    found = np.empty(a.shape)
    for index in np.ndindex(a.shape):
        moved = a + 0j
        moved[index] += 1j * H
        found[index] = value(moved).imag / H
    return found


@pytest.mark.parametrize("objective", [mg.NonSaturating(), mg.Minimax()])
def test_d_loss(objective):
    value, dreal, dfake = objective.d_loss(REAL, FAKE)
    expected = mean(lambda x: -math.log(sigmoid(x)), REAL)
    expected += mean(lambda x: -math.log(1 - sigmoid(x)), FAKE)
    assert value == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(dreal, derivative(lambda a: objective.d_loss(a, FAKE)[0], REAL))
    np.testing.assert_allclose(dfake, derivative(lambda a: objective.d_loss(REAL, a)[0], FAKE))
    for n in range(5):  # pushes real logits up and fake ones down
        assert dreal[n, 0] == pytest.approx((sigmoid(REAL[n, 0]) - 1) / 5)
    for n in range(3):
        assert dfake[n, 0] == pytest.approx(sigmoid(FAKE[n, 0]) / 3)


def test_one_side_alone():
    objective = mg.NonSaturating()
    value, dreal, dfake = objective.d_loss(REAL, FAKE)
    real_value, dreal_alone, none = objective.d_loss(REAL, None)
    assert none is None and np.array_equal(dreal, dreal_alone)
    fake_value, none, dfake_alone = objective.d_loss(None, FAKE)
    assert none is None and np.array_equal(dfake, dfake_alone)
    assert real_value + fake_value == pytest.approx(value, rel=1e-15)


def test_targets():
    objective = mg.NonSaturating()
    targets = {"real_target": 1.1 + 0 * REAL, "fake_target": -0.1 + 0 * FAKE}
    value, dreal, dfake = objective.d_loss(REAL, FAKE, **targets)
    for n in range(5):
        assert dreal[n, 0] == pytest.approx((sigmoid(REAL[n, 0]) - 1.1) / 5)
    for n in range(3):
        assert dfake[n, 0] == pytest.approx((sigmoid(FAKE[n, 0]) + 0.1) / 3)
    found = derivative(lambda a: objective.d_loss(a, FAKE, **targets)[0], REAL)
    np.testing.assert_allclose(dreal, found, rtol=1e-12)
    assert value != objective.d_loss(REAL, FAKE)[0]


def test_g_losses():
    value, d = mg.NonSaturating().g_loss(FAKE)
    assert value == pytest.approx(mean(lambda x: -math.log(sigmoid(x)), FAKE), rel=1e-13)
    np.testing.assert_allclose(d, derivative(lambda a: mg.NonSaturating().g_loss(a)[0], FAKE))
    assert d.ravel().tolist() == pytest.approx([(sigmoid(x) - 1) / 3 for x in FAKE.ravel()])
    value, d = mg.Minimax().g_loss(FAKE)
    assert value == pytest.approx(mean(lambda x: math.log(1 - sigmoid(x)), FAKE), rel=1e-13)
    np.testing.assert_allclose(d, derivative(lambda a: mg.Minimax().g_loss(a)[0], FAKE))
    assert d.ravel().tolist() == pytest.approx([-sigmoid(x) / 3 for x in FAKE.ravel()])


def test_the_two_objectives_differ_where_d_rejects_every_fake():
    logits = np.full((4, 1), -20.0)
    strong, weak = (o.g_loss(logits)[1] for o in (mg.NonSaturating(), mg.Minimax()))
    np.testing.assert_allclose(strong, -0.25, rtol=1e-8)
    assert (weak < 0).all() and (np.abs(weak) < 1e-8).all()
    # and are the same multiple of D's slope where D is undecided
    zero = np.zeros((4, 1))
    assert np.array_equal(mg.NonSaturating().g_loss(zero)[1], mg.Minimax().g_loss(zero)[1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("objective", [mg.NonSaturating(), mg.Minimax()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_a_thousand(objective, dtype):
    a = np.array([[-1000.0], [1000.0]], dtype)
    value, dreal, dfake = objective.d_loss(a, a)
    assert value == 1000
    assert dreal.ravel().tolist() == [-0.5, 0] and dfake.ravel().tolist() == [0, 0.5]
    value, d = objective.g_loss(a)
    assert abs(value) == 500 and np.isfinite(d).all()
    assert value.dtype == d.dtype == dreal.dtype == dtype


@pytest.mark.parametrize("cls", [mg.NonSaturating, mg.Minimax])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_clipping(cls, dtype):
    c = 3.0
    objective, plain = cls(logit_clip=c), cls()
    a = np.array([[-50.0], [-3.5], [-2.5], [0.5], [2.5], [3.5], [50.0]], dtype)
    clipped = np.clip(a.real, -c, c).astype(dtype)
    beyond = (np.abs(a) > c).ravel()
    value, dreal, dfake = objective.d_loss(a, a)
    expected, dreal_plain, dfake_plain = plain.d_loss(clipped, clipped)
    assert value == pytest.approx(expected, rel=1e-6)
    g_value, d = objective.g_loss(a)
    g_expected, d_plain = plain.g_loss(clipped)
    assert g_value == pytest.approx(g_expected, rel=1e-6)
    for found, inside in ((dreal, dreal_plain), (dfake, dfake_plain), (d, d_plain)):
        assert found.dtype == dtype
        assert not found[beyond].any()
        assert np.array_equal(found[~beyond], inside[~beyond]) and found[~beyond].all()


def test_clipping_at_the_edge_keeps_the_gradient():
    d = mg.NonSaturating(logit_clip=3.0).g_loss(np.array([[3.0], [-3.0]]))[1]
    assert d.all()


def test_score_is_what_d_says():
    assert mg.NonSaturating().score(REAL) == pytest.approx(mean(sigmoid, REAL), rel=1e-13)


def test_names_and_configuration():
    for name, cls in (("non_saturating", mg.NonSaturating), ("minimax", mg.Minimax)):
        assert type(objectives.get(name)) is cls
        again = objectives.get(json.loads(json.dumps(cls(logit_clip=4.0).config())))
        assert type(again) is cls and again.logit_clip == 4.0
    objective = mg.Minimax()
    assert objectives.get(objective) is objective
    with pytest.raises(ValueError, match=r"'minmax' is unknown.*did you mean 'minimax'"):
        objectives.get("minmax")
    for clip in (0, -1.0):
        with pytest.raises(ValueError, match="logit_clip=.* should be positive, or None"):
            mg.NonSaturating(logit_clip=clip)

    class Mine(objectives.Objective):
        pass

    with pytest.raises(TypeError, match="Mine is not registered"):
        Mine().config()
