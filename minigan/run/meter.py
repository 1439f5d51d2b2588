"""What is seen of the steps: their scalars, and Ctrl-C."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..backend import fetched

_FETCH_SECONDS = 0.1  # how often scalars leave the device, so that steps need not wait for it


class NotFinite(RuntimeError):
    """Something was not finite in a step, counted from 1."""

    def __init__(self, step: int, what: str):
        super().__init__(f"step {step}: {what}")
        self.step, self.what = step, what


class Meter:
    """Sums the scalars of an epoch's steps; NotFinite at the first that is not finite.

    They are fetched from the device now and then, all at once: fetching waits for the device.
    step: the steps taken so far. sums, count: those of the epoch's steps before these.
    """

    def __init__(self, step: int, bar: Any, sums: dict[str, float], count: int):
        self.step, self.bar = step, bar
        self.sums, self.count = dict(sums), count
        self.waiting: list[tuple[dict[str, Any], int]] = []
        self.fetched = time.perf_counter()

    def add(self, scalars: dict[str, Any], images: int) -> None:
        """Take what a step returned, on any device."""
        self.waiting.append((scalars, images))
        if time.perf_counter() - self.fetched > _FETCH_SECONDS:
            self.fetch()

    def fetch(self) -> None:
        """Bring what is still on the device here."""
        scalars = fetched([logs for logs, _ in self.waiting])
        for values, (_, images) in zip(scalars, self.waiting, strict=True):
            self.step += 1
            self._check(values)
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.count += 1
            self.bar.set_postfix_str(describe(values), refresh=False)
            self.bar.update(images)
        self.waiting.clear()
        self.fetched = time.perf_counter()

    def means(self) -> dict[str, float]:
        """The mean of each scalar over the epoch so far."""
        self.fetch()
        return {name: total / self.count for name, total in self.sums.items()}

    def _check(self, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise NotFinite(self.step, f"{bad[0]} is {values[bad[0]]}")


def describe(logs: dict[str, Any]) -> str:
    """The losses and scores of a step or an epoch in one line."""
    penalty = f"penalty {logs['penalty']:.2f} " if "penalty" in logs else ""
    return (
        f"d_loss {logs['d_loss']:.2f} {penalty}g_loss {logs['g_loss']:.2f} "
        f"D(x) {logs['d_real']:.2f} D(G(z)) {logs['d_fake']:.2f}"
    )


@contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C, or a polite request to end, sets the event; a second one interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # signals belong to the main thread
        return

    def note(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        os.write(2, b"\nfinishing the step, to save it; once more stops at once\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
