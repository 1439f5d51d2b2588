"""The reference recipes, by their effects: who moves when, on which batch, towards which target.

Each test trains a network of the reference's own architecture with few channels, and looks at the
forward passes, the optimizers' steps, the losses and the bits of the weights.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import minigan as mg
from minigan import recipes
from minigan.random import Key

NAMES = ("digits", "flowers", "dcgan64", "upsample64", "mlp_digits")
NARROW = {
    "digits": ((3, 4, 5), (4, 3)),
    "flowers": ((3, 2, 4, 3, 2), (2, 3, 2, 4, 3)),
    "dcgan64": ((5, 4, 3, 2), (2, 3, 4, 5)),
    "upsample64": ((7, 3, 2, 4), (3, 2, 4, 5)),
    "mlp_digits": ((5, 6, 7, 8), (7, 6, 5)),
}
STATISTICS = ("dcgan64", "upsample64", "mlp_digits")  # those whose generator has a BatchNorm


def make(name: str, dtype: str = "float64", network=None, **changes) -> mg.GAN:
    """The recipe on its network, narrow; `changes` are arguments of mg.GAN."""
    pair = getattr(mg.models, name)(
        sizes=NARROW[name], dtype=dtype, seed=3, **({"latent_dim": 6} | (network or {}))
    )
    return mg.GAN(*pair, **{"seed": 4, **getattr(mg.recipes, name), **changes})


def images(gan: mg.GAN, n: int) -> np.ndarray:
    """Images in the range of the network's generator."""
    low, high = gan.image_range
    shape = gan.generator.output_shape
    return low + (high - low) * np.random.default_rng(0).random((n, *shape))


class Event:
    """One thing that happened in a step."""

    def __init__(self, what: str, n: int = 0, mode: str = "", **found) -> None:
        self.what, self.n, self.mode = what, n, mode
        self.__dict__.update(found)

    def __repr__(self) -> str:
        return " ".join(filter(None, (self.what, str(self.n or ""), self.mode)))


def spied(gan: mg.GAN) -> list[Event]:
    """The list to which every forward pass, commit, step and loss of this GAN is appended."""
    events: list[Event] = []

    def watch_network(name, model, owner):
        forward, commit, backward = model.forward, model.commit, model.backward

        def watched_forward(x, training=True, rng=None, keep=True):
            y, cache = forward(x, training=training, rng=rng, keep=keep)
            mode = "training" if training else "inference"
            found = {"x": x, "y": y.copy(), "kept": keep, "weights": owner.params.flat.copy()}
            events.append(Event(name, len(y), mode, **found))
            return y, cache

        def watched_backward(dy, cache, wrt="both"):
            found = {"dy": dy, "wrt": wrt, "weights": owner.params.flat.copy()}
            events.append(Event(f"{name} backward", len(dy), wrt, **found))
            return backward(dy, cache, wrt=wrt)

        def watched_commit(cache):
            events.append(Event(f"{name} statistics"))
            commit(cache)

        model.forward, model.commit, model.backward = (
            watched_forward,
            watched_commit,
            watched_backward,
        )

    def watch_optimizer(name, optimizer):
        step = optimizer.step

        def watched_step(params, grads):
            before = params.flat.copy()
            step(params, grads)
            found = {"params": params, "grads": grads, "moved": params.flat - before}
            events.append(Event(f"{name} step", **found))

        optimizer.step = watched_step

    def watch_losses(objective):
        d_loss, g_loss = objective.d_loss, objective.g_loss

        def watched_d_loss(real, fake, real_target=1.0, fake_target=0.0):
            result = d_loss(real, fake, real_target, fake_target)
            targets = {"real": real_target, "fake": fake_target}
            logits = {"real_logits": real, "fake_logits": fake}
            side = "both" if real is not None and fake is not None else ""
            side = side or ("real" if fake is None else "fake")
            events.append(Event("d_loss", 0, side, **targets, **logits))
            return result

        def watched_g_loss(fake, *rest, **more):
            events.append(Event("g_loss", 0, "", logits=fake))
            return g_loss(fake, *rest, **more)

        objective.d_loss, objective.g_loss = watched_d_loss, watched_g_loss

    watch_network("G", gan.generator, gan.generator)
    watch_network("D", gan.D, gan.discriminator)
    watch_optimizer("D", gan.d_optimizer)
    watch_optimizer("G", gan.g_optimizer)
    watch_losses(gan.objective)
    return events


