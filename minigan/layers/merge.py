"""Parallel: branches side by side, their outputs joined. Conditional and residual networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random
from ..backend import home
from .base import Cache, Layer, from_config, one_of, register, show_shape
from .container import Container


@register
class Parallel(Container):
    """Every branch computes; the outputs are concatenated along the last axis, added or multiplied.

    Built with one shape, each branch takes the same input; built with a tuple of shapes, branch i
    takes input i.  Activation("linear") is the branch that changes nothing.

    Derivation.  concat: dy is cut at the seams and branch i gets its part.  add: y = y1 + y2 + ...,
    so every branch gets dy.  dot, of two branches: y = sum_j a_j b_j along the last axis, so branch
    a gets dy * b and branch b gets dy * a (the projection of Miyato and Koyama, 2018, when a is a
    discriminator's features and b the label's embedding).  A shared input was copied to the
    branches, so its dx is the sum of theirs; separate inputs get a tuple.
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

    def compute(self, x, training, rng, keep):
        inputs = x if self.split else [x] * len(self.layers)
        key = random.as_key(rng, "dropout")
        results = [
            child.compute(part, training, key.child(name), keep)
            for (name, child), part in zip(self.children(), inputs, strict=True)
        ]
        outputs = [y for y, _ in results]
        if self.merge == "concat":
            y = home(outputs[0]).concatenate(outputs, axis=-1)
        elif self.merge == "add":
            y = sum(outputs[1:], start=outputs[0])
        else:
            y = (outputs[0] * outputs[1]).sum(axis=-1, keepdims=True)
        caches = [cache for _, cache in results]
        factors = outputs if self.merge == "dot" else None
        saved = ([c.saved for c in caches], factors) if keep else None
        return y, Cache(saved, [c.state for c in caches])

    def pullback(self, dy, saved, to_input, to_params):
        inner, factors = saved
        if self.merge == "concat":
            edges = [0, *self.seams]
            parts = [dy[..., a:b] for a, b in zip(edges, self.seams, strict=False)]
        elif self.merge == "add":
            parts = [dy] * len(self.layers)
        else:
            parts = [dy * factors[1], dy * factors[0]]
        dxs, grads = [], dict[str, Any]()
        for (name, child), part, own in zip(self.children(), parts, inner, strict=True):
            dx, found = child.pullback(part, own, to_input, to_params)
            dxs.append(dx)
            grads |= {f"{name}.{key}": g for key, g in found.items()}
        if not to_input:
            return None, grads
        return (tuple(dxs) if self.split else sum(dxs[1:], start=dxs[0])), grads

    def commit(self, cache):
        for child, state in zip(self.layers, cache.state, strict=True):
            child.commit(Cache(None, state))
