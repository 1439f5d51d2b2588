"""Stages: neighbouring layers that run as one. The only place where a model fuses.

A stage has the layer contract and the same mathematics as its layers one after the other; it saves
memory and passes over memory.
"""

from __future__ import annotations

from typing import Any

from .activations import Elementwise
from .base import Cache, Layer
from .pooling import MaxPooling2D
from .upsampled import UpsampledConv, folds


class Wrapped(Layer):
    """Base of a stage that is a layer with parameters and something behind it."""

    def __init__(self, layer: Layer, output_shape: Any) -> None:
        super().__init__()
        self.layer, self.name, self.dtype = layer, layer.name, layer.dtype
        self.input_shape, self.output_shape = layer.input_shape, output_shape

    @property
    def fresh_dx(self) -> bool:  # type: ignore[override]
        """As the layer's."""
        return self.layer.fresh_dx

    def commit(self, cache):
        self.layer.commit(cache)


class ActivatedStage(Wrapped):
    """A layer whose output is its own, and an activation computed in place in that output.

    f(z) overwrites z.  That is allowed because backward needs y = f(z) alone for f', and the
    layer, which `owns_output`, does not look at z again.
    """

    fresh_dx = Wrapped.fresh_dx

    def __init__(self, layer: Layer, activation: Elementwise) -> None:
        super().__init__(layer, layer.output_shape)
        self.activation = activation

    def compute(self, x, training, rng, keep):
        y, cache = self.layer.compute_activated(self.activation, x, training, rng, keep)
        return y, Cache((cache.saved, y) if keep else None, cache.state)

    def pullback(self, dy, saved, to_input, to_params):
        inner, y = saved
        f = self.activation
        return self.layer.pullback_activated(f, dy, y, inner, to_input, to_params, over=False)

    def pullback_over(self, dy, saved, to_input, to_params):
        inner, y = saved
        f = self.activation
        return self.layer.pullback_activated(f, dy, y, inner, to_input, to_params, over=True)

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


class PooledStage(Wrapped):
    """A layer, and max pooling of its output: what stood between is handed back at once."""

    owns_output = True  # of the pooling, whose backward knows the winners
    fresh_dx = Wrapped.fresh_dx

    def __init__(self, layer: Layer, pooling: MaxPooling2D) -> None:
        super().__init__(layer, pooling.output_shape)
        self.pooling = pooling

    def compute(self, x, training, rng, keep):
        z, cache = self.layer.compute(x, training, rng, keep)
        y, winners = self.pooling.compute(z, training, rng, keep)
        return y, Cache((cache.saved, winners.saved) if keep else None, cache.state)

    def pullback(self, dy, saved, to_input, to_params):
        inner, winners = saved
        dz, _ = self.pooling.pullback(dy, winners, True, False)
        return self.layer.pullback(dz, inner, to_input, to_params)

    def pushforward(self, tx, saved):
        inner, winners = saved
        tz, moved = self.layer.pushforward(tx, inner)
        return self.pooling.pushforward(tz, winners)[0], moved

    def pullback_kept(self, dy, saved):
        inner, winners = saved
        return self.layer.pullback_kept(self.pooling.pullback(dy, winners, True, False)[0], inner)

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        inner, winners = saved
        ddz, _ = self.pooling.pullback(ddy, winners, True, False)
        return self.layer.pullback_tangent(ddz, inner, moved, kept, to_input, to_params)


def group(children: list[tuple[str, Layer]]) -> list[tuple[str, Layer]]:
    """The children as stages: (name of the layer with the parameters, stage) in order."""
    stages: list[tuple[str, Layer]] = []
    for name, layer in children:
        fused = fuse(stages[-1][1], layer) if stages else None
        if fused is None:
            stages.append((name, layer))
        else:
            first = name if isinstance(fused, UpsampledConv) else stages[-1][0]
            stages[-1] = first, fused
    return stages


def fuse(stage: Layer, layer: Layer) -> Layer | None:
    """The stage and the layer behind it as one, or None.

    An activation that never falls commutes with a maximum: max f(x) = f(max x).  Pooling first
    leaves f a quarter of the values, and backward too.  The winners are the same, but where f
    rounds two values to one.
    """
    if isinstance(layer, Elementwise) and stage.owns_output and layer.reads == "output":
        return ActivatedStage(stage, layer)
    if folds(stage, layer):
        return UpsampledConv(stage, layer)  # type: ignore[arg-type]
    if isinstance(layer, MaxPooling2D):
        if isinstance(stage, ActivatedStage) and stage.activation.rising:
            return ActivatedStage(PooledStage(stage.layer, layer), stage.activation)
    return None