def only(events: list[Event], *kinds: str) -> list[Event]:
    return [e for e in events if e.what in kinds]


def passes(events: list[Event]) -> list[str]:
    """Forward passes and optimizer steps, in order, as text."""
    return [str(e) for e in only(events, "G", "D", "G step", "D step")]


def bce(logits: np.ndarray, target) -> float:
    """-t log p - (1-t) log(1-p) with p = sigmoid(l), a mean, in the plainest form."""
    p = 1 / (1 + np.exp(-logits))
    return float(np.mean(-target * np.log(p) - (1 - target) * np.log(1 - p)))


# order, batches and sides


ORDER = {
    # D on the real batch, a step; D on half as many fakes, a step; G on a fresh full batch
    "digits": [
        "D 8 training", "D step", "G 4 training", "D 4 training", "D step",
        "G 8 training", "D 8 training", "G step",
    ],
    # one z and one forward pass of each, then both steps
    "dcgan64": ["G 8 training", "D 8 training", "D 8 training", "D step", "G step"],
    # one batch of real images and fakes; G in inference mode for D
    "upsample64": [
        "G 8 inference", "D 16 training", "D step", "G 8 training", "D 8 training", "G step",
    ],
    "mlp_digits": [
        "G 8 training", "D 16 training", "D step", "G 8 training", "D 8 training", "G step",
    ],
}  # fmt: skip
ORDER["flowers"] = ORDER["digits"]


@pytest.mark.parametrize("name", NAMES)
def test_order_and_batches(name):
    gan = make(name)
    events = spied(gan)
    for _ in range(2):
        events.clear()
        gan.train_step(images(gan, 8))
        assert passes(events) == ORDER[name]
    assert gan.d_optimizer.t == 2 * ORDER[name].count("D step")
    assert gan.g_optimizer.t == 2


@pytest.mark.parametrize("name, real, fake", [("digits", 256, 128), ("flowers", 256, 128)])
def test_published_batch_of_the_separate_recipes(name, real, fake):
    recipe = getattr(mg.recipes, name)
    assert recipe["batch_size"] == real
    gan = make("digits", "float32", **recipe)
    events = spied(gan)
    gan.train_step(images(gan, recipe["batch_size"]))
    assert [e.n for e in only(events, "D")] == [real, fake, real]
    assert [e.n for e in only(events, "G")] == [fake, real]


def test_published_batches_and_epochs():
    sizes = {"digits": 256, "flowers": 256, "dcgan64": 128, "upsample64": 128, "mlp_digits": 128}
    assert {name: getattr(mg.recipes, name)["batch_size"] for name in NAMES} == sizes
    assert make("upsample64").batch_size == 128
    assert mg.recipes.upsample64["epochs"] == 100


@pytest.mark.parametrize("name", NAMES)
def test_each_network_sees_what_the_recipe_says(name):
    """D's input is the real batch and G's very output; every forward pass uses the weights of its
    moment; G's passes take different z, and fresh ones at each step."""
    gan = make(name)
    events = spied(gan)
    real = images(gan, 8)
    latents = []
    for _ in range(2):
        events.clear()
        gan.train_step(real)
        G, D = only(events, "G"), only(events, "D")
        latents += [e.x for e in G]
        if name in ("digits", "flowers"):
            assert np.array_equal(D[0].x, real)
            assert np.array_equal(D[1].x, G[0].y)
            assert np.array_equal(D[2].x, G[1].y)
        elif name == "dcgan64":
            assert np.array_equal(D[0].x, real)
            assert np.array_equal(D[1].x, G[0].y)
        else:
            assert np.array_equal(D[0].x, np.concatenate([real, G[0].y]))
            assert np.array_equal(D[1].x, G[1].y)
    for i, z in enumerate(latents):
        assert all(not np.isin(z, other).any() for other in latents[:i])


