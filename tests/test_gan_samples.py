"""Samples of a GAN, their range, and networks that take labels."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigan as mg
from minigan import random
from minigan.sampler import Sampler
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

KEY = random.Key(1, "sample")


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


# truncation


def sampler(kind="normal"):
    g = mg.Sequential([mg.Dense(2)], input_shape=(10,))
    return Sampler(g, latents=kind, seed=1)


@pytest.mark.parametrize("limit", [0.01, 0.3, 1.0, 2.0, 5.0])
def test_truncated_normal(limit):
    z = sampler().noise(20_000, KEY, limit).ravel().astype(float)
    assert np.abs(z).max() <= limit and len(np.unique(z)) > 0.9 * len(z)
    density = math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * limit * density / math.erf(limit / math.sqrt(2))
    # five standard errors; the fourth moment of what is bounded is at most limit^2 times its square
    error = 5 * math.sqrt(min(limit, 2) ** 2 * variance / len(z))
    assert abs(z.mean()) < 5 * math.sqrt(variance / len(z))
    assert abs((z**2).mean() - variance) < error
    assert abs((z > 0).mean() - 0.5) < 5 * 0.5 / math.sqrt(len(z))


@pytest.mark.parametrize("limit", [0.01, 0.3])
def test_truncated_uniform(limit):
    z = sampler("uniform").noise(20_000, KEY, limit).ravel().astype(float)
    shares, _ = np.histogram(z / limit, bins=10, range=(-1, 1))
    assert shares.sum() == len(z)
    assert np.abs(shares / len(z) - 0.1).max() < 5 * math.sqrt(0.09 / len(z))
    whole = sampler("uniform")
    assert np.array_equal(whole.noise(9, KEY, 1.0), whole.noise(9, KEY))  # nothing is beyond


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("limit", [None, 0.05, 0.7])
def test_latents_do_not_depend_on_how_many_are_drawn_at_once(kind, limit):
    source = sampler(kind)
    whole = source.noise(50, KEY, limit)
    assert whole.shape == (50, 10) and whole.dtype == np.float32
    assert np.array_equal(source.noise(7, KEY, limit), whole[:7])
    stream = KEY.child("z").generator()
    parts = [source.noise(n, stream, limit) for n in (1, 2, 30, 17)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(source.noise(50, random.Key(2, "sample"), limit), whole)


def test_truncation_redraws_only_what_lies_beyond():
    """The latents are those without truncation, in their order, with the large ones left out."""
    source = sampler()
    stream = source.noise(50, KEY).ravel()
    kept = stream[np.abs(stream) <= 1][:200]
    assert len(kept) == 200 and np.array_equal(source.noise(20, KEY, 1).ravel(), kept)
    assert np.array_equal(source.noise(20, KEY, math.inf).ravel(), stream[:200])


def test_the_limit_is_not_rounded(monkeypatch):
    source, drawn = sampler(), iter(np.float32([0.3, 0.29] * 100))  # float32(0.3) is above 0.3
    monkeypatch.setattr(source, "_values", lambda rng, n: np.array([next(drawn) for _ in range(n)]))
    assert np.array_equal(source.noise(1, KEY, 0.3), np.full((1, 10), 0.29, np.float32))


def test_samples_of_truncated_latents():
    gan = make(dtype="float32")
    z = gan.noise(5, random.Key(4, "sample"), 0.5)
    assert np.array_equal(gan.sample(5, seed=4, truncation=0.5), gan.sample(5, z=z))
    spread = [gan.sample(64, truncation=t).std(axis=0).mean() for t in (0.05, 0.5, None)]
    assert 4 * spread[0] < spread[1] < spread[2]  # less varied
    with pytest.raises(ValueError, match="leave out z"):
        gan.sample(5, z=z, truncation=0.5)
    for wrong in (0.0099, 0, -1.0, math.nan):
        with pytest.raises(ValueError, match="0.01 or more"):
            gan.sample(5, truncation=wrong)


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
