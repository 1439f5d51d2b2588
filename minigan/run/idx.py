"""IDX files, the format of MNIST: http://yann.lecun.com/exdb/mnist/ describes it.

Two zero bytes, a byte for the type of the numbers, a byte for the number of axes, the length of
each axis (four bytes, the most significant first), then the numbers, row by row.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from .batches import Dataset, check_labels

_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
# bytes that deflate makes of one at most (zlib's documentation, "Maximum Compression Factor")
_GZIP_MOST = 1032


def load(path: str | os.PathLike) -> Dataset:
    """Read a file of images, or the one in a folder, with the labels beside it.

    Files may be packed (.gz). The labels are in the file with "labels" for "images" and "idx1" for
    "idx3" in its name; without it there are none. Of several files of images in a folder the one
    for training is read ("train" in its name).
    Returns images, uint8 (N, H, W, 1), and labels, int64 (N,), or None. Raises ValueError, naming
    the file, when it is damaged or something else, OSError when it cannot be opened.
    """
    images = _choose(Path(path)) if os.path.isdir(path) else Path(path)
    return read(images, _labels_beside(images))


def read(images: str | os.PathLike, labels: str | os.PathLike | None) -> Dataset:
    """The data set in these two files."""
    pixels = read_array(images)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or pixels.dtype != np.uint8:
        raise ValueError(
            f"{images}: expected images, bytes of shape (N, H, W); got {pixels.dtype} of shape "
            f"{pixels.shape}"
        )
    if labels is None:
        return Dataset(pixels)
    return Dataset(pixels, check_labels(read_array(labels), len(pixels), where=str(labels)))


def read_array(path: str | os.PathLike) -> np.ndarray:
    """The array in an IDX file, plain or packed. No more memory is taken than it can hold."""
    try:
        with _open(path) as file:
            shape, dtype = _header(file)
            size = math.prod(shape) * dtype.itemsize
            if 0 in shape:
                raise ValueError(f"it is empty: shape {shape}")
            most = os.path.getsize(path) * (_GZIP_MOST if isinstance(file, gzip.GzipFile) else 1)
            if size > most:
                raise ValueError(f"its header promises {size:,} bytes, which it cannot hold")
            data = file.read(size + 1)
    except (EOFError, struct.error, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as an IDX file: {error}") from error
    if len(data) != size:
        found = "more" if len(data) > size else f"only {len(data):,}"
        raise ValueError(f"{path}: damaged: its header promises {size:,} bytes, {found} follow")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def is_idx(path: str | os.PathLike) -> bool:
    """Whether this is a file that begins as IDX files do, or a folder with one of images."""
    if os.path.isdir(path):
        return bool(_images_in(Path(path)))
    try:
        with _open(path) as file:
            _header(file)
        return True
    except (OSError, ValueError, EOFError, struct.error, zlib.error):
        return False


def _open(path: str | os.PathLike) -> Any:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else open(path, "rb")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    zero, kind, axes = struct.unpack(">HBB", file.read(4))
    if zero != 0 or kind not in _DTYPES or not 1 <= axes <= 4:
        raise ValueError("it does not begin with 0, 0, the type of numbers, and 1 to 4 axes")
    return struct.unpack(f">{axes}I", file.read(4 * axes)), np.dtype(_DTYPES[kind])


def _images_in(folder: Path) -> list[Path]:
    named = (file for file in folder.iterdir() if re.search(r"^[^.].*idx3.ubyte", file.name))
    return sorted(file for file in named if file.is_file())


def _choose(folder: Path) -> Path:
    files = _images_in(folder)
    chosen = [file for file in files if "train" in file.name] or files
    if len({file.name.removesuffix(".gz") for file in chosen}) > 1:
        named = ", ".join(file.name for file in chosen[:5])
        raise ValueError(f"{folder}: which of these? Give one file: {named}")
    return chosen[0]


def _labels_beside(images: Path) -> Path | None:
    name = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    beside = [images.with_name(name), images.with_name(name + ".gz")]
    return next((file for file in beside if file.is_file() and file != images), None)
