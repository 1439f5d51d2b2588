"""From latent to latent: what lies between the images of a generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..random import Key
from .imaging import refuse_huge
from .sampling import SavedGenerator

_LEAST_SINE = 1e-8  # of the angle between two directions that span a plane


def slerp(a: Any, b: Any, t: float) -> np.ndarray:
    """Spherical interpolation between vectors: a at t = 0, b at t = 1, on an arc between.

        z(t) = ((1 - t)|a| + t|b|) * (sin((1 - t)w) a/|a| + sin(t w) b/|b|) / sin w

    with w the angle between a and b (Shoemake, "Animating rotation with quaternion curves", 1985,
    for unit vectors). In many dimensions normal latents all have nearly the same length, so that a
    straight line between two leaves the place where they are, and an arc stays there (White,
    "Sampling generative networks", 2016). The length goes evenly from |a| to |b|.

    Directions that span no plane, of vectors that are parallel, opposite or zero, have no arc of
    their own: there z(t) is `lerp`. a, b: (..., dim), real. Returns float64 (..., dim).
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    a_length, b_length = _length(a), _length(b)
    flat = (a_length == 0) | (b_length == 0)
    u, v = a / np.where(flat, 1, a_length), b / np.where(flat, 1, b_length)
    w = 2 * np.arctan2(_length(u - v), _length(u + v))  # the arc cosine is inaccurate near 0 and pi
    flat |= np.sin(w) < _LEAST_SINE
    sine = np.where(flat, 1, np.sin(w))
    length = (1 - t) * a_length + t * b_length
    arc = length * (np.sin((1 - t) * w) * u + np.sin(t * w) * v) / sine
    return np.where(flat, lerp(a, b, t), arc)


def lerp(a: Any, b: Any, t: float) -> np.ndarray:
    """The straight line (1 - t) a + t b. It never leaves the cube that uniform latents fill."""
    return (1 - t) * np.asarray(a, np.float64) + t * np.asarray(b, np.float64)


def path(
    points: np.ndarray,
    steps: int,
    between: Callable[[Any, Any, float], np.ndarray] = slerp,
    closed: bool = False,
) -> np.ndarray:
    """Latents on the way through `points`, with `steps` of them from each point to the next.

    points: (K, ...), K at least 2. Returns float32 ((K - 1) * steps + 1, ...), the points
    themselves among them; closed: (K * steps, ...), on to the last before the first comes again.
    """
    points = np.asarray(points)
    if len(points) < 2 or steps < 1:
        raise ValueError(
            f"a path needs 2 points or more and 1 step or more, got {len(points)} and {steps}"
        )
    ends = np.roll(points, -1, axis=0) if closed else points[1:]
    legs = zip(points, ends, strict=closed)
    way = [between(a, b, step / steps) for a, b in legs for step in range(steps)]
    way += [] if closed else [points[-1]]
    return np.stack(way).astype(np.float32)


def interpolation(
    generator: SavedGenerator,
    points: int = 5,
    steps: int = 4,
    rows: int = 1,
    seed: int | None = None,
    label: int | str | None = None,
    truncation: float | None = None,
    closed: bool = False,
) -> np.ndarray:
    """`rows` paths through `points` latents each, as uint8 images (frames, rows, *image_shape).

    The points of the first row, then those of the second, and so on, are the latents of
    `minigan sample` with this seed, in its order. Between them the way is spherical for normal
    latents and straight for uniform ones, and has the frames of `path`. label: the class, or in
    each row another one. Raises ValueError.
    """
    frames = points * steps if closed else (points - 1) * steps + 1
    height, width = (*generator.image_shape, 1)[:2]
    # where images are smaller than latents, those take the memory
    refuse_huge(frames * rows * max(height * width, generator.latent_dim), "the frames together")
    z = generator.noise(rows * points, Key(_seed(generator, seed), "sample"), truncation)
    z = z.reshape(rows, points, -1).swapaxes(0, 1)  # (rows, points, dim) -> (points, rows, dim)
    way = path(z, steps, slerp if generator.latent_kind == "normal" else lerp, closed)
    turns = np.tile(np.arange(rows), frames)
    labels = generator.labels(turns, generator.class_number(label))
    images = generator.draw(way.reshape(frames * rows, -1), labels)
    return images.reshape(frames, rows, *generator.image_shape)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1, keepdims=True)


def _seed(generator: SavedGenerator, seed: int | None) -> int:
    return generator.seed if seed is None else seed
