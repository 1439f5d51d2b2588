"""`minigan bench --backend cupy`: steps and kernels on the GPU, timed by its own events.

An event is a mark in the queue of the GPU; between two lies what the GPU did, and its waiting for
launches.  Beside a step's time by events stands the time that the host took to launch it, after
which it was free: where the two are nearly equal, the GPU waited for launches, and so the rows of
the kernels are times of the host too.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np

from .. import gpu as device
from ..backend import xp
from ..kernels import gpu
from ..kernels.gpu import launch
from .bench import batch_of
from .bench_worker import make_gan, real_batch

WARM_UP = 3  # steps: the first compiles the kernels


def main(names: list[str], rounds: int, batch: int | None, as_json: bool) -> int:
    """Measure, print, and return the exit code."""
    results = []
    for name in names:
        results.append(measure(name, batch or batch_of(name), rounds))
        if not as_json:
            print(table(results[-1]), flush=True)
    if as_json:
        print(json.dumps({"device": device.name_of_device(), "pairs": results}))
    else:
        print(f"GPU: {device.name_of_device()}")
    return 0


def measure(name: str, batch: int, rounds: int) -> dict[str, Any]:
    """The figures of one pair."""
    gan, rng = make_gan(name), np.random.default_rng(0)
    for _ in range(WARM_UP):
        gan.train_step(real_batch(gan, batch, rng))
    steps = [timed_step(gan, real_batch(gan, batch, rng)) for _ in range(rounds)]
    with profiled() as spans, launch.counted() as launches:
        gan.train_step(real_batch(gan, batch, rng))
    found = statistics.median(t[0] for t in steps)
    return {
        "name": name,
        "batch": batch,
        "gpu_seconds": found,
        "host_seconds": statistics.median(t[1] for t in steps),
        "images_per_second": batch / max(statistics.median(map(max, steps)), 1e-9),
        "launches": launches.total(),
        "kernels": {k: (len(pairs), sum(map(seconds, pairs))) for k, pairs in spans.items()},
    }


def timed_step(gan: Any, real: Any) -> tuple[float, float]:
    """(seconds between two events around a step, seconds until the host had launched it)."""
    started = time.perf_counter()
    first = mark()
    gan.train_step(real)
    span = first, mark()
    launched = time.perf_counter() - started
    return seconds(span), launched


def mark() -> Any:
    """An event, in the queue of the current stream."""
    event = xp().cuda.Event()
    event.record()
    return event


def seconds(span: tuple[Any, Any]) -> float:
    """What lies between two events; waits for the second."""
    first, last = span
    last.synchronize()
    return xp().cuda.get_elapsed_time(first, last) / 1e3


@contextmanager
def profiled() -> Iterator[dict[str, list[Any]]]:
    """Inside the block, the spans of each function of the kernel set."""
    spans: dict[str, list[Any]] = defaultdict(list)

    def watched(name: str) -> Any:
        function = getattr(gpu, name)

        def wrapper(*arguments: Any, **named: Any) -> Any:
            first = mark()
            found = function(*arguments, **named)
            spans[name].append((first, mark()))
            return found

        return wrapper

    with ExitStack() as stack:
        for name in gpu.__all__:
            stack.enter_context(mock.patch.object(gpu, name, watched(name)))
        yield spans


def table(r: dict[str, Any]) -> str:
    """A pair's step, and its kernels, the slowest first."""
    lines = [
        f"{r['name']}, batch {r['batch']}: {r['gpu_seconds'] * 1e3:.2f} ms/step by events, "
        f"{r['host_seconds'] * 1e3:.2f} ms to launch it, {r['images_per_second']:.0f} images/s, "
        f"{r['launches']} launches of minigan's kernels",
        f"    {'kernel':<30}{'calls':>7}{'ms':>10}",
    ]
    for name, (calls, spent) in sorted(r["kernels"].items(), key=lambda item: -item[1][1]):
        lines.append(f"    {name:<30}{calls:>7}{spent * 1e3:>10.3f}")
    return "\n".join(lines)
