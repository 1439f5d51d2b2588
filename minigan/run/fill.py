"""Many pictures at once: Pillow lets go of Python's lock while it decodes and resizes."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..kernels.cpu import threads
from . import pictures, progress

_BLOCK = 16  # pictures that a thread takes at a time


def fill(
    images: np.ndarray, make: Callable[[int], np.ndarray], show: bool = False, strict: bool = False
) -> dict[int, str]:
    """Set images[k] = make(k) for all k, on several threads, with a progress bar if `show`.

    Returns {k: reason}, in order, for each k where make raised; with `strict` it ends at the
    first. On Ctrl-C the threads end after the picture that each is at.
    """
    failed: dict[int, str] = {}
    stop = threading.Event()

    def block(first: int) -> dict[int, str]:
        bad = {}
        for k in range(first, min(first + _BLOCK, len(images))):
            if stop.is_set():
                break
            try:
                images[k] = make(k)
            except Exception as error:  # damaged files make decoders raise anything
                bad[k] = pictures.reason(error)
        return bad

    pictures.formats()  # loads Pillow's plugins before the threads start
    with warnings.catch_warnings(), progress.bar(len(images), show) as bar:
        warnings.simplefilter("ignore")  # what Pillow says of a file is said by its reason
        with ThreadPoolExecutor(threads.count()) as pool:
            try:
                for bad in pool.map(block, range(0, len(images), _BLOCK)):
                    failed.update(bad)
                    if strict and failed:
                        break
                    bar.update(min(_BLOCK, len(images) - bar.n))
            finally:
                stop.set()
    return failed
