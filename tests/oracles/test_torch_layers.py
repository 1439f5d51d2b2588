"""The other layers, and fused ones, beside PyTorch in float64, over random configurations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg

from .compare import close
from .torch_helpers import (
    EXAMPLES,
    FEW,
    activate,
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
