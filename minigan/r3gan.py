"""Residual networks without normalisation, after R3GAN (Huang et al., 2024, section 3)."""

from __future__ import annotations

from typing import Any

from .initializers import RandomNormal, VarianceScaling
from .layers import (
    Activation,
    Conv2D,
    Dense,
    Layer,
    LeakyReLU,
    Parallel,
    Resampling2D,
    Reshape,
)
from .network_parts import Pair, halvings, projected
from .sequential import Sequential

SLOPE = 0.2
GAIN = 2 / (1 + SLOPE**2)  # 1/E[f(x)^2] of the leaky ReLU f and x ~ N(0, 1): He et al. (2015)


def r3gan(
    *,
    size: int = 28,
    channels: int = 1,
    latent_dim: int = 64,
    dtype: str = "float32",
    classes: int | None = None,
    width: int = 16,
    blocks: int = 1,
    seed: int | None = None,
) -> Pair:
    """Square images in [-1, 1]: a small R3GAN (Huang et al., 2024).  D gives a logit.

    Takes the arguments of models.dcgan, but for dropout; width and blocks mean this:
    G grows a map of 4 to 7 pixels a side to `size`, D shrinks the image down to it, each time
    bilinearly and by 2. D has `width` channels at full size, twice as many at each halving, and
    `blocks` residual blocks at every size; so has G, with twice the channels.
    With `classes` G takes z beside an embedding of the label, and D's logit is the inner product of
    the image's features with an embedding of the label (Miyato and Koyama, 2018).

    The paper's networks are larger (two blocks a size, grouped convolutions of twice as many
    channels inside them). Its G starts from a learned map, each channel times a linear function of
    z, and ends without tanh; its D ends in a convolution channel by channel before the last Dense.
    Raises ValueError for a size that cannot be halved to 4 to 7 pixels.
    """
    widths = [width << i for i in range(halvings("r3gan", size) + 1)]  # D's, at size, size/2, ...
    smallest, deepest, depth = size >> (len(widths) - 1), widths[-1], blocks * len(widths)

    first, *more = (2 * width for width in reversed(widths))
    g: list[Layer] = [Dense(smallest * smallest * first, **_linear())]
    g += [Reshape((smallest, smallest, first))]
    g += [residual_block(first, depth) for _ in range(blocks)]
    for narrower in more:
        # a 1x1 convolution and resampling work on different axes, so they may change places: the
        # convolution is cheaper on the small map, where the paper has it on the large one
        g += [Conv2D(narrower, 1, **_linear()), Resampling2D(2)]
        g += [residual_block(narrower, depth) for _ in range(blocks)]
    g += [Conv2D(channels, 1, activation="tanh", **_linear())]

    d: list[Layer] = [Conv2D(width, 1, **_linear())]
    d += [residual_block(width, depth) for _ in range(blocks)]
    for wider in widths[1:]:
        d += [Resampling2D(0.5), Conv2D(wider, 1, **_linear())]
        d += [residual_block(wider, depth) for _ in range(blocks)]
    features = smallest * smallest * deepest
    return projected(
        g, d, (size, size, channels), features, latent_dim, classes, dtype, seed,
        head=Dense(1, **_linear()), label=RandomNormal(stddev=features**-0.5),
    )  # fmt: skip


def residual_block(width: int, depth: int) -> Parallel:
    """x + F(x): convolutions 1x1, 3x3, 1x1, leaky ReLUs between them; (N, H, W, width) -> the same.

    Fixup (Zhang et al., 2019, section 3.2), which replaces normalisation: the last convolution of F
    starts at 0, so that a block starts as the identity; the m - 1 = 2 before it with a standard
    deviation smaller by depth^(-1/(2m - 2)), so that `depth` blocks together move, at the first
    steps, as one would.
    """
    scaled: dict[str, Any] = {
        "kernel_initializer": VarianceScaling(scale=GAIN * depth**-0.5),  # the variance
        "padding": "same",
    }
    inner = [
        Conv2D(width, 1, **scaled),
        LeakyReLU(SLOPE),
        Conv2D(width, 3, **scaled),
        LeakyReLU(SLOPE),
        Conv2D(width, 1, kernel_initializer="zeros", use_bias=False),
    ]
    return Parallel([Activation("linear"), Sequential(inner)], merge="add")


def _linear() -> dict[str, Any]:
    """A map with no activation behind it: it keeps the variance, and has no bias."""
    return {"kernel_initializer": VarianceScaling(scale=1.0), "use_bias": False}
