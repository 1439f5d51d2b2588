"""What several test files share: arrays in every memory layout, bounds, a case of each layer."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from unittest import mock

import hypothesis.strategies as st
import numpy as np
import pytest

import minigan as mg
from minigan.kernels.cpu import plan, pool, threads

LAYOUTS = ("C", "F", "negative", "strided", "transposed")
DTYPES = ("float32", "float64", "complex128")


def draw(shape, dtype="float64", seed=0):
    """Random numbers of both signs; complex ones have both parts."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def laid_out(a, layout):
    """An array equal to a whose memory is laid out otherwise."""
    if layout == "F":
        return np.asfortranarray(a)
    if layout == "negative":
        flip = (slice(None, None, -1),) * a.ndim
        return np.ascontiguousarray(a[flip])[flip]
    if layout == "strided":
        around = 99 if a.dtype.kind in "iu" else np.nan  # what nobody may read
        wide = np.full([2 * n + 1 for n in a.shape], around, a.dtype)
        view = wide[tuple(slice(1, 2 * n + 1, 2) for n in a.shape)]
        view[...] = a
        return view
    if layout == "transposed" and a.ndim > 2:  # NHWC as a view of NCHW
        return np.ascontiguousarray(np.moveaxis(a, -1, 1)).swapaxes(1, -1).swapaxes(1, -2)
    return np.ascontiguousarray(a)


