"""minigan.run.features: a classifier that works, its held-out images, and random convolutions."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan.random import Key
from minigan.run import features
from minigan.run.features import ClassifierFeatures, RandomFeatures, fitted, split
from minigan.run.metrics import frechet_distance


@pytest.fixture(scope="module")
def digits():
    """(training images, labels, held-out images, labels), a few of the embedded digits."""
    x, y = mg.datasets.digits()
    order = np.random.default_rng(0).permutation(len(x))[:2400]
    return x[order[:2000]], y[order[:2000]], x[order[2000:]], y[order[2000:]]


@pytest.fixture(scope="module")
def classifier(digits):
    return ClassifierFeatures((28, 28, 1), 10).train(digits[0], digits[1], steps=80)


def bars(count=200, shape=(8, 8, 1), seed=0):
    """Images of noise with a bright row (class 0) or a bright column (class 1)."""
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 60, (count, *shape)).astype(np.uint8)
    y = np.arange(count) % 2
    x[y == 0, 3], x[y == 1, :, 3] = 250, 250
    return x, y


def test_the_classifier_knows_digits_it_has_not_seen(classifier, digits):
    found = classifier.features(digits[2])
    assert found.shape == (400, 64) and found.dtype == np.float64
    p = classifier.probabilities(found)
    assert p.shape == (400, 10) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (classifier.read(found) == digits[3]).mean() > 0.88
    np.testing.assert_array_equal(classifier.read(found), p.argmax(axis=1))


def test_probabilities_are_the_whole_models(classifier, digits):
    few = digits[2][:20]
    logits = mg.to_numpy(classifier.model.predict(few.astype(np.float32) / 255))
    e = np.exp(logits.astype(float))
    expected = e / e.sum(axis=1, keepdims=True)
    found = classifier.probabilities(classifier.features(few))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_the_distance_in_its_features_ranks_as_the_eye_does(classifier, digits):
    check_ranking(classifier, digits)


def test_the_distance_in_random_features_ranks_as_the_eye_does(digits):
    check_ranking(RandomFeatures((28, 28, 1)), digits)


def check_ranking(judge, digits):
    real, held_out = digits[0], digits[2]
    draw = np.random.default_rng(0)
    noisy = np.clip(held_out + draw.normal(0, 60, held_out.shape), 0, 255).astype(np.uint8)
    noise = draw.integers(0, 256, held_out.shape).astype(np.uint8)
    ones = real[digits[1] == 1]
    known = judge.features(real)
    d = [frechet_distance(known, judge.features(x)) for x in (held_out, noisy, ones, noise)]
    assert d[0] < d[1] / 3 and d[0] < d[2] / 3 and d[1] < d[3]


def test_the_same_seed_gives_the_same_features():
    x, y = bars(30)

    def learned(seed):
        return ClassifierFeatures((8, 8, 1), 2, seed).train(x, y, steps=3).features(x)

    def drawn(seed):
        return RandomFeatures((8, 8, 1), seed).features(x)

    for make in (learned, drawn):
        np.testing.assert_array_equal(make(0), make(0))
        assert (make(0) != make(1)).any()


@pytest.mark.parametrize("make", [
    lambda: ClassifierFeatures((8, 8, 1), 2), lambda: RandomFeatures((8, 8, 1)),
])  # fmt: skip
def test_images_must_be_uint8_of_one_shape(make):
    judge = make()
    x = bars(5)[0]
    with pytest.raises(TypeError, match="uint8"):
        judge.features(x / 255)
    with pytest.raises(ValueError, match="\\(8, 8, 1\\), got \\(20, 20, 1\\)"):
        judge.features(np.zeros((3, 20, 20, 1), np.uint8))
    for other in (x.reshape(5, 64), x[..., 0]):
        np.testing.assert_array_equal(judge.features(other), judge.features(x))


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 14, 3), (3, 2, 1), (70, 33, 3), (1, 5, 1)])
def test_any_size_and_any_channels(shape):
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (7, *shape)).astype(np.uint8)
    judge = ClassifierFeatures(shape, 3).train(x, np.arange(7) % 3, steps=2)
    assert judge.features(x).shape == (7, 64)
    found = RandomFeatures(shape).features(x)
    assert found.shape[0] == 7 and found.shape[1] <= 32 * 5 and np.ptp(found, axis=0).max() > 0


def test_random_features_are_means_and_deviations_of_each_stage():
    x = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    judge = RandomFeatures((16, 16, 3))
    found, y = judge.features(x), x.astype(np.float32) / 255
    assert found.shape == (3, 2 * 32)
    for number, stage in enumerate(judge.stages):
        y = mg.to_numpy(stage.predict(y))
        for channel in (0, 15):
            pixels = y[2, :, :, channel].astype(float)
            place = 32 * number + channel
            assert found[2, place] == pytest.approx(pixels.mean(), rel=1e-4, abs=1e-6)
            assert found[2, place + 16] == pytest.approx(pixels.std(), rel=1e-4)


def test_a_fifth_of_each_class_is_held_out():
    labels = np.repeat([0, 1, 2, 5], [10, 4, 26, 5])
    learned, tested = split(labels)
    assert np.bincount(labels[tested]).tolist() == [2, 0, 5, 0, 0, 1]
    assert sorted([*learned, *tested]) == list(range(45))
    assert (split(labels)[1] == tested).all() and (split(labels, 1)[1] != tested).any()


def test_labels_make_a_classifier(short_training):
    x, y = bars()
    said = []
    judge = fitted(x, y, progress=said.append)
    assert isinstance(judge, ClassifierFeatures) and judge.classes == 2
    assert judge.held_out == 40 and judge.accuracy >= 0.95
    assert said[0] == "training a classifier: step 0 of 30" and len(said) == 3
    assert judge.describe() == {
        "name": "a classifier trained on the data", "accuracy": judge.accuracy, "held_out": 40,
    }  # fmt: skip
    held_out = split(y)[1]
    right = judge.read(judge.features(x[held_out])) == y[held_out]
    assert judge.accuracy == right.mean()


def test_labels_may_be_any_whole_numbers(short_training):
    x, y = bars()
    ids = np.where(y == 1, 2**33, 7)
    judge, plain = fitted(x, ids), fitted(x, y)
    assert judge.classes == 2 and judge.accuracy == plain.accuracy >= 0.95
    found = judge.features(x)
    np.testing.assert_array_equal(found, plain.features(x))
    np.testing.assert_array_equal(judge.read(found), np.where(plain.read(found), 2**33, 7))


def test_random_features_follow_the_seed():
    x = bars(20)[0]
    assert (fitted(x).features(x) == RandomFeatures((8, 8, 1)).features(x)).all()
    assert (fitted(x, seed=1).features(x) != fitted(x).features(x)).any()


@pytest.mark.cpu("many steps of training")
def test_its_accuracy_is_of_images_that_it_has_not_seen():
    """Labels that nothing in the images tells can be learned by heart alone."""
    x, _ = bars(100)
    labels = np.random.default_rng(1).integers(2, size=100)
    judge = fitted(x, labels)
    learned, _ = split(labels)
    by_heart = (judge.read(judge.features(x[learned])) == labels[learned]).mean()
    assert judge.accuracy < 0.8 < by_heart


@pytest.mark.parametrize("images, steps", [(50, 100), (640, 200), (100_000, 1600)])
def test_steps_are_twenty_passes_within_bounds(images, steps):
    class Enough(Exception):
        """The number of steps is known."""

    def stop(line):
        raise Enough(line)

    x = np.zeros((images, 2, 2, 1), np.uint8)
    with pytest.raises(Enough, match=f"step 0 of {steps}$"):
        ClassifierFeatures((2, 2, 1), 1).train(x, np.zeros(images, int), progress=stop)


@pytest.mark.parametrize(
    "labels", [None, np.zeros(20, int), np.arange(20), np.maximum(np.arange(20), 9)]
)
def test_without_classes_to_tell_apart_the_features_are_random(labels):
    judge = fitted(bars(20)[0], labels)
    assert judge.describe() == {"name": "random convolution features"}


def centres(images):
    """(rows, columns) of the centres of mass of (N, H, W, 1)."""
    weights, grid = images[..., 0].astype(float), np.arange(images.shape[1])
    total = weights.sum(axis=(1, 2))
    across = (weights.sum(axis=2) * grid).sum(axis=1), (weights.sum(axis=1) * grid).sum(axis=1)
    return np.stack(across, axis=1) / total[:, None]


def spots(places, count=300, side=28):
    x = np.zeros((count, side, side, 1), np.float32)
    for row, column in places:
        x[:, row - 1 : row + 2, column - 1 : column + 2] = 1
    return x


def test_training_images_are_turned_scaled_and_shifted_a_little():
    """Two spots, moved alike, show the similarity: its scale and angle, and where the middle goes.

    A pixel p of the new image is that at scale * turn(p) + shift of the old one, both counted from
    the middle.
    """
    places = np.array([[5, 13], [22, 14]])
    a, b = (
        centres(features._moved(spots([place]), Key(0, "test").generator())) for place in places
    )
    before, after = (q[..., 0] + 1j * q[..., 1] for q in (places[1] - places[0], b - a))
    scale, angle = np.abs(before / after), np.degrees(np.angle(before / after))
    assert 0.89 < scale.min() < 0.93 and 1.07 < scale.max() < 1.11
    assert -10.3 < angle.min() < -8 and 8 < angle.max() < 10.3
    middle = (a + b) / 2 - 13.5  # where the spots' own middle went, which was the image's
    shift = before / after * (middle[:, 0] + 1j * middle[:, 1])
    for part in (shift.real, shift.imag):
        assert -2.1 < part.min() < -1.7 and 1.7 < part.max() < 2.1  # a fourteenth of 28


class Drawn:
    """A generator that draws these numbers, in this order."""

    def __init__(self, *numbers):
        self.numbers = iter(numbers)

    def uniform(self, low, high, size):
        return np.broadcast_to(next(self.numbers), size).astype(float)


def test_an_image_between_pixels_is_interpolated():
    x = np.random.default_rng(0).random((4, 9, 8, 3), dtype=np.float32)
    shift = np.array([1 / 36, -1 / 32]).reshape(2, 1, 1, 1)  # of the sides: 0.25 and -0.25 pixels
    np.testing.assert_allclose(features._moved(x, Drawn(0, 0, 0)), x, atol=1e-6)
    moved = features._moved(x, Drawn(0, 0, shift))
    assert moved.dtype == np.float32
    padded = np.pad(x, ((0, 0), (0, 1), (1, 0), (0, 0)), mode="edge")
    rows = 0.75 * padded[:, :-1] + 0.25 * padded[:, 1:]
    np.testing.assert_allclose(moved, 0.75 * rows[:, :, 1:] + 0.25 * rows[:, :, :-1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.cpu("many steps of training")
def test_the_embedded_digits_make_a_good_classifier():
    judge = fitted(*mg.datasets.digits())
    assert judge.held_out >= 1990 and judge.accuracy >= 0.985
