"""What a step of a GAN draws beside latents, for all of it to be moved to the GPU at once.

Each draw has a key of its own, so that it can be repeated, alone, for a check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .gan import GAN


def of_step(gan: GAN, reals: int, fakes_for_D: int, fakes_for_G: int = 0) -> dict[str, np.ndarray]:
    """All that the present step draws: {what: array}."""
    needed: dict[str, int] = {}
    if not gan.targets.plain:
        needed |= {"real": reals, "fake": fakes_for_D}
    if any(penalty.place == "between" for penalty in gan.penalties_due()):
        needed["between"] = min(reals, fakes_for_D)
    if gan.is_noisy:
        needed |= {"noise, real": reals, "noise, fakes, d": fakes_for_D}
        needed |= {"noise, fakes, g": fakes_for_G} if fakes_for_G else {}
    return {what: draw(gan, what, n) for what, n in needed.items()}


def draw(gan: GAN, what: str, n: int) -> np.ndarray:
    """n targets of the "real" or "fake" side, n places "between", or "noise" for n images.

    In D's dtype, on the host.
    """
    dtype, image = gan.D.dtype, gan.generator.output_shape
    if gan.instance_noise and what.startswith("noise"):
        return gan.instance_noise.draw((n, *image), gan.key(what)).astype(dtype)
    if what == "between":  # one share an image, whatever its axes
        share = gan.key("between").generator().random((n, *(1 for _ in image)))
        return share.astype(np.empty(0, dtype).real.dtype)
    return gan.targets.draw(what, (n, *gan.D.output_shape), gan.key("targets")).astype(dtype)
