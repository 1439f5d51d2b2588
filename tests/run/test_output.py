"""minigan.run.output: grids, folders of pictures, arrays."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan.run import datasets, files, output
from tests.run.run_helpers import save_run


@pytest.fixture
def saved(make_gan, tmp_path):
    def make(classes=None, names=None, image_shape=None):
        gan = make_gan(classes=classes, flat=image_shape is not None)
        return mg.SavedGenerator(save_run(tmp_path / "run", gan, image_shape, classes=names))

    return make


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_path_says_the_form(tmp_path):
    (tmp_path / "used.d").mkdir()
    (tmp_path / "used.d" / "file").touch()
    (tmp_path / "empty.d").mkdir()
    for path, form in [
        ("a.png", ".png"),
        ("a.PNG", ".png"),
        ("a.b/c.npz", ".npz"),
        (".png", ".png"),
        ("a", "folder"),
        ("a.b/", "folder"),
        ("a.png/", "folder"),
        (tmp_path / "empty.d", "folder"),
    ]:
        assert output.form(path) == form
    for path, error, words in [
        ("a.jpg", ValueError, r"\.png .* or \.npz .* or a folder"),
        (".jpg", ValueError, r"\.png .* or \.npz .* or a folder"),
        (tmp_path / "used.d", FileExistsError, "not empty"),
        (tmp_path / "used.d" / "file", FileExistsError, "is a file"),
    ]:
        with pytest.raises(error, match=words):
            output.form(path)


@pytest.mark.parametrize(
    "classes, by_class, given, columns",
    [(None, True, None, 3), (3, True, None, 3), (2, True, None, 2), (2, False, None, 3),
     (2, True, 7, 7), (8, True, None, 3), (1, True, None, 3), (None, True, 20, 20)],
)  # fmt: skip
def test_a_grid_has_a_column_a_class(saved, classes, by_class, given, columns):
    generator = saved(classes)
    images, _ = generator.images(7)
    grid = pixels(output.grid(generator, generator.batches(7), 7, given, by_class))
    large = pixels(output.grid(generator, generator.batches(7), 7, given, by_class, scale=3))
    np.testing.assert_array_equal(large[1::3, 2::3], grid)
    assert large.shape[:2] == (3 * grid.shape[0], 3 * grid.shape[1])
    np.testing.assert_array_equal(grid, mg.image_grid(images, columns, gap=2))


def test_a_grid_that_is_too_large_is_refused_before_it_is_drawn(saved):
    generator = saved()
    for count, columns in ((10**7, None), (1, 10**7), (10**30, 3), (10**30, 10**30)):
        with pytest.raises(ValueError, match="--out FOLDER or --out FILE.npz"):
            output.grid(generator, iter(()), count, columns)


def test_a_folder_has_a_picture_an_image(saved, tmp_path):
    generator = saved(3, ["rose", "../a b\n/\0é" + "x" * 99])
    output.write_folder(tmp_path / "new" / "out", generator, generator.batches(130))
    images, _ = generator.images(130)
    names = sorted(os.listdir(tmp_path / "new" / "out"))
    assert names[:3] == ["0000-rose.png", f"0001-.._a_b_é{'x' * 32}.png", "0002-2.png"]
    assert len(names) == 130
    for name, image in zip(names, images, strict=True):
        picture = np.asarray(Image.open(tmp_path / "new" / "out" / name))
        np.testing.assert_array_equal(picture, image[..., 0])


@pytest.mark.parametrize("classes", [None, 1])
def test_pictures_without_classes_have_numbers_alone(saved, tmp_path, classes):
    generator = saved(classes)
    output.write_folder(tmp_path / "out", generator, generator.batches(2))
    assert sorted(os.listdir(tmp_path / "out")) == ["0000.png", "0001.png"]


def test_arrays_are_what_train_reads(saved, tmp_path):
    generator = saved(3, ["rose", "ö"])
    path = tmp_path / "a.npz"
    output.write_npz(path, generator, generator.batches(200, 4), 200)
    images, labels = generator.images(200, 4)
    with np.load(path) as arrays:  # no pickles
        assert arrays.files == ["images", "labels", "names"]
        np.testing.assert_array_equal(arrays["images"], images)
        np.testing.assert_array_equal(arrays["labels"], labels)
        assert list(arrays["names"]) == ["rose", "ö", "2"]
    read, read_labels = data = datasets.load(path)
    assert data.names == ("rose", "ö", "2")
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(read_labels, labels)
    first = path.read_bytes()
    output.write_npz(path, generator, generator.batches(200, 4), 200)
    assert path.read_bytes() == first  # nothing of the time
    assert zipfile.ZipFile(path).testzip() is None


def test_arrays_that_are_no_pictures(saved, tmp_path):
    generator = saved(image_shape=(32, 1, 2))
    output.write_npz(tmp_path / "a.npz", generator, generator.batches(3), 3)
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays.files == ["images"] and arrays["images"].shape == (3, 32, 1, 2)
    with pytest.raises(ValueError, match=r"arrays of \(32, 1, 2\), which are no pictures"):
        output.grid(generator, generator.batches(3), 3)
    with pytest.raises(ValueError, match="--out FILE.npz"):
        output.write_folder(tmp_path / "out", generator, generator.batches(3))
    assert not (tmp_path / "out").exists()


def test_arrays_that_cannot_be_written_leave_the_old_ones(saved, tmp_path, full_disk):
    generator = saved()
    output.write_npz(tmp_path / "a.npz", generator, generator.batches(3), 3)
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(ValueError, match="0.01 or more"):
        output.write_npz(tmp_path / "a.npz", generator, generator.batches(3, truncation=0), 3)
    full_disk()
    with pytest.raises(files.WriteError, match="disk is full"):
        output.write_npz(tmp_path / "a.npz", generator, generator.batches(5), 5)
    assert (tmp_path / "a.npz").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "run"]
