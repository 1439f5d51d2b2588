"""Weights to and from PyTorch and Keras.

The layouts.  Keras has ours; PyTorch has the channels before the taps, and its own names.

    layer             minigan                    PyTorch
    Dense             kernel (in, out)           weight (out, in)
    Conv1D            kernel (k, in, out)        weight (out, in, k)
    Conv1DTranspose   kernel (k, out, in)        weight (in, out, k)
    Conv2D            kernel (kh, kw, in, out)   weight (out, in, kh, kw)
    Conv2DTranspose   kernel (kh, kw, out, in)   weight (in, out, kh, kw)
    these five        bias (out)                 bias (out)
    BatchNorm         gamma (out)                weight (out)
    BatchNorm         beta (out)                 bias (out)
    BatchNorm         moving_mean (out)          running_mean (out)
    BatchNorm         moving_variance (out)      running_var (out)
    LayerNorm         gamma (out)                weight (out)
    LayerNorm         beta (out)                 bias (out)
    InstanceNorm      gamma (out)                weight (out)
    InstanceNorm      beta (out)                 bias (out)
    Embedding         embeddings (in, out)       weight (in, out)
    SpectralNorm      u (out)                    parametrizations.weight.0.u (out)

With groups=g, the axis `in` of a Conv2D and `out` of a Conv2DTranspose has a g-th of the channels.
A SpectralNorm's kernel is, in the layout of the layer inside, `parametrizations.weight.original`
in PyTorch and `layer/kernel` in Keras.  PyTorch's BatchNorm counts its batches besides, in
`num_batches_tracked`; the count is written as 0, not read, and need not be there.

An array's full name is that of its layer, and its own: "dense_1.weight" in PyTorch,
"dense_1/kernel" in Keras.  A layer in containers has their names before its own, joined by
underscores: "parallel_0_embedding.weight".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..backend import to_numpy
from ..flat import write
from ..layers import BatchNorm, Parallel, SpectralNorm
from ..layers.arguments import one_of
from ..layers.base import Layer
from ..layers.container import Container
from ..sequential import Sequential
from ..spelling import printable
from . import npz_file
from .exporting import names_of, tree

LAYOUTS = ("torch", "keras")
_COUNT = "num_batches_tracked"

_TORCH = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "embeddings": "weight",
    "u": "parametrizations.weight.0.u",
}


class Slot(NamedTuple):
    """An array of a model: its name in the other world, itself, and its axes in their order."""

    name: str
    array: Any
    axes: tuple[int, ...]


def export_weights(model: Sequential, *, layout: str) -> dict[str, np.ndarray]:
    """A model's parameters and state by the other world's names, in its layouts, as copies.

    layout: "torch" or "keras"; see the table at the top of this file.  Of the module that
    `export_torch` writes it is the state_dict.  Raises TypeError for a model that is not a built
    Sequential, ValueError for another layout and for arrays that PyTorch has no name for.
    """
    return {
        slot.name: np.array(to_numpy(slot.array).transpose(slot.axes), order="C")
        for slot in slots_of(model, layout)
    }


def import_weights(model: Sequential, weights: Any, *, layout: str) -> None:
    """Write weights that come from PyTorch or Keras into a model of the same architecture.

    weights: a dictionary of arrays or tensors by name, as state_dict() of the module that
    `export_torch` wrote, or {v.path: v.numpy() for v in model.weights} of `export_keras`'s; a list
    in the order of the layers, as get_weights() of a Keras model without branches; or the path of
    such a dictionary, .safetensors or .npz.  They are cast to the model's dtype.

    layout: "torch" or "keras".  Raises ValueError, before anything is written, when names are
    missing or unknown, a shape is another, or the file is none of these; OSError when it cannot be
    opened.  Nothing is ever unpickled.
    """
    slots = slots_of(model, layout)
    if isinstance(weights, (str, os.PathLike)):
        weights = _read(Path(weights), slots, layout)
    elif not isinstance(weights, Mapping):
        weights = _in_order(model, list(weights), slots)
    _check_names(set(weights), slots, layout)
    slots = [slot for slot in slots if not slot.name.endswith(_COUNT)]
    values = [_as_ours(slot, weights[slot.name]) for slot in slots]
    for slot, value in zip(slots, values, strict=True):
        write(slot.array, value)


def slots_of(model: Sequential, layout: str) -> list[Slot]:
    """The arrays of a model, layer by layer."""
    one_of(layout, LAYOUTS, "layout", "weights")
    if not isinstance(model, Sequential) or model.output_shape is None:
        raise TypeError(f"weights: expected a built Sequential, got a {type(model).__name__}")
    names, found = names_of(model), list[Slot]()
    for way, layer in tree(model):
        if not isinstance(layer, Container):
            arrays = {**layer.params, **layer.state}
            if layout == "keras" and isinstance(layer, SpectralNorm):
                arrays["kernel"] = arrays.pop("kernel")  # Keras lists a wrapper's own first
            for key, array in arrays.items():
                name = _name(layer, names[way], key, layout)
                found.append(Slot(name, array, axes_of(key, array.ndim, layout)))
            if layout == "torch" and isinstance(layer, BatchNorm):
                count = np.zeros((), np.int64)
                found.append(Slot(f"{names[way]}.{_COUNT}", count, ()))
    return found


def axes_of(key: str, ndim: int, layout: str) -> tuple[int, ...]:
    """Which of our axes each of theirs is."""
    if layout == "torch" and key == "kernel":
        return ndim - 1, ndim - 2, *range(ndim - 2)  # (kh, kw, in, out) -> (out, in, kh, kw)
    return tuple(range(ndim))


def _name(layer: Layer, name: str, key: str, layout: str) -> str:
    normed = isinstance(layer, SpectralNorm) and key == "kernel"
    if layout == "keras":
        return f"{name}/layer/kernel" if normed else f"{name}/{key}"
    if key not in _TORCH:
        raise ValueError(f"weights: PyTorch has no name for {key!r} of {layer.name}")
    return f"{name}.{'parametrizations.weight.original' if normed else _TORCH[key]}"


def _read(path: Path, slots: list[Slot], layout: str) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors or .npz file; of the latter none before its names are known."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if path.suffix == ".npz":
        advice = "Write one with np.savez(path, **weights), of numbers."
        with npz_file.opened(path, advice) as archive:
            names = npz_file.names_in(archive)
        _check_names(set(names), slots, layout)
        with npz_file.opened(path, advice) as archive:
            return {name: npz_file.entry(archive, name) for name in names}
    if path.suffix != ".safetensors":
        raise ValueError(
            f"{path}: give a .safetensors or .npz file; pickles, such as .pt, are never loaded.\n"
            'In PyTorch: safetensors.torch.save_file(model.state_dict(), "weights.safetensors").'
        )
    data = path.read_bytes()
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a whole .safetensors file of numbers that NumPy has (bfloat16 it has "
            "not); save it again, in float32"
        ) from error


def _in_order(model: Sequential, values: list[Any], slots: list[Slot]) -> dict[str, Any]:
    if any(isinstance(layer, Parallel) for _, layer in tree(model)):
        raise ValueError(
            "import_weights: this model has branches, whose order a list does not tell; give the "
            "arrays by name: {v.path: v.numpy() for v in model.weights}"
        )
    if len(values) != len(slots):
        raise ValueError(
            f"import_weights: the model has {len(slots)} arrays, the list {len(values)}; "
            f"they are {', '.join(slot.name for slot in slots)}"
        )
    return {slot.name: value for slot, value in zip(slots, values, strict=True)}


def _check_names(given: set[str], slots: list[Slot], layout: str) -> None:
    wanted = [slot.name for slot in slots]
    missing = [name for name in wanted if name not in given and not name.endswith(_COUNT)]
    unknown = sorted(given - set(wanted))
    if missing or unknown:
        raise ValueError(
            "import_weights: these are the weights of another model.\n"
            f"Missing: {_some(missing)}. Unknown: {_some(unknown)}.\n"
            f'The names that it takes: list(mg.export_weights(model, layout="{layout}")).'
        )


def _some(names: Iterable[str]) -> str:
    names = [printable(name) for name in names]
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "none") + rest


def _as_ours(slot: Slot, value: Any) -> np.ndarray:
    """Their array, in our layout."""
    if hasattr(value, "detach"):  # a tensor of PyTorch's, on any device, in any precision
        value = value.detach().cpu().double().numpy()
    array = np.asarray(to_numpy(value))
    shape = tuple(slot.array.shape[axis] for axis in slot.axes)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise ValueError(
            f"import_weights: {slot.name} should be numbers of shape {shape}, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array.transpose(np.argsort(slot.axes))
