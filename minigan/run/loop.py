"""The steps of a run: epochs over shuffled batches, and what is kept of them."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..random import Key
from . import imaging, progress, state, watch
from .blame import first_not_finite
from .files import WriteError
from .folder import RunFolder
from .meter import Meter, NotFinite, deferred_interrupt


class TrainingStopped(RuntimeError):
    """Training could not go on, e.g. a loss was not finite. The message names the step."""


class Loop:
    """Takes a GAN from where it stands to the last epoch.

    settings: epochs, batch_size, first_step (the GAN's step count at the start of the run),
    checkpoint_every (steps; None: an epoch), keep (how many checkpoints) and mirror (whether half
    of the images are mirrored), as in config.json.
    history: the rows of the epochs so far. partial: the sums of the epoch that was broken off.
    """

    def __init__(
        self,
        gan: Any,
        batches: Any,
        settings: dict[str, Any],
        folder: RunFolder | None = None,
        on_epoch: Callable[[int, Any, dict[str, Any]], object] | None = None,
    ):
        self.gan, self.batches, self.folder, self.on_epoch = gan, batches, folder, on_epoch
        self.settings = settings
        self.epochs, self.batch_size = settings["epochs"], settings["batch_size"]
        self.every, self.keep = settings["checkpoint_every"], settings["keep"]
        self.mirror = settings["mirror"]
        self.first = settings["first_step"]
        self.steps = len(batches) // self.batch_size  # an epoch
        self.end = self.first + self.epochs * self.steps
        self.viewer = watch.Viewer(gan, batches)
        self.drawable = imaging.drawable(batches.image_shape)
        self.d_bounds = watch.d_bounds(gan)
        self._order: tuple[int, Any] = (-1, None)  # an epoch, and the order of its images
        self.history: list[dict[str, Any]] = []
        self.partial: dict[str, float] = {}

    def run(self, show: bool) -> list[dict[str, Any]]:
        """Train to the end, and return the history."""
        images = (self.end - self.gan.step_count) * self.batch_size
        with deferred_interrupt() as interrupted, progress.bar(images, show) as bar:
            try:
                while self.gan.step_count < self.end:
                    self._epoch(bar, interrupted)
            except NotFinite as bad:
                raise TrainingStopped(self._explain(bad)) from None
            except WriteError as error:
                error.advise(self._go_on())
                raise
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(str(stop) or f"interrupted. {self._go_on()}") from None
        return self.history

    def place(self, step: int) -> tuple[int, int]:
        """(epochs that are whole after so many steps, steps in the present one)."""
        return divmod(step - self.first, self.steps)

    def _go_on(self) -> str:
        return f"To go on: minigan train --resume {self.folder.path}" if self.folder else ""

    def batch(self, step: int) -> tuple[Any, Any]:
        """The real images and labels of a step: a slice of its epoch's own order."""
        epoch, place = self.place(step)
        if self._order[0] != epoch:
            key = Key(self.gan.seed, "shuffle", self.first + epoch * self.steps)
            self._order = epoch, key.generator().permutation(len(self.batches))
        chosen = self._order[1][place * self.batch_size :][: self.batch_size]
        real, labels = self.batches.batch(chosen)
        if self.mirror:
            turned = Key(self.gan.seed, "mirror", step).generator().random(len(real)) < 0.5
            real[turned] = real[turned][:, :, ::-1]  # (N, H, W, C)
        return real, labels

    def save(self, meter: Meter | None = None) -> None:
        """Write a checkpoint, here or in the midst of an epoch."""
        if self.folder is None:
            return
        if not state.is_finite(self.gan):
            raise NotFinite(self.gan.step_count, "a weight is not finite")
        partial = list(meter.sums.items()) if meter else []
        self.folder.save_state(self.gan, {"partial": partial}, self.keep)

    def _epoch(self, bar: Any, interrupted: threading.Event) -> None:
        epoch, start = self.place(self.gan.step_count)
        bar.set_description_str(f"{epoch + 1}/{self.epochs} ", refresh=False)
        meter = Meter(self.gan.step_count, bar, self.partial, start)
        started = time.perf_counter()
        for place in range(start, self.steps):
            real, labels = self.batch(self.gan.step_count)
            meter.add(self.gan.train_step(real, labels), self.batch_size)
            if place + 1 < self.steps and (interrupted.is_set() or self._due()):
                meter.fetch()  # weights that a bad step spoiled are not worth saving
                self.save(meter)
                if interrupted.is_set():
                    self._stop()
        row = {"epoch": epoch + 1, "step": self.gan.step_count, **meter.means()}
        seconds = time.perf_counter() - started
        rate = round((self.steps - start) * self.batch_size / seconds, 1)
        self.partial = {}
        self._record(row, rate)
        if self._due() or interrupted.is_set() or self.gan.step_count == self.end:
            self.save()
        if self.on_epoch:
            self.on_epoch(epoch + 1, self.gan, self.history[-1])
        if interrupted.is_set() and self.gan.step_count < self.end:
            self._stop()

    def _due(self) -> bool:
        return (self.gan.step_count - self.first) % (self.every or self.steps) == 0

    def _record(self, row: dict[str, Any], rate: float) -> None:
        images = self.viewer.images()
        if not np.isfinite(images).all():
            raise NotFinite(row["step"], "the generator's images are not finite")
        self.history.append({**row, **self.viewer.measure(images), "images_per_second": rate})
        if self.folder:
            grid = self._grid(images) if self.drawable else None
            self.folder.record(self.history, grid, self.gan.sampler)
        for line in watch.alarms(self.history, self.d_bounds, self.gan.objective):
            warnings.warn(line, stacklevel=2)

    def _grid(self, images: np.ndarray) -> np.ndarray:
        images = images.reshape(len(images), *self.batches.image_shape)
        columns, value_range = self.viewer.columns, self.batches.value_range
        return imaging.image_grid(images, columns, value_range=value_range, gap=2)

    def _stop(self) -> None:
        message = f"interrupted after step {self.gan.step_count}"
        if self.folder:
            self.folder.save_weights(self.gan.sampler)
            message += f"; all of it is in {self.folder.path}.\n{self._go_on()}"
        raise KeyboardInterrupt(message)

    def _explain(self, bad: NotFinite) -> str:
        lines = [f"stopped at step {bad.step}: {bad.what}."]
        advice = "a lower learning rate (--lr 1e-5) or clipped gradients (--clip-gradients 1)"
        saved = next(iter(self.folder.states()), None) if self.folder else None
        if saved is None:
            return f"{lines[0]}\nWhat may help: {advice}."
        where = self._replay(bad.step, saved)
        lines[0] += f" It arose first in {where}." if where else ""
        lines.append(f"The last good checkpoint is {saved}, and the GAN is as it was then.")
        return "\n".join([*lines, f"{self._go_on()}, with {advice}."])

    def _replay(self, step: int, saved: Any) -> str | None:
        """The place where the first bad number of the steps up to `step` arises.

        The same steps once more, from the last checkpoint, with every layer watched.
        """
        state.load_state(saved, self.gan)
        where = None
        while where is None and self.gan.step_count < step:
            at = self.gan.step_count
            found = first_not_finite(self.gan, *self.batch(at))
            where = found and f"{found}, in step {at + 1}"
        state.load_state(saved, self.gan)
        return where
