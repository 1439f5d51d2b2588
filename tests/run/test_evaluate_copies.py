"""minigan.run.evaluate: copies among samples and of training images, and their nearest images."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import minigan as mg
from minigan.run import evaluate as module
from minigan.run.evaluate import beside_nearest, evaluate
from minigan.run.features import RandomFeatures
from tests.run.evaluate_helpers import figures, pictures

pytestmark = pytest.mark.usefixtures("short_training")


def test_memorised_images_are_told(data):
    x, _ = data
    found = figures(x[:150], x)
    assert found["identical_to_training"] == (1, 0) and found["identical_among"] == (0, 0)
    assert found["near_copies_of_training"][0] == 1
    assert found["near_copies_among"][0] < 0.1
    touched = x[:150] ^ 1  # every grey level off by one
    found = figures(touched, x)
    assert found["identical_to_training"][0] == 0
    assert found["near_copies_of_training"][0] == 1


def test_twins_among_real_images_hide_no_near_copies(data):
    x, _ = data
    some = np.concatenate([x, x[:40]])
    found = figures(x[:150] ^ 1, some)
    assert found["near_copies_of_training"][0] == 1
    assert 0.02 < found["identical_to_training"][1] <= found["near_copies_of_training"][1] < 0.3
    few = np.stack([x[:50], x[:50] ^ 1], axis=1).reshape(100, 8, 8, 1)
    among = figures(few, np.concatenate([x[200:], x[200:230]]))["near_copies_among"]
    assert among[0] == 1 and among[1] < 0.3


def test_images_that_are_all_the_same_have_no_limit():
    same = np.zeros((40, 8, 8, 1), np.uint8)
    report = evaluate(same, same, judge=RandomFeatures((8, 8, 1)))
    assert report["copy_limits"] == {"among": 0, "of_training": 0}
    assert report["figures"]["near_copies_of_training"]["samples"] == 1


def test_mirrored_memorised_images_are_told(data):
    x, _ = data
    turned = x[:150, :, ::-1]
    assert figures(turned, x)["identical_to_training"] == (0, 0)
    found = figures(turned, x, mirror=True)
    assert found["identical_to_training"] == (1, 0)
    assert found["near_copies_of_training"][0] == 1
    assert found["near_copies_among"][0] < 0.1
    touched = figures(turned ^ 1, x, mirror=True)["near_copies_of_training"]
    assert touched[0] == 1 and touched[1] < 0.05
    both = np.stack([x[:75], x[:75, :, ::-1]], axis=1).reshape(150, 8, 8, 1)
    found = figures(both, x, mirror=True)
    assert found["identical_among"] == (1, 0) and found["near_copies_among"][0] == 1


def test_mirrored_distances_are_what_loops_count(data):
    x, _ = data
    a, b, own = x[:6], x[:20], np.arange(6)
    found = module._near(a, b, 3, own, True)
    for i, image in enumerate(a.astype(float)):
        every = [
            np.linalg.norm(image - form)
            for j, other in enumerate(b)
            if j != i
            for form in (other, other[:, ::-1])
        ]
        np.testing.assert_allclose(found[i], sorted(every)[:3])


def test_noise_on_memorised_digits_hides_nothing_and_blur_is_no_copy():
    """By the distance alone, digits with this noise would be near copies in 28 of 100 cases."""
    x, _ = mg.datasets.digits()
    order = np.random.default_rng(0).permutation(len(x))
    known, new = x[order[:1500]], x[order[1500:1800]].astype(float)
    noise = np.random.default_rng(1).normal(0, 20, (300, 28, 28, 1))
    touched = np.clip(known[:300] + noise, 0, 255).astype(np.uint8)
    blurred = sum(np.roll(new, (i, j), axis=(1, 2)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    judge = RandomFeatures((28, 28, 1))
    assert figures(touched, known, judge)["near_copies_of_training"][0] > 0.9
    assert figures(blurred.astype(np.uint8), known, judge)["near_copies_of_training"][0] < 0.02
    assert figures(new.astype(np.uint8), known, judge)["near_copies_of_training"][0] < 0.05


def test_copies_are_what_loops_count(monkeypatch):
    """Near and identical ones, of 40x40 images averaged down by two."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (40, 40, 40, 3)).astype(np.uint8)
    images[30:] = images[20:30]  # ten stand there twice
    images[5:10] = np.clip(images[:5].astype(int) + 3, 0, 255)
    samples = np.concatenate([images[:4], images[4:8] ^ 8, images[8:9], images[8:9]])
    others = np.arange(5, 15)

    def small(image):
        rows = [[image[i : i + 2, j : j + 2].mean((0, 1)) for j in range(0, 40, 2)]
                for i in range(0, 40, 2)]  # fmt: skip
        return np.array(rows)

    def near(which, among, own):
        """The distances of each to the others, rising."""
        which, among = ([small(image) for image in images] for images in (which, among))
        return [sorted(np.sqrt(((a - b) ** 2).mean()) for j, b in enumerate(among) if j != own[i])
                for i, a in enumerate(which)]  # fmt: skip

    monkeypatch.setattr(module, "AROUND", 7)
    found, limits = module._copies(samples, images, others, False)
    real, nobody = images[others], [-1] * 10
    usual = {
        "among": [row[0] for row in near(real, real, range(10))],
        "of_training": [row[0] / np.mean(row[:7]) for row in near(real, images, others)],
    }
    ours = {
        "among": [row[0] for row in near(samples, samples, range(10))],
        "of_training": [row[0] / np.mean(row[:7]) for row in near(samples, images, nobody)],
    }
    for name in usual:
        limit = np.quantile(usual[name], 0.01)
        assert limits[name] == pytest.approx(limit, rel=1e-5)
        expected = (
            np.mean(np.array(ours[name]) <= limit * 1.00001),
            np.mean(np.array(usual[name]) <= limit),
        )
        assert found[f"near_copies_{name}"] == pytest.approx(expected)
        assert expected[0] > 0.3
    words = [image.tobytes() for image in samples]
    known = Counter(image.tobytes() for image in images)
    twice = np.mean([words.count(word) > 1 for word in words])
    assert found["identical_among"] == (twice, 0)
    taken = np.mean([known[word] > 0 for word in words])
    again = np.mean([known[image.tobytes()] > 1 for image in real])
    assert found["identical_to_training"] == (taken, again)
    assert 0 < twice < taken < 1 and again == 0


