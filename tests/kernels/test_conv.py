"""The fast convolution passes against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.kernels import cpu, reference
from minigan.kernels.cpu import plan
from minigan.kernels.geometry import Axis, Geometry, axis, transposed_axis
from tests.helpers import DTYPES, LAYOUTS, assert_close, draw, forced, laid_out

PASSES = ("conv2d", "conv2d_adjoint", "conv2d_dkernel")

layer_axis = st.builds(
    lambda make, size, kernel, stride, padding: make(
        max(size, kernel) if padding == "valid" else size, kernel, stride, padding
    ),
    st.sampled_from([axis, axis, transposed_axis]),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from(["same", "valid"]),
)
explicit_axis = st.builds(  # sides the stride does not divide, windows that leave pixels out
    lambda size, out, kernel, stride, before: Axis(size, out, kernel, stride, before % kernel),
    *(st.integers(1, n) for n in (9, 6, 5, 4)),
    st.integers(0, 4),
)
axes = layer_axis | explicit_axis
geometries = st.builds(Geometry, axes, axes)
channels = st.integers(1, 20)


def operands(geo, n, c, oc, dtype="float64", seed=0):
    """x on the big side, kernel, y on the small side."""
    rows, cols = geo
    return (
        draw((n, rows.size, cols.size, c), dtype, seed),
        draw((rows.kernel, cols.kernel, c, oc), dtype, seed + 1),
        draw((n, rows.out, cols.out, oc), dtype, seed + 2),
    )


def passes(module, x, kernel, y, geo):
    return {
        "conv2d": module.conv2d(x, kernel, geo),
        "conv2d_adjoint": module.conv2d_adjoint(y, kernel, geo),
        "conv2d_dkernel": module.conv2d_dkernel(x, y, geo),
    }


def compare(x, kernel, y, geo):
    rows, cols = geo
    big = float(max(np.abs(a).max() for a in (x, kernel, y)))
    terms = {
        "conv2d": rows.kernel * cols.kernel * x.shape[-1],
        "conv2d_adjoint": rows.kernel * cols.kernel * y.shape[-1],
        "conv2d_dkernel": y.size // y.shape[-1],
    }
    before = [a.copy() for a in (x, kernel, y)]
    found = passes(cpu, x, kernel, y, geo)
    assert all(np.array_equal(a, b) for a, b in zip((x, kernel, y), before, strict=True))
    expected = passes(reference, x, kernel, y, geo)
    for name in PASSES:
        assert_close(found[name], expected[name], terms[name], scale=big * big)


@settings(max_examples=60)
@given(
    geometries,
    st.integers(1, 3),
    channels,
    channels,
    st.sampled_from(DTYPES),
    st.lists(st.sampled_from(LAYOUTS), min_size=3, max_size=3),
    st.integers(0, 1000),
)
def test_each_pass_is_its_definition(geo, n, c, oc, dtype, layouts, seed):
    x, kernel, y = (
        laid_out(a, layout)
        for a, layout in zip(operands(geo, n, c, oc, dtype, seed), layouts, strict=True)
    )
    compare(x, kernel, y, geo)


@settings(max_examples=40)
@given(geometries, st.integers(1, 5), channels, channels, st.integers(1, 3), st.data())
def test_every_form_in_small_blocks_on_threads(geo, n, c, oc, count, data):
    stride_one = geo.rows.stride == geo.cols.stride == 1
    forms = {
        "forward": data.draw(st.sampled_from(["gather", "scatter"] if stride_one else ["gather"])),
        "adjoint": data.draw(st.sampled_from(["gather", "scatter"])),
        "dkernel": data.draw(st.sampled_from(["big", "small"])),
    }
    with forced(threads_=count, block=data.draw(st.sampled_from([1, 20, 300])), **forms):
        compare(*operands(geo, n, c, oc), geo)


@pytest.mark.cpu("its forms of a pass")
@pytest.mark.parametrize("form", ["gather", "scatter"])
def test_forced_forms_run_the_form(form, monkeypatch):
    """The forms are different code: each is entered when the plan says so."""
    from minigan.kernels.cpu import conv

    calls = []
    for name in ("scatter", "_apply"):
        inner = getattr(conv, name)

        def spy(*args, name=name, inner=inner):
            calls.append(name)
            return inner(*args)

        monkeypatch.setattr(conv, name, spy)
    geo = Geometry(axis(5, 3, 1, "same"), axis(4, 2, 1, "valid"))
    x, kernel, y = operands(geo, 2, 3, 4)
    with forced(forward=form, adjoint=form):
        cpu.conv2d(x, kernel, geo)
        cpu.conv2d_adjoint(y, kernel, geo)
    assert calls == [{"gather": "_apply", "scatter": "scatter"}[form]] * 2


@pytest.mark.cpu("its blocks")
def test_rows_of_one_image_are_split_into_blocks(monkeypatch):
    from minigan.kernels.cpu import conv

    seen = []
    inner = conv.columns

    def spy(x, rows, cols):
        seen.append((len(x), rows.number))
        return inner(x, rows, cols)

    monkeypatch.setattr(conv, "columns", spy)
    geo = Geometry(axis(9, 3, 1, "same"), axis(7, 3, 1, "same"))
    x, kernel, y = operands(geo, 2, 3, 4)
    with forced(block=4 * 7 * 27 // 4, forward="gather", adjoint="gather", dkernel="big"):
        cpu.conv2d(x, kernel, geo)
    assert {n for n, _ in seen} == {1}
    assert max(r for _, r in seen) < 9 and sum(r for _, r in seen) == 2 * 9


# (size, out, kernel, stride, before) on an axis: geometries that no layer makes by itself
ODD = [
    (7, 4, 3, 2, 1),
    (8, 4, 3, 2, 1),  # the twin of 7: same windows, one pixel more
    (6, 4, 3, 2, 1),
    (10, 3, 3, 4, 0),  # pixels between the windows are read by nobody
    (9, 2, 2, 3, 0),  # two pixels over at the end
    (3, 5, 4, 1, 3),  # a full convolution: padding kernel - 1
    (4, 4, 1, 1, 0),
    (2, 3, 5, 3, 4),  # windows larger than the image
]


@pytest.mark.parametrize("row", ODD)
@pytest.mark.parametrize("col", [ODD[0], ODD[3], (5, 5, 3, 1, 1)])
@pytest.mark.parametrize("sides", [(1, 1), (2, 17), (17, 2)])
def test_explicit_geometries(row, col, sides):
    geo = Geometry(Axis(*row), Axis(*col))
    compare(*operands(geo, 2, *sides), geo)


@pytest.mark.parametrize("sides", [(8, 1), (1, 8), (3, 3)])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_wholly_in_the_padding(sides, stride):
    geo = Geometry(Axis(5, 8, 2, stride, 3), Axis(4, 7, 2, stride, 3))
    compare(*operands(geo, 2, *sides), geo)


@pytest.mark.parametrize("name", PASSES)
def test_pixels_nobody_reads_have_no_gradient(name):
    geo = Geometry(axis(8, 2, 3, "valid"), axis(8, 2, 3, "valid"))  # windows 0-1, 3-4, 6-7
    x, kernel, y = operands(geo, 2, 3, 4)
    dx = cpu.conv2d_adjoint(y, kernel, geo)
    assert not dx[:, [2, 5]].any() and not dx[:, :, [2, 5]].any() and dx[:, [0, 1, 3, 4]].any()
    x_other = x.copy()
    x_other[:, [2, 5]] = np.nan
    x_other[:, :, [2, 5]] = np.nan
    found, expected = (passes(cpu, a, kernel, y, geo)[name] for a in (x_other, x))
    assert np.array_equal(found, expected)


@settings(max_examples=30)
@given(geometries, st.integers(1, 3), channels, channels, st.integers(0, 1000))
def test_adjointness(geo, n, c, oc, seed):
    x, kernel, y = operands(geo, n, c, oc, seed=seed)
    found = passes(cpu, x, kernel, y, geo)
    form = (found["conv2d"] * y).sum()
    size = float(np.abs(found["conv2d"] * y).sum()) + float(np.abs(x).sum())
    assert abs(form - (x * found["conv2d_adjoint"]).sum()) <= 1e-12 * size
    assert abs(form - (kernel * found["conv2d_dkernel"]).sum()) <= 1e-12 * size


def test_adjointness_is_transposed_not_hermitian():
    """In complex arithmetic nothing is conjugated: the complex step needs analytic functions."""
    geo = Geometry(axis(5, 3, 2, "same"), axis(4, 3, 1, "same"))
    x, kernel, y = operands(geo, 2, 3, 4, "complex128")
    found = passes(cpu, x, kernel, y, geo)
    form = (found["conv2d"] * y).sum()
    assert abs(form - (x * found["conv2d_adjoint"]).sum()) < 1e-11
    assert abs(form - (kernel * found["conv2d_dkernel"]).sum()) < 1e-11


def test_odd_pixel_comes_after_by_value():
    geo = Geometry(axis(1, 1, 1, "same"), axis(5, 2, 2, "same"))
    x = np.array([1.0, 2, 3, 4, 5]).reshape(1, 1, 5, 1)
    kernel = np.array([10.0, 1]).reshape(1, 2, 1, 1)
    assert cpu.conv2d(x, kernel, geo).ravel().tolist() == [12.0, 34.0, 50.0]
    y = np.array([1.0, 2, 3]).reshape(1, 1, 3, 1)
    assert cpu.conv2d_adjoint(y, kernel, geo).ravel().tolist() == [10.0, 1.0, 20.0, 2.0, 30.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_again(dtype):
    geo = Geometry(axis(14, 4, 2, "same"), axis(13, 3, 2, "same"))
    x, kernel, y = operands(geo, 6, 16, 12, dtype)
    with forced(threads_=3):
        first = passes(cpu, x, kernel, y, geo)
        for _ in range(3):
            again = passes(cpu, x, kernel, y, geo)
            assert all(np.array_equal(first[name], again[name]) for name in PASSES)


def test_float32_is_close_to_float64_on_a_large_sum():
    geo = Geometry(axis(28, 3, 2, "same"), axis(28, 3, 2, "same"))
    x, kernel, y = operands(geo, 16, 8, 8)
    exact = cpu.conv2d_dkernel(x, y, geo)
    single = cpu.conv2d_dkernel(x.astype("float32"), y.astype("float32"), geo)
    assert single.dtype == np.float32
    assert np.abs(single - exact).max() < 64 * np.finfo("float32").eps * np.sqrt(16 * 14 * 14)


@pytest.mark.parametrize("name", PASSES)
def test_results_are_nobody_elses_memory(name):
    geo = Geometry(axis(12, 1, 1, "same"), axis(12, 1, 1, "same"))  # 1x1: no gather is needed
    x, kernel, y = operands(geo, 4, 8, 8)
    found = passes(cpu, x, kernel, y, geo)[name]
    assert not any(np.shares_memory(found, a) for a in (x, kernel, y))
    kept = found.copy()
    for seed in range(3):
        passes(cpu, *operands(geo, 4, 8, 8, seed=seed), geo)
    assert np.array_equal(found, kept)


def test_plans_take_both_forms_on_these_shapes():
    """The unforced tests above go through both plain forms of each pass."""
    for name, forms in (("forward", 2), ("adjoint", 2), ("dkernel", 2)):
        found = {
            getattr(plan, name)(
                plan.Shape(c, oc, Geometry(axis(9, k, 1, "same"), axis(9, k, 1, "same")))
            ).form
            for c in (1, 5, 20)
            for oc in (1, 5, 20)
            for k in (1, 3, 5)
        }
        assert len(found - {"toom"}) == forms, name
