"""A folder of pictures as a data set."""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..spelling import printable
from .batches import Dataset
from .fill import fill
from .pictures import SUFFIXES, Form, decode

_HIDDEN = {"__macosx", "thumbs.db", "desktop.ini"}
_NAMED = 5  # files that a message names


def folder(
    path: str | os.PathLike,
    size: int | tuple[int, int],
    channels: int = 3,
    fit: str = "crop",
    strict: bool = False,
    progress: bool = False,
) -> Dataset:
    """Read the pictures in a folder and the folders below it, in natural order of their paths.

    size: a side in pixels, or (height, width). channels: 1 (grey) or 3 (RGB).
    fit: "crop" covers the size and cuts what stands over evenly; "pad" fits in, centred on black;
        "stretch" gives up the proportions. How pictures are read: minigan/run/pictures.py.
    strict: stop at the first file that cannot be read, instead of skipping it.
    progress: show a bar on stderr.

    Returns images, uint8 (N, size, size, channels), and labels, int64 (N,): the number of the
    folder just below `path` that holds the picture, however deep; `.names` are those folders'.
    Where that is one folder only, or pictures lie in `path` itself, there are no labels (None).
    `.skipped` lists (file, reason) for those that could not be read, `.ignored` counts the files
    that are no pictures by their endings. Hidden files are passed over.

    Raises ValueError when there is no picture or, with `strict`, one that cannot be read, OSError
    when `path` is no folder.
    """
    form = Form.of(size, channels, fit)
    path = str(path)
    found = _find(path, strict)
    images = np.empty((len(found.files), *form.shape), np.uint8)
    failed = fill(
        images,
        lambda k: decode(os.path.join(path, found.files[k]), form),
        show=progress,
        strict=strict,
    )
    bad = [*found.unreadable, *((found.files[k], why) for k, why in failed.items())]
    if strict and bad:
        raise _stopped(path, *bad[0])
    kept = [k for k in range(len(images)) if k not in failed]
    total = len(images) + len(found.unreadable)
    if not kept:
        raise ValueError(f"{path}: none of {total:,} files can be read: {_listed(bad)}")
    if bad:
        text = f"skipped {len(bad):,} of {total:,} files: {_listed(bad)}"
        warnings.warn(text, stacklevel=2)
    labels, names = _classes([found.files[k] for k in kept])
    skipped = [(printable(name), why) for name, why in bad]
    data = Dataset(_compacted(images, kept), labels, names, skipped, found.ignored)
    options = {"size": list(form.shape[:2]), "channels": form.channels, "fit": fit}
    data.source = os.path.abspath(path), options
    return data


@dataclass
class _Found:
    """Paths are relative to the folder, with "/" between their parts."""

    files: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # folders, and why
    ignored: Counter[str] = field(default_factory=Counter)  # endings of the other files


def _find(path: str, strict: bool) -> _Found:
    """The files in the folder. Raises OSError or ValueError where there are no pictures."""
    if not os.path.isdir(path):
        if os.path.exists(path):
            raise NotADirectoryError(f"{path} is a file; expected a folder of pictures")
        raise FileNotFoundError(f"there is no folder {path}")
    found = _Found()

    def refused(name: str, why: str) -> None:
        if strict:
            raise _stopped(path, name, why)
        found.unreadable.append((name, why))

    for name in _walk(path, refused):
        ending = os.path.splitext(name)[1].lower()
        if ending in SUFFIXES:
            found.files.append(name)
        else:
            found.ignored[ending] += 1
    found.ignored = Counter(dict(sorted(found.ignored.items())))
    if not found.files:
        raise ValueError(f"{path}: {_emptiness(found)}.\nPictures end in {' '.join(SUFFIXES)}.")
    found.files.sort(key=lambda name: [_natural(part) for part in name.split("/")])
    return found


def _walk(path: str, refused: Callable[[str, str], None]) -> Iterator[str]:
    """The files that are not hidden. Folders that cannot be opened go to refused(name, why)."""

    def relative(full: str) -> str:
        return "" if full == path else os.path.relpath(full, path).replace(os.sep, "/")

    def failed(error: OSError) -> None:
        refused(relative(error.filename) or ".", error.strerror or str(error))

    seen = {_identity(path)}
    for top, folders, names in os.walk(path, onerror=failed, followlinks=True):
        shown = sorted((name for name in folders if not _hidden(name)), key=_natural)
        folders.clear()
        for name in shown:  # each once, though links may lead to it again and again
            identity = _identity(os.path.join(top, name))
            if identity not in seen:
                seen.add(identity)
                folders.append(name)
        prefix = f"{relative(top)}/".lstrip("/")
        yield from (prefix + name for name in names if not _hidden(name))


def _emptiness(found: _Found) -> str:
    text = "no pictures in this folder or below it"
    if found.unreadable:
        text += f"; it could not open {_listed(found.unreadable)}"
    if found.ignored:
        others = list(found.ignored.items())[:_NAMED]
        counts = ", ".join(f"{count:,} {ending or 'without ending'}" for ending, count in others)
        text += f"; other files: {counts}"
    return text


def _stopped(path: str, name: str, why: str) -> ValueError:
    return ValueError(f"{path}: cannot read {printable(name)} ({why})")


def _identity(path: str | os.PathLike) -> Any:
    try:
        status = os.stat(path)
    except OSError:
        return path  # the walk reports it
    return status.st_dev, status.st_ino


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _HIDDEN


def _natural(name: str) -> tuple[Any, ...]:
    """Sorts img2 before img10, and the same on each system: some decompose accented letters."""
    name = unicodedata.normalize("NFC", name)
    parts = re.split(r"(\d+)", name.casefold())  # text and number in turn
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], name


def _classes(files: list[str]) -> tuple[np.ndarray | None, list[str] | None]:
    """Labels and class names from the folders just below the top."""
    tops = [_class_name(name) for name in files]
    names = sorted({name for name in tops if name}, key=_natural)
    if len(names) < 2:
        return None, None
    if "" in tops:
        warnings.warn(
            f"no classes: {tops.count('')} pictures lie beside the {len(names)} sub-folders, first "
            f"{printable(files[tops.index('')])}; move them into one to have classes",
            stacklevel=3,
        )
        return None, None
    number = {name: k for k, name in enumerate(names)}
    return np.array([number[name] for name in tops], np.int64), names


def _class_name(file: str) -> str:
    first, slash, _ = file.partition("/")
    return unicodedata.normalize("NFC", printable(first)) if slash else ""


def _compacted(images: np.ndarray, kept: list[int]) -> np.ndarray:
    """The images in `kept`, moved to the front: no second array."""
    for new, old in enumerate(kept):
        if new != old:
            images[new] = images[old]
    return images[: len(kept)]


def _listed(skipped: list[tuple[str, str]]) -> str:
    named = ", ".join(f"{printable(name)} ({why})" for name, why in skipped[:_NAMED])
    more = len(skipped) - _NAMED
    return f"{named}, and {more:,} more" if more > 0 else named
