"""How good samples are, from features of theirs and of real images: rows of numbers, one an image.

Which features: minigan.run.features. Figures compare with each other only where the features, and
the numbers of images, are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import to_numpy
from .neighbours import inside, radii

NEIGHBOURS = 5  # as Naeem et al. (2020) take it for all four figures


def frechet_distance(a: Any, b: Any) -> float:
    """The squared Frechet distance of two Gaussians fitted to feature sets.

    a (N, F), b (M, F): a row of features a sample, N and M at least 2. With means m and
    covariances S (divided by N-1),

        d^2 = |m_a - m_b|^2 + tr(S_a) + tr(S_b) - 2 tr((S_a^(1/2) S_b S_a^(1/2))^(1/2))

    (Heusel et al., 2017, equation 6). The root of S_a S_b, which is not symmetric, has the same
    trace as that of the symmetric product here, whose eigenvalues are real. In float64. Raises
    ValueError for other shapes and values that are not finite.

        >>> from minigan.run.metrics import frechet_distance
        >>> a = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 2.0]])
        >>> f"{frechet_distance(a, a + [3.0, 0.0]):.6f}"
        '9.000000'
    """
    a, b = _features("frechet_distance", 2, a=a, b=b)
    s_a, s_b = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    difference = a.mean(axis=0) - b.mean(axis=0)
    root = _root(s_a)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ s_b @ root), 0)).sum()
    distance = difference @ difference + np.trace(s_a) + np.trace(s_b) - 2 * cross
    return max(float(distance), 0.0)  # rounding may leave equal sets a hair below 0


def overlap(samples: Any, real: Any, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall, density and coverage of samples (N, F) among real images (M, F).

    Each image stands for a ball in feature space, up to its k-th nearest neighbour in its own set
    (itself not counted); a ball holds its surface.

    precision: the share of samples in any real ball; recall: of real images in any ball of the
        samples (Kynkaanniemi et al., 2019, equations 1 and 2).
    precision_pruned: precision with those real balls alone whose radius is at most the median, as
        the same paper prunes them for its realism score: far out, where real images are few, balls
        are so wide that they hold what resembles none of them.
    density: the number of real balls that hold a sample, mean over the samples, divided by k;
    coverage: the share of real balls that hold any sample (Naeem et al., 2020, section 3). Of real
        images against real ones density is 1 and coverage 1 - (M-1)...(M-k) / ((M+N-1)...(M+N-k))
        in the mean (lemma 2).

    Raises ValueError for other shapes, for values that are not finite, and for k images or fewer.
    """
    samples, real = _features("overlap", k + 1, samples=samples, real=real)
    radius = radii(real, k)
    balls, held = inside(samples, real, radius)
    small = radius <= np.median(radius) * (1 + 1e-9)  # rounding parts radii that are equal
    among_small, _ = inside(samples, real[small], radius[small])
    recalled, _ = inside(real, samples, radii(samples, k))
    return {
        "precision": float((balls > 0).mean()),
        "precision_pruned": float((among_small > 0).mean()),
        "recall": float((recalled > 0).mean()),
        "density": float(balls.mean() / k),
        "coverage": float((held > 0).mean()),
    }


def _features(where: str, least: int, **sets: Any) -> list[np.ndarray]:
    """The sets in float64, each (N, F) with `least` rows or more, and of the same F."""
    found = []
    for name, values in sets.items():
        values = np.asarray(to_numpy(values), np.float64)
        if values.ndim != 2 or len(values) < least:
            raise ValueError(
                f"{where}: {name} must be (samples, features) with {least} samples or more, "
                f"got {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{where}: {name} holds NaN or infinity")
        found.append(values)
    (one, a), (other, b) = zip(sets, found, strict=True)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{where}: {one} has {a.shape[1]} features, {other} {b.shape[1]}; they must be the same"
        )
    return found


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
