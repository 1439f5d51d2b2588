"""Every layer, loss and optimizer beside PyTorch in float64, over random configurations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minigan as mg

from .compare import close

pytestmark = pytest.mark.oracle

EXAMPLES = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(EXAMPLES, max_examples=50)

seeds = st.integers(0, 2**32 - 1)
batches = st.integers(1, 4)
channels = st.integers(1, 5)
sides = st.integers(1, 11)
taps = st.integers(1, 6)
steps = st.integers(1, 4)
paddings = st.sampled_from(["same", "valid"])
activations = st.sampled_from([None, "relu", "leaky_relu", "tanh", "sigmoid", "softmax"])


def normal(rng, *shape):
    return rng.standard_normal(shape)


def passes(layer, x, rng, training=True):
    """The layer built for x, with random parameters: y, dy, dx, gradients, cache."""
    shape = tuple(a.shape[1:] for a in x) if isinstance(x, tuple) else x.shape[1:]
    layer.build(shape, "float64")
    for (
        p
    ) in layer.params.values():  # small kernels: where tanh is flat, 1 - y^2 has lost its digits
        p[...] = rng.standard_normal(p.shape) / (1 if p.ndim == 1 else p.size**0.5)
    y, cache = layer.forward(x, training=training, rng=0)
    dy = rng.standard_normal(y.shape)
    dx, grads = layer.backward(dy, cache)
    only_dx, none = layer.backward(dy, cache, wrt="input")
    nothing, only_grads = layer.backward(dy, cache, wrt="params")
    assert none is None and nothing is None
    for one, two in zip(_arrays(dx), _arrays(only_dx), strict=True):
        assert np.array_equal(one, two)
    for key, g in grads.items():
        assert np.array_equal(g, only_grads[key])
    return y, dy, dx, grads, cache


def _arrays(dx):
    return dx if isinstance(dx, tuple) else (dx,)


def tensor(torch, array, grad=True):
    return torch.tensor(array, requires_grad=grad)


def activate(torch, name, y):
    """The activation along the last axis, by the name that our layers use."""
    functions = {
        None: lambda v: v,
        "relu": torch.relu,
        "leaky_relu": lambda v: torch.nn.functional.leaky_relu(v, 0.2),
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softmax": lambda v: torch.softmax(v, -1),
    }
    return functions[name](y)


def compare(name, y, dx, grads, theirs_y, dy, leaves, torch, terms=None, usual=0.1):
    """Our arrays against autograd's. leaves: {"x": tensor or tuple, "kernel": tensor, ...}.

    terms: the size of the terms that dx is the difference of.  All inputs here are near 1 in size,
    and so are most results; a result that is much smaller than `usual` is a difference of terms
    that cancel, or has gone through a flat tanh, whose 1 - y^2 has fewer digits.
    """
    inputs = leaves["x"] if isinstance(leaves["x"], tuple) else (leaves["x"],)
    params = {k: v for k, v in leaves.items() if k != "x"}
    close(name, "forward", y, theirs_y.detach(), terms=usual)
    found = torch.autograd.grad(theirs_y, [*inputs, *params.values()], torch.tensor(dy))
    usual *= np.abs(dy).max()
    for one, two in zip(_arrays(dx), found[: len(inputs)], strict=True):
        close(name, "dx", one, two, terms=terms or usual)
    assert grads.keys() == params.keys()
    for key, g in zip(params, found[len(inputs) :], strict=True):
        close(name, f"d{key}", grads[key], g, terms=usual)


def same_padding(n, k, s):
    """Before and after, as TensorFlow pads."""
    total = max((-(-n // s) - 1) * s + k - n, 0)
    return total // 2, total - total // 2


# Dense and the convolutions


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


# BatchNorm


@EXAMPLES
@given(
    seeds, st.integers(2, 5), st.lists(st.integers(1, 5), min_size=0, max_size=2), channels,
    st.floats(0, 1), st.floats(1e-5, 1e-2), st.booleans(),
)  # fmt: skip
def test_batch_norm(torch, seed, n, inner, c, momentum, epsilon, unbiased):
    """Two forward passes that move the running statistics, then one in inference mode."""
    rng = np.random.default_rng(seed)
    layer = mg.BatchNorm(momentum=momentum, epsilon=epsilon, unbiased=unbiased)
    shape = (n, *inner, c)
    layer.build(shape[1:], "float64")
    mean, var = torch.zeros(c), torch.ones(c)
    for training in (True, True, False):
        x = 1 + 2 * normal(rng, *shape)
        state = {k: v.copy() for k, v in layer.state.items()}
        moved = {**layer.state}
        for p in layer.params.values():
            p[...] = rng.standard_normal(p.shape)
        y, cache = layer.forward(x, training=training)
        dy = rng.standard_normal(y.shape)
        dx, grads = layer.backward(dy, cache)
        assert all(np.array_equal(state[k], layer.state[k]) for k in state)  # until commit
        layer.commit(cache)
        leaves = {"x": tensor(torch, x)} | {k: tensor(torch, p) for k, p in layer.params.items()}
        moving = leaves["x"].movedim(-1, 1)
        if training and not unbiased:  # PyTorch moves by the unbiased variance only
            axes = tuple(range(x.ndim - 1))
            mean = momentum * mean + (1 - momentum) * torch.tensor(x).mean(axes)
            var = momentum * var + (1 - momentum) * torch.tensor(x).var(axes, unbiased=False)
            running = None, None
        else:
            running = mean, var
        z = torch.nn.functional.batch_norm(
            moving, *running, leaves["gamma"], leaves["beta"], training, 1 - momentum, epsilon
        )
        name = f"BatchNorm {x.ndim}-D"
        # of two values, dx is what epsilon leaves of terms that cancel
        least = x.reshape(-1, c).var(0).min() + epsilon
        terms = np.abs(layer.params["gamma"] * dy).max() / least**0.5
        compare(name, y, dx, grads, z.movedim(1, -1), dy, leaves, torch, terms, usual=1)
        close(name, "moving_mean", layer.state["moving_mean"], mean, terms=1)
        close(name, "moving_variance", layer.state["moving_variance"], var, terms=1)
        assert all(moved[k] is layer.state[k] for k in moved)  # moved in place: views stay views


# layers without parameters


@FEW
@given(seeds, batches, st.lists(st.integers(1, 5), min_size=1, max_size=3), st.floats(0, 1))
def test_activations(torch, seed, n, inner, slope):
    rng = np.random.default_rng(seed)
    x = 3 * normal(rng, n, *inner)
    functions = {
        "relu": mg.ReLU(), "leaky_relu": mg.LeakyReLU(0.2), "tanh": mg.Tanh(),
        "sigmoid": mg.Sigmoid(), "softmax": mg.Softmax(),
    }  # fmt: skip
    pairs = [(layer, name) for name, layer in functions.items()]
    pairs += [(mg.Activation(name), name) for name in functions]
    for layer, name in pairs:
        y, dy, dx, grads, _ = passes(layer, x, rng)
        leaves = {"x": tensor(torch, x)}
        z = activate(torch, name, leaves["x"])
        compare(type(layer).__name__, y, dx, grads, z, dy, leaves, torch)
    y, dy, dx, grads, _ = passes(mg.LeakyReLU(slope), x, rng)
    leaves = {"x": tensor(torch, x)}
    z = torch.nn.functional.leaky_relu(leaves["x"], slope)
    compare("LeakyReLU", y, dx, grads, z, dy, leaves, torch)


def test_kinks_and_extreme_values(torch):
    """At x = 0 the same subgradients; at large x the same limits."""
    x = np.array([[0.0, -0.0, 1e-300, -1e-300, 50.0, -50.0, 700.0, -700.0, 800.0, -800.0]])
    for layer, name in [
        (mg.ReLU(), "relu"), (mg.LeakyReLU(0.2), "leaky_relu"), (mg.Tanh(), "tanh"),
        (mg.Sigmoid(), "sigmoid"), (mg.Softmax(), "softmax"),
    ]:  # fmt: skip
        y, dy, dx, grads, _ = passes(layer, x, np.random.default_rng(0))
        leaves = {"x": tensor(torch, x)}
        z = activate(torch, name, leaves["x"])
        compare(type(layer).__name__, y, dx, grads, z, dy, leaves, torch)


@EXAMPLES
@given(
    seeds, batches, st.tuples(sides, sides), channels, st.tuples(taps, taps),
    st.one_of(st.none(), st.tuples(steps, steps)), paddings, st.booleans(),
)  # fmt: skip
def test_pooling(torch, seed, n, size, c, pool, stride, padding, ties):
    if padding == "valid":
        size = tuple(max(s, k) for s, k in zip(size, pool, strict=True))
    rng = np.random.default_rng(seed)
    x = normal(rng, n, *size, c)
    if ties:  # few different numbers: many windows have several largest ones
        x = np.round(x)
    (top, bottom), (left, right) = (
        map(same_padding, size, pool, stride or pool) if padding == "same" else ((0, 0), (0, 0))
    )
    pad = (left, right, top, bottom)
    F = torch.nn.functional
    for kind in (mg.MaxPooling2D, mg.AveragePooling2D):
        y, dy, dx, grads, _ = passes(kind(pool, strides=stride, padding=padding), x, rng)
        leaves = {"x": tensor(torch, x)}
        image = leaves["x"].permute(0, 3, 1, 2)
        if kind is mg.MaxPooling2D:
            z = F.max_pool2d(F.pad(image, pad, value=-torch.inf), pool, stride)
        else:  # the mean over the pixels inside the image
            share = F.avg_pool2d(F.pad(torch.ones_like(image), pad), pool, stride)
            z = F.avg_pool2d(F.pad(image, pad), pool, stride) / share
        name = f"{kind.__name__} {padding}"
        compare(name, y, dx, grads, z.permute(0, 2, 3, 1), dy, leaves, torch)


@FEW
@given(seeds, batches, st.tuples(sides, sides), channels, st.tuples(steps, steps))
def test_upsampling(torch, seed, n, size, c, factor):
    rng = np.random.default_rng(seed)
    x = normal(rng, n, *size, c)
    y, dy, dx, grads, _ = passes(mg.UpSampling2D(factor), x, rng)
    leaves = {"x": tensor(torch, x)}
    target = (size[0] * factor[0], size[1] * factor[1])
    z = torch.nn.functional.interpolate(leaves["x"].permute(0, 3, 1, 2), target, mode="nearest")
    compare("UpSampling2D", y, dx, grads, z.permute(0, 2, 3, 1), dy, leaves, torch)


@FEW
@given(seeds, batches, st.sampled_from([(), (3,), (2, 2)]), st.integers(1, 7), channels)
def test_embedding(torch, seed, n, shape, classes, units):
    rng = np.random.default_rng(seed)
    x = rng.integers(classes, size=(n, *shape))  # labels repeat: their gradients add up
    layer = mg.Embedding(classes, units)
    layer.build(shape, "float64")
    layer.params["embeddings"][...] = rng.standard_normal((classes, units))
    y, cache = layer.forward(x)
    dy = rng.standard_normal(y.shape)
    dx, grads = layer.backward(dy, cache)
    table = tensor(torch, layer.params["embeddings"])
    z = torch.nn.functional.embedding(torch.tensor(x), table)
    assert dx is None
    close("Embedding", "forward", y, z.detach())
    close(
        "Embedding",
        "dembeddings",
        grads["embeddings"],
        *torch.autograd.grad(z, table, torch.tensor(dy)),
    )


@FEW
@given(seeds, batches, st.permutations([2, 3, 4]))
def test_flatten_and_reshape(torch, seed, n, inner):
    """Row-major order with channels last, which PyTorch has after a permutation."""
    rng = np.random.default_rng(seed)
    x = normal(rng, n, *inner)
    for layer in (mg.Flatten(), mg.Reshape((-1, 2)), mg.Reshape((4, 6)), mg.Reshape((2, -1, 3))):
        y, dy, dx, grads, _ = passes(layer, x, rng)
        leaves = {"x": tensor(torch, np.moveaxis(x, -1, 1))}
        last = leaves["x"].movedim(1, -1)
        z = last.reshape(n, *layer.output_shape)
        compare(type(layer).__name__, y, np.moveaxis(dx, -1, 1), grads, z, dy, leaves, torch)


@FEW
@given(seeds, batches, st.sampled_from(["concat", "add"]), st.booleans(), channels, channels)
def test_parallel(torch, seed, n, merge, shared, units, other):
    """Two branches, a matrix product and a tanh of another, on one input or on two."""
    rng = np.random.default_rng(seed)
    other = units if merge == "add" else other
    branches = [mg.Dense(units), mg.Sequential([mg.Dense(other), mg.Tanh()])]
    layer = mg.Parallel(branches, merge=merge)
    x = normal(rng, n, 4) if shared else (normal(rng, n, 4), normal(rng, n, 3))
    y, dy, dx, grads, _ = passes(layer, x, rng)
    inputs = (x, x) if shared else x
    leaf = [tensor(torch, a) for a in inputs]
    if shared:
        leaf[1] = leaf[0]
    leaves = {"x": leaf[0] if shared else tuple(leaf)}
    leaves |= {k: tensor(torch, p) for k, p in layer.params.items()}
    one = leaf[0] @ leaves["0.kernel"] + leaves["0.bias"]
    two = torch.tanh(leaf[1] @ leaves["1.dense.kernel"] + leaves["1.dense.bias"])
    z = torch.cat([one, two], -1) if merge == "concat" else one + two
    compare(f"Parallel {merge}", y, dx, grads, z, dy, leaves, torch)


@FEW
@given(seeds, batches, st.floats(0, 0.9))
def test_dropout_with_its_mask(torch, seed, n, rate):
    """y = x * mask / (1 - rate), for the mask that the layer drew."""
    rng = np.random.default_rng(seed)
    x = normal(rng, n, 7, 3)
    layer = mg.Dropout(rate)
    y, dy, dx, grads, _ = passes(layer, x, rng)
    mask = torch.tensor((y != 0) / (1 - rate))
    leaves = {"x": tensor(torch, x)}
    compare("Dropout", y, dx, grads, leaves["x"] * mask, dy, leaves, torch)


# fused neighbours


@EXAMPLES
@given(
    seeds, st.integers(2, 4), st.tuples(st.integers(3, 8), st.integers(3, 8)),
    st.booleans(), st.sampled_from(["relu", "leaky_relu", "tanh", "sigmoid"]),
)  # fmt: skip
def test_stages_of_a_model(torch, seed, n, size, use_bias, activation):
    """Upsampling, convolution, BatchNorm and an activation in a row, as Sequential groups them."""
    rng = np.random.default_rng(seed)
    x = normal(rng, n, *size, 2)
    model = mg.Sequential(
        [
            mg.UpSampling2D(2),
            mg.Conv2D(3, 5, padding="same", use_bias=use_bias),
            mg.BatchNorm(),
            mg.Activation(activation),
            mg.Conv2D(2, 3, strides=2),
            mg.Activation(activation),
            mg.Conv2DTranspose(3, 4, strides=2, padding="same"),
            mg.Activation(activation),
        ]
    )
    y, dy, dx, grads, _ = passes(model, x, rng)
    leaves = {"x": tensor(torch, x)} | {k: tensor(torch, p) for k, p in model.params.items()}
    F = torch.nn.functional
    weight = {
        k: p.permute(3, 2, 0, 1).contiguous() for k, p in leaves.items() if k.endswith("kernel")
    }
    z = leaves["x"].permute(0, 3, 1, 2)
    z = z.repeat_interleave(2, 2).repeat_interleave(2, 3)
    z = F.conv2d(z, weight["conv2d.kernel"], leaves.get("conv2d.bias"), padding=2)
    norm = (leaves["batch_normalization.gamma"], leaves["batch_normalization.beta"])
    z = activate(torch, activation, F.batch_norm(z, None, None, *norm, True, 0.1, 1e-3))
    z = F.conv2d(z, weight["conv2d_1.kernel"], leaves["conv2d_1.bias"], 2)
    z = activate(torch, activation, z)
    bias = leaves["conv2d_transpose.bias"]
    z = F.conv_transpose2d(z, weight["conv2d_transpose.kernel"], bias, 2, padding=1)
    z = activate(torch, activation, z).permute(0, 2, 3, 1)
    close("Sequential", "forward", y, z.detach())
    null = model.null_gradients()
    assert null == ({"conv2d.bias"} if use_bias else set())
    names = [k for k in leaves if k not in null]
    found = torch.autograd.grad(z, [leaves[k] for k in names], torch.tensor(dy))
    for key, g in zip(names, found, strict=True):
        what, ours = ("dx", dx) if key == "x" else ("dparams", grads[key])
        close("Sequential", what, ours, g, terms=0.1 * np.abs(dy).max())
    for key in null:
        assert np.abs(grads[key]).max() < 1e-12 * np.abs(dy).sum()


# losses


@FEW
@given(seeds, st.sampled_from([(1,), (5, 1), (3, 4), (2, 3, 2)]))
def test_losses_of_elements(torch, seed, shape):
    rng = np.random.default_rng(seed)
    F = torch.nn.functional
    logits, target = 4 * normal(rng, *shape), rng.random(shape)
    beyond = target * 1.4 - 0.2  # targets may leave [0, 1]
    p = 1 / (1 + np.exp(-logits))
    for name, loss, prediction, t, theirs in [
        (
            "BCE logits",
            mg.BCE(from_logits=True),
            logits,
            target,
            F.binary_cross_entropy_with_logits,
        ),
        (
            "BCE logits",
            mg.BCE(from_logits=True),
            logits,
            beyond,
            F.binary_cross_entropy_with_logits,
        ),
        ("BCE", mg.BCE(), p, target, F.binary_cross_entropy),
        ("BCE", mg.BCE(), p, np.round(target), F.binary_cross_entropy),
        ("MSE", mg.MSE(), logits, target, F.mse_loss),
    ]:
        value, dprediction = loss(prediction, t)
        leaf = tensor(torch, prediction)
        expected = theirs(leaf, torch.tensor(t))
        close(name, "value", value, expected.detach())
        usual = 0.1 / prediction.size
        close(name, "dprediction", dprediction, *torch.autograd.grad(expected, leaf), terms=usual)


def test_losses_at_their_limits(torch):
    """Where a probability is 0 or 1, and where a logit is huge."""
    F = torch.nn.functional
    for t in (np.zeros(6), np.ones(6), np.full(6, 0.3)):
        p = np.array([0.0, 1.0, 1e-20, 1 - 1e-16, 1e-9, 0.5])
        value, dp = mg.BCE()(p, t)
        leaf = tensor(torch, p)
        expected = F.binary_cross_entropy(leaf, torch.tensor(t))
        close("BCE", "value", value, expected.detach())
        # PyTorch holds p (1-p) above 1e-12 in single precision, which is 4e-9 from 1e-12
        close("BCE", "limits", dp, *torch.autograd.grad(expected, leaf), 1e-8)
        logits = np.array([0.0, 40.0, -40.0, 800.0, -800.0, 1e-8])
        value, dl = mg.BCE(from_logits=True)(logits, t)
        leaf = tensor(torch, logits)
        expected = F.binary_cross_entropy_with_logits(leaf, torch.tensor(t))
        close("BCE logits", "value", value, expected.detach())
        close("BCE logits", "limits", dl, *torch.autograd.grad(expected, leaf))


@pytest.mark.parametrize("logit", [5.0, 10.0, 20.0, 30.0, 40.0, 100.0])
def test_loss_of_a_confident_discriminator(torch, logit):
    """A loss near zero has all its digits, on either side, of a logit and of a probability."""
    F = torch.nn.functional
    exact = np.log1p(np.exp(-logit))
    for prediction, target in ((logit, 1.0), (-logit, 0.0)):
        value, _ = mg.BCE(from_logits=True)(np.array([prediction]), np.array([target]))
        close("BCE logits", "small value", value, exact)
    # PyTorch has the digits on this side only: for -logit and 0 it subtracts two large numbers
    theirs = F.binary_cross_entropy_with_logits(torch.tensor([logit]), torch.ones(1))
    close("BCE logits", "small value", exact, theirs)
    p = np.array([np.exp(-logit)])
    value, _ = mg.BCE()(p, np.zeros(1))
    close("BCE", "small value", value, F.binary_cross_entropy(torch.tensor(p), torch.zeros(1)))


@FEW
@given(seeds, batches, st.integers(2, 6), st.booleans())
def test_cross_entropy(torch, seed, n, classes, labels):
    rng = np.random.default_rng(seed)
    F = torch.nn.functional
    logits = 3 * normal(rng, n, classes)
    soft = rng.random((n, classes))
    soft /= soft.sum(1, keepdims=True)
    target = rng.integers(classes, size=n) if labels else soft
    value, dlogits = mg.CrossEntropy(from_logits=True)(logits, target)
    leaf = tensor(torch, logits)
    expected = F.cross_entropy(leaf, torch.tensor(target))
    close("CrossEntropy logits", "value", value, expected.detach())
    found = torch.autograd.grad(expected, leaf)
    close("CrossEntropy logits", "dprediction", dlogits, *found, terms=0.1 / n)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    value, dp = mg.CrossEntropy()(p, target)
    leaf = tensor(torch, p)
    if labels:
        expected = F.nll_loss(torch.log(leaf), torch.tensor(target))
    else:
        expected = -(torch.tensor(target) * torch.log(leaf)).sum() / n
    close("CrossEntropy", "value", value, expected.detach())
    close("CrossEntropy", "dprediction", dp, *torch.autograd.grad(expected, leaf))


# optimizers


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e4])
@pytest.mark.parametrize(
    "name, make, theirs",
    [
        (
            "Adam torch",
            lambda: mg.Adam(3e-3, beta_1=0.5, beta_2=0.999, form="torch"),
            lambda t, p: t.optim.Adam(p, 3e-3, (0.5, 0.999), 1e-8),
        ),
        (
            "Adam torch",
            lambda: mg.Adam(1e-5, beta_1=0.9, beta_2=0.99, epsilon=1e-6, form="torch"),
            lambda t, p: t.optim.Adam(p, 1e-5, (0.9, 0.99), 1e-6),
        ),
        ("SGD", lambda: mg.SGD(0.1), lambda t, p: t.optim.SGD(p, 0.1)),
        (
            "SGD momentum",
            lambda: mg.SGD(0.1, momentum=0.9),
            lambda t, p: t.optim.SGD(p, 0.1, momentum=0.9),
        ),
        (
            "RMSprop",
            lambda: mg.RMSprop(1e-3, rho=0.9, epsilon=1e-7),
            lambda t, p: t.optim.RMSprop(p, 1e-3, 0.9, 1e-7),
        ),
    ],
)
def test_optimizers(torch, name, make, theirs, scale):
    """Twenty steps on random gradients, some of them zero; the rate halves on the way."""
    rng = np.random.default_rng(0)
    params = {"a": normal(rng, 3, 4), "b": normal(rng, 5)}
    tensors = {k: tensor(torch, v) for k, v in params.items()}
    ours, oracle = make(), theirs(torch, list(tensors.values()))
    start = {k: v.copy() for k, v in params.items()}
    for step in range(20):
        if step == 10:
            ours.learning_rate /= 2
            oracle.param_groups[0]["lr"] /= 2
        grads = {k: scale * normal(rng, *v.shape) for k, v in params.items()}
        if step % 3 == 0:
            grads["b"][:2] = 0
        ours.step(params, grads)
        for k, g in grads.items():
            tensors[k].grad = torch.tensor(g)
        oracle.step()
        for k, v in params.items():
            moved = tensors[k].detach().numpy() - start[k]
            close(name, "moved", v - start[k], moved, 1e-9)
            close(name, "parameter", v, tensors[k].detach())
