"""The reference networks: each function returns (generator, discriminator), built.

Keyword arguments, where a network has them: latent_dim, the length of z; dropout, D's rate; dtype;
classes, a number that makes the pair conditional (both then take labels as a second input); sizes,
the widths of the layers as (generator's, discriminator's).  The defaults are the published
networks, exactly; the first weights come from `seed` (default: that of mg.seed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import registry
from .layers import (
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    MaxPooling2D,
    ReLU,
    Reshape,
    Tanh,
    UpSampling2D,
)
from .network_parts import Pair, halvings, maybe, normal, pair, projected
from .r3gan import r3gan as r3gan

Sizes = tuple[Sequence[int], Sequence[int]]


def digits(
    *,
    latent_dim: int = 100,
    dropout: float = 0.4,
    dtype: str = "float32",
    classes: int | None = None,
    sizes: Sizes = ((128, 128, 128), (64, 64)),
    activation: str = "sigmoid",
    seed: int | None = None,
) -> Pair:
    """28x28x1 in [0, 1], or with activation="tanh" in [-1, 1]: G 1,164,289 parameters, D 40,705.

    G: z (N, latent_dim) -> images (N, H, W, C).  D: images -> (N, 1), a probability.
    latent_dim: the length of z.  dropout: D's rate.  dtype: of both networks.
    classes: None, or how many: both networks then take (data, labels), labels (N,) whole numbers.
    sizes: the widths of the layers, (G's, D's), from the input to the output.
    activation: G's last.  seed: of the first weights (default: that of mg.seed).

        >>> G, D = mg.models.digits()
        >>> G.output_shape, sum(G.count_params()), sum(D.count_params())
        ((28, 28, 1), 1164289, 40705)
    """
    (stem, *ups), downs = sizes
    start: dict[str, Any] = {"kernel_initializer": normal()}
    g_stem: list[Layer] = [Dense(7 * 7 * stem), LeakyReLU(0.2), Reshape((7, 7, stem))]
    g: list[Layer] = [
        layer
        for width in ups
        for layer in (
            Conv2DTranspose(width, 4, strides=2, padding="same", **start),
            LeakyReLU(0.2),
        )
    ]
    g += [Conv2D(1, 7, padding="same", activation=activation, **start)]
    d: list[Layer] = [
        layer
        for width in downs
        for layer in (Conv2D(width, 3, strides=2, padding="same", **start), LeakyReLU(0.2))
    ]
    d += [Flatten(), Dropout(dropout), Dense(1, activation="sigmoid")]
    return pair(g_stem, g, d, (28, 28, 1), (7, 7), latent_dim, classes, dtype, seed)


def flowers(
    *,
    latent_dim: int = 100,
    dropout: float = 0.4,
    dtype: str = "float32",
    classes: int | None = None,
    sizes: Sizes = ((128, 128, 128, 128, 128), (40, 128, 128, 128, 128)),
    seed: int | None = None,
) -> Pair:
    """80x80x3 in [-1, 1]: G 1,971,715 parameters, D 1,363,553.

    classes=102 is the published conditional form, whose transposed convolutions are k4:
    G 1,390,314, D 3,971,753.
    Takes the arguments of models.digits, but for activation.
    """
    (stem, *ups), (first, *downs) = sizes
    start: dict[str, Any] = {"kernel_initializer": normal()}
    kernel = 5 if classes is None else 4
    g_stem: list[Layer] = [Dense(5 * 5 * stem), LeakyReLU(0.2), Reshape((5, 5, stem))]
    g: list[Layer] = [
        layer
        for width in ups
        for layer in (
            Conv2DTranspose(width, kernel, strides=2, padding="same", **start),
            LeakyReLU(0.2),
        )
    ]
    g += [Conv2D(3, 5, padding="same", activation="tanh", **start)]
    d: list[Layer] = [Conv2D(first, 5, padding="same", **start), LeakyReLU(0.2)]
    d += [
        layer
        for width in downs
        for layer in (Conv2D(width, 5, strides=2, padding="same", **start), LeakyReLU(0.2))
    ]
    d += [Flatten(), Dropout(dropout), Dense(1, activation="sigmoid")]
    return pair(g_stem, g, d, (80, 80, 3), (5, 5), latent_dim, classes, dtype, seed)


def dcgan64(
    *,
    latent_dim: int = 100,
    dropout: float = 0.3,
    dtype: str = "float32",
    classes: int | None = None,
    sizes: Sizes = ((512, 256, 128, 64), (64, 128, 256, 512)),
    seed: int | None = None,
) -> Pair:
    """64x64x1 in [-1, 1], no biases: G 3,576,576 parameters, D 2,765,312.

    Takes the arguments of models.digits, but for activation.
    """
    (first, *ups), (d_first, *downs) = sizes
    plain: dict[str, Any] = {"use_bias": False}
    half = {"strides": 2, "padding": "same", **plain}
    g_stem: list[Layer] = [Reshape((1, 1, latent_dim))]
    g: list[Layer] = [Conv2DTranspose(first, 4, padding="valid", **plain), BatchNorm(momentum=0.9)]
    g += [LeakyReLU(0.2)]
    for width in ups:
        g += [Conv2DTranspose(width, 4, **half), BatchNorm(momentum=0.9), LeakyReLU(0.2)]
    g += [Conv2DTranspose(1, 4, activation="tanh", **half)]
    d: list[Layer] = [Conv2D(d_first, 4, **half), LeakyReLU(0.2), Dropout(dropout)]
    for width in downs:
        d += [Conv2D(width, 4, **half), BatchNorm(momentum=0.9), LeakyReLU(0.2), Dropout(dropout)]
    d += [Conv2D(1, 4, padding="valid", activation="sigmoid", **plain), Flatten()]
    return pair(g_stem, g, d, (64, 64, 1), (1, 1), latent_dim, classes, dtype, seed)


def upsample64(
    *,
    latent_dim: int = 100,
    dropout: float = 0.0,
    dtype: str = "float32",
    classes: int | None = None,
    sizes: Sizes = ((1024, 128, 128, 128), (64, 128, 128, 1024)),
    seed: int | None = None,
) -> Pair:
    """64x64x3 in [-1, 1]: G 9,362,051 parameters, D 3,898,369.

    Takes the arguments of models.digits, but for activation.
    """
    (hidden, stem, *ups), (first, *downs, last) = sizes
    g_stem: list[Layer] = [Dense(hidden), Tanh(), Dense(8 * 8 * stem), BatchNorm(), Tanh()]
    g_stem += [Reshape((8, 8, stem))]
    g: list[Layer] = []
    for width in ups:
        g += [UpSampling2D(2), Conv2D(width, 5, padding="same"), Tanh()]
    g += [UpSampling2D(2), Conv2D(3, 5, padding="same"), Tanh()]
    d: list[Layer] = [Conv2D(first, 5, padding="same"), Tanh(), MaxPooling2D(2)]
    for width in downs:
        d += [Conv2D(width, 5), Tanh(), MaxPooling2D(2)]
    d += [Flatten(), Dense(last), Tanh(), *maybe(dropout), Dense(1, activation="sigmoid")]
    return pair(g_stem, g, d, (64, 64, 3), (8, 8), latent_dim, classes, dtype, seed)


def mlp_digits(
    *,
    latent_dim: int = 64,
    dropout: float = 0.0,
    dtype: str = "float32",
    classes: int | None = None,
    sizes: Sizes = ((128, 256, 512, 1024), (512, 256, 128)),
    seed: int | None = None,
) -> Pair:
    """Vectors of 784 in [0, 1], PyTorch's conventions: G 1,505,680 trainable, D 566,273.

    The conditional form appends a vector of the label to z and to the image.
    G: (N, latent_dim) -> (N, 784).  D: (N, 784) -> (N, 1), a logit.
    Takes the arguments of models.digits, but for activation.
    """
    torch: dict[str, Any] = dict.fromkeys(
        ("kernel_initializer", "bias_initializer"), "torch_uniform"
    )
    g: list[Layer] = []
    for width in sizes[0]:
        g += [Dense(width, **torch), BatchNorm(momentum=0.9, epsilon=1e-5, unbiased=True), ReLU()]
    g += [Dense(784, activation="sigmoid", **torch)]
    d: list[Layer] = []
    for width in sizes[1]:
        d += [Dense(width, **torch), LeakyReLU(0.2)]
    d += [*maybe(dropout), Dense(1, **torch)]
    return pair([], g, d, (784,), None, latent_dim, classes, dtype, seed)


def dcgan(
    *,
    size: int = 64,
    channels: int = 3,
    latent_dim: int = 100,
    dropout: float = 0.1,
    dtype: str = "float32",
    classes: int | None = None,
    width: int = 32,
    seed: int | None = None,
) -> Pair:
    """Square images in [-1, 1], after Radford et al. (2016).  D gives a logit.

    size: a side in pixels: 4, 5, 6 or 7 times a power of 2, as 28, 64, 80 or 96; at least 8.
    channels: 1 for grey, 3 for RGB.
    G doubles a map of 4 to 7 pixels a side up to `size`, D halves the image down to it; both have
    `width` channels at half the size, and twice as many at each halving below.
    With `classes` G takes z beside an embedding of the label, and D's logit is the inner product of
    the image's features with an embedding of the label (Miyato and Koyama, 2018).
    latent_dim, dropout, dtype, classes, seed: as for digits.  Raises ValueError for other sizes.

        >>> G, D = mg.models.dcgan(size=32, width=8)
        >>> G.output_shape, D.output_shape
        ((32, 32, 3), (1,))
    """
    downs = [width << i for i in range(halvings("dcgan", size))]
    return _dcgan(size, channels, downs[::-1], downs, latent_dim, dropout, classes, dtype, seed)


def clear_flowers(
    *,
    latent_dim: int = 100,
    dropout: float = 0.1,
    dtype: str = "float32",
    classes: int | None = None,
    width: int = 32,
    seed: int | None = None,
) -> Pair:
    """80x80x3 in [-1, 1]: the DCGAN of that size, the default of `minigan train flowers`.

    Takes the arguments of models.dcgan, but for size and channels.
    """
    return dcgan(size=80, **locals())


def clear_digits(
    *,
    latent_dim: int = 64,
    dropout: float = 0.1,
    dtype: str = "float32",
    classes: int | None = 10,
    sizes: Sizes = ((64, 32), (32, 64, 128)),
    seed: int | None = None,
) -> Pair:
    """28x28x1 in [-1, 1]: a small DCGAN, conditional unless classes=None.  D gives a logit.

    The default of `minigan train digits`.
    Takes the arguments of models.digits, but for activation; sizes from G's smallest map up to half
    the size, and D's from there down.
    """
    return _dcgan(28, 1, *sizes, latent_dim, dropout, classes, dtype, seed)


def _dcgan(
    size: int,
    channels: int,
    ups: Sequence[int],
    downs: Sequence[int],
    latent_dim: int,
    dropout: float,
    classes: int | None,
    dtype: str,
    seed: int | None,
) -> Pair:
    """G's widths from its smallest map up to half the size; D's from there down."""
    start: dict[str, Any] = {"kernel_initializer": normal()}
    half: dict[str, Any] = {"strides": 2, "padding": "same", **start}
    small, (stem, *rest) = size >> len(ups), ups
    g: list[Layer] = [Dense(small * small * stem, **start), Reshape((small, small, stem))]
    g += [BatchNorm(momentum=0.9), ReLU()]
    for width in rest:
        g += [Conv2DTranspose(width, 4, **half), BatchNorm(momentum=0.9), ReLU()]
    g += [Conv2DTranspose(channels, 4, activation="tanh", **half)]
    first, *more = downs
    d: list[Layer] = [Conv2D(first, 4, **half), LeakyReLU(0.2), *maybe(dropout)]
    for width in more:
        d += [Conv2D(width, 4, **half), BatchNorm(momentum=0.9), LeakyReLU(0.2), *maybe(dropout)]
    side = -(-size // 2 ** len(downs))
    return projected(
        g, d, (size, size, channels), side * side * downs[-1], latent_dim, classes, dtype, seed,
        head=Dense(1, **start), label=normal(),
    )  # fmt: skip


NAMES = (
    "digits",
    "flowers",
    "dcgan64",
    "upsample64",
    "mlp_digits",
    "clear_digits",
    "clear_flowers",
    "dcgan",
    "r3gan",
)

OF_ANY_SIZE = ("dcgan", "r3gan")

IMAGES = {  # height, width and channels of what each network makes; mlp_digits flattens them
    "digits": (28, 28, 1),
    "flowers": (80, 80, 3),
    "dcgan64": (64, 64, 1),
    "upsample64": (64, 64, 3),
    "mlp_digits": (28, 28, 1),
    "clear_digits": (28, 28, 1),
    "clear_flowers": (80, 80, 3),
}
ALWAYS_CONDITIONAL = ("clear_digits",)


def get(name: str) -> Any:
    """The function that makes the pair of this name.

    name: one of models.NAMES; ValueError for another.

        >>> G, D = mg.models.get("mlp_digits")()
        >>> G.output_shape, D.output_shape
        ((784,), (1,))
    """
    return registry.find("network", {n: globals()[n] for n in NAMES}, name)
