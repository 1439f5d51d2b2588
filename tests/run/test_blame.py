"""The layer that made the first number that is not finite."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan.random import Key
from minigan.run.blame import first_not_finite
from minigan.run.folder import RunFolder
from minigan.run.train import TrainingStopped
from tests.run.conftest import small_gan

no_twins = pytest.mark.cpu("patches the layers' methods, which their twins on a device would share")


@mg.register
class Brittle(mg.Layer):
    """The identity, until a pass breaks."""

    breaks = ""

    def setup(self, input_shape, key):
        return input_shape

    def compute(self, x, training, rng, keep):
        return (x * np.inf if self.breaks == "forward" else x), mg.Cache(x if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        return (dy * np.nan if self.breaks == "backward" else dy), {}


def brittle_gan(**recipe):
    """Brittle layers in both networks, in D inside a model inside a Parallel."""
    generator = mg.Sequential(
        [mg.Dense(64), Brittle(), mg.Tanh(), mg.Reshape((8, 8, 1))],
        input_shape=(4,),
        key=Key(0, "weights", layer="generator"),
    )
    inner = mg.Sequential([mg.Flatten(), mg.Dense(5), Brittle(), mg.LeakyReLU()])
    discriminator = mg.Sequential(
        [mg.Parallel([inner, mg.Flatten()]), mg.Dense(1)],
        input_shape=(8, 8, 1),
        key=Key(0, "weights", layer="discriminator"),
    )
    return mg.GAN(generator, discriminator, seed=0, **{"batch_size": 8, "epochs": 4, **recipe})


def part(gan, network):
    """The brittle layer of a network."""
    if network == "generator":
        return gan.generator.layers[1]
    return gan.discriminator.layers[0].layers[0].layers[2]


PLACES = {
    "generator": "generator.brittle",
    "discriminator": "discriminator.parallel.0.brittle",
}
every_update = pytest.mark.parametrize("update", ["separate", "joint", "simultaneous"])


@no_twins
@every_update
@pytest.mark.parametrize("breaks", ["forward", "backward"])
@pytest.mark.parametrize("network", PLACES)
def test_the_layer_and_the_pass_are_named(images, update, network, breaks):
    gan = brittle_gan(update=update)
    batch = (images[:8] / 127.5 - 1).astype(np.float32)
    assert first_not_finite(gan, batch, None) is None
    part(gan, network).breaks = breaks
    assert first_not_finite(gan, batch, None) == f"{PLACES[network]}, {breaks}"
    part(gan, network).breaks = ""
    assert first_not_finite(gan, batch, None) is None  # nothing stays patched, the GAN is whole


@no_twins
@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_an_update_is_named(images, network):
    gan = small_gan(**{f"{network[0]}_optimizer": {"name": "sgd", "learning_rate": 1e45}})
    batch = (images[:8] / 127.5 - 1).astype(np.float32)
    with np.errstate(all="ignore"):
        assert first_not_finite(gan, batch, None) == f"the {network}'s update"


@no_twins
def test_moments_that_overflow_are_the_updates(images, monkeypatch):
    """g^2 is infinite in float32 where g is not."""
    gan = small_gan(d_optimizer="rmsprop", update="joint")
    steep = [np.full((8, 1), 1e25, np.float32)] * 2
    monkeypatch.setattr(gan.objective, "d_loss", lambda real, fake: (0.0, *steep))
    batch = (images[:8] / 127.5 - 1).astype(np.float32)
    with np.errstate(all="ignore"):
        assert first_not_finite(gan, batch, None) == "the discriminator's update"


@no_twins
@pytest.mark.parametrize("broken, where", [
    ("pushforward", "the penalty's forward"), ("pullback_tangent", "the penalty's gradient"),
])  # fmt: skip
def test_the_passes_of_a_penalty_are_watched(images, monkeypatch, broken, where):
    gan = small_gan(penalty="r1", update="joint")
    layer = gan.D._stages[-1][1]
    inner = getattr(type(layer), broken)

    def spoilt(self, *args):
        first, second = inner(self, *args)
        if broken == "pullback_tangent":
            return first, {name: g * np.nan for name, g in second.items()}
        return first * np.nan, second

    monkeypatch.setattr(type(layer), broken, spoilt)
    batch = (images[:8] / 127.5 - 1).astype(np.float32)
    found = first_not_finite(gan, batch, None)
    assert found is not None and found.startswith("discriminator.") and found.endswith(where)


@no_twins
@pytest.mark.parametrize("every", [None, 3])
def test_a_run_names_step_and_layer_and_stands_at_its_last_checkpoint(
    images, tmp_path, monkeypatch, every
):
    """Epochs of two steps; the layer breaks in the eighth."""
    gan = brittle_gan(update="joint")
    layer, step = part(gan, "discriminator"), mg.GAN.train_step

    def train_step(gan, real, labels=None):
        layer.breaks = "backward" if gan.step_count == 7 else ""
        return step(gan, real, labels)

    monkeypatch.setattr(mg.GAN, "train_step", train_step)
    monkeypatch.setattr("minigan.run.meter._FETCH_SECONDS", 1e9)
    options = {"epochs": 9, "checkpoint_every": every, "progress": False}
    with pytest.raises(TrainingStopped) as stopped:
        mg.train(gan, images, out=tmp_path / "run", **options)
    lines = str(stopped.value).splitlines()
    assert len(lines) == 3
    where = "discriminator.parallel.0.brittle, backward, in step 8"
    assert f"It arose first in {where}." in lines[0]
    newest = RunFolder(tmp_path / "run").states()[0]
    assert newest.name == "step_00000006.safetensors" and str(newest) in lines[1]
    assert gan.step_count == 6 and np.isfinite(gan.generator.params.flat).all()
    layer.breaks = ""
    monkeypatch.undo()
    again, _ = mg.resume(tmp_path / "run", images, progress=False)
    assert again.step_count == 18


def test_without_a_folder_the_step_is_named(images):
    gan = small_gan(g_optimizer={"name": "sgd", "learning_rate": 1e38}, epochs=50)
    stopped = pytest.raises(TrainingStopped, match=r"stopped at step \d+: (.*\n)+.*learning rate")
    with stopped, np.errstate(all="ignore"):
        mg.train(gan, images, progress=False)


@pytest.mark.gpu
@pytest.mark.parametrize("network", PLACES)
def test_the_layer_is_named_on_a_gpu(images, network):
    mg.use("cupy")
    gan = brittle_gan(update="joint")
    mg.use("numpy")
    batch = (images[:8] / 127.5 - 1).astype(np.float32)
    assert first_not_finite(gan, batch, None) is None
    part(gan, network).breaks = "forward"
    assert first_not_finite(gan, batch, None) == f"{PLACES[network]}, forward"
