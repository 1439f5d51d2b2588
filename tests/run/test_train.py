"""minigan.run.train: what a run does to its folder, its history and the GAN."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan.random import Key
from minigan.run.train import TrainingStopped

no_twins = pytest.mark.cpu("a replay watches the layers, which their twins on a device would share")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def record_batches(gan, monkeypatch):
    """A list that fills with the batches that gan.train_step is given."""
    seen, step = [], gan.train_step

    def train_step(real, labels=None):
        seen.append((real.copy(), None if labels is None else labels.copy()))
        return step(real, labels)

    monkeypatch.setattr(gan, "train_step", train_step)
    return seen


def test_a_run_fills_its_folder(make_gan, images, tmp_path, capsys):
    gan, out = make_gan(), tmp_path / "deep" / "run"
    history = mg.train(gan, images, epochs=3, out=out)
    assert sorted(os.listdir(out)) == [
        "checkpoints", "config.json", "curves.png", "generator.safetensors", "log.jsonl", "samples",
    ]  # fmt: skip
    assert sorted(os.listdir(out / "samples")) == [f"epoch_000{e}.png" for e in (1, 2, 3)]
    assert lines(out / "log.jsonl") == history
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert [row["step"] for row in history] == [2, 4, 6]  # 20 images, batches of 8
    assert set(history[0]) == {
        "epoch", "step", "d_loss", "g_loss", "d_real", "d_fake", "images_per_second",
        "spread", "g_gradient",
    }  # fmt: skip
    grid = np.asarray(Image.open(out / "samples" / "epoch_0003.png"))
    assert grid.shape == (8 * 8 + 7 * 2,) * 2
    z = np.ones((3, 4), np.float32)
    weights = mg.load(out / "generator.safetensors")
    np.testing.assert_array_equal(weights.predict(z), gan.generator.predict(z))
    printed = capsys.readouterr().out
    for name in ("generator.safetensors", "samples", "curves.png", "log.jsonl"):
        assert str(out / name) in printed


def test_config_is_complete_and_comes_first(make_gan, images, tmp_path, monkeypatch):
    gan, out = make_gan(), tmp_path / "run"
    seen = []
    step = gan.train_step

    def train_step(real, labels=None):
        seen.append(os.listdir(out))
        return step(real, labels)

    monkeypatch.setattr(gan, "train_step", train_step)
    mg.train(gan, images, out=out, batch_size=5, progress=False)
    assert sorted(seen[0]) == ["checkpoints", "config.json"]
    config = json.loads((out / "config.json").read_text())
    assert config["gan"] == json.loads(json.dumps(gan.config()))
    assert (config["epochs"], config["batch_size"]) == (2, 5)
    digest = config["data"].pop("digest")
    assert digest == hashlib.blake2b(images.tobytes(), digest_size=16).hexdigest()
    assert config["data"] == {
        "name": None, "options": {}, "count": 20, "classes": None,
        "image_shape": [8, 8, 1], "value_range": [-1.0, 1.0],
    }  # fmt: skip


def test_without_out_nothing_is_written_and_nothing_printed(
    make_gan, images, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    history = mg.train(make_gan(), images, progress=False)
    assert len(history) == 2
    assert os.listdir(tmp_path) == []
    assert capsys.readouterr() == ("", "")


def test_the_bar_shows_losses_scores_rate_and_time(make_gan, images, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    mg.train(make_gan(), images, epochs=3)
    last = capsys.readouterr().err.split("\r")[-1].strip()
    for word in ("3/3", "d_loss", "g_loss", "D(x)", "D(G(z))", "img/s", "left"):
        assert word in last
    assert len(last) <= 80


def test_every_image_once_an_epoch_in_a_new_order(make_gan, monkeypatch):
    images = np.arange(16, dtype=np.uint8).reshape(16, 1).repeat(64, axis=1)
    gan = make_gan(last="sigmoid", flat=True)
    seen = record_batches(gan, monkeypatch)
    mg.train(gan, images, epochs=2, progress=False)
    epochs = [np.concatenate([real[:, 0] for real, _ in seen[i : i + 2]]) for i in (0, 2)]
    for order in epochs:
        np.testing.assert_allclose(np.sort(order) * 255, np.arange(16), atol=1e-4)
    assert (epochs[0] != epochs[1]).any() and (np.sort(epochs[0]) != epochs[0]).any()


def test_the_partial_batch_is_dropped_unless_it_is_all_there_is(make_gan, images, monkeypatch):
    for count, sizes in ((20, [8, 8]), (16, [8, 8]), (8, [8]), (5, [5]), (2, [2])):
        gan = make_gan()
        seen = record_batches(gan, monkeypatch)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            history = mg.train(gan, images[:count], epochs=1, progress=False)
        assert any("fewer than a batch of 8" in str(w.message) for w in told) == (count < 8)
        assert [len(real) for real, _ in seen] == sizes
        assert history[0]["step"] == len(sizes)


def test_one_image_is_no_data(make_gan, images):
    with pytest.raises(ValueError, match="at least two"):
        mg.train(make_gan(), images[:1], progress=False)


def test_labels_follow_their_images_and_samples_have_a_row_a_class(
    make_gan, images, tmp_path, monkeypatch
):
    labels = np.arange(20) % 3
    images = images * 0 + labels[:, None, None, None].astype(np.uint8)
    gan = make_gan(classes=3, last="sigmoid")
    seen = record_batches(gan, monkeypatch)
    asked = []
    sample = gan.sample

    def watched(n, labels=None, **rest):
        asked.append((n, labels.copy(), rest["z"].copy()))
        return sample(n, labels=labels, **rest)

    monkeypatch.setattr(gan, "sample", watched)
    mg.train(gan, (images, labels), out=tmp_path / "run", progress=False)
    for real, given in seen:
        np.testing.assert_allclose(real[:, 0, 0, 0] * 255, given, atol=1e-4)
    assert [n for n, _, _ in asked] == [24, 24]
    np.testing.assert_array_equal(asked[0][1], np.repeat([0, 1, 2], 8))
    np.testing.assert_array_equal(asked[0][2], asked[1][2])  # the same latents each epoch


def test_samples_come_from_the_average_when_the_recipe_keeps_one(make_gan, images, tmp_path):
    gan = make_gan(ema=0.5)
    mg.train(gan, images, out=tmp_path / "run", progress=False)
    saved = mg.load(tmp_path / "run" / "generator.safetensors")
    np.testing.assert_array_equal(saved.params.flat, gan.sampler.params.flat)
    assert (saved.params.flat != gan.generator.params.flat).any()


def test_the_same_seed_gives_the_same_files(make_gan, images, tmp_path):
    files = ("generator.safetensors", "samples/epoch_0002.png", "config.json")
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        mg.train(make_gan(seed=seed), images, out=tmp_path / name, progress=False)
    for file in files:
        a, b, c = ((tmp_path / run / file).read_bytes() for run in "abc")
        assert a == b and a != c, file


def test_training_moves_the_weights_as_the_steps_themselves_do(make_gan, images):
    ours, theirs = make_gan(), make_gan()
    mg.train(ours, images, epochs=1, batch_size=10, progress=False)
    order = Key(0, "shuffle", 0).generator().permutation(20)
    for chosen in (order[:10], order[10:]):
        theirs.train_step((images[chosen] / 127.5 - 1).astype(np.float32))
    np.testing.assert_allclose(
        ours.generator.params.flat, theirs.generator.params.flat, rtol=0, atol=1e-6
    )


def test_half_of_the_images_are_mirrored(make_gan, images, monkeypatch):
    gan = make_gan(batch_size=20)
    batches = record_batches(gan, monkeypatch)
    mg.train(gan, images, epochs=20, mirror=True, progress=False)
    originals = (images / 127.5 - 1).astype(np.float32)
    mirrored, patterns = 0, set()
    for batch, _ in batches:
        as_is = [min(np.abs(originals - x).max(axis=(1, 2, 3))) < 1e-5 for x in batch]
        turned = [min(np.abs(originals[:, :, ::-1] - x).max(axis=(1, 2, 3))) < 1e-5 for x in batch]
        assert all(a != b for a, b in zip(as_is, turned, strict=True))
        mirrored += sum(turned)
        patterns.add(tuple(turned))
    assert 150 < mirrored < 250  # of 400
    assert len(patterns) > 15  # of 20: each step draws its own
    with pytest.raises(ValueError, match="to mirror them needs images"):
        mg.train(make_gan(flat=True), images, mirror=True, progress=False)


def test_history_is_the_mean_of_the_steps(make_gan, images, monkeypatch):
    gan = make_gan()
    values = iter([1.0, 2.0, 5.0, 7.0])

    def train_step(real, labels=None):
        gan.step_count += 1
        return dict.fromkeys(("d_loss", "g_loss", "d_real", "d_fake"), np.float32(next(values)))

    monkeypatch.setattr(gan, "train_step", train_step)
    history = mg.train(gan, images, progress=False)
    assert [row["g_loss"] for row in history] == [1.5, 6.0]


def test_on_epoch_is_called_after_the_files_are_written(make_gan, images, tmp_path):
    gan, out, calls = make_gan(), tmp_path / "run", []

    def on_epoch(epoch, given, logs):
        assert given is gan
        calls.append((epoch, logs, len(lines(out / "log.jsonl"))))

    history = mg.train(gan, images, out=out, on_epoch=on_epoch, progress=False)
    assert calls == [(1, history[0], 1), (2, history[1], 2)]


@no_twins
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_at_its_step(make_gan, images, tmp_path, monkeypatch, bad):
    gan, out = make_gan(), tmp_path / "run"
    step = gan.train_step

    def train_step(real, labels=None):
        logs = step(real, labels)
        return {**logs, "g_loss": np.float32(bad)} if gan.step_count == 4 else logs

    monkeypatch.setattr(gan, "train_step", train_step)
    kept = {}

    def on_epoch(epoch, gan, logs):
        kept[epoch] = (out / "generator.safetensors").read_bytes()

    with pytest.raises(TrainingStopped, match="step 4: g_loss is (nan|inf)"):
        mg.train(gan, images, epochs=5, out=out, on_epoch=on_epoch, progress=False)
    assert list(kept) == [1]
    assert (out / "generator.safetensors").read_bytes() == kept[1]
    assert len(lines(out / "log.jsonl")) == 1
    assert os.listdir(out / "samples") == ["epoch_0001.png"]


@no_twins
def test_weights_that_are_not_finite_are_never_saved(make_gan, images, tmp_path, monkeypatch):
    gan, out = make_gan(), tmp_path / "run"
    step = gan.train_step

    def train_step(real, labels=None):
        logs = step(real, labels)
        if gan.step_count == 4:  # the last step of an epoch: its losses are still finite
            gan.generator.params.flat[0] = np.nan
        return logs

    monkeypatch.setattr(gan, "train_step", train_step)
    with pytest.raises(TrainingStopped, match="step 4"):
        mg.train(gan, images, epochs=5, out=out, progress=False)
    assert np.isfinite(mg.load(out / "generator.safetensors").params.flat).all()
    assert len(lines(out / "log.jsonl")) == 1


def test_a_used_folder_is_refused_before_anything_happens(make_gan, images, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    gan = make_gan()
    with pytest.raises(FileExistsError, match="not empty"):
        mg.train(gan, images, out=tmp_path / "run", progress=False)
    with pytest.raises(FileExistsError, match="is a file"):
        mg.train(gan, images, out=tmp_path / "run" / "mine.txt", progress=False)
    assert gan.step_count == 0 and os.listdir(tmp_path / "run") == ["mine.txt"]


def test_an_empty_folder_is_used(make_gan, images, tmp_path):
    (tmp_path / "run").mkdir()
    mg.train(make_gan(), images, epochs=1, out=tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "generator.safetensors").exists()


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"epochs": 1.5}, {"batch_size": -1},
                                       {"batch_size": True}])  # fmt: skip
def test_numbers_must_be_positive_and_whole(make_gan, images, tmp_path, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        mg.train(make_gan(), images, out=tmp_path / "run", progress=False, **arguments)
    assert not (tmp_path / "run").exists()


def test_data_that_do_not_fit_leave_no_folder(make_gan, images, tmp_path):
    for data, error in [
        (images[:, :4], ValueError),
        (np.full((4, 8, 8, 1), np.nan, np.float32), ValueError),
        (images.astype(int), TypeError),
        (tmp_path / "no.npz", OSError),
        ("letters", ValueError),
    ]:
        with pytest.raises(error):
            mg.train(make_gan(), data, out=tmp_path / "run", progress=False)
        assert not (tmp_path / "run").exists()


def test_data_may_be_a_name(make_gan, images, tmp_path):
    np.savez(tmp_path / "a.npz", images=images)
    out = tmp_path / "run"
    mg.train(make_gan(), tmp_path / "a.npz", epochs=1, out=out, progress=False)
    assert json.loads((out / "config.json").read_text())["data"]["name"].endswith("a.npz")


def test_signals_train_without_pictures(images, tmp_path):
    generator = mg.Sequential([mg.Dense(10), mg.Reshape((5, 2))], input_shape=(3,))
    discriminator = mg.Sequential([mg.Flatten(), mg.Dense(1)], input_shape=(5, 2))
    gan = mg.GAN(generator, discriminator, batch_size=4)
    signals = np.random.default_rng(0).normal(size=(9, 5, 2)).astype(np.float32)
    points = mg.GAN(
        mg.Sequential([mg.Dense(2)], input_shape=(3,)),
        mg.Sequential([mg.Dense(1)], input_shape=(2,)),
        batch_size=4,
    )
    history = mg.train(points, signals[:, 0], epochs=1, out=tmp_path / "b", progress=False)
    assert sorted(os.listdir(tmp_path / "b"))[-1] == "log.jsonl"  # and no samples
    assert len(history) == 1
    assert len(mg.train(gan, signals, epochs=1, progress=False)) == 1


def test_full_disk_in_a_later_epoch_loses_nothing(make_gan, images, tmp_path, full_disk):
    gan, out, before = make_gan(), tmp_path / "run", {}

    def on_epoch(epoch, gan, logs):
        before.update({file: file.read_bytes() for file in out.rglob("*") if file.is_file()})
        full_disk()

    with pytest.raises(OSError, match="disk is full"):
        mg.train(gan, images, epochs=3, out=out, on_epoch=on_epoch, progress=False)
    after = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert len(before) == 7 and after == before


def test_the_log_names_only_epochs_whose_files_are_there(make_gan, images, tmp_path, monkeypatch):
    def fail(path, history):
        raise OSError("the disk is full")

    monkeypatch.setattr("minigan.run.imaging.save_curves", fail)
    with pytest.raises(OSError, match="the disk is full"):
        mg.train(make_gan(), images, out=tmp_path / "run", progress=False)
    assert sorted(os.listdir(tmp_path / "run")) == [
        "checkpoints", "config.json", "generator.safetensors", "samples",
    ]  # fmt: skip


def interrupt_at(gan, monkeypatch, step_number):
    step = gan.train_step

    def train_step(real, labels=None):
        if gan.step_count + 1 == step_number:
            os.kill(os.getpid(), signal.SIGINT)
        return step(real, labels)

    monkeypatch.setattr(gan, "train_step", train_step)


@pytest.mark.skipif(os.name == "nt", reason="sends itself a signal")
def test_ctrl_c_finishes_the_step_and_saves(make_gan, images, tmp_path, monkeypatch):
    gan, out = make_gan(), tmp_path / "run"
    interrupt_at(gan, monkeypatch, 3)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="after step 3"):
        mg.train(gan, images, epochs=5, out=out, progress=False)
    assert signal.getsignal(signal.SIGINT) is handler
    assert gan.step_count == 3
    saved = mg.load(out / "generator.safetensors")
    np.testing.assert_array_equal(saved.params.flat, gan.generator.params.flat)
    assert len(lines(out / "log.jsonl")) == 1


def test_training_in_another_thread_leaves_signals_alone(make_gan, images):
    result = []
    thread = threading.Thread(
        target=lambda: result.append(mg.train(make_gan(), images, progress=False))
    )
    thread.start()
    thread.join()
    assert len(result[0]) == 2
