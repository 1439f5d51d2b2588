"""Dense and the convolutions beside PyTorch in float64, over random configurations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg

from .torch_helpers import (
    EXAMPLES,
    activate,
    activations,
    batches,
    channels,
    compare,
    normal,
    paddings,
    passes,
    same_padding,
    seeds,
    sides,
    steps,
    taps,
    tensor,
)

pytestmark = pytest.mark.oracle


@EXAMPLES
@given(seeds, batches, st.integers(1, 9), st.integers(1, 9), st.booleans(), activations)
def test_dense(torch, seed, n, inputs, units, use_bias, activation):
    rng = np.random.default_rng(seed)
    x = normal(rng, n, inputs)
    layer = mg.Dense(units, use_bias=use_bias, activation=activation)
    y, dy, dx, grads, _ = passes(layer, x, rng)
    leaves = {"x": tensor(torch, x)} | {k: tensor(torch, p) for k, p in layer.params.items()}
    z = torch.nn.functional.linear(leaves["x"], leaves["kernel"].T, leaves.get("bias"))
    compare("Dense", y, dx, grads, activate(torch, activation, z), dy, leaves, torch)


@EXAMPLES
@given(
    seeds, batches, st.tuples(sides, sides), channels, channels, st.tuples(taps, taps),
    st.tuples(steps, steps), paddings, st.booleans(), activations,
)  # fmt: skip
def test_conv2d(torch, seed, n, size, c, filters, kernel, stride, padding, use_bias, activation):
    if padding == "valid":
        size = tuple(max(s, k) for s, k in zip(size, kernel, strict=True))
    rng = np.random.default_rng(seed)
    x = normal(rng, n, *size, c)
    layer = mg.Conv2D(
        filters, kernel, strides=stride, padding=padding, use_bias=use_bias, activation=activation
    )
    y, dy, dx, grads, _ = passes(layer, x, rng)
    leaves = {"x": tensor(torch, x)} | {k: tensor(torch, p) for k, p in layer.params.items()}
    image = leaves["x"].permute(0, 3, 1, 2)
    if padding == "same":
        (top, bottom), (left, right) = map(same_padding, size, kernel, stride)
        image = torch.nn.functional.pad(image, (left, right, top, bottom))
    weight = leaves["kernel"].permute(3, 2, 0, 1).contiguous()
    z = torch.nn.functional.conv2d(image, weight, leaves.get("bias"), stride)
    z = activate(torch, activation, z.permute(0, 2, 3, 1))
    compare(f"Conv2D {padding}", y, dx, grads, z, dy, leaves, torch)


def crop_or_grow(torch, z, axis, n, k, s, padding):
    """The transposed convolution's n*s (same) or n*s + max(k-s, 0) (valid) numbers on an axis.

    PyTorch makes (n-1)*s + k.  same takes off max(k-s, 0), the smaller half before; where k < s
    the last numbers, which no input reaches, are zero.
    """
    before = max(k - s, 0) // 2 if padding == "same" else 0
    length = n * s + (max(k - s, 0) if padding == "valid" else 0)
    z = z.narrow(axis, before, min(length, z.shape[axis] - before))
    missing = length - z.shape[axis]
    if missing:
        shape = list(z.shape)
        shape[axis] = missing
        z = torch.cat([z, torch.zeros(shape)], axis)
    return z


@EXAMPLES
@given(
    seeds, batches, st.tuples(st.integers(1, 6), st.integers(1, 6)), channels, channels,
    st.tuples(taps, taps), st.tuples(steps, steps), paddings, st.booleans(), activations,
)  # fmt: skip
def test_conv2d_transpose(
    torch, seed, n, size, c, filters, kernel, stride, padding, use_bias, activation
):
    rng = np.random.default_rng(seed)
    x = normal(rng, n, *size, c)
    layer = mg.Conv2DTranspose(
        filters, kernel, strides=stride, padding=padding, use_bias=use_bias, activation=activation
    )
    y, dy, dx, grads, _ = passes(layer, x, rng)
    leaves = {"x": tensor(torch, x)} | {k: tensor(torch, p) for k, p in layer.params.items()}
    weight = leaves["kernel"].permute(3, 2, 0, 1).contiguous()  # (in, out, kh, kw)
    image = leaves["x"].permute(0, 3, 1, 2)
    z = torch.nn.functional.conv_transpose2d(image, weight, None, stride)
    for axis in (0, 1):
        z = crop_or_grow(torch, z, 2 + axis, size[axis], kernel[axis], stride[axis], padding)
    z = z.permute(0, 2, 3, 1)
    if use_bias:
        z = z + leaves["bias"]
    z = activate(torch, activation, z)
    compare(f"Conv2DTranspose {padding}", y, dx, grads, z, dy, leaves, torch)


@EXAMPLES
@given(seeds, batches, sides, channels, channels, taps, steps, paddings, st.booleans(), activations)
def test_conv1d(torch, seed, n, size, c, filters, kernel, stride, padding, use_bias, activation):
    size = max(size, kernel) if padding == "valid" else size
    rng = np.random.default_rng(seed)
    x = normal(rng, n, size, c)
    layer = mg.Conv1D(
        filters, kernel, strides=stride, padding=padding, use_bias=use_bias, activation=activation
    )
    y, dy, dx, grads, _ = passes(layer, x, rng)
    leaves = {"x": tensor(torch, x)} | {k: tensor(torch, p) for k, p in layer.params.items()}
    signal = leaves["x"].permute(0, 2, 1)
    if padding == "same":
        signal = torch.nn.functional.pad(signal, same_padding(size, kernel, stride))
    weight = leaves["kernel"].permute(2, 1, 0).contiguous()
    z = torch.nn.functional.conv1d(signal, weight, leaves.get("bias"), stride)
    z = activate(torch, activation, z.permute(0, 2, 1))
    compare(f"Conv1D {padding}", y, dx, grads, z, dy, leaves, torch)


@EXAMPLES
@given(seeds, batches, sides, channels, channels, taps, steps, paddings, st.booleans(), activations)
def test_conv1d_transpose(
    torch, seed, n, size, c, filters, kernel, stride, padding, use_bias, activation
):
    rng = np.random.default_rng(seed)
    x = normal(rng, n, size, c)
    layer = mg.Conv1DTranspose(
        filters, kernel, strides=stride, padding=padding, use_bias=use_bias, activation=activation
    )
    y, dy, dx, grads, _ = passes(layer, x, rng)
    leaves = {"x": tensor(torch, x)} | {k: tensor(torch, p) for k, p in layer.params.items()}
    weight = leaves["kernel"].permute(2, 1, 0).contiguous()  # (in, out, k)
    z = torch.nn.functional.conv_transpose1d(leaves["x"].permute(0, 2, 1), weight, None, stride)
    z = crop_or_grow(torch, z, 2, size, kernel, stride, padding).permute(0, 2, 1)
    if use_bias:
        z = z + leaves["bias"]
    z = activate(torch, activation, z)
    compare(f"Conv1DTranspose {padding}", y, dx, grads, z, dy, leaves, torch)


# sizes at which the fast paths take over: many channels, large kernels, the reference geometries
LARGE = [
    (mg.Conv2D, (2, 28, 28, 24), 1, 7, 1),
    (mg.Conv2D, (2, 40, 40, 3), 40, 5, 1),
    (mg.Conv2D, (2, 20, 21, 40), 32, 5, 2),
    (mg.Conv2D, (3, 28, 28, 1), 64, 3, 2),
    (mg.Conv2D, (3, 33, 31, 16), 16, 3, 1),
    (mg.Conv2D, (2, 32, 32, 1), 64, 4, 2),
    (mg.Conv2DTranspose, (2, 14, 14, 32), 32, 4, 2),
    (mg.Conv2DTranspose, (2, 10, 10, 32), 32, 5, 2),
    (mg.Conv2DTranspose, (3, 32, 32, 16), 1, 4, 2),
    (mg.Conv2DTranspose, (2, 9, 13, 20), 12, 3, 2),
    (mg.Conv2DTranspose, (2, 9, 13, 20), 12, 3, 1),
]


@pytest.mark.parametrize("kind, shape, filters, k, s", LARGE)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_convolutions_of_the_reference_networks(torch, kind, shape, filters, k, s, padding):
    rng = np.random.default_rng(1)
    layer = kind(filters, k, strides=s, padding=padding)
    x = normal(rng, *shape)
    y, dy, dx, grads, _ = passes(layer, x, rng)
    leaves = {"x": tensor(torch, x)} | {k: tensor(torch, p) for k, p in layer.params.items()}
    image, weight = (
        leaves["x"].permute(0, 3, 1, 2),
        leaves["kernel"].permute(3, 2, 0, 1).contiguous(),
    )
    sizes = shape[1:3]
    if kind is mg.Conv2D:
        if padding == "same":
            (top, bottom), (left, right) = (same_padding(n, k, s) for n in sizes)
            image = torch.nn.functional.pad(image, (left, right, top, bottom))
        z = torch.nn.functional.conv2d(image, weight, None, s)
    else:
        z = torch.nn.functional.conv_transpose2d(image, weight, None, s)
        for axis, n in enumerate(sizes):
            z = crop_or_grow(torch, z, 2 + axis, n, k, s, padding)
    z = z.permute(0, 2, 3, 1) + leaves["bias"]
    compare(f"{kind.__name__} {padding}", y, dx, grads, z, dy, leaves, torch)
