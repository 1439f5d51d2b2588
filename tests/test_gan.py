"""The adversarial step: who moves, by what, and what each option changes."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

import minigan as mg
from minigan import gan as gan_module
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


# the step against a plain implementation, written with nothing of the library


class Plain:
    """A GAN of one hidden tanh layer in G and one in D; gradients from the chain rule."""

    def __init__(self, g, d, rate):
        self.G = [
            g[k].copy() for k in ("dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias")
        ]
        self.D = [
            d[k].copy() for k in ("dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias")
        ]
        self.rate = rate

    @staticmethod
    def run(net, x):
        h = np.tanh(x @ net[0] + net[1])
        return h, h @ net[2] + net[3]

    @staticmethod
    def pull(net, x, h, dy):
        dz = (dy @ net[2].T) * (1 - h * h)
        return [x.T @ dz, dz.sum(0), h.T @ dy, dy.sum(0)], dz @ net[0].T

    def d_grads(self, x, target):
        h, logits = self.run(self.D, x)
        loss = np.mean(np.log(1 + np.exp(-logits)) if target else np.log(1 + np.exp(logits)))
        p = 1 / (1 + np.exp(-logits))
        return loss, p, self.pull(self.D, x, h, (p - target) / p.size)[0]

    def g_grads(self, z):
        hg, fake = self.run(self.G, z)
        hd, logits = self.run(self.D, fake)
        dl = (1 / (1 + np.exp(-logits)) - 1) / logits.size
        dfake = self.pull(self.D, fake, hd, dl)[1]
        return np.mean(np.log(1 + np.exp(-logits))), self.pull(self.G, z, hg, dfake)[0]

    def move(self, net, grads):
        for p, g in zip(net, grads, strict=True):
            p -= self.rate * g

    def step(self, update, real, z_d, z_g):
        if update == "simultaneous":
            z_g = z_d
            g_loss, g_grads = self.g_grads(z_d)
        fake = self.run(self.G, z_d)[1]
        loss_r, p_r, grads_r = self.d_grads(real, 1)
        if update == "separate":
            self.move(self.D, grads_r)
        loss_f, p_f, grads_f = self.d_grads(fake, 0)
        both = (
            grads_f
            if update == "separate"
            else [a + b for a, b in zip(grads_r, grads_f, strict=True)]
        )
        self.move(self.D, both)
        if update != "simultaneous":
            g_loss, g_grads = self.g_grads(z_g)
        self.move(self.G, g_grads)
        return {
            "d_loss": loss_r + loss_f,
            "g_loss": g_loss,
            "d_real": p_r.mean(),
            "d_fake": p_f.mean(),
        }


@every_update
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_a_step_is_the_textbook_algorithm(update, ratio):
    g = mg.Sequential(
        [mg.Dense(5, activation="tanh"), mg.Dense(4)], input_shape=(3,), dtype="float64"
    )
    d = mg.Sequential(
        [mg.Dense(6, activation="tanh"), mg.Dense(1)], input_shape=(4,), dtype="float64"
    )
    for model in (g, d):
        model.params.flat += 0.3 * draw(model.params.flat.shape, seed=2)
    plain = Plain(g.params, d.params, 0.3)
    gan = mg.GAN(
        g, d, update=update, fakes_per_real=ratio,
        g_optimizer=mg.SGD(0.3), d_optimizer=mg.SGD(0.3),
    )  # fmt: skip
    for step in range(3):
        real = draw((6, 4), seed=10 + step)
        z_d, z_g = draw((int(6 * ratio), 3), seed=20 + step), draw((6, 3), seed=30 + step)
        logs = gan.train_step(real, latents=(z_d, z_g))
        expected = plain.step(update, real, z_d, z_g)
        for k, v in expected.items():
            assert float(logs[k]) == pytest.approx(float(v), abs=1e-12), (step, k)
        for model, net in ((g, plain.G), (d, plain.D)):
            for p, e in zip(model.params.values(), net, strict=True):
                np.testing.assert_allclose(p, e, rtol=0, atol=1e-12)


@every_update
def test_the_step_functions_are_short(update):
    source = inspect.getsource(gan_module.STEPS[update])
    assert len(source.splitlines()) <= 25


# who moves


@every_update
def test_every_parameter_of_both_networks_moves(update):
    gan = make(update)
    before = copies(gan.generator), copies(gan.discriminator)
    for seed in range(3):
        gan.train_step(images(seed=seed))
    null_g, null_d = gan.generator.null_gradients(), gan.D.null_gradients()
    assert null_g == {"dense.bias"} and null_d == {"conv2d.bias"}
    for model, b, null in (
        (gan.generator, before[0], null_g),
        (gan.discriminator, before[1], null_d),
    ):
        still = set(b) - moved(b, model)
        assert not (still - null), still
        for k, p in model.params.items():
            if k not in null:  # more than rounding, and each element
                assert (np.abs(p - b[k]) > 1e-6).mean() > 0.9, k


@every_update
def test_gs_update_leaves_d_alone_to_the_bit(update):
    """D after a step is the same whatever G's optimizer does, and G does move."""
    ends = []
    for rate in (0.0, 0.1):
        gan = make(update, dropout=0.3, g_optimizer=mg.SGD(rate), d_optimizer=mg.SGD(0.1))
        start = gan.generator.params.flat.copy()
        gan.train_step(images(), latents=latents())
        ends.append(copies(gan.discriminator))
        assert np.array_equal(gan.generator.params.flat, start) == (rate == 0)
    assert same(*ends)


