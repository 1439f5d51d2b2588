"""What the tests beside PyTorch share: what Hypothesis draws, and both sides of a layer."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from .compare import close

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