def test_a_side_that_the_averages_do_not_divide():
    x = np.random.default_rng(0).integers(0, 256, (2, 65, 33, 1)).astype(np.uint8)
    rows = module._pixels(x)
    assert rows.shape == (2, 22 * 11)
    assert rows[1, -1] == pytest.approx(x[1, [63, 64, 64]][:, [30, 31, 32], 0].mean(), rel=1e-6)


def test_the_picture_shows_the_nearest_by_pixels_and_by_features(data, judge):
    images, _ = data
    samples = pictures(3, 1)[0]
    picture = beside_nearest(samples, images, judge, False)
    assert picture.shape == (3 * 8 + 4, 3 * 8 + 4) and picture.dtype == np.uint8
    tiles = [[picture[i : i + 8, j : j + 8] for j in (0, 10, 20)] for i in (0, 10, 20)]
    np.testing.assert_array_equal(tiles[0], samples[..., 0])
    rows = judge.features(images), images.reshape(400, 64).astype(float)
    ours = judge.features(samples), samples.reshape(3, 64).astype(float)
    by_features, by_pixels = (
        [((known - mine) ** 2).sum(axis=1).argmin() for mine in each]
        for known, each in zip(rows, ours, strict=True)
    )
    assert by_features != by_pixels
    np.testing.assert_array_equal(tiles[1], images[by_pixels, ..., 0])
    np.testing.assert_array_equal(tiles[2], images[by_features, ..., 0])


def test_the_picture_shows_mirror_images_where_they_are_nearer(data, judge):
    images, _ = data
    samples = images[:3, :, ::-1]
    picture = beside_nearest(samples, images, judge, True)
    for row in (0, 10, 20):
        np.testing.assert_array_equal(picture[row : row + 8], picture[:8])
