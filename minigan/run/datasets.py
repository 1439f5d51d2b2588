"""Images to train on: embedded digits, single or stacked; MNIST; folders, .npz and IDX files.

A data set is a pair (images, labels), see Dataset; Batches is what a GAN is fed.
"""

from __future__ import annotations

import os
from importlib import resources
from typing import Any

import numpy as np

from ..random import Key
from ..spelling import did_you_mean
from . import idx
from .batches import Batches, Dataset, check_enough, check_labels
from .files import WriteError
from .fill import fill
from .image_folder import folder
from .mnist import mnist
from .npz_file import npz
from .pictures import Form

__all__ = [
    "Batches",
    "Dataset",
    "check_enough",
    "check_labels",
    "digits",
    "folder",
    "load",
    "load_again",
    "mnist",
    "npz",
    "resized",
    "stacked_digits",
]

STACKED = (50_000, 0)  # images of "stacked_digits", and their seed
_NAMED = ("digits", "stacked_digits", "mnist")


def digits() -> Dataset:
    """The 10,000 handwritten digits that come with the package (a part of MNIST).

    Returns images, uint8 (10000, 28, 28, 1), white on black, and labels, int64 (10000,), sorted
    by class. Source and licence: minigan/run/data/NOTICE.md.

        >>> images, labels = mg.datasets.digits()
        >>> images.shape, images.dtype.name, labels.shape
        ((10000, 28, 28, 1), 'uint8', (10000,))
    """
    with (resources.files("minigan.run") / "data" / "digits.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays["x"][..., None], arrays["y"].astype(np.int64)
            data = Dataset(images, labels, range(10))
    data.source = "digits", {}
    return data


def stacked_digits(count: int = STACKED[0], seed: int = STACKED[1]) -> Dataset:
    """Three embedded digits in the channels of each image, by chance: 1,000 modes, one a number.

    Returns images, uint8 (count, 28, 28, 3), and labels, int64 (count,): the number that the three
    digits make, the first channel's digit its hundreds. The same seed gives the same images.
    The benchmark of Metz et al. (2017) and Srivastava et al. (2017), which is made of all MNIST.
    """
    images, labels = digits()
    rng = Key(seed, "stacked digits").generator()
    chosen = rng.integers(len(images), size=(count, 3))
    stacked = np.empty((count, *images.shape[1:3], 3), np.uint8)
    for channel in range(3):
        stacked[..., channel] = images[chosen[:, channel], ..., 0]  # (count, 28, 28)
    data = Dataset(stacked, labels[chosen] @ (100, 10, 1))  # (count, 3) @ (3,)
    if (count, seed) == STACKED:
        data.source = "stacked_digits", {}
    return data


def load(
    spec: str | os.PathLike,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    strict: bool = False,
    progress: bool = False,
) -> Dataset:
    """The data set that `--data` names.

    spec: "digits"; "stacked_digits"; "mnist"; a folder of pictures; a file of IDX images, or the
        folder that holds it; an .npz file. (A folder of one of these names is ./digits, ...)
    size: a side in pixels, or (height, width). A folder of pictures needs one; other images are
        resized when it is given.
    channels: 1 makes them grey, 3 RGB. None: 3 for a folder, others stay as they are.
    fit: how pictures of other proportions fit, see `folder`; so are strict and progress.

    Raises ValueError or OSError, naming what cannot be read.
    """
    if not is_pictures(spec):
        data = resized(_as_stored(spec, progress), size, channels, fit, progress)
    elif size is None:
        raise ValueError(f"{spec}: pictures of a folder are brought to one size: give size=64")
    else:
        data = folder(spec, size, 3 if channels is None else channels, fit, strict, progress)
    named = str(spec) if str(spec) in _NAMED else os.path.abspath(spec)
    options = {"size": size, "channels": channels, "fit": fit}
    given = {name: value for name, value in options.items() if value not in (None, "crop")}
    data.source = named, {name: np.asarray(value).tolist() for name, value in given.items()}  # JSON
    return data


def load_again(spec: str | os.PathLike, **options: Any) -> Dataset:
    """load(spec, **options), the data of a run, where they were then.

    Raises ValueError, which tells how to say where they are now; WriteError (an OSError) when a
    download cannot be kept.
    """
    try:
        return load(spec, **options)
    except WriteError:
        raise
    except (ValueError, OSError) as error:
        raise ValueError(f"{error}\nThe run was trained on it; say where it is: --data") from error


def is_pictures(spec: str | os.PathLike) -> bool:
    """Whether `load` takes this for a folder of pictures, which needs a size."""
    return os.path.isdir(spec) and str(spec) not in _NAMED and not idx.is_idx(spec)


def is_known(spec: str) -> bool:
    """Whether `load` may take this word: the name of a data set, or of something on the disk."""
    return spec in _NAMED or os.path.exists(spec)


def _as_stored(spec: str | os.PathLike, progress: bool) -> Dataset:
    name = str(spec)
    if name == "digits":
        return digits()
    if name == "stacked_digits":
        return stacked_digits()
    if name == "mnist":
        return mnist(progress=progress)
    if name.lower().endswith(".npz"):
        return npz(spec)
    if not os.path.exists(spec):
        what = f"unknown data set {name!r}{did_you_mean(name.lower(), [*_NAMED])}: no such file"
    elif idx.is_idx(spec):
        return idx.load(spec)
    else:
        what = f"{name} is neither an .npz file nor IDX images"
    raise ValueError(
        f"{what}.\nGive 'digits', 'mnist', 'stacked_digits', a folder of pictures, an .npz file, "
        "or IDX images (a file, or a folder with one)."
    )


def resized(
    data: Dataset,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    progress: bool = False,
) -> Dataset:
    """The same data set with images of this size and these channels; None leaves them.

    data: uint8 (N, H, W, C). size: a side in pixels, or (height, width). fit: see `folder`.
    progress: show a bar on stderr. Raises ValueError for other arguments, and an image that fails.
    """
    from PIL import Image

    images, labels = data
    count, *shape = images.shape  # N, then H, W, C
    size = (shape[0], shape[1]) if size is None else size
    form = Form.of(size, shape[2] if channels is None else channels, fit)
    if form.shape == tuple(shape):
        return data

    def make(k: int) -> np.ndarray:
        image = images[k]
        return form.apply(Image.fromarray(image[..., 0] if shape[2] == 1 else image))

    changed = np.empty((count, *form.shape), np.uint8)
    for k, why in fill(changed, make, show=progress, strict=True).items():
        raise ValueError(f"image {k} cannot be made {form.height}x{form.width}: {why}")
    return Dataset(changed, labels, data.names, data.skipped, data.ignored)
