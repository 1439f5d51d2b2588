"""minigan.run.metrics: known answers, an independent implementation, a classifier that works."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan.run.metrics import DigitFeatures, frechet_distance


def test_equal_sets_are_at_distance_zero():
    a = np.random.default_rng(0).normal(size=(200, 6))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(a, a[::-1]) >= 0


def test_a_shift_gives_its_square():
    a = np.random.default_rng(0).normal(size=(200, 6))
    shift = np.arange(6.0)
    assert frechet_distance(a, a + shift) == pytest.approx(shift @ shift, abs=1e-9)


def test_a_scale_gives_the_difference_of_deviations():
    # one feature: (m_a - m_b)^2 + (s_a - s_b)^2
    a = np.random.default_rng(0).normal(size=(500, 1))
    expected = (1.5 - 1) ** 2 * a.var(ddof=1) + 0.25 * a.mean() ** 2
    assert frechet_distance(a, 1.5 * a) == pytest.approx(expected, abs=1e-12)


def test_the_formula_with_an_independent_matrix_root():
    draw = np.random.default_rng(1)
    a = draw.normal(size=(300, 5)) @ draw.normal(size=(5, 5))
    b = draw.normal(size=(200, 5)) @ draw.normal(size=(5, 5)) + 1
    s_a, s_b = np.cov(a.T), np.cov(b.T)
    product = np.linalg.eigvals(s_a @ s_b)  # not symmetric, but its eigenvalues are real
    difference = a.mean(0) - b.mean(0)
    expected = difference @ difference + np.trace(s_a + s_b) - 2 * np.sqrt(product.real).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-10)
    rotation, _ = np.linalg.qr(draw.normal(size=(5, 5)))
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(expected, rel=1e-10)


def test_fewer_samples_than_features():
    draw = np.random.default_rng(2)
    a, b = draw.normal(size=(4, 10)), draw.normal(size=(5, 10))
    assert np.isfinite(frechet_distance(a, b)) and frechet_distance(a, b) > 0


def test_float32_features_are_computed_in_float64():
    a = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    assert frechet_distance(a, a + np.float32(1000)) == pytest.approx(6e6, rel=1e-6)


@pytest.mark.parametrize(
    "a, b, words",
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), "3 features, b 4"),
        (np.zeros((1, 3)), np.zeros((5, 3)), "2 samples"),
        (np.zeros(5), np.zeros((5, 3)), "got \\(5,\\)"),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), "b holds NaN"),
    ],
)
def test_bad_features(a, b, words):
    with pytest.raises(ValueError, match=words):
        frechet_distance(a, b)


@pytest.fixture(scope="module")
def split():
    """(training images, labels, held-out images, labels), a few of the embedded digits."""
    x, y = mg.datasets.digits()
    order = np.random.default_rng(0).permutation(len(x))[:2600]
    return x[order[:2000]], y[order[:2000]], x[order[2000:]], y[order[2000:]]


@pytest.fixture(scope="module")
def classifier(split):
    return DigitFeatures().train(split[0], split[1], epochs=5)


def test_the_classifier_knows_digits_it_has_not_seen(classifier, split):
    p = classifier.probabilities(split[2])
    assert p.shape == (600, 10) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == split[3]).mean() > 0.88


def test_the_distance_in_its_features_ranks_as_the_eye_does(classifier, split):
    real, held_out = split[0], split[2]
    draw = np.random.default_rng(0)
    noisy = np.clip(held_out + draw.normal(0, 60, held_out.shape), 0, 255).astype(np.uint8)
    noise = draw.integers(0, 256, held_out.shape).astype(np.uint8)
    ones = real[split[1] == 1]
    features = classifier.features(real)
    assert features.shape == (2000, 64)
    d = [frechet_distance(features, classifier.features(x)) for x in (held_out, noisy, ones, noise)]
    assert d[0] < d[1] / 3 and d[0] < d[2] / 3 and d[1] < d[3]


def test_the_same_seed_gives_the_same_classifier(split):
    few = split[0][:300], split[1][:300]
    a, b, c = (DigitFeatures(seed).train(*few, epochs=1) for seed in (0, 0, 1))
    held_out = split[2][:50]
    np.testing.assert_array_equal(a.features(held_out), b.features(held_out))
    assert (a.features(held_out) != c.features(held_out)).any()


def test_images_must_be_uint8_digits(classifier, split):
    with pytest.raises(TypeError, match="uint8"):
        classifier.features(split[2] / 255)
    with pytest.raises(ValueError, match="\\(28, 28, 1\\)"):
        classifier.features(np.zeros((3, 20, 20, 1), np.uint8))
    flat = split[2][:5].reshape(5, 784)
    np.testing.assert_array_equal(classifier.features(flat), classifier.features(split[2][:5]))


@pytest.mark.slow
def test_the_embedded_digits_make_a_good_classifier():
    x, y = mg.datasets.digits()
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:9000], order[9000:]
    classifier = DigitFeatures().train(x[train], y[train])
    assert (classifier.probabilities(x[test]).argmax(axis=1) == y[test]).mean() > 0.97
