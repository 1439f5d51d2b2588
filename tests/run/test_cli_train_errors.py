"""minigan train: what does not fit is told, on the command line and in the data."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import minigan as mg
from minigan.run import datasets

from .conftest import small_gan

pytestmark = pytest.mark.cpu("whole runs, whose kernels others test; see test_cli_gpu.py")

QUICK = ("--epochs", 1, "--batch-size", 4)


@pytest.fixture
def run(furnished):
    return furnished


@pytest.mark.parametrize("words, said", [
    (("--size", 50), "28, 32, 48, 64, 80, 96 and 128 can"),
    (("digits", "--size", 64), "leave out its name"),
    (("flowers", "--gray"), "leave out its name"),
    (("digits", "--width", 8), "leave out its name"),
    (("--real-targets", "1:0.5"), "low:high"),
    (("--real-targets", "much"), "should be a number"),
    (("--flip-labels", 1), "less than 1"),
    (("--lr", 0), "above 0"),
    (("--d-steps", 0), "1 or more"),
    (("--resume", "few"), "it takes no --batch-size"),
    (("digits", "--resume", "few", "--keep", 2), "NAME"),
    (("--recipe", "reference", "--size", 32), "goes with a published network, and dcgan is none"),
    (("mlp_digits", "--mirror", "--dry-run"), "to mirror them needs images"),
    (("--instance-noise", -1), "0 or more"),
    (("--resume", "few", "--ema", 0, "--seed", 0), "it takes no --batch-size, --ema, --seed"),
    (("--real-targets", 0.9, "--objective", "wasserstein", "--penalty", "wgan-gp"), "no targets"),
])  # fmt: skip
def test_what_does_not_fit_is_told_and_leaves_nothing(run, words, said):
    code, _, err = run("train", "--data", "few.npz", *words, *QUICK)
    assert code == 2 and said in err, err
    assert sorted(os.listdir()) == ["few.npz", "pictures"]


@pytest.mark.parametrize("words, said", [
    (("--size", 50), "50 cannot be halved"),
    (("--size", 2**20 - 1), "cannot be halved"),
    (("digits", "--objective", "bogus"), "bogus"),
])  # fmt: skip
def test_a_wrong_command_line_is_told_before_the_data_are_read(run, monkeypatch, words, said):
    monkeypatch.setattr(datasets, "load", None)
    code, _, err = run("train", "--data", "pictures", *words)
    assert code == 2 and said in err


@pytest.mark.parametrize("name", ["pictures", "few.npz", "mnist"])
def test_data_in_the_place_of_the_name_are_told_apart(run, name):
    code, _, err = run("train", name)
    assert code == 2 and f"minigan train --data {name}" in err


def test_labels_with_gaps_are_told(run):
    x = np.zeros((16, 32, 32, 1), np.uint8)
    np.savez("gaps.npz", images=x, labels=1 + np.arange(16) % 3 * 2)
    code, out, err = run("train", "--data", "gaps.npz", "--conditional", "--dry-run", *QUICK)
    assert code == 0 and "6 classes" in out and "no image has the label 0, 2, 4" in err


def test_a_run_of_digits_may_lie_in_a_folder_of_that_name(run):
    Path("digits").mkdir()
    words = ("train", "mlp_digits", "--data", "digits", "--out", "digits/run", "--dry-run")
    assert run(*words)[0] == 0


def test_a_run_started_from_arrays_takes_a_folder(run):
    data = datasets.load("pictures", size=(8, 8), channels=1)
    mg.train(small_gan(), data[0], epochs=1, out="run", progress=False)
    code, _, err = run("train", "--resume", "run", "--epochs", 2)
    assert code == 2 and "give the data again" in err
    assert run("train", "--resume", "run", "--epochs", 2, "--data", "pictures")[0] == 0


def test_a_cache_that_cannot_be_written_is_told_at_a_resumption(run, monkeypatch):
    x = np.zeros((8, 8, 8, 1), np.uint8)
    mg.train(small_gan(), x, epochs=1, out="run", progress=False)
    settings = json.loads(Path("run/config.json").read_text())
    settings["data"]["name"] = "mnist"
    Path("run/config.json").write_text(json.dumps(settings))
    Path("file").touch()
    monkeypatch.setenv("MINIGAN_CACHE", "file/cache")
    code, _, err = run("train", "--resume", "run", "--epochs", 2)
    assert code == 1 and "cannot write" in err and "file" in err


def test_there_must_be_a_run_to_resume(run):
    code, _, err = run("train", "--resume", "nowhere")
    assert code == 2 and "nowhere is not a run" in err


def test_conditional_needs_classes(run):
    np.savez("none.npz", images=np.zeros((8, 32, 32, 3), np.uint8))
    for data in ("none.npz", "pictures/rose"):
        code, _, err = run("train", "--data", data, "--size", 32, "--conditional")
        assert code == 2 and "--conditional needs classes" in err


def test_bad_files_are_skipped_by_name_or_stop(run):
    Path("pictures/rose/bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    Path("pictures/tulip/empty.png").write_bytes(b"")
    words = ("train", "--data", "pictures", "--size", 32, "--width", 4, *QUICK)
    code, _, err = run(*words, "--out", "run")
    assert code == 0 and "bad.jpg" in err and "empty.png" in err and "skipped: 2" in err
    listed = Path("run/skipped.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in listed] == ["rose/bad.jpg", "tulip/empty.png"]
    code, _, err = run(*words, "--strict", "--out", "strict")
    assert code == 2 and "bad.jpg" in err and not Path("strict").exists()


def test_fewer_images_than_a_batch_are_told(run):
    code, _, err = run("train", "--data", "few.npz", "--size", 32, "--width", 4, "--epochs", 1)
    assert code == 0 and "16 images are fewer than a batch of 64" in err
