"""Pictures: arrays of images to one grid, PNG files, the loss curves."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .files import write_bytes

MAX_PIXELS = 100_000_000  # of a picture, or of all frames of a film


def image_grid(
    images: Any,
    columns: int | None = None,
    *,
    value_range: tuple[float, float] | None = None,
    gap: int = 0,
) -> np.ndarray:
    """Lay images out row by row in one picture.

    images: (N, H, W, C) with C = 1 or 3, (N, H, W), or (N, side*side) vectors; uint8, or floats
    in `value_range`, which map to 0..255 (values beyond it are clipped). Without `value_range`
    floats are taken as [-1, 1] when any value is below 0, else as [0, 1].
    columns: images in a row; the default makes the grid as square as it can be.
    gap: black pixels between neighbours.

    Returns uint8 (rows*H, columns*W), or (..., 3) for colour, plus the gaps; empty cells are
    black. Raises ValueError or TypeError for other shapes and dtypes, non-finite values, no
    images, a picture of more than 100 million pixels, and, without `value_range`, for floats
    outside [-1, 1].

        >>> mg.image_grid(np.zeros((10, 28, 28, 3)), gap=2).shape
        (88, 118, 3)
    """
    tiles = _as_uint8(as_nhwc(_to_numpy(images)), value_range)
    n, h, w, c = tiles.shape
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    if not isinstance(columns, (int, np.integer)) or columns < 1:
        raise ValueError(f"image_grid: columns must be a positive whole number, got {columns!r}")
    rows = -(-n // columns)
    refuse_huge(rows * (h + gap) * columns * (w + gap), "this grid")
    cells = np.zeros((rows * columns, h + gap, w + gap, c), np.uint8)
    cells[:n, :h, :w] = tiles
    # (rows, columns, H, W, C) -> (rows, H, columns, W, C)
    picture = cells.reshape(rows, columns, h + gap, w + gap, c).transpose(0, 2, 1, 3, 4)
    picture = picture.reshape(rows * (h + gap), columns * (w + gap), c)
    picture = picture[: rows * (h + gap) - gap, : columns * (w + gap) - gap]
    return np.ascontiguousarray(picture[:, :, 0] if c == 1 else picture)


def to_uint8(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Floats in `value_range` to uint8 0..255, rounded to the nearest and clipped."""
    low, high = value_range
    if not high > low:
        raise ValueError(f"value_range must be (low, high) with low < high, got {value_range}")
    scaled = (np.asarray(images, np.float32) - low) * (255.0 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def save_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write uint8 (H, W) or (H, W, 3) as a PNG, atomically. Raises WriteError, ValueError."""
    write_bytes(path, png(picture))


def png(picture: np.ndarray) -> bytes:
    """uint8 (H, W) or (H, W, 3) as the bytes of a PNG. Raises ValueError for other arrays."""
    from PIL import Image

    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or not (
        picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    ):
        raise ValueError(
            "save_png: expected uint8 of shape (H, W) or (H, W, 3), "
            f"got {picture.dtype} of shape {picture.shape}; image_grid makes such pictures"
        )
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def enlarged(picture: np.ndarray, scale: int) -> np.ndarray:
    """A picture with each pixel as scale x scale of them. Raises ValueError when that is huge."""
    height, width = picture.shape[:2]
    refuse_huge(height * width * scale**2, "the picture", "take a smaller scale")
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def refuse_huge(pixels: int, what: str, remedy: str = "draw fewer images") -> None:
    """Raise ValueError when `what` has more pixels than programs that show pictures take."""
    if pixels > MAX_PIXELS:
        raise ValueError(
            f"{what} would have {pixels / 1e6:,.0f} million pixels, more than "
            f"{MAX_PIXELS // 10**6} million; {remedy}"
        )


def panels(
    columns: int, rows: int = 1, *, size: tuple[float, float] = (4.0, 4.0)
) -> tuple[Any, Any]:
    """A matplotlib figure of panels, and their axes: an array (rows, columns).

    size: width and height of a panel, in inches.
    """
    # The object interface: pyplot would keep every figure alive and choose a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save_curves(path: str | os.PathLike, history: Sequence[dict[str, Any]]) -> None:
    """Draw the losses, and D(x) with D(G(z)), against the epoch as a PNG, atomically.

    D's answers are probabilities or any numbers, by the objective; the axis follows them.
    """
    figure, ((losses, scores),) = panels(2, size=(4.5, 3.6))
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(epochs) == 1 else None  # one epoch makes no line
    lines = [
        (losses, "d_loss", "d_loss"),
        (losses, "g_loss", "g_loss"),
        (losses, "penalty", "penalty (in d_loss)"),
        (scores, "d_real", "D(x)"),
        (scores, "d_fake", "D(G(z))"),
    ]
    for axes, key, label in (line for line in lines if line[1] in history[0]):
        axes.plot(epochs, [row[key] for row in history], label=label, marker=marker)
    losses.set(xlabel="epoch", ylabel="loss")
    scores.set(xlabel="epoch", ylabel="D's answer, mean")
    if all(0 <= row[key] <= 1 for row in history for key in ("d_real", "d_fake")):
        scores.set(ylim=(0, 1))
    for axes in (losses, scores):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def drawable(shape: tuple[int, ...]) -> bool:
    """Whether image_grid can draw arrays of this shape (without the batch axis)."""
    if len(shape) == 1:
        return math.isqrt(shape[0]) ** 2 == shape[0]
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def _to_numpy(images: Any) -> np.ndarray:
    from ..backend import to_numpy

    return np.asarray(to_numpy(images))


def as_nhwc(images: np.ndarray) -> np.ndarray:
    """Images as (N, H, W, C), from the shapes that image_grid takes. Raises ValueError."""
    if images.ndim < 2 or 0 in images.shape or not drawable(images.shape[1:]):
        raise ValueError(
            "image_grid: expected (N, H, W, 1), (N, H, W, 3), (N, H, W) or (N, side*side) with "
            f"N at least 1, got {images.shape}; a single image needs a batch axis: image[None]"
        )
    return images.reshape(len(images), *picture_shape(images.shape[1:]))


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(H, W, C) of arrays of a drawable shape."""
    if len(shape) == 1:
        return math.isqrt(shape[0]), math.isqrt(shape[0]), 1
    return shape[0], shape[1], shape[2] if len(shape) == 3 else 1


def _as_uint8(images: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise TypeError(f"image_grid: expected uint8 or floats, got {images.dtype}")
    low, high = float(images.min()), float(images.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("image_grid: the images hold NaN or infinity")
    if value_range is None:
        if low < -1.001 or high > 1.001:  # a tanh may round beyond 1
            raise ValueError(
                f"image_grid: the values span {low:.4g} to {high:.4g}, neither [-1, 1] nor "
                "[0, 1]; give value_range=(low, high)"
            )
        value_range = (-1.0, 1.0) if low < 0 else (0.0, 1.0)
    return to_uint8(images, value_range)
