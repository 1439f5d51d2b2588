"""A small GAN, its batches, and what its networks see in a step."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan import random
from tests.helpers import draw

UPDATES = ("separate", "joint", "simultaneous")
every_update = pytest.mark.parametrize("update", UPDATES)


def networks(dtype="float64", dropout=0.0, seed=0):
    """A pair with what matters to a step: BatchNorm, Dropout, a last sigmoid behind Flatten."""
    key = random.Key(seed, "weights")
    g = mg.Sequential(
        [mg.Dense(12), mg.BatchNorm(momentum=0.5), mg.LeakyReLU(0.2), mg.Reshape((2, 2, 3)),
         mg.Conv2DTranspose(1, 3, strides=2, padding="same", activation="tanh")],
        input_shape=(3,), dtype=dtype, name="generator", key=key.child("g"),
    )  # fmt: skip
    d = mg.Sequential(
        [mg.Conv2D(4, 3, strides=2, padding="same"), mg.BatchNorm(momentum=0.5),
         mg.LeakyReLU(0.2), mg.Dropout(dropout), mg.Conv2D(1, 2, activation="sigmoid"),
         mg.Flatten()],
        input_shape=(4, 4, 1), dtype=dtype, name="discriminator", key=key.child("d"),
    )  # fmt: skip
    return g, d


def images(n=6, seed=0, dtype="float64"):
    return np.tanh(draw((n, 4, 4, 1), seed=seed)).astype(dtype)


def latents(n_d=6, n_g=6, seed=3):
    return draw((n_d, 3), seed=seed), draw((n_g, 3), seed=seed + 1)


def make(update="separate", dropout=0.0, dtype="float64", seed=0, **recipe):
    return mg.GAN(*networks(dtype, dropout), update=update, seed=seed, **recipe)


def copies(model):
    return {k: a.copy() for k, a in (model.params | model.state).items()}


def same(a, b):
    return all(np.array_equal(a[k], b[k]) for k in a)


def moved(before, model):
    """Names of the arrays that changed."""
    return {k for k, a in (model.params | model.state).items() if not np.array_equal(a, before[k])}


def seen_by_d(gan, monkeypatch):
    """The batches and modes of D's forward passes, and the latents and modes of G's."""
    seen = {"D": [], "G": []}
    for name, model in (("D", gan.D), ("G", gan.generator)):
        forward = model.forward

        def spy(x, training=True, rng=None, keep=True, name=name, forward=forward):
            result = forward(x, training=training, rng=rng, keep=keep)
            seen[name].append({"x": x, "y": result[0], "training": training, "keep": keep})
            return result

        monkeypatch.setattr(model, "forward", spy)
    return seen


def conditional(update="separate", **recipe):
    g = mg.Sequential(
        [mg.Parallel([mg.Activation("linear"), mg.Embedding(3, 2)]), mg.Dense(4, activation="tanh"),
         mg.Dense(4)],
        input_shape=((3,), ()), dtype="float64", name="generator",
    )  # fmt: skip
    d = mg.Sequential(
        [mg.Parallel([mg.Activation("linear"), mg.Embedding(3, 2)]), mg.Dense(5, activation="tanh"),
         mg.Dense(1, activation="sigmoid")],
        input_shape=((4,), ()), dtype="float64", name="discriminator",
    )  # fmt: skip
    return mg.GAN(g, d, update=update, seed=0, **recipe)


LABELS = np.array([0, 1, 2, 0, 1, 2])
