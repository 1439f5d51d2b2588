"""The check of second order: tangent and backward_tangent against moved first-order passes.

Along random directions tx and ddy the engine runs forward and backward, as they are written, at
x + h tx and dy + h ddy.  With the complex step h = ih, Im backward(...)/h is exact to rounding, and
is what backward_tangent must give.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import move
from .layers.base import lacks_second_order
from .numeric import NULL, STEP, TOLERANCE, Array, Row, same, verdict

if TYPE_CHECKING:
    from .gradcheck import LayerCheck

FIVE_POINT = 1e-3  # the step of differences


def second_order_rows(check: LayerCheck) -> Iterator[Row]:
    """tangent and backward_tangent of the layer under check, their contract, and two identities."""
    layer = check.layer.astype("float64")
    tx, other, ddy = direction(check), direction(check), check.rng.standard_normal(check.dy.shape)
    _, cache = check.forward(layer, check.x)
    if lacks_second_order(layer):
        yield Row(check.what, "tangent", check.engine, 0.0, 0.0, "none", "not written")
        return

    ty = layer.tangent(tx, cache)
    ddx, dgrads = layer.backward_tangent(check.dy, ddy, tx, cache)
    found = named(ty, ddx, dgrads)
    if check.on_gpu:
        yield from on_gpu_rows(check, tx, ddy, found)
    for name, expected in moved(check, tx, ddy).items():
        yield agreement(check, name, found[name], expected)
    yield contract(check, layer, tx, ddy, cache, found)

    dx, _ = layer.backward(check.dy, cache, wrt="input")
    yield identity(check, "J, transposed", (ty, check.dy), (tx, dx))
    along_tx, along_other = (
        layer.backward_tangent(check.dy, 0 * ddy, t, cache, wrt="input")[0] for t in (tx, other)
    )
    yield identity(check, "hessian by hand", (along_tx, other), (along_other, tx))


def on_gpu_rows(check: LayerCheck, tx: Any, ddy: Array, found: dict[str, Array]) -> Iterator[Row]:
    """The same results in float64 on the GPU, against the CPU's."""
    there = check.layer.to("cupy")
    x, tx, dy, ddy = move((check.x, tx, check.dy, ddy), there.home)
    _, cache = check.forward(there, x)
    results = named(there.tangent(tx, cache), *there.backward_tangent(dy, ddy, tx, cache))
    for name, result in move(results, np).items():
        yield on_gpu_row(check.what, name, result, found[name])


def on_gpu_row(what: str, name: str, found: Array, expected: Array) -> Row:
    """One result of the GPU in float64 against the CPU's, relative to the largest element."""
    scale = max(float(np.abs(expected).max()), 1.0)
    error = float(np.abs(found - expected).max()) / scale
    return Row(what, name, "GPU, float64", error, 1e-12, verdict(error, 1e-12))


def direction(check: LayerCheck) -> Any:
    """A random tangent of the input; None for labels."""
    parts = check.x if isinstance(check.x, tuple) else (check.x,)
    tx = tuple(None if a.dtype.kind in "iu" else check.rng.standard_normal(a.shape) for a in parts)
    return tx if isinstance(check.x, tuple) else tx[0]


def moved(check: LayerCheck, tx: Any, ddy: Array) -> dict[str, Array]:
    """d (forward, backward)/dh at h = 0, by the engine."""
    twin = check.fresh_twin()

    def at(h: complex) -> dict[str, Array]:
        y, cache = check.forward(twin, along(check.x, tx, h))
        return named(y, *twin.backward((check.dy + h * ddy).astype(y.dtype), cache))

    if check.engine == "complex":
        return {k: a.imag / STEP for k, a in at(1j * STEP).items()}
    h = FIVE_POINT
    f = [at(k * h) for k in (-2, -1, 1, 2)]
    return {k: (f[0][k] - 8 * f[1][k] + 8 * f[2][k] - f[3][k]) / (12 * h) for k in f[0]}


