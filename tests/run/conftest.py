"""A GAN small enough to train in milliseconds, and images for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan.random import Key

from .evaluate_helpers import pictures


def small_gan(*, classes=None, seed=0, last="tanh", flat=False, dtype="float32", **recipe):
    """8x8x1 images from 4 latents; conditional with `classes`."""
    shape = (64,) if flat else (8, 8, 1)
    g_shape, d_shape = (4,), shape
    start, judge = [], []
    if classes is not None:
        g_shape, d_shape = ((4,), ()), (shape, ())
        start = [mg.Parallel([mg.Activation("linear"), mg.Embedding(classes, 3)])]
        judge = [mg.Parallel([mg.Flatten(), mg.Embedding(classes, 3)])]
    generator = mg.Sequential(
        [*start, mg.Dense(64), mg.BatchNorm(), mg.Activation(last), mg.Reshape(shape)],
        input_shape=g_shape,
        dtype=dtype,
        key=Key(seed, "weights", layer="generator"),
    )
    discriminator = mg.Sequential(
        [*judge, mg.Flatten(), mg.Dense(1)],
        input_shape=d_shape,
        dtype=dtype,
        key=Key(seed, "weights", layer="discriminator"),
    )
    return mg.GAN(generator, discriminator, seed=seed, **{"batch_size": 8, "epochs": 2, **recipe})


@pytest.fixture
def make_gan():
    return small_gan


@pytest.fixture
def images():
    """20 uint8 images (8, 8, 1)."""
    return np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype(np.uint8)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """run(words...) -> (exit code, stdout, stderr) of the command line, in an empty folder."""
    from minigan.run.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err and len(err.splitlines()) <= 5, err
        return code, out, err

    yield call
    mg.seed(0)
    mg.use("numpy")


@pytest.fixture
def furnished(run):
    """The command line, in a folder with pictures/ and few.npz."""
    rng = np.random.default_rng(0)
    for name in ("rose", "daisy", "tulip"):
        folder = Path("pictures", name)
        folder.mkdir(parents=True)
        for k in range(4):
            pixels = rng.integers(0, 256, (40 + k, 50, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{k}.png")
    x, y = mg.datasets.digits()
    np.savez("few.npz", images=x[::625], labels=y[::625])
    return run


@pytest.fixture
def digits_npz(tmp_path):
    """An .npz of 128 of the embedded digits."""
    x, y = mg.datasets.digits()
    path = tmp_path / "few.npz"
    np.savez(path, images=x[::78][:128], labels=y[::78][:128])
    return path


@pytest.fixture
def full_disk(monkeypatch):
    """full_disk(n) makes the n-th fsync from now, and all later ones, fail as on a full disk."""
    import errno
    import os

    real = os.fsync

    def arm(after: int = 1) -> None:
        calls = []

        def fsync(handle):
            calls.append(handle)
            if len(calls) >= after:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        monkeypatch.setattr(os, "fsync", fsync)

    return arm


@pytest.fixture(scope="module")
def data():
    """400 pictures in two classes, and their labels."""
    return pictures(400, 0)


@pytest.fixture(scope="module")
def judge(data):
    """The features of a classifier of them."""
    from minigan.run.features import fitted

    return fitted(*data)


@pytest.fixture
def short_training(monkeypatch):
    """Classifiers learn in thirty steps, of fewer images."""
    from minigan.run import features

    monkeypatch.setattr(features, "_STEP", 20)
    monkeypatch.setattr(features, "_STEPS", (30, 30))
