"""Every kernel on CuPy arrays against its definition; convolutions are in test_gpu_conv.py."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.kernels import reference
from minigan.kernels.geometry import Axis, Geometry, axis
from tests import gpu_calls as calls
from tests.gpu_calls import Call, close, compare, kernels, on_device
from tests.helpers import LAYOUTS, draw

pytestmark = pytest.mark.gpu

DTYPES = ("float32", "float64")
WIDTHS = (31, 32, 33, 64, 255, 256, 257)  # around what a warp and a block take
channels = st.integers(1, 40) | st.sampled_from(WIDTHS)
shapes = st.builds(
    lambda rest, c: (*rest, c), st.lists(st.integers(1, 6), min_size=1, max_size=3), channels
)
dtypes, seeds = st.sampled_from(DTYPES), st.integers(0, 1000)
layouts = st.tuples(*[st.sampled_from(LAYOUTS)] * 4)
axes = st.builds(
    lambda size, kernel, stride, padding: axis(
        max(size, kernel) if padding == "valid" else size, kernel, stride, padding
    ),
    *(st.integers(1, n) for n in (9, 4, 4)),
    st.sampled_from(["same", "valid"]),
) | st.builds(Axis, *(st.integers(1, n) for n in (9, 5, 4, 3)), st.integers(0, 3))
geometries = st.builds(Geometry, axes, axes)
OUT = {  # name -> arrays, other arguments
    "leaky_relu": (1, (0.2,)),
    "leaky_relu_backward": (2, (0.2,)),
    "tanh": (1, ()),
    "tanh_backward": (2, ()),
    "sigmoid": (1, ()),
    "sigmoid_backward": (2, ()),
    "scale_shift": (1, (0.3, -0.7)),
    "biased_activation_backward": (2, ("tanh", 0.0)),
}


def compare_all(found: list[Call], where: tuple[str, ...]) -> None:
    for call in found:
        compare(call, where)


@settings(max_examples=40)
@given(shapes, dtypes, layouts, seeds)
def test_elementwise(shape, dtype, where, seed):
    compare_all(calls.elementwise(shape, dtype, seed), where)


@settings(max_examples=40)
@given(shapes, dtypes, layouts, seeds)
def test_biases(shape, dtype, where, seed):
    compare_all(calls.biased(shape, dtype, seed), where)


@settings(max_examples=40)
@given(shapes | st.tuples(st.integers(60, 700), channels), dtypes, layouts, seeds)
def test_sums_over_all_but_the_channels(shape, dtype, where, seed):
    compare_all(calls.reductions(shape, dtype, seed), where)


@settings(max_examples=40)
@given(shapes | st.tuples(st.integers(1, 3), st.integers(60, 700), channels), dtypes, layouts,
       st.data())  # fmt: skip
def test_sums_over_any_axes(shape, dtype, where, data):
    chosen = data.draw(st.sets(st.sampled_from(range(len(shape))), min_size=1).map(tuple))
    compare_all(calls.sums(shape, chosen, dtype), where)


@pytest.mark.parametrize("count", WIDTHS)
def test_sums_over_the_middle_of_as_many_channels_as_blocks_are_wide(count):
    compare_all(calls.sums((3, 70, count), (1,), "float32"), ("C",))


@st.composite
def factors(draw_from, shape):
    """A number, a vector along the last axis, or one value for each group of any axes."""
    kind = draw_from(st.sampled_from(["number", "NumPy", "vector", "one", "group", "group"]))
    if kind == "group":
        kept = draw_from(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
        return tuple(n if k else 1 for n, k in zip(shape, kept, strict=True))
    return {"number": -0.7, "NumPy": np.float32(1.5), "vector": shape[-1:], "one": ()}[kind]


@settings(max_examples=60)
@given(shapes, dtypes, layouts, st.data())
def test_passes_of_the_normalisations(shape, dtype, where, data):
    chosen = [data.draw(factors(shape)) for _ in range(3)]
    compare_all(calls.normalisations(shape, chosen, dtype), where)


@settings(max_examples=60)
@given(geometries, st.integers(1, 3), channels, dtypes, layouts, seeds, st.booleans())
def test_pooling(geo, n, c, dtype, where, seed, ties):
    assume(reference.pool_counts(np.ones(1), geo).all())
    compare_all(calls.pooling(geo, n, min(c, 40), dtype, seed, ties), where)


@settings(max_examples=30)
@given(*(st.integers(1, 4) for _ in range(3)), channels, *[st.integers(1, 4)] * 2, dtypes, layouts)
def test_upsampling(n, h, w, c, fh, fw, dtype, where):
    compare_all(calls.upsampling(n, h, w, c, (fh, fw), dtype), where)


@settings(max_examples=20)
@given(dtypes, st.integers(1, 600), layouts, seeds)
def test_adam_products_and_resampling(dtype, size, where, seed):
    compare_all(calls.others(dtype, size, seed), where)


def test_every_name_is_compared():
    compared = {call.name for call in calls.small_calls(few=True)}
    assert compared | {"empty_like"} == set(kernels().__all__)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_new_array(dtype):
    found = kernels().empty_like(on_device(draw((2, 3), dtype)), (4, 5))
    assert found.shape == (4, 5) and found.dtype == dtype and found.flags.c_contiguous


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_elements_at_all(dtype):
    """As the definitions have it: empty arrays, and sums of nothing."""
    for call in (
        *calls.elementwise((0, 3), dtype),
        *calls.biased((0, 3), dtype),
        *calls.reductions((0, 3), dtype)[:3],
        *calls.sums((2, 0, 3), (1,), dtype),
        *calls.upsampling(0, 2, 3, 4, (2, 2), dtype),
        *calls.convolutions(calls.GEOMETRIES[0][0], 0, 3, 2, dtype)[1:3],
    ):
        compare(call)


@pytest.mark.parametrize("name", OUT)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("same", [True, False])
def test_the_result_goes_into_out_which_may_be_the_input(name, dtype, layout, same):
    count, more = OUT[name]
    arrays = [draw((3, 4, 35), dtype, i) for i in range(count)]
    wanted = getattr(reference, name)(*[a.copy() for a in arrays], *more)
    given_ = [on_device(a, layout) for a in arrays]
    out = given_[0] if same else on_device(draw((3, 4, 35), dtype, 9), layout)
    found = getattr(kernels(), name)(*given_, *more, out=out)
    if isinstance(wanted, tuple):
        close(found[1].get(), wanted[1], (144, 40.0))
        found, wanted = found[0], wanted[0]
    assert found is out
    close(out.get(), wanted, (2, calls.largest(*arrays) ** 3))
    kept = given_[1:] if same else given_
    pairs = zip(kept, arrays[-len(kept) :] if kept else [], strict=True)
    assert all(np.array_equal(a.get(), before) for a, before in pairs)


@pytest.mark.parametrize("name", ["biased_activation", "subtract_scaled", "add_bias"])
def test_what_may_be_written_into_is_written_into(name):
    """A pass over a large array makes no second one."""
    call = next(c for c in calls.small_calls() if c.name == name)
    (found,), given_ = calls.run(call)
    assert found is given_[0]


# ---- long sums


@pytest.mark.parametrize("count", [1, 3, 33])
def test_the_variance_survives_a_large_mean_in_float32(count):
    """1e4 + N(0, 1): E[x^2] - E[x]^2 would be off by more than the variance itself."""
    x = (1e4 + draw((76_800, count))).astype("float32")
    mean, var = (a.get() for a in kernels().batch_moments(on_device(x)))
    exact = x.astype("float64")
    assert mean.dtype == var.dtype == np.float32
    assert np.abs(mean - exact.mean(axis=0)).max() < 0.02
    assert np.abs(var / exact.var(axis=0) - 1).max() < 1e-3


def long_sums(ops, a):
    """Sums of all rows, by each kernel that makes them."""
    ones = a * 0 + 1
    yield ops.column_sums(a)
    yield ops.product_sums(a, ones)
    yield from ops.paired_sums(a, ones)
    yield ops.paired_sums(ones, a)[1]
    yield ops.sums(a, (0,))[0]
    yield ops.biased_activation_backward(a, ones, "leaky_relu", 1.0)[1]


@pytest.mark.parametrize("count", [1, 2, 64])
def test_sums_of_many_float32_numbers_keep_their_digits(count):
    """A running float32 sum of a million times 0.1 is off by one per cent."""
    a = np.full((1_000_000 // count, count), 0.1, "float32")
    exact = float(np.float32(0.1)) * len(a)
    for found in long_sums(kernels(), on_device(a)):
        assert found.dtype == np.float32 and found.shape == (count,)
        assert np.abs(found.get() / exact - 1).max() < 2e-6


@pytest.mark.parametrize("what", [np.inf, np.nan, 3e38])
def test_sums_of_what_is_not_finite(what):
    """As the reference's: infinite, or no number, also beyond the first chunk; 3e38 overflows."""
    a = np.full((3000, 1), what, "float32")
    a[1500:, 0] = 1.0
    with np.errstate(over="ignore"):
        expected = reference.column_sums(a)
    assert np.array_equal(kernels().column_sums(on_device(a)).get(), expected, equal_nan=True)


