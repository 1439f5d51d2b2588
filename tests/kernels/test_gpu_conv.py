"""The convolutions on CuPy arrays against their definitions, whole and in slices."""

from __future__ import annotations

import importlib
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.kernels.geometry import Axis, Geometry, axis, transposed_axis
from tests import gpu_calls as calls
from tests.gpu_calls import compare
from tests.helpers import LAYOUTS

pytestmark = pytest.mark.gpu

layer_axis = st.builds(
    lambda make, size, kernel, stride, padding: make(
        max(size, kernel) if padding == "valid" else size, kernel, stride, padding
    ),
    st.sampled_from([axis, axis, transposed_axis]),
    *(st.integers(1, n) for n in (9, 5, 4)),
    st.sampled_from(["same", "valid"]),
)
explicit_axis = st.builds(  # sides the stride does not divide, windows that leave pixels out
    lambda size, out, kernel, stride, before: Axis(size, out, kernel, stride, before % kernel),
    *(st.integers(1, n) for n in (9, 6, 5, 4)),
    st.integers(0, 4),
)
stride_one = st.builds(lambda size, kernel: axis(size, kernel, 1, "same"), *[st.integers(1, 6)] * 2)
axes = layer_axis | explicit_axis
geometries = st.builds(Geometry, axes, axes) | st.builds(Geometry, stride_one, stride_one)
channels = st.integers(1, 40)
dtypes, seeds = st.sampled_from(["float32", "float64"]), st.integers(0, 1000)
layouts = st.tuples(*[st.sampled_from(LAYOUTS)] * 3)
STRIDED = Geometry(axis(9, 5, 2, "same"), axis(9, 5, 2, "valid"))
TURNED = Geometry(axis(6, 3, 1, "same"), axis(9, 4, 1, "valid"))  # where OC < C
SLICED = [(STRIDED, 6, 3), (STRIDED, 3, 6), (TURNED, 7, 2), (TURNED, 2, 7)]  # geometry, C, OC
slices = pytest.mark.parametrize("geo, c, oc", SLICED, ids=["strided", "back", "turned", "plain"])


@settings(max_examples=80)
@given(geometries, st.integers(1, 3), channels, channels, dtypes, layouts, seeds)
def test_each_pass_is_its_definition(geo, n, c, oc, dtype, where, seed):
    for call in calls.convolutions(geo, n, c, oc, dtype, seed):
        compare(call, where)


@settings(max_examples=40)
@given(geometries, st.integers(1, 3), channels, channels, dtypes, seeds)
def test_sums_of_whole_numbers_are_exact(geo, n, c, oc, dtype, seed):
    for call in calls.convolutions(geo, n, c, oc, dtype, seed, whole=True):
        compare(call)


@pytest.mark.parametrize("c, oc", [(256, 33), (33, 257), (3, 1), (1, 3)])
@pytest.mark.parametrize("geo", [g for g, *_ in calls.GEOMETRIES[:2]], ids=["strided", "turned"])
def test_many_channels(geo, c, oc):
    for call in calls.convolutions(geo, 2, c, oc, "float32"):
        compare(call, ("transposed", "F"))


@pytest.mark.parametrize("oc", [2, 9])
def test_a_kernel_that_is_a_view(oc):
    """The sides are exchanged in memory of the kernel's own: it is not written into."""
    for call in calls.convolutions(TURNED, 2, 5, oc, "float64"):
        for layout in LAYOUTS:
            compare(call, ("C", layout, layout))


# ---- slices of the batch


@contextmanager
def largest_allocation():
    """A list whose one number is the largest array made inside the with block, in bytes."""
    hooks = importlib.import_module("cupy.cuda.memory_hook")
    largest = [0]

    class Largest(hooks.MemoryHook):
        name = "largest allocation"

        def malloc_preprocess(self, *, size, **_rest):
            largest[0] = max(largest[0], size)

    with Largest():
        yield largest


def in_slices(monkeypatch, images, geo, c, oc, n=5):
    """The calls on n images, and a workspace for the columns of `images` of them."""
    rows, cols = geo
    turned = oc < c and rows.stride == cols.stride == 1
    side = rows.size * cols.size * oc if turned else rows.out * cols.out * c
    each = side * rows.kernel * cols.kernel * 4
    cap = int(each * (images + 0.5))
    monkeypatch.setattr(importlib.import_module("minigan.kernels.gpu.conv"), "WORKSPACE", cap)
    return calls.convolutions(geo, n, c, oc, "float32", whole=True), cap


@slices
@pytest.mark.parametrize("images", [0, 1, 2, 4])
def test_slices_make_the_same_sums(geo, c, oc, images, monkeypatch):
    """Whole numbers: equal to the last bit, however the products order their sums."""
    for call in in_slices(monkeypatch, images, geo, c, oc)[0]:
        compare(call)
    for call in calls.convolutions(geo, 5, c, oc, "float32"):
        compare(call, ("strided", "negative", "F"))


@slices
def test_the_columns_stay_within_the_workspace(geo, c, oc, monkeypatch):
    found, cap = in_slices(monkeypatch, 2, geo, c, oc)
    for call in found:
        given_ = calls.run(call)[1]  # what a first call sets up is not measured
        with largest_allocation() as largest:
            getattr(calls.kernels(), call.name)(*given_)
        assert cap // 2 < largest[0] <= cap, call.name


@slices
def test_one_slice_takes_more_than_that(geo, c, oc, monkeypatch):
    """So the measurement above can fail."""
    found, cap = in_slices(monkeypatch, 2, geo, c, oc)
    conv = importlib.import_module("minigan.kernels.gpu.conv")
    monkeypatch.setattr(conv, "WORKSPACE", 1 << 30)
    for call in found:
        with largest_allocation() as largest:
            calls.run(call)
        assert largest[0] > cap, call.name


@pytest.mark.parametrize(
    "images, each, cap, wanted",
    [
        *[(5, 25, 250, [2, 2, 1]), (5, 25, 99, [1] * 5), (4, 25, 400, [4]), (3, 0, 1, [1] * 3)],
        (5, 1, 100, [2, 2, 1]),  # windows apart: the image's 12 pixels outnumber its columns
    ],
)
def test_slices_cover_the_batch_once(images, each, cap, wanted, monkeypatch):
    conv = importlib.import_module("minigan.kernels.gpu.conv")
    monkeypatch.setattr(conv, "WORKSPACE", cap)
    found = list(conv.slices(np.zeros((images, 3, 4, 1), "float32"), each))
    assert [s.stop - s.start for s in found] == wanted
    assert np.array_equal(np.concatenate([np.arange(images)[s] for s in found]), np.arange(images))
