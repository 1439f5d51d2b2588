"""Large arrays from a pool: memory that is handed back when the last view of it dies.

A fresh 32 MB array costs four times a reused one (the system clears its pages).  `empty` gives an
array whose memory belongs to a lease; every view of the array keeps the lease alive, and the
lease's end puts the memory back on the shelf.  So no caller ever has to hand anything back, and
no array can change under somebody who still holds it.
"""

from __future__ import annotations

import math
import os
import threading
from bisect import bisect_left, insort
from collections import OrderedDict
from typing import Any

import numpy as np

SMALL = 1 << 16  # bytes; below this the allocator is quick enough
LIMIT = 1 << 30  # bytes kept on the shelf at most
ROOMY = 1.5  # times as large as asked for: what a block may be

_shelf: OrderedDict[int, list[np.ndarray]] = OrderedDict()  # size -> blocks, oldest size first
_sizes: list[int] = []  # the sizes on the shelf, sorted
_shelved = 0
_lock = threading.RLock()  # a lease may end inside `empty`, while this thread holds the lock


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
        _shelf.clear()
        _sizes.clear()
        _shelved = 0


def shelved() -> int:
    """Bytes on the shelf, ready for reuse."""
    return _shelved


def _after_fork() -> None:
    """The lock may have been held by a thread that the child does not have."""
    global _lock
    _lock = threading.RLock()
    clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _take(size: int) -> np.ndarray:
    """The smallest block on the shelf that is large enough, or a new one."""
    with _lock:
        i = bisect_left(_sizes, size)
        if i < len(_sizes) and _sizes[i] <= ROOMY * size:
            return _lift(_sizes[i])
    return np.empty(size, np.uint8)


def _return(block: np.ndarray) -> None:
    global _shelved
    with _lock:
        if block.nbytes not in _shelf:
            _shelf[block.nbytes] = []
            insort(_sizes, block.nbytes)
        _shelf[block.nbytes].append(block)
        _shelf.move_to_end(block.nbytes)
        _shelved += block.nbytes
        while _shelved > LIMIT:
            _lift(next(iter(_shelf)))


def _lift(size: int) -> np.ndarray:
    """A block of this size, off the shelf."""
    global _shelved
    block = _shelf[size].pop()
    _shelved -= size
    if not _shelf[size]:
        del _shelf[size]
        _sizes.remove(size)
    return block
