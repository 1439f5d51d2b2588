"""minigan.run.interpolation: the way between latents."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import minigan as mg
from minigan.run.interpolation import interpolation, lerp, path, slerp
from tests.run.run_helpers import save_run

VECTORS = st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3)
TIMES = st.floats(0, 1)


def length(v):
    return np.linalg.norm(v, axis=-1)


@pytest.fixture
def saved(make_gan, tmp_path):
    def make(classes=None, **options):
        gan = make_gan(classes=classes, seed=2, **options)
        return mg.SavedGenerator(save_run(tmp_path / "run", gan))

    return make


@pytest.mark.parametrize("t", [0, 0.1, 0.5, 0.9, 1])
def test_slerp_is_its_formula(t):
    a, b = np.random.default_rng(0).standard_normal((2, 5, 7))
    w = np.arccos((a * b).sum(-1) / (length(a) * length(b)))[:, None]
    na, nb = length(a)[:, None], length(b)[:, None]
    expected = ((1 - t) * na + t * nb) * (
        (np.sin((1 - t) * w) * a / na + np.sin(t * w) * b / nb) / np.sin(w)
    )
    np.testing.assert_allclose(slerp(a, b, t), expected, rtol=0, atol=1e-14)


def test_slerp_of_unit_vectors_turns_evenly():
    """A quarter turn in the plane of the first two axes: sine and cosine."""
    a, b = np.eye(4)[:2]
    for t in np.linspace(0, 1, 7):
        angle = t * np.pi / 2
        np.testing.assert_allclose(slerp(a, b, t), [np.cos(angle), np.sin(angle), 0, 0], atol=1e-15)


@given(VECTORS, VECTORS, TIMES)
def test_slerp_ends_where_it_should_and_keeps_its_length(a, b, t):
    a, b = np.array(a, np.float32), np.array(b, np.float32)
    assert np.array_equal(slerp(a, b, 0).astype(np.float32), a)
    assert np.array_equal(slerp(a, b, 1).astype(np.float32), b)
    np.testing.assert_allclose(slerp(a, b, t), slerp(b, a, 1 - t), rtol=0, atol=1e-4)
    na, nb = (length(v.astype(float)) for v in (a, b))
    if length(np.cross(a.astype(float), b)) > 1e-5 * na * nb > 0:
        np.testing.assert_allclose(length(slerp(a, b, t)), (1 - t) * na + t * nb, rtol=1e-9)


@pytest.mark.parametrize(
    "a, b",
    [([3.0, 4], [6.0, 8]), ([3.0, 4], [-3.0, -4]), ([3.0, 4], [-30.0, -40]), ([0.0, 0], [3.0, 4]),
     ([3.0, 4], [0.0, 0]), ([0.0, 0], [0.0, 0]), ([1.5], [-2.0]), ([1.5], [2.0])],
)  # fmt: skip
def test_directions_that_span_no_plane_take_the_straight_line(a, b):
    for t in (0, 0.25, 0.5, 1):
        np.testing.assert_array_equal(slerp(a, b, t), lerp(a, b, t))
        np.testing.assert_allclose(lerp(a, b, t), (1 - t) * np.array(a) + t * np.array(b))


def test_nearly_parallel_and_nearly_opposite():
    a = np.array([1.0, 0, 0])
    for b in ([1, 1e-7, 0], [-1, 1e-6, 0]):
        for t in np.linspace(0, 1, 9):
            z = slerp(a, np.array(b), t)
            assert abs(length(z) - 1) < 1e-9
            angle = t * np.arctan2(b[1], b[0])
            np.testing.assert_allclose(z, [np.cos(angle), np.sin(angle), 0], atol=1e-9)


def test_rows_are_interpolated_by_themselves():
    a, b = np.random.default_rng(1).standard_normal((2, 4, 6))
    a[2] = 0
    b[3] = -a[3]
    rows = [slerp(a[i], b[i], 0.3) for i in range(4)]
    np.testing.assert_array_equal(slerp(a, b, 0.3), rows)


def test_a_path_goes_through_its_points():
    points = np.random.default_rng(2).standard_normal((3, 2, 5)).astype(np.float32)
    way = path(points, 4)
    assert way.shape == (9, 2, 5) and way.dtype == np.float32
    np.testing.assert_array_equal(way[::4], points)
    np.testing.assert_array_equal(way[5], slerp(points[1], points[2], 0.25).astype(np.float32))
    loop = path(points, 4, closed=True)
    np.testing.assert_array_equal(loop[:9], way)
    assert loop.shape == (12, 2, 5)  # the first point comes once
    np.testing.assert_array_equal(loop[9], slerp(points[2], points[0], 0.25).astype(np.float32))
    straight = path(points, 2, lerp)
    np.testing.assert_allclose(straight[1], (points[0] + points[1]) / 2, rtol=1e-6)
    for wrong in ((points[:1], 4), (points, 0)):
        with pytest.raises(ValueError, match="2 points or more and 1 step or more"):
            path(*wrong)


def test_the_points_are_the_samples_of_the_seed(saved):
    generator = saved()
    frames = interpolation(generator, points=3, steps=4, rows=2, seed=9)
    assert frames.shape == (9, 2, 8, 8, 1) and frames.dtype == np.uint8
    samples, _ = generator.images(6, seed=9)
    ends = frames[::4].swapaxes(0, 1).reshape(6, 8, 8, 1)  # (points, rows) -> (rows * points)
    close(ends, samples)
    between = generator.noise(6, mg.random.Key(9, "sample"))
    z = slerp(between[3], between[4], 0.5)[None].astype(np.float32)  # of the second row
    close(frames[2, 1], generator.draw(z)[0])
    default = interpolation(generator)
    assert default.shape == (17, 1, 8, 8, 1)
    close(default[0, 0], generator.images(1)[0][0])  # of the run's seed
    np.testing.assert_array_equal(interpolation(generator), default)


def close(a, b):
    """Equal images; another size of batch may round a pixel to its neighbour."""
    assert np.abs(a.astype(int) - b).max() <= 1


def test_neighbours_are_closer_than_points(saved):
    frames = interpolation(saved(), points=2, steps=32)[:, 0].astype(float)
    moves = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert len(moves) == 32 and 0 < moves.max() < np.abs(frames[0] - frames[-1]).mean() / 8


def test_a_loop_closes(saved):
    frames = interpolation(saved(), points=3, steps=16, closed=True)[:, 0].astype(float)
    assert len(frames) == 48
    moves = np.abs(frames - np.roll(frames, 1, axis=0)).mean(axis=(1, 2, 3))
    assert moves[0] < 2 * moves[1:].max()  # from the last to the first as anywhere else


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_normal_latents_keep_their_length_and_uniform_ones_their_cube(saved, monkeypatch, kind):
    generator = saved(latents=kind)
    seen = []
    sample = generator.sample

    def note(n, labels, z):
        seen.append(z)
        return sample(n, labels=labels, z=z)

    monkeypatch.setattr(generator, "sample", note)
    interpolation(generator, points=2, steps=2, rows=40)
    first, middle, last = seen[0].reshape(3, 40, 4)
    if kind == "normal":
        np.testing.assert_allclose(length(middle), (length(first) + length(last)) / 2, rtol=1e-5)
    else:
        np.testing.assert_allclose(middle, (first + last) / 2, atol=1e-6)


def test_classes_are_of_the_rows(saved):
    generator = saved(classes=3)
    frames = interpolation(generator, points=2, steps=2, rows=4)
    z = generator.noise(8, mg.random.Key(2, "sample"))
    for row in range(4):
        close(frames[0, row], generator.draw(z[2 * row][None], np.array([row % 3]))[0])
    one = interpolation(generator, points=2, steps=2, rows=4, label="2")
    close(one[:, 2], frames[:, 2])
    close(one[2, 0], generator.draw(z[1][None], np.array([2]))[0])


def test_truncation_and_limits(saved):
    generator = saved()
    near = interpolation(generator, points=2, steps=1, truncation=0.1)
    close(near[:, 0], generator.images(2, truncation=0.1)[0])
    with pytest.raises(ValueError, match="the frames together would have"):
        interpolation(generator, steps=10**9)
    with pytest.raises(ValueError, match="2 points or more"):
        interpolation(generator, points=1)
    with pytest.raises(ValueError, match="without classes"):
        interpolation(generator, label=1)
