"""minigan.run.datasets: what `--data` names, and images brought to another size."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan.run import datasets


def test_digits_are_ten_thousand_labelled_images():
    images, labels = mg.datasets.digits()
    assert images.shape == (10000, 28, 28, 1) and images.dtype == np.uint8
    assert labels.shape == (10000,) and labels.dtype == np.int64
    assert set(labels) == set(range(10))
    assert images.max() == 255 and images.min() == 0
    means = np.stack([images[labels == k].mean(axis=0) for k in range(10)])
    assert means[0, 14, 14] < 60 < 120 < means[1, 14, 14]  # a zero is hollow, a one is not


def test_digits_may_have_another_size_and_colours():
    small = datasets.Dataset(*(a[::500] for a in mg.datasets.digits()), names=range(10))
    same = datasets.resized(small)
    assert same is small
    grown = datasets.resized(small, size=(32, 40), channels=3, fit="pad")
    assert grown[0].shape == (20, 32, 40, 3) and grown[0].dtype == np.uint8
    assert grown.names == small.names and grown[1] is small[1]
    assert not grown[0][:, :, [0, 1, 2, 3, -4, -3, -2, -1]].any()  # 32 wide, centred on 40
    np.testing.assert_array_equal(grown[0][..., 0], grown[0][..., 2])
    assert abs(grown[0][:, :, 4:-4].mean() - small[0].mean()) < 2
    assert abs(datasets.resized(small, 14)[0].mean() - small[0].mean()) < 2


def test_grey_is_luminance(tmp_path):
    # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B
    images = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8).reshape(3, 1, 1, 3)
    np.savez(
        tmp_path / "a.npz", images=images, labels=np.arange(3), names=np.array(["r", "g", "b"])
    )
    grey = datasets.load(tmp_path / "a.npz", channels=1)
    np.testing.assert_array_equal(grey[0].ravel(), [76, 150, 29])
    assert grey[0].shape == (3, 1, 1, 1) and grey.names == ("r", "g", "b")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"size": 0}, "size must be.*got 0"),
        ({"size": (8, 8, 3)}, "size must be"),
        ({"size": 8.0}, "size must be"),
        ({"channels": 4}, "1 .grey. or 3"),
        ({"channels": 0}, "1 .grey. or 3"),
        ({"fit": "croop"}, "did you mean 'crop'"),
    ],
)
def test_options_that_are_wrong(digits_npz, options, words):
    with pytest.raises(ValueError, match=words):
        datasets.load(digits_npz, **options)


def test_a_folder_of_pictures(tmp_path):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.png")
    data = datasets.load(str(tmp_path), size=8)
    assert data[0].shape == (1, 8, 8, 3) and (data[0] == [255, 0, 0]).all()
    assert datasets.load(tmp_path, size=8, channels=1)[0].shape == (1, 8, 8, 1)
    assert not datasets.load(tmp_path, size=8, fit="pad")[0][0, 0].any()
    with pytest.raises(ValueError, match="give size=64"):
        datasets.load(tmp_path)
    (tmp_path / "b.png").touch()
    with pytest.raises(ValueError, match="b.png"):
        datasets.load(tmp_path, size=8, strict=True)


def test_a_folder_of_the_name_of_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "digits" / "a.png")
    assert len(datasets.load("digits")[0]) == 10000
    assert len(datasets.load("./digits", size=9)[0]) == 1


def test_a_missing_file_and_unknown_names(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        datasets.load(tmp_path / "no.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        datasets.npz(tmp_path / "folder.npz")
    for name, meant in (("digitz", "digits"), ("MNIST", "mnist")):
        with pytest.raises(ValueError, match=f"unknown data set.*did you mean '{meant}'"):
            datasets.load(name)
    with pytest.raises(
        ValueError, match="no such file.\nGive 'digits', 'mnist', 'stacked_digits', a folder"
    ) as caught:
        datasets.load(tmp_path / "fotos")
    assert "did you mean" not in str(caught.value)
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match="a.jpg is neither"):
        datasets.load(tmp_path / "a.jpg")


def test_copies_and_pickles_are_whole(tmp_path):
    folder_of = tmp_path / "pictures"
    for name in ("a", "b"):
        (folder_of / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(folder_of / name / "1.png")
    data = datasets.load(folder_of, size=np.int64(8))
    for other in (copy.copy(data), copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert other.describe() == data.describe() and other.source == data.source
        assert other[0].shape == (2, 8, 8, 3) and other[1].tolist() == [0, 1]
    json.dumps(data.source)
