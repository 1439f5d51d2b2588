"""A few threads that each take a fixed share of the work, with BLAS held to one thread inside.

Share k of a job always runs the same blocks in the same order, and partial sums are added in the
order of the shares: the bits of a result depend on the number of threads, never on timing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")


class Worker:
    """A thread that runs one job after the other; handing one over takes some ten microseconds."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._serve, name="minigan", daemon=True).start()

    def _serve(self) -> None:
        while True:
            self.jobs.get()()

    def submit(self, function: Callable[[int, int], T], first: int, last: int) -> Outcome[T]:
        """Start function(first, last)."""
        outcome: Outcome[T] = Outcome()
        self.jobs.put(lambda: outcome.settle(function, first, last))
        return outcome


class Outcome(Generic[T]):
    """What will have come of a job."""

    def __init__(self) -> None:
        self.ended = threading.Lock()
        self.ended.acquire()
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def settle(self, function: Callable[[int, int], T], first: int, last: int) -> None:
        """Run the job, whatever comes of it."""
        try:
            self.value = _share(function, first, last)
        except BaseException as error:  # the waiting thread raises it
            self.error = error
        finally:
            self.done = True
            self.ended.release()

    def result(self) -> T:
        """The job's result, or its exception, when it has ended."""
        if self.error is not None:
            raise self.error
        return self.value


_workers: list[Worker] = []
_lock = threading.Lock()
_inside = threading.local()  # set in a thread while it runs a share
_count: int | None = None


def count() -> int:
    """Threads in use: MINIGAN_THREADS, else OMP_NUM_THREADS, else the cores of this process."""
    global _count
    if _count is None:
        _count = _configured()
    return _count


def _configured() -> int:
    text = os.environ.get("MINIGAN_THREADS", "").strip()
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(
                f"MINIGAN_THREADS={text!r} should be a whole number of threads, 1 or more"
            )
        return int(text)
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # "4,2": 4 at the top level
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shares(n: int) -> list[tuple[int, int]]:
    """Split range(n) into one contiguous part a thread, the longer parts first."""
    parts = max(1, min(count(), n))
    each, more = divmod(n, parts)
    edges = [each * k + min(k, more) for k in range(parts + 1)]
    return list(zip(edges, edges[1:], strict=False))


def blocks(first: int, last: int, size: int) -> list[slice]:
    """The range first:last in blocks of at most `size`."""
    return [slice(k, min(k + size, last)) for k in range(first, last, size)]


def run(function: Callable[[int, int], T], n: int, work: float = float("inf")) -> list[T]:
    """[function(first, last) for each share of range(n)], one share a thread, in order.

    The calling thread takes the first share.  `work` is the estimated time in seconds: a job
    under 0.2 ms is not worth handing over, and a share does not split again.
    """
    if getattr(_inside, "share", False):
        return [function(0, n)]
    parts = shares(n) if work >= 2e-4 else [(0, n)]
    with one_blas_thread():  # small jobs too: BLAS threads that wait for a busy core cost most
        if len(parts) == 1:
            return [function(*parts[0])]
        pending: list[Outcome[T]] = []
        try:
            for worker, part in zip(_pool(len(parts) - 1), parts[1:], strict=False):
                pending.append(worker.submit(function, *part))
            first = _share(function, *parts[0])
        finally:
            wait_for(pending)
        return [first, *(outcome.result() for outcome in pending)]


def wait_for(pending: list[Outcome[T]]) -> None:
    """Until all have ended: nobody may go on while a share still writes, interrupted or not."""
    interrupt: BaseException | None = None
    while True:
        try:
            for outcome in pending:
                while not outcome.done:
                    outcome.ended.acquire()
            break
        except BaseException as error:  # a Ctrl-C: it is raised when the shares have ended
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _share(function: Callable[[int, int], T], first: int, last: int) -> T:
    _inside.share = True
    try:
        return function(first, last)
    finally:
        _inside.share = False


def _pool(n: int) -> list[Worker]:
    """n workers: a fixed share goes to a fixed thread."""
    if len(_workers) < n:
        with _lock:
            while len(_workers) < n:
                _workers.append(Worker())
    return _workers[:n]


class _Blas:
    """Holds BLAS to one thread while any region is active, then restores what it found."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.controller: ThreadpoolController | None = None
        self.depth = 0
        self.limits: object | None = None

    def enter(self) -> None:
        with self.lock:
            self.depth += 1
            if self.depth == 1:
                if self.controller is None:  # finding the libraries takes milliseconds: once
                    self.controller = ThreadpoolController().select(user_api="blas")
                self._take_control()
                self.limits = self.controller.limit(limits=1)

    def leave(self) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0 and self.limits is not None:
                self.restore()

    def restore(self) -> None:
        """The limits that were found at the outermost start."""
        self._take_control()
        self.limits.restore_original_limits()  # type: ignore[union-attr]
        self._take_control()
        self.limits = None

    def _take_control(self) -> None:
        """Let this thread set the limit: threadpoolctl otherwise heeds the first thread alone.

        The lock makes these calls one at a time.
        """
        for library in self.controller.lib_controllers if self.controller else ():
            release = getattr(library, "clear_controlling_thread", None)
            if release is not None:
                release(force=True)


_blas = _Blas()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS runs single-threaded inside; the user's own setting is restored at the outermost end."""
    _blas.enter()
    try:
        yield
    finally:
        _blas.leave()


def _after_fork() -> None:
    """A forked child has none of the parent's threads, and locks in an unknown state."""
    global _blas, _lock
    _workers.clear()
    if _blas.limits is not None:  # another thread was inside; in the child nobody is
        _blas.restore()
    _lock = threading.Lock()
    _blas = _Blas()
    _inside.share = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
