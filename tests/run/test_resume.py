"""A run that was broken off and taken up again has the bits of one that was not."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

import minigan as mg
from minigan.run import files, state, tensors
from minigan.run.folder import RunFolder
from tests.run.conftest import small_gan
from tests.run.run_helpers import Killed, contents, kill_at

pytestmark = pytest.mark.cpu("hundreds of steps, whose kernels others test; see test_train_gpu.py")


@pytest.fixture(autouse=True)
def quick_curves(monkeypatch):
    """In the place of the plot, what it is drawn from."""

    def save_curves(path, history):
        rows = [{k: v for k, v in row.items() if k != "images_per_second"} for row in history]
        files.write_bytes(path, json.dumps(rows).encode())

    monkeypatch.setattr("minigan.run.imaging.save_curves", save_curves)


RECIPES = {
    "separate": {"update": "separate", "fakes_per_real": 0.5},
    "joint, inference": {"update": "joint", "d_fakes": "inference"},
    "simultaneous, average": {"update": "simultaneous", "ema": 0.9},
    "targets": {"real_targets": (0.8, 1.1), "flip_labels": 0.2, "latents": "uniform"},
    "noise and steps": {"instance_noise": (0.5, 9), "d_steps": 3, "update": "joint"},
    "penalty": {"penalty": {"kind": "r1", "every": 2}, "objective": "hinge"},
    "other optimizers": {"g_optimizer": "rmsprop", "d_optimizer": {"name": "sgd", "momentum": 0.9}},
    "no moments": {"g_optimizer": "sgd", "d_optimizer": {"name": "sgd", "global_clipnorm": 0.1}},
    "classes": {"classes": 3, "update": "joint"},
}


@pytest.mark.parametrize("every", [None, 1, 3])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_goes_on_to_the_same_bits(images, tmp_path, monkeypatch, recipe, every):
    """Four epochs of two steps, killed in the sixth and the eighth step."""
    options = dict(RECIPES[recipe])
    data = (images, np.arange(20) % 3) if "classes" in options else images
    settings = {"checkpoint_every": every, "progress": False, "mirror": every == 3}
    mg.train(small_gan(**options), data, epochs=4, out=tmp_path / "whole", **settings)
    gan = small_gan(**options)
    kill_at(gan, monkeypatch, 6)
    with pytest.raises(Killed):
        mg.train(gan, data, epochs=4, out=tmp_path / "broken", **settings)
    broken = contents(tmp_path / "broken")
    assert len(broken["log"]) == 2 and broken != contents(tmp_path / "whole")
    with monkeypatch.context() as patch:
        inner = mg.GAN.train_step

        def train_step(gan, real, labels=None):
            if gan.step_count + 1 == 8:
                raise Killed
            return inner(gan, real, labels)

        patch.setattr(mg.GAN, "train_step", train_step)
        with pytest.raises(Killed):
            mg.resume(tmp_path / "broken", data, progress=False)
    gan, history = mg.resume(tmp_path / "broken", data, progress=False)
    assert gan.step_count == 8 and [row["step"] for row in history] == [2, 4, 6, 8]
    whole, broken = contents(tmp_path / "whole"), contents(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert [name for name in whole if whole[name] != broken[name]] == []


@pytest.mark.parametrize("name", ["digits", "dcgan64", "upsample64", "flowers", "mlp_digits",
                                  "clear_digits"])  # fmt: skip
@pytest.mark.slow
def test_every_published_recipe_goes_on_to_the_same_bits(name, tmp_path, monkeypatch):
    mg.seed(4)
    network = mg.models.get(name)
    shape = network()[0].output_shape
    data = np.random.default_rng(0).integers(0, 256, (6, *shape)).astype(np.uint8)
    data = (data, np.arange(6)) if name == "clear_digits" else data
    settings = {"epochs": 3, "batch_size": 3, "progress": False}
    for out, dies in (("whole", 99), ("broken", 4)):
        gan = mg.GAN(*network(), **mg.recipes.get(name))
        kill_at(gan, monkeypatch, dies)
        try:
            mg.train(gan, data, out=tmp_path / out, **settings)
        except Killed:
            mg.resume(tmp_path / out, data, progress=False)
    mg.seed(0)
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")


def events(monkeypatch, die_at):
    """Every durable step of writing a file is an event; the process dies at event `die_at`."""
    count = [0]

    def watch(name):
        inner = getattr(os, name)

        def call(*args, **kwargs):
            count[0] += 1
            if count[0] == die_at:
                raise Killed
            return inner(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "replace", "unlink"):
        watch(name)
    return count


def no_cleaning(monkeypatch):
    """kill -9 runs no handlers: a temporary file stays where it is."""
    from pathlib import Path

    unlink = Path.unlink

    def keep(path, missing_ok=False):
        if path.suffix != ".tmp":
            unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", keep)


def test_death_inside_any_write_loses_nothing(make_gan, images, tmp_path, monkeypatch):
    """Two epochs; the process dies at every fsync, rename and removal in turn."""
    whole = tmp_path / "whole"
    with monkeypatch.context() as patch:
        count = events(patch, -1)
        mg.train(make_gan(), images, out=whole, progress=False)
        total = count[0]
    assert total > 20
    expected = contents(whole)
    for die_at in range(1, total + 1):
        run = tmp_path / f"run{die_at}"
        with monkeypatch.context() as patch:
            events(patch, die_at)
            no_cleaning(patch)
            with pytest.raises(Killed):
                mg.train(make_gan(), images, out=run, progress=False)
        if not (run / "config.json").exists():
            continue  # nothing was there yet
        for file in run.rglob("*.safetensors"):
            assert file.stat().st_size  # whole: they are read below
        mg.resume(run, images, progress=False)
        assert contents(run) == expected, die_at
        shutil.rmtree(run)


def test_a_run_killed_before_its_first_checkpoint_starts_again(make_gan, images, tmp_path):
    mg.train(make_gan(), images, out=tmp_path / "whole", progress=False)
    expected = contents(tmp_path / "whole")
    (tmp_path / "run").mkdir()
    shutil.copy(tmp_path / "whole" / "config.json", tmp_path / "run")
    mg.resume(tmp_path / "run", images, progress=False)
    assert contents(tmp_path / "run") == expected


def test_first_weights_that_cannot_be_drawn_again(make_gan, images, tmp_path):
    gan = make_gan()
    gan.generator.params.flat[...] += 1
    mg.train(gan, images, out=tmp_path / "run", progress=False)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(ValueError, match="no checkpoint.*train anew"):
        mg.resume(tmp_path / "run", images)


def test_a_gan_that_had_trained_before(make_gan, images, tmp_path, monkeypatch):
    for out, dies in (("whole", 99), ("broken", 5 + 4)):
        gan = make_gan()
        mg.train(gan, images[:5], epochs=5, progress=False)  # five steps
        kill_at(gan, monkeypatch, dies)
        try:
            mg.train(gan, images, epochs=3, out=tmp_path / out, progress=False)
        except Killed:
            gan, _ = mg.resume(tmp_path / out, images, progress=False)
        assert gan.step_count == 11
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")


def test_a_finished_run_stays_as_it_is_and_can_be_prolonged(make_gan, images, tmp_path):
    run = tmp_path / "run"
    mg.train(make_gan(), images, epochs=2, out=run, progress=False)
    before = contents(run)
    _, history = mg.resume(run, images, progress=False)
    assert len(history) == 2 and contents(run) == before
    mg.resume(run, images, epochs=4, progress=False)
    mg.train(make_gan(), images, epochs=4, out=tmp_path / "four", progress=False)
    assert contents(run) == contents(tmp_path / "four")


def test_the_last_checkpoints_are_kept(make_gan, images, tmp_path):
    run = tmp_path / "run"
    mg.train(make_gan(), images, epochs=4, out=run, checkpoint_every=3, keep=2, progress=False)
    names = sorted(os.listdir(run / "checkpoints"))
    assert names == ["step_00000006.safetensors", "step_00000008.safetensors"]  # and the end


HARM = {
    "cut": lambda data: data[:-7],
    "header": lambda data: data[:9] + b"\xff" + data[10:],
    "weights": lambda data: data[:-1000] + bytes([data[-1000] ^ 1]) + data[-999:],
    "step": lambda data: data.replace(b'\\"step\\": 6', b'\\"step\\": 5'),
    "empty": lambda data: b"",
    "foreign": lambda data: b"GIF8",
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_checkpoint_falls_back_on_the_one_before(make_gan, images, tmp_path, harm):
    run = tmp_path / "run"
    mg.train(make_gan(), images, epochs=3, out=run, progress=False)
    expected = contents(run)
    newest = RunFolder(run).states()[0]
    harmed = HARM[harm](newest.read_bytes())
    assert harmed != newest.read_bytes()
    newest.write_bytes(harmed)
    with pytest.warns(UserWarning, match="an older checkpoint is taken"):
        mg.resume(run, images, progress=False)
    found = contents(run)
    assert found.pop("checkpoints/step_00000006.damaged") == harmed
    assert found == expected
    for path in RunFolder(run).states():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="no checkpoint of .* can be read"):
        mg.resume(run, images)


def test_a_checkpoint_that_cannot_be_opened_now_is_left_alone(
    make_gan, images, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    mg.train(make_gan(), images, epochs=3, out=run, progress=False)
    before = contents(run)
    newest, inner = RunFolder(run).states()[0], state.load_state

    def load_state(path, gan):
        if path == newest:
            raise PermissionError(13, "Permission denied", str(path))
        return inner(path, gan)

    monkeypatch.setattr(state, "load_state", load_state)
    with pytest.raises(PermissionError):
        mg.resume(run, images, progress=False)
    assert contents(run) == before


def test_a_run_whose_checkpoints_were_removed_keeps_what_it_has(make_gan, images, tmp_path):
    run = tmp_path / "run"
    mg.train(make_gan(), images, out=run, progress=False)
    shutil.rmtree(run / "checkpoints")
    before = contents(run)
    with pytest.raises(ValueError, match="has a log, but no checkpoint"):
        mg.resume(run, images, progress=False)
    assert contents(run) == before


@pytest.mark.parametrize("edit", [
    lambda text: b"", lambda text: text[:-20], lambda text: b"# a note\n" + text,
    lambda text: text.replace(b'"g_loss"', b'"gloss"', 1),
    lambda text: text.replace(b'"spread": 0', b'"spread": "x", "y": 0', 1),
    lambda text: b"[" * 100_000 + b"\n" + text,
])  # fmt: skip
def test_a_log_that_was_edited_costs_no_picture(make_gan, images, tmp_path, edit):
    run = tmp_path / "run"
    mg.train(make_gan(), images, epochs=2, out=run, progress=False)
    log, pictures = run / "log.jsonl", sorted(os.listdir(run / "samples"))
    edited = edit(log.read_bytes())
    log.write_bytes(edited)
    (run / "samples" / "epoch_9999.png").write_bytes(b"mine")
    with pytest.warns(UserWarning, match="log.jsonl was edited or damaged"):
        mg.resume(run, images, progress=False)
    assert (run / "log.old.jsonl").read_bytes() == edited
    assert sorted(os.listdir(run / "samples")) == [*pictures, "epoch_9999.png"]


@pytest.mark.parametrize("change", [
    lambda h: h.update(step=float("inf")), lambda h: h.update(step=-1),
    lambda h: h["updates"].update(g_optimizer=10**400), lambda h: h["updates"].clear(),
    lambda h: h.pop("progress"), lambda h: h.update(progress=5),
])  # fmt: skip
def test_a_hostile_header_changes_nothing(make_gan, tmp_path, monkeypatch, change):
    gan, written = make_gan(), tensors.write
    gan.train_step(np.zeros((4, 8, 8, 1), np.float32))

    def write(path, arrays, header):
        change(header)
        monkeypatch.setattr(tensors.json, "dumps", lambda value, **_: dumps(value))
        written(path, arrays, header)

    dumps = json.dumps
    monkeypatch.setattr(tensors, "write", write)
    state.save_state(tmp_path / "s.safetensors", gan, {})
    monkeypatch.undo()
    other = make_gan(seed=3)
    before = other.generator.params.flat.copy()
    with pytest.raises(ValueError, match="s.safetensors"):
        state.load_state(tmp_path / "s.safetensors", other)
    np.testing.assert_array_equal(other.generator.params.flat, before)


def test_other_data_are_refused(make_gan, images, tmp_path):
    run = tmp_path / "run"
    mg.train(make_gan(), images, out=run, progress=False)
    before = contents(run)
    with pytest.raises(ValueError, match="started from arrays in Python: give the data"):
        mg.resume(run)
    for other in (images[:-1], images[::-1]):
        with pytest.raises(ValueError, match="the data are not those .*: 20 images, now"):
            mg.resume(run, other)
    assert contents(run) == before


def test_data_that_were_given_by_name_are_read_again(make_gan, images, tmp_path, monkeypatch):
    np.savez(tmp_path / "few.npz", images=images)
    gan = make_gan()
    kill_at(gan, monkeypatch, 3)
    with pytest.raises(Killed):
        mg.train(gan, tmp_path / "few.npz", out=tmp_path / "run", progress=False)
    gan, _ = mg.resume(tmp_path / "run", progress=False)
    assert gan.step_count == 4


@pytest.mark.parametrize("change, words", [
    (lambda c: c.pop("networks"), "networks"),
    (lambda c: c["networks"].update(generator={"class": "os.system", "config": {}}), "os.system"),
    (lambda c: c["networks"]["generator"]["config"].update(layers=7), "generator|layers|iterable"),
    (lambda c: c["networks"]["generator"]["config"]["layers"].insert(
        0, {"class": "Dense", "config": {"units": 10**9}}), "would take"),
    (lambda c: c.update(epochs="many"), "epochs"),
    (lambda c: c["gan"].update(update="sideways"), "sideways"),
    (lambda c: c["gan"].pop("seed"), "seed"),
    (lambda c: c.pop("data"), "data"),
    (lambda c: c.update(first_step=float("inf")), "Infinity"),
    (lambda c: c["gan"].update(fakes_per_real=float("nan")), "NaN"),
    (lambda c: c["gan"]["g_optimizer"].update(learning_rate=10**400), "and finite"),
    (lambda c: c["gan"].update(real_targets="all"), "all"),
    (lambda c: c["data"].pop("count"), "count"),
])  # fmt: skip
def test_a_config_that_was_damaged(make_gan, images, tmp_path, change, words):
    run = tmp_path / "run"
    mg.train(make_gan(), images, out=run, progress=False)
    config = json.loads((run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))
    before = contents(run)
    with pytest.raises(ValueError, match=words):
        mg.resume(run, images)
    assert contents(run) == before


def test_a_state_of_another_gan_changes_nothing(make_gan, images, tmp_path):
    gan = make_gan()
    gan.train_step(np.zeros((4, 8, 8, 1), np.float32))
    state.save_state(tmp_path / "a.safetensors", gan, {})
    other = make_gan(g_optimizer="rmsprop", seed=3)
    before = other.generator.params.flat.copy()
    with pytest.raises(ValueError, match="a.safetensors: .*g_optimizer"):
        state.load_state(tmp_path / "a.safetensors", other)
    np.testing.assert_array_equal(other.generator.params.flat, before)
    assert other.step_count == 0


def test_the_state_holds_all_that_a_step_depends_on(make_gan, images, tmp_path):
    one = make_gan(ema=0.9, update="joint")
    batch = (images[:8] / 127.5 - 1).astype(np.float32)
    for _ in range(3):
        one.train_step(batch)
    state.save_state(tmp_path / "s.safetensors", one, {"note": [1, 2.5]})
    two = make_gan(ema=0.9, update="joint", seed=0)
    assert state.load_state(tmp_path / "s.safetensors", two) == {"note": [1, 2.5]}
    for gan in (one, two):
        gan.train_step(batch)
    state.save_state(tmp_path / "1.safetensors", one, {})
    state.save_state(tmp_path / "2.safetensors", two, {})
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_a_full_disk_during_a_checkpoint_keeps_the_last(make_gan, images, tmp_path, monkeypatch):
    run, made = tmp_path / "run", files.write_bytes

    def full(path, data):
        if "step_00000004" in str(path):
            raise files.WriteError(path, OSError(28, "No space left on device"))
        made(path, data)

    with monkeypatch.context() as patch:
        patch.setattr("minigan.run.tensors.write_bytes", full)
        words = "(?s)disk is full.*place. To go on: minigan train --resume"
        with pytest.raises(files.WriteError, match=words):
            mg.train(make_gan(), images, epochs=3, out=run, progress=False)
    assert RunFolder(run).states()[0].name == "step_00000002.safetensors"
    mg.resume(run, images, progress=False)
    mg.train(make_gan(), images, epochs=3, out=tmp_path / "whole", progress=False)
    assert contents(run) == contents(tmp_path / "whole")
