"""minigan evaluate: its table, its JSON, its files, and errors of at most five lines."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan.run.cli import main
from minigan.run.evaluate import BETTER


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with few.npz and the run `trained` on it, conditional, and one without labels."""
    from .conftest import small_gan

    folder = tmp_path_factory.mktemp("runs")
    draw = np.random.default_rng(0)
    images = draw.integers(0, 100, (60, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(60) % 2
    images[labels == 1] += 150
    np.savez(folder / "few.npz", images=images, labels=labels)
    mg.train(small_gan(classes=2), str(folder / "few.npz"), 1, folder / "trained", progress=False)
    np.savez(folder / "plain.npz", images=images)
    mg.train(small_gan(), str(folder / "plain.npz"), 1, folder / "plain", progress=False)
    return folder


@pytest.fixture
def call(run, monkeypatch, runs, short_training):
    """The command line, in the folder of the runs."""
    monkeypatch.chdir(runs)
    return run


def test_the_table_and_the_files(call, runs):
    code, out, err = call("evaluate", "trained")
    assert code == 0 and err == ""
    lines = out.splitlines()
    assert lines[0] == "30 samples (seed 0) against 30 of 60 training images"
    assert re.fullmatch(
        r"features: a classifier trained on the data, right on \d+\.\d% of 12 that it had not seen",
        lines[2],
    )
    for title in ("Frechet distance", "precision", "recall", "density", "coverage"):
        assert re.search(rf"^{title} +\d+\.\d+ +\d+\.\d+  (lower|higher|near real)$", out, re.M)
    shares = re.findall(r"^[01] +(\d\.\d{3}) +(\d\.\d{3})$", out, re.M)
    assert np.array(shares, float).sum(axis=0) == pytest.approx([1, 1], abs=0.002)
    picture = os.path.join("trained", "nearest.png")
    assert lines[-1].startswith(picture)
    with Image.open(picture) as found:
        assert found.size == (16 * 10 - 2, 3 * 10 - 2)
    report = json.loads((runs / "trained" / "evaluation.json").read_text())
    assert set(report["figures"]) == set(BETTER)
    for name, title in (("precision", "precision"), ("class_asked_for", "read as the class asked")):
        ours = report["figures"][name]["samples"]
        assert re.search(rf"^{title}[a-z ]* {ours:.3f} ", out, re.M)
    assert str(runs) not in json.dumps(report) and "few.npz" not in json.dumps(report)


def test_json_is_what_the_file_holds(call, runs):
    code, out, err = call("evaluate", "plain", "--json", "--count", 20, "--seed", 3)
    assert code == 0 and err == ""
    report = json.loads(out)
    assert report == json.loads((runs / "plain" / "evaluation.json").read_text())
    assert report["samples"] == 20 and report["seed"] == 3
    again = json.loads(call("evaluate", "plain", "--json", "--count", 20, "--seed", 3)[1])
    other = json.loads(call("evaluate", "plain", "--json", "--count", 20, "--seed", 4)[1])
    assert again == report and other["figures"] != report["figures"]


def test_where_the_picture_goes(call, runs):
    code, out, _ = call("evaluate", "plain", "--count", 10, "--out", "near.png")
    assert code == 0 and out.splitlines()[-1].startswith("near.png  ")
    assert (runs / "near.png").is_file()
    code, out, err = call("evaluate", "plain", "--out", "near.jpg")
    assert code == 2 and out == "" and "end its name in .png" in err


def test_a_place_that_is_not_there_is_told_before_the_work(call, monkeypatch):
    monkeypatch.setattr("minigan.run.evaluate.evaluate_run", None)
    code, out, err = call("evaluate", "plain", "--out", "missing/near.png")
    assert code == 2 and out == "" and "there is no folder missing" in err


def test_other_data_are_not_called_training_images(call, runs):
    with np.load(runs / "few.npz") as arrays:
        images, labels = arrays["images"].copy(), arrays["labels"]
    images[7, 0, 0] ^= 1
    np.savez(runs / "changed.npz", images=images, labels=labels)
    code, out, err = call("evaluate", "trained", "--data", "changed.npz")
    assert code == 0 and "not, to the bit, those that the run was trained on" in err
    assert out.splitlines()[0] == "30 samples (seed 0) against 30 of 60 images of the data given"
    assert "identical to the data given" in out and "training images" not in out
    for run in ("trained", "plain"):  # the one takes the labels, the other does not
        code, out, err = call("evaluate", run, "--data", "few.npz")
        assert code == 0 and err == "" and "of 60 training images" in out


def test_a_count_beyond_half_of_the_data_is_told(call):
    code, out, err = call("evaluate", "plain", "--count", 31, "--json")
    assert code == 0 and json.loads(out)["samples"] == 30
    assert err == "--count 31: 30 samples were compared, as many as half of the data\n"


@pytest.mark.parametrize(
    "words, said",
    [
        (("nowhere",), "nowhere is not a run"),
        (("trained", "--data", "missing.npz"), "missing.npz"),
        (("trained", "--data", "digits"), "(28, 28, 1)"),
        (("trained", "--count", "5"), "more than 5 of each"),
        (("trained", "--count", "none"), "whole number"),
    ],
)
def test_wrong_words(call, words, said):
    code, out, err = call("evaluate", *words)
    assert code == 2 and out == "" and said in err


def test_a_full_disk_costs_the_files_alone(call, full_disk):
    full_disk()
    code, out, err = call("evaluate", "plain", "--count", 10)
    assert code == 1 and "cannot write" in err and "the disk is full" in err
    assert "Frechet distance" in out


def test_progress_is_for_a_terminal(runs, short_training, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["evaluate", str(runs / "trained"), "--count", "10", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["samples"] == 10
    steps = err.split("\r\x1b[K")
    assert steps[1] == "training a classifier: step 0 of 30" and steps[-1] == ""
    assert "samples" in steps and "\n" not in err


def test_a_stop_in_the_middle_leaves_the_old_report(call, runs, monkeypatch):
    call("evaluate", "plain", "--count", 10)
    before = (runs / "plain" / "evaluation.json").read_bytes()

    def stop(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr("minigan.run.evaluate.overlap", stop)
    code, out, err = call("evaluate", "plain", "--count", 12)
    assert code == 1 and out == "" and err == "minigan: interrupted\n"
    assert (runs / "plain" / "evaluation.json").read_bytes() == before


@pytest.mark.gpu
def test_on_the_gpu_as_on_the_cpu(call):
    found = {}
    for backend in ("numpy", "cupy"):
        code, out, err = call("evaluate", "trained", "--json", "--backend", backend)
        assert code == 0 and err == ""
        found[backend] = json.loads(out)
    mg.use("numpy")
    for name, figure in found["numpy"]["figures"].items():
        for side in ("samples", "real"):
            # a rounding may put a sample on the other side of a ball's surface
            expected = pytest.approx(figure[side], rel=0.05, abs=2.5 / 30)
            assert found["cupy"]["figures"][name][side] == expected, (name, side)


@pytest.mark.slow
@pytest.mark.cpu("many steps of training")
def test_a_run_on_digits(capsys, tmp_path):
    """Of the digits' own network after an epoch; the classifier is as good as it is said to be."""
    gan = mg.GAN(*mg.models.clear_digits(), **mg.recipes.clear_digits)
    mg.train(gan, "digits", 1, tmp_path / "run", progress=False)
    assert main(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 5000
    assert report["features"]["accuracy"] >= 0.985
    for name, bound in (("precision", 0.9), ("recall", 0.9), ("coverage", 0.95)):
        figure = report["figures"][name]
        assert figure["samples"] < figure["real"] and figure["real"] > bound
    distance = report["figures"]["frechet_distance"]
    assert distance["samples"] > 10 * distance["real"]
    assert report["figures"]["near_copies_of_training"]["samples"] < 0.05
