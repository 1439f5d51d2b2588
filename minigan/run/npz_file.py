"""Reading .npz files that may be damaged, foreign or hostile.

What an array would take in memory is known, and checked, before any of it is read: its header must
promise exactly what the archive says that the entry holds. An array of over 4 GiB that is packed to
less than a hundredth of its size, as photographs never are, is refused too: a small file would fill
the memory. np.savez without compression stores such an array.
"""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from ..spelling import printable
from .batches import Dataset, check_labels

# what zipfile, zlib and NumPy raise on damaged, encrypted and foreign archives
_UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, AttributeError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
_LARGE = 2**32  # bytes: no array below this is taken for a decompression bomb
_DENSEST = 100  # times that a large array may be larger than its packed form


def npz(path: str | os.PathLike) -> Dataset:
    """Read the file at `path`, made by np.savez: "images" and, with classes, "labels" and "names".

    images: uint8 (N, H, W, C) with C = 1 or 3, or (N, H, W). labels: whole numbers, (N,). names:
    those of the classes 0, 1, ..., as strings.
    Returns images, uint8 (N, H, W, C), and labels, int64 (N,), or None where there are none.
    Raises OSError when the file cannot be opened, ValueError when it holds something else.
    Pickled objects are never loaded.
    """
    arrays = _read(path)
    if "images" not in arrays:
        found = ", ".join(sorted(arrays)[:8]) or "nothing"
        raise ValueError(
            f"{path}: expected an array named 'images' (and perhaps 'labels'), found {found}.\n"
            "Write one with np.savez(path, images=..., labels=...)."
        )
    images = _check_images(path, arrays["images"])
    if arrays.get("labels") is None:
        data = Dataset(images)
    else:
        labels = check_labels(arrays["labels"], len(images), where=str(path))
        names = _check_names(path, arrays.get("names"), int(labels.max()) + 1)
        data = Dataset(images, labels, names)
    data.source = os.path.abspath(path), {}
    return data


def _read(path: str | os.PathLike) -> dict[str, Any]:
    """The arrays of ours in the file; where there are no images, the other names in it."""
    with opened(path, "Write one with np.savez(path, images=..., labels=...).") as archive:
        names = names_in(archive)
        if "images" not in names:
            return dict.fromkeys(names)
        ours = [name for name in ("images", "labels", "names") if name in names]
        return {name: entry(archive, name) for name in ours}


@contextlib.contextmanager
def opened(path: str | os.PathLike, advice: str) -> Iterator[zipfile.ZipFile]:
    """The archive of an .npz file, for a block that reads its names and entries.

    Raises OSError when it cannot be opened, and ValueError, with the advice, for whatever damaged
    and foreign files raise in the block.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; expected an .npz file")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive, or only a part of one")
        with zipfile.ZipFile(path) as archive:
            yield archive
    except PermissionError:
        raise
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: cannot be read as an .npz file: {reason}.\n{advice}") from error


def names_in(archive: zipfile.ZipFile) -> list[str]:
    """The names of the arrays in an .npz file."""
    return [name.removesuffix(".npy") for name in archive.namelist()]


def entry(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """The array of this name, if its header is true and it is no decompression bomb."""
    name = f"{name}.npy"
    info = archive.getinfo(name)
    with archive.open(info) as file:
        shape, dtype = _header(file)
        size, stored = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never loaded")
    if size != stored or size == 0 < math.prod(shape):
        raise ValueError(f"{name} promises {size:,} bytes, but {stored:,} are stored")
    packed = min(info.compress_size, os.path.getsize(str(archive.filename)))
    if size > max(_LARGE, _DENSEST * packed):
        raise ValueError(
            f"{name} would unpack from {packed:,} to {size:,} bytes; np.savez stores such arrays "
            "as they are"
        )
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:  # 3.0 differs in the text encoding of field names alone
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype


def _check_images(path: str | os.PathLike, images: np.ndarray) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"{path}: images must be (N, H, W, C) with C = 1 or 3, or (N, H, W), N at least 1; "
            f"got {images.shape}"
        )
    if images.dtype != np.uint8:
        raise ValueError(
            f"{path}: images must be uint8, 0 to 255, got {images.dtype}; scale and convert them, "
            "e.g. (x * 255).round().astype('uint8') for floats in [0, 1]"
        )
    return images


def _check_names(
    path: str | os.PathLike, names: np.ndarray | None, classes: int
) -> list[str] | None:
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind != "U" or len(names) < classes:
        raise ValueError(
            f"{path}: names must be strings, one for each of at least {classes} classes; got "
            f"{names.dtype} of shape {names.shape}"
        )
    return [printable(name) for name in names.tolist()]
