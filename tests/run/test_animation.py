"""minigan.run.animation: numbered pictures, and films as a viewer sees them."""

from __future__ import annotations

import io
import random
import struct
import zlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image, ImageSequence

from minigan.run import animation, imaging


def shown(gif):
    """What a viewer shows: (frame (H, W, 3), milliseconds), one after the other."""
    with Image.open(io.BytesIO(gif)) as film:
        assert film.format == "GIF" and film.info["loop"] == 0
        return [
            (np.asarray(frame.convert("RGB")), frame.info["duration"])
            for frame in ImageSequence.Iterator(film)
        ]


def coloured(frame):
    return frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_files_are_in_the_order_of_their_numbers(tmp_path):
    touch(tmp_path, *("epoch_10.png", "epoch_2.png", "epoch_0001.png", "epoch_100.PNG"))
    names = [path.name for path in animation.numbered(tmp_path)]
    assert names == ["epoch_0001.png", "epoch_2.png", "epoch_10.png", "epoch_100.PNG"]
    touch(tmp_path, "a1b10.png", "a1b9.png", "step-000003.png", "3.png")
    names = [path.name for path in animation.numbered(tmp_path)]
    assert names[:7] == ["epoch_0001.png", "a1b9.png", "a1b10.png", "epoch_2.png", "3.png",
                         "step-000003.png", "epoch_10.png"]  # fmt: skip


def test_what_is_no_numbered_picture_is_left_out(tmp_path):
    touch(tmp_path, "7.png", "curves.png", "8.jpg", ".9.png", "10.png.tmp", "11", "²b.png")
    (tmp_path / "12.png").mkdir()
    assert [path.name for path in animation.numbered(tmp_path)] == ["7.png"]
    (tmp_path / "7.png").unlink()
    with pytest.raises(ValueError, match="no numbered PNG files"):
        animation.numbered(tmp_path)


@given(st.lists(st.integers(0, 10**30), unique=True, min_size=1), st.randoms())
def test_any_numbers_are_sorted(numbers, shuffle):
    class Folder:
        def iterdir(self):
            return [File(f"epoch_{n}.png") for n in shuffle.sample(numbers, len(numbers))]

    found = [int(path.stem[6:]) for path in animation.numbered(Folder())]
    assert found == sorted(numbers)


class File(type(animation.Path())):
    def is_file(self):
        return True


@given(st.integers(1, 500), st.integers(2, 300))
def test_thinned_is_even_and_has_both_ends(count, most):
    kept = animation.thinned(list(range(count)), most)
    assert len(kept) == min(count, most)
    assert kept[0] == 0 and kept[-1] == count - 1
    gaps = np.diff(kept)
    assert count == 1 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_one_picture_is_no_thinning():
    with pytest.raises(ValueError, match="at most 1 pictures is no film: let it be 2 or more"):
        animation.thinned([1, 2, 3], 1)


@given(st.integers(1, 300), st.floats(1, 50), st.sampled_from([0.0, 2.0]))
def test_durations_keep_time(count, fps, hold):
    if count / fps + hold > 655:
        with pytest.raises(ValueError, match="longer than the 655 s"):
            animation.durations(count, fps, hold)
        return
    each = animation.durations(count, fps, hold)
    assert len(each) == count and all(ms % 10 == 0 for ms in each)
    assert abs(sum(each) - 1000 * (count / fps + hold)) <= 5 + 1e-6
    assert all(abs(ms - 1000 / fps) <= 10 + 1e-6 for ms in each[:-1])
    assert abs(each[-1] - 1000 * (1 / fps + hold)) <= 10 + 1e-6


@pytest.mark.parametrize("fps", [0, -1, 0.99, 50.1, float("nan"), float("inf")])
def test_speeds_that_no_browser_shows(fps):
    with pytest.raises(ValueError, match="1 to 50"):
        animation.durations(3, fps)
    with pytest.raises(ValueError, match="655"):
        animation.durations(10**12, 50)  # without a list of that length


