"""Which layer made the first number that is not finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from ..layers.base import Layer
from ..layers.merge import Parallel
from ..sequential import Sequential


class _Found(Exception):
    """Carries where it was, out of the step."""


def first_not_finite(gan: Any, real: Any, labels: Any) -> str | None:
    """Take a step on these images, and say where the first NaN or infinity of it arose, or None.

    E.g. "discriminator.conv2d_1, forward". If one did, the GAN is left in the midst of its step.
    """
    with _watched(gan):
        try:
            gan.train_step(real, labels)
        except _Found as found:
            return str(found)
    return None


@contextmanager
def _watched(gan: Any) -> Iterator[None]:
    """Each layer's passes, and each update, raise _Found at the first result that is not finite."""
    patched: list[tuple[Any, str]] = []

    def watch(owner: Any, method: str, where: str, results: Any) -> None:
        inner = getattr(owner, method)

        def checked(*args: Any) -> Any:
            result = inner(*args)
            if not all(bool(np.isfinite(a).all()) for a in results(result)):
                raise _Found(where)
            return result

        setattr(owner, method, checked)
        patched.append((owner, method))

    try:
        for side, model in (("generator", gan.generator), ("discriminator", gan.D)):
            for name, layer in _leaves(model, side):
                watch(layer, "compute", f"{name}, forward", _first)
                watch(layer, "pullback", f"{name}, backward", _gradients)
                if type(layer).pullback_over is not Layer.pullback_over:  # else it calls pullback
                    watch(layer, "pullback_over", f"{name}, backward", _gradients)
                if gan.penalties:
                    watch(layer, "pullback_kept", f"{name}, the penalty's backward", _first)
                    watch(layer, "pushforward", f"{name}, the penalty's forward", _first)
                    watch(layer, "pullback_tangent", f"{name}, the penalty's gradient", _gradients)
            optimizer = getattr(gan, f"{side[0]}_optimizer")
            after = partial(_after_update, model, optimizer)
            watch(gan, f"update_{side[0]}", f"the {side}'s update", after)
        yield
    finally:
        for owner, method in patched:
            delattr(owner, method)  # the class's own is seen again


def _first(result: Any) -> list[Any]:
    return [result[0]]


def _after_update(model: Any, optimizer: Any, result: Any) -> list[Any]:
    moments = [a for name, a in optimizer.state.items() if name != "t"]
    return [model.params.flat, model.state.flat, *moments]


def _gradients(result: Any) -> list[Any]:
    dx, grads = result
    return [a for a in (dx, *grads.values()) if a is not None]


def _leaves(layer: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, layer or stage) of what computes, down through models inside models."""
    if isinstance(layer, (Sequential, Parallel)):
        inside = layer._stages if isinstance(layer, Sequential) else layer.children()
        for child, inner in inside:
            yield from _leaves(inner, f"{name}.{child}")
    else:
        yield name, layer
