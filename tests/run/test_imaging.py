"""minigan.run.imaging: grids, PNG files, curves."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan.run import imaging


def test_each_image_stands_in_its_cell(images):
    grid = mg.image_grid(images[:6], columns=4)
    assert grid.shape == (16, 32) and grid.dtype == np.uint8
    for i in range(6):
        row, column = divmod(i, 4)
        cell = grid[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
        np.testing.assert_array_equal(cell, images[i, :, :, 0])
    assert not grid[8:, 16:].any()  # the empty cells


def test_gap_lies_between_cells_and_not_around(images):
    grid = mg.image_grid(images[:4] | 1, columns=2, gap=3)
    assert grid.shape == (19, 19)
    assert not grid[8:11].any() and not grid[:, 8:11].any()
    assert grid[0].any() and grid[-1].any() and grid[:, 0].any() and grid[:, -1].any()


def test_colour_and_unequal_sides():
    images = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    grid = mg.image_grid(images)
    assert grid.shape == (4, 12, 3)
    np.testing.assert_array_equal(grid[:, 6:], images[1])


def test_the_shapes_that_mean_the_same_give_the_same_grid(images):
    expected = mg.image_grid(images)
    assert expected.shape == (4 * 8, 5 * 8)  # as square as 20 images can be
    np.testing.assert_array_equal(mg.image_grid(images[..., 0]), expected)
    np.testing.assert_array_equal(mg.image_grid(images.reshape(20, 64)), expected)


def test_floats_are_scaled_by_the_range_that_they_show():
    signed = np.array([-1, 0, 1, 0.5], np.float32).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(mg.image_grid(signed), [[0, 128], [255, 191]])
    unsigned = np.array([0, 0.5, 1, 0.25], np.float64).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(mg.image_grid(unsigned), [[0, 128], [255, 64]])
    np.testing.assert_array_equal(
        mg.image_grid(unsigned, value_range=(-1, 1)), [[128, 191], [255, 159]]
    )
    beyond = mg.image_grid(signed * 3, value_range=(-1, 1))
    np.testing.assert_array_equal(beyond, [[0, 128], [255, 255]])


def test_uint8_to_floats_and_back_is_exact():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    for value_range in ((-1.0, 1.0), (0.0, 1.0)):
        batch, _ = mg.datasets.Batches(every, (16, 16, 1), value_range).batch(np.arange(1))
        np.testing.assert_array_equal(imaging.to_uint8(batch, value_range), every)


@pytest.mark.parametrize(
    "images, error, words",
    [
        (np.zeros((2, 8, 8, 4), np.uint8), ValueError, "expected"),
        (np.zeros((0, 8, 8, 1), np.uint8), ValueError, "at least 1"),
        (np.zeros((2, 60), np.uint8), ValueError, "side\\*side"),
        (np.zeros(64, np.uint8), ValueError, "batch axis"),
        (np.zeros((2, 8, 8, 1), np.int64), TypeError, "int64"),
        (np.zeros((2, 8, 8, 1), np.complex128), TypeError, "complex128"),
        (np.full((2, 8, 8, 1), np.nan), ValueError, "NaN"),
        (np.full((2, 8, 8, 1), 255.0), ValueError, "value_range"),
    ],
)
def test_what_cannot_be_drawn_is_refused(images, error, words):
    with pytest.raises(error, match=words):
        mg.image_grid(images)


@pytest.mark.parametrize("columns", [0, -1, 2.5, "4"])
def test_columns_must_be_a_positive_number(images, columns):
    with pytest.raises(ValueError, match="columns"):
        mg.image_grid(images, columns)


def test_huge_pictures_are_refused_before_they_take_memory(images):
    with pytest.raises(ValueError, match="this grid would have 1,600 million pixels"):
        mg.image_grid(images, columns=25_000_000)
    wide = imaging.enlarged(np.arange(6, dtype=np.uint8).reshape(2, 3), 3)
    np.testing.assert_array_equal(wide, np.kron(np.arange(6).reshape(2, 3), np.ones((3, 3))))
    with pytest.raises(ValueError, match="smaller scale"):
        imaging.enlarged(wide, 10**5)


def test_the_shape_of_pictures():
    for shape, expected in [
        ((784,), (28, 28, 1)),
        ((5, 7), (5, 7, 1)),
        ((5, 7, 1), (5, 7, 1)),
        ((5, 7, 3), (5, 7, 3)),
    ]:
        assert imaging.picture_shape(shape) == expected


def test_png_holds_the_pixels(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    for picture in (colour, colour[..., 0]):
        imaging.save_png(tmp_path / "a.png", picture)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
    with pytest.raises(ValueError, match="uint8"):
        imaging.save_png(tmp_path / "a.png", colour / 255)


KEYS = ("d_loss", "g_loss", "d_real", "d_fake", "penalty")


@pytest.mark.parametrize("key", KEYS)
def test_curves_show_every_series(tmp_path, key):
    history = [{"epoch": e, **{k: (i + 1) / e for i, k in enumerate(KEYS)}} for e in (1, 2, 3)]
    imaging.save_curves(tmp_path / "all.png", history)
    history[1][key] *= 0.9
    imaging.save_curves(tmp_path / "other.png", history)
    every, other = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("all", "other"))
    assert (every != other).any()


def test_curves_are_drawn_without_pyplot(tmp_path):
    history = [{"epoch": e, **dict.fromkeys(KEYS[:4], 1 / e)} for e in (1, 2, 3)]
    before = "matplotlib.pyplot" in sys.modules
    imaging.save_curves(tmp_path / "one.png", history[:1])
    imaging.save_curves(tmp_path / "three.png", history)
    assert ("matplotlib.pyplot" in sys.modules) == before
    one, three = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("one", "three"))
    assert one.shape == three.shape and (one != three).any()
    first = (tmp_path / "three.png").read_bytes()
    imaging.save_curves(tmp_path / "three.png", history)
    assert (tmp_path / "three.png").read_bytes() == first