FRAMES = {
    "noise": lambda rng, i: rng.integers(0, 256, (20, 30)),
    "grey, with a few changes": lambda rng, i: np.where(
        rng.random((20, 30)) < 0.02,
        rng.integers(0, 256, (20, 30)),
        np.arange(600).reshape(20, 30) % 256,
    ),
    "256 colours": lambda rng, i: rng.integers(0, 256, (256, 3))[
        rng.permutation(600).reshape(20, 30) % 256
    ],
    "grey, then colours": lambda rng, i: rng.integers(0, 256, (100, 3 if i % 2 else 1))[
        rng.integers(0, 100, (20, 30))
    ].squeeze(),
    "one pixel": lambda rng, i: np.full((1, 1), i),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_come_out_as_they_went_in(kind):
    rng = np.random.default_rng(0)
    frames = [FRAMES[kind](rng, i).astype(np.uint8) for i in range(60)]
    times = [20 + 10 * i for i in range(60)]
    gif = animation.gif(iter(frames), times)
    found = shown(gif)
    assert [ms for _, ms in found] == times
    for (frame, _), expected in zip(found, frames, strict=True):
        np.testing.assert_array_equal(frame, coloured(expected))
    assert animation.gif(frames, times) == gif


@settings(max_examples=30)
@given(st.integers(1, 256), st.integers(0, 10**6))
def test_256_colours_are_exact_however_rare(count, seed):
    rng = np.random.default_rng(seed)
    shares = rng.random(count) ** 20
    chosen = rng.choice(count, (40, 40), p=shares / shares.sum())
    frame = rng.integers(0, 256, (count, 3)).astype(np.uint8)[chosen]
    np.testing.assert_array_equal(shown(animation.gif([frame], [100]))[0][0], frame)


def test_more_colours_come_close():
    y, x = np.mgrid[:80, :80] / 79
    frame = (255 * np.stack([x, y, x * y], axis=-1)).astype(np.uint8)  # 6,400 pixels, all unequal
    found = shown(animation.gif([frame], [100]))[0][0].astype(float)
    # 256 boxes share the square of 80 x 80: 5 x 5 pixels each, 16 levels wide, 8 from the middle
    assert np.sqrt(((found - frame) ** 2).mean()) < 8


def test_equal_neighbours_last_as_long_together():
    one, two = np.zeros((4, 4), np.uint8), np.full((4, 4), 9, np.uint8)
    found = shown(animation.gif([one, one, two, one, one], [100, 110, 120, 130, 140]))
    assert [(frame[0, 0, 0], ms) for frame, ms in found] == [(0, 210), (9, 120), (0, 270)]
    assert [ms for _, ms in shown(animation.gif([one] * 655, [1000] * 655))] == [655_000]


def test_each_pixel_is_enlarged():
    frame = np.arange(6, dtype=np.uint8).reshape(2, 3)
    found = shown(animation.gif([frame], [100], scale=4))[0][0]
    np.testing.assert_array_equal(found, coloured(imaging.enlarged(frame, 4)))


def test_a_film_is_bounded_and_holds_a_frame_at_a_time():
    made = []

    def frames():
        for i in range(10**6):
            made.append(i)
            yield np.zeros((10, 20), np.uint8)

    with pytest.raises(ValueError, match="the film would have 200 million pixels"):
        animation.gif(frames(), range(10**6))
    with pytest.raises(ValueError, match="smaller scale"):
        animation.gif(frames(), range(2), scale=10**5)
    assert made == [0, 0]


# reading


def save(path, array, mode=None):
    Image.fromarray(array).convert(mode).save(path) if mode else Image.fromarray(array).save(path)


def read(*paths):
    return list(animation.pictures(paths))


def test_every_kind_of_png(tmp_path):
    grey = np.array([[0, 255, 128], [3, 200, 77]], np.uint8)
    for mode in ("L", "RGB", "P", "RGBA", "LA"):
        save(tmp_path / "a.png", grey, mode)
        np.testing.assert_array_equal(read(tmp_path / "a.png"), [coloured(grey)])
    save(tmp_path / "a.png", grey > 100)
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], coloured((grey > 100) * 255))
    save(tmp_path / "a.png", grey.astype(np.uint16) * 257)  # 16 bits
    np.testing.assert_array_equal(read(tmp_path / "a.png"), [coloured(grey)])
    rgba = np.random.default_rng(0).integers(0, 256, (2, 3, 4)).astype(np.uint8)
    rgba[0, 0, 3], rgba[0, 1, 3] = 0, 255
    save(tmp_path / "a.png", rgba)
    found = read(tmp_path / "a.png")[0]
    assert (found[0, 0] == 255).all() and (found[0, 1] == rgba[0, 1, :3]).all()
    share = rgba[..., 3:] / 255
    np.testing.assert_allclose(found, rgba[..., :3] * share + 255 * (1 - share), atol=1)  # on white


def test_pictures_of_another_size_are_named(tmp_path):
    save(tmp_path / "1.png", np.zeros((4, 6), np.uint8))
    save(tmp_path / "2.png", np.zeros((4, 6, 3), np.uint8))
    save(tmp_path / "3.png", np.zeros((6, 4), np.uint8))
    with pytest.raises(ValueError, match=r"3\.png is 4 x 6 pixels, but 1\.png is 6 x 4"):
        read(*(tmp_path / f"{i}.png" for i in (1, 2, 3)))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, pixels):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    end = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_files_that_cannot_be_read_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    whole = imaging.png(noise)
    shuffled = bytearray(whole)
    random.Random(0).shuffle(shuffled)
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 255
    for data, words in [
        (b"", "an empty file"),
        (b"hello", "not a picture"),
        (bytes(shuffled), "not a picture"),
        (whole[:-1000], "cannot be read: "),
        (whole[:30], "cannot be read: "),
        (bytes(broken), "cannot be read: "),
        (png(4, 4, b"not deflated"), "cannot be read: "),
        (png(4, 4, zlib.compress(b"\0")), "cannot be read: "),
        (png(0, 4, zlib.compress(b"\0")), "cannot be read: "),
        (png(10_001, 10_000, zlib.compress(b"\0")), "80,000,000 pixels"),
        (png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0")), "cannot be read: "),
    ]:
        (tmp_path / "3.png").write_bytes(data)
        with pytest.raises(ValueError, match="3.png") as caught:
            read(tmp_path / "3.png")
        assert words in str(caught.value)
    with pytest.raises(ValueError, match="cannot be read: not a regular file"):
        read(tmp_path / "4.png")


@settings(max_examples=60)
@given(st.data())
def test_damaged_files_give_one_kind_of_error(data):
    import tempfile
    from pathlib import Path

    whole = bytearray(imaging.png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1.png"
        path.write_bytes(whole)
        try:
            assert read(path)[0].dtype == np.uint8
        except ValueError as error:
            assert "1.png" in str(error)
