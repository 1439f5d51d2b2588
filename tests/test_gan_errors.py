"""Input and options that a GAN refuses, before anything has moved."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from tests.gan_helpers import (
    LABELS,
    UPDATES,
    conditional,
    copies,
    every_update,
    images,
    latents,
    make,
    networks,
    same,
)
from tests.helpers import draw


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


@pytest.mark.parametrize("update", ["joint", "simultaneous"])
def test_pairs_need_as_many_of_each_and_nothing_moves_before_that_is_known(update):
    gan = make(update, objective="relativistic_pairing")
    before = [copies(m) for m in (gan.generator, gan.discriminator)]
    unequal = [latents(4, 6), latents(6, 4)] if update == "joint" else [(latents(4)[0], None)]
    for given in unequal:
        with pytest.raises(ValueError, match="pairs every real image with a fake; got 6 real im"):
            gan.train_step(images(), latents=given)
    assert all(
        same(b, copies(m)) for b, m in zip(before, (gan.generator, gan.discriminator), strict=True)
    )
    assert gan.step_count == 0
