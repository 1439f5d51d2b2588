"""minigan.run.neighbours: against loops over single differences, block by block, and ties."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from minigan.run import neighbours
from minigan.run.neighbours import distances, inside, nearest, radii


@pytest.fixture(params=["one block", "many blocks"], autouse=True)
def blocks(request, monkeypatch):
    if request.param == "many blocks":
        monkeypatch.setattr(neighbours, "_ROWS", 37)


def table(a, b):
    """Every distance, from the difference of two points."""
    a, b = a.astype(float), b.astype(float)
    return np.array([[np.linalg.norm(x - y) for y in b] for x in a])


@pytest.fixture
def sets():
    draw = np.random.default_rng(0)
    return draw.normal(size=(30, 4)), draw.normal(size=(43, 4)) + 0.5


def test_the_nearest(sets):
    a, b = sets
    expected = table(a, b)
    index, distance = nearest(a, b)
    np.testing.assert_array_equal(index, expected.argmin(axis=1))
    np.testing.assert_allclose(distance, expected.min(axis=1), rtol=1e-12)
    skip = expected.argmin(axis=1)  # then the second nearest
    index, distance = nearest(a, b, skip)
    np.testing.assert_array_equal(index, expected.argsort(axis=1)[:, 1])
    np.testing.assert_allclose(distance, np.sort(expected, axis=1)[:, 1], rtol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 43])
def test_the_nearest_few(sets, k):
    a, b = sets
    expected = np.sort(table(a, b), axis=1)
    np.testing.assert_allclose(distances(a, b, k), expected[:, :k], rtol=1e-12)
    second = table(a, b).argsort(axis=1)[:, 1]
    rest = np.delete(expected, 1, axis=1)[:, : min(k, 42)]
    np.testing.assert_allclose(distances(a, b, min(k, 42), second), rest, rtol=1e-12)


def test_of_equally_near_points_the_first():
    b = np.array([[12], [9], [11], [9], *[[13]] * 40, [11]], np.uint8)
    index, distance = nearest(np.array([[10], [11]], np.uint8), b)
    assert index.tolist() == [1, 2] and distance.tolist() == [1, 0]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_radii_leave_the_point_itself_out(sets, k):
    for points in sets:
        expected = np.sort(table(points, points), axis=1)[:, k]  # the 0th is the point itself
        np.testing.assert_allclose(radii(points, k), expected, rtol=1e-12)


def test_a_copy_of_a_point_is_a_neighbour():
    points = np.array([[0.0], [0.0], [3.0], [7.0]])
    assert radii(points, 1).tolist() == [0, 0, 3, 4]
    assert radii(points, 2).tolist() == [3, 3, 3, 7]


def test_balls_and_what_they_hold(sets):
    points, centres = sets
    radius = np.random.default_rng(1).uniform(0.5, 2, len(centres))
    hits = table(points, centres) <= radius
    balls, held = inside(points, centres, radius)
    np.testing.assert_array_equal(balls, hits.sum(axis=1))
    np.testing.assert_array_equal(held, hits.sum(axis=0))
    assert balls.min() < balls.max() and held.min() < held.max()


@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize("k", [1, 4])
def test_a_ball_holds_its_surface(offset, k):
    """Among its own points a ball holds its centre and k neighbours, whatever is rounded."""
    points = np.random.default_rng(2).normal(size=(200, 64)) + offset
    balls, held = inside(points, points, radii(points, k))
    assert (held == k + 1).all() and balls.sum() == 200 * (k + 1)
    points[100:] = points[:100]  # each twice
    assert (radii(points, 1) == 0).all()
    _, held = inside(points, points, radii(points, k))
    assert (held >= k + 1).all() and (held <= k + 2).all()


def test_one_far_point_blurs_no_others():
    """Where it decides how far all distances can be told, all near points are the same."""
    points = np.random.default_rng(5).normal(size=(30, 4))
    far = np.full((1, 4), 1e8)
    found = radii(np.concatenate([points, far, -far]), 1)[:30]
    np.testing.assert_allclose(found, radii(points, 1), rtol=1e-6)


def test_pixels_are_exact():
    draw = np.random.default_rng(3)
    pixels = draw.integers(0, 256, (20, 784)).astype(np.uint8)
    index, distance = nearest(pixels, pixels[::-1])
    np.testing.assert_array_equal(index, np.arange(20)[::-1])
    assert (distance == 0).all()
    assert (radii(pixels, 1) ** 2 > 1e6).all()  # differences of uint8 would wrap around


def test_a_common_offset_costs_no_digits():
    """Without the mean taken off, squares of 1e16 would leave an error of about 1."""
    points = np.random.default_rng(4).normal(size=(50, 3))
    exact = (points + 1e8) - 1e8  # what the offset leaves of them
    np.testing.assert_allclose(radii(points + 1e8, 2), radii(exact, 2), rtol=1e-12)


def test_the_memory_does_not_grow_with_both_sets():
    a = np.zeros((3000, 16), np.uint8)
    tracemalloc.start()
    try:
        nearest(a, a)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40e6  # every distance at once would be 72 MB