@pytest.mark.parametrize("name", NAMES)
def test_one_network_stands_still_while_the_other_moves(name):
    """To the bit, and the step of each moves every one of its parameters."""
    gan = make(name)
    events = spied(gan)
    d_moments, g_moments = [], []
    gan.train_step(images(gan, 8))
    for e in only(events, "D step", "G step"):
        side, other = (gan.discriminator, gan.generator)[:: 1 if e.what == "D step" else -1]
        assert e.params is side.params  # and so the other network is out of the optimizer's reach
        assert not np.shares_memory(side.params.flat, other.params.flat)
        for key, g in e.grads.items():
            if key not in side.null_gradients():
                assert np.abs(g).max() > 0, key
        (d_moments if e.what == "D step" else g_moments).append(np.mean(e.moved != 0))
    # a ReLU or a clipped border may leave a few weights without a gradient in one small batch
    assert min(d_moments) > 0.9 and min(g_moments) > 0.8
    # every forward pass of a network between two of its steps saw the same bits
    for side in "GD":
        weights = None
        for e in events:
            if e.what == f"{side} step":
                weights = None
            elif e.what in (side, f"{side} backward"):
                assert weights is None or np.array_equal(weights, e.weights)
                weights = e.weights


@pytest.mark.parametrize("name", NAMES)
def test_generator_step_does_not_depend_on_how_it_moves(name):
    """D after a step is the same to the bit whether G stands still or moves."""
    ends = []
    for rate in (0.0, 0.1):
        gan = make(name, g_optimizer=mg.SGD(rate))
        gan.train_step(images(gan, 4))
        D, G = gan.discriminator, gan.generator
        ends.append((D.params.flat.copy(), D.state.flat.copy(), G.params.flat.copy()))
    assert np.array_equal(ends[0][0], ends[1][0])
    assert np.array_equal(ends[0][1], ends[1][1])
    assert not np.array_equal(ends[0][2], ends[1][2])


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_is_computed_that_nobody_uses(name):
    """D is frozen in G's step: it gives the images' gradient only; D's own step needs none."""
    gan = make(name)
    events = spied(gan)
    gan.train_step(images(gan, 4))
    wanted = {
        "digits": ["D params", "D params", "D input", "G params"],
        "dcgan64": ["D params", "D params", "D input", "G params"],
        "upsample64": ["D params", "D input", "G params"],
    }
    wanted |= {"flowers": wanted["digits"], "mlp_digits": wanted["upsample64"]}
    found = only(events, "D backward", "G backward")
    assert [f"{e.what[0]} {e.mode}" for e in found] == wanted[name]
    kept = [e.kept for e in only(events, "G")]
    assert kept == ([True] if name == "dcgan64" else [False, True])


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


# running statistics


@pytest.mark.parametrize("name", NAMES)
def test_how_often_the_running_statistics_move(name):
    """dcgan64: D's twice, G's once. upsample64: G's once, its fakes for D are made in inference
    mode. mlp_digits: G's twice, once for each forward pass in training mode, as in PyTorch."""
    gan = make(name)
    events = spied(gan)
    g_before = gan.generator.state.flat.copy()
    d_before = gan.discriminator.state.flat.copy()
    gan.train_step(images(gan, 4))
    moves = {
        side: sum(e.what == f"{side} statistics" for e in events)
        for side, model in (("G", gan.generator), ("D", gan.discriminator))
        if model.state
    }
    wanted = {
        "dcgan64": {"G": 1, "D": 2},
        "upsample64": {"G": 1},
        "mlp_digits": {"G": 2},
    }
    assert moves == wanted.get(name, {})
    assert not np.array_equal(g_before, gan.generator.state.flat) or "G" not in moves
    assert not np.array_equal(d_before, gan.discriminator.state.flat) or "D" not in moves


