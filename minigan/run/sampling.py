"""New images from a finished run: what `minigan sample` does."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..sampler import Sampler
from . import checkpoint, files, imaging
from .folder import read_config


class SavedGenerator(Sampler):
    """The generator of the run at `path`: sample() gives what the GAN's own would have given.

    Reads config.json and generator.safetensors alone. image_shape and value_range are those of
    the images it was trained on. Raises OSError or ValueError, naming the file.
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
        try:
            super().__init__(
                generator,
                seed=int(config["gan"]["seed"]),
                latents=config["gan"]["latents"],
            )
            self.image_shape = tuple(int(n) for n in config["data"]["image_shape"])
            low, high = (float(v) for v in config["data"]["value_range"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{Path(path) / 'config.json'} lacks or garbles {error}; it was damaged or edited"
            ) from error
        self.value_range = (low, high)

    def images(self, count: int, seed: int | None, label: int | None) -> tuple[Any, Any]:
        """uint8 images (count, *image_shape), and labels (count,) or None without classes."""
        labels = self._labels(count, seed, label)
        drawn = self.sample(count, labels=labels, seed=seed)
        if not np.isfinite(drawn).all():
            raise ValueError("the generator's images are not finite: its weights are spoiled")
        drawn = drawn.reshape(count, *self.image_shape)
        return imaging.to_uint8(drawn, self.value_range), labels

    def _labels(self, count: int, seed: int | None, label: int | None) -> np.ndarray | None:
        if self.classes is None:
            if label is not None:
                raise ValueError("this generator was trained without classes: leave out --class")
            return None
        if label is None:
            return np.arange(count) % self.classes
        if not 0 <= label < self.classes:
            raise ValueError(f"--class {label}: this generator knows 0 to {self.classes - 1}")
        return np.full(count, label)


def write_samples(
    path: str | os.PathLike,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    classes: int | None = None,
) -> None:
    """Write uint8 images as a grid (.png), or as arrays "images" and "labels" (.npz).

    With 2 to 20 classes the grid has a column a class.
    """
    kind = Path(path).suffix.lower()
    if kind == ".png":
        columns = classes if 2 <= (classes or 0) <= min(20, len(images)) else None
        imaging.save_png(path, imaging.image_grid(images, columns, gap=2))
        return
    if kind != ".npz":
        raise ValueError(f"{path}: give a file that ends in .png (a picture) or .npz (arrays)")
    arrays: dict[str, Any] = {"images": imaging.as_nhwc(images)}
    if labels is not None:
        arrays["labels"] = labels
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    files.write_bytes(path, buffer.getvalue())
