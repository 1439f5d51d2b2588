"""What D should say about real images and about fakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .random import Key


@dataclass(frozen=True)
class Targets:
    """What D should say: a range for each side (equal ends: a constant), and a share of mistakes.

    real=(0.8, 1.0) smooths, (1.0, 1.1) adds outward noise; flip=0.05 exchanges real and fake
    targets of 5 % of the samples.
    """

    real: tuple[float, float] = (1.0, 1.0)
    fake: tuple[float, float] = (0.0, 0.0)
    flip: float = 0.0

    def __post_init__(self) -> None:
        for name in ("real", "fake"):
            given = getattr(self, name)  # (low, high), a list from JSON, or one number for both
            ends = (given, given) if isinstance(given, (int, float)) else tuple(given)
            if len(ends) != 2 or not ends[0] <= ends[1]:
                raise ValueError(f"{name}_targets={given} should be a number or (low, high)")
            object.__setattr__(self, name, (float(ends[0]), float(ends[1])))
        if not 0 <= self.flip < 1:
            raise ValueError(f"flip_labels={self.flip} should be a share, 0 <= share < 1")

    @property
    def plain(self) -> bool:
        """Exactly 1 and 0, which every objective knows without being told."""
        return self == Targets()

    def draw(self, side: str, shape: tuple[int, ...], key: Key) -> np.ndarray:
        """Targets for logits of this shape, in float32: "real" or "fake"."""
        rng = key.child(side).generator()
        ranges = {"real": self.real, "fake": self.fake}
        other = {"real": "fake", "fake": "real"}[side]
        own = rng.uniform(*ranges[side], size=shape)
        if self.flip:
            flipped = rng.uniform(size=shape) < self.flip
            own = np.where(flipped, rng.uniform(*ranges[other], size=shape), own)
        return own.astype(np.float32)
