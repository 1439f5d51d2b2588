"""The forms in which samples are written: one picture, a folder of pictures, arrays."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import files, imaging
from .sampling import SavedGenerator

GAP = 2  # pixels between the images of a picture
Batches = Iterator[tuple[np.ndarray, "np.ndarray | None"]]


def form(path: str | os.PathLike) -> str:
    """What `path` asks for: ".png" (one picture), ".npz" (arrays) or "folder".

    A folder is what exists as one, ends in a slash, or has no suffix; it must be new or empty.
    Raises ValueError for other suffixes, FileExistsError for a folder that is used.
    """
    text, path = os.fspath(path), Path(path)
    kind = (path.suffix or (path.name if path.name[:1] == "." else "")).lower()
    if path.is_dir() or text.endswith(("/", os.sep)) or not kind:
        if path.is_file():
            raise FileExistsError(f"{path} is a file; give a name in .png or .npz, or a folder")
        if path.is_dir() and any(path.iterdir()):
            raise FileExistsError(f"the folder {path} is not empty; give a new or an empty one")
        return "folder"
    if kind not in (".png", ".npz"):
        raise ValueError(
            f"{path}: give a file that ends in .png (a picture) or .npz (arrays), or a folder"
        )
    return kind


def grid(
    generator: SavedGenerator,
    batches: Batches,
    count: int,
    columns: int | None = None,
    by_class: bool = True,
    scale: int = 1,
) -> bytes:
    """`count` images as one PNG, with a column a class where there are 2 to 20 and `by_class`.

    scale: each pixel becomes scale x scale of them. Raises ValueError, before an image is drawn,
    when it would have too many pixels.
    """
    refuse_undrawable(generator)
    classes = generator.classes if by_class else None
    if columns is None and 2 <= (classes or 0) <= min(20, count):
        columns = classes
    height, width, _ = generator.image_shape
    cells = -(-count // (columns or 1)) * (columns or 1)
    remedy = "for single files give --out FOLDER or --out FILE.npz"
    pixels = cells * (height + GAP) * (width + GAP) * scale**2
    imaging.refuse_huge(pixels, "the picture", remedy)
    images = np.concatenate([images for images, _ in batches])
    return imaging.png(imaging.enlarged(imaging.image_grid(images, columns, gap=GAP), scale))


def write_folder(folder: str | os.PathLike, generator: SavedGenerator, batches: Batches) -> None:
    """A PNG an image, as they come: 0000.png, or with the name of its class 0000-rose.png."""
    refuse_undrawable(generator)
    number = 0
    for images, labels in batches:
        files.make_folder(folder)
        for i, image in enumerate(images):
            name = f"{number:04d}"
            if labels is not None and (generator.classes or 0) > 1:
                name += f"-{plain(generator.class_name(labels[i]))}"
            path = Path(folder) / f"{name}.png"
            imaging.save_png(path, imaging.image_grid(image[None]))
            number += 1


def write_npz(
    path: str | os.PathLike, generator: SavedGenerator, batches: Batches, count: int
) -> None:
    """An .npz, as they come: "images" uint8 (N, H, W, C) and, with classes, "labels" (N,).

    "names", an array of strings, has the names of the classes 0, 1, ... where they are known.
    """
    labels: list[np.ndarray] = []
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *generator.image_shape)}
    with files.replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for images, some in batches:
                member.write(images.tobytes())
                labels += [] if some is None else [some]
        arrays = {"labels": np.concatenate(labels)} if labels else {}
        if generator.names is not None:
            arrays["names"] = np.array(generator.names)
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def refuse_undrawable(generator: SavedGenerator) -> None:
    """Raise ValueError for arrays that are no pictures."""
    if not imaging.drawable(generator.image_shape):
        raise ValueError(
            f"this generator makes arrays of {generator.image_shape}, which are no pictures; "
            "'minigan sample RUN --out FILE.npz' writes them"
        )


def plain(name: str) -> str:
    """A name as a part of a file's name."""
    return re.sub(r"[^\w.]+", "_", name)[:40]
