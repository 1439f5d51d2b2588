"""Pictures in two classes, and the figures of samples."""

from __future__ import annotations

import numpy as np

from minigan.run.evaluate import evaluate
from minigan.run.features import RandomFeatures


def pictures(count, seed, classes=(0, 1)):
    """8x8 images with a bright row (class 0) or column (class 1) somewhere, and their classes."""
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 60, (count, 8, 8, 1)).astype(np.uint8)
    y = np.resize(classes, count)
    place, light = draw.integers(8, size=count), draw.integers(150, 256, count)
    for image, label, at, grey in zip(x, y, place, light, strict=True):
        image[(at, slice(None)) if label == 0 else (slice(None), at)] = grey
    return x, y


def figures(samples, data, judge=None, **options):
    """{name: (of the samples, of real images)}."""
    judge = judge or RandomFeatures((8, 8, 1))
    found = evaluate(samples, data, judge=judge, **options)["figures"]
    return {name: (figure["samples"], figure["real"]) for name, figure in found.items()}
