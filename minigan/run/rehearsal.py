"""A dry run: two steps, and what they tell of the whole."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from ..backend import fetched
from ..sequential import stacked_summary
from .bench_worker import peak_megabytes
from .loop import Loop


def rehearse(loop: Loop, as_json: bool) -> str:
    """Take a step, and those until G has moved once more; return what to print.

    That is shapes, memory and time. Nothing is written.
    """
    gan = loop.gan
    seconds = [_step(loop) for _ in range(1 + gan.d_steps)]
    step = sum(seconds[1:]) / gan.d_steps  # the first one also makes room and plans
    epoch = step * loop.steps + _view(loop)
    facts = {
        "images": len(loop.batches),
        "image_shape": list(loop.batches.image_shape),
        "classes": gan.classes,
        "parameters": {"generator": _size(gan.generator), "discriminator": _size(gan.D)},
        "batch_size": loop.batch_size,
        "steps_an_epoch": loop.steps,
        "seconds_a_step": round(step, 3),
        "seconds_an_epoch": round(epoch, 1),
        "epochs": loop.epochs,
        "seconds": round(epoch * loop.epochs),
        "memory_mb": memory(),
    }
    if as_json:
        return json.dumps(facts, allow_nan=False)
    tables = [gan.generator.summary(), gan.discriminator.summary()]
    tables.append(stacked_summary(gan.generator, gan.discriminator))
    return "\n\n".join([*tables, _sentences(facts)])


def _step(loop: Loop) -> float:
    started = time.perf_counter()
    logs = loop.gan.train_step(*loop.batch(loop.gan.step_count))
    fetched([logs])  # waits for the device
    return time.perf_counter() - started


def _view(loop: Loop) -> float:
    """How long an epoch's samples take, and what is measured in them."""
    started = time.perf_counter()
    loop.viewer.measure(loop.viewer.images())
    return time.perf_counter() - started


def _size(model: Any) -> int:
    return sum(model.count_params())


def _sentences(facts: dict[str, Any]) -> str:
    shape = " x ".join(map(str, facts["image_shape"]))
    classes = f", {facts['classes']} classes" if facts["classes"] else ""
    return (
        f"data    {facts['images']:,} images of {shape}{classes}\n"
        f"step    {facts['seconds_a_step']:.3g} s, {facts['batch_size']} images\n"
        f"epoch   {facts['seconds_an_epoch']:.3g} s, {facts['steps_an_epoch']} steps, and samples\n"
        f"run     {duration(facts['seconds'])}, {facts['epochs']} epochs\n"
        f"memory  {facts['memory_mb']:,} MB so far; pictures and checkpoints add to it, and some "
        "time to each epoch"
    )


def duration(seconds: float) -> str:
    """E.g. "1 h 20 min", "3 min", "45 s"."""
    minutes, hours = round(seconds / 60), round(seconds) // 3600
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{hours} h {minutes - 60 * hours} min" if hours else f"{minutes} min"


def memory() -> int:
    """The most memory that the process has had, in MB; a GPU's pool where there is one."""
    from ..backend import xp

    if xp() is not np:
        return round(xp().get_default_memory_pool().total_bytes() / 1e6)
    return round(peak_megabytes() or 0)
