"""minigan.run.npz_file: what is read, what is refused before it takes memory."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

import minigan as mg
from minigan.run import npz_file


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


def test_class_names_are_read(tmp_path, images):
    labels = np.arange(20) % 2
    np.savez(tmp_path / "a.npz", images=images, labels=labels, names=np.array(["äöü", "日本"]))
    assert mg.datasets.npz(tmp_path / "a.npz").names == ("äöü", "日本")
    np.savez(tmp_path / "b.npz", images=images, labels=labels)
    assert mg.datasets.npz(tmp_path / "b.npz").names is None


def test_class_names_cannot_command_the_terminal(tmp_path, images):
    names = np.array(["a\x1b[2J", "b\nc"])
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(20) % 2, names=names)
    assert mg.datasets.npz(tmp_path / "a.npz").names == ("a\\x1b[2J", "b\\nc")


@pytest.mark.parametrize(
    "names", [np.array(["one"]), np.array([1, 2]), np.array([["a", "b"]]), np.array([b"a", b"b"])]
)
def test_class_names_that_do_not_fit(tmp_path, images, names):
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(20) % 2, names=names)
    with pytest.raises(ValueError, match="at least 2 classes"):
        mg.datasets.npz(tmp_path / "a.npz")


def test_class_names_are_never_unpickled(tmp_path, images):
    names = np.array([Bomb(), "b"], dtype=object)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(20) % 2, names=names)
    with pytest.raises(ValueError, match="names.npy holds Python objects"):
        mg.datasets.npz(tmp_path / "a.npz")
    assert not Bomb.exploded


@pytest.mark.parametrize("shape", ["(50, 8, 9)", "(49, 8, 8)", "(100000000000, 8, 8)"])
def test_a_header_that_does_not_match_what_is_stored(tmp_path, shape):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    start = b"\x93NUMPY\x01\x00" + bytes([len(header), 0])
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", start + header + bytes(3200))
    with pytest.raises(ValueError, match="promises [0-9,]+ bytes, but 3,200 are stored"):
        mg.datasets.npz(tmp_path / "a.npz")


def test_elements_of_no_size_are_refused(tmp_path):
    header = b"{'descr': '<U0', 'fortran_order': False, 'shape': (100000000000,), }\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header)
    with pytest.raises(ValueError, match="promises 0 bytes"):
        mg.datasets.npz(tmp_path / "a.npz")


def test_a_large_array_that_is_packed_too_well_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((1000, 32, 32), np.uint8))
    assert len(mg.datasets.npz(tmp_path / "a.npz")[0]) == 1000  # not large
    monkeypatch.setattr(npz_file, "_LARGE", 1000_000)
    with pytest.raises(ValueError, match="would unpack from [0-9,]+ to 1,024,000 bytes"):
        mg.datasets.npz(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=np.zeros((1000, 32, 32), np.uint8))
    assert len(mg.datasets.npz(tmp_path / "b.npz")[0]) == 1000


def test_fortran_order(tmp_path, images):
    np.savez(tmp_path / "a.npz", images=np.asfortranarray(images))
    np.testing.assert_array_equal(mg.datasets.npz(tmp_path / "a.npz")[0], images)
