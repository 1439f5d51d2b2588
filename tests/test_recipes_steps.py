"""The steps of the reference recipes: who moves when, on which batch, drawn from what.

Each test trains a network of the reference's own architecture with few channels, and looks at the
forward passes, the optimizers' steps and the bits of the weights.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigan as mg
from minigan.random import Key
from tests.model_tables import NAMES
from tests.recipe_helpers import images, make, only, passes, spied

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
                masks.append(mg.to_numpy(cache.saved[0]))
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
