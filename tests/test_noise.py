"""Instance noise as drawn: its level, its distribution, its keys."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minigan.noise import InstanceNoise
from minigan.random import Key


def test_the_level_falls_linearly_to_zero():
    noise = InstanceNoise(0.2, 100)
    levels = [noise.level(step) for step in (0, 25, 50, 99, 100, 5000)]
    np.testing.assert_allclose(levels, [0.2, 0.15, 0.1, 0.002, 0, 0], rtol=1e-12)


@pytest.mark.parametrize("step, stddev", [(0, 0.5), (60, 0.2), (100, 0.0)])
def test_draws_are_normal_with_the_level_of_their_step(step, stddev):
    drawn = InstanceNoise(0.5, 100).draw((200, 10, 10, 1), Key(0, "noise", step))
    assert drawn.dtype == np.float32 and drawn.shape == (200, 10, 10, 1)
    assert drawn.std() == pytest.approx(stddev, rel=0.02)
    assert abs(drawn.mean()) <= 0.02 * stddev
    assert (np.abs(drawn) < stddev).mean() == pytest.approx(0.6827 if stddev else 0, abs=0.01)


def test_each_key_has_noise_of_its_own():
    noise = InstanceNoise(1.0, 10)
    a, b, c = (noise.draw((4, 4), Key(*key)) for key in ((0, "x", 1), (0, "x", 2), (0, "y", 1)))
    assert not (a == b).any() and not (a == c).any()
    np.testing.assert_array_equal(a, noise.draw((4, 4), Key(0, "x", 1)))


@pytest.mark.parametrize("given", [(-0.1, 10), (float("nan"), 10), (0.1, 0), 0.1, "much", (1, 2, 3),
                                   (0.1, float("inf")), (10**400, 3)])  # fmt: skip
def test_numbers_without_sense_are_refused(given):
    with pytest.raises(ValueError, match="instance_noise=.* steps until it is gone"):
        InstanceNoise.of(given)


def test_numbers_of_numpy_become_pythons():
    noise = InstanceNoise.of((np.float32(0.5), np.int64(7)))
    assert json.dumps(noise.config()) == "[0.5, 7]"
    assert InstanceNoise.of(None) is None
