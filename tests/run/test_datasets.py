"""minigan.run.datasets: what is read, what is refused, what a batch holds."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

import minigan as mg
from minigan.run.datasets import Batches


def test_digits_are_ten_thousand_labelled_images():
    images, labels = mg.datasets.digits()
    assert images.shape == (10000, 28, 28, 1) and images.dtype == np.uint8
    assert labels.shape == (10000,) and labels.dtype == np.int64
    assert set(labels) == set(range(10))
    assert images.max() == 255 and images.min() == 0
    means = np.stack([images[labels == k].mean(axis=0) for k in range(10)])
    assert means[0, 14, 14] < 60 < 120 < means[1, 14, 14]  # a zero is hollow, a one is not


def test_npz_round_trip(tmp_path, images):
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(20, dtype=np.uint8))
    read, labels = mg.datasets.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(labels, np.arange(20))
    np.savez_compressed(tmp_path / "b.npz", images=images[..., 0])
    read, labels = mg.datasets.load(str(tmp_path / "b.npz"))
    np.testing.assert_array_equal(read, images)
    assert labels is None


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"x": np.zeros((2, 8, 8), np.uint8)}, "'images'.*found x"),
        ({}, "found nothing"),
        ({"images": np.zeros((2, 8, 8), np.float32)}, "uint8"),
        ({"images": np.zeros((2, 8, 8, 2), np.uint8)}, "C = 1 or 3"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, "at least 1"),
        ({"images": np.zeros(8, np.uint8)}, "got \\(8,\\)"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.zeros(3, int)}, "one label"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.array([0, -1])}, "0 or more"),
    ],
)
def test_npz_with_other_contents(tmp_path, arrays, words):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=words) as caught:
        mg.datasets.npz(path)
    assert str(path) in str(caught.value)


def test_labels_that_are_not_whole_numbers(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8), np.uint8), labels=np.array([0.0, 1.0]))
    with pytest.raises(TypeError, match="whole numbers"):
        mg.datasets.npz(tmp_path / "a.npz")


class Bomb:
    """A pickle of this would call the function below."""

    exploded = False

    def __reduce__(self):
        return (setattr, (Bomb, "exploded", True))


def foreign_files(folder):
    np.savez(folder / "objects.npz", images=np.array([Bomb()], dtype=object))
    np.save(folder / "single.npy", np.zeros(3))
    (folder / "single.npz").write_bytes((folder / "single.npy").read_bytes())
    (folder / "text.npz").write_text("not a zip archive at all")
    (folder / "empty.npz").write_bytes(b"")
    whole = io.BytesIO()
    np.savez(whole, images=np.zeros((50, 8, 8), np.uint8))
    (folder / "cut.npz").write_bytes(whole.getvalue()[:1500])
    broken = bytearray(whole.getvalue())
    broken[500:600] = b"\xff" * 100
    (folder / "broken.npz").write_bytes(broken)
    with zipfile.ZipFile(folder / "claims.npz", "w") as archive:
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 8, 8), }\n"
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header)
    with zipfile.ZipFile(folder / "other.npz", "w") as archive:
        archive.writestr("images.npy", b"hello")
    return ["objects", "single", "text", "empty", "cut", "broken", "claims", "other"]


def test_foreign_and_damaged_files_are_named_and_never_run(tmp_path):
    for name in foreign_files(tmp_path):
        path = tmp_path / f"{name}.npz"
        with pytest.raises(ValueError) as caught:
            mg.datasets.npz(path)
        assert str(path) in str(caught.value), name
        assert len(str(caught.value).splitlines()) <= 5, name
    assert not Bomb.exploded


def test_missing_file_folder_and_unknown_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        mg.datasets.load(tmp_path / "no.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        mg.datasets.load(tmp_path / "folder.npz")
    with pytest.raises(ValueError, match="'digits' or the path"):
        mg.datasets.load("digitz")


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
