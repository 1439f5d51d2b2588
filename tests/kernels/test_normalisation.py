"""Sums over the pixels and the passes of BatchNorm, and their accuracy in float32."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.kernels import cpu, reference
from minigan.kernels.cpu import normalisation
from tests.helpers import DTYPES, LAYOUTS, assert_close, draw, forced, laid_out

shapes = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple)
layouts = st.sampled_from(LAYOUTS)


@settings(max_examples=50)
@given(shapes, st.sampled_from(DTYPES), layouts, layouts, st.sampled_from([1, 4, 512]), st.data())
def test_sums_are_their_definitions(shape, dtype, layout_a, layout_b, rows, data):
    a, b = laid_out(draw(shape, dtype), layout_a), laid_out(draw(shape, dtype, seed=1), layout_b)
    terms = a.size // shape[-1]
    before, normalisation.ROWS = normalisation.ROWS, rows
    try:
        with forced(threads_=data.draw(st.integers(1, 3))):
            sums, products = cpu.column_sums(a), cpu.product_sums(a, b)
            mean, var = cpu.batch_moments(a)
    finally:
        normalisation.ROWS = before
    assert_close(sums, reference.column_sums(a), terms * terms, scale=4)
    assert_close(products, reference.product_sums(a, b), terms * terms, scale=16)
    expected = reference.batch_moments(a)
    assert_close(mean, expected[0], terms, scale=4)
    assert_close(var, expected[1], terms, scale=16)


@settings(max_examples=50)
@given(shapes, st.sampled_from(DTYPES), layouts, st.sampled_from([1, 7, 1 << 17]), st.data())
def test_passes_are_their_definitions(shape, dtype, layout, block, data):
    x = laid_out(draw(shape, dtype), layout)
    dy = laid_out(draw(shape, dtype, seed=1), layout)
    a, b, c = (draw(shape[-1:], dtype, seed=s) for s in (2, 3, 4))
    before = x.copy(), dy.copy()
    with forced(threads_=data.draw(st.integers(1, 3)), element_block=block):
        found = [
            cpu.normalise(x, a, b),
            cpu.scale_shift(x, a, b),
            cpu.normalise_dx(dy, x, a, b, c),
        ]
    expected = [
        reference.normalise(x, a, b),
        reference.scale_shift(x, a, b),
        reference.normalise_dx(dy, x, a, b, c),
    ]
    for f, e in zip(found, expected, strict=True):
        assert_close(f, e, 4, scale=64)
        assert not np.shares_memory(f, x) and not np.shares_memory(f, dy)
    assert np.array_equal(x, before[0]) and np.array_equal(dy, before[1])


@st.composite
def factor_shapes(draw_from, shape):
    """A number, a vector along the last axis, or one value for each group of a sample."""
    kind = draw_from(st.sampled_from(["number", "vector", "group"]))
    if kind == "group":
        kept = draw_from(st.lists(st.booleans(), min_size=len(shape) - 1, max_size=len(shape) - 1))
        samples = draw_from(st.sampled_from([1, shape[0]]))
        return samples, *(n if k else 1 for n, k in zip(shape[1:], kept, strict=True))
    return () if kind == "number" else shape[-1:]


@settings(max_examples=80, derandomize=True)
@given(
    shapes, st.sampled_from(DTYPES), st.lists(layouts, min_size=3, max_size=3),
    st.sampled_from([1, 7, 1 << 17]), st.integers(1, 3), st.data(),
)  # fmt: skip
def test_passes_with_factors_of_any_kind(shape, dtype, where, block, count, data):
    """Each factor is met by its own sample, whatever the blocks and the threads."""
    x, y, z = (laid_out(draw(shape, dtype, seed=i), m) for i, m in enumerate(where))
    a, b, c = (draw(data.draw(factor_shapes(shape)), dtype, seed=s) for s in (3, 4, 5))
    calls = {
        "normalise": (x, a, b),
        "scale_shift": (x, a, b),
        "normalise_dx": (x, y, a, b, c),
        "subtract_scaled": (x, y, a, z, b),
    }
    for name, arguments in calls.items():
        given_before = [arg.copy() for arg in arguments]
        expected = getattr(reference, name)(*given_before)
        with forced(threads_=count, element_block=block):
            found = getattr(cpu, name)(*arguments)
        assert_close(found, expected, 4, scale=64)
        kept = slice(1, None) if name == "subtract_scaled" else slice(None)  # it writes into x
        pairs = zip(arguments[kept], given_before[kept], strict=True)
        assert all(np.array_equal(arg, before) for arg, before in pairs)
    assert found is x


@settings(max_examples=50, derandomize=True)
@given(
    shapes, st.sampled_from(DTYPES), layouts, st.sampled_from([1, 7, 1 << 17]),
    st.integers(1, 3), st.data(),
)  # fmt: skip
def test_sums_within_samples(shape, dtype, layout, block, count, data):
    axes = data.draw(st.sets(st.sampled_from(range(1, len(shape))), min_size=1).map(tuple))
    a = laid_out(draw(shape, dtype), layout)
    with forced(threads_=count, element_block=block):
        found = cpu.sums(a, axes)
    assert found.shape == tuple(1 if i in axes else n for i, n in enumerate(shape))
    assert_close(found, reference.sums(a, axes), a.size, scale=4)
    whole = found.reshape(len(a), -1).sum(axis=1)  # of each sample, whatever the axes
    assert_close(whole, a.reshape(len(a), -1).sum(axis=1), a.size, scale=4)


@pytest.mark.parametrize("axes", [(1,), (1, 2)])
def test_sums_of_many_float32_numbers_of_a_sample_keep_their_digits(axes):
    a = np.full((2, 500, 400), 0.1, "float32")
    found = cpu.sums(a, axes)
    exact = float(np.float32(0.1)) * math.prod(a.shape[i] for i in axes)
    assert found.dtype == np.float32 and np.abs(found / exact - 1).max() < 2e-5


def test_a_long_sum_of_several_channels_keeps_its_digits():
    found = cpu.sums(np.full((2, 512, 512, 3), 0.1, "float32"), (1, 2))
    assert np.abs(found / (float(np.float32(0.1)) * 512 * 512) - 1).max() < 2e-5


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("same", [True, False])
def test_scale_shift_writes_into_out(layout, same):
    x, a, b = laid_out(draw((4, 5, 3)), layout), draw((3,), seed=1), draw((3,), seed=2)
    expected = x * a + b
    out = x if same else laid_out(np.zeros((4, 5, 3)), layout)
    assert cpu.scale_shift(x, a, b, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-14)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 3])
def test_the_variance_survives_a_large_mean_in_float32(channels, count):
    """1e4 + N(0, 1): E[x^2] - E[x]^2 would be off by more than the variance itself."""
    x = (1e4 + draw((64, 30, 40, channels))).astype("float32")
    exact = x.astype("float64").reshape(-1, channels)
    with forced(threads_=count):
        mean, var = cpu.batch_moments(x)
    assert mean.dtype == var.dtype == np.float32
    assert np.abs(mean - exact.mean(axis=0)).max() < 0.02
    assert np.abs(var / exact.var(axis=0) - 1).max() < 1e-3


@pytest.mark.parametrize("channels", [1, 2, 64])
def test_sums_of_many_float32_numbers_keep_their_digits(channels):
    """A running float32 sum of a million times 0.1 is off by one per cent."""
    a = np.full((1_000_000 // channels, channels), 0.1, "float32")
    exact = float(np.float32(0.1)) * len(a)
    for found in (cpu.column_sums(a), cpu.product_sums(a, np.ones_like(a))):
        assert found.dtype == np.float32
        assert np.abs(found / exact - 1).max() < 2e-5


def test_column_sums_of_random_numbers_against_fsum():
    a = draw((5000, 2), "float32")
    for c in range(2):
        exact = math.fsum(a[:, c].tolist())
        assert abs(float(cpu.column_sums(a)[c]) - exact) < 5000**0.5 * 64 * 6e-8


def test_the_same_bits_again():
    a, b = draw((3000, 5), "float32"), draw((3000, 5), "float32", seed=1)
    with forced(threads_=3):
        first = cpu.column_sums(a), cpu.product_sums(a, b), *cpu.batch_moments(a)
        for _ in range(5):
            again = cpu.column_sums(a), cpu.product_sums(a, b), *cpu.batch_moments(a)
            assert all(np.array_equal(f, g) for f, g in zip(first, again, strict=True))
