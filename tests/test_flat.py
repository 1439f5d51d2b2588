"""Dictionaries of views into one vector."""

from __future__ import annotations

import numpy as np

from minigan.flat import FlatDict
from tests.helpers import draw

ARRAYS = {"b": draw((2, 3)), "a": draw((4,), seed=1), "c": draw((1, 2, 2), seed=2)}


def test_arrays_are_views_into_one_vector_in_order():
    flat = FlatDict.of(ARRAYS)
    assert list(flat) == list(ARRAYS)
    assert np.array_equal(flat.flat, np.concatenate([a.ravel() for a in ARRAYS.values()]))
    flat["a"][...] = 7
    assert (flat.flat[6:10] == 7).all() and (flat.flat == 7).sum() == 4
    flat.flat *= 0
    assert not flat["c"].any()
    assert all(np.shares_memory(a, flat.flat) for a in flat.values())


def test_a_copy_is_a_copy():
    before = {k: a.copy() for k, a in ARRAYS.items()}
    FlatDict.of(ARRAYS).flat.fill(0)
    assert all(np.array_equal(ARRAYS[k], a) for k, a in before.items())


def test_laid_out_as():
    like = {k: a.astype("complex128") for k, a in ARRAYS.items()}
    new = FlatDict.laid_out_as(like, zeros=True)
    assert {k: a.shape for k, a in new.items()} == {k: a.shape for k, a in ARRAYS.items()}
    assert new.flat.dtype == np.complex128 and not new.flat.any()


def test_fill_copies_the_arrays_of_the_same_names():
    flat = FlatDict.laid_out_as(ARRAYS, zeros=True)
    assert flat.fill({"c": ARRAYS["c"]}) is flat
    assert np.array_equal(flat["c"], ARRAYS["c"]) and not flat["a"].any()
    view = flat["a"]
    flat.fill(ARRAYS)
    assert np.array_equal(view, ARRAYS["a"])


def test_nothing():
    empty = FlatDict.of({})
    assert list(empty) == [] and empty.flat.shape == (0,)
