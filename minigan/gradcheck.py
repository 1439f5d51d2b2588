"""The gradient checker: hand-written derivatives against numbers that cannot share their mistakes.

The complex step.  For an analytic f, Taylor's series along an imaginary step is

    f(x + ih) = f(x) + ih f'(x) - h^2 f''(x)/2 - ...      so      Im f(x + ih)/h = f'(x) - O(h^2).

Nothing is subtracted, so h can be 1e-20 and the result is exact to rounding (Squire and Trapp,
1998).  The same layer code runs in complex128 for this and in float64 for the gradient under test.

A check compares measurements A(n) of the numeric gradient n with A(g) of the hand-written one g:
every element when they are few, else projections on random directions of ±1.  It refuses to pass
emptily: if 0, -g, 2g or a rearranged g would have passed as well, that is a failure.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from .backend import move
from .flat import write
from .gan import GAN
from .gancheck import gan_rows, shaken
from .layers.arguments import as_shape
from .layers.base import Layer
from .numeric import NULL, STEP, TOLERANCE, Array, Numeric, Report, Row, compare, same, verdict
from .random import Key
from .secondcheck import second_order_rows
from .sequential import Sequential, is_labels

ROUNDINGS = 4  # draws of the roundings that float32 is allowed


def check_gradients(
    target: Layer | GAN,
    input_shape: Any = None,
    *,
    batch: int = 3,
    training: bool = True,
    engine: str = "auto",
    x: Any = None,
    null: Iterable[str] = (),
    seed: int = 0,
) -> Report:
    """Check the hand-written gradients of a layer, a model or a whole GAN.

    target: a layer or a Sequential (built, or to be built for input_shape, which has no batch
    axis), or a GAN (input_shape is not needed).  The check runs on copies in float64 and
    complex128 whose parameters are moved at random, so that zeros and ones hide nothing.  They
    live on the CPU; of a target on a GPU both passes in float64 and in float32 are run there too,
    and compared with the CPU's.
    engine: "complex", "five-point" (central differences, for operations that are not analytic),
    or "auto": five-point only where the layer cannot compute in complex.
    batch: samples in it.  training: the mode of forward.  seed: of all that is drawn.
    x: the input, drawn when it is not given.
    null: parameters whose gradient is truly zero, beyond those that the layers declare themselves
    (a bias before a BatchNorm): the check then asserts that it is.

    Returns a Report: .ok, .max_error (relative), .failures; print it.
    Raises TypeError for what is no layer, model or GAN, ValueError for another engine, and for an
    input_shape that is missing or not that of the target.

        >>> mg.check_gradients(mg.Dense(3, activation="tanh"), (4,)).ok
        True
    """
    if engine not in ("auto", *TOLERANCE):
        raise ValueError(f"engine={engine!r} should be 'auto', 'complex' or 'five-point'")
    if isinstance(target, GAN):
        return Report(list(gan_rows(target, batch, seed)))
    if not isinstance(target, Layer):
        raise TypeError(f"check_gradients takes a layer, a model or a GAN, got {target!r:.60}")
    if target.output_shape is None:
        if input_shape is None:
            raise ValueError(f"{target.name}: not built; give check_gradients an input_shape")
        target = copy.deepcopy(target)  # the caller's layer stays as it is
        target.build(input_shape, dtype="float64", key=Key(seed, "check weights"))
    elif input_shape is not None and as_shape(input_shape) != target.input_shape:
        raise ValueError(
            f"{target.name}: built for {target.input_shape}, input_shape says {input_shape}"
        )
    return Report(list(LayerCheck(target, batch, training, engine, x, null, seed).rows()))


class LayerCheck:
    """One layer or model in float64, its complex twin, and a random loss sum(dy * y)."""

    def __init__(
        self,
        target: Layer,
        batch: int,
        training: bool,
        engine: str,
        x: Any,
        null: Iterable[str],
        seed: int,
    ) -> None:
        self.rng = Key(seed, "gradient check").generator()
        self.key = Key(seed, "check dropout")
        self.training = training
        self.on_gpu = target.home is not np
        self.layer = shaken(target.to("numpy").astype("float64"), self.rng)
        self.what = _title(target)
        self.null = set(null) | (target.null_gradients() if training else set())
        self.x = self._inputs(target, batch) if x is None else _promoted(move(x, np))
        y, _ = self.forward(self.layer, self.x)
        self.dy = self.rng.standard_normal(y.shape)
        self.engine = engine if engine != "auto" else self._possible_engine()
        self.twin = self.fresh_twin()

    def _inputs(self, target: Layer, batch: int) -> Any:
        shapes = target.input_shape
        if shapes and isinstance(shapes[0], tuple):
            return tuple(self._input(target, (batch, *s), i) for i, s in enumerate(shapes))
        return self._input(target, (batch, *shapes), None)

    def _input(self, target: Layer, shape: tuple[int, ...], which: int | None) -> Array:
        classes = is_labels(target, which)
        if classes:
            return self.rng.integers(classes, size=shape)
        # exact in float32 too, so that no comparison turns on the rounding of the input
        return self.rng.standard_normal(shape, dtype=np.float32).astype(np.float64)

    def forward(self, layer: Layer, x: Any) -> tuple[Array, Any]:
        return layer.forward(x, training=self.training, rng=self.key)

    def fresh_twin(self) -> Layer:
        """The copy that the numeric derivatives run on."""
        return self.layer.astype("complex128" if self.engine == "complex" else "float64")

    def _possible_engine(self) -> str:
        """The complex step if the layer computes in complex numbers and is analytic."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                y, _ = self.forward(self.layer.astype("complex128"), _complex(self.x))
                return "complex" if y.dtype.kind == "c" and self._analytic() else "five-point"
            except (TypeError, np.exceptions.ComplexWarning):
                return "five-point"

    def _analytic(self) -> bool:
        """Whether a complex step and a difference agree to three digits along random directions."""
        values, found = self.values(), []
        directions = {name: self._signs(a) for name, a in values.items()}
        for self.engine in ("complex", "five-point"):
            self.twin = self.fresh_twin()
            numeric = [Numeric(self.loss, values, n, self.engine, step=1e-6) for n in values]
            found.append([d.along(directions[d.name]) for d in numeric])
        step, difference = np.array(found)
        return bool(np.allclose(step, difference, rtol=1e-3, atol=1e-6 * np.abs(step).max()))

    def gradients(
        self, layer: Layer, values: dict[str, Array], nudge: float = 0.0, where: ModuleType = np
    ) -> dict[str, Array]:
        """The hand-written gradient of sum(dy * y) at these inputs and parameters, by name.

        dy, and y where backward reads it again, are moved by the relative amount `nudge`, up or
        down at random.
        """
        y, cache = self.forward(layer, self._install(layer, values, where))
        dy = move(self.dy, where)
        if nudge:
            dy = dy * (1 + nudge * self._signs(dy))
            y *= 1 + nudge * self._signs(y)
        dx, grads = layer.backward(dy.astype(y.dtype), cache)
        assert grads is not None
        parts = dx if isinstance(dx, tuple) else (dx,)
        found = {f"input {i}" if len(parts) > 1 else "input": d for i, d in enumerate(parts)}
        return {k: d for k, d in found.items() if d is not None} | dict(grads)

    def values(self) -> dict[str, Array]:
        """The point of the check: differentiable inputs and parameters, by name."""
        parts = self.x if isinstance(self.x, tuple) else (self.x,)
        named = {f"input {i}" if len(parts) > 1 else "input": a for i, a in enumerate(parts)}
        return {k: a for k, a in named.items() if a.dtype.kind == "f"} | dict(self.layer.params)

    def _install(self, layer: Layer, values: dict[str, Array], where: ModuleType = np) -> Any:
        """Write the parameters into the layer; return the inputs at its home.

        A layer without parameters does not know its home.
        """
        for name, p in layer.params.items():
            write(p, values[name])
        x: Any = values.get("input", self.x)
        if isinstance(self.x, tuple):
            x = tuple(values.get(f"input {i}", a) for i, a in enumerate(self.x))
        return move(x, where)

    def loss(self, values: dict[str, Array]) -> Any:
        y, _ = self.forward(self.twin, self._install(self.twin, values))
        return (self.dy * y).sum()

    def rows(self) -> Iterator[Row]:
        values = self.values()
        grads = self.gradients(self.layer.astype("float64"), values)
        misshapen = list(self.misshapen(grads, values))
        yield from misshapen
        if misshapen:
            return
        for name, g in grads.items():
            numeric = Numeric(self.loss, values, name, self.engine)
            yield compare(self.what, name, g, numeric, self.rng, name in self.null)
        yield from self.contract()
        if self.engine == "complex":
            yield self.hessian(values)
        yield from second_order_rows(self)
        if self.on_gpu:
            there = self.layer.to("cupy")
            for engine, other in (
                ("GPU, float64", there),
                ("GPU, float32", there.astype("float32")),
            ):
                yield from self.rounded(engine, other, values, grads, there.home)
        else:
            yield from self.rounded("float32", self.layer.astype("float32"), values, grads)

    def misshapen(self, grads: dict[str, Array], values: dict[str, Array]) -> Iterator[Row]:
        """A row for each gradient that is not of the shape of what it belongs to."""
        for name, g in grads.items():
            if name not in values:
                note = f"a gradient of nothing: there are {', '.join(values)}"
            elif np.shape(g) != values[name].shape:
                note = f"the gradient has shape {np.shape(g)}, {name} itself {values[name].shape}"
            else:
                continue
            yield Row(self.what, name, "shape", float("nan"), 0.0, "FAIL", note)

    def contract(self) -> Iterator[Row]:
        """Purity: nothing given is changed, a second cache changes nothing, wrt changes nothing."""

        def both(each: Layer, x: Any) -> tuple[Any, ...]:
            y, cache = self.forward(each, x)
            dx, grads = each.backward(self.dy[::-1], cache)
            return y, dx, dict(grads or {})

        layer = self.layer.astype("float64")
        before = _copies(self.x)
        y, cache = self.forward(layer, self.x)
        kept = y.copy()
        other, empty = layer.forward(self.x, training=self.training, rng=self.key, keep=False)
        dy = self.dy.copy()
        dx, grads = layer.backward(dy, cache)
        third = _another(self.x)
        passed, fresh = (both(each, third) for each in (layer, self.layer.astype("float64")))
        dx_again, _ = layer.backward(dy, cache, wrt="input")
        _, grads_again = layer.backward(dy, cache, wrt="params")
        faults = {
            "forward or backward changed x": not same(before, self.x),
            "backward changed dy": not same(dy, self.dy),
            "y changed after it was returned": not same(y, kept),
            "keep=False gives another y": not same(other, kept),
            "keep=False keeps a cache": empty.saved is not None,
            "a second call differs from a first one with the same input": not same(passed, fresh),
            "wrt='input' gives another dx, or a cache does not last": not same(dx, dx_again),
            "wrt='params' gives other gradients, or a cache does not last": not same(
                grads, grads_again
            ),
            "the parameters' gradients have other keys": list(grads or {}) != list(layer.params),
        }
        found = [text for text, wrong in faults.items() if wrong]
        result = "FAIL" if found else "ok"
        yield Row(self.what, "contract", "bits", float(len(found)), 0.0, result, "; ".join(found))

    def hessian(self, values: dict[str, Array]) -> Row:
        """u^T H v = v^T H u, where H v = Im gradient(p + ihv)/h, over inputs and parameters."""
        twin = self.layer.astype("complex128")

        def along(direction: dict[str, Array]) -> dict[str, Array]:
            moved = {k: a + 1j * STEP * direction[k] for k, a in values.items()}
            return {k: g.imag / STEP for k, g in self.gradients(twin, moved).items()}

        def draw() -> dict[str, Array]:
            return {k: self._signs(a) for k, a in values.items()}

        u, v = draw(), draw()
        hu, hv = along(u), along(v)
        left = sum(float((hu[k] * v[k]).sum()) for k in hu)
        right = sum(float((hv[k] * u[k]).sum()) for k in hv)
        scale = float(np.sqrt(sum((h * h).sum() for h in [*hu.values(), *hv.values()])))
        if scale < NULL:
            return Row(self.what, "hessian", "complex", 0.0, 1e-11, "null", "linear in its input")
        error = abs(left - right) / scale
        note = (
            "" if error <= 1e-11 else "not symmetric: the gradients are not those of one function"
        )
        return Row(self.what, "hessian", "complex", error, 1e-11, verdict(error, 1e-11), note)

    def rounded(
        self,
        engine: str,
        other: Layer,
        values: dict[str, Array],
        grads: dict[str, Array],
        where: ModuleType = np,
    ) -> Iterator[Row]:
        """The same passes elsewhere, in float32 or on a GPU, against the CPU's in float64.

        The rounding errors of sums of n terms grow like sqrt(n) times what one rounding of every
        number that goes in would change.  That is measured: the largest change over several draws
        of the roundings, since those of one draw may cancel.
        """
        rounded = {k: a.astype(other.dtype) for k, a in values.items()}
        if any(not same(a, rounded[k].astype(np.float64)) for k, a in values.items()):
            return
        epsilon = float(np.finfo(other.dtype).eps)
        one_rounding = [self._rounded_gradients(values, epsilon) for _ in range(ROUNDINGS)]
        terms = sum(a.size for a in values.values()) + self.dy.size
        y, _ = self.forward(other, self._install(other, rounded, where))
        if y.dtype != other.dtype:
            note = f"{other.dtype} in, {y.dtype} out"
            yield Row(self.what, "output", engine, float("nan"), 0.0, "FAIL", note)
            return
        found = move(self.gradients(other, rounded, where=where), np)
        for name, g in grads.items():
            if name in self.null:
                continue  # zero in exact arithmetic: there is no relative error
            scale = max(float(np.abs(g).max()), NULL)
            changes = [float(np.abs(moved[name] - g).max()) / scale for moved in one_rounding]
            change = max(*changes, epsilon)
            tolerance = 4 * change * float(np.sqrt(terms))
            error = float(np.abs(found[name] - g).max()) / scale
            if found[name].dtype != other.dtype:
                note = f"{other.dtype} in, {found[name].dtype} out"
                yield Row(self.what, name, engine, error, tolerance, "FAIL", note)
            else:
                result = verdict(error, tolerance)
                yield Row(self.what, name, engine, error, tolerance, result)

    def _rounded_gradients(self, values: dict[str, Array], epsilon: float) -> dict[str, Array]:
        """The gradients in float64 after one rounding, up or down, of every number that goes in."""
        nudged = {k: a * (1 + epsilon * self._signs(a)) for k, a in values.items()}
        return self.gradients(self.layer.astype("float64"), nudged, epsilon)

    def _signs(self, like: Array) -> Array:
        return self.rng.choice([-1.0, 1.0], like.shape)


def _title(target: Layer) -> str:
    kind = type(target).__name__
    return target.name if isinstance(target, Sequential) else kind


def _promoted(x: Any) -> Any:
    if isinstance(x, (tuple, list)):
        return tuple(_promoted(a) for a in x)
    x = np.asarray(x)
    return x if x.dtype.kind in "iu" else x.astype(np.float64)


def _complex(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(_complex(a) for a in x)
    return x if x.dtype.kind in "iu" else x.astype(np.complex128)


def _another(x: Any) -> Any:
    """Other inputs, also where the batch is of one sample; labels are only turned around."""
    if isinstance(x, tuple):
        return tuple(map(_another, x))
    return x[::-1] / 2 if x.dtype.kind == "f" else x[::-1]


def _copies(x: Any) -> Any:
    return tuple(a.copy() for a in x) if isinstance(x, tuple) else x.copy()
