"""Signs of failure: what they measure, when they are told, and that a healthy run shows none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import minigan as mg
from minigan import objectives
from minigan.gan import generator_update
from minigan.run import datasets, watch
from minigan.run.assemble import assemble
from minigan.run.cli import parsed
from minigan.run.watch import Viewer, alarms, d_bounds, spread
from tests.run.conftest import small_gan


def test_spread_is_the_deviation_within_a_class():
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.3, (4000, 2, 2, 1)) + rng.normal(0, 5, (1, 2, 2, 1))
    assert spread(images, None) == pytest.approx(0.3, rel=0.01)
    labels = np.arange(4000) % 4
    apart = images + 10 * labels[:, None, None, None]
    assert spread(apart, labels) == pytest.approx(0.3, rel=0.01)
    assert spread(apart, None) > 10
    assert spread(np.repeat(images[:1], 8, axis=0), None) < 1e-12
    assert spread(images[:4], np.arange(4)) == 0  # one of each: nothing to compare
    few = [spread(images[8 * i :][:8], None) ** 2 for i in range(500)]
    assert np.mean(few) == pytest.approx(0.09, rel=0.02)  # no bias from few samples


def test_the_data_that_samples_are_compared_with_are_of_the_classes_shown():
    rng = np.random.default_rng(0)
    labels = np.arange(2400) % 12
    images = rng.normal(0, np.where(labels < 10, 0.05, 0.3)[:, None, None, None], (2400, 8, 8, 1))
    gan = small_gan(classes=12)
    viewer = Viewer(gan, datasets.Batches((images.clip(-1, 1), labels), (8, 8, 1), classes=12))
    assert viewer.data_spread == pytest.approx(0.05, rel=0.05)
    others = datasets.Batches((images[labels > 9].clip(-1, 1), labels[labels > 9]), (8, 8, 1),
                              classes=12)  # fmt: skip
    viewer = Viewer(gan, others)  # no image of a class that is shown
    assert set(viewer.measure(viewer.images())) == {"g_gradient"}


def row(epoch, **changed):
    return {"epoch": epoch, "step": 100 * epoch, "d_loss": 1.2, "spread": 0.8, "g_gradient": 1.0,
            **changed}  # fmt: skip


BOUNDS = 0.0, 1.386
PLAIN = objectives.get("non_saturating")
HEALTHY = [row(epoch) for epoch in range(1, 8)]


@pytest.mark.parametrize("changed, words", [
    ({"spread": 0.1}, "epoch 8: all samples are nearly the same (mode collapse)"),
    ({"d_loss": 0.005}, "epoch 8: D's loss is pinned at its least, 0:"),
    ({"d_loss": 5.005, "penalty": 5.0}, "pinned at its least"),
    ({"g_gradient": 1e-4}, "epoch 8: the gradient that reaches G has vanished"),
    ({"g_gradient": 1e-9}, "has vanished"),
])  # fmt: skip
def test_each_failure_is_told_in_one_line_with_advice(changed, words):
    (line,) = alarms([*HEALTHY, row(8, **changed)], BOUNDS, PLAIN)
    assert words in line and "what may help" in line and "--" in line
    assert "\n" not in line and len(line) < 400


@pytest.mark.parametrize("name", objectives.NAMES)
def test_what_is_advised_is_accepted(name):
    """Every option, beside those that chose the objective."""
    bad = [*HEALTHY, row(8, spread=0.01, d_loss=0.0, g_gradient=0.0)]
    lines = alarms(bad, BOUNDS, objectives.get(name))
    assert len(lines) == 3
    chosen = ["--objective", name, *(["--penalty", "wgan-gp"] if name == "wasserstein" else [])]
    for line in lines:
        for option in line[line.rindex("(") + 1 : -1].split(", "):
            words = option.split()
            words += ["1e-5"] if len(words) == 1 else []  # a rate, that is for the reader to choose
            given = ["train", "mlp_digits", *chosen, *words]
            gan = assemble(parsed(given)).gan
            if words[0] == "--objective":  # another than it is
                assert not isinstance(gan.objective, objectives.NAMES[name])


@pytest.mark.parametrize("changed", [
    {}, {"spread": 0.2}, {"d_loss": 0.05}, {"g_gradient": 0.01}, {"spread": 0.5, "d_loss": 0.1},
])  # fmt: skip
def test_what_is_merely_small_is_not_told(changed):
    assert alarms([*HEALTHY, row(8, **changed)], BOUNDS, PLAIN) == []


def test_a_generator_that_has_just_begun_is_given_time():
    grey = [row(epoch, spread=0.01 * epoch) for epoch in range(1, 9)]  # growing, 800 steps
    assert alarms(grey, BOUNDS, PLAIN) == []
    late = [*grey, row(9, spread=0.1), row(10, spread=0.1)]
    assert len(alarms(late, BOUNDS, PLAIN)) == 1  # 1,000 steps


def test_a_failure_is_told_once_until_it_has_been_gone_for_five_epochs():
    told = []
    history = []
    for epoch, low in enumerate([0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1], 1):
        history.append(row(epoch, d_loss=0.001 if low else 1.0))
        told.append(len(alarms(history, BOUNDS, PLAIN)))
    assert told == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("objective, value", [
    ("non_saturating", 2 * np.log(2)), ("least_squares", 0.5), ("hinge", 2.0),
    ("relativistic_pairing", np.log(2)),
])  # fmt: skip
def test_the_bounds_of_ds_loss(objective, value):
    gan = small_gan(objective=objective, update="joint", d_loss_weight=0.5)
    least, indifferent = d_bounds(gan)
    assert indifferent == pytest.approx(value / 2, rel=1e-6)
    assert least == pytest.approx(0, abs=1e-6)


def test_real_images_keep_their_labels(images, monkeypatch):
    """An objective that pairs them with fakes shows D both."""
    gan = small_gan(classes=3, update="joint", objective="relativistic_pairing")
    labels = np.arange(20) % 3
    viewer = Viewer(gan, datasets.Batches((images, labels), (8, 8, 1), classes=3))
    seen = []

    def noted(gan, D, G, z, real):
        seen.append(real)
        return generator_update(gan, D, G, z, real)

    monkeypatch.setattr(watch, "generator_update", noted)
    viewer.measure(viewer.images())
    ((shown, theirs),) = seen
    scaled = images.reshape(20, 64) / 127.5 - 1
    places = [np.abs(scaled - mg.to_numpy(one).reshape(64)).sum(axis=1).argmin() for one in shown]
    assert mg.to_numpy(theirs).tolist() == labels[places].tolist() and len(set(places)) == 16


def entropy(p):
    return -p * np.log(p) - (1 - p) * np.log(1 - p)


@pytest.mark.parametrize("recipe, least", [
    ({"real_targets": (0.9, 0.9)}, entropy(0.9)),
    ({"real_targets": (0.8, 1.0), "fake_targets": (0.0, 0.4)}, entropy(0.9) + entropy(0.2)),
    ({"flip_labels": 0.1}, 2 * entropy(0.1)),
    # falling in the logit up to the clip c: 2 (softplus(c) - 1.05 c)
    ({"real_targets": (1.0, 1.1), "fake_targets": (-0.1, 0.0),
      "objective": {"name": "non_saturating", "logit_clip": 16.0}}, -1.6),
    ({"real_targets": (1.0, 1.1), "fake_targets": (-0.1, 0.0),
      "objective": {"name": "non_saturating", "logit_clip": 30.0}}, -3.0),
])  # fmt: skip
def test_the_least_loss_is_that_of_the_recipes_targets(recipe, least):
    assert d_bounds(small_gan(**recipe))[0] == pytest.approx(least, abs=2e-4)


def test_a_loss_that_falls_without_end_is_never_pinned():
    bounds = d_bounds(small_gan(objective="wasserstein"))
    assert alarms([row(1, d_loss=-1e6)], bounds, objectives.get("wasserstein")) == []
    # from logits the cross-entropy with a target above 1 has no minimum
    beyond = d_bounds(small_gan(real_targets=(1.0, 1.1), fake_targets=(-0.1, 0.0)))
    assert beyond == (-np.inf, pytest.approx(2 * np.log(2)))
    assert alarms([row(1, d_loss=-2.5)], beyond, PLAIN) == []


@pytest.mark.parametrize("options", [
    {}, {"classes": 3}, {"update": "joint", "objective": "relativistic_pairing"},
    {"update": "simultaneous", "instance_noise": (0.1, 10)},
])  # fmt: skip
def test_measuring_moves_nothing(images, options):
    gan = small_gan(**options)
    data = datasets.Batches((images, np.arange(20) % 3), (8, 8, 1), classes=gan.classes)
    viewer = Viewer(gan, data)
    before = [gan.generator.params.flat.copy(), gan.generator.state.flat.copy(),
              gan.D.params.flat.copy(), gan.step_count]  # fmt: skip
    found = viewer.measure(viewer.images())
    after = [gan.generator.params.flat, gan.generator.state.flat, gan.D.params.flat, gan.step_count]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert found["spread"] > 0 and found["g_gradient"] > 0
    assert found == viewer.measure(viewer.images())
    assert gan.update_g.__func__ is mg.GAN.update_g


def test_the_gradient_is_the_one_that_moves_g(images):
    """SGD at rate 1 moves G by exactly its gradient."""
    gan = small_gan(g_optimizer={"name": "sgd", "learning_rate": 1.0}, update="joint")
    viewer = Viewer(gan, datasets.Batches(images, (8, 8, 1)))
    measured = viewer.measure(viewer.images())["g_gradient"]
    before = gan.generator.params.flat.copy()
    real = images[:1].astype(np.float32)
    generator_update(gan, gan.D, gan.generator, viewer.latents[::4][:16], real)
    moved = np.linalg.norm((gan.generator.params.flat - before).astype(float))
    assert measured == pytest.approx(moved, rel=1e-4)


whole_runs = pytest.mark.cpu("a hundred steps, whose kernels others test")


def train_mlp(g_rate, d_rate, **recipe):
    """(warnings, history) of ten epochs of the mlp pair, made small, on 500 digits."""
    adam = {"name": "adam", "beta_1": 0.5, "form": "torch"}
    networks = mg.models.mlp_digits(sizes=((64, 128), (128, 64)), seed=0)
    rates = {"g_optimizer": {**adam, "learning_rate": g_rate},
             "d_optimizer": {**adam, "learning_rate": d_rate}}  # fmt: skip
    gan = mg.GAN(
        *networks, **{**mg.recipes.mlp_digits, "batch_size": 50, **rates, **recipe}, seed=0
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = mg.train(gan, mg.datasets.digits()[0][::20], epochs=10, progress=False)
    return [str(warning.message) for warning in caught], history


@whole_runs
def test_a_run_made_to_collapse_is_told_and_goes_on():
    """G runs after a D that hardly moves: one image is enough to please it."""
    told, history = train_mlp(3e-3, 1e-6)
    assert len(told) == 1 and "mode collapse" in told[0]
    assert history[-1]["spread"] < 0.1 < history[0]["spread"] and len(history) == 10


@whole_runs
def test_a_d_that_is_always_right_is_told():
    """A fast D, and the loss whose gradient it takes away from G."""
    told, history = train_mlp(1e-5, 1e-2, objective="minimax")
    assert any("D's loss is pinned at its least" in line for line in told)
    assert any("the gradient that reaches G has vanished" in line for line in told)
    assert history[-1]["d_loss"] < 1e-3


@whole_runs
def test_a_healthy_run_is_not_warned_about():
    told, history = train_mlp(5e-4, 5e-4)
    assert told == [] and min(row["spread"] for row in history) > 0.15
