"""Mixtures of Gaussians in the plane, and how much of one a generator has learned.

The two of VEEGAN (Srivastava et al., 2017, section 4.1), with PacGAN's radius and spreads (Lin et
al., 2018, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..random import Key

NEAR = 3.0  # standard deviations: what lies nearer to a centre is of high quality


@dataclass(frozen=True)
class Mixture:
    """Equal shares of N(centre, stddev^2 I); centres (K, 2)."""

    centres: np.ndarray
    stddev: float

    def points(self, count: int, seed: int = 0) -> np.ndarray:
        """count points (count, 2), float32. The same seed gives the same points."""
        rng = Key(seed, "mixture").generator()
        centre = self.centres[rng.integers(len(self.centres), size=count)]
        return (centre + self.stddev * rng.standard_normal((count, 2))).astype(np.float32)

    def coverage(self, points: Any) -> tuple[int, float]:
        """(modes, high-quality share) of points (N, 2).

        A point is of high quality within 3 standard deviations of the nearest centre; a mode counts
        when it has such a point. The share of the mixture itself is 1 - exp(-9/2) = 98.9 %.
        Raises ValueError for other shapes, and for no points.
        """
        points = np.asarray(to_numpy(points), np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
            raise ValueError(f"points should be (N, 2), N at least 1, got {points.shape}")
        away = np.linalg.norm(
            points[:, None] - self.centres, axis=2
        )  # (N, 1, 2) - (K, 2) -> (N, K)
        near = away.min(axis=1) <= NEAR * self.stddev
        return len(np.unique(away.argmin(axis=1)[near])), float(near.mean())


def ring() -> Mixture:
    """8 Gaussians on the circle of radius 1, standard deviation 0.01."""
    angle = np.arange(8) * np.pi / 4
    return Mixture(np.stack([np.cos(angle), np.sin(angle)], axis=1), 0.01)


def grid() -> Mixture:
    """25 Gaussians, 2 apart in both directions around 0, standard deviation 0.05."""
    side = np.arange(-4, 5, 2)
    return Mixture(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype(float), 0.05)