@pytest.mark.parametrize("shape, chosen", [((70_000, 2, 3), (1,)), ((70_000, 3), (1,))])
def test_more_groups_than_an_axis_of_a_grid_has_blocks(shape, chosen):
    compare_all(calls.sums(shape, chosen, "float32"), ("C",))


# ---- dropout


KEYS = {
    "plain": mg.random.Key(0, "dropout"),
    "large": mg.random.Key((1 << 64) - 1, "dropout", step=(1 << 63) + 5),
    "step": mg.random.Key(7, "another purpose", step=1 << 40),
    "child": mg.random.Key(7, "dropout", step=3).child("block").child("drop"),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("shape", [(1,), (15,), (16,), (3, 5, 7), (4097,), (2, 17, 255)])
@pytest.mark.parametrize("rate", [1e-6, 0.25, 0.5, 0.9])
def test_dropout_masks_are_the_hosts_bit_for_bit(key, shape, rate):
    for dtype in DTYPES:
        scaled = kernels().scaled_mask(on_device(np.ones(shape, dtype)), key, rate).get()
        assert scaled.dtype == dtype
        assert np.array_equal(scaled != 0, key.keep_mask(shape, rate))
        assert set(np.unique(scaled)) <= {0, np.dtype(dtype).type(1 / (1 - rate))}


def test_a_number_equal_to_the_rate_is_kept():
    key = mg.random.Key(5, "threshold")
    rate = (int(key.philox().random_raw(1)[0]) & 0xFFFF) / (1 << 16)  # the first element's number
    scaled = kernels().scaled_mask(on_device(np.ones(16)), key, rate)
    assert key.keep_mask((16,), rate)[0] and scaled[0] != 0


# ---- pooling


@pytest.mark.parametrize("share", [0.1, 0.9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_value_that_is_not_a_number_wins(share, dtype):
    geo = Geometry(axis(6, 3, 3, "valid"), axis(8, 2, 2, "valid"))
    x = draw((3, 6, 8, 4), dtype)
    x[np.random.default_rng(0).random(x.shape) < share] = np.nan
    call = Call("max_pool2d", (x, geo))
    assert np.isnan(calls.expected(call)[0]).any()
    compare(call)


def test_of_equal_values_the_first_in_row_major_order_wins():
    geo = Geometry(axis(4, 2, 2, "valid"), axis(4, 2, 2, "valid"))
    x = np.zeros((1, 4, 4, 1))
    x[0, 1, 0] = x[0, 1, 1] = 1  # a tie in the second row of the first window
    _, winner = kernels().max_pool2d(on_device(x), geo)
    assert winner[0, :, :, 0].tolist() == [[2, 0], [0, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels_of_the_padding_never_win_whatever_the_image_holds(dtype):
    geo = Geometry(axis(5, 3, 2, "same"), axis(4, 4, 3, "same"))
    for value in (-1.0, -np.inf):
        y, winner = kernels().max_pool2d(on_device(np.full((2, 5, 4, 3), value, dtype)), geo)
        assert (y == value).all()
        ones = on_device(np.ones(y.shape, dtype))
        dx = kernels().max_pool2d_adjoint(ones, winner, geo)
        assert float(dx.sum()) == y.size  # each lands on a pixel
        assert (kernels().max_pool2d_tangent(dx * 0 + 1, winner, geo) == 1).all()


def test_a_dtype_without_kernels_is_an_error():
    cupy = importlib.import_module("cupy")
    for dtype in ("complex128", "int32", "float16"):
        with pytest.raises(TypeError, match="float32 and float64"):
            kernels().tanh(cupy.empty((2, 3), dtype))
