"""minigan.run.idx: MNIST's format, and headers that lie."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from minigan.run import datasets, idx


def encoded(array, kind=8):
    array = np.asarray(array)
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "images, labels",
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
    ],
)
def test_images_and_the_labels_beside_them(tmp_path, pixels, images, labels):
    for name, array in ((images, pixels), (labels, np.arange(5, dtype=np.uint8))):
        data = encoded(array)
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(encoded(pixels[:2]))
    for spec in (tmp_path / images, tmp_path):
        read, found = datasets.load(spec)
        np.testing.assert_array_equal(read, pixels[..., None])
        np.testing.assert_array_equal(found, np.arange(5))
        assert found.dtype == np.int64
    read, found = datasets.load(tmp_path / "t10k-images-idx3-ubyte", size=6, channels=3)
    assert read.shape == (2, 6, 6, 3) and found is None


def test_a_name_that_says_nothing_is_known_by_its_contents(tmp_path, pixels):
    (tmp_path / "pixels").write_bytes(gzip.compress(encoded(pixels)))
    read, labels = datasets.load(tmp_path / "pixels")
    np.testing.assert_array_equal(read[..., 0], pixels)
    assert labels is None


def test_a_folder_with_several_files_of_images(tmp_path, pixels):
    for name in ("a-idx3-ubyte", "b-idx3-ubyte", "._a-idx3-ubyte"):
        (tmp_path / name).write_bytes(encoded(pixels))
    with pytest.raises(ValueError, match="which of these.*: a-idx3-ubyte, b-idx3-ubyte$"):
        datasets.load(tmp_path)


@pytest.mark.parametrize("kind, dtype", [(8, ">u1"), (11, ">i2"), (12, ">i4"), (14, ">f8")])
def test_numbers_of_other_types(tmp_path, kind, dtype):
    array = np.array([[1, 2, 3], [4, 5, 200]], dtype)
    (tmp_path / "a").write_bytes(encoded(array, kind))
    read = idx.read_array(tmp_path / "a")
    np.testing.assert_array_equal(read, array)
    assert read.dtype.isnative


def hostile(pixels):
    data = encoded(pixels)
    large = struct.pack(">HBB3I", 0, 8, 3, 10**6, 28, 28)
    yield "empty", b"", "IDX images"
    yield "text", b"hello, world", "IDX images"
    yield "cut", data[:-1], "only 59 follow"
    yield "more", data + b"x", "more follow"
    yield "claims", large + bytes(100), "cannot hold"
    yield "claims-packed", gzip.compress(large + bytes(100)), "cannot hold"
    yield "packed-cut", gzip.compress(data)[:-12], "end-of-stream"
    yield "packed-bomb", gzip.compress(data + bytes(10**7)), "more follow"
    yield "no-images", struct.pack(">HBB3I", 0, 8, 3, 0, 28, 28), "empty"
    yield "labels", encoded(np.zeros(5, np.uint8)), "expected images"
    yield "floats", encoded(np.zeros((2, 3, 4), ">f4"), 13), "expected images"
    flipped = bytearray(gzip.compress(data))
    flipped[15] ^= 255
    yield "packed-broken", bytes(flipped), "IDX"


def test_hostile_files_are_named_and_take_no_memory(tmp_path, pixels):
    for name, data, words in hostile(pixels):
        (tmp_path / name).write_bytes(data)
        tracemalloc.start()
        with pytest.raises(ValueError, match=words) as caught:
            datasets.load(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 1e6, name
        tracemalloc.stop()
        assert str(tmp_path / name) in str(caught.value), name
        assert len(str(caught.value).splitlines()) <= 5, name


def test_labels_that_do_not_fit(tmp_path, pixels):
    (tmp_path / "images-idx3-ubyte").write_bytes(encoded(pixels))
    (tmp_path / "labels-idx1-ubyte").write_bytes(encoded(np.zeros(4, np.uint8)))
    with pytest.raises(ValueError, match="labels-idx1-ubyte: expected one label an image"):
        datasets.load(tmp_path)
