"""Dropout: the mask is a function of the key."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from tests.helpers import draw


def layer_of(rate, shape=(100, 40), dtype="float64"):
    layer = mg.Dropout(rate)
    layer.build(shape, dtype)
    return layer


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.5, 0.9])
def test_fraction_and_scale(rate):
    layer, x = layer_of(rate), 1 + np.abs(draw((10, 100, 40)))
    y, _ = layer.forward(x, rng=0)
    kept = y != 0
    n = kept.size
    assert abs(kept.mean() - (1 - rate)) < 5 * (rate * (1 - rate) / n) ** 0.5
    np.testing.assert_allclose(y[kept], x[kept] / (1 - rate), rtol=1e-15)
    # no axis is dropped as a whole, and neighbours fall independently
    for axis in (0, 1, 2):
        assert np.ptp(kept.mean(axis=axis)) > 0
    assert abs(np.corrcoef(kept[..., 1:].ravel(), kept[..., :-1].ravel())[0, 1]) < 0.03


def test_backward_uses_the_mask_of_its_forward():
    layer, x, dy = layer_of(0.4), draw((3, 100, 40)), draw((3, 100, 40), seed=1)
    (y1, c1), (y2, c2) = layer.forward(x, rng=1), layer.forward(x, rng=2)
    assert not np.array_equal(y1, y2)
    np.testing.assert_allclose(layer.backward(dy, c1)[0], dy * (y1 / x), rtol=1e-13)
    np.testing.assert_allclose(layer.backward(dy, c2)[0], dy * (y2 / x), rtol=1e-13)


def test_the_same_key_gives_the_same_mask():
    layer, x = layer_of(0.4), np.ones((3, 100, 40))
    for rng in (5, mg.random.Key(5, "dropout", 3)):
        assert np.array_equal(layer.forward(x, rng=rng)[0], layer.forward(x, rng=rng)[0])
    keys = [mg.random.Key(*k) for k in ((5, "a", 3), (5, "a", 4), (5, "b", 3), (6, "a", 3))]
    masks = [layer.forward(x, rng=key)[0] for key in keys]
    assert all(not np.array_equal(masks[0], m) for m in masks[1:])
    first, second = (layer.forward(x, rng=np.random.default_rng(3))[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_without_a_key_every_call_draws_anew_from_the_seed():
    layer, x = layer_of(0.4), np.ones((3, 100, 40))
    try:
        mg.seed(4)
        first = [layer.forward(x)[0] for _ in range(2)]
        mg.seed(4)
        again = [layer.forward(x)[0] for _ in range(2)]
    finally:
        mg.seed(0)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], first[1])


def test_the_mask_does_not_depend_on_the_dtype():
    masks = [
        layer_of(0.4, dtype=dtype).forward(np.ones((2, 100, 40), dtype), rng=9)[0] != 0
        for dtype in ("float32", "float64", "complex128")
    ]
    assert np.array_equal(masks[0], masks[1]) and np.array_equal(masks[0], masks[2])


def test_the_mask_of_a_larger_batch_starts_with_that_of_a_smaller():
    layer = layer_of(0.4)
    small, large = (layer.forward(np.ones((n, 100, 40)), rng=9)[0] for n in (2, 5))
    assert np.array_equal(large[:2], small)


@pytest.mark.parametrize("rate, training", [(0.4, False), (0.0, True)])
def test_nothing_is_dropped(rate, training):
    layer, x, dy = layer_of(rate), draw((3, 100, 40)), draw((3, 100, 40), seed=1)
    y, cache = layer.forward(x, training=training)
    assert np.array_equal(y, x) and np.array_equal(layer.backward(dy, cache)[0], dy)


def test_two_dropouts_of_a_model_have_masks_of_their_own():
    model = mg.Sequential([mg.Dropout(0.5), mg.Dropout(0.5)], input_shape=(4000,))
    y, _ = model.forward(np.ones((1, 4000), "float32"), rng=1)
    assert 0.2 < (y != 0).mean() < 0.3
    again, _ = model.forward(np.ones((1, 4000), "float32"), rng=1)
    assert np.array_equal(y, again)


def test_gradients():
    report = mg.check_gradients(mg.Dropout(0.4), (5, 4))
    assert report.ok and report.max_error <= 1e-11, str(report)
    assert mg.check_gradients(mg.Dropout(0.4), (5, 4), training=False).ok


def test_errors():
    for rate in (-0.1, 1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="should be at least 0 and less than 1"):
            mg.Dropout(rate)
    with pytest.raises(TypeError, match="here it is rate"):
        mg.Dropout(p=0.5)
    with pytest.raises(TypeError, match="rng is a str; give a minigan Key, an int"):
        layer_of(0.5).forward(np.ones((1, 100, 40)), rng="seed")
