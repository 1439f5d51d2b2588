"""Parallel: branches side by side, their outputs joined. Conditional and residual networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random
from ..backend import home
from .arguments import one_of, show_shape
from .base import Cache, Layer
from .configuration import from_config, register
from .container import Container


@register
class Parallel(Container):
    """Every branch computes; the outputs are concatenated along the last axis, added or multiplied.

    Built with one shape, each branch takes the same input; built with a tuple of shapes, branch i
    takes input i.  Activation("linear") is the branch that changes nothing.

    layers: the branches.  merge: "concat", outputs (N, ..., A) and (N, ..., B) -> (N, ..., A + B);
    "add", outputs of one shape; or "dot", two outputs (N, ..., A) -> (N, ..., 1).

    Derivation.  concat: dy is cut at the seams and branch i gets its part.  add: y = y1 + y2 + ...,
    so every branch gets dy.  dot, of two branches: y = sum_j a_j b_j along the last axis, so branch
    a gets dy * b and branch b gets dy * a (the projection of Miyato and Koyama, 2018, when a is a
    discriminator's features and b the label's embedding).  A shared input was copied to the
    branches, so its dx is the sum of theirs; separate inputs get a tuple.

    Second order.  concat and add are linear: tangents are joined as outputs are, and ddy is dealt
    out as dy is.  dot is a product: ty = sum_j (ta_j b_j + a_j tb_j), and branch a's part of dy,
    dy * b, moves by ddy * b + dy * tb.

    Raises ValueError for another merge or number of branches; build, for outputs that cannot be
    joined; forward, for another number of inputs, or batches that differ; tangent, for another
    number of tangents.

        >>> mg.Parallel([mg.Dense(3), mg.Dense(4)]).build(5)
        (7,)
        >>> mg.Parallel([mg.Dense(3), mg.Embedding(10, 3)], merge="dot").build(((5,), ()))
        (1,)
    """

    arguments = ("merge",)

    def __init__(self, layers: Sequence[Layer], *, merge: str = "concat") -> None:
        self.merge = one_of(merge, ("concat", "add", "dot"), "merge", "Parallel")
        super().__init__([from_config(v) if isinstance(v, dict) else v for v in layers])
        if not self.layers or (merge == "dot" and len(self.layers) != 2):
            need = "two branches" if merge == "dot" else "at least one branch"
            raise ValueError(f"Parallel: give {need}, got {len(self.layers)}")

    def child_names(self):
        return [str(i) for i in range(len(self.layers))]

    def config(self):
        return {"layers": self.layer_configs(), "merge": self.merge}

    def setup(self, input_shape, key):
        self.split = bool(input_shape) and isinstance(input_shape[0], tuple)
        if self.split and len(input_shape) != len(self.layers):
            raise ValueError(
                f"{self.name}: {len(self.layers)} branches, but {len(input_shape)} inputs"
            )
        shapes = input_shape if self.split else [input_shape] * len(self.layers)
        outputs = [
            child.build(shape, self.dtype, key.child(name))
            for (name, child), shape in zip(self.children(), shapes, strict=True)
        ]
        self.gather()
        heads = {shape[:-1] if self.merge == "concat" else shape for shape in outputs}
        if len(heads) > 1 or () in outputs:
            raise ValueError(
                f"{self.name}: outputs {', '.join(map(show_shape, outputs))} cannot be joined by "
                f"merge={self.merge!r}"
            )
        if self.merge == "add":
            return outputs[0]
        if self.merge == "dot":
            return (*outputs[0][:-1], 1)
        self.seams = [int(end) for end in np.cumsum([shape[-1] for shape in outputs])]
        return (*outputs[0][:-1], self.seams[-1])

    def check_input(self, x):
        self.check_built()
        if self.split and (not isinstance(x, (tuple, list)) or len(x) != len(self.layers)):
            raise ValueError(
                f"{self.name}: takes a tuple of {len(self.layers)} inputs, "
                f"{show_shape(self.input_shape)}"
            )
        parts = x if self.split else (x,) * len(self.layers)
        checked = tuple(
            layer.check_input(part) for layer, part in zip(self.layers, parts, strict=True)
        )
        if len({len(part) for part in checked}) > 1:
            raise ValueError(
                f"{self.name}: the inputs' batches differ: {[len(part) for part in checked]}"
            )
        return checked if self.split else checked[0]

    def check_tangent(self, tx, batch):
        if not self.split:
            return self.layers[0].check_tangent(tx, batch)
        if not isinstance(tx, (tuple, list)) or len(tx) != len(self.layers):
            raise ValueError(
                f"{self.name}: tx is a tuple of {len(self.layers)} tangents, one for each input, "
                "None for labels"
            )
        return tuple(
            layer.check_tangent(part, batch) for layer, part in zip(self.layers, tx, strict=True)
        )

    def compute(self, x, training, rng, keep):
        inputs = x if self.split else [x] * len(self.layers)
        key = random.as_key(rng, "dropout")
        results = [
            child.compute(part, training, key.child(name), keep)
            for (name, child), part in zip(self.children(), inputs, strict=True)
        ]
        outputs = [y for y, _ in results]
        caches = [cache for _, cache in results]
        factors = outputs if self.merge == "dot" else None
        saved = ([c.saved for c in caches], factors) if keep else None
        return self._merged(outputs), Cache(saved, [c.state for c in caches])

    def pullback(self, dy, saved, to_input, to_params):
        inner, factors = saved
        results = [
            child.pullback(part, own, to_input, to_params)
            for child, part, own in zip(self.layers, self._parts(dy, factors), inner, strict=True)
        ]
        return self._gathered([dx for dx, _ in results], to_input), self._named(results)

    def pushforward(self, tx, saved):
        inner, factors = saved
        directions = tx if self.split else [tx] * len(self.layers)
        results = [
            child.pushforward(direction, own)
            for child, direction, own in zip(self.layers, directions, inner, strict=True)
        ]
        tangents = [ty for ty, _ in results]
        if self.merge == "dot":  # the product rule
            ty = (tangents[0] * factors[1] + factors[0] * tangents[1]).sum(axis=-1, keepdims=True)
        else:
            ty = self._merged(tangents)
        return ty, ([moved for _, moved in results], tangents if self.merge == "dot" else None)

    def pullback_kept(self, dy, saved):
        inner, factors = saved
        results = [
            child.pullback_kept(part, own)
            for child, part, own in zip(self.layers, self._parts(dy, factors), inner, strict=True)
        ]
        return self._gathered([dx for dx, _ in results], True), (dy, [kept for _, kept in results])

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        (inner, factors), (moves, tangents), (dy, keeps) = saved, moved, kept
        parts = self._parts(ddy, factors)
        if self.merge == "dot":  # the product rule
            parts = [p + q for p, q in zip(parts, self._parts(dy, tangents), strict=True)]
        results = [
            child.pullback_tangent(part, own, move, keep, to_input, to_params)
            for child, part, own, move, keep in zip(
                self.layers, parts, inner, moves, keeps, strict=True
            )
        ]
        return self._gathered([ddx for ddx, _ in results], to_input), self._named(results)

    def _merged(self, outputs: list[Any]) -> Any:
        """The outputs joined."""
        if self.merge == "concat":
            return home(outputs[0]).concatenate(outputs, axis=-1)
        if self.merge == "add":
            return sum(outputs[1:], start=outputs[0])
        return (outputs[0] * outputs[1]).sum(axis=-1, keepdims=True)

    def _parts(self, dy: Any, factors: Any) -> list[Any]:
        """What each branch gets of dy."""
        if self.merge == "concat":
            edges = [0, *self.seams]
            return [dy[..., a:b] for a, b in zip(edges, self.seams, strict=False)]
        if self.merge == "add":
            return [dy] * len(self.layers)
        return [dy * factors[1], dy * factors[0]]

    def _gathered(self, dxs: list[Any], to_input: bool) -> Any:
        """The branches' dx: a tuple of separate inputs, the sum for a shared one."""
        if not to_input or (not self.split and dxs[0] is None):
            return None  # not asked for, or the shared input is labels
        return tuple(dxs) if self.split else sum(dxs[1:], start=dxs[0])

    def _named(self, results: list[Any]) -> dict[str, Any]:
        """The branches' gradients, keyed <branch>.<name>."""
        named = zip(self.names, results, strict=True)
        return {f"{name}.{key}": g for name, (_, found) in named for key, g in found.items()}

    def commit(self, cache):
        for child, state in zip(self.layers, cache.state, strict=True):
            child.commit(Cache(None, state))
