"""Dictionaries of views into one vector."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minigan as mg
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


def small_model():
    return mg.Sequential(
        [mg.Dense(3), mg.BatchNorm(), mg.ReLU(), mg.Parallel([mg.Dense(2), mg.Dense(2)])],
        input_shape=(2,),
        dtype="float64",
    )


def test_assignment_by_key_reaches_the_network_and_the_optimizer():
    model = small_model()
    x = np.ones((4, 2))
    model.params["dense.kernel"] = np.zeros((2, 3))
    assert not model.layers[0].params["kernel"].any()
    model.layers[0].params["kernel"] = np.full((2, 3), 0.5)
    assert (model.params["dense.kernel"] == 0.5).all()
    y, cache = model.forward(x)
    _, grads = model.backward(np.ones_like(y), cache)
    for name in grads:
        grads[name] = np.zeros(grads[name].shape)
    before = model.params.flat.copy()
    mg.SGD(1.0).step(model.params, grads)
    assert np.array_equal(model.params.flat, before)


def test_assignment_of_another_shape_or_name_is_refused():
    model = small_model()
    with pytest.raises(ValueError, match="shape"):
        model.params["dense.kernel"] = np.zeros((3, 2))
    with pytest.raises(KeyError, match="dense.kernel"):
        model.params["dense.weight"] = np.zeros((2, 3))
    model.params.update({"dense.bias": np.ones(3)})
    model.params |= {"dense.bias": model.params["dense.bias"] + 1}
    assert (model.layers[0].params["bias"] == 2).all()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_train_apart(duplicate):
    model = small_model()
    other = duplicate(model)
    x = np.random.default_rng(0).standard_normal((4, 2))
    y, cache = other.forward(x)
    _, grads = other.backward(y, cache)
    kept = model.params.flat.copy()
    mg.SGD(0.1).step(other.params, grads)
    assert np.array_equal(model.params.flat, kept)
    assert not np.array_equal(other.forward(x)[0], y)
    assert other.params["dense.kernel"].base is not None
    assert (other.layers[0].params["kernel"] == other.params["dense.kernel"]).all()


def test_a_copied_gan_trains_like_the_original():
    sizes = ((4, 3, 3), (3, 3))
    gan = mg.GAN(*mg.models.digits(sizes=sizes, latent_dim=3, dtype="float64"), ema=0.9)
    other = copy.deepcopy(gan)
    real = np.random.default_rng(0).random((4, 28, 28, 1))
    assert gan.train_step(real) == other.train_step(real)
    assert gan.train_step(real) == other.train_step(real)
    assert np.array_equal(gan.generator.params.flat, other.generator.params.flat)
    assert np.array_equal(gan.D.params.flat, gan.discriminator.params.flat)
    assert np.array_equal(gan.sample(2), other.sample(2))