@every_update
def test_d_stands_still_when_it_does_not_step(update, monkeypatch):
    gan = make(update)
    monkeypatch.setattr(gan, "update_d", lambda *_: None)
    before = copies(gan.discriminator)
    start = gan.generator.params.flat.copy()
    gan.train_step(images())
    assert same(before, copies(gan.discriminator))
    assert not np.array_equal(gan.generator.params.flat, start)


@every_update
def test_ds_update_leaves_gs_weights_alone(update, monkeypatch):
    gan = make(update)
    monkeypatch.setattr(gan, "update_g", lambda *_: None)
    start, d_start = gan.generator.params.flat.copy(), gan.D.params.flat.copy()
    gan.train_step(images())
    assert np.array_equal(gan.generator.params.flat, start)
    assert not np.array_equal(gan.D.params.flat, d_start)


@every_update
def test_each_backward_uses_the_cache_of_its_own_forward(update, monkeypatch):
    """The gradient of D is the sum of those of its own passes; with the caches exchanged it is not.

    forward(real), forward(fake) and both backward passes from the fake's cache is the classic bug.
    """
    gan = make(update, d_optimizer=mg.SGD(1.0))
    D, G = gan.D, gan.generator
    real, (z_d, z_g) = images(), latents()
    fakes = G.forward(z_d)[0]
    found = []
    monkeypatch.setattr(gan, "update_d", lambda grads, *_: found.append(grads.flat.copy()))

    def gradient(x, which):
        logits, cache = D.forward(x)
        _, dreal, dfake = gan.objective.d_loss(*((logits, None) if which else (None, logits)))
        return D.backward(dreal if which else dfake, cache)[1].flat, (dreal if which else dfake)

    on_real, dreal = gradient(real, 1)
    on_fake, dfake = gradient(fakes, 0)
    gan.train_step(real, latents=(z_d, z_g))
    if update == "joint":  # one batch: BatchNorm sees both
        logits, cache = D.forward(np.concatenate([real, fakes]))
        _, dr, df = gan.objective.d_loss(logits[:6], logits[6:])
        expected = D.backward(np.concatenate([dr, df]), cache)[1].flat
    else:
        expected = on_real + on_fake
    np.testing.assert_allclose(sum(found), expected, rtol=1e-10, atol=1e-13)
    stale = D.backward(dreal, D.forward(fakes)[1])[1].flat + on_fake
    assert np.abs(sum(found) - stale).max() > 1e-3


@every_update
def test_whole_gan_gradients(update):
    report = mg.check_gradients(make(update, dropout=0.3))
    assert report.ok and report.max_error <= 1e-11, str(report)
    checked = {(r.what.split(": ")[-1], r.quantity) for r in report.rows}
    g, d = networks()
    assert checked >= {("g_loss", k) for k in g.params} | {("d_loss", k) for k in d.params}


@every_update
@pytest.mark.parametrize(
    "recipe",
    [
        {"objective": "minimax"},
        {"objective": {"name": "non_saturating", "logit_clip": 16.118},
         "real_targets": (1.0, 1.1), "fake_targets": (-0.1, 0.0), "d_loss_weight": 0.5},
        {"fakes_per_real": 0.5, "d_fakes": "inference", "flip_labels": 0.2},
    ],
)  # fmt: skip
def test_whole_gan_gradients_of_recipes(update, recipe):
    report = mg.check_gradients(make(update, **recipe), batch=4)
    assert report.ok and report.max_error <= 1e-11, str(report)