def assert_close(found, expected, terms=1, scale=None):
    """Equal but for the rounding of sums of `terms` terms of size `scale`; same dtype, shape."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = float(np.abs(expected).max(initial=0)) if scale is None else scale
    bound = 16 * float(np.finfo(found.dtype).eps) * np.sqrt(terms + 1) * max(scale, 1e-300)
    assert np.abs(found - expected).max(initial=0) <= bound


@contextmanager
def forced(threads_=None, block=None, element_block=None, **plans):
    """Threads even for small work, small blocks, and chosen forms of the convolution passes."""
    from minigan.kernels.cpu import elementwise

    run = threads.run
    paths = {k: f if isinstance(f, plan.Path) else plan.Path(f, 0.0) for k, f in plans.items()}
    patches = [mock.patch.object(plan, name, lambda _, p=path: p) for name, path in paths.items()]
    if threads_:
        patches.append(mock.patch.object(threads, "_count", threads_))
        patches.append(mock.patch.object(threads, "run", lambda f, n, work=0.0: run(f, n)))
    if block:
        patches.append(mock.patch.object(plan, "BLOCK", block))
        patches.append(mock.patch.object(plan, "FEW_ROWS", 1))
    if element_block:
        patches.append(mock.patch.object(elementwise, "BLOCK", element_block))
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()


def kernel_sets():
    """The modules whose kernels a test may watch or forbid: with a device, its set too."""
    return [m for name in ("cpu", "gpu") if (m := sys.modules.get(f"minigan.kernels.{name}"))]


def watch(patch, name, replacement):
    """Put replacement(the kernel's function) in the place of a kernel, in each set."""
    for module in kernel_sets():
        patch.setattr(module, name, replacement(getattr(module, name)))


def arrays_in(x):
    """Every array that a cache reaches."""
    if isinstance(x, np.ndarray):
        return [x]
    if isinstance(x, dict):
        return arrays_in(list(x.values()))
    if isinstance(x, (list, tuple)):
        return [a for part in x for a in arrays_in(part)]
    return []


@contextmanager
def empty_pool():
    """A pool whose shelf is empty before and after."""
    pool.clear()
    try:
        yield
    finally:
        pool.clear()


def conv(cls, n, k, **options):
    return lambda: cls(n, k, bias_initializer=mg.RandomNormal(stddev=1.0), **options)


def case(make, input_shape, labels=None):
    return make, input_shape, labels


# name -> (function that makes the layer, input shape, number of classes if the input is labels)
CASES = {
    "dense": case(lambda: mg.Dense(4), (5,)),
    "dense tanh": case(lambda: mg.Dense(4, activation="tanh"), (5,)),
    "dense softmax": case(lambda: mg.Dense(4, activation="softmax", use_bias=False), (5,)),
    "conv2d": case(conv(mg.Conv2D, 3, (3, 2), strides=(2, 1), padding="same"), (5, 6, 2)),
    "conv2d one filter": case(conv(mg.Conv2D, 1, 3, padding="same"), (5, 4, 8)),
    "conv2d valid": case(conv(mg.Conv2D, 3, 2, strides=3, activation="leaky_relu"), (6, 7, 2)),
    "conv2d_transpose": case(
        conv(mg.Conv2DTranspose, 3, 4, strides=2, padding="same"), (3, 2, 5)
    ),
    "conv2d_transpose valid": case(
        conv(mg.Conv2DTranspose, 2, (1, 3), strides=2, activation="sigmoid"), (3, 4, 2)
    ),
    "conv1d": case(conv(mg.Conv1D, 3, 3, strides=2, padding="same"), (7, 2)),
    "conv1d_transpose": case(conv(mg.Conv1DTranspose, 3, 3, strides=2), (4, 2)),
    "batch_normalization": case(lambda: mg.BatchNorm(), (4, 3, 2)),
    "batch_normalization vectors": case(lambda: mg.BatchNorm(unbiased=True), (3,)),
    "batch_normalization one channel": case(lambda: mg.BatchNorm(), (5, 1)),
    "layer_norm": case(lambda: mg.LayerNorm(), (4, 3, 2)),
    "layer_norm sample": case(lambda: mg.LayerNorm(over="sample"), (4, 3, 2)),
    "instance_norm": case(lambda: mg.InstanceNorm(), (4, 3, 2)),
    "pixel_norm": case(lambda: mg.PixelNorm(), (4, 3)),
    "spectral_norm": case(lambda: mg.SpectralNorm(mg.Dense(4)), (5,)),
    "spectral_norm conv2d_transpose": case(
        lambda: mg.SpectralNorm(mg.Conv2DTranspose(3, 4, strides=2, padding="same")), (3, 2, 5)
    ),
    "conv2d groups": case(conv(mg.Conv2D, 4, 3, padding="same", groups=2), (5, 4, 6)),
    "conv2d_transpose groups": case(
        conv(mg.Conv2DTranspose, 6, 4, strides=2, padding="same", groups=3), (3, 2, 3)
    ),
    "resampling2d up": case(lambda: mg.Resampling2D(2), (3, 4, 2)),
    "resampling2d down": case(lambda: mg.Resampling2D((0.5, 0.7)), (6, 5, 2)),
    "dropout": case(lambda: mg.Dropout(0.4), (4, 3)),
    "flatten": case(lambda: mg.Flatten(), (3, 2, 2)),
    "reshape": case(lambda: mg.Reshape((4, -1)), (2, 6)),
    "leaky_re_lu": case(lambda: mg.LeakyReLU(0.2), (4, 3)),
    "re_lu": case(lambda: mg.ReLU(), (4, 3)),
    "tanh": case(lambda: mg.Tanh(), (4, 3)),
    "si_lu": case(lambda: mg.SiLU(), (4, 3)),
    "dense silu": case(lambda: mg.Dense(4, activation="silu"), (5,)),
    "sigmoid": case(lambda: mg.Sigmoid(), (4, 3)),
    "softmax": case(lambda: mg.Softmax(), (4, 3)),
    "activation": case(lambda: mg.Activation("tanh"), (4,)),
    "max_pooling2d": case(lambda: mg.MaxPooling2D(2), (4, 6, 2)),
    "max_pooling2d overlapping": case(
        lambda: mg.MaxPooling2D(3, strides=2, padding="same"), (5, 4, 2)
    ),
    "average_pooling2d": case(lambda: mg.AveragePooling2D(2), (4, 6, 2)),
    "average_pooling2d same": case(
        lambda: mg.AveragePooling2D(3, strides=2, padding="same"), (5, 4, 2)
    ),
    "up_sampling2d": case(lambda: mg.UpSampling2D((2, 3)), (2, 3, 2)),
    "embedding": case(lambda: mg.Embedding(5, 3), (), 5),
    "parallel add": case(
        lambda: mg.Parallel([mg.Dense(5), mg.Activation("linear")], merge="add"), (5,)
    ),
    "parallel concat": case(lambda: mg.Parallel([mg.Dense(2), mg.Tanh()]), (5,)),
    "sequential": case(
        lambda: mg.Sequential(
            [mg.Conv2D(3, 3, strides=2), mg.BatchNorm(), mg.LeakyReLU(0.2), mg.Dropout(0.3),
             mg.Flatten(), mg.Dense(2), mg.Tanh()]
        ),
        (5, 6, 2),
    ),
}  # fmt: skip


def built(name, dtype="float64"):
    """The layer of this case, built, its running state and zero biases moved off their start."""
    make, shape, _ = CASES[name]
    layer = make()
    layer.build(shape, dtype, key=mg.random.Key(3, "test weights"))
    rng = np.random.default_rng(5)
    for a in [*layer.params.values(), *layer.state.values()]:
        a += (0.3 * rng.random(a.shape)).astype(a.real.dtype)
    return layer


def inputs(name, batch=3, dtype="float64", seed=0):
    """A batch for this case."""
    _, shape, classes = CASES[name]
    if classes:
        return np.random.default_rng(seed).integers(classes, size=(batch, *shape))
    return draw((batch, *shape), dtype, seed)


case_names = st.sampled_from(list(CASES))
KEY = mg.random.Key(7, "test dropout")
every_case = pytest.mark.parametrize("name", CASES)


def both(layer, x, seed=1, **options):
    """y, dx, grads with a random dy, as one dictionary."""
    y, cache = layer.forward(x, rng=KEY, **options)
    dx, grads = layer.backward(draw(y.shape, y.dtype, seed), cache)
    return {"y": y, "dx": dx, **grads}


def same(a, b):
    return list(a) == list(b) and all(
        (a[k] is None and b[k] is None) or np.array_equal(a[k], b[k]) for k in a
    )
