"""The scripts in benchmarks/ run, go on where they were stopped, and report what they measured."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"


def call(name, *words, cwd):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--quick", *words],
        cwd=cwd, capture_output=True, text=True, timeout=600, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def scores(folder):
    return [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]


@pytest.mark.cpu("starts processes of its own, on the CPU")
def test_stacked(tmp_path):
    words = ["--seeds", "0", "1", "--only", "r3gan", "plain"]
    call("stacked", *words, "--epochs", "1", cwd=tmp_path)
    first = scores(tmp_path / "runs/stacked-quick/r3gan-seed1")
    out = call("stacked", *words, "--epochs", "2", cwd=tmp_path)
    rows = scores(tmp_path / "runs/stacked-quick/r3gan-seed1")
    assert rows[:1] == first and [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["minutes"] > rows[0]["minutes"] > 0
    assert [row["images"] for row in rows] == [128, 256]
    assert 1 <= rows[1]["modes"] <= 1000 and 0 < rows[1]["kl"] <= 6.91
    log = [json.loads(s) for s in (tmp_path / "runs/stacked-quick/r3gan-seed1/log.jsonl").open()]
    assert [row["step"] for row in log] == [row["step"] for row in rows]
    report = (tmp_path / "runs/stacked-quick/report.md").read_text()
    assert (
        report in out and "`r3gan`" in report and "`plain`" in report and "every_8th" not in report
    )
    modes = [scores(tmp_path / f"runs/stacked-quick/plain-seed{s}")[-1]["modes"] for s in (0, 1)]
    line = next(line for line in report.splitlines() if "`plain`" in line)
    assert f"({min(modes)} to {max(modes)})" in line
    assert (tmp_path / "runs/stacked-quick/stacked.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.cpu("starts processes of its own, on the CPU")
def test_points(tmp_path):
    words = ["--seeds", "0", "--only", "r3gan", "wgan_gp"]
    call("points", *words, "--epochs", "1", cwd=tmp_path)
    folder = tmp_path / "runs/points-quick"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir())
    assert names == sorted(f"{m}-{x}-seed0" for m in ("ring", "grid") for x in words[3:])
    assert all(0 <= scores(folder / name)[0]["modes"] <= 25 for name in names)
    report = (folder / "report.md").read_text()
    assert report.count("(0") >= 2 and "a perfect sampler | 8 | 98.9 | | 25 | 98.9" in re.sub(
        r" +", " ", report
    )
    again = call("points", *words, "--report", cwd=tmp_path)
    assert report.splitlines()[:9] == again.strip().splitlines()[:9]


@pytest.mark.cpu("starts processes of its own, on the CPU")
def test_digits(tmp_path):
    words = ["--seeds", "3", "--only", "dcgan", "r1", "--minutes", "0.001"]
    out = call("digits", *words, cwd=tmp_path)
    rows = {m: scores(tmp_path / f"runs/digits-quick/{m}-seed3") for m in ("dcgan", "r1")}
    assert all(len(found) == 1 and found[0]["distance"] > 1 for found in rows.values())
    line = next(line for line in out.splitlines() if "`r1`" in line)
    ratio = rows["dcgan"][0]["distance"] / rows["r1"][0]["distance"]
    assert line.split("|")[-2].strip() == f"{ratio:.1f}"


def test_what_a_second_call_takes_up(tmp_path):
    """A row that was not written, though its epoch was trained, is made up for."""
    sys.path.insert(0, str(FOLDER))
    try:
        import runs
    finally:
        sys.path.remove(str(FOLDER))
    import minigan as mg
    from minigan.run.mixtures import ring

    def make():
        key = mg.random.Key(0, "weights")
        g = mg.Sequential([mg.Dense(2)], input_shape=(2,), key=key.child("g"))
        d = mg.Sequential([mg.Dense(1)], input_shape=(2,), key=key.child("d"))
        return mg.GAN(g, d, batch_size=10, seed=0)

    def train(out, epochs):
        return runs.scored(
            out, make, ring().points(40), lambda rows: len(rows) >= epochs,
            lambda gan: {"sum": float(mg.to_numpy(gan.generator.params.flat).sum())},
        )  # fmt: skip

    whole = train(tmp_path / "whole", 3)
    train(tmp_path / "broken", 2)
    lines = (tmp_path / "broken/scores.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "broken/scores.jsonl").write_text(lines[0])
    made_up = train(tmp_path / "broken", 3)
    kept = ("epoch", "step", "sum")
    assert [[row[k] for k in kept] for row in made_up] == [[row[k] for k in kept] for row in whole]
    assert [row["step"] for row in whole] == [4, 8, 12]
