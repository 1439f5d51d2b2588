"""Draws are functions of their key."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan import random
from minigan.random import Key

keys = st.builds(
    Key,
    st.integers(0, 2**63),
    st.sampled_from(["weights", "dropout", "x"]),
    st.integers(0, 2**40),
    st.sampled_from(["", "a", "a.b"]),
)


@pytest.fixture(autouse=True)
def reseeded():
    yield
    mg.seed(0)


def numbers(key, n=8):
    return key.generator().integers(2**63, size=n).tolist()


@given(keys, keys)
def test_equal_keys_give_equal_numbers_and_others_do_not(one, two):
    assert (numbers(one) == numbers(two)) == (one == two)
    assert numbers(one) == numbers(one)


def test_each_part_of_a_key_matters():
    base = Key(1, "purpose", 2, "layer")
    others = [
        Key(2, "purpose", 2, "layer"),
        Key(1, "other", 2, "layer"),
        Key(1, "purpose", 3, "layer"),
        Key(1, "purpose", 2, "other"),
        Key(1, "purposelayer", 2, ""),
        base.child("x"),
    ]
    draws = [numbers(k) for k in (base, *others)]
    assert len({tuple(d) for d in draws}) == len(draws)
    # not even a shifted stream of each other
    streams = [set(numbers(k, 500)) for k in (base, *others)]
    assert len(set.union(*streams)) == sum(map(len, streams))


def test_long_draws_of_neighbouring_steps_do_not_overlap():
    a, b = (Key(0, "latents", step).philox().random_raw(100_000) for step in (0, 1))
    assert not np.intersect1d(a, b).size


def test_children_are_paths():
    assert Key(0, "p").child("a").child("b") == Key(0, "p", 0, "a.b")
    assert Key(0, "p", 7).child("a").step == 7


def test_known_numbers():
    """The same bits on every machine and in every version: checkpoints rest on it."""
    key = Key(3, "weights", 5, "dense")
    assert key.words() == (3, 14251023632835553926)
    expected = [4523628997640696187, 5262014148965684915, 13313279354067402671]
    assert key.philox().random_raw(3).tolist() == expected
    mask = key.keep_mask((12,), 0.4).astype(int)
    assert mask.tolist() == [1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.4, 0.9])
@pytest.mark.parametrize("shape", [(1,), (3,), (5, 7), (1000, 101)])
def test_masks(rate, shape):
    mask = Key(0, "mask").keep_mask(shape, rate)
    assert mask.shape == shape and mask.dtype == bool
    if mask.size > 1000:
        assert abs(mask.mean() - (1 - rate)) < 5 * (0.25 / mask.size) ** 0.5
    if rate == 0:
        assert mask.all()
    bits = Key(0, "mask").philox().random_raw(-(-mask.size // 4)).astype("<u8").view("<u2")
    assert np.array_equal(mask.ravel(), bits[: mask.size] >= rate * 2**16 - 0.5)


def test_what_a_caller_may_give():
    key = Key(4, "dropout", 1)
    assert random.as_key(key, "other") is key
    assert random.as_key(5, "p") == random.as_key(np.int64(5), "p") == Key(5, "p")
    one, two = np.random.default_rng(0), np.random.default_rng(0)
    assert random.as_key(one, "p") == random.as_key(two, "p") != random.as_key(one, "p")
    with pytest.raises(TypeError, match="rng is a float; give a minigan Key, an int"):
        random.as_key(0.5, "p")


def test_unnamed_draws_are_counted_from_the_seed():
    mg.seed(3)
    assert random.current_seed() == 3
    first = [random.as_key(None, "p") for _ in range(3)]
    assert len(set(first)) == 3
    mg.seed(3)
    assert [random.as_key(None, "p") for _ in range(3)] == first
    mg.seed(4)
    assert random.as_key(None, "p") != first[0]


def test_the_seed_decides_the_weights():
    found = []
    for seed in (1, 1, 2):
        mg.seed(seed)
        model = mg.Sequential([mg.Dense(3), mg.Dense(3)], input_shape=(3,))
        found.append(model.params.flat.copy())
        first, second = model.params["dense.kernel"], model.params["dense_1.kernel"]
        assert not np.array_equal(first, second)
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_weights_are_the_same_numbers_in_every_dtype():
    key = Key(0, "weights")
    single, double = (
        mg.Sequential([mg.Dense(3)], input_shape=(4,), dtype=d, key=key)
        for d in ("float32", "float64")
    )
    assert np.array_equal(single.params.flat, double.params.flat.astype("float32"))
