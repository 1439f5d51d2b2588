"""Large arrays from a pool: memory that is handed back when the last view of it dies.

A fresh 32 MB array costs four times a reused one (the system clears its pages).  `empty` gives an
array whose memory belongs to a lease; every view of the array keeps the lease alive, and the
lease's end puts the memory back on the shelf.  So no caller ever has to hand anything back, and
no array can change under somebody who still holds it.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from bisect import bisect_left, insort
from collections import deque
from typing import Any, NamedTuple

import numpy as np

SMALL = 1 << 16  # bytes; below this the allocator is quick enough
LIMIT = 1 << 30  # bytes kept on the shelf at most
ROOMY = 1.5  # times as large as asked for: what a block may be


class Entry(NamedTuple):
    """A block on the shelf; the shelf is sorted by size, and of one size by age."""

    size: int
    stamp: int
    block: np.ndarray


_shelf: list[Entry] = []
_shelved = 0  # bytes
_stamps = itertools.count()
_returned: deque[np.ndarray] = deque()  # by leases that ended; not on the shelf yet
_lock = threading.Lock()


class _Lease:
    """Owner of one block while arrays made of it are alive."""

    def __init__(self, block: np.ndarray) -> None:
        self.block = block
        self.__array_interface__ = block.__array_interface__

    def __del__(self) -> None:
        _return(self.block)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised C-contiguous array."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < SMALL:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_take(size)))[:size].view(dtype).reshape(shape)


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A C-contiguous array of zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def clear() -> None:
    """Give the memory on the shelf back to the system."""
    global _shelved
    with _lock:
        _returned.clear()
        _shelf.clear()
        _shelved = 0


def shelved() -> int:
    """Bytes on the shelf, ready for reuse."""
    with _lock:
        _tidy()
        return _shelved


def _after_fork() -> None:
    """The lock may have been held by a thread that the child does not have."""
    global _lock
    _lock = threading.Lock()
    clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _take(size: int) -> np.ndarray:
    """The smallest block on the shelf that is large enough, or a new one."""
    global _shelved
    with _lock:
        _tidy()
        i = bisect_left(_shelf, (size,))
        if i < len(_shelf) and _shelf[i].size <= ROOMY * size:
            entry = _shelf.pop(i)
            _shelved -= entry.size
            return entry.block
    return np.empty(size, np.uint8)


def _return(block: np.ndarray) -> None:
    """Called when a lease ends, which may be anywhere, also inside `_take`: it waits for nobody."""
    _returned.append(block)
    if _lock.acquire(blocking=False):
        try:
            _tidy()
        finally:
            _lock.release()


def _tidy() -> None:
    """Put on the shelf what was returned, and the oldest off it while there is too much."""
    global _shelved
    while _returned:
        block = _returned.popleft()
        insort(_shelf, Entry(block.nbytes, next(_stamps), block))
        _shelved += block.nbytes
    while _shelved > LIMIT and _shelf:
        oldest = min(_shelf, key=lambda entry: entry.stamp)
        del _shelf[bisect_left(_shelf, oldest[:2])]
        _shelved -= oldest.size
