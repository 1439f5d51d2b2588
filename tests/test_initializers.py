"""Initializers: ranges, moments and names."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import minigan as mg
from minigan import initializers
from minigan.random import Key

FANS = (200, 300)
N = 200_000

# name -> (limit of a uniform one, standard deviation), from the papers
TABLE = {
    "glorot_uniform": (math.sqrt(6 / 500), math.sqrt(2 / 500)),
    "glorot_normal": (None, math.sqrt(2 / 500)),
    "he_uniform": (math.sqrt(6 / 200), math.sqrt(2 / 200)),
    "he_normal": (None, math.sqrt(2 / 200)),
    "torch_uniform": (1 / math.sqrt(200), 1 / math.sqrt(600)),
    "random_normal": (None, 0.02),
    "random_uniform": (0.05, 0.1 / math.sqrt(12)),
}


def drawn(spec, dtype="float64", seed=0):
    return initializers.get(spec)((N,), dtype, Key(seed, "test"), FANS)


@pytest.mark.parametrize("name", TABLE)
def test_moments_and_ranges(name):
    limit, deviation = TABLE[name]
    values = drawn(name)
    assert abs(values.mean()) < 5 * deviation / math.sqrt(N)
    assert values.std() == pytest.approx(deviation, rel=0.02)
    if limit:
        assert 0.999 * limit < np.abs(values).max() <= limit
    else:
        assert np.abs(values).max() > 4 * deviation  # a normal one has tails
        kurtosis = (values**4).mean() / values.var() ** 2
        assert kurtosis == pytest.approx(3, abs=0.1)


def test_constants():
    assert not drawn("zeros").any() and (drawn("ones") == 1).all()
    values = drawn(mg.RandomNormal(mean=3.0, stddev=0.5))
    assert (values.mean(), values.std()) == pytest.approx((3, 0.5), rel=0.01)
    values = drawn(mg.RandomUniform(low=2, high=4))
    assert 2 <= values.min() < 2.01 and 3.99 < values.max() < 4


@pytest.mark.parametrize("name", TABLE)
def test_draws_are_functions_of_the_key(name):
    assert np.array_equal(drawn(name), drawn(name))
    assert not np.array_equal(drawn(name), drawn(name, seed=1))
    assert np.array_equal(drawn(name).astype("float32"), drawn(name, "float32"))
    for dtype in ("float32", "complex128"):
        assert drawn(name, dtype).dtype == dtype


@pytest.mark.parametrize(
    "shape, fans",
    [((20, 30), (20, 30)), ((3, 5, 20, 30), (300, 450)), ((5, 20, 30), (100, 150)), ((7,), (7, 7))],
)
def test_fans(shape, fans):
    assert initializers.fans(shape) == fans


def test_biases_know_the_fans_of_their_kernel():
    layer = mg.Dense(5000, bias_initializer="torch_uniform")
    layer.build((4,))
    assert 0.49 < np.abs(layer.params["bias"]).max() <= 0.5


@pytest.mark.parametrize("name", initializers.NAMES)
def test_there_and_back(name):
    spec = initializers.describe(initializers.get(name))
    assert spec["name"] == name
    again = initializers.get(json.loads(json.dumps(spec)))
    assert np.array_equal(drawn(again), drawn(name))
    assert initializers.get(initializers.NAMES[name]).config() == spec["config"]


def test_configuration_survives():
    spec = initializers.describe(mg.RandomNormal(stddev=0.3))
    assert drawn(spec).std() == pytest.approx(0.3, rel=0.02)


def test_errors():
    with pytest.raises(ValueError, match=r"'glorot' is unknown.*did you mean 'glorot"):
        mg.Dense(3, kernel_initializer="glorot")
    with pytest.raises(TypeError):
        mg.RandomNormal(0.02)
    with pytest.raises(TypeError, match="no argument 'std'"):
        mg.RandomNormal(std=0.02)

    class Mine(mg.Initializer):
        pass

    with pytest.raises(TypeError, match="Mine is not registered"):
        initializers.describe(Mine())