# running statistics


def test_how_often_the_running_statistics_move():
    """D's once for each of its batches, never in G's update; G's once for each training pass."""
    mean = "batch_normalization.moving_mean"
    counts = {("separate", "training"): (2, 2), ("joint", "training"): (1, 2),
              ("simultaneous", "training"): (2, 1), ("separate", "inference"): (2, 1),
              ("joint", "inference"): (1, 1)}  # fmt: skip
    for (update, mode), (d_moves, g_moves) in counts.items():
        gan = make(update, d_fakes=mode, g_optimizer=mg.SGD(0.0), d_optimizer=mg.SGD(0.0))
        gan.D.state[mean] += 100  # far away: each commit halves the distance
        gan.generator.state[mean] += 100
        gan.train_step(images())
        left = gan.D.state[mean].mean(), gan.generator.state[mean].mean()
        assert left[0] == pytest.approx(100 / 2**d_moves, abs=5), (update, mode)
        assert left[1] == pytest.approx(100 / 2**g_moves, abs=5), (update, mode)


# options, by what they change


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
        np.testing.assert_allclose(gan.sampler.params.flat, average, rtol=1e-12)
        assert np.array_equal(gan.sampler.state.flat, gan.generator.state.flat)
    # training itself is not touched by the average, sampling is
    assert np.array_equal(gan.generator.params.flat, plain.generator.params.flat)
    z = latents()[0]
    assert np.abs(gan.sample(6, z=z) - plain.sample(6, z=z)).max() > 1e-4
    expected = gan.sampler.predict(z).astype("float32")
    assert np.array_equal(gan.sample(6, z=z), expected)


# logs


@every_update
def test_what_a_step_returns(update, monkeypatch):
    gan = make(update)
    seen = seen_by_d(gan, monkeypatch)
    logs = gan.train_step(images())
    assert list(logs) == ["d_loss", "g_loss", "d_real", "d_fake"]

    def mean_p(y):
        return (1 / (1 + np.exp(-y))).mean()

    ys = [s["y"] for s in seen["D"]]
    real, fake = (ys[0][:6], ys[0][6:]) if update == "joint" else (ys[0], ys[1])
    assert float(logs["d_real"]) == pytest.approx(mean_p(real), rel=1e-12)
    assert float(logs["d_fake"]) == pytest.approx(mean_p(fake), rel=1e-12)
    loss = np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(fake)).mean()
    assert float(logs["d_loss"]) == pytest.approx(loss, rel=1e-12)
    assert float(logs["g_loss"]) == pytest.approx(np.log1p(np.exp(-ys[-1])).mean(), rel=1e-12)


# reproducibility


@every_update
def test_one_seed_one_run_to_the_bit(update):
    ends = []
    for seed, disturb in ((1, False), (1, True), (2, False)):
        gan = make(update, dropout=0.4, dtype="float32", seed=seed, flip_labels=0.1)
        for step in range(4):
            if disturb:  # what others draw meanwhile changes nothing
                mg.Dropout(0.5)
                gan.sample(3)
                np.random.default_rng().random(5)
            gan.train_step(images(seed=step, dtype="float32"))
        ends.append(
            np.concatenate([gan.generator.params.flat, gan.D.params.flat, gan.D.state.flat])
        )
    assert np.array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def test_a_step_is_a_function_of_its_number():
    """A run that resumes at step 3 draws what the run without a break drew."""
    one, two = make(dropout=0.4), make(dropout=0.4)
    for step in range(3):
        one.train_step(images(seed=step))
    two.generator.params.flat[...] = one.generator.params.flat
    two.D.params.flat[...] = one.D.params.flat
    for mine, theirs in ((two.generator, one.generator), (two.D, one.D)):
        mine.state.flat[...] = theirs.state.flat
    two.g_optimizer.state = one.g_optimizer.state
    two.d_optimizer.state = one.d_optimizer.state
    two.step_count = one.step_count
    assert one.step_count == 3
    logs = [gan.train_step(images(seed=3)) for gan in (one, two)]
    assert logs[0] == logs[1]
    assert np.array_equal(one.generator.params.flat, two.generator.params.flat)
    assert np.array_equal(one.D.params.flat, two.D.params.flat)


def test_the_seed_of_the_gan_is_that_of_the_library_unless_given():
    try:
        mg.seed(11)
        assert make(seed=None).seed == 11 and make(seed=3).seed == 3
    finally:
        mg.seed(0)


# samples


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


