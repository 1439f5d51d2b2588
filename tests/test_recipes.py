"""The reference recipes as data: JSON, copies, configurations, dtypes and labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minigan as mg
from minigan import recipes
from tests.model_tables import NAMES
from tests.recipe_helpers import images, make, only, spied


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
