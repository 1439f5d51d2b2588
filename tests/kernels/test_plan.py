"""The planner: forms by cost, blocks within bounds, and never a look at the dtype."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.kernels import cpu
from minigan.kernels.cpu import plan, threads
from minigan.kernels.geometry import Geometry, axis
from tests.helpers import DTYPES, draw

pytestmark = pytest.mark.cpu("its planner")

DECISIONS = ("forward", "adjoint", "dkernel", "images_per_block", "rows_per_block", "seconds")


def square(size, kernel, stride=1):
    return Geometry(axis(size, kernel, stride, "same"), axis(size, kernel, stride, "same"))


def record(monkeypatch, dtype, c, oc, geo):
    """Every decision of the planner, and every split over threads, in the three passes."""
    seen = []
    for name in DECISIONS:
        inner = getattr(plan, name)

        def spy(*args, name=name, inner=inner):
            seen.append((name, args, inner(*args)))
            return seen[-1][2]

        monkeypatch.setattr(plan, name, spy)
    run = threads.run

    def spy_run(function, n, work=float("inf")):
        seen.append(("run", n, work))
        return run(function, n, work)

    monkeypatch.setattr(threads, "run", spy_run)
    x = draw((3, geo.rows.size, geo.cols.size, c), dtype)
    kernel = draw((geo.rows.kernel, geo.cols.kernel, c, oc), dtype)
    y = draw((3, geo.rows.out, geo.cols.out, oc), dtype)
    cpu.conv2d(x, kernel, geo)
    cpu.conv2d_adjoint(y, kernel, geo)
    cpu.conv2d_dkernel(x, y, geo)
    monkeypatch.undo()
    return seen


@pytest.mark.parametrize("c, oc", [(1, 16), (16, 1), (9, 9), (40, 40)])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_plan_does_not_depend_on_the_dtype(monkeypatch, c, oc, stride):
    plans = [record(monkeypatch, dtype, c, oc, square(8, 5, stride)) for dtype in DTYPES]
    assert {name for name, *_ in plans[0]} >= {"forward", "adjoint", "dkernel", "run"}
    assert plans[0] == plans[1] == plans[2]


def test_few_output_channels_turn_round():
    with plan.exactly():
        assert plan.forward(plan.Shape(128, 1, square(28, 7))).form == "scatter"  # digits' last
        assert plan.forward(plan.Shape(128, 128, square(28, 3))).form == "gather"
        assert plan.adjoint(plan.Shape(1, 64, square(28, 3, 2))).form == "scatter"
        assert plan.adjoint(plan.Shape(128, 128, square(28, 4, 2))).form == "gather"


@given(*(st.integers(1, 200) for _ in range(2)), st.integers(2, 5), st.integers(1, 7))
def test_a_forward_pass_with_a_stride_never_scatters(c, oc, stride, k):
    assert plan.forward(plan.Shape(c, oc, square(9, k, stride))).form != "scatter"
    mixed = Geometry(axis(9, k, 1, "same"), axis(9, k, stride, "same"))
    assert plan.forward(plan.Shape(c, oc, mixed)).form != "scatter"


def test_the_gradient_of_the_kernel_gathers_the_side_with_fewer_channels():
    assert plan.dkernel(plan.Shape(64, 1, square(28, 3))).form == "small"
    assert plan.dkernel(plan.Shape(1, 64, square(28, 3))).form == "big"


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_block_of_images_fits_or_is_needed(pixels, width):
    images = plan.images_per_block(pixels, width)
    assert images >= 1
    if images > 1:
        fits = images * pixels * width <= plan.BLOCK
        few_rows = (images - 1) * pixels < plan.FEW_ROWS
        assert fits or few_rows


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 20_000))
def test_a_block_of_rows_fits(rows, cols, width):
    found = plan.rows_per_block(rows, cols, width)
    assert 1 <= found <= rows
    assert found == 1 or found * cols * width <= 4 * plan.BLOCK


def test_estimated_time_grows_with_the_work():
    small, large = plan.Shape(8, 8, square(8, 3), 5), plan.Shape(8, 16, square(8, 3), 5)
    assert 0 < plan.seconds(small) < plan.seconds(large)
    assert np.isclose(plan.seconds(small._replace(images=10)), 2 * plan.seconds(small))


def test_wide_convolutions_run_by_cook_and_toom_unless_exactness_is_asked_for():
    shape = plan.Shape(128, 128, square(40, 5, 2))
    for name in ("forward", "adjoint", "dkernel"):
        path = getattr(plan, name)(shape)
        assert path.form == "toom" and path.toom and path.cost > 0
        with plan.exactly():
            plain = getattr(plan, name)(shape)
        assert plain.toom is None and path.cost < plain.cost
        assert getattr(plan, name)(shape) == path


@given(*(st.integers(1, 300) for _ in range(2)), *(st.integers(1, 7) for _ in range(2)))
def test_tiles_are_never_larger_than_float32_allows(c, oc, k, stride):
    for name in ("forward", "adjoint", "dkernel"):
        t = getattr(plan, name)(plan.Shape(c, oc, square(30, k, stride))).toom
        if t:
            assert max(t.rows.n, t.cols.n) <= plan.LARGEST_TILE and k >= stride


def test_a_backward_shares_its_points_where_that_is_cheapest():
    wide, thin = plan.Shape(128, 128, square(40, 5, 2)), plan.Shape(128, 3, square(40, 5, 2))
    for what in ("forward", "adjoint"):
        t = plan.gradients(wide, what)
        assert t is not None and plan.gradients(thin, what) is None
        apart = plan.toom_cost(t, wide, what) + plan.toom_cost(t, wide, "dkernel")
        shared = t.points * t.tiles * (4 * 128 if what == "forward" else 128)
        kind = "V" if (what == "forward") != t.outward else "M back"
        assert np.isclose(plan.both_cost(t, wide, what), apart - shared * plan.POINT[kind])
        best = plan.dkernel(wide).cost + getattr(plan, what)(wide).cost
        assert plan.both_cost(t, wide, what) < best
        with plan.exactly():
            assert plan.gradients(wide, what) is None


def test_a_block_is_no_smaller_than_the_kernel_it_reads():
    assert plan.images_per_block(100, 1000) == 5
    assert plan.images_per_block(100, 1000, 3_000_000) == 30
    assert plan.rows_per_block(500, 100, 1000, 10_000_000) == 100


def test_the_exact_mode_is_a_switch_away():
    from minigan import kernels

    shape = plan.Shape(128, 128, square(40, 5, 2))
    with kernels.using("exact"):
        assert plan.forward(shape).form == "gather"
    assert plan.forward(shape).form == "toom"


def test_the_exact_mode_of_one_thread_ends_with_it():
    """Two threads whose with blocks overlap: afterwards neither mode is left on."""
    shape = plan.Shape(128, 128, square(40, 5, 2))
    seen, first, second = {}, threading.Event(), threading.Event()

    def other():
        first.wait(10)
        with plan.exactly():
            second.set()
            seen["inside"] = plan.forward(shape).form
            done.wait(10)

    done = threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    with plan.exactly():
        first.set()
        second.wait(10)
    seen["outside"] = plan.forward(shape).form
    done.set()
    thread.join()
    assert seen == {"inside": "gather", "outside": "toom"}
    assert plan.forward(shape).form == "toom"


def test_no_images_have_a_plan_too():
    for name in ("forward", "adjoint", "dkernel"):
        assert getattr(plan, name)(plan.Shape(64, 64, square(20, 5), 0)).cost > 0
