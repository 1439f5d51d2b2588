"""The training loop: epochs over shuffled batches, with everything a person wants to watch."""

from __future__ import annotations

import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import fetched
from ..random import Key
from . import datasets, imaging
from .folder import RunFolder, refuse_used, where

_FETCH_SECONDS = 0.1  # how often scalars leave the device, so that steps need not wait for it


class TrainingStopped(RuntimeError):
    """Training could not go on, e.g. a loss was not finite. The message names the step."""


def train(
    gan: Any,
    data: Any,
    epochs: int | None = None,
    out: str | os.PathLike | None = None,
    on_epoch: Callable[[int, Any, dict[str, Any]], object] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Train `gan` on `data` and return one dict an epoch.

    data: images (N, H, W, C), uint8, or floats in the generator's range; (images, labels) for a
        GAN with classes; or a name that datasets.load knows.
    epochs, batch_size: those of the GAN's recipe by default. Each epoch goes through the data once
        in a new order, which depends on the GAN's seed alone; a last batch that is not full is
        left out, unless it is the only one.
    out: a new or empty folder for the log, samples from fixed latents, curves and weights, renewed
        each epoch (see minigan.run.folder). None writes nothing.
    on_epoch: called as on_epoch(epoch, gan, logs) after each epoch.
    progress: show a progress bar, and at the end where the files are.

    The dict of an epoch has epoch (from 1), step, the means of what GAN.train_step returns (d_loss,
    g_loss, d_real = D(x), d_fake = D(G(z)), and penalty if there is one), and images_per_second.

    Ctrl-C finishes the step, saves the weights and raises KeyboardInterrupt. Raises
    TrainingStopped when a loss is not finite, ValueError or TypeError when the arguments do not
    fit, FileExistsError when `out` is not empty, WriteError (an OSError) when it cannot be written.
    """
    epochs = _positive("epochs", gan.epochs if epochs is None else epochs)
    batch_size = _positive("batch_size", gan.batch_size if batch_size is None else batch_size)
    if out is not None:
        refuse_used(out)
    name = str(data) if isinstance(data, (str, os.PathLike)) else None
    batches = _batches(gan, data if name is None else datasets.load(data))
    batch_size = min(batch_size, len(batches))
    folder = None
    if out is not None:
        folder = RunFolder(out, _config(gan, batches, name, epochs, batch_size))
    history = _Loop(gan, batches, batch_size, folder, on_epoch).run(epochs, progress)
    if out is not None and progress:
        print(where(out))
    return history


class _Loop:
    def __init__(self, gan, batches, batch_size, folder, on_epoch):
        self.gan, self.batches, self.batch_size = gan, batches, batch_size
        self.folder, self.on_epoch = folder, on_epoch
        self.steps = len(batches) // batch_size  # an epoch
        self.preview = _preview(gan, batches) if folder else None

    def run(self, epochs: int, progress: bool) -> list[dict[str, Any]]:
        history: list[dict[str, Any]] = []
        images = epochs * self.steps * self.batch_size
        with _deferred_interrupt() as interrupted, _bar(images, progress) as bar:
            for epoch in range(1, epochs + 1):
                bar.set_description_str(f"{epoch}/{epochs} ", refresh=False)
                history.append(self._epoch(epoch, bar, interrupted))
                if self.folder:
                    grid = self.preview() if self.preview else None
                    self.folder.record(history, grid, self.gan.sampler)
                if self.on_epoch:
                    self.on_epoch(epoch, self.gan, history[-1])
        return history

    def _epoch(self, epoch: int, bar: Any, interrupted: threading.Event) -> dict[str, Any]:
        meter = _Meter(self.gan.step_count, bar)
        shuffle = Key(self.gan.seed, "shuffle", self.gan.step_count)
        order = shuffle.generator().permutation(len(self.batches))
        started = time.perf_counter()
        for step in range(self.steps):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            real, labels = self.batches.batch(chosen)
            meter.add(self.gan.train_step(real, labels), len(chosen))
            if interrupted.is_set():
                self._stop(meter)
        logs = {"epoch": epoch, "step": self.gan.step_count, **meter.means()}
        seconds = time.perf_counter() - started
        logs["images_per_second"] = round(self.steps * self.batch_size / seconds, 1)
        return logs

    def _stop(self, meter: _Meter) -> None:
        meter.fetch()  # weights that a bad step spoiled are not worth saving
        message = f"interrupted after step {self.gan.step_count}"
        if self.folder:
            self.folder.save_weights(self.gan.sampler)
            message += f"; the generator so far is in {self.folder.path}"
        raise KeyboardInterrupt(message)


class _Meter:
    """Sums the scalars of the steps, and stops the run at the first that is not finite.

    They are fetched from the device now and then, all at once: fetching waits for the device.
    """

    def __init__(self, step: int, bar: Any):
        self.step, self.bar = step, bar
        self.sums: dict[str, float] = {}
        self.count = 0
        self.waiting: list[tuple[dict[str, Any], int]] = []
        self.fetched = time.perf_counter()

    def add(self, scalars: dict[str, Any], images: int) -> None:
        self.waiting.append((scalars, images))
        if time.perf_counter() - self.fetched > _FETCH_SECONDS:
            self.fetch()

    def fetch(self) -> None:
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
        self.fetch()
        return {name: total / self.count for name, total in self.sums.items()}

    def _check(self, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise TrainingStopped(
                f"stopped at step {self.step}: {bad[0]} is {values[bad[0]]}.\n"
                "What was saved before is unchanged. A lower learning rate usually helps."
            )


def describe(logs: dict[str, Any]) -> str:
    """The losses and scores of a step or an epoch in one line."""
    penalty = f"penalty {logs['penalty']:.2f} " if "penalty" in logs else ""
    return (
        f"d_loss {logs['d_loss']:.2f} {penalty}g_loss {logs['g_loss']:.2f} "
        f"D(x) {logs['d_real']:.2f} D(G(z)) {logs['d_fake']:.2f}"
    )


def _positive(name: str, value: Any) -> int:
    if value is None:
        raise ValueError(f"the GAN's recipe names no {name}: give {name}=...")
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
    return int(value)


def image_shape(gan: Any) -> tuple[int, ...]:
    """The shape of the images that the discriminator takes, without the batch axis."""
    shape = gan.discriminator.input_shape
    return shape[0] if gan.conditional else shape


def _batches(gan: Any, data: Any) -> datasets.Batches:
    dtype = gan.discriminator.dtype
    return datasets.Batches(data, image_shape(gan), gan.image_range, dtype, gan.classes)


def _config(
    gan: Any, batches: datasets.Batches, name: str | None, epochs: int, batch_size: int
) -> dict[str, Any]:
    from .. import __version__

    return {
        "minigan": __version__,
        "gan": gan.config(),
        "data": {
            "name": name,
            "count": len(batches),
            "image_shape": list(batches.image_shape),
            "value_range": list(batches.value_range),
        },
        "epochs": epochs,
        "batch_size": batch_size,
    }


def _preview(gan: Any, batches: datasets.Batches) -> Callable[[], np.ndarray] | None:
    """A function that draws the grid of samples, from latents that stay the same."""
    if not imaging.drawable(batches.image_shape):
        return None  # signals, points: there is nothing to draw
    rows, columns, labels = 8, 8, None
    if gan.classes is not None:
        rows = min(gan.classes, 10)  # a row a class
        labels = np.repeat(np.arange(rows), columns)
    latents = gan.noise(rows * columns, Key(gan.seed, "preview"))

    def draw() -> np.ndarray:
        images = gan.sample(rows * columns, labels=labels, z=latents)
        if not np.isfinite(images).all():
            raise TrainingStopped(
                f"stopped at step {gan.step_count}: the generator's images are not finite.\n"
                "What was saved before is unchanged. A lower learning rate usually helps."
            )
        images = images.reshape(len(images), *batches.image_shape)
        return imaging.image_grid(images, columns, value_range=batches.value_range, gap=2)

    return draw


def _bar(total: int, show: bool) -> Any:
    from tqdm import tqdm

    size = shutil.get_terminal_size((100, 24))  # tqdm shows nothing where the size is unknown
    return tqdm(
        total=total,
        disable=not show,
        unit=" img",
        unit_scale=True,
        ncols=size.columns,
        nrows=size.lines,
        bar_format="{desc}|{bar}| {remaining} left {rate_noinv_fmt}{postfix}",  # fits 80 columns
    )


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets the event; a second one interrupts at once, as it does anywhere else."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # signals belong to the main thread
        return

    def note(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
