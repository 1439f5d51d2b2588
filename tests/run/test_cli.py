"""minigan.run.cli: commands, exit codes, and errors of at most five lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan.run.cli import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two steps on the mlp network."""
    folder = tmp_path_factory.mktemp("trained")
    x, y = mg.datasets.digits()
    np.savez(folder / "few.npz", images=x[::78][:128], labels=y[::78][:128])
    data, out = str(folder / "few.npz"), str(folder / "run")
    words = ["train", "mlp_digits", "--data", data, "--epochs", "2", "--batch-size", "64"]
    assert main([*words, "--out", out, "--seed", "5"]) == 0
    mg.seed(0)
    return folder / "run"


def test_train_writes_its_folder_and_says_where(run, digits_npz, tmp_path):
    words = ("train", "digits", "--data", digits_npz, "--epochs", 1, "--batch-size", 32)
    code, out, err = run(*words)
    assert code == 0 and err == ""
    folder = tmp_path / "runs" / "digits-seed0"
    assert sorted(os.listdir(folder)) == [
        "checkpoints", "config.json", "curves.png", "generator.safetensors", "log.jsonl", "samples",
    ]  # fmt: skip
    for word in ("epoch 1", "step 4", "d_loss", "g_loss", "D(x)", "D(G(z))", "images/s"):
        assert word in out.splitlines()[0]
    assert os.path.join("runs", "digits-seed0", "generator.safetensors") in out
    assert sorted(os.listdir(tmp_path)) == ["few.npz", "runs"]
    code, out, _ = run(*words)  # never over the first
    assert code == 0 and sorted(os.listdir("runs")) == ["digits-seed0", "digits-seed0-2"]
    first, second = (
        (tmp_path / "runs" / name / "generator.safetensors").read_bytes()
        for name in ("digits-seed0", "digits-seed0-2")
    )
    assert first == second


def test_classes_are_those_of_the_data(run, digits_npz):
    images, labels = mg.datasets.npz(digits_npz)
    np.savez("none.npz", images=images)
    np.savez("three.npz", images=images, labels=labels % 3)
    np.savez("sparse.npz", images=images, labels=labels * 1000)
    words = ("train", "digits", "--epochs", 1, "--batch-size", 128)
    for name, classes in (("none", 1), ("three", 3)):
        assert run(*words, "--data", f"{name}.npz", "--out", name)[0] == 0
        assert run("sample", name, "--count", 4, "--out", f"{name}-out.npz")[0] == 0
        code, _, err = run("sample", name, "--class", classes)
        assert code == 2 and f"0 to {classes - 1}" in err
    code, _, err = run(*words, "--data", "sparse.npz")
    assert code == 2 and "number the classes" in err
    with np.load("three-out.npz") as arrays:
        np.testing.assert_array_equal(arrays["labels"], [0, 1, 2, 0])


def test_recipes_choose_network_and_training(run, digits_npz):
    words = ("--data", digits_npz, "--epochs", 1, "--batch-size", 128)
    assert run("train", "digits", "--recipe", "reference", "--out", "a", *words)[0] == 0
    assert run("train", "digits", "--recipe", "upsample64", "--out", "b", *words)[0] == 0
    assert run("train", "digits", "--out", "c", *words, "--seed", 7)[0] == 0
    a, b, c = (json.loads(open(f"{name}/config.json").read())["gan"] for name in "abc")
    assert a["update"] == "separate" and a["fakes_per_real"] == 0.5
    assert b["update"] == "joint" and b["d_fakes"] == "inference"
    assert c["seed"] == 7 and c["ema"] == mg.recipes.clear_digits["ema"]
    reference, _ = mg.models.digits()
    assert mg.load("a/generator.safetensors").count_params() == reference.count_params()
    default, _ = mg.models.clear_digits()
    assert mg.load("b/generator.safetensors").count_params() == default.count_params()


def test_seed_changes_the_result(run, digits_npz):
    words = ("train", "mlp_digits", "--data", digits_npz, "--epochs", 1)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*words, "--out", name, "--seed", seed)[0] == 0
    a, b, c = (open(f"{name}/generator.safetensors", "rb").read() for name in "abc")
    assert a == b != c


