"""How many of the thousand modes of the stacked digits are among samples, and how evenly."""

from __future__ import annotations

from typing import Any

import numpy as np

from .features import ClassifierFeatures

MODES = 1000
SAMPLES = 26_000  # as published figures take it


def stacked_modes(images: np.ndarray, judge: ClassifierFeatures) -> dict[str, Any]:
    """{"modes", "kl"} of images, uint8 (N, 28, 28, 3).

    judge, trained on single digits, reads each channel; the three digits name the image's mode.
    modes: how many of 1,000 have an image or more. kl: KL(p || u) = sum p log(p / u) in nats, p the
    shares of the modes among the images, u = 1/1000 each; the field calls it reverse, for the
    model stands first. 26,000 real images have 0.026 of it: 999/(2N) = 0.019 by chance, and 0.007
    since the embedded digits are not equally many. Raises ValueError for no images.
    """
    if not len(images):
        raise ValueError("stacked_modes: no images")
    number = np.zeros(len(images), np.int64)
    for channel in range(3):
        digit = judge.read(judge.features(images[..., channel : channel + 1]))
        number = 10 * number + digit
    share = np.bincount(number, minlength=MODES) / len(images)
    share = share[share > 0]
    return {"modes": len(share), "kl": float((share * np.log(share * MODES)).sum())}
