"""Every planted fault must be caught by the comparisons of `minigan check`."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from .mutants import MUTANTS

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECK = "from minigan.run.checks import main; raise SystemExit(main(first_failure=True))"


def line_of(file: str, text: str) -> int:
    """The line on which the text begins; it must stand there exactly once."""
    source = (ROOT / file).read_text()
    assert source.count(text) == 1, f"{file} holds {text!r} {source.count(text)} times, not once"
    return source[: source.index(text)].count("\n") + 1


def check(root: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Run the checker on the copy of the sources under root."""
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "ignore", "-c", CHECK]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=120)


def copy_sources(root: pathlib.Path) -> None:
    """minigan/ and kernels/ as they are."""
    for folder in ("minigan", "kernels"):
        ignore = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(ROOT / folder, root / folder, ignore=ignore)


def test_there_are_enough_mutants_over_all_files():
    assert len(MUTANTS) >= 60
    assert len({(file, old, new) for file, old, new in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m[0]}: {m[1][:40]}")
def test_the_text_of_a_mutant_stands_once(mutant):
    file, old, new = mutant
    assert line_of(file, old) > 0
    assert new != old


@pytest.mark.mutation
def test_the_unchanged_sources_pass(tmp_path):
    copy_sources(tmp_path)
    result = check(tmp_path)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]


@pytest.mark.mutation
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m[0]}: {m[1][:40]}")
def test_caught(mutant, tmp_path):
    file, old, new = mutant
    line = line_of(file, old)
    copy_sources(tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text().replace(old, new))
    result = check(tmp_path)
    survived = f"SURVIVED {file}:{line}: {old!r} -> {new!r}"
    assert result.returncode != 0, survived
    caught = "FAIL" in result.stdout or "Error" in result.stderr
    assert caught, f"{survived}: the checker stopped for another reason\n{result.stderr[-1000:]}"
