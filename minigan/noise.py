"""Noise on all images that D sees, which makes its task harder at first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .random import Key


@dataclass(frozen=True)
class InstanceNoise:
    """x + level(step) * e with e ~ N(0, 1), for real images and fakes alike.

    level(step) = stddev * max(0, 1 - step / steps): the noise is gone after `steps` steps.  With
    it the two distributions overlap, so that D cannot tell them apart for sure and its gradient
    does not vanish.  Sonderby et al. (2017), section 2.3; Arjovsky and Bottou (2017), section 3.
    """

    stddev: float
    steps: int

    @classmethod
    def of(cls, given: Any) -> InstanceNoise | None:
        """From (stddev, steps), or None. Raises ValueError for anything else."""
        try:
            return None if given is None else cls(*map(float, given))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(_wrong(given)) from error

    def __post_init__(self) -> None:
        if not (0 <= self.stddev < math.inf and 1 <= self.steps < math.inf):
            raise ValueError(_wrong((self.stddev, self.steps)))
        object.__setattr__(self, "steps", int(self.steps))

    def config(self) -> list[Any]:
        """[stddev, steps], as GAN takes it."""
        return [self.stddev, self.steps]

    def level(self, step: int) -> float:
        """The standard deviation at this step, counted from 0."""
        return self.stddev * max(0.0, 1 - step / self.steps)

    def draw(self, shape: tuple[int, ...], key: Key) -> np.ndarray:
        """The noise of the key's step, in float32."""
        e = key.generator().standard_normal(shape, dtype=np.float32)
        return e * np.float32(self.level(key.step))


def _wrong(given: Any) -> str:
    return (
        f"instance_noise={given!r} should be (stddev, steps): a standard deviation of 0 or more, "
        "and the number of steps until it is gone, 1 or more"
    )
