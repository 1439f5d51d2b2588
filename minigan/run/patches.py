"""Methods of single objects, replaced for a while: how steps are watched from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..layers.base import Layer

Method = Callable[..., Any]


class Patches:
    """Inside a with block, what `wrap` put around methods; at its end they are as they were."""

    def __init__(self) -> None:
        self._patched: list[tuple[Any, str]] = []

    def __enter__(self) -> Patches:
        return self

    def __exit__(self, *exception: Any) -> None:
        for owner, method in self._patched:
            delattr(owner, method)  # the class's own is seen again
        self._patched.clear()

    def wrap(self, owner: Any, method: str, around: Callable[[Method], Method]) -> None:
        """Let around(owner.method) stand in for the method of this one object."""
        setattr(owner, method, around(getattr(owner, method)))
        self._patched.append((owner, method))


def backward_passes(layer: Any) -> list[str]:
    """The methods of a layer or stage that compute its backward pass, none of which calls another.

    Layer's own pullback_over calls pullback.
    """
    plain = type(layer).pullback_over is Layer.pullback_over
    return ["pullback"] if plain else ["pullback", "pullback_over"]
