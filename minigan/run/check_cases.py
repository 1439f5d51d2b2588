"""What `minigan check` runs on: layers, models and GANs in the corners where mistakes hide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import layers, models, recipes
from ..gan import GAN
from ..random import Key
from ..sequential import Sequential

Case = tuple[str, Callable[[], layers.Layer], Any, dict[str, Any]]


def layer_cases() -> list[Case]:
    """Layers in the configurations where mistakes hide."""
    L = layers
    fortran = np.asfortranarray(Key(0, "fortran").generator().standard_normal((3, 5, 6, 2)))
    strided = Key(0, "strided").generator().standard_normal((6, 5, 12, 4))[::2, :, ::2, ::2]
    cases: list[Case] = [
        ("Dense, tanh", lambda: L.Dense(4, activation="tanh"), (5,), {}),
        ("Dense, no bias, batch 1", lambda: L.Dense(3, use_bias=False), (4,), {"batch": 1}),
        (
            "Dense, Fortran input",
            lambda: L.Dense(3),
            (5,),
            {"x": np.asfortranarray(fortran[:, :, 0, 0])},
        ),
        ("Conv2D k3 same, H != W", lambda: L.Conv2D(3, 3, padding="same"), (5, 4, 2), {}),
        (
            "Conv2D k3 s2 same, odd",
            lambda: L.Conv2D(2, 3, strides=2, padding="same"),
            (5, 7, 2),
            {},
        ),
        (
            "Conv2D k3 s2 same, even",
            lambda: L.Conv2D(2, 3, strides=2, padding="same"),
            (6, 4, 1),
            {},
        ),
        ("Conv2D k2x4 s3x1 valid", lambda: L.Conv2D(2, (2, 4), strides=(3, 1)), (7, 5, 2), {}),
        (
            "Conv2D k2 s3, k < s, batch 1",
            lambda: L.Conv2D(2, 2, strides=3),
            (7, 8, 2),
            {"batch": 1},
        ),
        ("Conv2D k5 same, thin output", lambda: L.Conv2D(1, 5, padding="same"), (6, 5, 12), {}),
        (
            "Conv2D, Fortran input",
            lambda: L.Conv2D(3, 3, padding="same"),
            (5, 6, 2),
            {"x": fortran},
        ),
        ("Conv2D, strided input", lambda: L.Conv2D(3, 3, strides=2), (5, 6, 2), {"x": strided}),
        ("Conv2D, leaky_relu", lambda: L.Conv2D(3, 3, activation="leaky_relu"), (5, 6, 2), {}),
        (
            "Conv2DTranspose k4 s2 same",
            lambda: L.Conv2DTranspose(3, 4, strides=2, padding="same"),
            (3, 4, 2),
            {},
        ),
        (
            "Conv2DTranspose k5 s2 same",
            lambda: L.Conv2DTranspose(2, 5, strides=2, padding="same"),
            (4, 3, 2),
            {},
        ),
        ("Conv2DTranspose k3 s2 valid", lambda: L.Conv2DTranspose(2, 3, strides=2), (3, 4, 2), {}),
        ("Conv2DTranspose k2 s3, k < s", lambda: L.Conv2DTranspose(2, 2, strides=3), (3, 2, 2), {}),
        (
            "Conv2DTranspose k4 valid, batch 1",
            lambda: L.Conv2DTranspose(3, 4),
            (1, 1, 4),
            {"batch": 1},
        ),
        (
            "Conv2DTranspose, thin output",
            lambda: L.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh"),
            (3, 4, 20),
            {},
        ),
        (
            "Conv2DTranspose, strided input",
            lambda: L.Conv2DTranspose(2, 3, strides=2),
            (5, 6, 2),
            {"x": strided},
        ),
        (
            "Conv2D, 3 groups",
            lambda: L.Conv2D(6, 3, strides=2, padding="same", groups=3),
            (5, 6, 3),
            {},
        ),
        (
            "Conv2DTranspose, 2 groups",
            lambda: L.Conv2DTranspose(4, 4, strides=2, padding="same", groups=2),
            (3, 4, 2),
            {},
        ),
        ("Conv1D k3 s2 same", lambda: L.Conv1D(3, 3, strides=2, padding="same"), (7, 2), {}),
        (
            "Conv1DTranspose k4 s2 same",
            lambda: L.Conv1DTranspose(2, 4, strides=2, padding="same"),
            (4, 3),
            {},
        ),
        ("BatchNorm 2-D", lambda: L.BatchNorm(), (4,), {"batch": 5}),
        ("BatchNorm 3-D", lambda: L.BatchNorm(), (5, 3), {}),
        ("BatchNorm 4-D", lambda: L.BatchNorm(epsilon=1e-5), (3, 4, 2), {}),
        ("BatchNorm, inference", lambda: L.BatchNorm(), (3, 4, 2), {"training": False}),
        ("BatchNorm, strided input", lambda: L.BatchNorm(), (5, 6, 2), {"x": strided}),
        ("LayerNorm, positions", lambda: L.LayerNorm(), (3, 4, 3), {}),
        ("LayerNorm, samples", lambda: L.LayerNorm(over="sample"), (3, 4, 2), {}),
        ("LayerNorm, vectors", lambda: L.LayerNorm(over="sample"), (5,), {}),
        ("InstanceNorm", lambda: L.InstanceNorm(epsilon=1e-5), (3, 4, 2), {}),
        ("InstanceNorm, strided input", lambda: L.InstanceNorm(), (5, 6, 2), {"x": strided}),
        ("PixelNorm", lambda: L.PixelNorm(), (3, 2, 4), {}),
        ("SpectralNorm, Dense", lambda: L.SpectralNorm(L.Dense(4)), (5,), {}),
        (
            "SpectralNorm, Conv2D, tanh",
            lambda: L.SpectralNorm(L.Conv2D(3, 3, activation="tanh")),
            (5, 6, 2),
            {},
        ),
        (
            "SpectralNorm, Conv2DTranspose",
            lambda: L.SpectralNorm(L.Conv2DTranspose(3, 4, strides=2, padding="same")),
            (3, 2, 2),
            {"training": False},
        ),
        ("LeakyReLU", lambda: L.LeakyReLU(0.2), (5, 4), {}),
        ("ReLU", lambda: L.ReLU(), (5, 4), {}),
        ("Tanh", lambda: L.Tanh(), (5, 4), {}),
        ("Sigmoid", lambda: L.Sigmoid(), (5, 4), {}),
        ("SiLU", lambda: L.SiLU(), (5, 4), {}),
        ("Activation silu", lambda: L.Activation("silu"), (5, 4), {}),
        ("Dense, silu", lambda: L.Dense(3, activation="silu"), (5,), {}),
        ("Softmax", lambda: L.Softmax(), (5,), {}),
        ("MaxPooling2D 2", lambda: L.MaxPooling2D(2), (5, 6, 2), {}),
        (
            "MaxPooling2D 3 s2 same, overlapping",
            lambda: L.MaxPooling2D(3, strides=2, padding="same"),
            (5, 6, 2),
            {},
        ),
        ("AveragePooling2D 2", lambda: L.AveragePooling2D(2), (4, 6, 2), {}),
        (
            "AveragePooling2D 3 s2 same",
            lambda: L.AveragePooling2D(3, strides=2, padding="same"),
            (5, 6, 2),
            {},
        ),
        ("UpSampling2D 2x3", lambda: L.UpSampling2D((2, 3)), (3, 4, 2), {}),
        ("Resampling2D, up 2x3", lambda: L.Resampling2D((2, 3)), (3, 4, 2), {}),
        ("Resampling2D, half, odd", lambda: L.Resampling2D(0.5), (5, 6, 2), {}),
        ("Resampling2D, no antialias", lambda: L.Resampling2D(0.4, antialias=False), (7, 6, 2), {}),
        ("Dropout", lambda: L.Dropout(0.4), (30,), {}),
        ("Flatten", lambda: L.Flatten(), (3, 4, 2), {}),
        ("Reshape", lambda: L.Reshape((4, -1)), (3, 4, 2), {}),
        ("Embedding", lambda: L.Embedding(5, 3), (), {"batch": 6}),
        (
            "Parallel, concat, two inputs",
            lambda: L.Parallel([L.Dense(2), L.Embedding(4, 3)]),
            ((3,), ()),
            {},
        ),
        (
            "Parallel, dot, features and label",
            lambda: L.Parallel([L.Dense(3), L.Embedding(4, 3)], merge="dot"),
            ((5,), ()),
            {},
        ),
        (
            "Parallel, dot, both move",
            lambda: L.Parallel([L.Dense(3), L.Dense(3, activation="tanh")], merge="dot"),
            (5,),
            {},
        ),
        (
            "Parallel, add, residual",
            lambda: L.Parallel(
                [L.Activation("linear"), L.Conv2D(2, 3, padding="same")], merge="add"
            ),
            (4, 5, 2),
            {},
        ),
    ]
    return cases + model_cases()


def model_cases() -> list[Case]:
    """Models, whose neighbouring layers run as stages."""
    L = layers
    return [
        (
            "Sequential: stages, null bias",
            lambda: Sequential(
                [
                    L.Conv2D(3, 3, padding="same"),
                    L.BatchNorm(),
                    L.LeakyReLU(0.2),
                    L.Dropout(0.3),
                    L.Conv2D(2, 3, strides=2),
                    L.Tanh(),
                    L.Flatten(),
                    L.Dense(1),
                ]
            ),
            (5, 6, 2),
            {},
        ),
        (
            "Sequential: upsampling generator",
            lambda: Sequential(
                [
                    L.Dense(12),
                    L.Tanh(),
                    L.Reshape((2, 3, 2)),
                    L.UpSampling2D(2),
                    L.Conv2D(3, 5, padding="same"),
                    L.MaxPooling2D(2),
                    L.Activation("sigmoid"),
                    L.Flatten(),  # passes a caller's dy on, which is not to be written over
                ]
            ),
            (4,),
            {},
        ),
        ("Sequential: critic of residual blocks", critic, (6, 4, 2), {}),
    ]


def critic() -> Sequential:
    """A critic with what modern ones have: residual sums, groups, resampling, norms, SiLU."""
    L = layers
    block = [
        L.Conv2D(6, 1),
        L.SiLU(),
        L.Conv2D(6, 3, padding="same", groups=3, use_bias=False),
        L.LayerNorm(over="sample"),
        L.Tanh(),
        L.SpectralNorm(L.Conv2D(4, 1)),
    ]
    return Sequential(
        [
            L.Conv2D(4, 3, padding="same"),
            L.InstanceNorm(),
            L.Sigmoid(),
            L.Parallel([L.Activation("linear"), Sequential(block)], merge="add"),
            L.Resampling2D(0.5),
            L.PixelNorm(),
            L.AveragePooling2D((1, 2)),
            L.Flatten(),
            L.Dense(5, activation="silu"),
            L.Dropout(0.2),
            L.Dense(1),
        ]
    )


def gan_cases() -> Iterator[tuple[str, GAN]]:
    """A pair with every kind of layer, under each step function and conditional."""
    settings: list[tuple[str, dict[str, Any]]] = [
        ("half as many fakes", {"update": "separate", "fakes_per_real": 0.67}),
        ("fakes in inference mode", {"update": "joint", "d_fakes": "inference"}),
        (
            "noisy targets",
            {
                "update": "simultaneous",
                "real_targets": (1.0, 1.1),
                "fake_targets": (-0.1, 0.0),
                "d_loss_weight": 0.5,
                "objective": {"name": "non_saturating", "logit_clip": 16.118},
            },
        ),
        ("minimax, flipped labels", {"objective": "minimax", "flip_labels": 0.3}),
        (
            "least squares, R1 twice",
            {"objective": "least_squares", "penalty": ["r1", {"kind": "r1", "weight": 2.0}]},
        ),
        ("hinge, R1 and R2", {"objective": "hinge", "penalty": ["r1", "r2"], "update": "joint"}),
        (
            "pairing, R1 and R2",
            {
                "objective": "relativistic_pairing",
                "penalty": ["r1", "r2"],
                "update": "simultaneous",
            },
        ),
        (
            "wasserstein, penalty",
            {"objective": "wasserstein", "penalty": {"kind": "wgan-gp", "weight": 0.5, "every": 4}},
        ),
        (
            "pairing, penalty",
            {"objective": "relativistic_pairing", "penalty": "wgan-gp", "update": "joint"},
        ),
    ]
    for label, recipe in settings:
        yield label, GAN(*small_pair(None), **recipe)
    for update in ("separate", "joint", "simultaneous"):
        g, d = small_pair(None)
        yield "spectral norms, R2", GAN(g, spectral_critic(), update=update, penalty="r2")
    for classes in (None, 3):
        networks = models.r3gan(size=8, width=3, latent_dim=3, classes=classes)
        yield "residual", GAN(*networks, **recipes.r3gan)
    yield (
        "conditional, three penalties",
        GAN(*small_pair(4), update="simultaneous", penalty=["wgan-gp", "r1", "r2"]),
    )
    yield "conditional", GAN(*small_pair(4), update="separate")
    yield "conditional", GAN(*small_pair(4), update="joint")


def spectral_critic() -> Sequential:
    """A critic of 8x6 images whose state moves at each forward pass in training."""
    L = layers
    d: list[layers.Layer] = [L.SpectralNorm(L.Conv2D(3, 3, strides=2)), L.Tanh(), L.Flatten()]
    d += [L.SpectralNorm(L.Dense(1))]
    return Sequential(d, input_shape=(8, 6, 1), dtype="float64", key=Key(0, "check critic"))


def small_pair(classes: int | None) -> tuple[Sequential, Sequential]:
    """A generator of 8x6 images and its discriminator."""
    L = layers
    g: list[layers.Layer] = [L.Dense(2 * 3 * 3), L.LeakyReLU(0.2), L.Reshape((2, 3, 3))]
    g += [L.Conv2DTranspose(3, 4, strides=2, padding="same"), L.BatchNorm(), L.ReLU()]
    g += [L.UpSampling2D((2, 1)), L.Conv2D(1, 3, padding="same", activation="tanh")]
    d: list[layers.Layer] = [L.Conv2D(4, 3, strides=2, padding="same"), L.LeakyReLU(0.2)]
    d += [L.Conv2D(3, 3, padding="same"), L.BatchNorm(), L.Tanh(), L.MaxPooling2D((2, 1))]
    d += [L.Flatten(), L.Dropout(0.3), L.Dense(1, activation="sigmoid"), L.Reshape((1, 1))]
    g_shape: Any = (5,)
    d_shape: Any = (8, 6, 1)
    if classes:
        plane = [L.Embedding(classes, 3), L.Dense(48), L.Reshape((8, 6, 1))]
        g = [L.Parallel([L.Activation("linear"), L.Embedding(classes, 2)]), *g]
        d = [L.Parallel([L.Activation("linear"), Sequential(plane)]), *d]
        g_shape, d_shape = (g_shape, ()), (d_shape, ())
    return (
        Sequential(g, input_shape=g_shape, dtype="float64", key=Key(0, "check g")),
        Sequential(d, input_shape=d_shape, dtype="float64", key=Key(0, "check d")),
    )
