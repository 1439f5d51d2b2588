"""minigan.run.image_folder: which files, in which order, of which class; what is skipped."""

from __future__ import annotations

import os
import sys
import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan.run import image_folder
from minigan.run.image_folder import folder
from minigan.run.pictures import decode
from tests.run.memory import peak_of


def put(root, *names):
    """Pictures of these names; the k-th is all of grey k."""
    for k, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2), k).save(path, format="PNG")


def greys(data):
    return data[0][:, 0, 0, 0].tolist()


def test_a_flat_folder(tmp_path):
    put(tmp_path, "b.png", "a.JPG", "c.jpeg")
    data = mg.datasets.folder(tmp_path, size=(2, 4))
    images, labels = data
    assert images.shape == (3, 2, 4, 3) and images.dtype == np.uint8
    assert greys(data) == [1, 0, 2]
    assert labels is None and data.names is None
    assert data.skipped == [] and data.ignored == {}
    assert folder(str(tmp_path), 4, channels=1)[0].shape == (3, 4, 4, 1)


def test_order_is_natural(tmp_path):
    names = ["img10.png", "img9.png", "Img2.png", "img1.png", "img1b.png", "img01.png", "9.png"]
    put(tmp_path, *names)
    found = [names[k] for k in greys(folder(tmp_path, 2))]
    assert found == [
        "9.png",
        "img01.png",
        "img1.png",
        "img1b.png",
        "Img2.png",
        "img9.png",
        "img10.png",
    ]


