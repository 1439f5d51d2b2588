"""Settings that change while a GAN trains: an optimizer's rates, a penalty's weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .layers.arguments import is_number, positive


@dataclass(frozen=True)
class Cosine:
    """From `start` to `end` along half a cosine, over `steps` steps of the GAN; then `end`.

        at(step) = end + (start - end) (1 + cos(pi min(step/steps, 1))) / 2

    R3GAN (Huang et al., 2024) so starts with a strong penalty, and a short memory of squared
    gradients, while D and G still move fast.  Raises ValueError for what is not finite, and for
    steps that are no whole number of 1 or more.

        >>> rate = mg.Cosine(0.25, 0.75, steps=100)
        >>> [round(rate.at(step), 6) for step in (0, 50, 100, 1000)]
        [0.25, 0.5, 0.75, 0.75]
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        if not (_is_finite(self.start) and _is_finite(self.end)):
            raise ValueError(f"Cosine: start={self.start!r} and end={self.end!r} should be finite")
        positive(self.steps, "steps", "Cosine")
        for name, kind in (("start", float), ("end", float), ("steps", int)):
            object.__setattr__(self, name, kind(getattr(self, name)))

    def at(self, step: int) -> float:
        """The setting at this step, counted from 0."""
        done = min(step / self.steps, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * done)) / 2

    def config(self) -> dict[str, Any]:
        """The schedule as JSON, which every setting with a schedule takes in its place."""
        return {"start": self.start, "end": self.end, "steps": self.steps}


Setting = Any  # a number, or a Cosine


def at(setting: Setting, step: int) -> float:
    """What a number, or a schedule, is at this step."""
    return setting.at(step) if isinstance(setting, Cosine) else setting


def config(setting: Any) -> Any:
    """A setting as JSON."""
    return setting.config() if isinstance(setting, Cosine) else setting


def check(given: Any, where: str, low: float, below: float = math.inf) -> Setting:
    """A number, a Cosine or its config, all of it at least `low` and less than `below`.

    where: what it is, e.g. "Adam: beta_2". Raises ValueError.
    """
    try:
        setting = Cosine(**given) if isinstance(given, Mapping) else given
    except TypeError:
        raise ValueError(f"{where}={str(given):.60}: a schedule has start, end and steps") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    ends = (setting.start, setting.end) if isinstance(setting, Cosine) else (setting,)
    if not all(_is_finite(x) and low <= x < below for x in ends):
        limit = "and finite" if below == math.inf else f"and less than {below:g}"
        raise ValueError(
            f"{where}={str(given):.60} should be a number of {low:g} or more, {limit}, or a "
            "Cosine(start, end, steps) of such"
        )
    return setting if isinstance(setting, Cosine) else float(setting)


def _is_finite(x: Any) -> bool:
    """Whether x is a real number that a float holds."""
    try:
        return is_number(x) and math.isfinite(x)
    except OverflowError:
        return False
