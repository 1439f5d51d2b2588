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
ROOMY = 3  # times as large as asked for: what a block may be
SPARE = 1.5  # times the most that was ever leased: what there may be in all, shelf included


class Entry(NamedTuple):
    """A block on the shelf; the shelf is sorted by size, and of one size by age."""

    size: int
    stamp: int
    block: np.ndarray


_shelf: list[Entry] = []
_shelved = 0  # bytes on it
_leased = 0  # bytes that are out
_most = 0  # bytes that ever were out at once
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


def empty_like(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An uninitialised array of a's dtype."""
    return empty(shape, a.dtype)


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A C-contiguous array of zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def clear() -> None:
    """Give the memory on the shelf back to the system, and forget how much was ever out."""
    global _shelved, _most
    with _lock:
        _tidy()
        _shelf.clear()
        _shelved, _most = 0, _leased


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
            block = _shelf.pop(i).block
            _shelved -= block.nbytes
            _lend(block.nbytes)
            return block
        leased = _leased + size
        _drop_oldest(int(SPARE * max(_most, leased)) - leased)
        block = np.empty(size, np.uint8)
        _lend(size)
        return block


def _lend(size: int) -> None:
    global _leased, _most
    _leased += size
    _most = max(_most, _leased)


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
    global _shelved, _leased
    while _returned:
        block = _returned.popleft()
        insort(_shelf, Entry(block.nbytes, next(_stamps), block))
        _shelved += block.nbytes
        _leased -= block.nbytes
    _drop_oldest(LIMIT)


def _drop_oldest(room: int) -> None:
    """Give blocks back to the system until the shelf holds no more than this."""
    global _shelved
    while _shelved > room and _shelf:
        oldest = min(_shelf, key=lambda entry: entry.stamp)
        del _shelf[bisect_left(_shelf, oldest[:2])]
        _shelved -= oldest.size
