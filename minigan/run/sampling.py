"""The generator of a finished run, and images from it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..layers.arguments import positive
from ..random import Key
from ..sampler import Sampler, is_conditional
from ..sequential import Sequential, is_labels
from ..spelling import did_you_mean
from . import checkpoint, imaging
from .folder import read_config

_BATCH = 128  # latents at once: Sequential.predict takes as many, so batches give the same bits
_LONGEST_NAME = 200  # characters


class SavedGenerator(Sampler):
    """The generator of the run at `path`: sample() gives what the GAN's own would have given.

    Reads config.json and generator.safetensors alone. image_shape: of an image; (H, W, C) where
    it can be drawn. value_range: of the images it was trained on. names: of its classes, or None;
    a class without one is called by its number.
    Raises OSError or ValueError, naming the file.
    """

    def __init__(self, path: str | os.PathLike):
        config = read_config(path)
        weights = Path(path) / "generator.safetensors"
        if not weights.is_file():
            raise FileNotFoundError(
                f"{path} has no generator.safetensors yet: its training ended before the first "
                "epoch did"
            )
        generator = checkpoint.load(weights)
        if not _takes_latents(generator):
            raise ValueError(
                f"{weights} holds a network for inputs of {generator.input_shape}; a generator "
                "takes vectors, or vectors and labels"
            )
        try:
            gan = config["gan"]
            super().__init__(generator, seed=_whole(gan["seed"]), latents=gan["latents"])
            data = config["data"]
            self.image_shape = _image_shape(data["image_shape"], generator.output_shape)
            self.value_range = _range(data["value_range"])
            self.names = _names(data.get("classes"), self.classes)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else str(error)[:200]
            raise ValueError(
                f"{Path(path) / 'config.json'} was damaged or edited: {what}"
            ) from error

    def images(
        self,
        count: int,
        seed: int | None = None,
        label: int | str | None = None,
        truncation: float | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 images (count, *image_shape), and labels (count,) or None without classes.

        label: of one class alone, by number or name; else the classes take turns. seed and
        truncation: as for sample. Raises ValueError.
        """
        parts = list(self.batches(count, seed, label, truncation))
        labels = None if self.classes is None else np.concatenate([some for _, some in parts])
        return np.concatenate([images for images, _ in parts]), labels

    def batches(
        self,
        count: int,
        seed: int | None = None,
        label: int | str | None = None,
        truncation: float | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """What `images` gives, a few at a time. Takes the arguments of images."""
        positive(count, "count", "images")
        number = self.class_number(label)
        rng = Key(self.seed if seed is None else seed, "sample").child("z").generator()
        for first in range(0, count, _BATCH):
            n = min(_BATCH, count - first)
            labels = self.labels(np.arange(first, first + n), number)
            yield self.draw(self.noise(n, rng, truncation), labels), labels

    def draw(self, z: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """uint8 images (N, *image_shape) of latents z (N, latent_dim), and labels for classes.

        Raises ValueError when they are not finite.
        """
        images = np.empty((len(z), *self.image_shape), np.uint8)
        for batch in (slice(k, k + _BATCH) for k in range(0, len(z), _BATCH)):
            some = None if labels is None else labels[batch]
            drawn = self.sample(len(z[batch]), labels=some, z=z[batch])
            if not np.isfinite(drawn).all():
                raise ValueError("the generator's images are not finite: its weights are spoiled")
            drawn = drawn.reshape(-1, *self.image_shape)
            images[batch] = imaging.to_uint8(drawn, self.value_range)
        return images

    def labels(self, turns: np.ndarray, number: int | None = None) -> np.ndarray | None:
        """Labels (N,): all `number`, else by turns (N,), 0, 1, ..., the classes in turn.

        None for a generator without classes.
        """
        if self.classes is None:
            return None
        return turns % self.classes if number is None else np.full(turns.shape, number)

    def class_number(self, wanted: int | str | None) -> int | None:
        """The number of the class wanted, by its name, or its number as such or as text.

        A name wins. None for None. Raises ValueError for what is no class.
        """
        if wanted is None:
            return None
        if self.classes is None:
            raise ValueError(f"no class {wanted!r}: this generator was trained without classes")
        names = list(self.names or ())
        if wanted in names:
            return names.index(str(wanted))
        text = str(wanted)
        if text.isdecimal() and len(text) < 10 and int(text) < self.classes:
            return int(text)
        named = f", named {', '.join(map(repr, names))}" if names else ""
        raise ValueError(
            f"no class {wanted!r}{did_you_mean(text, names)}; this generator knows 0 to "
            f"{self.classes - 1}{named}"
        )

    def class_name(self, number: int) -> str:
        """The name of a class, or its number where it has none."""
        return str(number) if self.names is None else self.names[number]


def _takes_latents(model: Sequential) -> bool:
    """Whether a network takes vectors, or (vectors, labels)."""
    shape = model.input_shape
    if is_conditional(model):
        return len(shape) == 2 and len(shape[0]) == 1 and is_labels(model, 1) is not None
    return len(shape) == 1


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r:.60} should be a whole number")
    return value


def _image_shape(value: Any, made: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the images, which are what the generator makes, perhaps reshaped."""
    shape = tuple(map(_whole, value))
    if min(shape, default=0) < 1 or math.prod(shape) != math.prod(made):
        raise ValueError(f"image_shape {value!r:.60} does not fit a generator of {made}")
    return imaging.picture_shape(shape) if imaging.drawable(shape) else shape


def _range(value: Any) -> tuple[float, float]:
    low, high = map(float, value)
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"value_range {value!r:.60} should be two numbers, the lower first")
    return low, high


def _names(value: Any, classes: int | None) -> tuple[str, ...] | None:
    if value is None or classes is None:
        return None
    short = all(isinstance(name, str) and len(name) <= _LONGEST_NAME for name in value)
    if not isinstance(value, list) or not short or len(value) > classes:
        raise ValueError(f"classes {value!r:.60} should be the names of {classes} or fewer classes")
    return (*value, *map(str, range(len(value), classes)))
