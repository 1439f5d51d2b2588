"""The losses of the reference recipes: values, gradients, targets and the clip of dcgan64."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigan as mg
from tests.model_tables import NAMES
from tests.recipe_helpers import bce, images, make, only, spied

# losses and targets


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_those_of_the_recipe(name):
    gan = make(name)
    events = spied(gan)
    for _ in range(2):
        events.clear()
        logs = {k: float(v) for k, v in gan.train_step(images(gan, 8)).items()}
        D, (g,) = only(events, "D"), only(events, "g_loss")
        if name in ("digits", "flowers"):
            d_loss = bce(D[0].y, 1) + bce(D[1].y, 0)  # each its own mean, each its own update
            d_real, d_fake, g_logits = D[0].y, D[1].y, D[2].y
        elif name == "dcgan64":
            (found,) = only(events, "d_loss")
            d_loss = (bce(D[0].y, found.real) + bce(D[1].y, found.fake)) / 2
            d_real, d_fake, g_logits = D[0].y, D[1].y, D[1].y  # the same forward pass
        else:
            # the mean over one batch of 16 is half the sum of two means over 8
            d_loss = bce(D[0].y, np.repeat([[1.0], [0.0]], 8, axis=0))
            d_real, d_fake, g_logits = D[0].y[:8], D[0].y[8:], D[1].y
        assert math.isclose(logs["d_loss"], d_loss, rel_tol=1e-12)
        assert np.array_equal(g.logits, g_logits)
        assert math.isclose(logs["g_loss"], bce(g_logits, 1), rel_tol=1e-12)
        assert math.isclose(logs["d_real"], (1 / (1 + np.exp(-d_real))).mean(), rel_tol=1e-12)
        assert math.isclose(logs["d_fake"], (1 / (1 + np.exp(-d_fake))).mean(), rel_tol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_losses(name):
    """dlogits as the cross-entropy has them: (p - t)/n, with the recipe's weight."""
    gan = make(name)
    events = spied(gan)
    gan.train_step(images(gan, 8))
    backward = only(events, "D backward")
    D = only(events, "D")
    found = only(events, "d_loss")

    def expected(logits, target, weight=1.0):
        return weight * (1 / (1 + np.exp(-logits)) - target) / len(logits)

    if name in ("digits", "flowers"):
        wanted = [expected(D[0].y, 1), expected(D[1].y, 0), expected(D[2].y, 1)]
    elif name == "dcgan64":
        wanted = [expected(D[0].y, found[0].real, 0.5), expected(D[1].y, found[0].fake, 0.5)]
        wanted += [expected(D[1].y, 1)]
    else:
        both = [expected(D[0].y[:8], 1, 0.5), expected(D[0].y[8:], 0, 0.5)]
        wanted = [np.concatenate(both), expected(D[1].y, 1)]
    for e, dy in zip(backward, wanted, strict=True):
        assert np.allclose(e.dy, dy, rtol=1e-12, atol=0)


def test_targets_of_dcgan64_have_outward_noise():
    """Real 1 + 0.1 U(0,1), fake 0 - 0.1 U(0,1), for each image, new at each step."""
    gan = make("dcgan64", d_optimizer=mg.SGD(0.0), g_optimizer=mg.SGD(0.0))
    events = spied(gan)
    for _ in range(40):
        gan.train_step(images(gan, 8))
    real, fake = (
        np.concatenate([getattr(e, side).ravel() for e in only(events, "d_loss")])
        for side in ("real", "fake")
    )
    assert real.size == fake.size == 320
    for noise in ((real - 1) / 0.1, -fake / 0.1):
        assert noise.min() >= -1e-6 and noise.max() <= 1 + 1e-6
        assert noise.min() < 0.02 and noise.max() > 0.98
        distance = np.abs(np.sort(noise) - np.arange(320) / 320).max()
        assert distance < 2 / math.sqrt(320)
    assert len(np.unique(real)) > 315  # no target for a whole batch
    assert abs(np.corrcoef(real, fake)[0, 1]) < 0.25  # nor one noise for both sides


@pytest.mark.parametrize("name", [n for n in NAMES if n != "dcgan64"])
def test_targets_of_the_others_are_one_and_zero(name):
    gan = make(name)
    events = spied(gan)
    gan.train_step(images(gan, 4))
    for e in only(events, "d_loss"):
        assert np.all(np.asarray(e.real) == 1) and np.all(np.asarray(e.fake) == 0)


# the clip of dcgan64


CLIP = 16.118


def test_logit_clip_is_where_the_probability_was_clipped():
    clip = mg.recipes.dcgan64["objective"]["logit_clip"]
    assert clip == CLIP
    assert abs(clip - math.log((1 - 1e-7) / 1e-7)) < 1e-3


def test_logit_clip_stops_value_and_gradient():
    objective = make("dcgan64").objective
    inside = np.array([[-16.0], [-3.0], [0.0], [2.0], [16.0]])
    beyond = np.array([[-17.0], [-16.2], [16.2], [40.0], [1000.0]])
    real, fake = np.full((5, 1), 1.05), np.full((5, 1), -0.07)
    _, dreal, dfake = objective.d_loss(beyond, beyond, real, fake)
    assert not dreal.any() and not dfake.any()
    assert not objective.g_loss(beyond)[1].any()
    value, _, _ = objective.d_loss(beyond, beyond, real, fake)
    held = np.clip(beyond, -CLIP, CLIP)
    assert value == objective.d_loss(held, held, real, fake)[0]
    free = mg.NonSaturating()
    for side in (0, 1):
        pair = [None, None]
        pair[side] = inside
        one, other = (o.d_loss(*pair, real, fake) for o in (objective, free))
        assert one[0] == other[0]
        assert np.array_equal(one[1 + side], other[1 + side])
        assert (one[1 + side] != 0).all()
    assert np.array_equal(objective.g_loss(inside)[1], free.g_loss(inside)[1])


def long_run(**changes):
    """300 steps in which D learns 50 times as fast as published, on images easy to tell apart."""
    d = {**mg.recipes.dcgan64["d_optimizer"], "learning_rate": 1e-2}
    network = {"latent_dim": 4, "dropout": 0.0}
    gan = make("dcgan64", "float32", network=network, d_optimizer=d, **changes)
    events = spied(gan)
    real = np.sign(images(gan, 2)).astype(np.float32)
    worst = 0.0
    losses = []
    for _ in range(300):
        events.clear()
        losses.append([float(v) for v in gan.train_step(real).values()])
        worst = max(worst, *(np.abs(e.y).max() for e in only(events, "D")))
    finite = all(np.isfinite(m.params.flat).all() for m in (gan.generator, gan.discriminator))
    return np.array(losses), float(worst), finite


def test_long_run_of_dcgan64_stays_bounded():
    """With targets beyond 0 and 1 only the clip gives D's loss a lower bound."""
    losses, logits, finite = long_run()
    assert finite and np.isfinite(losses).all()
    lowest = math.log1p(math.exp(CLIP)) - 1.1 * CLIP  # of one side, at the furthest target
    assert losses[:, 0].min() > lowest
    assert losses[:, 1].max() < CLIP + 1e-3
    assert CLIP < logits < 3 * CLIP  # D did get there, and its momentum carries it little further
    free, further, _ = long_run(objective="non_saturating")
    assert free[:, 0].min() < 10 * lowest and further > 10 * CLIP
