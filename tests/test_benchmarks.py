"""The scripts in benchmarks/ run, go on where they were stopped, and report what they measured."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import minigan as mg
from minigan.run import imaging
from minigan.run.mixtures import ring as ring_of_8

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"


def call(name, *words, cwd, launcher=()):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *launcher, str(FOLDER / f"{name}.py"), *words],
        cwd=cwd, capture_output=True, text=True, timeout=600, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def scores(folder):
    return [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]


def line_of(report, method):
    return next(line for line in report.splitlines() if f"| `{method}`" in line)


@pytest.mark.cpu("starts processes of its own, on the CPU")
def test_stacked(tmp_path):
    words = ["--seeds", "0", "1", "--only", "r3gan", "plain"]
    folder = tmp_path / "runs/stacked-quick"
    call("stacked", "--quick", *words, "--epochs", "1", cwd=tmp_path)
    first = scores(folder / "r3gan-seed1")
    judge = (folder / "judge.safetensors").read_bytes()
    out = call("stacked", "--quick", *words, "--epochs", "2", cwd=tmp_path)
    rows = scores(folder / "r3gan-seed1")
    assert rows[:1] == first and [row["epoch"] for row in rows] == [1, 2]
    assert (folder / "judge.safetensors").read_bytes() == judge
    assert rows[1]["minutes"] > rows[0]["minutes"] > 0 and rows[0]["machine"]
    assert [row["images"] for row in rows] == [128, 256]
    assert 1 <= rows[1]["modes"] <= 1000 and 0 < rows[1]["kl"] <= 6.91
    log = [json.loads(line) for line in (folder / "r3gan-seed1/log.jsonl").open()]
    assert [row["step"] for row in log] == [row["step"] for row in rows] == [2, 4]
    report = (folder / "report.md").read_text()
    assert report in out and "every_8th" not in report and rows[0]["machine"] in report
    assert "- `plain`: seeds 0, 1; epochs 2, 2" in report
    modes = [scores(folder / f"plain-seed{seed}")[-1]["modes"] for seed in (0, 1)]
    cell = f"{np.mean(modes):.1f}"
    assert cell + (f" ({min(modes):.1f} to" if len({*modes}) > 1 else " |") in line_of(
        report, "plain"
    )
    assert (folder / "report.png").read_bytes()[:4] == b"\x89PNG"
    call("stacked", "--quick", "--only", "plain", "--seeds", "2", "--epochs", "1", cwd=tmp_path)
    report = (folder / "report.md").read_text()  # what is trained alone is reported beside all
    assert "- `r3gan`: seeds 0, 1; epochs 2, 2" in report
    assert "- `plain`: seeds 0, 1, 2; epochs 2, 2, 1" in report


@pytest.mark.cpu("starts processes of its own, on the CPU")
def test_points(tmp_path):
    words = ["--seeds", "0", "--only", "r3gan", "wgan_gp"]
    call("points", "--quick", *words, cwd=tmp_path)
    folder = tmp_path / "runs/points-quick"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir())
    assert names == sorted(f"{m}-{x}-seed0" for m in ("ring", "grid") for x in words[3:])
    report = (folder / "report.md").read_text()
    for method in words[3:]:
        cells = [cell.strip() for cell in line_of(report, method).split("|")[2:-1]]
        ring, grid = (scores(folder / f"{m}-{method}-seed0")[0] for m in ("ring", "grid"))
        found = [f"{row[k]:.1f}" for row in (ring, grid) for k in ("modes", "good", "minutes")]
        assert cells == found
        points = np.load(folder / f"ring-{method}-seed0/points.npy")
        modes, share = ring_of_8().coverage(points)
        assert (ring["modes"], ring["good"]) == (modes, round(100 * share, 2))
    again = call("points", "--quick", *words, "--report", cwd=tmp_path)
    assert report in again


@pytest.mark.cpu("starts processes of its own, on the CPU")
def test_digits(tmp_path):
    words = ["--seeds", "3", "--only", "dcgan", "r1", "--minutes", "0"]
    call("digits", "--quick", *words, cwd=tmp_path)
    folder = tmp_path / "runs/digits-quick"
    rows = {m: scores(folder / f"{m}-seed3") for m in ("dcgan", "r1")}
    assert all(len(found) == 1 and found[0]["distance"] > 1 for found in rows.values())
    assert "| – | – | – |" in line_of((folder / "report.md").read_text(), "r1")  # no such time
    minutes = 1.5 * max(found[0]["minutes"] for found in rows.values())
    words[-1] = str(minutes)
    call("digits", "--quick", *words, cwd=tmp_path)
    found = {}
    for method in rows:
        rows = scores(folder / f"{method}-seed3")
        times, distances = ([row[k] for row in rows] for k in ("minutes", "distance"))
        assert times[-1] >= minutes > times[-2]
        found[method] = np.interp(minutes, times, distances)
    cells = line_of((folder / "report.md").read_text(), "r1").split("|")
    ratio = found["dcgan"] / found["r1"]
    assert [c.strip() for c in cells[-3:-1]] == [f"{found['r1']:,.2f}", f"{ratio:,.1f}"]


@pytest.fixture
def runs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("runs")


def small_gan(rate=2e-4):
    key = mg.random.Key(0, "weights")
    g = mg.Sequential([mg.Dense(2)], input_shape=(2,), key=key.child("g"))
    d = mg.Sequential([mg.Dense(1)], input_shape=(2,), key=key.child("d"))
    return mg.GAN(g, d, batch_size=10, seed=0, d_optimizer=mg.SGD(rate), objective="least_squares")


def sums(gan, _):
    return {"sum": float(mg.to_numpy(gan.generator.params.flat).sum())}


def test_what_a_second_call_takes_up(tmp_path, runs):
    """Rows that were not written, though their epochs were trained, are made up for."""

    def train(name, epochs, score=sums):
        out, data = tmp_path / name, ring_of_8().points(40)
        rows = runs.scored(out, small_gan(), data, lambda rows: len(rows) >= epochs, score)
        return [[row[k] for k in ("epoch", "step", "sum")] for row in rows]

    whole = train("whole", 3)
    assert [step for _, step, _ in whole] == [4, 8, 12]
    train("broken", 2)
    lines = (tmp_path / "broken/scores.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "broken/scores.jsonl").write_text(lines[0])
    assert train("broken", 3) == whole
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/.12-3.tmp").write_text("{")  # killed as config.json was being written
    assert train("begun", 3) == whole

    def killed(gan, _):
        if gan.step_count == 8:
            raise KeyboardInterrupt
        return sums(gan, _)

    with pytest.raises(KeyboardInterrupt):
        train("killed", 3, killed)
    assert train("killed", 3) == whole


def test_a_run_of_another_recipe_is_not_gone_on_with(tmp_path, runs):
    data = ring_of_8().points(40)
    runs.scored(tmp_path, small_gan(), data, lambda rows: len(rows) >= 1, sums)
    with pytest.raises(SystemExit, match="another recipe: remove it"):
        runs.scored(tmp_path, small_gan(1e-3), data, lambda rows: len(rows) >= 2, sums)


@pytest.mark.cpu("the search for the layer patches methods, which their twins would share")
@pytest.mark.filterwarnings("ignore")
def test_a_run_that_diverges_is_reported(tmp_path, runs):
    data = ring_of_8().points(40)

    def train():
        return runs.scored(tmp_path / "x-seed0", small_gan(1e30), data, lambda rows: False, sums)

    rows = train()
    assert "stopped at step" in rows[-1]["stopped"] and train() == rows
    results = {"x": {0: rows}}
    assert runs.measured(results["x"]) == ([rows[:-1]] if rows[1:] else [])
    runs.write_report(tmp_path, "table", results, imaging.panels(1)[0])
    assert "- `x`, seed 0: stopped at step" in (tmp_path / "report.md").read_text()


def test_seeds_are_compared_at_the_same_epoch(runs):
    rows = [{"epoch": k} for k in (1, 2, 3)]
    assert runs.alike({0: rows, 1: rows[:2]}) == [rows[1], rows[1]] and runs.alike({}) == []
    assert runs.measured({0: rows, 1: rows[:2]}) == [rows, rows[:2]]
    assert runs.spread([], 1) == runs.spread([float("nan")], 1) == "–"
    assert runs.spread([999, 1000, 1000], 1) == "999.7 (999.0 to 1,000.0)"


def test_a_misspelt_method_is_told(tmp_path):
    command = [sys.executable, str(FOLDER / "points.py"), "--only", "r2gan"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 2 and "choose from" in done.stderr


def ratios(row):
    return [float(x) for x in re.findall(r"(\d+\.\d\d) \(", row)]


@pytest.mark.slow
def test_penalties_cost_no_more_than_they_should(tmp_path):
    rows = call("penalties", "mlp_digits", "digits", cwd=tmp_path).splitlines()[1:]
    assert len(rows) == 2
    for row in rows:
        none, r1, between, both = ratios(row)
        assert none == 1 and r1 <= 2.2 and between <= 2.2 and both <= 2.5, row


@pytest.mark.gpu
def test_penalties_are_timed_on_the_gpu(tmp_path, launcher):
    words = ["mlp_digits", "--quick", "--backend", "cupy"]
    row = call("penalties", *words, cwd=tmp_path, launcher=launcher).splitlines()[-1]
    # what the ratios are is not asked: time is not modelled, and a step has few images here
    assert row.startswith("mlp_digits") and ratios(row)[0] == 1 and min(ratios(row)) > 0