def test_samples_are_those_of_the_gan(run, trained, tmp_path):
    code, out, _ = run("sample", trained, "--count", 6, "--seed", 3, "--out", "s.npz")
    assert code == 0 and out.strip() == "s.npz"
    with np.load("s.npz") as arrays:
        assert arrays.files == ["images"]
        images = arrays["images"]
    assert images.shape == (6, 28, 28, 1) and images.dtype == np.uint8
    saved = mg.load(trained / "generator.safetensors")
    gan = mg.GAN(saved, mg.models.mlp_digits()[1], **mg.recipes.mlp_digits, seed=5)
    expected = np.rint(gan.sample(6, seed=3) * 255).reshape(6, 28, 28, 1)
    np.testing.assert_array_equal(images, expected)
    run("sample", trained, "--count", 6, "--seed", 3, "--out", "s.png")
    grid = np.asarray(Image.open("s.png"))
    assert grid.shape == (2 * 28 + 2, 3 * 28 + 4)
    np.testing.assert_array_equal(grid[:28, :28], images[0, :, :, 0])
    read, labels = mg.datasets.npz("s.npz")  # what sample writes, train reads
    np.testing.assert_array_equal(read, images)


def test_sample_needs_two_files_only_and_repeats_itself(run, trained, tmp_path):
    (tmp_path / "copy").mkdir()
    for name in ("config.json", "generator.safetensors"):
        (tmp_path / "copy" / name).write_bytes((trained / name).read_bytes())
    code, out, _ = run("sample", "copy")
    path = tmp_path / "copy" / "sample-seed5.png"
    assert code == 0 and str(path.relative_to(tmp_path)) in out
    first = path.read_bytes()
    assert run("sample", "copy", "--seed", 5)[0] == 0 and path.read_bytes() == first
    assert run("sample", "copy", "--seed", 6)[0] == 0
    assert (tmp_path / "copy" / "sample-seed6.png").read_bytes() != first


def test_samples_of_one_class_and_of_all(run, make_gan, images, tmp_path):
    gan = make_gan(classes=3)
    mg.train(gan, (images, np.arange(20) % 3), epochs=1, out="run", progress=False)
    assert run("sample", "run", "--count", 4, "--class", 2, "--out", "two.npz")[0] == 0
    with np.load("two.npz") as arrays:
        np.testing.assert_array_equal(arrays["labels"], [2, 2, 2, 2])
        expected = np.rint((gan.sample(4, labels=[2] * 4, seed=0) + 1) * 127.5)
        np.testing.assert_array_equal(arrays["images"], expected)
    assert run("sample", "run", "--count", 4, "--out", "all.npz")[0] == 0
    with np.load("all.npz") as arrays:
        np.testing.assert_array_equal(arrays["labels"], [0, 1, 2, 0])
    code, _, err = run("sample", "run", "--class", 3)
    assert code == 2 and "0 to 2" in err


def test_summary_prints_both_networks_and_the_stack(run):
    code, out, _ = run("summary", "digits")
    assert code == 0
    for words in ("1,164,289", "40,705", "1,204,994", "633,472", "(None, 14, 14, 64)"):
        assert words in out


def test_info_and_help(run):
    code, out, _ = run("info")
    assert code == 0 and mg.__version__ in out and "numpy" in out and "threads" in out
    for words in ((), ("--help",), ("train", "--help"), ("sample", "--help")):
        code, out, _ = run(*words)
        assert code == 0 and "usage: minigan" in out


def test_check_passes_on_the_verdict(run, monkeypatch):
    from minigan.run import checks

    for code in (0, 1):
        monkeypatch.setattr(checks, "main", lambda code=code: code)
        assert run("check")[0] == code


@pytest.mark.parametrize(
    "words, expected",
    [
        ("bogus", "invalid choice"),
        ("trian digits", "did you mean 'train'?"),
        ("train --dta few.npz", "did you mean '--data'?"),
        ("train digits --fit corp", "did you mean 'crop'?"),
        ("train dgits", "did you mean 'digits'"),
        ("summary digts", "did you mean 'digits'"),
        ("train --recipe clear_digit", "did you mean 'clear_digits'"),
        ("train --epochs 0", "1 or more"),
        ("train --epochs many", "whole number"),
        ("train --batch-size -3", "1 or more"),
        ("train --seed -1", "0 or more"),
        ("train --backend torch", "numpy"),
        ("train --data nowhere.npz", "nowhere.npz"),
        ("train --data letters", "Give 'digits', 'mnist'"),
        ("train flowers", "80 x 80 x 3"),
        ("train dcgan64", "Give --data: a folder of images"),
        ("sample", "required"),
        ("sample .", "not a run"),
        ("sample nowhere", "not a run"),
        ("sample . --count 0", "1 or more"),
        ("summary", "required"),
        ("train digits extra words", "unrecognized"),
    ],
)
def test_a_wrong_command_line_exits_with_2(run, tmp_path, words, expected):
    code, out, err = run(*words.split())
    assert code == 2 and out == ""
    assert expected in err
    assert os.listdir(tmp_path) == []


