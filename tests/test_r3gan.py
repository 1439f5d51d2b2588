"""The residual networks after R3GAN."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan.r3gan import GAIN, residual_block
from tests.helpers import draw


def kinds(model):
    """The layers of a network, containers opened."""
    for layer in model.layers:
        yield type(layer).__name__
        if hasattr(layer, "layers"):
            yield from kinds(layer)


@pytest.mark.parametrize("size", [8, 28, 32, 48, 80, 128])
def test_maps_double_to_the_size_and_halve_back(size):
    g, d = mg.models.r3gan(size=size, width=2, channels=3)
    ups, downs = ([b.output_shape for b in m.layers if isinstance(b, mg.Parallel)] for m in (g, d))
    assert downs == [(h, w, c // 2) for h, w, c in reversed(ups)] and len(downs) >= 2
    for large, small in zip(downs, downs[1:], strict=False):
        assert (2 * small[0], small[2]) == (large[0], 2 * large[2])
    assert downs[0] == (size, size, 2) and 4 <= downs[-1][0] <= 8
    assert g.output_shape == d.input_shape == (size, size, 3) and d.output_shape == (1,)


def test_the_papers_rules():
    """No normalisation, bilinear resampling, leaky ReLUs inside the blocks alone, fix-up start."""
    g, d = mg.models.r3gan(width=32, blocks=2, seed=0)
    for model in (g, d):
        names = list(kinds(model))
        assert "BatchNorm" not in names and "UpSampling2D" not in names
        assert names.count("Parallel") == 6 and names.count("LeakyReLU") == 12
        assert names.count("Resampling2D") == 2
        assert not any(isinstance(layer, mg.LeakyReLU) for layer in model.layers)
        for block in (b for b in model.layers if isinstance(b, mg.Parallel)):
            one, three, last = (b for b in block.layers[1].layers if isinstance(b, mg.Conv2D))
            assert not np.any(mg.to_numpy(last.params["kernel"])) and set(last.params) == {"kernel"}
            for conv in (one, three):  # a variance of GAIN/fan_in, through 6 blocks and m = 3
                kernel = mg.to_numpy(conv.params["kernel"])
                wanted = (GAIN / kernel[..., 0].size) ** 0.5 * 6 ** (-1 / (2 * 3 - 2))
                assert kernel.std() == pytest.approx(wanted, rel=0.1)


def test_a_block_starts_as_the_identity_and_keeps_its_gain():
    block = residual_block(64, 1)
    block.build((4, 4, 64), dtype="float64", key=mg.random.Key(0, "weights"))
    x = draw((8, 4, 4, 64))
    y, cache = block.forward(x)
    assert np.array_equal(y, x)
    dy = draw(x.shape, seed=1)
    assert np.array_equal(block.backward(dy, cache)[0], dy)
    h = x
    for layer in block.layers[1].layers[:2]:  # a convolution and its leaky ReLU keep E[h^2]
        h, _ = layer.forward(h)
    assert np.mean(h**2) == pytest.approx(np.mean(x**2), rel=0.15)


def test_a_convolution_1x1_and_resampling_change_places():
    """Why G convolves before it resamples, where the paper does it after."""
    conv, up = mg.Conv2D(3, 1), mg.Resampling2D(2)
    conv.build((5, 4, 6), dtype="float64", key=mg.random.Key(0, "weights"))
    conv.params["bias"][:] = [1, 2, 3]
    up.build((5, 4, 3), dtype="float64")
    wide = mg.Resampling2D(2)
    wide.build((5, 4, 6), dtype="float64")
    x = draw((2, 5, 4, 6))
    before = up.forward(conv.forward(x)[0])[0]
    late = mg.Conv2D(3, 1)
    late.build((10, 8, 6), dtype="float64")
    for name, value in conv.params.items():
        late.params[name][...] = value
    np.testing.assert_allclose(late.forward(wide.forward(x)[0])[0], before, atol=1e-14)


@pytest.mark.parametrize("classes", [None, 3])
def test_gradients_of_both_networks(classes):
    for model in mg.models.r3gan(size=8, width=2, latent_dim=3, classes=classes, dtype="float64"):
        model.params.flat[:] = 0.3 * draw(model.params.flat.shape)  # the blocks' last are no zeros
        report = mg.check_gradients(model)
        assert report.ok, str(report)


@pytest.mark.parametrize("classes", [None, 2])
def test_a_step_of_the_recipe_moves_every_weight(classes):
    g, d = mg.models.r3gan(size=8, width=2, channels=3, latent_dim=3, classes=classes)
    gan = mg.GAN(g, d, **mg.recipes.get("r3gan"))
    real = draw((6, 8, 8, 3), "float32").clip(-1, 1)
    labels = None if classes is None else np.arange(6) % 2
    for _ in range(3):  # the blocks' inner weights wait until their last ones are not zero
        before = [mg.to_numpy(m.params.flat).copy() for m in (g, d)]
        logs = gan.train_step(real, labels)
    for model, old in zip((g, d), before, strict=True):
        assert (mg.to_numpy(model.params.flat) != old).mean() > 0.99
    assert float(logs["penalty"]) > 0
    wanted = None if classes is None else [1, 1]
    assert gan.sample(2, labels=wanted).shape == (2, 8, 8, 3)


@pytest.mark.parametrize("classes", [None, 4])
def test_logits_start_of_unit_size(classes):
    d = mg.models.r3gan(width=8, classes=classes, seed=3)[1]
    x = mg.datasets.digits()[0][::50] / np.float32(127.5) - 1
    y = d.predict(x if classes is None else (x, np.arange(200) % classes))
    assert 0.3 < (mg.to_numpy(y) ** 2).mean() ** 0.5 < 3


def test_sizes_that_do_not_halve_are_refused():
    with pytest.raises(ValueError, match="r3gan: size=30 cannot be halved"):
        mg.models.r3gan(size=30)


def test_the_command_line_makes_it_for_any_size(tmp_path, monkeypatch):
    from minigan.run import assemble, cli

    def assembled(*words):
        return assemble.assemble(cli.parsed(["train", *words]))

    plan = assembled("r3gan", "--seed", "0")
    assert plan.name == "r3gan-digits28" and plan.gan.objective.pairs
    assert plan.gan.generator.output_shape == (28, 28, 1)
    plan = assembled("r3gan", "--size", "32", "--width", "4", "--conditional")
    assert plan.gan.generator.output_shape == (32, 32, 1) and plan.gan.classes == 10
    with pytest.raises(ValueError, match="r3gan: size=30 cannot be halved"):
        assembled("r3gan", "--size", "30")
