"""Calls of the kernels on CuPy arrays, and their comparison with the definitions.

A call holds a kernel's name, its arguments as arrays of the host, and how far each result may be
from that of kernels/reference.py: (terms, scale) as in helpers.assert_close, or nothing where the
results are equal.  CuPy is imported by the functions that need it, never by the module.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import minigan as mg
from minigan.kernels import reference
from minigan.kernels.geometry import Axis, Geometry, axis, transposed_axis
from tests.helpers import assert_close, draw

Bound = tuple[int, float]
MAY_WRITE = {"add_bias": [0], "biased_activation": [0], "subtract_scaled": [0], "adam": [0, 2, 3]}
ELEMENTWISE = {  # name -> arrays, other arguments, degree of what is summed up (0: nothing is)
    "multiply": (2, (), 0),
    "leaky_relu": (1, (0.2,), 0),
    "leaky_relu_backward": (2, (0.2,), 0),
    "tanh": (1, (), 1),
    "tanh_backward": (2, (), 3),
    "tanh_tangent": (4, (), 3),
    "sigmoid": (1, (), 1),
    "sigmoid_backward": (2, (), 3),
    "sigmoid_tangent": (4, (), 3),
    "silu": (1, (), 1),
    "silu_backward": (2, (), 2),
    "silu_tangent": (4, (), 3),
}


class Call(NamedTuple):
    """One call of a kernel, and the bounds of its results."""

    name: str
    arguments: tuple[Any, ...]
    bounds: tuple[Bound, ...] = ()


def kernels() -> Any:
    """The kernels on CuPy arrays."""
    return importlib.import_module("minigan.kernels.gpu")


def on_device(a: Any, layout: str = "C") -> Any:
    """An array of the device equal to a, its memory laid out otherwise; what is no array as it is.

    As helpers.laid_out, whose layouts these are.  Whole numbers become int32, as winners are.
    """
    if not isinstance(a, np.ndarray):
        return a
    cupy = importlib.import_module("cupy")
    a = cupy.asarray(a.astype(np.int32) if a.dtype.kind == "i" else a)
    if a.ndim == 0:
        return a
    if layout == "F":
        return cupy.ascontiguousarray(a.T).T
    if layout == "negative":
        flip = (slice(None, None, -1),) * a.ndim
        return cupy.ascontiguousarray(a[flip])[flip]
    if layout == "strided":
        around = 99 if a.dtype.kind == "i" else np.nan  # what nobody may read
        wide = cupy.full([2 * n + 1 for n in a.shape], around, a.dtype)
        view = wide[tuple(slice(1, 2 * n + 1, 2) for n in a.shape)]
        view[...] = a
        return view
    if layout == "transposed" and a.ndim > 2:  # NHWC as a view of NCHW
        return cupy.ascontiguousarray(cupy.moveaxis(a, -1, 1)).swapaxes(1, -1).swapaxes(1, -2)
    return cupy.ascontiguousarray(a)


def run(call: Call, layouts: tuple[str, ...] = ("C",)) -> tuple[list[Any], list[Any]]:
    """The results on the device, and the arguments there afterwards."""
    given = [
        on_device(a, "C" if _stored(call.name, i, a) else layouts[i % len(layouts)])
        for i, a in enumerate(call.arguments)
    ]
    found = getattr(kernels(), call.name)(*given)
    if found is None:
        found = tuple(given[i] for i in MAY_WRITE[call.name])
    return list(found) if isinstance(found, tuple) else [found], given


def _stored(name: str, i: int, a: Any) -> bool:
    """Whether an argument is what a pass, or a network, keeps: winners, parameters, moments."""
    return getattr(a, "dtype", np.dtype(float)).kind == "i" or (name == "adam" and i != 1)


def expected(call: Call) -> list[Any]:
    """The results of the definition."""
    given = [a.copy() if isinstance(a, np.ndarray) else a for a in call.arguments]
    found = getattr(reference, call.name)(*given)
    if found is None:
        found = tuple(given[i] for i in MAY_WRITE[call.name])
    return list(found) if isinstance(found, tuple) else [found]


def compare(call: Call, layouts: tuple[str, ...] = ("C",)) -> None:
    """The results are those of the definition, new arrays of the device; the arguments stay."""
    cupy = importlib.import_module("cupy")
    found, given = run(call, layouts)
    wanted = expected(call)
    bounds = call.bounds or (None,) * len(wanted)
    for f, e, bound in zip(found, wanted, bounds, strict=True):
        assert isinstance(f, cupy.ndarray), call.name
        close(f.get(), e, bound)
    written = MAY_WRITE.get(call.name, [])
    for i, (a, before) in enumerate(zip(given, call.arguments, strict=True)):
        if isinstance(a, cupy.ndarray) and i not in written:
            assert np.array_equal(a.get(), before, equal_nan=before.dtype.kind == "f"), call.name
            assert not any(cupy.may_share_memory(a, f) for f in found), call.name


def close(found: Any, wanted: Any, bound: Bound | None) -> None:
    """Equal, or within the bound; of one shape and dtype (winners are int32 on the device)."""
    assert found.shape == wanted.shape
    if wanted.dtype.kind == "i":
        assert found.dtype == np.int32
        assert np.array_equal(found, wanted)
    elif bound is None:
        assert found.dtype == wanted.dtype
        assert np.array_equal(found, wanted, equal_nan=True)
    else:
        assert_close(found, wanted, *bound)


def largest(*arrays: Any) -> float:
    """The largest absolute value, at least 1: the scale of what is summed up."""
    return max(1.0, *(float(np.abs(a).max(initial=0)) for a in arrays))


# ---- the calls of a family


def convolutions(
    geo: Geometry, n: int, c: int, oc: int, dtype: str, seed: int = 0, whole: bool = False
) -> list[Call]:
    """Every pass; of small whole numbers, whose sums are exact, with equal results."""
    rows, cols = geo
    shapes = (
        (n, rows.size, cols.size, c),
        (rows.kernel, cols.kernel, c, oc),
        (n, rows.out, cols.out, oc),
    )
    x, kernel, y = (draw(shape, dtype, seed + i) for i, shape in enumerate(shapes))
    if whole:
        x, kernel, y = (np.round(2 * a) for a in (x, kernel, y))
    scale, taps = largest(x, kernel, y) ** 2, rows.kernel * cols.kernel
    forward, adjoint = (taps * c, scale), (taps * oc, scale)
    dkernel = (n * rows.out * cols.out, scale)
    calls = [
        Call("conv2d", (x, kernel, geo), (forward,)),
        Call("conv2d_adjoint", (y, kernel, geo), (adjoint,)),
        Call("conv2d_dkernel", (x, y, geo), (dkernel,)),
        Call("conv2d_gradients", (x, y, kernel, geo), (adjoint, dkernel)),
        Call("conv2d_adjoint_gradients", (y, x, kernel, geo), (forward, dkernel)),
    ]
    return [call._replace(bounds=()) for call in calls] if whole else calls


def pooling(
    geo: Geometry, n: int, c: int, dtype: str, seed: int = 0, ties: bool = False
) -> list[Call]:
    """Each window has a pixel of the image."""
    x = draw((n, geo.rows.size, geo.cols.size, c), dtype, seed)
    x = np.round(x) if ties else x - 5  # below the zeros of a padding
    winner = reference.max_pool2d(x, geo)[1]
    dy, tx = draw(winner.shape, dtype, seed + 1), draw(x.shape, dtype, seed + 2)
    taps = geo.rows.kernel * geo.cols.kernel
    return [
        Call("max_pool2d", (x, geo)),
        Call("max_pool2d_adjoint", (dy, winner, geo), ((taps, largest(dy)),)),
        Call("max_pool2d_tangent", (tx, winner, geo)),
        Call("average_pool2d", (x, geo), ((taps, largest(x)),)),
        Call("average_pool2d_adjoint", (dy, geo), ((taps, largest(dy)),)),
    ]


def upsampling(n: int, h: int, w: int, c: int, factor: tuple[int, int], dtype: str) -> list[Call]:
    x, dy = draw((n, h, w, c), dtype), draw((n, h * factor[0], w * factor[1], c), dtype, 1)
    terms = factor[0] * factor[1]
    return [
        Call("upsample2d", (x, factor)),
        Call("upsample2d_adjoint", (dy, factor), ((terms, largest(dy)),)),
    ]


def elementwise(shape: tuple[int, ...], dtype: str, seed: int = 0) -> list[Call]:
    calls = []
    for name, (count, others, degree) in ELEMENTWISE.items():
        arrays = [draw(shape, dtype, seed + i) for i in range(count)]
        bounds = ((2, largest(*arrays) ** degree),) if degree else ()
        calls.append(Call(name, (*arrays, *others), bounds))
    return calls


def biased(shape: tuple[int, ...], dtype: str, seed: int = 0) -> list[Call]:
    """A bias along the last axis, and what follows it."""
    z, dy, bias = (draw(s, dtype, seed + i) for i, s in enumerate((shape, shape, shape[-1:])))
    scale, terms = largest(z, dy, bias), z.size // shape[-1]
    calls = [Call("add_bias", (z, bias))]
    for kind, slope in (("leaky_relu", 0.2), ("tanh", 0.0), ("sigmoid", 0.0)):
        bounds = ((2, scale**3), (terms * terms, scale**3))
        calls.append(Call("biased_activation", (z, bias, kind, slope), ((2, 2 * scale),)))
        calls.append(Call("biased_activation_backward", (dy, z, kind, slope), bounds))
    return calls


def reductions(shape: tuple[int, ...], dtype: str, seed: int = 0) -> list[Call]:
    """The sums over all axes but the last."""
    a, b = draw(shape, dtype, seed), draw(shape, dtype, seed + 1)
    terms, scale = a.size // shape[-1], largest(a, b)
    single, products = (terms * terms, scale), (terms * terms, scale**2)
    return [
        Call("column_sums", (a,), (single,)),
        Call("product_sums", (a, b), (products,)),
        Call("paired_sums", (a, b), (single, products)),
        Call("batch_moments", (a,), ((terms, scale), (terms, scale**2))),
    ]


def sums(shape: tuple[int, ...], axes: tuple[int, ...], dtype: str, seed: int = 0) -> list[Call]:
    a = draw(shape, dtype, seed)
    return [Call("sums", (a, axes), ((a.size, largest(a)),))]


def normalisations(shape: tuple[int, ...], factors: list[Any], dtype: str) -> list[Call]:
    """The passes; a factor is a number, or the shape of an array of them."""
    x, y, z = (draw(shape, dtype, i) for i in range(3))
    a, b, c = (draw(f, dtype, i + 3) if isinstance(f, tuple) else f for i, f in enumerate(factors))
    bounds = ((4, largest(x, y, z, *map(np.asarray, (a, b, c))) ** 3),)
    return [
        Call("normalise", (x, a, b), bounds),
        Call("scale_shift", (x, a, b), bounds),
        Call("normalise_dx", (x, y, a, b, c), bounds),
        Call("subtract_scaled", (x, y, a, z, b), bounds),
    ]


def others(dtype: str, size: int = 37, seed: int = 0) -> list[Call]:
    """Products, resampling, dropout, Adam, a new array's place."""
    p, g, m, v = (draw((size,), dtype, seed + i) for i in range(4))
    a, b, x = draw((5, size), dtype), draw((size, 3), dtype, 1), draw((2, 5, 4, 3), dtype, 2)
    rows, cols = draw((3, 5), dtype, 3), draw((7, 4), dtype, 4)
    rates = (0.01, (0.5, 0.9), 1.1, 1e-7)
    key = mg.random.Key(3, "calls", step=5)
    return [
        Call("adam", (p, g, m, v * v, *rates), ((4, 8 * largest(p, g, m, v * v) ** 2),) * 3),
        Call("matmul", (a, b), ((size, largest(a, b) ** 2),)),
        Call("resample2d", (x, rows, cols), ((20, largest(x, rows, cols) ** 3),)),
        Call("scaled_mask", (draw((3, size), dtype), key, 0.4)),
    ]