def along(x: Any, tx: Any, h: complex) -> Any:
    """x + h tx, where x can move."""
    if isinstance(x, tuple):
        return tuple(along(a, t, h) for a, t in zip(x, tx, strict=True))
    return x if tx is None else x + h * tx


def named(ty: Array, ddx: Any, dgrads: dict[str, Array]) -> dict[str, Array]:
    """The results of a direction under the names of the rows."""
    parts = ddx if isinstance(ddx, tuple) else (ddx,)
    inputs = {f"d input {i}" if len(parts) > 1 else "d input": a for i, a in enumerate(parts)}
    found = {"tangent": ty, **inputs, **{f"d {name}": g for name, g in dgrads.items()}}
    return {name: a for name, a in found.items() if a is not None}


def agreement(check: LayerCheck, name: str, found: Array, expected: Array) -> Row:
    """One result against the engine's, element by element; a failure if wrong ones would pass."""
    engine, tolerance = check.engine, TOLERANCE[check.engine]
    size = max(float(np.abs(expected).max()), float(np.abs(found).max()))
    if size < NULL:
        return Row(check.what, name, engine, size, NULL, "null", "does not move")

    def error_of(candidate: Array) -> float:
        return float(np.abs(candidate - expected).max()) / size

    error = error_of(found)
    wrong = {"0": 0 * found, "-d": -found, "2d": 2 * found}
    passing = [k for k, c in wrong.items() if error_of(c) <= 1e3 * tolerance]
    note = f"vacuous: {', '.join(passing)} would pass too" if passing else ""
    result = "FAIL" if passing else verdict(error, tolerance)
    return Row(check.what, name, engine, error, tolerance, result, note)


def contract(
    check: LayerCheck, layer: Any, tx: Any, ddy: Array, cache: Any, found: dict[str, Array]
) -> Row:
    """Purity, wrt, and the same result from a first backward pass that was kept."""
    before = [None if a is None else a.copy() for a in (*parts_of(tx), check.dy, ddy)]
    dx, first = layer.input_gradient(check.dy, cache)
    plain, _ = layer.backward(check.dy, cache, wrt="input")
    another = not same(dx, plain)
    for part in parts_of(dx):
        if part is not None:
            part += 1  # the caller's own: what was kept stays as it is
    ddx, none = layer.backward_tangent(first, ddy, tx, cache, wrt="input")
    nothing, dgrads = layer.backward_tangent(first, ddy, tx, cache, wrt="params")
    faults = {
        "input_gradient gives another dx than backward": another,
        "a direction was changed": not same(tuple(before), (*parts_of(tx), check.dy, ddy)),
        "another result after a kept first pass, or by wrt": not same(
            named(found["tangent"], ddx, dgrads), found
        ),
        "wrt gives what was not asked for": none is not None or nothing is not None,
    }
    notes = [text for text, wrong in faults.items() if wrong]
    result = "FAIL" if notes else "ok"
    return Row(
        check.what, "contract, 2nd order", "bits", float(len(notes)), 0.0, result, "; ".join(notes)
    )


def identity(check: LayerCheck, what: str, left: Any, right: Any) -> Row:
    """<a, b> = <c, d>, relative to the size of the terms."""
    (l_sum, l_size), (r_sum, r_size) = inner(*left), inner(*right)
    size = max(l_size, r_size)
    if size < NULL:
        return Row(check.what, what, "adjoint", 0.0, 1e-11, "null", "zero along both")
    error = abs(l_sum - r_sum) / size
    return Row(check.what, what, "adjoint", error, 1e-11, verdict(error, 1e-11))


def inner(a: Any, b: Any) -> tuple[float, float]:
    """The sum of a * b, and of its absolute values; labels do not count."""
    pairs = zip(parts_of(a), parts_of(b), strict=True)
    products = [p * q for p, q in pairs if p is not None and q is not None]
    return sum(float(c.sum()) for c in products), sum(float(np.abs(c).sum()) for c in products)


def parts_of(a: Any) -> tuple[Any, ...]:
    """The parts of a tuple of inputs, or the one input."""
    return a if isinstance(a, tuple) else (a,)
