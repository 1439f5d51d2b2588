"""minigan.run.batches: what a batch holds, what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from minigan.run.batches import Batches, Dataset, check_enough


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("dtype, expected", [("float32", "f4"), ("complex128", "f8")])
def test_batches_scale_uint8_to_the_generators_range(value_range, dtype, expected):
    images = np.array([0, 255, 51], np.uint8).reshape(3, 1, 1, 1)
    batch, labels = Batches(images, (1, 1, 1), value_range, dtype).batch(np.array([2, 0, 1]))
    low, high = value_range
    assert batch.dtype == np.dtype(expected) and labels is None
    np.testing.assert_allclose(batch.ravel(), [low + 0.2 * (high - low), low, high], rtol=1e-6)


def test_uint8_images_are_not_copied(images):
    assert np.shares_memory(Batches(images, (8, 8, 1)).images, images)


@pytest.mark.parametrize(
    "given, wanted",
    [
        ((8, 8, 1), (64,)),
        ((64,), (8, 8, 1)),
        ((8, 8), (8, 8, 1)),
        ((8, 8, 1), (8, 8)),
        ((4, 8, 2), (64,)),
    ],
)
def test_shapes_that_agree_are_reshaped(given, wanted):
    images = np.arange(3 * 64, dtype=np.uint8).reshape(3, *given)
    batch, _ = Batches(images, wanted, (0.0, 255.0)).batch(np.arange(3))
    assert batch.shape == (3, *wanted)
    np.testing.assert_allclose(batch.ravel(), np.arange(3 * 64))


@pytest.mark.parametrize(
    "given, wanted",
    [((8, 8, 1), (28, 28, 1)), ((4, 16, 1), (8, 8, 1)), ((1, 8, 8, 3), (8, 3, 8)), ((63,), (8, 8))],
)
def test_shapes_that_would_scramble_are_refused_by_name(given, wanted):
    with pytest.raises(ValueError) as caught:
        Batches(np.zeros((2, *given), np.uint8), wanted)
    assert str(given) in str(caught.value) and str(wanted) in str(caught.value)


def test_labels_are_required_checked_and_follow_their_images(images):
    labels = np.arange(20) % 3
    data = Batches((images, labels), (8, 8, 1), classes=3)
    np.testing.assert_array_equal(data.batch(np.array([5, 0]))[1], [2, 0])
    assert Batches((images, labels), (8, 8, 1)).batch(np.arange(2))[1] is None
    with pytest.raises(ValueError, match="3 classes"):
        Batches(images, (8, 8, 1), classes=3)
    assert not Batches(images, (8, 8, 1), classes=1).batch(np.arange(2))[1].any()
    with pytest.raises(ValueError, match="0 to 1, got 0 to 2"):
        Batches((images, labels), (8, 8, 1), classes=2)
    with pytest.raises(ValueError, match="one label an image"):
        Batches((images, labels[:5]), (8, 8, 1), classes=3)
    with pytest.raises(TypeError, match="2 items|3 items"):
        Batches((images, labels, labels), (8, 8, 1), classes=3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_floats_that_are_not_finite_are_found(bad):
    images = np.zeros((1500, 2, 2, 1), np.float32)
    images[1300, 1, 0, 0] = bad
    with pytest.raises(ValueError, match="image 1300"):
        Batches(images, (2, 2, 1))


def test_floats_outside_the_generators_range_are_refused():
    images = np.linspace(0, 255, 64, dtype=np.float32).reshape(4, 4, 4, 1)
    with pytest.raises(ValueError, match="-1 to 1"):
        Batches(images, (4, 4, 1), (-1.0, 1.0))
    with pytest.warns(UserWarning, match="below 0"):
        Batches(images / 255, (4, 4, 1), (-1.0, 1.0))
    assert Batches(images, (4, 4, 1), None).value_range == (0.0, 255.0)


@pytest.mark.parametrize("images", [np.zeros((2, 4), int), np.zeros((2, 4), complex), [["a", "b"]]])
def test_images_of_other_dtypes_are_refused(images):
    with pytest.raises(TypeError, match="uint8|items"):
        Batches(images, (4,))


@pytest.mark.parametrize("shape", [(0, 8, 8, 1), (), (5,)])
def test_no_images(shape):
    with pytest.raises(ValueError, match="no images"):
        Batches(np.zeros(shape, np.uint8), (8, 8, 1))


def test_too_few_images_are_refused_and_few_are_told():
    for count in (0, 1):
        with pytest.raises(ValueError, match=f"at least two.*got {count}"):
            check_enough(count, 64)
    with pytest.warns(UserWarning, match="63 images are fewer than a batch of 64"):
        check_enough(63, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_enough(64, 64)


def test_a_data_set_describes_itself(images):
    assert Dataset(images).describe() == "20 images of 8x8x1"
    labels = np.arange(20) % 3
    data = Dataset(images, labels, "abc", [("a.jpg", "why")], {".txt": 2, "": 1})
    assert data.describe() == (
        "20 images of 8x8x1 in 3 classes (a, b, c); skipped: 1; not images (.txt, no ending): 3"
    )
    assert Dataset(images, labels + 1).describe() == "20 images of 8x8x1 in 4 classes"
    assert (
        Dataset(images, labels, "abcdefgh").describe().endswith("8 classes (a, b, c, d, e, f, ...)")
    )
    assert Dataset(images).classes is None
