"""Writing files so that a crash, a full disk or a second Ctrl-C never costs what was there before.

A file is written beside its target under a temporary name, flushed to the disk, and renamed over
the target: at any moment the target is either the whole old file or the whole new one.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

_serial = itertools.count()
TEMPORARY = ".[0-9]*-[0-9]*.tmp"  # what a process that was killed may leave

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the size limit",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.ENOENT: "its folder does not exist",
    errno.ENAMETOOLONG: "the name is too long",
}


class WriteError(OSError):
    """A file could not be written. The message names it; `errno` is that of the cause."""

    def __init__(self, path: str | os.PathLike, cause: OSError):
        reason = _REASONS.get(cause.errno or 0) or cause.strerror or str(cause)
        super().__init__(
            f"cannot write {path}: {reason}.\n"
            "What was already written is unchanged. Make room or choose another place, "
            "then run it again."
        )
        self.errno = cause.errno

    def advise(self, words: str) -> None:
        """What to do when there is room again, in place of running it again."""
        self.args = (self.args[0].replace(", then run it again.", f". {words}"),)

    def __str__(self) -> str:
        return self.args[0]  # OSError would put the number before it


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Replace the file at `path` by `data`, wholly or not at all. Raises as `replacing` does."""
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A new file, which takes the place of that at `path` when the block ends without an error.

    Raises WriteError (an OSError), in place of any OSError of the block; the old file, if any,
    then survives and no temporary remains.
    """
    target = Path(os.path.realpath(path))  # through a link: replace its target, not the link
    if target.exists() and not target.is_file():
        # Renaming over a device would replace the device itself.
        raise WriteError(path, OSError(errno.EINVAL, "it exists and is not a regular file"))
    temporary = target.with_name(f".{os.getpid()}-{next(_serial)}.tmp")
    try:
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as cause:
        raise WriteError(path, cause) from cause


def write_beside(path: str | os.PathLike, data: bytes) -> Path:
    """Write `data` at the first of path, path-2, path-3, ... that no other contents have taken.

    Returns that place. Where the same bytes are already, nothing is written. Raises WriteError.
    """
    path = Path(path)
    place, number = path, 1
    while place.exists() and not _holds(place, data):
        number += 1
        place = path.with_name(f"{path.stem}-{number}{path.suffix}")
    if not place.exists():
        write_bytes(place, data)
    return place


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused (ValueError)."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def append_json(path: str | os.PathLike, value: Any) -> None:
    """Append `value` as one line of JSON; a line that cannot be written whole is taken back."""
    line = (json.dumps(value, allow_nan=False) + "\n").encode()
    try:
        with open(path, "ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                _write_all(file, line)
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(before)
                raise
    except OSError as cause:
        raise WriteError(path, cause) from cause


def make_folder(path: str | os.PathLike, children: Iterable[str] = ()) -> Path:
    """Create the folder `path` and its `children`; existing ones are kept. Raises WriteError."""
    folder = Path(path)
    for each in (folder, *(folder / child for child in children)):
        try:
            each.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise WriteError(each, cause) from cause
    return folder


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:  # an unbuffered write may stop short when the disk fills up
        view = view[file.write(view) :]


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be synced."""
    with contextlib.suppress(OSError):  # Windows and some network disks do not
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
