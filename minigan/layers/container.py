"""What Sequential and Parallel share: children, and one flat vector for all their parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..backend import check_dtype
from ..flat import FlatDict, Views
from .arguments import Array
from .base import Layer
from .configuration import bare_class, to_config

if TYPE_CHECKING:
    from typing_extensions import Self


class Container(Layer):
    """A layer made of layers. Its params and state are keyed <child>.<name>.

    Raises TypeError for a child that is no layer, ValueError for one that is built or comes twice.
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = list(layers)
        for layer in self.layers:
            if isinstance(layer, Layer) and layer.output_shape is not None:
                raise ValueError(
                    f"{type(self).__name__}: {layer.name} is built already, and building it again "
                    "would replace its weights; call the two models one after the other instead, "
                    "or leave input_shape out of the inner one"
                )
            if not isinstance(layer, Layer):
                hint = bare_class(layer)
                raise TypeError(f"{type(self).__name__}: {layer!r} is not a layer{hint}")
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

    def build(self, input_shape: Any, dtype: Any = "float32", key: Any = None) -> Any:
        """Layer.build, with its input_shape, dtype and key.

        When it fails, the children are as if they had never been built.
        """
        try:
            return super().build(input_shape, dtype, key)
        except Exception:
            self.unbuild()
            raise

    def unbuild(self) -> None:
        """Forget shapes and parameters, down to the last child."""
        self.output_shape = None
        for layer in self.layers:
            layer.output_shape = None
            if isinstance(layer, Container):
                layer.unbuild()

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
        """Take these arrays as params and state, down to the last child."""
        self.params, self.state = params, state
        for name, child in self.children():
            adopt(child, part(params, name), part(state, name))

    def astype(self, dtype: Any) -> Self:
        """A copy of another dtype; with its own dtype, simply a copy."""
        return self._with(check_dtype(dtype), [layer.astype(dtype) for layer in self.layers])

    def to(self, backend: str) -> Self:
        """A copy whose parameters and state live on this backend: "numpy" or "cupy"."""
        return self._with(self.dtype, [layer.to(backend) for layer in self.layers])

    def _with(self, dtype: Any, layers: list[Layer]) -> Self:
        """A copy with these layers, their arrays in vectors of its own."""
        other = copy.copy(self)
        other.dtype, other.layers = dtype, layers
        other.regroup()
        other.gather()
        return other

    def __setstate__(self, state: dict[str, Any]) -> None:
        """After a deep copy or unpickling: the children live in the container's arrays again."""
        self.__dict__.update(state)
        if self.output_shape is not None:
            self.adopt(self.params, self.state)

    def layer_configs(self) -> list[dict[str, Any]]:
        """The children as JSON; what they are built for follows from the container."""
        configs = [to_config(layer) for layer in self.layers]
        for described in configs:
            described["config"].pop("input_shape", None)
        return configs

    def regroup(self) -> None:
        """Called when the children have been replaced."""

    def null_gradients(self) -> set[str]:
        return {f"{name}.{key}" for name, c in self.children() for key in c.null_gradients()}


def part(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    """The entries of one child, under its own names."""
    prefix = name + "."
    return Views({k[len(prefix) :]: a for k, a in arrays.items() if k.startswith(prefix)})


def adopt(layer: Layer, params: dict[str, Array], state: dict[str, Array]) -> None:
    """Let a layer, or a container's children, live in these arrays."""
    if isinstance(layer, Container):
        layer.adopt(params, state)
    else:
        layer.params, layer.state = params, state
