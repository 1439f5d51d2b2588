"""The options of a GAN, by what each changes."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

import minigan as mg
from minigan import random
from tests.gan_helpers import UPDATES, every_update, images, latents, make, networks, seen_by_d


@pytest.mark.parametrize("update, ratio, n", [
    ("separate", 0.5, 3), ("separate", 2, 12), ("joint", 0.5, 3), ("simultaneous", 0.5, 3),
    ("separate", 0.01, 1),
])  # fmt: skip
def test_fakes_per_real(update, ratio, n, monkeypatch):
    gan = make(update, fakes_per_real=ratio)
    seen = seen_by_d(gan, monkeypatch)
    gan.train_step(images(6))
    assert len(seen["G"][0]["x"]) == n
    assert len(seen["D"][0]["x"]) == (6 + n if update == "joint" else 6)
    if update != "simultaneous":
        assert len(seen["G"][1]["x"]) == 6  # G's own update has as many as real images


@pytest.mark.parametrize("update", ["separate", "joint"])
def test_the_mode_of_fakes_for_d(update, monkeypatch):
    fakes = {}
    for mode in ("training", "inference"):
        gan = make(update, d_fakes=mode)
        gan.generator.state.flat[...] += 0.5
        z_d, z_g = latents()
        state = gan.generator.state.flat.copy()
        expected = gan.generator.forward(z_d, training=mode == "training")[0]
        seen = seen_by_d(gan, monkeypatch)
        gan.train_step(images(), latents=(z_d, z_g))
        assert seen["G"][0]["training"] == (mode == "training") and not seen["G"][0]["keep"]
        assert seen["G"][1]["training"]
        fakes[mode] = seen["D"][0 if update == "joint" else 1]["x"][-6:]
        assert np.array_equal(fakes[mode], expected)
        assert not np.array_equal(gan.generator.state.flat, state)
    assert np.abs(fakes["training"] - fakes["inference"]).max() > 1e-3


def given_to_the_objective(gan, monkeypatch):
    """Every pair (logits, targets) of D's losses."""
    seen = []
    inner = gan.objective.d_loss

    def spy(real, fake, real_target=1.0, fake_target=0.0):
        for side, logits, target in (("real", real, real_target), ("fake", fake, fake_target)):
            if logits is not None:
                seen.append((side, logits, target))
        return inner(real, fake, real_target, fake_target)

    monkeypatch.setattr(gan.objective, "d_loss", spy)
    return seen


@every_update
def test_targets_as_drawn(update, monkeypatch):
    gan = make(update, real_targets=(0.8, 1.2), fake_targets=(-0.1, 0.3))
    seen = given_to_the_objective(gan, monkeypatch)
    for _ in range(40):
        gan.train_step(images())
    for side, low, high in (("real", 0.8, 1.2), ("fake", -0.1, 0.3)):
        found = np.concatenate([np.ravel(t) for s, _, t in seen if s == side])
        assert found.size == 240 and found.dtype == np.float64
        assert low <= found.min() < low + 0.03 and high - 0.03 < found.max() <= high + 1e-6
        assert len(np.unique(found)) > 200  # each step and sample its own
    assert all(t.shape == logits.shape for _, logits, t in seen)


@every_update
def test_flips_as_drawn(update, monkeypatch):
    gan = make(update, flip_labels=0.25)
    seen = given_to_the_objective(gan, monkeypatch)
    for _ in range(60):
        gan.train_step(images())
    for side, right in (("real", 1), ("fake", 0)):
        found = np.concatenate([np.ravel(t) for s, _, t in seen if s == side])
        assert set(found.tolist()) == {0.0, 1.0}
        assert (found != right).mean() == pytest.approx(0.25, abs=0.12)


@every_update
def test_smoothed_targets_change_the_gradient_of_d_and_not_g(update, monkeypatch):
    grads = {}
    for name, recipe in {"plain": {}, "smooth": {"real_targets": (0.9, 0.9)}}.items():
        gan = make(update, **recipe)
        found = grads[name] = {"d": [], "g": []}
        monkeypatch.setattr(gan, "update_d", lambda g, *_, f=found: f["d"].append(g.flat.copy()))
        monkeypatch.setattr(gan, "update_g", lambda g, *_, f=found: f["g"].append(g.flat.copy()))
        gan.train_step(images(), latents=latents())
    assert np.abs(grads["plain"]["d"][0] - grads["smooth"]["d"][0]).max() > 1e-4
    assert np.array_equal(grads["plain"]["g"][0], grads["smooth"]["g"][0])


