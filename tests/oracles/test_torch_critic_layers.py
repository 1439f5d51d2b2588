"""Norms of a sample, groups, SiLU, resampling, spectral norms beside PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minigan as mg

from .compare import close
from .torch_critics import forward, leaves_of
from .torch_helpers import EXAMPLES, FEW, batches, channels, compare, normal, passes, seeds, tensor

pytestmark = pytest.mark.oracle

inner = st.lists(st.integers(2, 5), min_size=0, max_size=2)
epsilons = st.sampled_from([1e-5, 1e-3])


def beside(torch, layer, seed, shape, name=None, terms=None):
    """Forward and both backward passes of a layer, at random parameters."""
    rng = np.random.default_rng(seed)
    x = normal(rng, *shape)
    y, dy, dx, grads, _ = passes(layer, x, rng)
    leaves = {"x": tensor(torch, x)} | leaves_of(torch, layer)
    theirs = forward(torch, layer, leaves["x"], {k: t for k, t in leaves.items() if k != "x"})
    compare(name or type(layer).__name__, y, dx, grads, theirs, dy, leaves, torch, terms=terms)


@EXAMPLES
@given(seeds, batches, inner, st.integers(2, 6), epsilons, st.sampled_from(["position", "sample"]))
def test_layer_norm(torch, seed, n, inner, c, epsilon, over):
    layer = mg.LayerNorm(over=over, epsilon=epsilon)
    beside(torch, layer, seed, (n, *inner, c), f"LayerNorm {over}", terms=epsilon**-0.5)


@EXAMPLES
@given(seeds, batches, st.lists(st.integers(2, 5), min_size=1, max_size=2), channels, epsilons)
def test_instance_norm(torch, seed, n, inner, c, epsilon):
    beside(torch, mg.InstanceNorm(epsilon=epsilon), seed, (n, *inner, c), terms=epsilon**-0.5)


@EXAMPLES
@given(seeds, batches, inner, st.integers(1, 6), st.sampled_from([1e-8, 1e-3]))
def test_pixel_norm(torch, seed, n, inner, c, epsilon):
    beside(torch, mg.PixelNorm(epsilon=epsilon), seed, (n, *inner, c), terms=100)


@EXAMPLES
@given(
    seeds, batches, st.tuples(*[st.integers(3, 7)] * 2), st.integers(2, 4), st.integers(1, 2),
    st.integers(1, 3), st.tuples(*[st.integers(1, 3)] * 2), st.integers(1, 2), st.booleans(),
    st.sampled_from(["same", "valid"]), st.sampled_from([None, "silu", "leaky_relu"]),
)  # fmt: skip
def test_groups(torch, seed, n, size, groups, c, filters, kernel, stride, transposed, padding, f):
    options = {"strides": stride, "groups": groups, "activation": f}
    if transposed:
        kernel = tuple(max(k, stride) for k in kernel)
        layer = mg.Conv2DTranspose(groups * filters, kernel, padding="valid", **options)
    else:
        layer = mg.Conv2D(groups * filters, kernel, padding=padding, **options)
    beside(torch, layer, seed, (n, *size, groups * c), f"{type(layer).__name__} in groups")


@FEW
@given(seeds, batches, inner, channels)
def test_silu(torch, seed, n, inner, c):
    beside(torch, mg.SiLU(), seed, (n, *inner, c))


def test_silu_far_from_zero(torch):
    x = np.array([[-1000.0, -700, -40, -1e-9, 0, 1e-9, 40, 700, 1000]])
    layer = mg.SiLU()
    layer.build((9,), "float64")
    y, cache = layer.forward(x)
    t = tensor(torch, x)
    theirs = torch.nn.functional.silu(t)
    np.testing.assert_allclose(y, theirs.detach(), rtol=1e-14, atol=1e-300)
    dx = torch.autograd.grad(theirs.sum(), t)[0]
    found = layer.backward(np.ones_like(x), cache)[0]
    np.testing.assert_allclose(found, dx, rtol=1e-13, atol=1e-300)


@EXAMPLES
@given(
    seeds, batches, st.tuples(*[st.integers(1, 9)] * 2), channels,
    st.tuples(*[st.sampled_from([0.25, 0.4, 0.5, 0.75, 1, 1.5, 2, 3])] * 2), st.booleans(),
)  # fmt: skip
def test_resampling(torch, seed, n, size, c, factor, antialias):
    height, width = (int(f * s) for f, s in zip(factor, size, strict=True))
    # where the result is one pixel wide, PyTorch 2.13 with antialias repeats its first row
    assume(height >= 1 and width >= 1 + antialias)
    name = f"Resampling2D{' antialias' if antialias else ''}"
    beside(torch, mg.Resampling2D(factor, antialias=antialias), seed, (n, *size, c), name)


def converged(layer, x):
    """The layer after so many forward passes that u is the singular vector."""
    for _ in range(1000):
        layer.commit(layer.forward(x)[1])
    return layer


SPECTRAL = {
    "dense": (lambda: mg.Dense(4), (6,)),
    "conv2d": (lambda: mg.Conv2D(4, 3, padding="same"), (4, 5, 2)),
    "conv2d groups": (lambda: mg.Conv2D(4, 2, groups=2, activation="silu"), (4, 5, 2)),
    "conv2d_transpose": (lambda: mg.Conv2DTranspose(3, 3, strides=2), (3, 4, 2)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", SPECTRAL)
def test_spectral_norm_at_convergence(torch, case, seed):
    """Beside the division by the largest singular value, and its derivative from the SVD."""
    make, shape = SPECTRAL[case]
    rng = np.random.default_rng(seed)
    layer, x = mg.SpectralNorm(make()), normal(rng, 3, *shape)
    layer.build(shape, "float64")
    for p in layer.params.values():
        p[...] = normal(rng, *p.shape)
    y, cache = converged(layer, x).forward(x)
    dy = normal(rng, *y.shape)
    dx, grads = layer.backward(dy, cache)
    leaves = {"x": tensor(torch, x)} | (own := leaves_of(torch, layer))
    compare(
        "SpectralNorm", y, dx, grads, forward(torch, layer, leaves["x"], own), dy, leaves, torch
    )


def test_spectral_norm_is_pytorchs(torch):
    """Beside torch.nn.utils.parametrizations.spectral_norm, both after many iterations."""
    rng = np.random.default_rng(0)
    layer, x = mg.SpectralNorm(mg.Conv2D(4, 3)), normal(rng, 2, 5, 6, 3)
    layer.build(x.shape[1:], "float64")
    theirs = torch.nn.Conv2d(3, 4, 3)
    for ours, p in zip(layer.params.values(), (theirs.weight, theirs.bias), strict=True):
        ours[...] = normal(rng, *ours.shape)
        p.data = torch.tensor(ours).permute(3, 2, 0, 1) if ours.ndim == 4 else torch.tensor(ours)
    spectral = torch.nn.utils.parametrizations.spectral_norm
    theirs = spectral(theirs, n_power_iterations=1000)
    theirs(torch.zeros(1, 3, 5, 6))  # iterates
    y, cache = converged(layer, x).forward(x)
    expected = theirs.eval()(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    close("SpectralNorm", "forward of PyTorch's", y, expected.detach())
    dy = normal(rng, *y.shape)
    _, grads = layer.backward(dy, cache)
    weight, bias = theirs.parametrizations.weight.original, theirs.bias
    found = torch.autograd.grad(expected, [weight, bias], torch.tensor(dy))
    close("SpectralNorm", "dkernel of PyTorch's", grads["kernel"], found[0].permute(2, 3, 1, 0))
    close("SpectralNorm", "dbias of PyTorch's", grads["bias"], found[1])
