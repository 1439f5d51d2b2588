"""Models on disk: one safetensors file holds the weights and, in its metadata, the architecture.

Tensors are named "params/<name>" and "state/<name>"; the header is the format's number and the
model's config.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..flat import write
from ..initializers import Initializer
from ..layers.configuration import from_config, to_config
from ..layers.container import Container
from ..random import Key
from ..sequential import Sequential
from . import tensors

FORMAT = 1


def save(path: str | os.PathLike, model: Sequential) -> None:
    """Write a built Sequential, the model, to `path` as safetensors, atomically.

    Raises WriteError (an OSError) when the disk does not take it, TypeError for anything but a
    Sequential, ValueError for one that is not built, and for complex128, which safetensors cannot
    hold.

        >>> import os, tempfile
        >>> model = mg.Sequential([mg.Dense(2)], input_shape=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "model.safetensors")
        ...     mg.save(path, model)
        ...     again = mg.load(path)
        >>> bool((again.params.flat == model.params.flat).all())
        True
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"mg.save: expected a Sequential, got a {type(model).__name__}")
    if model.output_shape is None:
        raise ValueError("mg.save: the model is not built; give it an input_shape")
    if model.dtype not in tensors.DTYPES.values():
        raise ValueError(
            f"mg.save: the model is {model.dtype}, which safetensors cannot hold.\n"
            'Save a real copy of it: mg.save(path, model.astype("float64")).'
        )
    tensors.write(path, arrays(model), {"format": FORMAT, "model": to_config(model)})


def load(path: str | os.PathLike) -> Sequential:
    """Rebuild the model that `save` wrote to `path`: architecture, parameters and state.

    The file is checked before the model takes any memory: it must be safetensors, carry minigan's
    metadata, and hold exactly the tensors that the architecture implies, with their shapes and
    dtypes. Raises ValueError otherwise, OSError when the file cannot be opened. Layers of your own
    must be registered (mg.register) first.
    """
    with tensors.reading(path) as file:
        spec = _spec(path, tensors.header(path, file, FORMAT))
        tensors.compare(path, _implied(path, spec), file)
        model = build(spec)
        for name, target in arrays(model).items():
            write(target, file.get_tensor(name))
    return model


def arrays(model: Sequential) -> dict[str, Any]:
    """The arrays of a model under their names in the file."""
    parts = {"params": model.params, "state": model.state}
    return {f"{part}/{name}": a for part, found in parts.items() for name, a in found.items()}


def _spec(path: str | os.PathLike, header: Any) -> dict[str, Any]:
    """The description of the model in the file's metadata."""
    try:
        spec = header["model"]
        if spec["class"] != "Sequential" or spec["config"]["input_shape"] is None:
            raise KeyError("class")
    except (KeyError, TypeError) as error:
        raise tensors.damaged(path, "its metadata do not describe a model") from error
    return spec


class _Shape:
    """What an array is like, without the array."""

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)

    def __mul__(self, other: Any) -> _Shape:  # layers derive state from parameters: beta * 0 + 1
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __rmul__ = __truediv__ = __mul__


class _NoValues(Initializer):
    """Draws nothing: stands for the initializers while a model's shapes are worked out."""

    def __call__(self, shape, dtype, key, fans):
        return _Shape(shape, dtype)


def _implied(path: str | os.PathLike, spec: dict[str, Any]) -> dict[str, _Shape]:
    """The tensors that the architecture implies. Takes no memory, whatever its numbers say."""
    try:
        model = _model(spec)
        for layer in _prepare(model):
            for name, value in vars(layer).items():
                if isinstance(value, Initializer):
                    setattr(layer, name, _NoValues())
        model.build(spec["config"]["input_shape"], spec["config"]["dtype"], Key(0, "weights"))
        return dict(_leaves(model, ""))
    except (TypeError, KeyError, AttributeError, IndexError, ArithmeticError) as error:
        raise tensors.damaged(path, f"its architecture cannot be built: {error}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise tensors.damaged(path, f"its architecture cannot be built: {error}") from error


def build(spec: dict[str, Any], key: Key | None = None) -> Sequential:
    """The model that `spec`, of to_config, describes, with the first weights of this key."""
    model = _model(spec)
    # A key of its own: without one, loading would move on the numbering of unnamed draws.
    model.build(spec["config"]["input_shape"], spec["config"]["dtype"], key or Key(0, "weights"))
    return model


def check_room(
    path: str | os.PathLike, specs: Iterable[Any], saved: Iterable[str | os.PathLike]
) -> None:
    """ValueError when models take more memory than 1 GB and than the files that hold their weights.

    What a description asks for is believed only as far as that.
    """
    arrays = [a for spec in specs for a in _implied(path, spec).values()]
    needed = sum(math.prod(a.shape) * a.dtype.itemsize for a in arrays)
    most = max(1 << 30, *map(os.path.getsize, saved), 0)
    if needed > most:
        raise ValueError(
            f"{path}: its networks would take {needed:,} bytes, which no checkpoint beside it has; "
            "it was damaged or edited"
        )


def _model(spec: dict[str, Any]) -> Sequential:
    """The model that `spec` describes, not yet built."""
    model = from_config(_without_shapes(spec))
    if not isinstance(model, Sequential):
        raise TypeError("the description of a network")
    return model


def _without_shapes(spec: Any) -> Any:
    """The description without the input shapes of its Sequentials, which build them at once."""
    if isinstance(spec, list):
        return [_without_shapes(each) for each in spec]
    if not isinstance(spec, dict):
        return spec
    sequential = spec.get("class") == "Sequential"
    return {
        key: {**_without_shapes(value), "input_shape": None} if sequential and key == "config"
        else _without_shapes(value)
        for key, value in spec.items()
    }  # fmt: skip


def _prepare(layer: Any) -> Any:
    """All layers below, after their containers have been told not to gather arrays."""
    if isinstance(layer, Container):
        layer.gather = lambda: None  # type: ignore[method-assign]
        for child in layer.layers:
            yield from _prepare(child)
    else:
        yield layer


def _leaves(layer: Any, prefix: str) -> Any:
    """(name in the file, shape and dtype) of every parameter and state."""
    if isinstance(layer, Container):
        for name, child in layer.children():
            yield from _leaves(child, f"{prefix}{name}.")
    else:
        for part in ("params", "state"):
            for name, array in getattr(layer, part).items():
                yield f"{part}/{prefix}{name}", array
