"""One picture: from a file of any kind to uint8 (H, W, C).

- EXIF orientation is applied. Of an animation the first frame counts. Colour profiles are ignored.
- What is transparent becomes white.
- 16 bits become 8 by dividing by 256. 32-bit integers and floats have no known range: refused.
- Resampling is Lanczos over the whole footprint of a pixel, so nothing aliases.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..spelling import did_you_mean

if TYPE_CHECKING:
    from PIL import Image

FITS = ("crop", "pad", "stretch")

# HEIC too, which Pillow cannot read: better named among the skipped than overlooked
SUFFIXES = tuple(
    ".jpg .jpeg .jpe .jfif .png .apng .gif .bmp .dib .webp .tif .tiff .ppm .pgm .pbm .pnm .jp2 "
    ".j2k .avif .heic .heif".split()
)
# Pillow knows more, but some of those run other programs, or take any bytes for a picture.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")

MOST_PIXELS = 80_000_000  # more is taken for a decompression bomb; Pillow warns from 89 million
_GIANT = 2**24  # pixels from which pictures are decoded one at a time, whatever the threads
_one_giant = threading.Lock()


@dataclass(frozen=True)
class Form:
    """What the pictures of a data set are brought to: height, width, channels, and how they fit.

    size: a side, or (height, width). channels: 1 (grey) or 3 (RGB).
    fit: "crop" scales the picture until it covers the size and cuts what stands over, evenly on
    both sides; "pad" scales it until it fits in, centred on black; "stretch" gives up its
    proportions. Small pictures are enlarged. Raises ValueError.
    """

    height: int
    width: int
    channels: int
    fit: str

    @classmethod
    def of(cls, size: Any, channels: Any, fit: Any) -> Form:
        """The form of these arguments, checked."""
        sides = size if isinstance(size, (tuple, list)) else (size, size)
        if len(sides) != 2 or not all(_is_side(n) for n in sides):
            raise ValueError(f"size must be a side in pixels or (height, width), got {size!r}")
        if isinstance(channels, bool) or channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}")
        if fit not in FITS:
            known = ", ".join(FITS)
            raise ValueError(f"fit must be one of {known}, got {fit!r}{did_you_mean(fit, [*FITS])}")
        return cls(int(sides[0]), int(sides[1]), int(channels), fit)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.height, self.width, self.channels

    def apply(self, image: Image.Image) -> np.ndarray:
        """The picture as uint8 (H, W, C)."""
        from PIL import Image, ImageOps

        image, mode = _flattened(image), "L" if self.channels == 1 else "RGB"
        if image.mode != mode:
            image = image.convert(mode)
        size, lanczos = (self.width, self.height), Image.Resampling.LANCZOS
        if self.fit == "crop":
            image = ImageOps.fit(image, size, lanczos)
        elif self.fit == "pad":
            image = ImageOps.pad(image, size, lanczos, color=0)
        else:
            image = image.resize(size, lanczos)
        return np.asarray(image).reshape(self.shape)


def _is_side(n: Any) -> bool:
    return isinstance(n, (int, np.integer)) and not isinstance(n, bool) and int(n) >= 1


def decode(path: str | os.PathLike, form: Form | None = None) -> np.ndarray:
    """The picture in the file at `path`, as uint8 (H, W, C); without a form as it is, in RGB.

    Raises OSError, ValueError, or anything else that a damaged file makes Pillow raise. A JPEG
    that was cut off and then closed by an end marker cannot be told from a whole one.
    """
    if not os.path.isfile(path):  # opening a pipe would wait for ever
        raise ValueError("not a regular file, or a link to nothing")
    length = os.path.getsize(path)
    if length == 0:
        raise ValueError("an empty file")
    if length > 8 * MOST_PIXELS:  # some decoders read all of it first
        raise ValueError(f"{length:,} bytes, more than a picture of {MOST_PIXELS:,} pixels needs")
    with _opened(path) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width}x{image.height}, more than {MOST_PIXELS:,} pixels")
        # A JPEG is decoded at a half, quarter or eighth, if twice the size asked for remains.
        if form is not None:
            image.draft(None, (2 * max(form.shape[:2]),) * 2)
        with _one_giant if image.width * image.height > _GIANT else contextlib.nullcontext():
            image.load()
            plain = _eight_bits(_upright(image))
            return form.apply(plain) if form else np.asarray(_flattened(plain).convert("RGB"))


def _opened(path: str | os.PathLike) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path, formats=formats())
    except UnidentifiedImageError as error:
        if os.fspath(path).lower().endswith((".heic", ".heif")):
            raise ValueError("HEIC, which cannot be read here; convert it to JPEG") from error
        raise


@functools.cache
def formats() -> tuple[str, ...]:
    """Those of our formats that this Pillow has; its plugins are loaded by the first call."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def reason(error: Exception) -> str:
    """Why a picture could not be read, in a few words."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "damaged, or not a picture of a known format"
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    return text.splitlines()[0][:120] if text else type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    with contextlib.suppress(Exception):  # garbled EXIF turns nothing
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey by its high byte, which is how Pillow reads 16-bit colours."""
    from PIL import Image

    tags = getattr(image, "tag_v2", {})
    bits, white_is_0 = tags.get(258, (16,)), tags.get(262) == 0
    sixteen = image.mode.startswith("I;16") and bits == (16,) and not white_is_0
    if sixteen or (image.mode == "I" and image.format in ("PNG", "PPM")):
        pixels, clear = np.asarray(image), image.info.get("transparency")
        grey = Image.fromarray((pixels >> 8).astype(np.uint8))
        if clear is not None:
            grey.putalpha(Image.fromarray(np.where(pixels == clear, 0, 255).astype(np.uint8)))
        return grey
    if image.mode[0] in "IF":
        raise ValueError(f"pixels of an unknown range (mode {image.mode}); save it with 8 bits")
    return image


def _flattened(image: Image.Image) -> Image.Image:
    """Without transparency: laid on white."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    paper = Image.new("RGB", image.size, "white")
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    paper.paste(image, mask=image)
    return paper
