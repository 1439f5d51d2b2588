"""Signs that a GAN is failing, looked for after each epoch.

Three numbers, of which the first and the last go into the log:
- spread: how much the samples vary, over how much the data do, each within a class: the root mean
  square deviation of a pixel from the mean of its class. Near 0 every sample is the same.
- D's loss, over what it is while D cannot tell real from fake. Near 0 D is always right.
- g_gradient: the norm of the gradient that reaches G. Near 0 G learns nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import move, to_numpy
from ..gan import generator_update
from ..objectives import NonSaturating, Objective
from ..random import Key
from .patches import Patches

ROWS, COLUMNS = 8, 8
_GRADIENT_BATCH = 16
_DATA = 256  # images that stand for the data
_FAR = 1e6  # a logit beyond all that D gives


class Viewer:
    """Looks at what a GAN makes of latents that stay the same.

    rows, columns: of its grid: a row a class, up to ten, or 8 by 8. data_spread: of images of the
        classes that it shows.
    """

    def __init__(self, gan: Any, batches: Any):
        self.gan = gan
        self.rows, self.columns = ROWS, COLUMNS
        self.labels: np.ndarray | None = None
        if gan.classes is not None:
            self.rows = min(gan.classes, 10)
            self.labels = np.repeat(np.arange(self.rows), self.columns)
        self.latents = gan.noise(self.rows * self.columns, Key(gan.seed, "preview"))
        order = Key(gan.seed, "spread").generator().permutation(len(batches))
        self.real = batches.batch(order[:_GRADIENT_BATCH])
        if self.labels is not None:
            order = order[batches.labels[order] < self.rows]
        self.data_spread = spread(*batches.batch(order[:_DATA]))

    def images(self) -> np.ndarray:
        """The samples, in the generator's range."""
        return self.gan.sample(len(self.latents), labels=self.labels, z=self.latents)

    def measure(self, images: np.ndarray) -> dict[str, float]:
        """{"spread", "g_gradient"} as they are now; nothing moves."""
        found = {"g_gradient": self._g_gradient()}
        if self.data_spread > 0:  # of one image, or of equal ones, there is none
            found["spread"] = spread(images, self.labels) / self.data_spread
        return {name: float(f"{value:.6g}") for name, value in found.items()}

    def _g_gradient(self) -> float:
        gan, (real, real_labels) = self.gan, self.real
        n = min(len(real), len(self.latents))
        every = slice(None, None, max(len(self.latents) // n, 1))
        z, real = self.latents[every][:n], real[:n]
        if self.labels is not None:
            z, real = (z, self.labels[every][:n]), (real, real_labels[:n])
        z, real = gan.generator.cast_input(z), gan.discriminator.cast_input(real)
        z, real = move((z, real), gan.generator.home)
        norms: list[float] = []

        def noted(grads: Any, cache: Any) -> None:
            norms.append(_norm(grads.flat))

        with Patches() as patches:
            patches.wrap(gan, "update_g", lambda inner: noted)
            generator_update(gan, gan.D, gan.generator, z, real)
        return norms[0]


def spread(images: np.ndarray, labels: np.ndarray | None) -> float:
    """The root of the mean, over pixels and classes, of the variance within a class.

    images (N, ...); labels (N,) or None for one class. Classes of one image do not count; 0.0 when
    none is left.
    """
    labels = np.zeros(len(images), int) if labels is None else labels
    groups = [images[labels == label] for label in np.unique(labels)]
    variances = [group.var(axis=0, ddof=1).mean() for group in groups if len(group) > 1]
    return math.sqrt(np.mean(variances)) if variances else 0.0


def alarms(
    history: list[dict[str, Any]], d_bounds: tuple[float, float], objective: Objective
) -> list[str]:
    """A line for each failure that the last epoch shows, and none of the five before it did.

    history: the rows of the log so far. d_bounds: see `d_bounds`. objective: what is advised
    depends on it.
    """
    now = failures(history, d_bounds, objective)
    earlier = (history[: len(history) - ago] for ago in range(1, 6) if now)
    told = {name for rows in earlier for name in failures(rows, d_bounds, objective)}
    return [text for name, text in now.items() if name not in told]


def failures(
    history: list[dict[str, Any]], d_bounds: tuple[float, float], objective: Objective
) -> dict[str, str]:
    """The failures that the last row shows: {name: what is wrong, and what usually helps}."""
    if not history:
        return {}
    row, found = history[-1], {}
    start = f"epoch {row['epoch']}: "
    widest = max(past.get("spread", 0.0) for past in history)
    if row.get("spread", 1.0) < 0.15 and (widest > 2 * row["spread"] or row["step"] >= 1000):
        found["collapse"] = (
            f"{start}all samples are nearly the same (mode collapse): they vary "
            f"{row['spread']:.2g} times as much as the data. Training goes on; what may help: a "
            "lower learning rate, instance noise, a penalty "
            "(--lr, --instance-noise 0.1, --penalty r1)"
        )
    least, indifferent = d_bounds
    if row["d_loss"] - row.get("penalty", 0.0) - least < 0.01 * (indifferent - least):
        words, option = "a penalty", "--penalty r1"
        if objective.targeted:
            words, option = "smoothed targets", "--real-targets 0.9"
        found["pinned"] = (
            f"{start}D's loss is pinned at its least, {least:.2g}: D is always right, and G "
            f"has little to learn from. Training goes on; what may help: {words}, instance "
            f"noise, a slower D ({option}, --instance-noise 0.1, --d-lr)"
        )
    largest = max(past.get("g_gradient", 0.0) for past in history)
    if row.get("g_gradient", math.inf) < max(1e-3 * largest, 1e-6):
        words, option = "another objective", "--objective non_saturating"
        if isinstance(objective, NonSaturating):
            words, option = "instance noise", "--instance-noise 0.1"
        found["vanishing"] = (
            f"{start}the gradient that reaches G has vanished (norm {row['g_gradient']:.2g}, it "
            f"was up to {largest:.2g}). Training goes on; what may help: {words}, a "
            f"penalty, a slower D ({option}, --penalty r1, --d-lr)"
        )
    return found


def d_bounds(gan: Any) -> tuple[float, float]:
    """(the least that D's loss can be, D's loss when all its logits are 0), penalties aside.

    For the recipe's targets, at their mean. A loss that falls without end has no least: -inf.
    """
    if gan.objective.pairs:
        least = _least(lambda logit: _d_loss(gan, logit, -logit))
    else:
        least = _least(lambda logit: _d_loss(gan, logit, None))
        least += _least(lambda logit: _d_loss(gan, None, logit))
    return least, _d_loss(gan, 0.0, 0.0)


def _least(loss: Callable[[float], float]) -> float:
    """The least of a loss of a logit, looked for from -20 to 20 and far off; -inf if it falls on
    from there.
    """
    least = min(map(loss, [*np.linspace(-20, 20, 401), -_FAR, _FAR]))
    return -math.inf if min(loss(-2 * _FAR), loss(2 * _FAR)) < least else least


def _d_loss(gan: Any, real: float | None, fake: float | None) -> float:
    """D's loss on a real image and a fake of these logits, or on one of the two."""
    targets, flip = {}, gan.targets.flip
    if not gan.targets.plain:
        a, b = sum(gan.targets.real) / 2, sum(gan.targets.fake) / 2
        targets = {"real_target": a + flip * (b - a), "fake_target": b + flip * (a - b)}
    sides = (None if value is None else np.full((1, 1), value) for value in (real, fake))
    return float(gan.objective.d_loss(*sides, **targets)[0]) * gan.d_loss_weight


def _norm(vector: Any) -> float:
    return float(to_numpy((vector * vector).sum())) ** 0.5
