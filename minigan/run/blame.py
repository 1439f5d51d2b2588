"""Which layer made the first number that is not finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
                watch(layer, "compute", f"{name}, forward", lambda result: [result[0]])
                watch(layer, "pullback", f"{name}, backward", _gradients)
                if type(layer).pullback_over is not Layer.pullback_over:  # else it calls pullback
                    watch(layer, "pullback_over", f"{name}, backward", _gradients)
            flat = model.params.flat
            update = f"update_{side[0]}"
            watch(gan, update, f"the {side}'s update", lambda result, flat=flat: [flat])
        yield
    finally:
        for owner, method in patched:
            delattr(owner, method)  # the class's own is seen again


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
