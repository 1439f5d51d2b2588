"""The benchmarks' data and figures: mixtures in the plane, and stacked digits."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigan as mg
from minigan.run.datasets import load, stacked_digits
from minigan.run.mixtures import Mixture, grid, ring
from minigan.run.modes import stacked_modes


def test_the_published_geometry():
    eight, many = ring(), grid()
    assert eight.centres.shape == (8, 2) and eight.stddev == 0.01
    np.testing.assert_allclose(np.linalg.norm(eight.centres, axis=1), 1)
    apart = np.linalg.norm(eight.centres - np.roll(eight.centres, 1, axis=0), axis=1)
    np.testing.assert_allclose(apart, 2 * math.sin(math.pi / 8))
    assert many.centres.shape == (25, 2) and many.stddev == 0.05
    assert sorted({*many.centres.ravel()}) == [-4, -2, 0, 2, 4]
    assert len({tuple(c) for c in many.centres}) == 25


@pytest.mark.parametrize("mixture", [ring(), grid()])
def test_a_perfect_sampler_has_all_modes_and_989_in_1000(mixture):
    points = mixture.points(200_000, seed=3)
    assert points.dtype == np.float32 and np.array_equal(points, mixture.points(200_000, seed=3))
    assert not np.array_equal(points[:9], mixture.points(9, seed=4))
    modes, quality = mixture.coverage(points)
    assert modes == len(mixture.centres)
    assert quality == pytest.approx(1 - math.exp(-4.5), abs=0.001)


def test_coverage_by_a_loop():
    mixture = Mixture(np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]]), 0.1)
    points = [(0.29, 0.0), (0.31, 0.0), (1.0, 0.2), (0.5, 0.0), (9.3, 9.3), (0.0, -0.1)]
    near, modes = 0, set()
    for x, y in points:
        away = [math.hypot(x - a, y - b) for a, b in mixture.centres]
        if min(away) <= 3 * 0.1:
            near += 1
            modes.add(away.index(min(away)))
    assert mixture.coverage(np.array(points)) == (len(modes), near / 6) == (2, 0.5)
    assert mixture.coverage([(5.0, 5.0)]) == (0, 0.0)
    for wrong in ([], [1.0, 2.0], np.zeros((3, 3))):
        with pytest.raises(ValueError, match=r"points should be \(N, 2\)"):
            mixture.coverage(wrong)


def test_stacked_digits_are_digits_in_channels():
    images, labels = data = stacked_digits(300, seed=5)
    assert images.shape == (300, 28, 28, 3) and images.dtype == np.uint8 and data.source is None
    assert labels.dtype == np.int64 and 0 <= labels.min() and labels.max() < 1000
    singles, digits = mg.datasets.digits()
    known = {image.tobytes(): digit for image, digit in zip(singles[..., 0], digits, strict=True)}
    for image, label in zip(images, labels, strict=True):
        read = [known[np.ascontiguousarray(image[..., c]).tobytes()] for c in range(3)]
        assert label == 100 * read[0] + 10 * read[1] + read[2]
    again = stacked_digits(300, seed=5)
    assert np.array_equal(again[0], images) and not np.array_equal(stacked_digits(300)[0], images)


def test_the_data_set_by_name():
    data = load("stacked_digits")
    assert data[0].shape == (50_000, 28, 28, 3) and data.source == ("stacked_digits", {})
    assert len(np.unique(data[1])) == 1000
    assert stacked_digits().source == ("stacked_digits", {})


class Reader:
    """A judge that reads the brightest of ten rows."""

    def features(self, images):
        return images[..., 0].max(axis=2)

    def read(self, features):
        return features.argmax(axis=1)


def drawn(numbers):
    images = np.zeros((len(numbers), 10, 4, 3), np.uint8)
    for k, number in enumerate(numbers):
        for channel, digit in enumerate(f"{number:03d}"):
            images[k, int(digit), :, channel] = 255
    return images


def test_modes_and_the_divergence():
    every = stacked_modes(drawn(range(1000)), Reader())
    assert every["modes"] == 1000 and every["kl"] == pytest.approx(0, abs=1e-12)
    found = stacked_modes(drawn([7, 7, 7, 710, 71, 710]), Reader())
    p = [3 / 6, 2 / 6, 1 / 6]
    assert found["modes"] == 3
    assert found["kl"] == pytest.approx(sum(q * math.log(q * 1000) for q in p), rel=1e-12)


def test_the_divergence_of_real_images_is_chance_and_imbalance():
    rng = np.random.default_rng(0)
    even = stacked_modes(drawn(rng.integers(1000, size=26_000)), Reader())
    assert even["modes"] == 1000 and even["kl"] == pytest.approx(999 / 52_000, rel=0.1)
    found = stacked_modes(drawn(stacked_digits(26_000, seed=1)[1]), Reader())
    assert found["modes"] == 1000 and found["kl"] == pytest.approx(0.026, abs=0.001)
    with pytest.raises(ValueError, match="no images"):
        stacked_modes(drawn([]), Reader())
