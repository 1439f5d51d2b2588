"""Films: numbered PNG files, or arrays, as an animated GIF."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from .imaging import refuse_huge
from .pictures import decode, reason

_LONGEST = 655  # seconds: a GIF counts their hundredths in 16 bits


def numbered(folder: Path) -> list[Path]:
    """The PNG files in `folder` whose names have numbers, in the order of the numbers.

    epoch_2.png comes before epoch_10.png; with several numbers in a name the first counts most.
    Hidden files, and those without a number, are left out. Raises ValueError when none is left.
    """
    found = [
        (_numbers(path.stem), path.name, path)
        for path in folder.iterdir()
        if path.suffix.lower() == ".png" and path.name[0] != "." and path.is_file()
    ]
    paths = [path for numbers, _, path in sorted(found) if numbers]
    if not paths:
        raise ValueError(f"{folder} has no numbered PNG files, such as 0001.png or epoch_2.png")
    return paths


def thinned(paths: list[Path], most: int) -> list[Path]:
    """At most `most` of the paths, evenly spaced, with the first and the last."""
    if most < 2:
        raise ValueError(f"at most {most} pictures is no film: let it be 2 or more")
    if len(paths) <= most:
        return paths
    return [paths[i * (len(paths) - 1) // (most - 1)] for i in range(most)]


def pictures(paths: Iterable[Path]) -> Iterator[np.ndarray]:
    """The PNG files, one after the other, as uint8 (H, W, 3). What is transparent is white.

    Raises ValueError, naming the file, when one cannot be read or has another size than the first.
    """
    first: tuple[Path, tuple[int, ...]] | None = None
    for path in paths:
        picture = _read(path)
        first = first or (path, picture.shape)
        if picture.shape != first[1]:
            height, width = picture.shape[:2]
            raise ValueError(
                f"{path} is {width} x {height} pixels, but {first[0].name} is "
                f"{first[1][1]} x {first[1][0]}; all pictures of a film need one size"
            )
        yield picture


def durations(count: int, fps: float, hold: float = 0.0) -> list[int]:
    """Milliseconds of `count` frames at `fps` a second; the last `hold` seconds longer.

    A GIF counts hundredths of a second: each frame ends at the nearest to its time, so that the
    whole keeps it. Raises ValueError for fps beyond 1 to 50, the most that browsers show, and for
    a film of more than 655 s.
    """
    if not 1 <= fps <= 50:
        raise ValueError(f"fps={fps:g} should be 1 to 50 frames a second")
    if count / fps + hold > _LONGEST:
        raise ValueError(
            f"{count} frames at {fps:g} a second take longer than the {_LONGEST} s that a GIF can "
            "count; make it faster, or of fewer frames"
        )
    ends = [10 * round(100 * i / fps) for i in range(count + 1)]
    each = [end - start for start, end in pairwise(ends)]
    each[-1] += round(1000 * hold)
    return each


def gif(frames: Iterable[np.ndarray], milliseconds: Sequence[int], scale: int = 1) -> bytes:
    """An animated GIF, which repeats for ever.

    frames: uint8 (H, W) or (H, W, 3), as many as `milliseconds` and all of one size; only one is
    held at a time. scale: each pixel becomes scale x scale of them. Each frame has 256 colours of
    its own: grey ones, and all with no more colours, are exact. Equal neighbours become one that
    lasts as long. Raises ValueError for more than 100 million pixels in all.
    """
    from PIL import Image

    def drawn() -> Iterator[Image.Image]:
        for frame in frames:
            height, width = (side * scale for side in frame.shape[:2])
            remedy = "take fewer frames or a smaller scale"
            refuse_huge(height * width * len(milliseconds), "the film", remedy)
            # a palette for grey frames too: Pillow's films in mode L are not exact
            picture = Image.fromarray(frame).convert("RGB").quantize(256)
            yield picture.resize((width, height), Image.Resampling.NEAREST)

    film, buffer = drawn(), io.BytesIO()
    next(film).save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=film,
        duration=list(milliseconds),
        loop=0,
    )
    return buffer.getvalue()


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall("[0-9]+", name)))


def _read(path: Path) -> np.ndarray:
    try:
        return decode(path)
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise ValueError(f"{path} cannot be read: {reason(error)}") from error
