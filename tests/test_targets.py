"""Targets as drawn: ranges, flips, keys."""

from __future__ import annotations

import numpy as np
import pytest

from minigan.random import Key
from minigan.targets import Targets

KEY = Key(0, "targets")
SHAPE = (20_000, 1)


def test_constants():
    targets = Targets()
    assert targets.plain
    assert (targets.draw("real", SHAPE, KEY) == 1).all()
    assert not targets.draw("fake", SHAPE, KEY).any()
    smooth = Targets(real=(0.9, 0.9))
    assert not smooth.plain
    assert (smooth.draw("real", SHAPE, KEY) == np.float32(0.9)).all()


@pytest.mark.parametrize("side, low, high", [("real", 0.8, 1.2), ("fake", -0.1, 0.0)])
def test_ranges(side, low, high):
    found = Targets(real=(0.8, 1.2), fake=(-0.1, 0.0)).draw(side, SHAPE, KEY)
    assert found.shape == SHAPE and found.dtype == np.float32
    width = high - low
    assert low <= found.min() < low + 0.001 * width * 10
    assert high - 0.001 * width * 10 < found.max() <= np.float32(high)
    assert found.mean() == pytest.approx((low + high) / 2, abs=0.02 * width)
    assert found.std() == pytest.approx(width / 12**0.5, rel=0.03)


@pytest.mark.parametrize("flip", [0.05, 0.5])
def test_flips_exchange_the_ranges_of_a_share_of_the_samples(flip):
    targets = Targets(real=(0.8, 1.0), fake=(-0.1, 0.1), flip=flip)
    for side, mistaken in (("real", lambda t: t < 0.5), ("fake", lambda t: t > 0.5)):
        found = targets.draw(side, SHAPE, KEY)
        wrong = mistaken(found)
        assert wrong.mean() == pytest.approx(flip, abs=5 * (flip / SHAPE[0]) ** 0.5)
        low, high = targets.fake if side == "real" else targets.real
        assert (found[wrong] >= np.float32(low)).all() and (found[wrong] <= high).all()


def test_draws_are_functions_of_the_key():
    targets = Targets(real=(0, 1), fake=(0, 1))
    real = targets.draw("real", SHAPE, KEY)
    assert np.array_equal(real, targets.draw("real", SHAPE, KEY))
    assert not np.array_equal(real, targets.draw("fake", SHAPE, KEY))
    assert not np.array_equal(real, targets.draw("real", SHAPE, Key(0, "targets", 1)))
    assert np.array_equal(real[:10], targets.draw("real", (10, 1), KEY))


def test_errors():
    with pytest.raises(
        ValueError, match=r"real_targets=\(1.0, 0.8\) should be a number or \(low, high\)"
    ):
        Targets(real=(1.0, 0.8))
    with pytest.raises(ValueError, match="fake_targets"):
        Targets(fake=(float("nan"), 0.0))
    for flip in (-0.1, 1.0):
        with pytest.raises(ValueError, match="flip_labels=.* should be a share"):
            Targets(flip=flip)