# conditional networks


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


# input that is refused, before anything has moved


def refused(gan, match, *args, error=ValueError, **kwargs):
    before = copies(gan.generator) | {f"d.{k}": v for k, v in copies(gan.D).items()}
    with pytest.raises(error, match=match) as caught:
        gan.train_step(*args, **kwargs)
    after = copies(gan.generator) | {f"d.{k}": v for k, v in copies(gan.D).items()}
    assert same(before, after)
    assert gan.d_optimizer.t == gan.g_optimizer.t == gan.step_count == 0
    assert len(str(caught.value).splitlines()) <= 5
    return str(caught.value)


@every_update
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_input_that_is_not_finite(update, bad):
    real = images()
    real[2, 1, 3, 0] = bad
    refused(make(update), r"the input is not finite: .* at index \(2, 1, 3, 0\)", real)
    z_d, z_g = latents()
    z_d[1, 2] = bad
    refused(make(update), r"generator: the input is not finite", images(), latents=(z_d, z_g))


@every_update
def test_images_of_another_shape(update):
    for wrong in (images()[:, :3], images()[..., 0], np.concatenate([images()] * 3, axis=-1)):
        text = refused(make(update), "expected an input of shape", wrong)
        assert "(None, 4, 4, 1)" in text and str(wrong.shape) in text
    refused(make(update), "batch axis is missing", images()[0])
    refused(make(update), "empty", images()[:0])


def test_latents_of_another_shape():
    for update in UPDATES:
        refused(make(update), r"expected an input of shape \(None, 3\)", images(),
                latents=(np.zeros((6, 4)), np.zeros((6, 4))))  # fmt: skip


def test_labels_that_are_missing_or_wrong():
    real = draw((6, 4))
    text = refused(conditional(), "labels", real)
    assert "object" not in text
    refused(conditional(), r"labels run from 0 to 2", real, LABELS + 1)
    refused(conditional(), r"batches differ: \[6, 5\]", real, LABELS[:5])
    refused(conditional(), "labels are whole numbers", real, LABELS + 0.5, error=TypeError)


def test_networks_that_do_not_fit():
    g, d = networks()
    with pytest.raises(TypeError, match="the generator is float64, the discriminator float32"):
        mg.GAN(g, networks("float32")[1])
    with pytest.raises(ValueError, match=r"the generator makes .*the discriminator takes"):
        mg.GAN(g, mg.Sequential([mg.Dense(1)], input_shape=(16,), dtype="float64"))
    with pytest.raises(ValueError, match=r"end it with Dense\(1\)"):
        mg.GAN(g, mg.Sequential([mg.Flatten()], input_shape=(4, 4, 1), dtype="float64"))
    with pytest.raises(ValueError, match="either both networks take labels or neither does"):
        mg.GAN(g, conditional().discriminator)
    with pytest.raises(ValueError, match="the discriminator is not built"):
        mg.GAN(g, mg.Sequential([mg.Dense(1)]))
    with pytest.raises(TypeError, match="the generator is a Dense; it must be a Sequential"):
        mg.GAN(mg.Dense(3), d)
    adam = mg.Adam()
    with pytest.raises(ValueError, match="need an optimizer each"):
        mg.GAN(g, d, g_optimizer=adam, d_optimizer=adam)


@pytest.mark.parametrize(
    "option, match",
    [
        ({"update": "both"}, "update='both' is unknown; choose one of 'separate', 'joint', 'simul"),
        ({"d_fakes": "eval"}, "d_fakes='eval' is unknown"),
        ({"latents": "gauss"}, "latents='gauss' is unknown"),
        ({"fakes_per_real": 0}, "fakes_per_real=0 should be positive"),
        ({"ema": 1.0}, "ema=1.0 should be"),
        ({"flip_labels": 1.0}, "flip_labels"),
        ({"real_targets": (1.0, 0.5)}, "real_targets"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"objective": "wgan"}, "objective 'wgan' is unknown"),
        ({"g_optimizer": "adamw"}, "optimizer 'adamw' is unknown"),
    ],
)
def test_options_that_are_refused(option, match):
    with pytest.raises(ValueError, match=match):
        mg.GAN(*networks(), **option)


@every_update
def test_a_recipe_there_and_back(update):
    gan = make(
        update, objective={"name": "minimax", "logit_clip": 9.0}, d_fakes="inference",
        fakes_per_real=0.5, real_targets=(0.8, 1.0), fake_targets=(0.0, 0.1), flip_labels=0.1,
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
