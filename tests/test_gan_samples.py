"""Samples of a GAN, their range, and networks that take labels."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from tests.gan_helpers import (
    LABELS,
    conditional,
    copies,
    every_update,
    images,
    latents,
    make,
    moved,
    same,
    seen_by_d,
)
from tests.helpers import draw


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_samples(dtype):
    gan = make(dtype=dtype)
    found = gan.sample(5)
    assert type(found) is np.ndarray and found.shape == (5, 4, 4, 1)
    assert found.dtype == np.float32 and found.min() >= -1 and found.max() <= 1
    assert np.array_equal(found, gan.sample(5))  # the seed's
    assert np.array_equal(found, gan.sample(5, seed=0)) and gan.sample(5, seed=1).shape
    assert not np.array_equal(found, gan.sample(5, seed=1))
    np.testing.assert_allclose(gan.sample(3, seed=1), gan.sample(5, seed=1)[:3], atol=1e-6)
    before = copies(gan.generator)
    z = latents()[0]
    expected = gan.generator.predict(z.real).real.astype("float32")
    assert np.array_equal(gan.sample(6, z=z), expected)
    assert same(before, copies(gan.generator))


@pytest.mark.parametrize(
    "last, found",
    [
        ([mg.Dense(4, activation="tanh")], (-1, 1)),
        ([mg.Dense(4), mg.Sigmoid()], (0, 1)),
        ([mg.Dense(4), mg.Activation("tanh"), mg.Reshape((4,))], (-1, 1)),
        ([mg.Dense(4, activation="sigmoid"), mg.Dense(4)], None),
    ],
)
def test_the_range_of_the_images(last, found):
    g = mg.Sequential(last, input_shape=(3,))
    d = mg.Sequential([mg.Dense(1)], input_shape=(4,))
    assert mg.GAN(g, d).image_range == found


# conditional networks


@every_update
@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
def test_a_conditional_step(update, kind, monkeypatch):
    gan = conditional(update)
    assert gan.conditional and gan.classes == 3 and gan.latent_dim == 3
    seen = seen_by_d(gan, monkeypatch)
    before = copies(gan.generator), copies(gan.D)
    real = draw((6, 4))
    gan.train_step(real, LABELS.astype(kind))
    assert moved(before[0], gan.generator) == set(before[0])
    assert moved(before[1], gan.D) == set(before[1])
    x, labels = seen["D"][0]["x"]
    assert np.array_equal(x[:6], real) and np.array_equal(labels[:6], LABELS)
    # D sees each fake with the label that G had
    x, labels = seen["D"][0 if update == "joint" else 1]["x"]
    z, wanted = seen["G"][0]["x"]
    assert np.array_equal(labels[-6:], wanted) and np.array_equal(x[-6:], seen["G"][0]["y"])
    assert set(np.unique(wanted)) <= {0, 1, 2}


@every_update
def test_conditional_gradients(update):
    report = mg.check_gradients(conditional(update))
    assert report.ok and report.max_error <= 1e-11, str(report)


def test_labels_change_the_samples():
    gan = conditional()
    z = draw((6, 3))
    one, two = (gan.sample(6, labels=np.full(6, k), z=z) for k in (0, 1))
    assert np.abs(one - two).max() > 1e-3
    assert np.array_equal(gan.sample(6, labels=[0] * 6, z=z), one)
    assert np.array_equal(
        gan.sample(6, labels=LABELS.astype("uint8")), gan.sample(6, labels=LABELS)
    )
    assert gan.sample(6).shape == (6, 4)


def test_networks_without_labels_ignore_them():
    ends = []
    for labels in (None, LABELS):
        gan = make()
        gan.train_step(images(), labels)
        ends.append(gan.generator.params.flat.copy())
    assert np.array_equal(*ends)