def test_running_statistics_of_dcgan64_are_those_of_real_then_fake():
    gan = make("dcgan64")
    real = images(gan, 4)
    z = np.random.default_rng(1).standard_normal((4, 6))
    D, G = gan.discriminator.astype("float64"), gan.generator.astype("float64")
    caches = []
    fakes, g_cache = G.forward(z, rng=Key(4, "dropout, generator", 0))
    caches.append(D.forward(real, rng=Key(4, "dropout, real", 0))[1])
    caches.append(D.forward(fakes, rng=Key(4, "dropout, fake", 0))[1])
    for cache in caches:
        D.commit(cache)
    G.commit(g_cache)
    gan.train_step(real, latents=(z, None))
    assert np.array_equal(gan.discriminator.state.flat, D.state.flat)
    assert np.array_equal(gan.generator.state.flat, G.state.flat)


def test_fakes_of_upsample64_come_from_inference_mode():
    gan = make("upsample64")
    for _ in range(3):  # away from the first statistics
        gan.train_step(images(gan, 4))
    z = np.random.default_rng(1).standard_normal((4, 6))
    wanted = gan.generator.predict(z)
    events = spied(gan)
    state = gan.generator.state.flat.copy()
    gan.train_step(images(gan, 4), latents=(z, z))
    first, second = only(events, "G")
    assert np.array_equal(first.y, wanted)
    assert not np.allclose(first.y, second.y, atol=1e-3)
    assert not np.array_equal(state, gan.generator.state.flat)


# dropout, optimizers, latents


@pytest.mark.parametrize("name", ["digits", "flowers", "dcgan64"])
def test_dropout_is_active_in_every_pass_of_d(name):
    """In G's step too, and with a new mask in each pass and each step."""
    gan = make(name, network={"dropout": 0.5})
    masks = []
    for layer in gan.D.layers:
        if isinstance(layer, mg.Dropout):

            def compute(x, training, rng, keep, real=layer.compute):
                y, cache = real(x, training, rng, keep)
                masks.append(cache.saved[0])
                return y, cache

            layer.compute = compute
    steps = 2
    for _ in range(steps):
        gan.train_step(images(gan, 8))
    layers = sum(isinstance(layer, mg.Dropout) for layer in gan.D.layers)
    assert len(masks) == steps * layers * (2 if name == "dcgan64" else 3)
    for i, mask in enumerate(masks):
        assert set(np.unique(mask)) == {0.0, 2.0}
        for other in masks[:i]:
            n = min(len(mask), len(other))
            if mask.shape[1:] == other.shape[1:]:
                assert np.mean(mask[:n] == other[:n]) < 0.65


@pytest.mark.parametrize("name", NAMES)
def test_first_adam_steps_follow_the_published_formula(name):
    """p -= lr sqrt(1-b2^t)/(1-b1^t) m/(sqrt(v)+1e-7), or PyTorch's form with 1e-8, for t = 1..4."""
    torch = name == "mlp_digits"
    rate, b1, b2, eps = (1e-5, 0.9, 0.999, 1e-8) if torch else (2e-4, 0.5, 0.999, 1e-7)
    gan = make(name)
    events = spied(gan)
    for _ in range(4):
        gan.train_step(images(gan, 8))
    for side in "DG":
        m = v = 0.0
        for t, e in enumerate(only(events, f"{side} step"), 1):
            g = e.grads.flat
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            if torch:
                moved = -rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
            else:
                moved = -rate * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
            assert np.allclose(e.moved, moved, rtol=1e-6, atol=1e-9 * rate), (side, t)


def test_optimizers_are_separate():
    """One dictionary in a recipe makes two optimizers, and another GAN two more."""
    made = [make("digits") for _ in range(2)]
    optimizers = [o for gan in made for o in (gan.d_optimizer, gan.g_optimizer)]
    assert len({id(o) for o in optimizers}) == 4
    made[0].train_step(images(made[0], 4))
    assert [o.t for o in optimizers] == [2, 1, 0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_latents_are_normal(name):
    gan = make(name, "float32", network={"latent_dim": 50})
    events = spied(gan)
    for _ in range(2):
        gan.train_step(images(gan, 8))
    z = np.concatenate([e.x.ravel() for e in only(events, "G")]).astype(float)
    n = z.size
    assert n >= 800
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.std() - 1) < 5 / math.sqrt(2 * n)
    assert z.max() > 2 and z.min() < -2


