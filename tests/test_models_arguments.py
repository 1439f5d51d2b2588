"""The keyword arguments of the reference networks, and what leaves the networks."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan import models
from tests.model_tables import NAMES, NARROW, all_layers, narrow, reference


@pytest.mark.parametrize("name", NAMES)
def test_latent_dim(name):
    for n in (1, 7):
        generator, discriminator = narrow(name, latent_dim=n)
        assert generator.input_shape == (n,)
        z = np.random.default_rng(0).standard_normal((2, n)).astype(np.float32)
        images = generator.predict(z)
        assert images.shape == (2, *discriminator.input_shape)
        for i in range(n):  # every latent number reaches the image
            moved = z.copy()
            moved[0, i] += 1
            changed = generator.predict(moved)
            assert not np.array_equal(changed[0], images[0])
            assert np.allclose(changed[1], images[1], rtol=0, atol=1e-6)
    assert narrow(name)[0].input_shape == ((64,) if name == "mlp_digits" else (100,))


@pytest.mark.parametrize("name", NAMES)
def test_dropout(name):
    """A rate of 0 switches it off in D, another rate drops that share of the numbers."""
    rng = np.random.default_rng(0)
    plain, dropped = (narrow(name, dropout=rate)[1] for rate in (0.0, 0.7))
    x = rng.random((4, *plain.input_shape), dtype=np.float32)
    one, two = (plain.forward(x, training=True, rng=k)[0] for k in (1, 2))
    assert np.array_equal(one, two)
    one, two = (dropped.forward(x, training=True, rng=k)[0] for k in (1, 2))
    assert not np.array_equal(one, two)
    found = [layer for _, _, layer in all_layers(dropped) if isinstance(layer, mg.Dropout)]
    for layer in found:
        ones = np.ones((2000 // layer.output_shape[-1] + 1, *layer.output_shape), np.float32)
        share = float((layer.forward(ones, rng=1)[0] == 0).mean())
        assert abs(share - 0.7) < 0.06
    assert len(found) == (4 if name == "dcgan64" else 1)


@pytest.mark.parametrize("name", NAMES)
def test_dtype(name):
    """float64 and complex128 hold the numbers that float32 rounds."""
    single, double, complex_ = (narrow(name, dtype=d) for d in ("float32", "float64", "complex128"))
    for a, b, c in zip(single, double, complex_, strict=True):
        assert (a.dtype, b.dtype, c.dtype) == ("float32", "float64", "complex128")
        for key in a.params:
            assert a.params[key].dtype == "float32"
            assert c.params[key].dtype == "complex128"
            assert np.array_equal(a.params[key], b.params[key].astype(np.float32))
            assert np.array_equal(b.params[key], c.params[key].real)
            assert not c.params[key].imag.any()
        x = np.random.default_rng(0).random((2, *a.input_shape))
        y, _ = b.forward(x, training=False)
        assert y.dtype == "float64"
        assert np.allclose(a.predict(x), y, rtol=1e-3, atol=1e-4)
    with pytest.raises(TypeError, match="float16"):
        narrow(name, dtype="float16")


@pytest.mark.parametrize("name", NAMES)
def test_classes(name):
    """Both networks take labels, and every label changes what they compute."""
    generator, discriminator = narrow(name, classes=3, latent_dim=6, dtype="float64")
    image = narrow(name)[1].input_shape
    assert generator.input_shape == ((6,), ())
    assert discriminator.input_shape == (image, ())
    rng = np.random.default_rng(0)
    z, labels = np.repeat(rng.standard_normal((1, 6)), 3, axis=0), np.arange(3)
    images = generator.predict((z, labels))
    assert images.shape == (3, *image)
    scores = discriminator.predict((np.repeat(images[:1], 3, axis=0), labels)).ravel()
    for i in range(3):
        for j in range(i):
            assert not np.allclose(images[i], images[j], rtol=1e-9, atol=0)
            assert scores[i] != scores[j]
    with pytest.raises(ValueError, match="0 to 2"):
        generator.predict((z, labels + 1))
    # the rest of the network is the unconditional one's: fewer parameters with fewer classes
    fewer = narrow(name, classes=2, latent_dim=6, dtype="float64")
    for model, small in zip((generator, discriminator), fewer, strict=True):
        changed = {k for k in model.params if model.params[k].shape != small.params[k].shape}
        assert [k.rsplit(".", 1)[1] for k in changed] == ["embeddings"]


@pytest.mark.parametrize("name", NAMES)
def test_sizes(name):
    """The widths of the weighted layers, in their order, and nothing else changes."""
    for model, full, sizes in zip(
        narrow(name), reference(name).values(), NARROW[name], strict=True
    ):
        kinds = [type(layer).__name__ for _, _, layer in all_layers(model)]
        assert kinds == [type(layer).__name__ for _, _, layer in all_layers(full)]
        widths = [
            layer.output_shape[-1]
            for _, _, layer in all_layers(model)
            if "kernel" in layer.params or type(layer).__name__ == "Reshape"
        ]
        if model.name == "generator" and name != "mlp_digits":
            # a Dense spreads its width over the plane of the Reshape after it; z has no width
            widths.pop(1 if name == "upsample64" else 0)
        assert widths[:-1] == list(sizes)
        assert model.output_shape == full.output_shape


@pytest.mark.parametrize("name", NAMES)
def test_parameters_stand_in_the_order_of_the_layers(name):
    for model in narrow(name, classes=2):
        owners = [key.rsplit(".", 1)[0] for key in model.params]
        order = [path for path, _, layer in all_layers(model) if layer.params]
        leaves = [p for p in order if not any(q.startswith(p + ".") for q in order)]
        assert list(dict.fromkeys(owners)) == leaves
        start = 0
        for values in model.params.values():  # and side by side in one vector
            assert np.shares_memory(values, model.params.flat[start : start + values.size])
            start += values.size


@pytest.mark.parametrize("name", NAMES)
def test_images_lie_in_the_published_range(name):
    generator, discriminator = narrow(name)
    z = 30 * np.random.default_rng(0).standard_normal((4, *generator.input_shape))
    images = generator.predict(z)
    low = 0 if name in ("digits", "mlp_digits") else -1
    assert images.min() >= low and images.max() <= 1
    if low == -1:
        assert images.min() < 0
    score = discriminator.predict(images)
    assert score.shape == (4, 1)
    logits = discriminator.logits().predict(images)
    if name == "mlp_digits":
        assert np.array_equal(score, logits)
    else:
        assert np.allclose(score, 1 / (1 + np.exp(-logits.astype(float))), atol=1e-6)


def test_unknown_names_and_arguments():
    with pytest.raises(ValueError, match="did you mean 'dcgan64'"):
        models.get("dcgan46")
    assert models.get("digits") is mg.models.digits
    with pytest.raises(TypeError):
        mg.models.digits(128)  # keyword arguments only
