"""Models on disk: one safetensors file holds the weights and, in its metadata, the architecture.

Tensors are named "params/<name>" and "state/<name>". The metadata has one entry, "minigan": JSON
with the format's number and the model's config. Nothing in the file depends on when, where or by
whom it was written, so equal models give equal bytes; no part of it is ever executed.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..flat import write
from ..initializers import Initializer
from ..layers.base import from_config, to_config
from ..layers.container import Container
from ..random import Key
from ..sequential import Sequential
from .files import write_bytes

FORMAT = 1

_DTYPES = {"F32": np.dtype("float32"), "F64": np.dtype("float64")}
_BEGINNINGS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"PK\x03\x04": "a zip archive, such as .npz, .keras or PyTorch's .pt",
    b"\x89HDF": "an HDF5 file, such as Keras' .h5",
    b"\x93NUMPY": "a NumPy .npy array",
    b"\x80": "a pickle, which is never loaded",
}


def save(path: str | os.PathLike, model: Sequential) -> None:
    """Write a built Sequential to `path` as safetensors, atomically.

    Raises WriteError (an OSError) when the disk does not take it, TypeError for anything but a
    Sequential, ValueError for one that is not built, and for complex128, which safetensors cannot
    hold.
    """
    from safetensors.numpy import save as serialise

    if not isinstance(model, Sequential):
        raise TypeError(f"mg.save: expected a Sequential, got a {type(model).__name__}")
    if model.output_shape is None:
        raise ValueError("mg.save: the model is not built; give it an input_shape")
    if model.dtype not in _DTYPES.values():
        raise ValueError(
            f"mg.save: the model is {model.dtype}, which safetensors cannot hold.\n"
            'Save a real copy of it: mg.save(path, model.astype("float64")).'
        )
    tensors = {name: np.asarray(to_numpy(a), order="C") for name, a in _tensors(model).items()}
    header = json.dumps({"format": FORMAT, "model": to_config(model)}, sort_keys=True)
    write_bytes(path, serialise(tensors, metadata={"minigan": header}))


def load(path: str | os.PathLike) -> Sequential:
    """Rebuild the model that `save` wrote to `path`: architecture, parameters and state.

    The file is checked before the model takes any memory: it must be safetensors, carry minigan's
    metadata, and hold exactly the tensors that the architecture implies, with their shapes and
    dtypes. Raises ValueError otherwise, OSError when the file cannot be opened. Layers of your own
    must be registered (mg.register) first.
    """
    from safetensors import SafetensorError, safe_open

    if os.path.isdir(path):
        raise IsADirectoryError(
            f"{path} is a folder; expected a .safetensors file, as a run's generator.safetensors"
        )
    with open(path, "rb") as file:  # its errors name the file; those of safe_open do not
        beginning = file.read(8)
    try:
        with safe_open(path, framework="numpy") as file:
            spec = _spec(path, file.metadata())
            _compare(path, _implied(path, spec), _found(file))
            model = _model(spec)
            _build(model, spec)
            for name, target in _tensors(model).items():
                write(target, file.get_tensor(name))
    except SafetensorError as error:
        raise _foreign(path, beginning, error) from error
    return model


def _tensors(model: Sequential) -> dict[str, Any]:
    """The arrays of a model under their names in the file."""
    parts = {"params": model.params, "state": model.state}
    return {f"{part}/{name}": a for part, arrays in parts.items() for name, a in arrays.items()}


def _spec(path: str | os.PathLike, metadata: dict[str, str] | None) -> dict[str, Any]:
    """The description of the model in the file's metadata."""
    if metadata is None or "minigan" not in metadata:
        raise ValueError(
            f"{path}: safetensors, but not written by minigan: its metadata have no 'minigan'.\n"
            "It holds weights alone. Build the model and copy them into model.params."
        )
    try:
        header = json.loads(metadata["minigan"])
        number, spec = header["format"], header["model"]
        if number != FORMAT:
            raise ValueError(
                f"{path}: its format is {number!r}, this minigan reads {FORMAT}.\n"
                "Read it with the version of minigan that wrote it."
            )
        if spec["class"] != "Sequential" or spec["config"]["input_shape"] is None:
            raise KeyError("class")
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
        raise _damaged(path, "its metadata do not describe a model") from error
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
        _build(model, spec)
        return dict(_leaves(model, ""))
    except (TypeError, KeyError, AttributeError, IndexError, ArithmeticError) as error:
        raise _damaged(path, f"its architecture cannot be built: {error}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise _damaged(path, f"its architecture cannot be built: {error}") from error


def _model(spec: dict[str, Any]) -> Sequential:
    """The model that `spec` describes, not yet built."""
    model = from_config(_without_shapes(spec))
    assert isinstance(model, Sequential)  # _spec has seen to it
    return model


def _build(model: Sequential, spec: dict[str, Any]) -> None:
    # A key of its own: without one, loading would move on the numbering of unnamed draws.
    key = Key(0, "weights")
    model.build(spec["config"]["input_shape"], spec["config"]["dtype"], key)


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


def _found(file: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    """name -> (dtype, shape) of the tensors in the file, which are not read."""
    slices = {name: file.get_slice(name) for name in file.keys()}
    return {name: (s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}


def _compare(path: str | os.PathLike, implied: dict[str, _Shape], found: dict[str, Any]) -> None:
    codes = {dtype: code for code, dtype in _DTYPES.items()}
    for name in (*implied, *found):
        if name not in found:
            raise _damaged(path, f"the tensor {name} is missing")
        if name not in implied:
            raise _damaged(path, f"the tensor {name} belongs to no layer of its architecture")
        want = (codes.get(np.dtype(implied[name].dtype)), implied[name].shape)
        if want != found[name]:
            got = " ".join(map(str, found[name]))
            raise _damaged(path, f"{name} should be {want[0]} {want[1]}, but is {got}")


def _damaged(path: str | os.PathLike, what: str) -> ValueError:
    what = " ".join(what.split())[:300]
    return ValueError(
        f"{path}: {what}.\nThe file was damaged or edited; use another copy, or train again."
    )


def _foreign(path: str | os.PathLike, beginning: bytes, error: Exception) -> ValueError:
    kinds = [kind for start, kind in _BEGINNINGS.items() if beginning.startswith(start)]
    if kinds:
        what = f"this is {kinds[0]}, not a safetensors file"
    else:
        what = f"not a whole safetensors file ({' '.join(str(error).split())[:120]})"
    return ValueError(f"{path}: {what}.\nGive a file that mg.save or 'minigan train' wrote.")