def test_uniform_latents_are_an_option_of_upsample64():
    gan = make("upsample64", "float32", network={"latent_dim": 50}, latents="uniform")
    events = spied(gan)
    for _ in range(2):
        gan.train_step(images(gan, 8))
    z = np.sort(np.concatenate([e.x.ravel() for e in only(events, "G")]))
    assert -1 <= z[0] < -0.98 and 0.98 < z[-1] <= 1
    assert np.abs((z + 1) / 2 - np.arange(z.size) / z.size).max() < 2 / math.sqrt(z.size)


# recipes are data


@pytest.mark.parametrize("name", recipes.NAMES)
def test_a_recipe_is_json(name):
    recipe = getattr(mg.recipes, name)
    read = json.loads(json.dumps(recipe))
    assert json.dumps(read) == json.dumps(recipe)
    pair = getattr(mg.models, name)
    assert mg.GAN(*pair(seed=0), **read).config() == mg.GAN(*pair(seed=0), **recipe).config()


def test_get_returns_a_copy():
    """Changing one rate of a copy changes that rate only."""
    mine = recipes.get("digits")
    mine["batch_size"] = 1
    mine["g_optimizer"]["learning_rate"] = 7.0
    try:
        assert mg.recipes.digits["batch_size"] == 256
        assert mine["d_optimizer"]["learning_rate"] == 2e-4
        for name in ("digits", "flowers", "dcgan64", "upsample64"):
            assert getattr(mg.recipes, name)["g_optimizer"]["learning_rate"] == 2e-4
    finally:
        mine["g_optimizer"]["learning_rate"] = 2e-4
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        recipes.get("digit")


@pytest.mark.parametrize("name, classes", [*((name, None) for name in NAMES), ("digits", 3)])
def test_config_makes_the_same_gan(name, classes):
    """Its config, through JSON, gives the same two steps to the bit; another seed does not."""
    network = {"classes": classes}

    def steps(gan):
        labels = np.arange(3)
        logs = [gan.train_step(images(gan, 3), labels) for _ in range(2)]
        pair = gan.generator, gan.discriminator
        arrays = [a for m in pair for a in (m.params.flat, m.state.flat)]
        return [[float(v) for v in log.values()] for log in logs], arrays

    first = make(name, "float32", network=network)
    config = json.loads(json.dumps(first.config()))
    again = make(name, "float32", network=network)
    again = mg.GAN(again.generator, again.discriminator, **config)
    other = make(name, "float32", network=network, seed=5)
    (logs, arrays), (logs2, arrays2), (logs3, _) = map(steps, (first, again, other))
    assert logs == logs2
    assert all(np.array_equal(a, b) for a, b in zip(arrays, arrays2, strict=True))
    assert logs != logs3
    assert again.config() == first.config()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_stay_in_the_models_dtype(name, dtype):
    """Images may come in any float; everything after the door has the model's dtype."""
    gan = make(name, dtype)
    events = spied(gan)
    gan.train_step(images(gan, 4))
    assert {e.x.dtype.name for e in only(events, "G", "D")} == {dtype}
    assert {e.y.dtype.name for e in only(events, "G", "D")} == {dtype}
    for e in only(events, "G step", "D step"):
        assert e.grads.flat.dtype == e.params.flat.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_conditional_form_gives_labels_to_both_networks(name):
    """Real images with their own labels, fakes with the labels that G was given."""
    gan = make(name, network={"classes": 3})
    events = spied(gan)
    labels = np.array([2, 2, 1, 2])
    gan.train_step(images(gan, 4), labels)
    G, D = only(events, "G"), only(events, "D")
    fakes = [e.x[1] for e in G]
    assert all(f.dtype.kind == "i" and 0 <= f.min() and f.max() <= 2 for f in fakes)
    if name in ("digits", "flowers"):
        wanted = [labels, fakes[0], fakes[1]]
    elif name == "dcgan64":
        wanted = [labels, fakes[0]]
    else:
        wanted = [np.concatenate([labels, fakes[0]]), fakes[1]]
    for e, given in zip(D, wanted, strict=True):
        assert np.array_equal(e.x[1], given)
    for e in only(events, "G step", "D step"):
        (key,) = (k for k in e.grads if k.endswith("embeddings"))
        assert e.grads[key].any()
