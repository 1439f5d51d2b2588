"""Parts that the reference networks share: their first weights, labels, and how a pair is built."""

from __future__ import annotations

from typing import Any

from . import random
from .initializers import Initializer, RandomNormal
from .layers import Activation, Dense, Dropout, Embedding, Flatten, Layer, Parallel, Reshape
from .layers.arguments import Shape
from .random import Key
from .sequential import Sequential

Pair = tuple[Sequential, Sequential]


def halvings(name: str, size: int) -> int:
    """How often a network for any size halves images of `size` pixels a side. Raises ValueError."""
    side = size
    while side % 2 == 0 and side > 6:
        side //= 2
    if not 4 <= side <= 7 or side == size:
        raise ValueError(
            f"{name}: size={size} cannot be halved to a map of 4 to 7 pixels a side; 28, 32, 48, "
            "64, 80, 96 and 128 can"
        )
    return (size // side).bit_length() - 1


def normal() -> RandomNormal:
    """N(0, 0.02): where a DCGAN's kernels start (Radford et al., 2016)."""
    return RandomNormal(stddev=0.02)


def maybe(dropout: float) -> list[Layer]:
    """A Dropout for a network that has none by default."""
    return [Dropout(dropout)] if dropout else []


def pair(
    g_stem: list[Layer],
    g: list[Layer],
    d: list[Layer],
    image: Shape,
    plane: Shape | None,
    latent_dim: int,
    classes: int | None,
    dtype: str,
    seed: int | None,
) -> Pair:
    """Build both networks; with `classes`, join the label to z's feature map and to the image.

    plane: height and width of G's first feature map; None joins vectors instead of planes.
    """
    if classes is None:
        return named([*g_stem, *g], (latent_dim,), d, image, dtype, seed)
    stem = Sequential(g_stem) if g_stem else Activation("linear")
    g = [Parallel([stem, label_branch(classes, 50, plane)]), *g]
    units, d_plane = (50, None) if plane is None else (400, image[:2])
    d = [Parallel([Activation("linear"), label_branch(classes, units, d_plane)]), *d]
    return named(g, ((latent_dim,), ()), d, (image, ()), dtype, seed)


def projected(
    g: list[Layer],
    d: list[Layer],
    image: Shape,
    features: int,
    latent_dim: int,
    classes: int | None,
    dtype: str,
    seed: int | None,
    *,
    head: Dense,
    label: Initializer,
) -> Pair:
    """Build both networks; with `classes`, G takes z beside an embedding of the label, and D's
    logit is the inner product of the image's features with another (Miyato and Koyama, 2018).

    features: how many values d makes of an image. head: what makes them a logit without classes.
    label: how the embedding starts that does it with them.
    """
    d = [*d, Flatten()]
    if classes is None:
        return named(g, (latent_dim,), [*d, head], image, dtype, seed)
    wide = Embedding(classes, 10, embeddings_initializer=RandomNormal(stddev=1.0))
    judge = Embedding(classes, features, embeddings_initializer=label)
    return named(
        [Parallel([Activation("linear"), wide]), *g],
        ((latent_dim,), ()),
        [Parallel([Sequential(d), judge], merge="dot")],
        (image, ()),
        dtype,
        seed,
    )


def named(
    g: list[Layer], g_shape: Any, d: list[Layer], d_shape: Any, dtype: str, seed: int | None
) -> Pair:
    """Both networks built, each from its own stream of the seed."""
    seed = random.current_seed() if seed is None else seed
    built = [
        Sequential(
            layers,
            input_shape=shape,
            dtype=dtype,
            name=name,
            key=Key(seed, "weights", layer=name),
        )
        for name, layers, shape in (("generator", g, g_shape), ("discriminator", d, d_shape))
    ]
    return built[0], built[1]


def label_branch(classes: int, units: int, plane: Shape | None) -> Sequential:
    """A label as a plane of one channel, or as a vector of `units` when plane is None."""
    layers: list[Layer] = [Embedding(classes, units)]
    if plane is not None:
        layers += [Dense(plane[0] * plane[1]), Reshape((*plane, 1))]
    return Sequential(layers)
