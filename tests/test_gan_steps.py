"""The adversarial step: who moves, by what, and what a step returns and depends on."""

from __future__ import annotations

import inspect
import tracemalloc

import numpy as np
import pytest

import minigan as mg
from minigan import gan as gan_module
from tests.gan_helpers import (
    copies,
    every_update,
    images,
    latents,
    make,
    moved,
    networks,
    same,
    seen_by_d,
)
from tests.helpers import draw

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


@pytest.mark.cpu("the memory of the host")
def test_a_steady_step_allocates_no_large_array():
    """After the first steps all that is large comes from the pool, which makes nothing anew."""
    gan = mg.GAN(*mg.models.digits(), **mg.recipes.digits)
    real = draw((32, 28, 28, 1), "float32")
    for _ in range(3):
        gan.train_step(real)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    gan.train_step(real)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - before < 1e6  # bytes; the parameters of G alone are 4.7 million
