"""Stages: neighbouring layers that run as one. The only place where a model fuses.

A stage has the layer contract and the same mathematics as its layers one after the other; it saves
memory and passes over memory.
"""

from __future__ import annotations

from .activations import Elementwise
from .base import Cache, Layer


class ActivatedStage(Layer):
    """A layer whose output is its own, and an activation computed in place in that output.

    f(z) overwrites z.  That is allowed because backward needs y = f(z) alone for f', and the
    layer, which `owns_output`, does not look at z again.
    """

    def __init__(self, layer: Layer, activation: Elementwise) -> None:
        super().__init__()
        self.layer, self.activation = layer, activation
        self.name, self.dtype = layer.name, layer.dtype
        self.input_shape, self.output_shape = layer.input_shape, layer.output_shape

    def compute(self, x, training, rng, keep):
        z, cache = self.layer.compute(x, training, rng, keep)
        y = self.activation.apply(z, out=z)
        return y, Cache((cache.saved, y) if keep else None, cache.state)

    def pullback(self, dy, saved, to_input, to_params):
        inner, y = saved
        return self.layer.pullback(self.activation.derivative(dy, y), inner, to_input, to_params)

    def pushforward(self, tx, saved):
        inner, y = saved
        tz, moved = self.layer.pushforward(tx, inner)
        ty = self.activation.derivative(tz, y)
        return ty, (moved, ty)

    def pullback_kept(self, dy, saved):
        inner, y = saved
        dx, kept = self.layer.pullback_kept(self.activation.derivative(dy, y), inner)
        return dx, (kept, dy if self.activation.curved else None)

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        (inner, y), (inner_moved, ty), (inner_kept, dy) = saved, moved, kept
        ddz = self.activation.derivative_tangent(dy, ddy, y, ty)
        return self.layer.pullback_tangent(ddz, inner, inner_moved, inner_kept, to_input, to_params)

    def commit(self, cache):
        self.layer.commit(cache)


def group(children: list[tuple[str, Layer]]) -> list[tuple[str, Layer]]:
    """The children as stages: (name of the first layer, stage) in order."""
    stages: list[tuple[str, Layer]] = []
    for name, layer in children:
        owned = bool(stages) and stages[-1][1].owns_output
        if owned and isinstance(layer, Elementwise) and layer.reads == "output":
            first, owner = stages[-1]
            stages[-1] = first, ActivatedStage(owner, layer)
        else:
            stages.append((name, layer))
    return stages
