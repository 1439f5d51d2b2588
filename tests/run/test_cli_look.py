"""`minigan sample`, `interpolate` and `animate`: what they write, and their errors."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

import minigan as mg
from minigan.run import imaging
from minigan.run.interpolation import interpolation
from tests.run.run_helpers import save_run


@pytest.fixture
def flowers(run, make_gan):
    """The folder "flowers": a run with three classes, two of them named."""
    save_run(Path("flowers"), make_gan(classes=3, seed=4), classes=["rose", "tulip"])
    return mg.SavedGenerator("flowers")


@pytest.fixture
def plain(run, make_gan):
    """The folder "plain": a run without classes, of flat images."""
    save_run(Path("plain"), make_gan(flat=True, seed=4))
    return mg.SavedGenerator("plain")


def picture(path):
    return np.asarray(Image.open(path))


def film(path):
    with Image.open(path) as gif:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
        times = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    return np.stack(frames), times


# sample


def test_samples_of_a_class_by_name(run, flowers):
    code, out, _ = run("sample", "flowers", "--class", "rose", "--count", 4)
    assert code == 0 and out.strip() == os.path.join("flowers", "sample-seed4-class-rose.png")
    images, _ = flowers.images(4, label=0)
    np.testing.assert_array_equal(picture(out.strip()), mg.image_grid(images, gap=2))
    assert run("sample", "flowers", "--class", 1, "--count", 4, "--out", "a.npz")[0] == 0
    with np.load("a.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], flowers.images(4, label="tulip")[0])
        assert list(arrays["labels"]) == [1] * 4 and list(arrays["names"]) == ["rose", "tulip", "2"]
    code, _, err = run("sample", "flowers", "--class", "rosa")
    assert code == 2
    assert err == (
        "minigan: no class 'rosa' (did you mean 'rose'?); this generator knows 0 to 2, named "
        "'rose', 'tulip', '2'\n"
    )


def test_the_names_are_those_of_the_data(run, make_gan, images):
    data = mg.datasets.Dataset(images, np.arange(20) % 3, ["rose", "tulip", "lily"])
    gan = make_gan(classes=3)
    mg.train(gan, data, epochs=1, out="run", progress=False)
    assert run("sample", "run", "--class", "lily", "--count", 4, "--out", "a.png")[0] == 0
    expected = gan.sample(4, labels=[2] * 4)
    np.testing.assert_array_equal(
        picture("a.png"), mg.image_grid(expected, value_range=(-1, 1), gap=2)
    )


def test_a_grid_has_a_column_a_class_or_as_many_as_asked(run, flowers):
    assert run("sample", "flowers", "--count", 7, "--out", "a.png")[0] == 0
    images, _ = flowers.images(7)
    np.testing.assert_array_equal(picture("a.png"), mg.image_grid(images, 3, gap=2))
    assert run("sample", "flowers", "--count", 7, "--columns", 5, "--out", "a.png")[0] == 0
    np.testing.assert_array_equal(picture("a.png"), mg.image_grid(images, 5, gap=2))


def test_a_grid_is_enlarged(run, flowers):
    sizes = []
    for scale in (1, 3):
        assert run("sample", "flowers", "--scale", scale, "--out", f"{scale}.png")[0] == 0
        sizes.append(Image.open(f"{scale}.png").size)
    assert sizes[1] == (3 * sizes[0][0], 3 * sizes[0][1])
    code, _, err = run("sample", "flowers", "--scale", 2, "--out", "a.npz")
    assert code == 2 and "--scale is of a grid" in err


def test_truncated_samples(run, plain):
    for words, truncation in (((), None), (("--truncation", 0.3), 0.3)):
        assert run("sample", "plain", "--count", 9, *words, "--out", "a.npz")[0] == 0
        expected, _ = plain.images(9, truncation=truncation)
        assert expected.shape == (9, 8, 8, 1)
        with np.load("a.npz") as arrays:
            np.testing.assert_array_equal(arrays["images"], expected)


@pytest.mark.parametrize("name", ["out", "out/", "new/out.d/"])
def test_single_pictures(run, flowers, name):
    code, out, _ = run("sample", "flowers", "--count", 4, "--seed", 7, "--out", name)
    assert code == 0 and out == f"{name}\n"
    names = ["0000-rose.png", "0001-tulip.png", "0002-2.png", "0003-rose.png"]
    assert sorted(os.listdir(name)) == names
    for file, image in zip(names, flowers.images(4, seed=7)[0], strict=True):
        np.testing.assert_array_equal(picture(Path(name) / file), image[..., 0])
    code, _, err = run("sample", "flowers", "--count", 4, "--seed", 8, "--out", name)
    assert code == 2 and "not empty" in err
    np.testing.assert_array_equal(picture(Path(name) / file), image[..., 0])


def test_the_default_picture_never_takes_the_place_of_another(run, plain):
    default = os.path.join("plain", "sample-seed4.png")
    assert run("sample", "plain")[1].strip() == default
    first = Path(default).read_bytes()
    assert run("sample", "plain")[1].strip() == default
    assert run("sample", "plain", "--count", 9)[1].strip() == default[:-4] + "-2.png"
    assert Path(default).read_bytes() == first
    assert run("sample", "plain", "--count", 9, "--out", default)[1].strip() == default
    assert Path(default).read_bytes() == Path(default[:-4] + "-2.png").read_bytes()  # as asked


def test_huge_counts(run, plain):
    for count in (10**7, 10**40):
        code, out, err = run("sample", "plain", "--count", count)
        assert code == 2 and out == "" and "--out FOLDER or --out FILE.npz" in err


def test_generators_of_no_pictures(run, make_gan):
    save_run(Path("signals"), make_gan(flat=True), image_shape=(32, 1, 2))
    code, out, _ = run("sample", "signals", "--out", "a.npz")
    assert code == 0 and np.load("a.npz")["images"].shape == (64, 32, 1, 2)
    for words in ("sample signals", "sample signals --out a", "interpolate signals"):
        code, _, err = run(*words.split())
        assert code == 2 and "no pictures" in err and "--out FILE.npz" in err
    assert sorted(os.listdir("signals")) == ["config.json", "generator.safetensors"]


# interpolate


def test_a_strip(run, flowers):
    words = ("interpolate", "flowers", "--points", 3, "--steps", 2, "--rows", 2)
    code, out, _ = run(*words)
    assert code == 0 and out.strip() == os.path.join("flowers", "interpolation-seed4.png")
    frames = interpolation(flowers, points=3, steps=2, rows=2)
    strips = frames.swapaxes(0, 1).reshape(10, 8, 8, 1)
    found = picture(out.strip())
    assert found.shape == (2 * 8 + 2, 5 * 8 + 4 * 2)
    np.testing.assert_array_equal(found, mg.image_grid(strips, 5, gap=2))
    np.testing.assert_array_equal(found[10:, 20:28], frames[2, 1, ..., 0])
    assert run(*words, "--scale", 3, "--out", "a.png")[0] == 0
    np.testing.assert_array_equal(picture("a.png"), imaging.enlarged(found, 3))
    options = {"--seed": 3, "--class": "tulip", "--truncation": 0.5}
    assert run("interpolate", "flowers", *sum(options.items(), ()), "--out", "a.png")[0] == 0
    frames = interpolation(flowers, seed=3, label=1, truncation=0.5)
    np.testing.assert_array_equal(picture("a.png"), mg.image_grid(frames[:, 0], 17, gap=2))


def test_a_film_of_the_way(run, plain):
    words = ("--points", 3, "--rows", 4, "--fps", 10, "--scale", 2, "--out", "a.gif")
    code, out, _ = run("interpolate", "plain", *words)
    assert code == 0 and out == "a.gif\n"
    found, times = film("a.gif")
    frames = interpolation(plain, points=3, steps=16, rows=4, closed=True)
    expected = [imaging.enlarged(mg.image_grid(each, 2, gap=2), 2) for each in frames]
    np.testing.assert_array_equal(found[..., 0], expected)
    assert times == [100] * 48
    first = Path("a.gif").read_bytes()
    assert run("interpolate", "plain", *words)[0] == 0 and Path("a.gif").read_bytes() == first
    assert run("interpolate", "plain", "--points", 2, "--out", "b.gif")[0] == 0
    assert sum(film("b.gif")[1]) == 2000  # 32 frames, 16 a second


# animate


def samples(folder, numbers, size=(6, 8)):
    """A picture for each number in the folder, each unlike the others."""
    os.makedirs(folder)
    for number in numbers:
        frame = np.random.default_rng(number).integers(0, 256, size).astype(np.uint8)
        imaging.save_png(Path(folder) / f"epoch_{number}.png", frame)


def expected(folder, numbers):
    frames = [picture(Path(folder) / f"epoch_{number}.png") for number in numbers]
    return np.repeat(np.stack(frames)[..., None], 3, axis=-1)


def test_a_film_of_the_training(run, plain):
    samples("plain/samples", [10, 2, 1, 9, 100, 11])
    code, out, _ = run("animate", "plain")
    assert code == 0 and out.strip() == os.path.join("plain", "animation.gif")
    frames, times = film(out.strip())
    np.testing.assert_array_equal(frames, expected("plain/samples", [1, 2, 9, 10, 11, 100]))
    assert sum(times) == 6 * 125 + 2000 and times[-1] >= 2120  # the last is held
    first = Path("plain/animation.gif").read_bytes()
    assert run("animate", "plain")[1] == out
    assert Path("plain/animation.gif").read_bytes() == first
    samples("more", [101])
    os.rename("more/epoch_101.png", "plain/samples/epoch_101.png")
    assert run("animate", "plain")[1].strip() == os.path.join("plain", "animation-2.gif")
    assert Path("plain/animation.gif").read_bytes() == first


def test_what_train_draws_is_animated(run, make_gan, images):
    mg.train(make_gan(epochs=3), images, out="run", progress=False)
    assert run("animate", "run", "--fps", 20, "--scale", 2, "--out", "a.gif")[0] == 0
    frames, times = film("a.gif")
    assert frames.shape == (3, 2 * 78, 2 * 78, 3) and times == [50, 50, 2050]
    for number, frame in enumerate(frames, 1):
        grid = picture(f"run/samples/epoch_{number:04d}.png")
        np.testing.assert_array_equal(frame[..., 0], imaging.enlarged(grid, 2))


def test_a_film_of_any_folder(run):
    samples("pictures", range(20))
    code, out, err = run("animate", "pictures", "--most", 5)
    assert code == 0 and out.strip() == os.path.join("pictures", "animation.gif")
    assert err == "note: 5 of 20 pictures (--most)\n"
    np.testing.assert_array_equal(film(out.strip())[0], expected("pictures", [0, 4, 9, 14, 19]))
    assert run("animate", "pictures/.", "--out", "a.gif")[2] == ""
    np.testing.assert_array_equal(film("a.gif")[0], expected("pictures", range(20)))


def test_pictures_that_make_no_film(run, plain):
    assert "no samples" in run("animate", "plain")[2]
    samples("pictures", [1, 2])
    samples("others", [3], size=(9, 9))
    os.rename("others/epoch_3.png", "pictures/epoch_3.png")
    code, _, err = run("animate", "pictures")
    assert code == 2 and "epoch_3.png is 9 x 9 pixels, but epoch_1.png is 8 x 6" in err
    Path("pictures/epoch_2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, err = run("animate", "pictures")
    assert code == 2 and os.path.join("pictures", "epoch_2.png") in err
    assert sorted(os.listdir("pictures")) == [f"epoch_{i}.png" for i in (1, 2, 3)]
    assert run("animate", "others")[0] == 2  # empty now


@pytest.mark.parametrize(
    "words, told",
    [
        ("sample flowers --out a.gif", ".npz"),
        ("sample flowers --columns 3 --out a.npz", "--columns"),
        ("sample flowers --columns 0", "1 or more"),
        ("sample flowers --truncation 0", "0.01 or more"),
        ("sample flowers --truncation nan --out a", "0.01 or more"),
        ("sample flowers --truncation much", "invalid float"),
        ("sample flowers --out flowers", "not empty"),
        ("interpolate flowers --points 1", "2 points"),
        ("interpolate flowers --points 0", "1 or more"),
        ("interpolate flowers --steps 10000000000000", "million pixels"),
        ("interpolate flowers --steps 10000000000000 --out a.gif", "655 s"),
        ("interpolate flowers --scale 100000", "smaller scale"),
        ("interpolate flowers --scale 100000 --out a.gif", "smaller scale"),
        ("interpolate flowers --class daisy", "no class 'daisy'"),
        ("interpolate flowers --fps 9", "--out FILE.gif"),
        ("interpolate flowers --fps 51 --out a.gif", "1 to 50"),
        ("interpolate flowers --fps 0 --out a.gif", "1 to 50"),
        ("interpolate flowers --fps nan --out a.gif", "1 to 50"),
        ("interpolate flowers --out a.npz", ".png or .gif"),
        ("interpolate flowers --out a", ".png or .gif"),
        ("interpolate nowhere", "not a run"),
        ("animate nowhere", "not a folder"),
        ("animate flowers", "no samples"),
        ("animate .", "no numbered PNG files"),
        ("animate flowers/config.json", "not a folder"),
        ("animate flowers --out a.mp4", ".gif"),
        ("animate flowers --most many", "whole number"),
        ("animate", "required"),
        ("interpolate", "required"),
    ],
)
def test_a_wrong_command_line_exits_with_2(run, flowers, words, told):
    code, out, err = run(*words.split())
    assert code == 2 and out == "" and told in err
    assert os.listdir() == ["flowers"] and len(os.listdir("flowers")) == 2


def test_what_cannot_be_written_exits_with_1(run, plain, full_disk):
    samples("pictures", [1, 2])
    Path("a.gif").write_bytes(b"old")
    full_disk()
    for words in (
        ("sample", "plain", "--out", "no/a.png"),
        ("sample", "plain", "--out", "a.npz"),
        ("interpolate", "plain", "--out", "a.gif"),
        ("animate", "pictures", "--out", "a.gif"),
    ):
        code, out, err = run(*words)
        assert code == 1 and out == "" and "cannot write" in err
    assert Path("a.gif").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["a.gif", "pictures", "plain"]


def test_the_help_is_quick(run):
    for command in ("sample", "interpolate", "animate"):
        code, out, _ = run(command, "--help")
        assert code == 0 and f"usage: minigan {command}" in out
        assert max(map(len, io.StringIO(out))) <= 81
