"""Integer arithmetic of the convolutions, against tables and brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.kernels.geometry import (
    Axis,
    Windows,
    axis,
    phases,
    reach,
    transposed_axis,
    windows,
)

# size, kernel, stride -> out, pixels before, pixels after: TensorFlow's padding="same"
SAME = [
    (5, 2, 2, 3, 0, 1),
    (28, 3, 2, 14, 0, 1),
    (28, 4, 2, 14, 1, 1),
    (28, 5, 2, 14, 1, 2),
    (28, 7, 1, 28, 3, 3),
    (7, 3, 2, 4, 1, 1),
    (5, 3, 1, 5, 1, 1),
    (5, 4, 1, 5, 1, 2),
    (6, 1, 2, 3, 0, 0),
    (10, 5, 3, 4, 2, 2),
    (11, 5, 3, 4, 1, 2),
    (1, 3, 2, 1, 1, 1),
    (1, 4, 1, 1, 1, 2),
    (13, 2, 5, 3, 0, 0),
    (80, 5, 2, 40, 1, 2),
]


@pytest.mark.parametrize("size, kernel, stride, out, before, after", SAME)
def test_same_pads_as_tensorflow(size, kernel, stride, out, before, after):
    found = axis(size, kernel, stride, "same")
    assert found == Axis(size, out, kernel, stride, before)
    last = (out - 1) * stride + kernel - before  # one past the last pixel that is read
    assert max(last - size, 0) == after


@pytest.mark.parametrize(
    "size, kernel, stride, out", [(5, 2, 2, 2), (28, 3, 2, 13), (7, 7, 3, 1), (9, 2, 4, 2)]
)
def test_valid_counts_whole_windows(size, kernel, stride, out):
    assert axis(size, kernel, stride, "valid") == Axis(size, out, kernel, stride, 0)


def test_a_kernel_that_does_not_fit_names_the_remedy():
    with pytest.raises(ValueError, match=r"kernel of 5 does not fit into 4 pixels.*at most 4"):
        axis(4, 5, 1, "valid")


@pytest.mark.parametrize(
    "small, kernel, stride, padding, size, before",
    [
        (7, 4, 2, "same", 14, 1),
        (7, 5, 2, "same", 14, 1),
        (7, 3, 2, "same", 14, 0),
        (5, 5, 1, "same", 5, 2),
        (3, 2, 3, "same", 9, 0),
        (1, 4, 1, "valid", 4, 0),
        (3, 4, 2, "valid", 8, 0),
        (3, 2, 3, "valid", 9, 0),
        (3, 1, 2, "valid", 6, 0),
    ],
)
def test_transposed_axis(small, kernel, stride, padding, size, before):
    found = transposed_axis(small, kernel, stride, padding)
    assert found == Axis(size, small, kernel, stride, before)


axes = st.builds(
    lambda size, out, kernel, stride, before: Axis(size, out, kernel, stride, before % kernel),
    *(st.integers(1, n) for n in (9, 6, 5, 4)),
    st.integers(0, 4),
)


def pairs(a):
    """Every (window, tap, pixel) of an axis with the pixel inside, by the definition."""
    return {
        (o, t, a.stride * o + t - a.before)
        for o in range(a.out)
        for t in range(a.kernel)
        if 0 <= a.stride * o + t - a.before < a.size
    }


@given(axes)
def test_windows_read_the_pairs_of_the_definition(a):
    w = windows(a)
    found = {(o, t, w.start + w.step * o + t) for o in range(w.number) for t in range(w.taps)}
    assert {(o, t, i) for o, t, i in found if 0 <= i < a.size} == pairs(a)


@given(axes)
def test_phases_cover_every_pixel_once_and_read_the_same_pairs(a):
    pixels, found = [], set()
    for first, tap, w in phases(a):
        own = list(range(first, a.size, a.stride))
        assert len(own) == w.number > 0
        pixels += own
        taps = list(range(tap, a.kernel, a.stride))
        assert len(taps) == w.taps
        for j, i in enumerate(own):
            for m in range(w.taps):
                found.add((w.start + w.step * j + m, taps[::-1][m], i))
    assert sorted(pixels) == list(range(a.size))
    assert {(o, t, i) for o, t, i in found if 0 <= o < a.out} == pairs(a)


@given(axes.map(lambda a: a._replace(stride=1)))
def test_flipped_exchanges_the_sides_and_reverses_the_taps(a):
    flipped = a.flipped()
    assert {(i, a.kernel - 1 - t, o) for o, t, i in pairs(a)} == pairs(flipped)
    assert flipped.flipped() == a


def test_only_stride_one_is_flipped():
    with pytest.raises(ValueError, match="stride of 1"):
        Axis(4, 2, 3, 2, 0).flipped()


@given(st.integers(-3, 3), st.integers(1, 3), st.integers(2, 6), st.integers(1, 4), st.data())
def test_part_of_the_windows(start, step, count, taps, data):
    w = Windows(start, step, count, taps)
    starts = [start + step * j for j in range(count)]
    assert w.stop == starts[-1] + taps
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first + 1, count))
    part = w.part(first, last)
    assert [part.start + part.step * j for j in range(part.number)] == starts[first:last]
    assert (part.taps, part.stop) == (taps, starts[last - 1] + taps)


@given(axes)
def test_reach_is_what_the_windows_read_between_them(a):
    found = [p.windows for p in phases(a)] + [windows(a)]
    pixels = [
        w.start + w.step * j + t for w in found for j in range(w.number) for t in range(w.taps)
    ]
    start, stop = reach(found)
    # windows without taps have a place, but read nothing
    assert start <= min(pixels) and max(pixels) < stop
    if all(w.taps for w in found):
        assert (start, stop) == (min(pixels), max(pixels) + 1)
    for w in found:
        moved = w.seen_from(start)
        assert (moved.start, moved.stop) == (w.start - start, w.stop - start)
        assert moved[1:] == w[1:] and moved.start >= 0
