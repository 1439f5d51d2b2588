"""Parallel: branches joined by concatenation, sum or inner product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from tests.helpers import draw


def dense(units, **options):
    return mg.Dense(units, bias_initializer="random_normal", **options)


def test_concatenation_of_two_inputs():
    layer = mg.Parallel([dense(2, activation="tanh"), mg.Activation("linear")])
    assert layer.build(((3,), (4,)), "float64") == (6,)
    a, b = draw((5, 3)), draw((5, 4), seed=1)
    y, cache = layer.forward((a, b))
    own, own_cache = layer.layers[0].forward(a)
    assert np.array_equal(y, np.hstack([own, b]))
    dy = draw(y.shape, seed=2)
    (da, db), grads = layer.backward(dy, cache)
    da_own, own_grads = layer.layers[0].backward(dy[:, :2], own_cache)
    assert np.array_equal(da, da_own) and np.array_equal(db, dy[:, 2:])
    assert list(grads) == ["0.kernel", "0.bias"] == list(layer.params)
    assert all(np.array_equal(grads[f"0.{k}"], g) for k, g in own_grads.items())


def test_a_sum_over_one_shared_input():
    layer = mg.Parallel([dense(3), mg.Activation("linear"), dense(3)], merge="add")
    assert layer.build((3,), "float64") == (3,)
    x = draw((5, 3))
    y, cache = layer.forward(x)
    first, last = layer.layers[0], layer.layers[2]
    np.testing.assert_allclose(y, first.forward(x)[0] + x + last.forward(x)[0], rtol=1e-13)
    dy = draw(y.shape, seed=1)
    dx, grads = layer.backward(dy, cache)
    expected = dy @ first.params["kernel"].T + dy + dy @ last.params["kernel"].T
    np.testing.assert_allclose(dx, expected, rtol=1e-12)
    assert list(grads) == ["0.kernel", "0.bias", "2.kernel", "2.bias"]


def test_an_inner_product():
    layer = mg.Parallel([dense(3), mg.Embedding(4, 3)], merge="dot")
    assert layer.build(((5,), ()), "float64") == (1,)
    x, labels = draw((6, 5)), np.array([0, 1, 2, 3, 0, 1])
    y, cache = layer.forward((x, labels))
    features, table = layer.layers[0].forward(x)[0], layer.layers[1].params["embeddings"]
    for n in range(6):
        assert y[n, 0] == pytest.approx(float(features[n] @ table[labels[n]]), rel=1e-13)
    dy = draw((6, 1), seed=1)
    (dx, dlabels), grads = layer.backward(dy, cache)
    dfeatures = dy * table[labels]
    np.testing.assert_allclose(dx, dfeatures @ layer.layers[0].params["kernel"].T, rtol=1e-12)
    np.testing.assert_allclose(
        grads["1.embeddings"], np.eye(4)[labels].T @ (dy * features), atol=1e-14
    )
    assert dlabels is None


def test_labels_beside_an_image():
    branch = mg.Sequential([mg.Embedding(10, 4), mg.Dense(6), mg.Reshape((2, 3, 1))])
    layer = mg.Parallel([mg.Activation("linear"), branch])
    assert layer.build(((2, 3, 2), ()), "float64") == (2, 3, 3)
    image, labels = draw((4, 2, 3, 2)), np.array([1, 2, 3, 9])
    y, cache = layer.forward((image, labels))
    dy = draw(y.shape, seed=1)
    (dimage, dlabels), grads = layer.backward(dy, cache)
    assert np.array_equal(dimage, dy[..., :2]) and dlabels is None
    assert all(np.abs(g).max() > 0 for g in grads.values())
    (dimage, _), none = layer.backward(dy, cache, wrt="input")
    assert np.array_equal(dimage, dy[..., :2]) and none is None
    none, only = layer.backward(dy, cache, wrt="params")
    assert none is None and all(np.array_equal(only[k], g) for k, g in grads.items())


def test_running_state_of_a_branch_moves():
    layer = mg.Parallel([mg.BatchNorm(momentum=0.5), mg.Activation("linear")], merge="add")
    layer.build((3,), "float64")
    x = draw((5, 3))
    _, cache = layer.forward(x)
    layer.commit(cache)
    np.testing.assert_allclose(layer.state["0.moving_mean"], x.mean(axis=0) / 2, rtol=1e-13)


def test_an_activation_after_a_sum_leaves_the_branches_alone():
    """The output of a residual sum may be the input itself; nothing behind it works in place."""
    block = mg.Parallel([mg.Activation("linear")], merge="add")
    model = mg.Sequential([block, mg.LeakyReLU(0.2)], input_shape=(3,), dtype="float64")
    x = -np.ones((2, 3))
    model.forward(x)
    model.forward(x, keep=False)
    assert np.array_equal(x, -np.ones((2, 3)))


def test_branches_draw_masks_of_their_own():
    layer = mg.Parallel([mg.Dropout(0.5), mg.Dropout(0.5)])
    layer.build((1000,), "float64")
    y, _ = layer.forward(np.ones((1, 1000)), rng=1)
    assert not np.array_equal(y[:, :1000], y[:, 1000:])


@settings(max_examples=20)
@given(st.sampled_from(["concat", "add", "dot"]), st.booleans(), st.integers(0, 50))
def test_gradients(merge, split, seed):
    layer = mg.Parallel([dense(3, activation="tanh"), dense(3)], merge=merge)
    shape = ((4,), (2,)) if split else (4,)
    report = mg.check_gradients(layer, shape, seed=seed)
    assert report.ok and report.max_error <= 1e-11, str(report)
    checked = {row.quantity for row in report.rows}
    assert checked >= ({"input 0", "input 1"} if split else {"input"})


def test_errors():
    with pytest.raises(ValueError, match="give at least one branch"):
        mg.Parallel([])
    with pytest.raises(ValueError, match="merge='mul' is unknown; choose one of 'concat', 'add'"):
        mg.Parallel([mg.Tanh()], merge="mul")
    with pytest.raises(ValueError, match="cannot be joined by merge='add'"):
        mg.Parallel([dense(2), dense(3)], merge="add").build((4,))
    with pytest.raises(ValueError, match="cannot be joined by merge='concat'"):
        mg.Parallel([mg.Activation("linear"), mg.Flatten()]).build((2, 2, 1))
    with pytest.raises(ValueError, match="2 branches, but 3 inputs"):
        mg.Parallel([dense(2), dense(3)]).build(((4,), (4,), (4,)))
    with pytest.raises(ValueError, match="the same layer stands here twice"):
        mg.Parallel([one := mg.Tanh(), one])
    layer = mg.Parallel([dense(2), dense(3)])
    layer.build(((4,), (5,)), "float64")
    for wrong in (draw((2, 4)), (draw((2, 4)),), (draw((2, 4)),) * 3):
        with pytest.raises(ValueError, match="takes a tuple of 2 inputs"):
            layer.forward(wrong)
    with pytest.raises(ValueError, match=r"batches differ: \[2, 3\]"):
        layer.forward((draw((2, 4)), draw((3, 5))))
    with pytest.raises(
        ValueError, match=r"dense: expected an input of shape \(None, 4\), got \(2, 5\)"
    ):
        layer.forward((draw((2, 5)), draw((2, 5))))
