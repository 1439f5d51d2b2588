"""Data sets, and the batches that a GAN is fed.

A data set is a pair (images, labels). Images stay uint8 in memory; each batch is converted to
floats in the range of the generator's output when it is needed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_NAMED = 6  # classes that a description names
Pair = tuple[np.ndarray, "np.ndarray | None"]


class Dataset(tuple):
    """(images, labels), to be unpacked as a pair.

    images: uint8 (N, H, W, C). labels: int64 (N,), or None. names: those of the classes 0, 1, ...
    as strings, or None where they have none. classes: how many there are, or None.
    skipped: (file, reason) of each that could not be read. ignored: how many files were no images,
    by the ending of their names.
    """

    names: tuple[str, ...] | None
    skipped: list[tuple[str, str]]
    ignored: dict[str, int]
    source: tuple[str, dict[str, Any]] | None = None  # load(name, **options) reads it again

    def __new__(
        cls,
        images: np.ndarray,
        labels: Any = None,
        names: Any = None,
        skipped: Iterable[tuple[str, str]] = (),
        ignored: Mapping[str, int] | None = None,
    ) -> Dataset:
        self = super().__new__(cls, (images, labels))
        self.names = None if names is None else tuple(map(str, names))
        self.skipped = list(skipped)
        self.ignored = dict(ignored or {})
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:  # copies and pickles are made anew from the pair
        return tuple(self)

    @property
    def classes(self) -> int | None:
        """One more than the largest label, or the number of names if that is more."""
        labels = self[1]
        return None if labels is None else max(int(labels.max()) + 1, len(self.names or ()))

    def describe(self) -> str:
        """What was read: "997 images of 64x64x3 in 2 classes (daisy, rose); skipped: 3"."""
        images, labels = self
        parts = [f"{len(images):,} images of {'x'.join(map(str, images.shape[1:]))}"]
        if labels is not None:
            parts[0] += f" in {self.classes} classes"
        if self.names:
            more = ", ..." if len(self.names) > _NAMED else ""
            parts[0] += f" ({', '.join(self.names[:_NAMED])}{more})"
        if self.skipped:
            parts.append(f"skipped: {len(self.skipped):,}")
        if self.ignored:
            endings = ", ".join(sorted(ending or "no ending" for ending in self.ignored))
            parts.append(f"not images ({endings}): {sum(self.ignored.values()):,}")
        return "; ".join(parts)


def check_enough(count: int, batch_size: int) -> None:
    """Warn when `count` images are fewer than batch_size; fewer than two raise ValueError."""
    if count < 2:
        raise ValueError(
            f"training needs images that differ, at least two and better thousands; got {count}"
        )
    if count < batch_size:
        warnings.warn(
            f"{count} images are fewer than a batch of {batch_size}: every batch will hold all of "
            "them",
            stacklevel=3,
        )


def check_labels(
    labels: Any, count: int, classes: int | None = None, where: str = "labels"
) -> np.ndarray:
    """The labels as int64 (count,), each 0 or more and, if `classes` is given, below it.

    where: what a message calls them. Raises ValueError for others, TypeError for what are no whole
    numbers.
    """
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise ValueError(
            f"{where}: expected one label an image, shape ({count},), got {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{where}: labels must be whole numbers (integers), got {labels.dtype}")
    labels = labels.astype(np.int64)
    if labels.min() < 0 or (classes is not None and labels.max() >= classes):
        upper = "or more" if classes is None else f"to {classes - 1}"
        raise ValueError(f"{where}: labels must be 0 {upper}, got {labels.min()} to {labels.max()}")
    return labels


class Batches:
    """A data set as a GAN takes it: batch(indices) gives floats, and labels when it has classes.

    data: images, or (images, labels). Images are uint8 (N, H, W, C), (N, H, W) or (N, size), or
    floats already in `value_range`; they are reshaped to `shape`, the discriminator's input
    without the batch axis, when only axes of length 1 or the flattening differ.
    value_range: that of the generator. None, for one that ends in no tanh or sigmoid, scales uint8
    to [-1, 1] and takes floats as they are.
    dtype: that of the batches; complex models are fed reals.
    classes: the number of classes of a conditional GAN; with two or more, labels are required.
        Without classes they are ignored.

    Raises ValueError or TypeError when the data do not fit, or floats are not finite.
    """

    def __init__(
        self,
        data: Any,
        shape: tuple[int, ...],
        value_range: tuple[float, float] | None = (-1.0, 1.0),
        dtype: Any = "float32",
        classes: int | None = None,
    ):
        images, labels = _split(data)
        if images.ndim < 2 or 0 in images.shape:
            raise ValueError(f"no images to train on: the data have shape {images.shape}")
        self.image_shape = images.shape[1:]
        self.dtype = np.empty(0, dtype).real.dtype
        self.images = _fit(images, tuple(shape))
        self.labels = None
        self._table = None
        if classes is not None:
            if labels is None and classes == 1:
                labels = np.zeros(len(images), np.int64)
            if labels is None:
                raise ValueError(f"this GAN has {classes} classes: give data as (images, labels)")
            self.labels = check_labels(labels, len(images), classes)
        if images.dtype == np.uint8:
            self.value_range = value_range or (-1.0, 1.0)
            self._table = np.linspace(*self.value_range, 256).astype(self.dtype)
        else:
            _check_finite(images)
            self.value_range = _check_range(images, value_range)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: np.ndarray) -> Pair:
        """The images of these indices as floats, and their labels, or None without classes."""
        images = self.images[indices]
        if self._table is not None:
            images = self._table[images]
        labels = None if self.labels is None else self.labels[indices]
        return images.astype(self.dtype, copy=False), labels


def _split(data: Any) -> Pair:
    from ..backend import to_numpy

    images, labels = data, None
    if isinstance(data, (tuple, list)):
        if len(data) != 2:
            raise TypeError(f"data must be images or (images, labels), got {len(data)} items")
        images, labels = data
    images = np.asarray(to_numpy(images))
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(
            f"images must be uint8, or floats in the generator's range, got {images.dtype}"
        )
    return images, None if labels is None else np.asarray(to_numpy(labels))


def _fit(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Images reshaped to (N, *shape), where that cannot scramble them."""
    found = images.shape[1:]
    flat = 1 in (len(found), len(shape)) and math.prod(found) == math.prod(shape)
    if flat or [n for n in found if n > 1] == [n for n in shape if n > 1]:
        return images.reshape(-1, *shape)
    raise ValueError(
        f"the images have shape {found}, but the discriminator takes {shape}.\n"
        "Resize the images, or build the networks for their size."
    )


def _check_finite(images: np.ndarray) -> None:
    for start in range(0, len(images), 1024):  # in parts: no temporary of the data's size
        bad = ~np.isfinite(images[start : start + 1024])
        if bad.any():
            first = start + int(np.nonzero(bad)[0][0])
            raise ValueError(f"the images hold NaN or infinity, first in image {first}")


def _check_range(
    images: np.ndarray, value_range: tuple[float, float] | None
) -> tuple[float, float]:
    """The range of the images, which must be the generator's if that is known."""
    least, most = float(images.min()), float(images.max())
    if value_range is None:
        return least, max(most, least + 1e-6)
    low, high = value_range
    slack = 1e-3 * (high - low)
    if least < low - slack or most > high + slack:
        raise ValueError(
            f"the images span {least:.4g} to {most:.4g}, but the generator's range is "
            f"{low:g} to {high:g}; scale them, or give uint8 images, which are scaled for you"
        )
    if low < 0 <= least:
        warnings.warn(
            f"no value of the images is below 0, while the generator's range is {low:g} to "
            f"{high:g}: were they meant to be scaled to it?",
            stacklevel=5,
        )
    return value_range