# ---- all kernels on small shapes that fit no block


GEOMETRIES = [  # and batch, C, OC
    (Geometry(axis(7, 3, 2, "same"), axis(5, 2, 3, "same")), 2, 3, 5),
    (Geometry(axis(5, 3, 1, "same"), axis(4, 2, 1, "valid")), 3, 5, 2),  # turned round
    (Geometry(axis(2, 5, 2, "same"), axis(3, 4, 1, "same")), 1, 2, 2),  # larger than the image
    (Geometry(axis(7, 1, 2, "valid"), axis(8, 2, 3, "valid")), 2, 3, 1),  # pixels left out
    (Geometry(transposed_axis(3, 4, 2, "same"), transposed_axis(2, 3, 2, "valid")), 2, 4, 3),
    (Geometry(Axis(5, 3, 3, 2, 2), Axis(4, 3, 2, 1, 0)), 1, 33, 3),  # explicit
    (Geometry(axis(3, 1, 1, "valid"), axis(2, 1, 1, "valid")), 2, 3, 4),  # windows are pixels
]


def small_calls(dtype: str = "float32", few: bool = False) -> Iterator[Call]:
    """Calls of all kernels; `few`: each once or twice."""
    for geo, n, c, oc in GEOMETRIES[: 2 if few else None]:
        yield from convolutions(geo, n, c, oc, dtype)
        if reference.pool_counts(np.ones(1), geo).all():
            yield from pooling(geo, n, c, dtype)
    yield from upsampling(2, 3, 2, 5, (2, 3), dtype)
    for shape in [(3, 5, 7)] if few else [(3, 5, 7), (257,), (1, 1), (2, 3, 3, 33)]:
        yield from elementwise(shape, dtype)
    for shape in [(65, 3)] if few else [(65, 3), (67, 33), (70, 1), (1, 3), (2, 5, 7, 3), (300, 2)]:
        yield from biased(shape, dtype)
        yield from reductions(shape, dtype)
        yield from normalisations(shape, [shape[-1:], 0.5, shape[-1:]], dtype)
    yield from sums((2, 70, 3), (1,), dtype)
    yield from sums((3, 70), (1,), dtype)
    yield from others(dtype)
    if not few:
        yield from sums((3, 4, 2, 5), (0, 2, 3), dtype)
        yield from sums((70, 5), (1,), dtype)
        yield from sums((2, 300), (0, 1), dtype)
        yield from normalisations((3, 4, 2), [(3, 1, 1), (1, 4, 1), (3, 1, 2)], dtype)
