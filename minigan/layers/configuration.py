"""What layers are called in files and messages, and their description as JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..spelling import did_you_mean

if TYPE_CHECKING:
    from .base import Layer

_registry: dict[str, type[Layer]] = {}


def register(cls: type[Layer]) -> type[Layer]:
    """Class decorator: lets save, load and from_config find the layer `cls` by its name.

    Returns cls itself.  A class of the same name that was registered before is found no more.
    """
    _registry[cls.__name__] = cls
    return cls


def to_config(layer: Layer) -> dict[str, Any]:
    """The layer as JSON: {"class": name, "config": constructor arguments}."""
    name = type(layer).__name__
    if _registry.get(name) is not type(layer):
        raise TypeError(f"{name} is not registered: put @mg.register above the class")
    return {"class": name, "config": layer.config()}


def from_config(spec: Any) -> Layer:
    """The unbuilt layer that `to_config` described."""
    if not isinstance(spec, dict) or not isinstance(spec.get("config"), dict):
        raise ValueError(f"a layer's description has 'class' and 'config', got {spec!r:.80}")
    name = spec.get("class")
    if name not in _registry:
        raise ValueError(
            f"layer class {name!r} is unknown{did_you_mean(str(name), list(_registry))}; "
            "register your own layers with @mg.register before loading"
        )
    return _registry[name](**spec["config"])


def bare_class(value: Any) -> str:
    """A hint for an error message, if the value is a class where an object was expected."""
    return "; write it with its brackets, as in ReLU()" if isinstance(value, type) else ""


def snake_case(name: str) -> str:
    """Conv2DTranspose -> conv2d_transpose, BatchNorm -> batch_normalization (Keras's names)."""
    special = {"ReLU": "re_lu", "LeakyReLU": "leaky_re_lu", "SiLU": "si_lu"}
    if name in special:
        return special[name]
    name = re.sub(r"Norm$", "Normalization", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
