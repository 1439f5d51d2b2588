"""Convolutions by Cook and Toom against the definitions, and their digits in float32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.kernels import cpu, reference
from minigan.kernels.cooktoom import transforms
from minigan.kernels.cpu import grids, plan, toom
from minigan.kernels.geometry import Axis, Geometry, axis
from tests.helpers import DTYPES, LAYOUTS, forced, laid_out

from .test_conv import operands, passes

pytestmark = pytest.mark.cpu("its convolutions by Cook and Toom")

tap_counts = st.tuples(st.integers(1, 5), st.integers(1, 3)).filter(lambda ks: ks[0] >= ks[1])


@st.composite
def sides(draw_):
    """An axis whose kernel covers the stride, as layers make it or with any padding before."""
    kernel, stride = draw_(tap_counts)
    size = draw_(st.integers(kernel, 12))
    if draw_(st.booleans()):
        return axis(size, kernel, stride, draw_(st.sampled_from(["same", "valid"])))
    return Axis(size, draw_(st.integers(1, 6)), kernel, stride, draw_(st.integers(0, kernel - 1)))


@st.composite
def cases(draw_):
    """(geometry, tiles): any size of tile that the planner may choose, in either direction."""
    geo = Geometry(draw_(sides()), draw_(sides()))
    m = tuple(draw_(st.sampled_from(list(plan._tile_sizes(grids.taps_of(a))))) for a in geo)
    return geo, grids.tiled(geo, m, draw_(st.booleans()))


def all_by(t):
    """All passes by these tiles."""
    return plan.always(plan.Path("toom", 0.0, t))


def all_passes(module, x, kernel, y, geo):
    """The three passes, and those two and two that a backward makes in one go."""
    found = passes(module, x, kernel, y, geo)
    found["dx of both"], found["dkernel of both"] = module.conv2d_gradients(x, y, kernel, geo)
    found["dy of both"], found["dkernel turned"] = module.conv2d_adjoint_gradients(
        y, x, kernel, geo
    )
    return found


@settings(max_examples=150)
@given(
    cases(),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from(["float64", "complex128"]),
    st.lists(st.sampled_from(LAYOUTS), min_size=3, max_size=3),
    st.integers(0, 1000),
)
def test_each_pass_is_its_definition(case, n, c, oc, dtype, layouts, seed):
    geo, t = case
    x, kernel, y = (
        laid_out(a, layout)
        for a, layout in zip(operands(geo, n, c, oc, dtype, seed), layouts, strict=True)
    )
    before = [a.copy() for a in (x, kernel, y)]
    with all_by(t):
        found = all_passes(cpu, x, kernel, y, geo)
    assert all(np.array_equal(a, b) for a, b in zip((x, kernel, y), before, strict=True))
    for name, expected in all_passes(reference, x, kernel, y, geo).items():
        size = max(np.abs(expected).max(), 1.0)
        assert np.abs(found[name] - expected).max() <= 1e-11 * size, name


@settings(max_examples=25)
@given(
    cases(), st.integers(1, 7), st.integers(1, 3), st.sampled_from([1, 40, 4000]),
    st.sampled_from([0, 300, 1 << 20]),
)  # fmt: skip
def test_blocks_and_threads_change_nothing_but_roundings(case, n, count, block, near):
    geo, t = case
    x, kernel, y = operands(geo, n, 3, 4)
    with all_by(t):
        expected = all_passes(cpu, x, kernel, y, geo)
    with pytest.MonkeyPatch.context() as patch, forced(threads_=count), all_by(t):
        patch.setattr(toom, "BLOCK", block)
        patch.setattr(toom, "NEAR", near)
        patch.setattr(toom, "WORK", block)
        first, again = (all_passes(cpu, x, kernel, y, geo) for _ in range(2))
    for name, a in first.items():
        assert np.array_equal(a, again[name])
        np.testing.assert_allclose(a, expected[name], rtol=1e-10, atol=1e-11)


def magnified(m, r):
    """How much larger than y the terms can be in sum, of which A^T [(G g) * (B^T d)] is made."""
    A, G, B = map(np.abs, transforms(m, r))
    return float((A * (G.sum(axis=1) * B.sum(axis=0))[:, None]).sum(axis=0).max() / r)


@pytest.mark.parametrize(
    "m, r", [(m, r) for r in range(2, 6) for m in range(2, plan.LARGEST_TILE - r + 2)]
)
def test_float32_keeps_the_digits_that_the_matrices_leave(m, r):
    """The root mean square error is within what one rounding at each term would add.

    Terms magnified by a in one direction are by a*a in two; their roundings are independent, so
    that the root mean square is well below.  Never more than 1e-5 of the result's own.
    """
    geo = Geometry(*[axis(4 * m + r, r, 1, "valid")] * 2)
    x, kernel, y = operands(geo, 3, 32, 16)
    bound = magnified(m, r) ** 2 * np.finfo(np.float32).eps
    for outward in (False, True):
        with all_by(grids.tiled(geo, (m, m), outward)):
            found = all_passes(cpu, *(a.astype(np.float32) for a in (x, kernel, y)), geo)
        for name, exact in all_passes(reference, x, kernel, y, geo).items():
            assert found[name].dtype == np.float32
            error = np.sqrt(((found[name] - exact) ** 2).mean() / (exact**2).mean())
            assert error <= min(max(bound, 1e-6), 1e-5), (name, outward, error)


@pytest.mark.parametrize("channels", [(64, 32), (512, 256)])
def test_the_points_of_a_block_are_bounded(channels):
    geo = Geometry(*[axis(80, 5, 2, "same")] * 2)
    t = grids.tiled(geo, (4, 4), False)
    images = toom.images_in_block(t, *channels, 1000)
    bound = toom.NEAR if toom.is_near(t, *channels) else toom.BLOCK
    assert images == 1 or images * t.tiles * t.points * sum(channels) <= bound
    assert toom.images_in_block(t, *channels, images + 1) == -(-(images + 1) // 2)


def test_kernels_of_few_points_have_blocks_of_their_own():
    t = grids.tiled(Geometry(*[axis(32, 5, 1, "valid")] * 2), (4, 4), False)
    assert toom.is_near(t, 64, 128) and not toom.is_near(t, 128, 128)
    assert toom.images_in_block(t, 64, 128, 64) == 1 < toom.images_in_block(t, 128, 128, 64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_planner_s_own_choice_is_the_definition(dtype):
    geo = Geometry(axis(40, 5, 2, "same"), axis(44, 5, 2, "same"))
    x, kernel, y = operands(geo, 16, 64, 96, dtype)
    assert plan.forward(plan.Shape(64, 96, geo, 16)).form == "toom"
    found, expected = (all_passes(k, x, kernel, y, geo) for k in (cpu, reference))
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for name in found:
        size = np.abs(expected[name]).max()
        assert np.abs(found[name] - expected[name]).max() <= tolerance * size


@pytest.mark.parametrize("channels", [(40, 30), (260, 256)])
@pytest.mark.parametrize("outward", [False, True])
def test_the_points_of_a_gradient_are_made_once(channels, outward, monkeypatch):
    geo = Geometry(*[axis(9, 3, 1, "same")] * 2)
    x, kernel, y = operands(geo, 4, *channels)
    made = []
    points_of = toom.points_of
    monkeypatch.setattr(
        toom, "points_of", lambda end, *rest: (made.append(end.big), points_of(end, *rest))[1]
    )
    with all_by(grids.tiled(geo, (3, 3), outward)), forced(threads_=1):
        cpu.conv2d_gradients(x, y, kernel, geo)
        assert sorted(made) == [False, True]
        cpu.conv2d_adjoint_gradients(y, x, kernel, geo)
        assert sorted(made) == [False, False, True, True]
