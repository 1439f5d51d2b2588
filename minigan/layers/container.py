"""What Sequential and Parallel share: children, and one flat vector for all their parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..backend import check_dtype
from ..flat import FlatDict
from .base import Array, Layer

if TYPE_CHECKING:
    from typing_extensions import Self


class Container(Layer):
    """A layer made of layers. Its params and state are keyed <child>.<name>."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = list(layers)
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"{type(self).__name__}: {layer!r} is not a layer"
                    + ("; write it with its brackets, as in ReLU()" if layer in _types() else "")
                )
        if len({id(layer) for layer in self.layers}) < len(self.layers):
            raise ValueError(f"{type(self).__name__}: the same layer stands here twice")
        self.names = self.child_names()

    def child_names(self) -> list[str]:
        """A name for each child, as Keras counts them: conv2d, conv2d_1, ..."""
        seen: dict[str, int] = {}
        names = []
        for layer in self.layers:
            base, count = layer.name, seen.get(layer.name, 0)
            seen[base] = count + 1
            names.append(f"{base}_{count}" if count else base)
        for layer, name in zip(self.layers, names, strict=True):
            layer.name = name
        return names

    def children(self) -> list[tuple[str, Layer]]:
        """(name, layer) in order."""
        return list(zip(self.names, self.layers, strict=True))

    def gather(self) -> None:
        """Lay the children's parameters and state out in one vector each, and hand back views."""
        self.adopt(FlatDict.of(self._joined("params")), FlatDict.of(self._joined("state")))

    def _joined(self, which: str) -> dict[str, Array]:
        return {
            f"{name}.{key}": array
            for name, child in self.children()
            for key, array in getattr(child, which).items()
        }

    def adopt(self, params: dict[str, Array], state: dict[str, Array]) -> None:
        """Take these arrays as parameters and state, down to the last child."""
        self.params, self.state = params, state
        for name, child in self.children():
            adopt(child, part(params, name), part(state, name))

    def astype(self, dtype: Any) -> Self:
        """A copy of another dtype; with its own dtype, simply a copy."""
        other = copy.copy(self)
        other.dtype = check_dtype(dtype)
        other.layers = [layer.astype(dtype) for layer in self.layers]
        other.regroup()
        other.gather()
        return other

    def regroup(self) -> None:
        """Called when the children have been replaced."""

    def null_gradients(self) -> set[str]:
        return {f"{name}.{key}" for name, c in self.children() for key in c.null_gradients()}


def part(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    """The entries of one child, under its own names."""
    prefix = name + "."
    return {k[len(prefix) :]: a for k, a in arrays.items() if k.startswith(prefix)}


def adopt(layer: Layer, params: dict[str, Array], state: dict[str, Array]) -> None:
    """Let a layer, or a container's children, live in these arrays."""
    if isinstance(layer, Container):
        layer.adopt(params, state)
    else:
        layer.params, layer.state = params, state


def _types() -> set[type]:
    from .base import _registry

    return set(_registry.values())