@every_update
def test_the_weight_of_ds_loss_scales_loss_and_gradients(update, monkeypatch):
    found = {}
    for weight in (1.0, 0.5):
        gan = make(update, d_loss_weight=weight)
        grads = []
        monkeypatch.setattr(gan, "update_d", lambda g, *_, f=grads: f.append(g.flat.copy()))
        logs = gan.train_step(images(), latents=latents())
        found[weight] = grads, float(logs["d_loss"]), float(logs["g_loss"])
    for a, b in zip(found[1.0][0], found[0.5][0], strict=True):
        np.testing.assert_allclose(b, a / 2, rtol=1e-12)
    assert found[0.5][1] == pytest.approx(found[1.0][1] / 2, rel=1e-12)
    assert found[0.5][2] == found[1.0][2]


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_latents(kind, monkeypatch):
    gan = make(latents=kind)
    seen = seen_by_d(gan, monkeypatch)
    for _ in range(60):
        gan.train_step(images(10))
    z = np.concatenate([s["x"] for s in seen["G"]]).ravel()
    assert z.dtype == np.float64 and z.size == 60 * 2 * 10 * 3
    # D's and G's latents, and those of each step, are fresh (in float32 two may happen to be equal)
    assert len(np.unique(z)) > 0.99 * z.size
    assert abs(z.mean()) < 0.08
    if kind == "uniform":
        assert -1 <= z.min() < -0.99 and 0.99 < z.max() < 1
        assert z.std() == pytest.approx(3**-0.5, rel=0.05)
    else:
        assert z.std() == pytest.approx(1, rel=0.05) and np.abs(z).max() > 3
    assert np.abs(gan.noise(5000, random.Key(1, "x"))).max() > (0.99 if kind == "uniform" else 3)


@every_update
def test_given_latents_are_used(update, monkeypatch):
    gan = make(update)
    seen = seen_by_d(gan, monkeypatch)
    z_d, z_g = latents(4, 5)
    gan.train_step(images(6), latents=(z_d, z_g))
    assert np.array_equal(seen["G"][0]["x"], z_d)
    if update == "simultaneous":
        assert len(seen["G"]) == 1
    else:
        assert np.array_equal(seen["G"][1]["x"], z_g)


@every_update
def test_d_is_trained_on_logits_through_the_last_flatten(update, monkeypatch):
    gan = make(update)
    seen = seen_by_d(gan, monkeypatch)
    gan.D.params.flat *= 5
    gan.train_step(images())
    y = seen["D"][0]["y"]
    assert y.ndim == 2 and y.min() < 0
    p = gan.discriminator.predict(images())
    assert p.min() >= 0 and p.max() <= 1
    expected = 1 / (1 + np.exp(-gan.D.predict(images())))
    np.testing.assert_allclose(p, expected, rtol=1e-10)


@pytest.mark.parametrize("update", UPDATES)
def test_ema(update):
    gan = make(update, ema=0.9, g_optimizer=mg.SGD(0.5))
    plain = make(update, g_optimizer=mg.SGD(0.5))
    average = gan.generator.params.flat.copy()
    assert np.array_equal(gan.sampler.params.flat, average)
    for step in range(12):
        gan.train_step(images(seed=step))
        plain.train_step(images(seed=step))
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * gan.generator.params.flat
        np.testing.assert_allclose(gan.sampler.params.flat, average, rtol=1e-12, atol=1e-15)
        assert np.array_equal(gan.sampler.state.flat, gan.generator.state.flat)
    # training itself is not touched by the average, sampling is
    assert np.array_equal(gan.generator.params.flat, plain.generator.params.flat)
    z = latents()[0]
    assert np.abs(gan.sample(6, z=z) - plain.sample(6, z=z)).max() > 1e-4
    expected = gan.sampler.predict(z).astype("float32")
    assert np.array_equal(gan.sample(6, z=z), expected)


@every_update
def test_a_recipe_there_and_back(update):
    gan = make(
        update, objective={"name": "minimax", "logit_clip": 9.0}, d_fakes="inference",
        fakes_per_real=0.5, real_targets=(0.8, 1.0), fake_targets=(0.0, 0.1), flip_labels=0.1,
        instance_noise=(0.1, 100), d_steps=2,
        d_loss_weight=0.5, latents="uniform", ema=0.9, batch_size=6, epochs=3, seed=5,
        g_optimizer=mg.RMSprop(0.01), d_optimizer={"name": "sgd", "learning_rate": 0.1},
    )  # fmt: skip
    config = json.loads(json.dumps(gan.config()))
    assert set(config) == set(inspect.signature(mg.GAN).parameters) - {"generator", "discriminator"}
    again = mg.GAN(*networks(), **config)
    assert again.config() == gan.config()
    for _ in range(2):
        one, two = gan.train_step(images()), again.train_step(images())
        assert one == two
    assert np.array_equal(gan.sampler.params.flat, again.sampler.params.flat)
