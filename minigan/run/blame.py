"""Which layer made the first number that is not finite."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..layers.merge import Parallel
from ..sequential import Sequential
from .patches import Method, Patches, backward_passes


class _Found(Exception):
    """Carries where it was, out of the step."""


def first_not_finite(gan: Any, real: Any, labels: Any) -> str | None:
    """Take a step on these images, and say where the first NaN or infinity of it arose, or None.

    E.g. "discriminator.conv2d_1, forward". If one did, the GAN is left in the midst of its step.
    """
    with Patches() as patches:
        _watch(gan, patches)
        try:
            gan.train_step(real, labels)
        except _Found as found:
            return str(found)
    return None


def _watch(gan: Any, patches: Patches) -> None:
    """Each layer's passes, and each update, raise _Found at the first result that is not finite."""
    for side, model in (("generator", gan.generator), ("discriminator", gan.D)):
        for name, layer in _leaves(model, side):
            patches.wrap(layer, "compute", _checked(f"{name}, forward", _first))
            for method in backward_passes(layer):
                patches.wrap(layer, method, _checked(f"{name}, backward", _gradients))
            for method, (what, results) in _OF_PENALTIES.items() if gan.penalties else ():
                patches.wrap(layer, method, _checked(f"{name}, the penalty's {what}", results))
        optimizer = getattr(gan, f"{side[0]}_optimizer")
        after = partial(_after_update, model, optimizer)
        patches.wrap(gan, f"update_{side[0]}", _checked(f"the {side}'s update", after))


def _checked(where: str, results: Any) -> Any:
    """What to put around a method whose result has these arrays."""

    def around(inner: Method) -> Method:
        def checked(*args: Any) -> Any:
            result = inner(*args)
            if not all(bool(np.isfinite(a).all()) for a in results(result)):
                raise _Found(where)
            return result

        return checked

    return around


def _first(result: Any) -> list[Any]:
    return [result[0]]


def _after_update(model: Any, optimizer: Any, result: Any) -> list[Any]:
    moments = [a for name, a in optimizer.state.items() if name != "t"]
    return [model.params.flat, model.state.flat, *moments]


def _gradients(result: Any) -> list[Any]:
    dx, grads = result
    return [a for a in (dx, *grads.values()) if a is not None]


_OF_PENALTIES = {
    "pullback_kept": ("backward", _first),
    "pushforward": ("forward", _first),
    "pullback_tangent": ("gradient", _gradients),
}


def _leaves(layer: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, layer or stage) of what computes, down through models inside models."""
    if isinstance(layer, (Sequential, Parallel)):
        inside = layer._stages if isinstance(layer, Sequential) else layer.children()
        for child, inner in inside:
            yield from _leaves(inner, f"{name}.{child}")
    else:
        yield name, layer