def test_wrong_data_exit_with_2_and_leave_nothing(run, tmp_path):
    np.savez("one.npz", images=np.zeros((1, 20, 20), np.uint8))
    code, _, err = run("train", "digits", "--data", "one.npz")
    assert code == 2 and "at least two" in err
    np.savez("float.npz", images=np.full((4, 28, 28), np.nan))
    code, _, err = run("train", "digits", "--data", "float.npz")
    assert code == 2 and "uint8" in err
    (tmp_path / "text.npz").write_text("hello")
    code, _, err = run("train", "digits", "--data", "text.npz")
    assert code == 2 and "text.npz" in err
    assert not os.path.exists("runs")


def test_a_used_out_folder_exits_with_2(run, tmp_path, digits_npz):
    code, _, err = run("train", "digits", "--data", digits_npz, "--out", tmp_path)
    assert code == 2 and "not empty" in err
    assert os.listdir(tmp_path) == ["few.npz"]


def test_damaged_runs_exit_with_2(run, trained, tmp_path):
    def copy(change):
        for name in ("config.json", "generator.safetensors"):
            (tmp_path / name).write_bytes((trained / name).read_bytes())
        change()
        return run("sample", tmp_path, "--out", tmp_path / "x.png")

    config, weights = tmp_path / "config.json", tmp_path / "generator.safetensors"
    for change, word in [
        (lambda: config.write_text("{"), "config.json"),
        (lambda: config.write_text("[]"), "config.json"),
        (lambda: config.write_text('{"gan": {}}'), "seed"),
        (lambda: config.write_bytes(b"\xff\xfe\xfa"), "config.json"),
        (lambda: weights.write_bytes(weights.read_bytes()[:-1]), "generator.safetensors"),
        (lambda: weights.unlink(), "generator.safetensors"),
    ]:
        code, _, err = copy(change)
        assert code == 2 and word in err
    assert not (tmp_path / "x.png").exists()


def test_sample_refuses_other_kinds_of_file_and_missing_folders(run, trained):
    code, _, err = run("sample", trained, "--out", "a.jpg")
    assert code == 2 and ".png" in err and ".npz" in err
    code, _, err = run("sample", trained, "--out", "no/a.png")
    assert code == 1 and "folder does not exist" in err
    code, _, err = run("sample", trained, "--class", 1)
    assert code == 2 and "without classes" in err


def test_a_full_disk_exits_with_1(run, digits_npz, full_disk):
    full_disk(3)
    code, _, err = run("train", "mlp_digits", "--data", digits_npz, "--epochs", 1, "--out", "run")
    assert code == 1 and "disk is full" in err
    assert "config.json" in os.listdir("run")


@pytest.mark.cpu("a replay watches the layers, which their twins on a device would share")
def test_a_diverged_run_exits_with_1(run, digits_npz, monkeypatch):
    step = mg.GAN.train_step

    def train_step(gan, real, labels=None):
        return {**step(gan, real, labels), "d_loss": np.float32(np.nan)}

    monkeypatch.setattr(mg.GAN, "train_step", train_step)
    code, _, err = run("train", "mlp_digits", "--data", digits_npz, "--out", "run")
    assert code == 1 and "step 1" in err and "d_loss is nan" in err


@pytest.mark.parametrize("error, words", [(KeyboardInterrupt(), "interrupted"),
                                          (MemoryError(), "memory")])  # fmt: skip
def test_interrupts_and_lack_of_memory_exit_with_1(run, digits_npz, monkeypatch, error, words):
    def train_step(gan, real, labels=None):
        raise error

    monkeypatch.setattr(mg.GAN, "train_step", train_step)
    code, _, err = run("train", "mlp_digits", "--data", digits_npz, "--out", "run")
    assert code == 1 and words in err


def test_warnings_are_one_line(run, monkeypatch):
    import warnings

    from minigan.run import cli_tools

    def noisy(args):
        warnings.warn("mind the gap", stacklevel=1)
        np.exp(np.float32(1000) * np.ones(3, np.float32))  # an overflow: a diverging run's noise
        return 0

    monkeypatch.setattr(cli_tools, "_info", noisy)
    code, _, err = run("info")
    assert (code, err) == (0, "minigan: warning: mind the gap\n")


def test_python_dash_m_and_quick_help():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = (
        "import sys; from minigan.run.cli import main; main(['--help']);"
        "heavy = {'matplotlib', 'cupy', 'PIL', 'tqdm', 'safetensors'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "minigan", "train", "nothing"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 2 and "nothing" in done.stderr


def test_the_version(run):
    from importlib.metadata import version

    assert run("--version") == (0, f"minigan {version('minigan')}\n", "")
