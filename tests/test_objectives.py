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
        with pytest.raises(ValueError, match="logit_clip=.* should be a positive number, or None"):
            mg.NonSaturating(logit_clip=clip)

    class Mine(objectives.Objective):
        pass

    with pytest.raises(TypeError, match="Mine is not registered"):
        Mine().config()


# the other objectives

OTHERS = {  # name -> (d_loss, g_loss) of two lists of logits, from the table in objectives.py
    "least_squares": (
        lambda r, f: mean_of((x - 1) ** 2 for x in r) / 2 + mean_of(x**2 for x in f) / 2,
        lambda r, f: mean_of((x - 1) ** 2 for x in f) / 2,
    ),
    "hinge": (
        lambda r, f: mean_of(max(0, 1 - x) for x in r) + mean_of(max(0, 1 + x) for x in f),
        lambda r, f: -mean_of(f),
    ),
    "wasserstein": (lambda r, f: -mean_of(r) + mean_of(f), lambda r, f: -mean_of(f)),
    "relativistic_pairing": (
        lambda r, f: mean_of(math.log(1 + math.exp(y - x)) for x, y in zip(r, f, strict=True)),
        lambda r, f: mean_of(math.log(1 + math.exp(x - y)) for x, y in zip(r, f, strict=True)),
    ),
}
every_other = pytest.mark.parametrize("name", OTHERS)
every_objective = pytest.mark.parametrize("name", objectives.NAMES)
SIDES = 2 * draw((7, 1), seed=2), 2 * draw((7, 1), seed=3)  # on both sides of hinge's margins


def mean_of(values):
    values = list(values)
    return math.fsum(values) / len(values)


@every_other
def test_the_value_is_the_formula_and_the_derivative_that_of_the_value(name):
    objective, formulas = objectives.get(name), OTHERS[name]
    real, fake = SIDES
    d_value, dreal, dfake = objective.d_loss(real, fake)
    g_value, d = objective.g_loss(fake, real)
    for value, formula in zip((d_value, g_value), formulas, strict=True):
        assert value == pytest.approx(formula(real.ravel(), fake.ravel()), rel=1e-13)
    for found, a, value in (
        (dreal, real, lambda m: objective.d_loss(m, fake)[0]),
        (dfake, fake, lambda m: objective.d_loss(real, m)[0]),
        (d, fake, lambda m: objective.g_loss(m, real)[0]),
    ):
        np.testing.assert_allclose(found, derivative(value, a), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["least_squares", "hinge", "wasserstein"])
def test_each_expectation_is_over_its_own_batch(name):
    objective, (formula, _) = objectives.get(name), OTHERS[name]
    value, dreal, dfake = objective.d_loss(REAL, FAKE)  # five and three
    assert value == pytest.approx(formula(REAL.ravel(), FAKE.ravel()), rel=1e-13)
    np.testing.assert_allclose(dreal, derivative(lambda a: objective.d_loss(a, FAKE)[0], REAL))
    np.testing.assert_allclose(dfake, derivative(lambda a: objective.d_loss(REAL, a)[0], FAKE))


def test_least_squares_with_other_targets():
    targets = {"real_target": 0.9 + 0 * REAL, "fake_target": 0.2 + 0 * FAKE}
    value, dreal, dfake = mg.LeastSquares().d_loss(REAL, FAKE, **targets)
    expected = mean(lambda x: (x - 0.9) ** 2 / 2, REAL) + mean(lambda x: (x - 0.2) ** 2 / 2, FAKE)
    assert value == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(dreal, (REAL - 0.9) / 5, rtol=1e-13)
    np.testing.assert_allclose(dfake, (FAKE - 0.2) / 3, rtol=1e-13)
    np.testing.assert_allclose(mg.LeastSquares().g_loss(FAKE, target=0.9)[1], (FAKE - 0.9) / 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name, d_value, dreal, dfake, g_value, d",
    [
        ("least_squares", 1000000.5, [-500.5, 499.5], [500, -500], 500000.5, [499.5, -500.5]),
        ("hinge", 1001, [-0.5, 0], [0.5, 0], 0, [-0.5, -0.5]),
        ("wasserstein", 0, [-0.5, -0.5], [0.5, 0.5], 0, [-0.5, -0.5]),
        ("relativistic_pairing", 1000, [-0.5, 0], [0.5, 0], 1000, [0, -0.5]),
    ],
)
def test_the_others_at_a_thousand(name, d_value, dreal, dfake, g_value, d, dtype):
    real, fake = np.array([[-1000.0], [1000.0]], dtype), np.array([[1000.0], [-1000.0]], dtype)
    objective = objectives.get(name)
    found = *objective.d_loss(real, fake), *objective.g_loss(fake, real)
    assert [a.ravel().tolist() for a in found] == [[d_value], dreal, dfake, [g_value], d]
    assert {a.dtype for a in found} == {np.dtype(dtype)}


