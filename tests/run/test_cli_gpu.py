"""The command line on a GPU: each command in a process of its own, beside the CPU's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigan as mg

ROOT = Path(__file__).resolve().parents[2]
RIG = ROOT / "tests" / "emugpu" / "run.py"


def call(program, words, folder, **env):
    """(exit code, stdout, stderr) of a command line; errors are short and no traceback."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MINIGAN_BACKEND": "", **env}
    command = [sys.executable, *map(str, program), *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    err = done.stderr
    assert "Traceback" not in err and len(err.splitlines()) <= 5, err
    return done.returncode, done.stdout, err


@pytest.fixture(scope="module")
def minigan(request, tmp_path_factory):
    """minigan(words..., variable=value) -> call(...) where there is a device, in one folder."""
    folder = tmp_path_factory.mktemp("cli")
    x, y = mg.datasets.digits()
    np.savez(folder / "tiny.npz", images=x[::600][:16], labels=y[::600][:16])
    rig = [RIG] if request.config.getoption("--device") == "emulated" else []

    def run(*words, **env):
        return call([*rig, "-m", "minigan"], words, folder, **env)

    run.folder = folder
    return run


TINY = ("--data", "tiny.npz", "--epochs", 1, "--batch-size", 8, "--seed", 3)


@pytest.fixture(scope="module")
def trained(minigan):
    """What `train` printed on each backend; the runs are folders of their names."""
    printed = {}
    for backend in ("numpy", "cupy"):
        words = ("train", "mlp_digits", *TINY, "--out", backend, "--backend", backend)
        code, printed[backend], err = minigan(*words)
        assert code == 0 and err == "", err
    return printed


@pytest.mark.gpu
def test_training_logs_what_the_cpus_does(minigan, trained):
    losses = {k: re.sub(r"\d+ images/s", "", text) for k, text in trained.items()}
    for word in ("epoch 1", "step 2", "d_loss", "g_loss"):
        assert word in losses["cupy"].splitlines()[0]
    assert losses["cupy"].splitlines()[0] == losses["numpy"].splitlines()[0]
    logs = [
        json.loads((minigan.folder / run / "log.jsonl").read_text()) for run in ("cupy", "numpy")
    ]
    for name in ("d_loss", "g_loss", "d_real", "d_fake"):
        assert logs[0][name] == pytest.approx(logs[1][name], rel=1e-4)
    config, cpus = (
        json.loads((minigan.folder / run / "config.json").read_text()) for run in ("cupy", "numpy")
    )
    assert config == cpus  # a run does not depend on where it was made


@pytest.mark.gpu
@pytest.mark.parametrize("run", ["numpy", "cupy"])
def test_samples_are_the_cpus(run, minigan, trained):
    images = {}
    for backend in ("numpy", "cupy"):
        out = f"{run}-{backend}.npz"
        words = ("sample", run, "--count", 9, "--out", out, "--backend", backend)
        code, printed, err = minigan(*words)
        assert code == 0 and err == "" and printed == f"{out}\n"
        images[backend] = np.load(minigan.folder / out)["images"].astype(int)
    assert images["cupy"].shape == (9, 28, 28, 1) and np.ptp(images["cupy"]) > 10
    assert np.abs(images["cupy"] - images["numpy"]).max() <= 1


@pytest.mark.gpu
def test_a_picture_of_samples(minigan, trained):
    code, out, _ = minigan("sample", "cupy", "--count", 4, "--seed", 1, "--backend", "cupy")
    assert code == 0 and out.strip() == os.path.join("cupy", "sample-seed1.png")
    with Image.open(minigan.folder / out.strip()) as picture:
        assert picture.size == (58, 58)  # two by two, and a gap


@pytest.mark.gpu
def test_the_way_between_is_the_cpus(minigan, trained):
    pictures = []
    for backend in ("numpy", "cupy"):
        words = ("--points", 2, "--truncation", 0.9, "--backend", backend)
        code, out, err = minigan("interpolate", "cupy", *words, "--out", f"{backend}.png")
        assert code == 0 and err == "", err
        with Image.open(minigan.folder / out.strip()) as picture:
            pictures.append(np.asarray(picture).astype(int))
    assert pictures[0].shape == (28, 5 * 28 + 4 * 2) and np.ptp(pictures[0]) > 10
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    code, out, _ = minigan("animate", "cupy", "--backend", "cupy")
    assert code == 0 and out.strip() == os.path.join("cupy", "animation.gif")


@pytest.mark.gpu
def test_the_variable_and_the_option(minigan):
    assert "backend cupy," in minigan("info", MINIGAN_BACKEND="cupy")[1]
    assert "backend numpy," in minigan("info")[1]
    words = ("info", "--backend", "numpy")
    assert "backend numpy," in minigan(*words, MINIGAN_BACKEND="cupy")[1]


@pytest.mark.gpu
def test_auto_says_what_it_chose(minigan):
    code, out, err = minigan("info", "--backend", "auto")
    assert code == 0 and "backend cupy," in out
    assert re.fullmatch(r"minigan: backend auto chose cupy: device 0, .+\n", err)


@pytest.mark.gpu
def test_info_names_cupy_and_the_device(minigan):
    import cupy

    code, out, err = minigan("info", "--backend", "cupy")
    assert code == 0 and err == ""
    assert f"CuPy {cupy.__version__}, CUDA runtime" in out
    assert re.search(r"GPU: device 0, .+ of \d+\.\d GiB free", out)


@pytest.mark.gpu
def test_summary_is_the_cpus(minigan):
    tables = [minigan("summary", "digits", "--backend", b) for b in ("cupy", "numpy")]
    assert tables[0] == tables[1] and "generator" in tables[0][1]


BENCH = ("bench", "mlp_digits", "--backend", "cupy", "--rounds", 1, "--batch-size", 4)


@pytest.mark.gpu
def test_bench_times_steps_and_kernels(minigan):
    code, out, err = minigan(*BENCH)
    assert code == 0 and err == ""
    assert re.match(r"mlp_digits, batch 4: \d+\.\d\d ms/step by events", out)
    assert re.search(r"^ +matmul +[1-9]\d* +\d+\.\d{3}$", out, re.M), out
    code, out, _ = minigan(*BENCH, "--json")
    found = json.loads(out)
    assert code == 0 and found["device"].startswith("device 0")
    assert found["pairs"][0]["batch"] == 4 and found["pairs"][0]["kernels"]["matmul"][0] > 0


@pytest.mark.gpu
@pytest.mark.parametrize("option", [("--against", "torch"), ("--profile",)])
def test_bench_refuses_what_is_of_the_cpu(option, minigan):
    code, out, err = minigan(*BENCH, *option)
    assert code == 2 and out == "" and err.count("\n") == 1
    assert err.startswith("minigan: bench on a GPU")


@pytest.mark.gpu
def test_check_passes_and_compares_the_gpu(minigan):
    code, out, err = minigan("check", "--backend", "cupy")
    assert code == 0 and err == "" and out.rstrip().endswith("all passed")
    rows = [line for line in out.splitlines() if "GPU, float64" in line]
    for what in ("Conv2D", "ReLU", "BatchNorm", "GAN"):
        assert any(row.startswith(what) for row in rows), what


@pytest.mark.gpu
def test_an_unknown_backend(minigan):
    for words, env in ((("--backend", "cuda"), {}), ((), {"MINIGAN_BACKEND": "cuda"})):
        code, out, err = minigan("info", *words, **env)
        assert code == 2
        told = "backend 'cuda' is unknown; choose 'numpy', 'cupy' or 'auto'\n"
        assert err == f"minigan: {'MINIGAN_BACKEND=cuda: ' if env else ''}{told}"


@pytest.mark.gpu
def test_running_out_of_memory_names_a_batch_to_try(rig, minigan, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from minigan.run import train\n"
        "from minigan.run.cli import main\n"
        "from tests.emugpu import rig\n"
        "batches = train._batches\n"
        "def full(*arguments):\n"
        "    device.append(rig.install().memory_limit(1 << 20))\n"
        "    device[-1].__enter__()  # the networks are there, and nothing more fits\n"
        "    return batches(*arguments)\n"
        "device = []\n"
        "train._batches = full\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ("train", "mlp_digits", *TINY, "--out", "full", "--backend", "cupy")
    code, _, err = call([RIG, script], words, minigan.folder)
    assert code == 1 and "does not fit into the GPU's memory" in err, err
    assert "a batch of 8 " in err and "try a batch size of 4" in err


def test_without_a_gpu_the_message_says_what_is_missing(tmp_path):
    code, out, err = call(["-m", "minigan"], ("summary", "digits", "--backend", "cupy"), tmp_path)
    if code == 0:
        pytest.skip("there is a GPU here")
    assert code == 2 and out == "" and err.startswith("minigan: ")
    assert "CuPy, which cannot be imported" in err or "no NVIDIA driver" in err
    assert "--backend numpy" in err
