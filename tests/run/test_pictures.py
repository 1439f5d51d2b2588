"""minigan.run.pictures: known pixels in, known pixels out; everything else is refused."""

from __future__ import annotations

import io
import os
import struct
import sys
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from minigan.run import pictures
from minigan.run.pictures import Form, decode


def exact(width, height, channels=3):
    """The form that changes no pixel of a picture of this size."""
    return Form.of((height, width), channels, "crop")


def write(path, image, **options):
    image.save(path, **options)
    return str(path)


def read(tmp_path, image, name, channels=3, **options):
    path = write(tmp_path / name, image, **options)
    return decode(path, exact(*image.size, channels))


def png(width, height, rows, depth=8, colour=2):
    """A PNG with this header and these rows of bytes, which Pillow could not write."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


@pytest.fixture
def smooth():
    """A picture that JPEG keeps to a few levels, different at each corner."""
    y, x = np.mgrid[:48, :80]
    return np.stack([3 * x, 5 * y, 255 - 2 * x - y], axis=-1).astype(np.uint8)


def test_colours_and_greys_come_through_exactly(tmp_path, noise):
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(noise), "a.png"), noise)
    grey = noise[..., :1]
    image = Image.fromarray(grey[..., 0])
    np.testing.assert_array_equal(read(tmp_path, image, "b.png", channels=1), grey)
    np.testing.assert_array_equal(read(tmp_path, image, "b.bmp"), grey.repeat(3, axis=2))


# what a viewer does to the stored array, by the EXIF tag (Exif 2.32, 4.6.4 A, Orientation)
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_exif_orientation(tmp_path, smooth, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "a.webp" else {"quality": 95} if "jpg" in name else {}
    path = write(tmp_path / name, Image.fromarray(smooth), exif=exif, **options)
    expected = UPRIGHT[orientation](smooth)
    found = decode(path, exact(*expected.shape[1::-1]))
    assert np.abs(found.astype(int) - expected).max() <= (12 if name == "a.jpg" else 0)


def test_sixteen_bit_grey_is_turned_upright_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.arange(6, dtype=np.uint16).reshape(2, 3) * 256
    path = write(tmp_path / "a.png", Image.fromarray(stored), exif=exif)
    np.testing.assert_array_equal(decode(path, exact(2, 3, 1))[..., 0], np.rot90(stored, -1) // 256)


def test_garbled_exif_turns_nothing(tmp_path, smooth):
    path = write(tmp_path / "a.jpg", Image.fromarray(smooth), exif=b"Exif\0\0garbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's
        found = decode(path, exact(80, 48))
    assert np.abs(found.astype(int) - smooth).max() < 30


def palette(transparency=None):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def pixels(mode, *values):
    image = Image.new(mode, (len(values), 1))
    image.putdata(values)
    return image


HALF = 255 - 128 / 255 * (255 - 100)  # 100, half transparent, on white


@pytest.mark.parametrize(
    "image, name, expected",
    [
        (pixels("1", 0, 255), "a.png", [(0,) * 3, (255,) * 3]),
        (pixels("1", 0, 255), "a.pbm", [(0,) * 3, (255,) * 3]),
        (pixels("L", 0, 77), "a.png", [(0,) * 3, (77,) * 3]),
        (pixels("LA", (0, 0), (0, 255), (100, 128)), "a.png", [(255,) * 3, (0,) * 3, (HALF,) * 3]),
        (
            pixels("RGBA", (1, 2, 3, 255), (1, 2, 3, 0), (100, 100, 100, 128)),
            "a.png",
            [(1, 2, 3), (255,) * 3, (HALF,) * 3],
        ),
        (pixels("RGBA", (9, 8, 7, 0), (9, 8, 7, 255)), "a.tif", [(255,) * 3, (9, 8, 7)]),
        (palette(), "a.png", [(10, 20, 30), (200, 100, 50)]),
        (palette(), "a.bmp", [(10, 20, 30), (200, 100, 50)]),
        (palette(0), "a.png", [(255,) * 3, (200, 100, 50)]),
        (palette(1), "a.gif", [(10, 20, 30), (255,) * 3]),
        # C, M, Y, K of all the ink: naive mixing, R = (255 - C)(255 - K) / 255
        (pixels("CMYK", (255, 0, 0, 0), (0, 0, 255, 51)), "a.tif", [(0, 255, 255), (204, 204, 0)]),
    ],
)
def test_modes(tmp_path, image, name, expected):
    found = read(tmp_path, image, name)
    np.testing.assert_allclose(found[0], expected, atol=0.51)


@pytest.mark.parametrize("mode, one", [("L", 1), ("I;16", 256)])
def test_a_transparent_grey(tmp_path, mode, one):
    image = Image.new(mode, (2, 1), 7 * one)
    image.putpixel((1, 0), 9 * one)
    found = read(tmp_path, image, "a.png", transparency=9 * one)
    np.testing.assert_array_equal(found[0], [(7,) * 3, (255,) * 3])


def test_heic_is_named(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    with pytest.raises(ValueError, match="HEIC, which cannot be read here; convert it to JPEG"):
        pictures.decode(tmp_path / "IMG_1.HEIC")


def test_a_transparent_colour(tmp_path):
    image = pixels("RGB", (1, 2, 3), (3, 2, 1))
    found = read(tmp_path, image, "a.png", transparency=(3, 2, 1))
    np.testing.assert_array_equal(found[0], [(1, 2, 3), (255, 255, 255)])


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB", "YCbCr"])
def test_modes_of_jpeg(tmp_path, smooth, mode):
    """CMYK is stored inverted, as Adobe does it: Pillow writes and marks it so."""
    image = Image.fromarray(smooth).convert(mode)
    found = read(tmp_path, image, "a.jpg", quality=100, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as stored:
        assert stored.mode == (mode if mode != "YCbCr" else "RGB")
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(found - expected).mean() < 2


def test_sixteen_bits_are_divided_not_clipped(tmp_path):
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    (tmp_path / "a.pgm").write_bytes(b"P5 5 1 65535\n" + values.astype(">u2").tobytes())
    for name in ("a.png", "a.tif"):
        write(tmp_path / name, Image.fromarray(values))
    for name in ("a.png", "a.tif", "a.pgm"):
        found = decode(str(tmp_path / name), exact(5, 1, 1))
        assert found.ravel().tolist() == [0, 0, 1, 128, 255], name
    big = Image.fromarray(values.astype(">u2"))
    assert big.mode == "I;16B"
    found = read(tmp_path, big, "b.tif", channels=1)
    assert found.ravel().tolist() == [0, 0, 1, 128, 255]


def test_sixteen_bit_colours(tmp_path):
    row = struct.pack(">6H", 0x1234, 0xABCD, 0xFFFF, 0, 255, 256)
    (tmp_path / "a.png").write_bytes(png(2, 1, [row], depth=16))
    found = decode(str(tmp_path / "a.png"), exact(2, 1))
    assert found.ravel().tolist() == [0x12, 0xAB, 0xFF, 0, 0, 1]


@pytest.mark.parametrize(
    "image, options",
    [
        (Image.new("F", (2, 2), 0.5), {}),
        (Image.new("I", (2, 2), 100_000), {}),
        (Image.fromarray(np.ones((2, 2), np.uint16)), {"tiffinfo": {262: 0}}),  # white is 0
    ],
)
def test_pixels_of_an_unknown_range_are_refused(tmp_path, image, options):
    path = write(tmp_path / "a.tif", image, **options)
    with pytest.raises(ValueError, match="unknown range.*8 bits"):
        decode(path, exact(2, 2))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_frame_of_an_animation(tmp_path, kind):
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    found = read(tmp_path, red, "a.jpg", format=kind, save_all=True, append_images=[blue])
    assert np.abs(found.astype(int) - [255, 0, 0]).max() < 3


def test_crop_takes_the_middle(tmp_path):
    across = np.broadcast_to(np.arange(100, dtype=np.uint8), (20, 100))
    path = write(tmp_path / "a.png", Image.fromarray(across))
    found = decode(path, Form.of(20, 1, "crop"))[..., 0]
    np.testing.assert_array_equal(found, across[:, 40:60])
    path = write(tmp_path / "b.png", Image.fromarray(across.T))
    found = decode(path, Form.of((40, 20), 1, "crop"))[..., 0]
    np.testing.assert_array_equal(found, across.T[30:70])


def test_pad_centres_on_black(tmp_path):
    white = Image.new("RGB", (100, 20), "white")
    found = decode(write(tmp_path / "a.png", white), Form.of(50, 3, "pad"))
    assert (found[20:30] == 255).all() and not found[:20].any() and not found[30:].any()
    found = decode(write(tmp_path / "b.png", white.rotate(90, expand=True)), Form.of(50, 1, "pad"))
    assert (found[:, 20:30] == 255).all() and found.mean() == 255 / 5


def test_stretch_keeps_all_of_it(tmp_path):
    stripes = np.repeat(np.array([[0, 100, 200, 250]], np.uint8), 30, axis=1).repeat(10, axis=0)
    path = write(tmp_path / "a.png", Image.fromarray(stripes))
    found = decode(path, Form.of(40, 1, "stretch"))[..., 0]
    assert found[:, 5::10].tolist() == [[0, 100, 200, 250]] * 40


def test_fine_patterns_do_not_alias(tmp_path):
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    path = write(tmp_path / "a.png", Image.fromarray(board))
    assert np.abs(decode(path, Form.of(8, 1, "crop")).astype(int) - 127.5).max() < 3


def test_giants_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    path = write(tmp_path / "a.png", Image.new("RGB", (20, 20)))
    inside, most = [], []
    apply = Form.apply

    def watched(self, image):
        inside.append(0)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return apply(self, image)

    monkeypatch.setattr(Form, "apply", watched)
    for giant, alone in ((399, True), (400, False)):
        monkeypatch.setattr(pictures, "_GIANT", giant)
        most.clear()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda k: decode(path, exact(20, 20)), range(8)))
        assert (max(most) == 1) is alone


def test_small_pictures_are_enlarged(tmp_path):
    path = write(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    for fit in pictures.FITS:
        assert (decode(path, Form.of((9, 5), 3, fit))[4, 2] == [1, 2, 3]).all()


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path, monkeypatch):
    image = Image.effect_mandelbrot((1600, 1200), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    path = write(tmp_path / "a.jpg", image, quality=95)
    sizes = []
    apply = Form.apply
    monkeypatch.setattr(Form, "apply", lambda self, im: sizes.append(im.size) or apply(self, im))
    found = decode(path, Form.of(100, 3, "crop")).astype(int)
    assert sizes == [(400, 300)]  # a quarter; an eighth would be less than twice 100
    with Image.open(path) as whole:
        expected = np.asarray(ImageOps.fit(whole, (100, 100), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(found - expected).mean() < 2


FORMATS = [
    ("a.jpg", {}),
    ("a.jpg", {"progressive": True}),
    ("a.png", {}),
    ("a.gif", {}),
    ("a.bmp", {}),
    ("a.webp", {}),
    ("a.tif", {}),
    ("a.tif", {"compression": "tiff_lzw"}),
    ("a.ppm", {}),
    ("a.jp2", {}),
    *([("a.avif", {})] if "AVIF" in pictures.formats() else []),
]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name, options", FORMATS)
def test_truncated_files_are_refused(tmp_path, noise, name, options):
    path = write(tmp_path / name, Image.fromarray(noise), **options)
    assert decode(path, Form.of(16, 3, "crop")).shape == (16, 16, 3)
    whole = (tmp_path / name).read_bytes()
    for part in (0.02, 0.3, 0.6, 0.9, 0.99):
        (tmp_path / name).write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(Exception) as caught:
            decode(path, Form.of(16, 3, "crop"))
        why = pictures.reason(caught.value)
        assert why and len(why) <= 120 and "\n" not in why and "0x" not in why


@pytest.mark.parametrize("name, options", FORMATS)
def test_garbled_files_give_a_picture_or_an_error(tmp_path, noise, name, options):
    path = write(tmp_path / name, Image.fromarray(noise), **options)
    whole = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(40):
            garbled = whole.copy()
            garbled[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4)
            (tmp_path / name).write_bytes(garbled.tobytes())
            try:
                assert decode(path, Form.of(8, 3, "pad")).shape == (8, 8, 3)
            except AssertionError:
                raise
            except Exception as error:
                assert pictures.reason(error)


@pytest.mark.parametrize(
    "data, why",
    [
        (b"", "an empty file"),
        (b"just some text", "not a picture of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture of a known format"),
        (png(9000, 9000, [b"\0"], depth=1, colour=0), "9000x9000, more than 80,000,000 pixels"),
        (png(60000, 60000, [b"\0"], depth=1, colour=0), "decompression bomb"),
    ],
)
def test_foreign_and_giant_files(tmp_path, data, why):
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(Exception) as caught:
        decode(str(tmp_path / "a.jpg"), exact(8, 8))
    assert why in pictures.reason(caught.value)


def test_a_file_longer_than_any_picture_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_PIXELS", 100)
    monkeypatch.setattr(Image, "open", None)
    (tmp_path / "a.webp").write_bytes(b"RIFF" + bytes(1000))
    with pytest.raises(ValueError, match="1,004 bytes, more than a picture of 100 pixels needs"):
        decode(str(tmp_path / "a.webp"), exact(8, 8))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_what_is_no_file_is_not_opened(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")
    names = ["a.png"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "b.png")
        names.append("b.png")
    for name in names:
        with pytest.raises(ValueError, match="not a regular file, or a link to nothing"):
            decode(str(tmp_path / name), exact(8, 8))


def test_reasons_are_short():
    error = PermissionError(13, "Permission denied", "/a/long/path")
    assert pictures.reason(error) == "Permission denied"
    assert pictures.reason(KeyError()) == "KeyError"
    assert pictures.reason(ValueError("one\ntwo")) == "one"
    assert len(pictures.reason(ValueError("x" * 1000))) == 120
    buffer = io.BytesIO(b"x")
    try:
        Image.open(buffer)
    except OSError as error:
        assert "0x" not in pictures.reason(error)
