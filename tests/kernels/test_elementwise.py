"""The elementwise kernels, block by block, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.kernels import cpu, reference
from tests.helpers import DTYPES, LAYOUTS, assert_close, draw, forced, laid_out

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)

# name -> (number of arrays, other arguments)
KERNELS = {
    "multiply": (2, ()),
    "tanh": (1, ()),
    "tanh_backward": (2, ()),
    "sigmoid": (1, ()),
    "sigmoid_backward": (2, ()),
    "leaky_relu": (1, (0.2,)),
    "leaky_relu_backward": (2, (0.2,)),
    "tanh_tangent": (4, ()),
    "sigmoid_tangent": (4, ()),
    "silu": (1, ()),
    "silu_backward": (2, ()),
    "silu_tangent": (4, ()),
}
IN_PLACE = [k for k in KERNELS if "silu" not in k and "tangent" not in k and k != "multiply"]


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=25, derandomize=True)
@given(
    shapes,
    st.sampled_from(DTYPES),
    st.lists(st.sampled_from(LAYOUTS), min_size=4, max_size=4),
    st.sampled_from([1, 7, 1 << 17]),
    st.integers(1, 3),
)
def test_each_kernel_is_its_definition(name, shape, dtype, layouts, block, count):
    n, arguments = KERNELS[name]
    arrays = [laid_out(draw(shape, dtype, seed=i), layouts[i]) for i in range(n)]
    before = [a.copy() for a in arrays]
    with forced(threads_=count, element_block=block):
        found = getattr(cpu, name)(*arrays, *arguments)
    assert_close(found, getattr(reference, name)(*before, *arguments), 2)
    assert found.flags.c_contiguous
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))
    assert not any(np.shares_memory(found, a) for a in arrays)


@settings(max_examples=40)
@given(
    st.sampled_from(IN_PLACE),
    shapes,
    st.sampled_from(DTYPES),
    st.sampled_from(LAYOUTS),
    st.booleans(),
)
def test_the_result_goes_into_out_which_may_be_the_input(name, shape, dtype, layout, same):
    n, arguments = KERNELS[name]
    arrays = [laid_out(draw(shape, dtype, seed=i), layout) for i in range(n)]
    expected = getattr(reference, name)(*[a.copy() for a in arrays], *arguments)
    out = arrays[0] if same else laid_out(draw(shape, dtype, seed=9), layout)
    with forced(threads_=2, element_block=5):
        found = getattr(cpu, name)(*arrays, *arguments, out=out)
    assert found is out
    assert_close(out, expected, 2)


@settings(max_examples=40)
@given(
    shapes.filter(lambda s: len(s) > 1),
    st.sampled_from(DTYPES),
    st.sampled_from(LAYOUTS),
    st.integers(1, 3),
)
def test_add_bias(shape, dtype, layout, count):
    y, bias = laid_out(draw(shape, dtype), layout), draw(shape[-1:], dtype, seed=1)
    expected = reference.add_bias(y.copy(), bias)
    with forced(threads_=count, element_block=5):
        found = cpu.add_bias(y, bias)
    assert_close(found, expected)


@pytest.mark.parametrize("module", [cpu, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_kink(module, dtype):
    zero, one = np.zeros(3, dtype), np.ones(3, dtype)
    for slope in (0.0, 0.25, 1.0):
        assert np.array_equal(module.leaky_relu(zero, slope), zero)
        assert np.array_equal(module.leaky_relu_backward(one, zero, slope), one * slope)
        assert np.array_equal(module.leaky_relu_backward(one, one, slope), one)


@pytest.mark.parametrize("module", [cpu, reference])
def test_only_the_real_part_decides(module):
    x = np.array([1 - 5j, -1 + 5j, 0 + 5j, 0 - 5j, 1e-300 - 9j])
    factor = np.array([1, 0.25, 0.25, 0.25, 1])
    assert np.array_equal(module.leaky_relu(x, 0.25), x * factor)
    assert np.array_equal(module.leaky_relu_backward(np.ones(5) + 0j, x, 0.25), factor + 0j)


@pytest.mark.parametrize("slope", np.linspace(0, 1, 33))
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_side_above_the_kink_is_exact(slope, dtype):
    x, dy = np.abs(draw((50,), dtype).real).astype(dtype) + 1, draw((50,), dtype, seed=1)
    y = cpu.leaky_relu(x, float(slope))
    assert np.array_equal(y, x)
    assert np.array_equal(cpu.leaky_relu_backward(dy, y, float(slope)), dy)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("module", [cpu, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_inputs_saturate_without_a_warning(module, dtype):
    x = np.array([-1e4, -800, -100, 100, 800, 1e4], dtype)
    assert np.allclose(module.sigmoid(x), [0, 0, 0, 1, 1, 1], atol=1e-40)
    assert np.array_equal(module.tanh(x), np.array([-1, -1, -1, 1, 1, 1], dtype))


def test_complex_kernels_carry_a_derivative():
    x, h = np.array([-740.0, -20.0, -0.5, 0.3, 30.0]), 1e-20
    for name in ("sigmoid", "tanh", "silu"):
        y = x if name == "silu" else getattr(cpu, name)(x)
        slope = getattr(cpu, name + "_backward")(np.ones(5), y)
        found = getattr(cpu, name)(x + 1j * h).imag / h
        np.testing.assert_allclose(found, slope, rtol=1e-12, atol=1e-15)
    found = cpu.leaky_relu(x + 1j * h, 0.2).imag / h
    assert np.allclose(found, [0.2, 0.2, 0.2, 1, 1], rtol=1e-15)


@pytest.mark.parametrize("module", [cpu, reference])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu"])
def test_a_tangent_kernel_is_the_derivative_of_backward(module, name):
    """Along (ddy, ta), a being what backward reads."""
    (dy, ddy, a, ta), h = (draw((40,), seed=i) for i in range(4)), 1e-20
    moved = getattr(module, name + "_backward")(dy + 1j * h * ddy, a + 1j * h * ta)
    found = getattr(module, name + "_tangent")(dy, ddy, a, ta)
    np.testing.assert_allclose(found, moved.imag / h, rtol=1e-12, atol=1e-13)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("module", [cpu, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_silu_of_extreme_inputs(module, dtype):
    x = np.array([-1e4, -800, 0, 800, 1e4], dtype)
    one = np.ones_like(x)
    assert np.array_equal(module.silu(x), np.array([0, 0, 0, 800, 1e4], dtype))
    assert np.array_equal(module.silu_backward(one, x), np.array([0, 0, 0.5, 1, 1], dtype))
    bend = module.silu_tangent(one, 0 * one, x, one)
    assert np.array_equal(bend, np.array([0, 0, 0.5, 0, 0], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["C", "strided"])
def test_adam(dtype, layout):
    names = "pgmv"
    start = {n: draw((7, 3), dtype, seed=i) for i, n in enumerate(names)}
    start["v"] = np.abs(start["v"]).astype(dtype)
    fast = {n: laid_out(a.copy(), layout) for n, a in start.items()}
    slow = {n: a.copy() for n, a in start.items()}
    with forced(threads_=3, element_block=4):
        cpu.adam(*fast.values(), 0.1, (0.5, 0.9), 1.5, 1e-7)
    reference.adam(*slow.values(), 0.1, (0.5, 0.9), 1.5, 1e-7)
    for n in names:
        assert_close(fast[n], slow[n], 4)
    assert np.array_equal(fast["g"], start["g"])
    p, g, m, v = (start[n] for n in names)
    m = 0.5 * m + 0.5 * g
    v = 0.9 * v + 0.1 * g * g
    p = p - 0.1 * m / (np.sqrt(v) * 1.5 + 1e-7)
    for found, expected in ((fast["p"], p), (fast["m"], m), (fast["v"], v)):
        np.testing.assert_allclose(found, expected, rtol=1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("m, k, n", [(1, 1, 1), (7, 3, 2), (2, 3, 9), (1, 40, 1), (5, 1, 5)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_matmul(m, k, n, dtype, layout):
    a, b = laid_out(draw((m, k), dtype), layout), laid_out(draw((k, n), dtype, seed=1), layout)
    expected = np.array(
        [[sum(a[i, q] * b[q, j] for q in range(k)) for j in range(n)] for i in range(m)]
    )
    with forced(threads_=3):
        assert_close(cpu.matmul(a, b), expected.astype(dtype), k, scale=10)
        assert_close(cpu.matmul(b.T, a.T), expected.T.astype(dtype), k, scale=10)
