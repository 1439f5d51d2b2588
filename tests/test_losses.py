"""Losses: values by math.log, derivatives by the complex step, extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan import losses
from tests.helpers import draw

H = 1e-20


def derivative(loss, prediction, target):
    """dvalue/dprediction, element by element, through the complex step."""
    found = np.empty(prediction.shape)
    for index in np.ndindex(prediction.shape):
        moved = prediction + 0j
        moved[index] += 1j * H
        found[index] = loss(moved, target)[0].imag / H
    return found


def probabilities(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.05, 0.95, shape)


# name -> (loss, prediction, target, the value in plain Python)
P, L, T = probabilities((3, 4)), 3 * draw((3, 4)), probabilities((3, 4), 1)
ROWS = P / P.sum(axis=1, keepdims=True)
ONES = T / T.sum(axis=1, keepdims=True)
LABELS = np.array([2, 0, 3])


def each(f, *arrays):
    values = [f(*v) for v in zip(*(a.ravel().tolist() for a in arrays), strict=True)]
    return math.fsum(values) / len(values)


def bce(p, t):
    return -t * math.log(p) - (1 - t) * math.log(1 - p)


def log_softmax(row, k):
    return row[k] - math.log(math.fsum(math.exp(v) for v in row))


CASES = {
    "mse": (mg.MSE(), L, T, each(lambda p, t: (p - t) ** 2, L, T)),
    "bce": (mg.BCE(), P, T, each(bce, P, T)),
    "bce outside": (mg.BCE(), P, 3 * T - 1, each(bce, P, 3 * T - 1)),
    "bce logits": (
        mg.BCE(from_logits=True), L, T, each(lambda x, t: bce(1 / (1 + math.exp(-x)), t), L, T),
    ),
    "bce logits outside": (
        mg.BCE(from_logits=True), L, 3 * T - 1,
        each(lambda x, t: bce(1 / (1 + math.exp(-x)), t), L, 3 * T - 1),
    ),
    "cross-entropy": (
        mg.CrossEntropy(), ROWS, ONES, each(lambda p, t: -4 * t * math.log(p), ROWS, ONES),
    ),
    "cross-entropy labels": (
        mg.CrossEntropy(), ROWS, LABELS,
        -math.fsum(math.log(ROWS[n, k]) for n, k in enumerate(LABELS)) / 3,
    ),
    "cross-entropy logits": (
        mg.CrossEntropy(from_logits=True), L, ONES,
        -math.fsum(ONES[n, k] * log_softmax(L[n], k) for n in range(3) for k in range(4)) / 3,
    ),
    "cross-entropy logits labels": (
        mg.CrossEntropy(from_logits=True), L, LABELS,
        -math.fsum(log_softmax(L[n], k) for n, k in enumerate(LABELS)) / 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_value_and_derivative(name):
    loss, prediction, target, expected = CASES[name]
    before = prediction.copy(), target.copy()
    value, d = loss(prediction, target)
    assert float(value) == pytest.approx(expected, rel=1e-13)
    assert d.shape == prediction.shape
    np.testing.assert_allclose(d, derivative(loss, prediction, target), rtol=1e-11, atol=1e-15)
    assert np.array_equal(prediction, before[0]) and np.array_equal(target, before[1])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_the_dtype_is_that_of_the_prediction(name, dtype):
    loss, prediction, target, expected = CASES[name]
    value, d = loss(prediction.astype(dtype), target)
    assert value.dtype == d.dtype == dtype
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [mg.MSE(), mg.BCE(), mg.BCE(from_logits=True)])
def test_a_target_may_be_a_number_or_a_list(loss):
    prediction = P.astype("float32")
    for target in (1, 0.5, True):
        same = np.full(P.shape, target, "float32")
        a, b = loss(prediction, target), loss(prediction, same)
        assert a[0] == b[0] and np.array_equal(a[1], b[1]) and a[1].dtype == np.float32
    assert loss(P, T.tolist())[0] == loss(P, T)[0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", [0.0, 1.0, 0.9, 1.1, -0.1])
def test_logits_of_a_thousand(dtype, target):
    loss = mg.BCE(from_logits=True)
    for logit in (-1000.0, 1000.0):
        value, d = loss(np.array([[logit]], dtype), target)
        exact = max(logit, 0) - target * logit
        assert value == pytest.approx(exact, rel=1e-6)
        assert d == pytest.approx((logit > 0) - target, rel=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_zero_and_one(dtype):
    p = np.array([0, 0, 1, 1], dtype)
    value, d = mg.BCE()(p, np.array([0, 1, 0, 1], dtype))
    assert value == 50.0  # a logarithm of zero counts as -100
    assert np.isfinite(d).all()
    assert d[0] == d[3] == 0 and d[1] < -1e10 and d[2] > 1e10  # where D is fooled it must learn


def test_probabilities_near_one_have_the_exact_gradient():
    """A clip at 0.999 would give none."""
    p = np.array([0.9999, 0.99999])
    np.testing.assert_allclose(mg.BCE()(p, 0.0)[1], 1 / (1 - p) / 2, rtol=1e-9)


@pytest.mark.filterwarnings("error")
def test_cross_entropy_extremes():
    logits = np.array([[1000.0, -1000, 0], [0, 1000, 1000]])
    value, d = mg.CrossEntropy(from_logits=True)(logits, np.array([1, 2]))
    assert value == pytest.approx((2000 + math.log(2)) / 2)
    np.testing.assert_allclose(d, [[0.5, -0.5, 0], [0, 0.25, -0.25]], atol=1e-15)
    value, d = mg.CrossEntropy()(np.array([[0.0, 1.0]]), np.array([0]))
    assert value == 100 and np.isfinite(d).all() and d[0, 0] < -1e10


@settings(max_examples=50)
@given(st.floats(-700, 700))
def test_softplus(x):
    exact = x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))
    assert losses.softplus(np.array([x]))[0] == pytest.approx(exact, rel=1e-14, abs=1e-320)


@pytest.mark.cpu("labels on a GPU are not looked at")
def test_errors():
    with pytest.raises(ValueError, match=r"MSE: prediction \(3, 4\) and target \(3, 1\)"):
        mg.MSE()(P, T[:, :1])
    with pytest.raises(ValueError, match="must have one shape"):
        mg.BCE()(P, T[0])
    with pytest.raises(TypeError, match="the prediction must be an array of floats"):
        mg.BCE()(np.array([0, 1]), 1.0)
    with pytest.raises(TypeError, match="the prediction must be an array of floats"):
        mg.MSE()([0.5], 1.0)
    with pytest.raises(ValueError, match="labels run from 0 to 3"):
        mg.CrossEntropy()(ROWS, np.array([0, 1, 4]))
    with pytest.raises(ValueError, match=r"takes labels of shape \(3,\), got \(2,\)"):
        mg.CrossEntropy()(ROWS, np.array([0, 1]))
    with pytest.raises(TypeError):
        mg.BCE(True)
