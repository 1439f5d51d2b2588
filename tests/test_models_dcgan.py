"""The network for images of any size."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg


@pytest.mark.parametrize("size", [28, 32, 40, 48, 56, 64, 80, 96, 128])
def test_maps_double_from_4_to_8_pixels_to_the_size(size):
    g, d = mg.models.dcgan(size=size, width=4)
    ups = [layer for layer in g.layers if isinstance(layer, mg.Conv2DTranspose)]
    downs = [layer for layer in d.layers if isinstance(layer, mg.Conv2D)]
    sides = [layer.input_shape[0] for layer in ups]
    assert 4 <= sides[0] <= 8 and [2 * n for n in sides] == [*sides[1:], size]
    widths = [layer.input_shape[2] for layer in ups]
    assert widths == [4 * 2**i for i in reversed(range(len(ups)))]
    assert [layer.filters for layer in downs] == widths[::-1]
    assert downs[-1].output_shape[:2] == (sides[0], sides[0])
    assert g.output_shape == d.input_shape == (size, size, 3) and d.output_shape == (1,)


def test_published_rules():
    """Radford et al. (2016): no bias of pixels, N(0, 0.02), ReLU in G, LeakyReLU in D, tanh."""
    g, d = mg.models.dcgan(size=64, width=16)
    kinds = [type(layer).__name__ for layer in g.layers]
    assert kinds.count("BatchNorm") == kinds.count("ReLU") == 4 and "LeakyReLU" not in kinds
    assert [type(layer).__name__ for layer in d.layers].count("BatchNorm") == 3
    assert g.last_activation() == "tanh" and d.last_activation() is None
    for model in (g, d):
        for name, p in model.params.items():
            if name.endswith("kernel"):
                assert p.std() == pytest.approx(0.02, rel=0.2), name


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_classes_and_channels(classes, channels):
    g, d = mg.models.dcgan(size=32, width=2, channels=channels, classes=classes, latent_dim=5)
    gan = mg.GAN(g, d, update="joint")
    assert gan.classes == classes and gan.latent_dim == 5
    real = np.zeros((4, 32, 32, channels), np.float32)
    gan.train_step(real, None if classes is None else np.arange(4) % 3)
    labels = None if classes is None else [2, 2]
    assert gan.sample(2, labels=labels).shape == (2, 32, 32, channels)
    if classes:
        z = gan.noise(1, gan.key("z"))
        a, b = (gan.sample(1, z=z, labels=[label]) for label in (0, 1))
        assert np.abs(a - b).max() > 1e-6
        logits = [gan.discriminator.predict((real[:1], np.array([c]))) for c in (0, 1)]
        assert logits[0] != logits[1]


@pytest.mark.parametrize("size", [4, 6, 30, 33, 50, 100])
def test_sizes_that_do_not_halve_are_refused(size):
    with pytest.raises(ValueError, match="28, 32, 48, 64, 80, 96 and 128 can"):
        mg.models.dcgan(size=size)


def test_gradients_of_both_networks():
    for model in mg.models.dcgan(size=16, width=2, channels=1, latent_dim=3, dropout=0.0):
        report = mg.check_gradients(model, model.input_shape)
        assert report.ok, str(report)


def test_clear_digits_is_one_of_them():
    """The same layers as dcgan makes for 28 pixels, with one halving more in D."""
    g, _ = mg.models.clear_digits()
    same, _ = mg.models.dcgan(size=28, channels=1, classes=10, latent_dim=64)
    assert {k: p.shape for k, p in g.params.items()} == {k: p.shape for k, p in same.params.items()}


def test_clear_digits_without_labels():
    g, d = mg.models.clear_digits(classes=None, sizes=((4, 2), (2, 3)), latent_dim=5)
    assert (g.input_shape, d.input_shape) == ((5,), (28, 28, 1))
    assert mg.GAN(g, d).classes is None
