"""Safetensors files that are checked before they take memory, and written atomically.

The metadata has one entry, "minigan": JSON. Nothing in a file depends on when, where or by whom it
was written, so equal contents give equal bytes; no part of it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import to_numpy
from .files import write_bytes

DTYPES = {"F32": np.dtype("float32"), "F64": np.dtype("float64")}
_BEGINNINGS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"PK\x03\x04": "a zip archive, such as .npz, .keras or PyTorch's .pt",
    b"\x89HDF": "an HDF5 file, such as Keras' .h5",
    b"\x93NUMPY": "a NumPy .npy array",
    b"\x80": "a pickle, which is never loaded",
}


def digest(*parts: Any) -> str:
    """A hash of bytes and of arrays of either backend, one behind the other; None is nothing."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        if part is not None:
            found.update(
                part if isinstance(part, bytes) else np.ascontiguousarray(to_numpy(part)).data
            )
    return found.hexdigest()


def write(path: str | os.PathLike, tensors: Mapping[str, Any], header: Any) -> None:
    """Write arrays of either backend, and the header as JSON. Raises WriteError (an OSError)."""
    from safetensors.numpy import save

    arrays = {name: np.asarray(to_numpy(a), order="C") for name, a in tensors.items()}
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    write_bytes(path, save(arrays, metadata={"minigan": text}))


@contextmanager
def reading(path: str | os.PathLike) -> Iterator[Any]:
    """The open file, none of whose tensors is read yet.

    Raises OSError when it cannot be opened, ValueError when it is no whole safetensors file.
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
            yield file
    except SafetensorError as error:
        raise _foreign(path, beginning, error) from error


def header(path: str | os.PathLike, file: Any, number: int) -> Any:
    """The JSON of the metadata, whose "format" must be this number. Raises ValueError."""
    metadata = file.metadata()
    if metadata is None or "minigan" not in metadata:
        raise ValueError(
            f"{path}: safetensors, but not written by minigan: its metadata have no 'minigan'.\n"
            "It holds weights alone. Build the model and copy them into model.params."
        )
    try:
        found = json.loads(metadata["minigan"])
        if found["format"] == number:
            return found
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
        raise damaged(path, "its metadata do not describe a model") from error
    raise ValueError(
        f"{path}: its format is {found['format']!r}, this minigan reads {number}.\n"
        "Read it with the version of minigan that wrote it."
    )


def compare(path: str | os.PathLike, implied: Mapping[str, Any], file: Any) -> None:
    """ValueError unless the file holds exactly these arrays: their names, shapes and dtypes."""
    found = _found(file)
    codes = {dtype: code for code, dtype in DTYPES.items()}
    for name in (*implied, *found):
        if name not in found:
            raise damaged(path, f"the tensor {name} is missing")
        if name not in implied:
            raise damaged(path, f"the tensor {name} belongs to no layer of its architecture")
        want = (codes.get(np.dtype(implied[name].dtype)), implied[name].shape)
        if want != found[name]:
            got = " ".join(map(str, found[name]))
            raise damaged(path, f"{name} should be {want[0]} {want[1]}, but is {got}")


def _found(file: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    """name -> (dtype, shape) of the tensors in the file, which are not read."""
    slices = {name: file.get_slice(name) for name in file.keys()}
    return {name: (s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}


def damaged(path: str | os.PathLike, what: str) -> ValueError:
    """The error for a file that does not hold what it should."""
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