def test_the_gradient_of_hinge_is_zero_at_its_margin_and_full_just_inside():
    for at, one in ((0, 1.0), (1, -1.0)):  # D's loss on real logits, on fakes
        logits = np.array([[one], [np.nextafter(one, 0)], [3 * one]])
        sides = [None, None]
        sides[at] = logits
        d = mg.HingeGAN().d_loss(*sides)[1 + at]
        assert d.ravel().tolist() == [0, -one / 3, 0]


def test_relativistic_pairing_compares_each_image_with_its_own_fake():
    objective, (real, fake) = mg.RelativisticPairing(), SIDES
    turned = np.roll(np.arange(7), 1)
    value, dreal, dfake = objective.d_loss(real, fake)
    assert abs(objective.d_loss(real, fake[turned])[0] - value) > 1e-2
    both = objective.d_loss(real[turned], fake[turned])
    assert both[0] == pytest.approx(value, rel=1e-14)  # pairs in another order
    np.testing.assert_allclose(both[1], dreal[turned], rtol=1e-14)
    np.testing.assert_allclose(both[2], dfake[turned], rtol=1e-14)


def test_relativistic_pairing_of_g_is_that_of_d_with_the_roles_exchanged():
    objective, (real, fake) = mg.RelativisticPairing(), SIDES
    value, dreal, dfake = objective.d_loss(real, fake)
    g_value, d = objective.g_loss(real, fake)  # real images where the fakes stood
    assert value == g_value and np.array_equal(d, dreal)
    assert (dreal < 0).all() and (dfake > 0).all() and np.array_equal(dfake, -dreal)


@every_objective
def test_what_a_constant_added_to_all_logits_changes(name):
    objective, (real, fake) = objectives.get(name), SIDES
    change = objective.d_loss(real + 0.5, fake + 0.5)[0] - objective.d_loss(real, fake)[0]
    assert (abs(change) < 1e-13) == objective.relative


@every_other
def test_score_of_the_others_is_the_mean_of_the_logits(name):
    assert objectives.get(name).score(REAL) == pytest.approx(mean(float, REAL), rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_wasserstein_clip_cuts_what_is_beyond_and_nothing_else(dtype):
    params = {"a": (3 * draw((4, 5))).astype(dtype), "b": np.array([-0.5, 0.2, 0.5], dtype)}
    if dtype == "complex128":
        params["a"] += 1e-20j
    before = {k: p.copy() for k, p in params.items()}
    arrays = dict(params)
    mg.WassersteinGAN(clip=0.5).constrain(params)
    for k, p in params.items():
        beyond = np.abs(before[k].real) > 0.5
        assert p is arrays[k] and np.array_equal(p[~beyond], before[k][~beyond])
        assert np.array_equal(p[beyond], 0.5 * np.sign(before[k][beyond].real))
    assert (np.abs(before["a"].real) > 0.5).any() and (np.abs(before["a"].real) < 0.5).any()


@every_objective
def test_without_clip_no_objective_constrains_anything(name):
    params = {"a": 100 * draw((3, 2))}
    objectives.get(name).constrain(params)
    assert np.array_equal(params["a"], 100 * draw((3, 2)))


@every_objective
def test_every_objective_by_name_and_by_config(name):
    objective = objectives.get(name)
    assert objective.config()["name"] == name
    assert type(objectives.get(json.loads(json.dumps(objective.config())))) is type(objective)
    again = objectives.get(mg.WassersteinGAN(clip=0.25).config())
    assert again.clip == 0.25 and again.config() == {"name": "wasserstein", "clip": 0.25}


def test_errors_of_the_others():
    real, fake = SIDES
    for sides in ((real, None), (None, fake), (real, fake[:3]), (real[:, 0], fake)):
        for call in (mg.RelativisticPairing().d_loss, mg.RelativisticPairing().g_loss):
            with pytest.raises(ValueError, match="compares real with fake logits, as many of each"):
                call(*sides)
    for clip in (0, -0.01, float("nan")):
        with pytest.raises(ValueError, match="clip=.* should be a positive number, or None"):
            mg.WassersteinGAN(clip=clip)
