"""What helps a GAN to train: noise on what D sees, more steps of D, clipped gradients."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan.penalties import images_of
from tests.gan_helpers import (
    LABELS,
    conditional,
    copies,
    every_update,
    images,
    latents,
    make,
    moved,
    seen_by_d,
)  # fmt: skip


def shown(gan, monkeypatch, **arguments):
    """(real images, D's fakes, fakes of G's step or None) as D sees them in a step."""
    seen = seen_by_d(gan, monkeypatch)
    gan.train_step(images(), latents=latents(), **arguments)
    d = [pass_["x"] for pass_ in seen["D"]]
    if gan.update == "joint":
        return d[0][:6], d[0][6:], d[1], seen["G"]
    return d[0], d[1], d[2] if len(d) > 2 else None, seen["G"]


@every_update
def test_instance_noise_is_added_to_all_that_d_sees(update, monkeypatch):
    gan = make(update, instance_noise=(0.5, 100))
    gan.step_count = 20
    real, for_d, for_g, made = shown(gan, monkeypatch)
    noises = {"real": real - images(), "fakes, d": for_d - made[0]["y"]}
    if for_g is not None:
        noises["fakes, g"] = for_g - made[1]["y"]
    gan.step_count = 20
    for purpose, noise in noises.items():
        drawn = gan.instance_noise.draw(noise.shape, gan.key(f"noise, {purpose}"))
        np.testing.assert_allclose(noise, drawn, rtol=0, atol=1e-12)
        assert noise.std() == pytest.approx(0.4, rel=0.25)
    firsts = [noise.ravel()[0] for noise in noises.values()]
    assert len(set(firsts)) == len(firsts)


@every_update
def test_noise_that_has_decayed_leaves_the_step_as_it_was(update):
    noisy, plain = make(update, instance_noise=(0.5, 3)), make(update)
    for step in (2, 3):
        noisy.step_count = plain.step_count = step
        one, two = noisy.train_step(images()), plain.train_step(images())
        assert (one == two) == (step == 3)
        noisy, plain = make(update, instance_noise=(0.5, 3)), make(update)


@every_update
@pytest.mark.parametrize("options", [{"instance_noise": (0.3, 50)}, {"d_steps": 3}])
def test_the_gradients_of_such_a_gan_pass_the_checker(update, options):
    report = mg.check_gradients(make(update, **options))
    assert report.ok and report.max_error < 1e-11, str(report)


def test_noise_leaves_labels_alone(monkeypatch):
    gan = conditional("simultaneous", instance_noise=(0.5, 10))
    seen = seen_by_d(gan, monkeypatch)
    gan.train_step(np.zeros((6, 4)), LABELS)
    x, labels = seen["D"][0]["x"]
    assert np.abs(x).min() > 0
    np.testing.assert_array_equal(labels, LABELS)
    assert images_of(seen["D"][1]["x"]).std() > 0.2


@every_update
def test_d_steps(update):
    """Three steps: D moves in each, G in the third alone."""
    gan = make(update, d_steps=3)
    for step in range(6):
        g, d = copies(gan.generator), copies(gan.discriminator)
        gan.train_step(images(seed=step))
        kernels = {name for name in moved(g, gan.generator) if name.endswith("kernel")}
        assert bool(kernels) == (step % 3 == 2)
        assert any(name.endswith("kernel") for name in moved(d, gan.discriminator))
    assert gan.g_optimizer.t == 2
    assert gan.d_optimizer.t == (12 if update == "separate" else 6)


@every_update
def test_the_log_of_a_step_without_g_has_gs_loss_on_ds_fakes(update, monkeypatch):
    gan = make(update, d_steps=2)
    seen = seen_by_d(gan, monkeypatch)
    logs = gan.train_step(images())
    d_fake = seen["D"][0]["y"][6:] if update == "joint" else seen["D"][1]["y"]
    assert len(seen["D"]) == (1 if update == "joint" else 2)
    assert float(logs["g_loss"]) == pytest.approx(np.log1p(np.exp(-d_fake)).mean(), rel=1e-12)


@pytest.mark.parametrize("bad", [0, -1, 1.5])
def test_d_steps_must_be_a_count(bad):
    with pytest.raises((ValueError, TypeError), match="d_steps"):
        make(d_steps=bad)


@pytest.mark.parametrize("kind", [mg.SGD, mg.RMSprop, mg.Adam])
@pytest.mark.parametrize("flat", [True, False])
def test_gradients_are_clipped_to_the_norm_of_all_of_them(kind, flat):
    from tests.test_optimizers import arrays

    norm = np.sqrt(sum((g**2).sum() for g in arrays(0).values()))
    for limit, factor in ((norm / 4, 0.25), (2 * norm, 1.0)):
        params, expected, grads = arrays(100, flat=flat), arrays(100), arrays(0, flat=flat)
        before = {name: g.copy() for name, g in grads.items()}
        kind(0.1, global_clipnorm=limit).step(params, grads)
        kind(0.1).step(expected, {name: factor * g for name, g in before.items()})
        for name in params:
            np.testing.assert_allclose(params[name], expected[name], rtol=1e-12)
            np.testing.assert_array_equal(grads[name], before[name])


def test_a_gan_clips_by_its_recipe():
    """SGD at rate 1 moves the parameters by exactly the limit."""
    sgd = {"name": "sgd", "learning_rate": 1.0, "global_clipnorm": 1e-3}
    gan = make("joint", g_optimizer=sgd, d_optimizer=dict(sgd))
    before = gan.generator.params.flat.copy(), gan.D.params.flat.copy()
    gan.train_step(images())
    for old, model in zip(before, (gan.generator, gan.D), strict=True):
        assert np.linalg.norm(model.params.flat - old) == pytest.approx(1e-3, rel=1e-9)
    assert gan.config()["d_optimizer"]["global_clipnorm"] == 1e-3