def test_classes_are_the_sub_folders_however_deep(tmp_path):
    put(tmp_path, "10/a.png", "9/z.png", "9/x/y/a.png", "10/z/b.png", "rosé/a.png", "日本/a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    data = folder(tmp_path, 2)
    assert data.names == ("9", "10", "rosé", "日本")
    assert data[1].dtype == np.int64
    assert dict(zip(greys(data), data[1].tolist(), strict=True)) == {
        0: 1,
        1: 0,
        2: 0,
        3: 1,
        4: 2,
        5: 3,
    }
    assert data[1].tolist() == sorted(data[1].tolist())
    assert data.ignored == {".txt": 1}


def test_one_sub_folder_is_no_class(tmp_path):
    put(tmp_path, "celebrities/1/a.png", "celebrities/2/b.png")
    data = folder(tmp_path, 2)
    assert data[1] is None and data.names is None
    assert folder(tmp_path / "celebrities", 2).names == ("1", "2")


def test_pictures_beside_sub_folders_have_no_class(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png", "c.png")
    with pytest.warns(
        UserWarning, match="no classes: 1 pictures lie beside the 2 sub-folders, first .*png;"
    ):
        data = folder(tmp_path, 2)
    assert len(data[0]) == 3 and data[1] is None and data.names is None


def test_accents_decompose_on_some_systems(tmp_path):
    composed, decomposed = "\u00e9", "e\u0301"
    put(tmp_path, f"{decomposed}/a.png", "f/a.png", f"{composed}/b.png")
    data = folder(tmp_path, 2)
    assert data.names == ("f", composed)  # as NFC sorts, whatever the disk made of it
    assert len(data[0]) == 3
    assert all(unicodedata.is_normalized("NFC", name) for name in data.names)


@pytest.mark.skipif(sys.platform != "linux", reason="names must be UTF-8 here")
def test_names_that_are_not_utf8_or_hold_line_breaks(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png")
    os.mkdir(os.fsencode(tmp_path) + b"/c\xff")
    with open(os.fsencode(tmp_path) + b"/c\xff/1.png", "wb") as file:
        file.write((tmp_path / "a/1.png").read_bytes())
    (tmp_path / "b" / "two\nlines.png").touch()
    with pytest.warns(UserWarning) as caught:
        data = folder(tmp_path, 2)
    assert data.names == ("a", "b", "c\\udcff")
    assert data.skipped == [("b/two\\nlines.png", "an empty file")]
    assert "\n" not in str(caught[0].message)


def test_hidden_files_are_passed_over_and_others_counted(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png")
    hidden = ["._1.png", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/a/1.png", ".git/x.png"]
    for name in [*hidden, "ATTRIBUTION.txt", "a/meta.json", "a/more.JSON", "README", "clip.mp4"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = folder(tmp_path, 2)
    assert len(data[0]) == 2 and data.names == ("a", "b") and data.skipped == []
    assert data.ignored == {".txt": 1, ".json": 2, "": 1, ".mp4": 1}
    assert data.describe().endswith("not images (.json, .mp4, .txt, no ending): 5")


def damaged(root):
    put(root, *(f"a/{k}.png" for k in range(6)), *(f"b/{k}.png" for k in range(6)))
    (root / "a" / "0.png").write_bytes(b"")
    (root / "a" / "3.png").write_text("no picture")
    whole = (root / "b" / "5.png").read_bytes()
    (root / "b" / "5.png").write_bytes(whole[:-30])
    (root / "b" / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    return {
        "a/0.png": "an empty file",
        "a/3.png": "damaged, or not a picture of a known format",
        "b/5.png": "truncated",
        "b/photo.heic": "HEIC, which cannot be read here; convert it to JPEG",
    }


def test_files_that_cannot_be_read_are_named_and_skipped(tmp_path):
    expected = damaged(tmp_path)
    with pytest.warns(UserWarning) as caught:
        data = folder(tmp_path, 2)
    (text,) = [str(w.message) for w in caught]
    assert text.startswith("skipped 4 of 13 files: a/0.png (an empty file), a/3.png (damaged")
    assert [name for name, _ in data.skipped] == list(expected)
    assert all(expected[name] in why for name, why in data.skipped)
    assert greys(data) == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert data[1].tolist() == [0] * 4 + [1] * 5


def test_strict_stops_at_the_first(tmp_path, monkeypatch):
    damaged(tmp_path)
    put(tmp_path, *(f"c/{k}.png" for k in range(3000)))
    decoded = []
    monkeypatch.setattr(image_folder, "decode", lambda *a: decoded.append(a) or decode(*a))
    with pytest.raises(ValueError, match=r"cannot read a/0.png \(an empty file\)$"):
        folder(tmp_path, 2, strict=True)
    assert len(decoded) < 1500


def test_many_are_named_in_part_but_listed_in_full(tmp_path):
    put(tmp_path, "z.png")
    for k in range(1200):
        (tmp_path / f"{k}.jpg").touch()
    with pytest.warns(UserWarning, match="skipped 1,200 of 1,201 .*4.jpg.*, and 1,195 more$"):
        data = folder(tmp_path, 2)
    assert len(data.skipped) == 1200 and data.skipped[-1] == ("1199.jpg", "an empty file")


def test_a_class_of_which_nothing_can_be_read(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png", "c/1.png")
    (tmp_path / "b" / "1.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped 1 of 3"):
        data = folder(tmp_path, 2)
    assert data.names == ("a", "c") and data[1].tolist() == [0, 1]


def test_nothing_to_read(tmp_path):
    with pytest.raises(ValueError, match="no pictures in this folder or below it.\nPictures end"):
        folder(tmp_path, 2)
    (tmp_path / "a.txt").touch()
    (tmp_path / "b").touch()
    with pytest.raises(ValueError, match="; other files: 1 without ending, 1 .txt.\n"):
        folder(tmp_path, 2)
    (tmp_path / "c.png").touch()
    with pytest.raises(ValueError, match=r"none of 1 files can be read: c.png \(an empty"):
        folder(tmp_path, 2)
    (tmp_path / "c.png").unlink()
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        folder(tmp_path / "no", 2)
    with pytest.raises(NotADirectoryError, match="is a file"):
        folder(tmp_path / "b", 2)


def test_one_image(tmp_path):
    put(tmp_path, "a.png")
    assert folder(tmp_path, 2)[0].shape == (1, 2, 2, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_links_that_lead_round_in_circles(tmp_path):
    put(tmp_path / "data", "a/1.png", "b/1.png")
    put(tmp_path / "elsewhere", "1.png")
    (tmp_path / "data" / "a" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "b" / "here").symlink_to(tmp_path / "data" / "b")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "elsewhere")
    for k in range(10):  # 10! paths
        crowd = tmp_path / "data" / "b" / f"{k}"
        crowd.mkdir()
        for n in range(10):
            (crowd / f"{n}").symlink_to(tmp_path / "data" / "b" / f"{n}")
    data = folder(tmp_path / "data", 2)
    assert len(data[0]) == 3 and data.names == ("a", "b", "c")


def test_a_folder_that_cannot_be_opened(tmp_path, monkeypatch):
    put(tmp_path, "a/1.png", "b/1.png", "c/1.png")
    real = os.scandir

    def scandir(path):
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.warns(UserWarning, match=r"skipped 1 of 3 files: b \(Permission denied\)"):
        data = folder(tmp_path, 2)
    assert data.names == ("a", "c") and data.skipped == [("b", "Permission denied")]
    with pytest.raises(ValueError, match="b .Permission denied"):
        folder(tmp_path, 2, strict=True)


def test_the_images_do_not_depend_on_the_number_of_threads(tmp_path, monkeypatch):
    put(tmp_path, *(f"{k}.png" for k in range(50)))
    (tmp_path / "20.png").touch()
    found = []
    for count in (1, 5):
        monkeypatch.setattr("minigan.kernels.cpu.threads.count", lambda count=count: count)
        found.append(folder(tmp_path, 8)[0])
    np.testing.assert_array_equal(*found)


def test_skipping_makes_no_second_array(tmp_path):
    put(tmp_path, *(f"{k}.png" for k in range(10)))
    (tmp_path / "3.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped 1"):
        data = folder(tmp_path, 4)
    assert greys(data) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert data[0].base.shape == (10, 4, 4, 3)


def test_pillow_is_quiet_and_the_users_warnings_stay(tmp_path, smooth_jpeg):
    (tmp_path / "a.jpg").write_bytes(smooth_jpeg)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folder(tmp_path, 2)
        warnings.warn("mine", stacklevel=1)
    assert [str(w.message) for w in caught] == ["mine"]


@pytest.fixture
def smooth_jpeg(tmp_path):
    """A JPEG whose EXIF makes Pillow warn."""
    path = tmp_path / "exif"
    Image.new("RGB", (16, 16)).save(path, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09")
    with pytest.warns(UserWarning, match="EXIF"), Image.open(path) as image:
        image.getexif()
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_fifty_thousand_images_of_64_x_64_x_3_fit_in_a_gigabyte(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(40):
        size = rng.integers(64, 100, 2)
        image = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8))
        image.resize(tuple(map(int, size))).save(tmp_path / f"{k}.jpg")
    for label in range(10):
        (tmp_path / "data" / f"{label}").mkdir(parents=True)
        for k in range(5000):
            os.link(tmp_path / f"{k % 40}.jpg", tmp_path / "data" / f"{label}" / f"{k}.jpg")
    (tmp_path / "data" / "0" / "0.png").touch()  # so that all the others move up
    peak = peak_of(
        """
        import sys, warnings
        import numpy as np
        import minigan as mg
        warnings.simplefilter("ignore")
        data = mg.datasets.folder(sys.argv[1], size=64)
        batches = mg.datasets.Batches(data, (64, 64, 3), classes=10)
        order = np.random.default_rng(0).permutation(len(batches))
        images, labels = batches.batch(order[:128])
        assert images.shape == (128, 64, 64, 3) and len(batches) == 50_000, images.shape
        """,
        str(tmp_path / "data"),
    )
    assert 50_000 * 64 * 64 * 3 < peak < 10**9


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_giant_picture_takes_little_memory(tmp_path):
    """Its header is enough to refuse it; a large JPEG is decoded at an eighth."""
    Image.new("L", (8000, 6000), 100).save(tmp_path / "large.jpg")
    Image.new("1", (30000, 3000)).save(tmp_path / "giant.png")
    peak_of(
        """
        import sys, warnings
        import minigan as mg
        warnings.simplefilter("ignore")
        before = peak()
        data = mg.datasets.folder(sys.argv[1], size=64)
        assert len(data[0]) == 1 and "giant.png" in str(data.skipped), data.skipped
        assert peak() < before + 30e6, (before, peak())
        """,
        str(tmp_path),
    )
