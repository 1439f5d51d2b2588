"""minigan train on one's own images: any size, tips, resume, dry run, what is printed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import minigan as mg

pytestmark = pytest.mark.cpu("whole runs, whose kernels others test; see test_cli_gpu.py")

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--epochs", 1, "--batch-size", 4)


@pytest.fixture
def run(furnished):
    return furnished


def config(run):
    return json.loads((Path(run) / "config.json").read_text())


@pytest.mark.parametrize("words, shape, classes", [
    (("--size", 32), (32, 32, 3), None),
    (("--size", 48, "--gray"), (48, 48, 1), None),
    (("--size", 32, "--conditional"), (32, 32, 3), 3),
    (("--size", 32, "--width", 8, "--fit", "pad"), (32, 32, 3), None),
    (("dcgan64", "--recipe", "dcgan"), (64, 64, 1), None),
])  # fmt: skip
def test_a_folder_gets_a_network_for_its_size(run, words, shape, classes):
    code, out, err = run("train", *words, "--data", "pictures", *QUICK, "--out", "run")
    assert code == 0, err
    assert "12 images" in err and out.splitlines()[0].startswith("epoch 1  step 3")
    found = config("run")["data"]
    assert found["image_shape"] == list(shape) and found["name"] == os.path.abspath("pictures")
    assert found["classes"] == (["daisy", "rose", "tulip"] if classes else None)
    generator = mg.load("run/generator.safetensors")
    assert generator.output_shape == shape
    code, _, err = run("sample", "run", "--count", 3, "--out", "s.npz")
    assert code == 0, err
    assert np.load("s.npz")["images"].shape == (3, *shape)


def test_a_run_is_called_after_its_data(run):
    words = ("--size", 32, "--width", 4, *QUICK)
    for _ in range(2):
        out = run("train", "--data", "pictures", *words)[1]
    assert sorted(os.listdir("runs")) == ["pictures32-seed0", "pictures32-seed0-2"]
    assert f"minigan train --resume {Path('runs/pictures32-seed0-2')}" in out
    assert run("train", "--data", "few.npz", *words)[0] == 0
    assert Path("runs/few32-seed0").is_dir()


def test_a_network_for_grey_images_says_so(run):
    words = ("train", "--data", "pictures", "--dry-run", *QUICK)
    assert "dcgan64 is a network for grey images" in run(*words, "dcgan64")[2]
    assert "grey" not in run(*words, "--size", 32, "--gray")[2]


def test_classes_are_asked_for_by_name(run):
    words = ("--data", "pictures", "--size", 32, "--width", 4, "--conditional", *QUICK)
    assert run("train", *words, "--out", "run")[0] == 0
    for label, name in enumerate(("daisy", "rose", "tulip")):
        assert run("sample", "run", "--class", name, "--count", 2, "--out", "a.npz")[0] == 0
        assert run("sample", "run", "--class", label, "--count", 2, "--out", "b.npz")[0] == 0
        a, b = np.load("a.npz"), np.load("b.npz")
        np.testing.assert_array_equal(a["images"], b["images"])
        np.testing.assert_array_equal(a["labels"], [label, label])
    code, _, err = run("sample", "run", "--class", "violet")
    assert code == 2 and "daisy" in err


def test_width_and_fit_have_effects(run):
    words = ("train", "--data", "pictures", "--size", 32, *QUICK)
    for name, more in (("plain", ()), ("wide", ("--width", 8)), ("pad", ("--fit", "pad"))):
        assert run(*words, *more, "--out", name)[0] == 0
    plain, wide = (mg.load(f"{n}/generator.safetensors").count_params() for n in ("plain", "wide"))
    assert wide[0] < plain[0] / 4
    assert config("plain")["data"]["digest"] != config("pad")["data"]["digest"]


def test_digits_at_other_sizes(run):
    for words, shape in (((), (28, 28, 1)), (("--size", 32), (32, 32, 1)),
                         (("mlp_digits",), (28, 28, 1)), (("dcgan64",), (64, 64, 1))):  # fmt: skip
        name = "x".join(map(str, shape)) + str(len(words))
        assert run("train", *words, "--data", "few.npz", *QUICK, "--out", name)[0] == 0
        assert config(name)["data"]["image_shape"] == list(shape)


TIPS = [
    (("--d-steps", 3), {"d_steps": 3}),
    (("--update", "separate"), {"update": "separate"}),
    (("--lr", 0.001), {("g_optimizer", "learning_rate"): 1e-3,
                       ("d_optimizer", "learning_rate"): 1e-3}),
    (("--g-lr", 0.001), {("g_optimizer", "learning_rate"): 1e-3,
                         ("d_optimizer", "learning_rate"): 1e-5}),
    (("--d-lr", 0.001), {("g_optimizer", "learning_rate"): 1e-5,
                         ("d_optimizer", "learning_rate"): 1e-3}),
    (("--real-targets", "0.8:1"), {"real_targets": [0.8, 1.0], "fake_targets": [0.0, 0.0]}),
    (("--real-targets", "0.9", "--fake-targets", "0:0.2"),
     {"real_targets": [0.9, 0.9], "fake_targets": [0.0, 0.2]}),
    (("--flip-labels", 0.3), {"flip_labels": 0.3}),
    (("--instance-noise", 0.5), {"instance_noise": [0.5, 8]}),
    (("--instance-noise", "0.5:70"), {"instance_noise": [0.5, 70]}),
    (("--ema", 0.5), {"ema": 0.5}),
    (("--clip-gradients", 0.001), {("g_optimizer", "global_clipnorm"): 0.001,
                                   ("d_optimizer", "global_clipnorm"): 0.001}),
]  # fmt: skip


def test_every_tip_reaches_the_gan_and_changes_the_weights(run):
    """All options of the group, two epochs of four steps each."""
    words = ("train", "mlp_digits", "--data", "few.npz", "--epochs", 2, "--batch-size", 4)
    assert run(*words, "--out", "plain")[0] == 0
    weights = {"plain": mg.load("plain/generator.safetensors").params.flat}
    for options, expected in TIPS:
        name = "with" + "_".join(map(str, options)).replace(":", "")
        assert run(*words, *options, "--out", name)[0] == 0
        gan = config(name)["gan"]
        for key, value in expected.items():
            found = gan[key] if isinstance(key, str) else gan[key[0]][key[1]]
            assert found == value, options
        weights[name] = mg.load(f"{name}/generator.safetensors").params.flat
    flat = list(weights.values())
    same = [(a, b) for a in range(len(flat)) for b in range(a) if (flat[a] == flat[b]).all()]
    assert same == [], list(weights)


def test_resume_goes_on_to_the_same_bits(run):
    words = ("train", "--data", "pictures", "--size", 32, "--width", 4, "--batch-size", 4)
    assert run(*words, "--epochs", 3, "--out", "whole")[0] == 0
    assert run(*words, "--epochs", 1, "--out", "run")[0] == 0
    code, out, _ = run("train", "--resume", "run")
    assert code == 0 and out.splitlines()[0] == (
        "the run was finished at epoch 1; --epochs N prolongs it"
    )
    code, out, _ = run("train", "--resume", "run", "--epochs", 3)
    assert code == 0 and [line[:7] for line in out.splitlines()[:2]] == ["epoch 2", "epoch 3"]
    for file in ("generator.safetensors", "samples/epoch_0003.png", "config.json"):
        assert Path("run", file).read_bytes() == Path("whole", file).read_bytes(), file


def test_data_that_moved_are_named_again(run):
    words = ("train", "--data", "few.npz", "--size", 32, "--width", 4, *QUICK)
    assert run(*words, "--out", "run")[0] == 0
    os.rename("few.npz", "moved.npz")
    code, _, err = run("train", "--resume", "run", "--epochs", 2)
    assert code == 2 and "few.npz" in err
    assert run("train", "--resume", "run", "--epochs", 2, "--data", "moved.npz")[0] == 0


def test_a_run_is_resumed_from_anywhere(run, tmp_path, monkeypatch):
    words = ("train", "--data", "few.npz", "--size", 32, "--width", 4, *QUICK)
    assert run(*words, "--out", "run")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert run("train", "--resume", "../run", "--epochs", 2)[0] == 0


def test_new_rates_hold_from_the_resumption_on(run):
    words = ("train", "--data", "few.npz", "--size", 32, "--width", 4, *QUICK)
    for out in ("a", "b"):
        assert run(*words, "--out", out)[0] == 0
    assert run("train", "--resume", "a", "--epochs", 2)[0] == 0
    assert run("train", "--resume", "b", "--epochs", 2, "--g-lr", 0.01)[0] == 0
    a, b = (mg.load(f"{out}/generator.safetensors").params.flat for out in "ab")
    assert (a != b).any()
    changed = {"g_optimizer": {"learning_rate": 0.01}, "d_optimizer": {}, "step": 4}
    assert config("b")["gan"]["g_optimizer"]["learning_rate"] == 0.01
    (found,) = config("b")["changes"]
    assert found == {name: value for name, value in changed.items() if value}


def test_fewer_epochs_than_there_are_already_are_refused(run):
    words = ("train", "--data", "few.npz", "--size", 32, "--width", 4, "--batch-size", 4)
    assert run(*words, "--epochs", 3, "--out", "run")[0] == 0
    before = Path("run/config.json").read_bytes()
    code, _, err = run("train", "--resume", "run", "--epochs", 2)
    assert code == 2 and "has 3 epochs already; --epochs is how many in all" in err
    assert Path("run/config.json").read_bytes() == before


def test_a_run_is_not_put_among_its_pictures(run, monkeypatch):
    for words in (("--out", "pictures/run"), ("--out", "pictures/rose/../run")):
        code, _, err = run("train", "--data", "pictures", "--size", 32, *words)
        assert code == 2 and "inside its data" in err
    monkeypatch.chdir("pictures")
    code, _, err = run("train", "--data", ".", "--size", 32)
    assert code == 2 and "inside its data" in err and not os.path.exists("runs")


def test_networks_that_a_table_names_are_taken_by_name(run):
    for name in ("dcgan", "clear_flowers", "clear_digits"):
        words = ("--size", 32, "--width", 4) if name == "dcgan" else ()
        assert run("train", name, "--data", "pictures", *words, *QUICK, "--out", name)[0] == 0


def test_a_generator_file_holds_no_path_and_no_time(run):
    for out in ("a", "deep/er/b"):
        words = ("train", "--data", "few.npz", "--size", 32, "--width", 4, *QUICK, "--out", out)
        assert run(*words)[0] == 0
        time.sleep(0.01)
    a, b = (Path(out, "generator.safetensors").read_bytes() for out in ("a", "deep/er/b"))
    assert a == b and b"few" not in a and os.getcwd().encode() not in a


def test_a_used_folder_says_how_to_go_on(run):
    words = ("train", "--data", "few.npz", "--size", 32, "--width", 4, *QUICK, "--out", "run")
    assert run(*words)[0] == 0
    code, _, err = run(*words)
    assert code == 2 and "minigan train --resume run" in err


def test_quiet_and_json(run):
    words = ("train", "--data", "pictures", "--size", 32, "--width", 4, "--batch-size", 4)
    assert run(*words, "--epochs", 2, "--quiet", "--out", "a") == (0, "", "")
    code, out, err = run(*words, "--epochs", 2, "--json", "--out", "b")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and err == "" and rows[-1] == {"run": "b"}
    assert rows[:-1] == [json.loads(line) for line in open("b/log.jsonl")]


def test_a_dry_run_writes_nothing_and_tells_shapes_memory_and_time(run):
    words = ("train", "--data", "pictures", "--size", 32, "--batch-size", 4, "--dry-run")
    before = sorted(os.listdir())
    code, out, _ = run(*words, "--epochs", 10)
    assert code == 0 and sorted(os.listdir()) == before
    for word in ("conv2d_transpose", "(None, 32, 32, 3)", "Total params", "3 steps", "10 epochs",
                 "12 images of 32 x 32 x 3", "memory"):  # fmt: skip
        assert word in out, word
    code, out, _ = run(*words, "--epochs", 10, "--json")
    facts = json.loads(out)
    assert facts["steps_an_epoch"] == 3 and facts["seconds_a_step"] > 0 and facts["memory_mb"] > 10
    assert facts["seconds_an_epoch"] >= 3 * facts["seconds_a_step"] - 0.06  # and the samples
    assert facts["seconds"] == pytest.approx(10 * facts["seconds_an_epoch"], abs=1.1)


def start(words, folder):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "minigan", "train", *map(str, words)]
    return subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kept(run):
    """Every file of a run but the log, by name."""
    return {str(p.relative_to(run)): p.read_bytes() for p in Path(run).rglob("*")
            if p.is_file() and p.name != "log.jsonl"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_kill_9_at_drawn_steps_loses_nothing(run, tmp_path):
    """240 steps, killed at six drawn among them, at a moment after each that is drawn too."""
    words = ("--data", "few.npz", "--size", 32, "--width", 4, "--batch-size", 4, "--epochs", 60,
             "--checkpoint-every", 7)  # fmt: skip
    assert run("train", *words, "--quiet", "--out", "whole")[0] == 0
    rng = np.random.default_rng(0)
    process = start([*words, "--out", "run"], tmp_path)
    for step in sorted(rng.integers(0, 220, 6)):
        while reached("run") < step:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.2))
        assert process.poll() is None
        process.kill()
        process.communicate()
        process = start(["--resume", "run", "--quiet"], tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    whole, broken = kept("whole"), kept("run")
    assert whole.keys() == broken.keys()
    assert [name for name in whole if whole[name] != broken[name]] == []


def reached(run):
    """The step of the newest checkpoint, -1 without one."""
    names = [path.stem for path in Path(run, "checkpoints").glob("step_*.safetensors")]
    return max((int(name[5:]) for name in names), default=-1)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no lock on folders")
def test_two_processes_do_not_train_in_one_folder(run, tmp_path):
    words = ("--data", "few.npz", "--size", 32, "--width", 4, "--epochs", 100_000, "--out", "run")
    process = start(words, tmp_path)
    while not Path("run/log.jsonl").exists():
        time.sleep(0.05)
    code, _, err = run("train", "--resume", "run")
    assert code == 2 and "another process is training in run" in err
    process.kill()
    process.communicate()
    log = Path("run/log.jsonl").read_text().splitlines()
    code, _, err = run("train", "--resume", "run", "--data", "none.npz")
    assert code == 2 and "none.npz" in err  # the lock has gone
    assert Path("run/log.jsonl").read_text().splitlines() == log


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(run, tmp_path, number):
    words = ("--data", "few.npz", "--size", 32, "--width", 4, "--epochs", 100_000, "--out", "run")
    process = start(words, tmp_path)
    while not Path("run/samples").exists():
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "minigan train --resume run" in err
    step = int(err.split("after step ")[1].split(";")[0])
    assert Path("run/checkpoints", f"step_{step:08d}.safetensors").exists()
