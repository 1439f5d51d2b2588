"""Every fault planted in the training tool must be caught by the tests that it names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from .test_mutants import ROOT, copy_sources, line_of
from .tool_mutants import TOOL_MUTANTS

ids = pytest.mark.parametrize("mutant", TOOL_MUTANTS, ids=lambda m: f"{m.file}: {m.old[:40]}")


@pytest.fixture
def copy(tmp_path):
    """The sources, and the tests beside them."""
    copy_sources(tmp_path)
    shutil.copytree(ROOT / "minigan/run/data", tmp_path / "minigan/run/data")
    ignore = shutil.ignore_patterns("__pycache__", "emugpu", "mutation", "oracles", "kernels")
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=ignore)
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(root, tests):
    """The process that runs these tests on the sources under root."""
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("MINIGAN_TESTS", None)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, f"tests/{tests}"], cwd=root, env=env, capture_output=True, text=True, timeout=300
    )


@ids
def test_the_text_of_a_mutant_stands_once(mutant):
    assert line_of(mutant.file, mutant.old) > 0
    assert mutant.new != mutant.old


@pytest.mark.mutation
@pytest.mark.parametrize("tests", sorted({mutant.tests for mutant in TOOL_MUTANTS}))
def test_the_unchanged_sources_pass(tests, copy):
    result = run(copy, tests)
    assert result.returncode == 0 and " passed" in result.stdout, result.stdout[-2000:]


@pytest.mark.mutation
@ids
def test_caught(mutant, copy):
    line = line_of(mutant.file, mutant.old)
    path = copy / mutant.file
    path.write_text(path.read_text().replace(mutant.old, mutant.new))
    result = run(copy, mutant.tests)
    survived = f"SURVIVED {mutant.file}:{line}: {mutant.old!r} -> {mutant.new!r}"
    assert result.returncode == 1, f"{survived}\n{(result.stdout + result.stderr)[-1500:]}"
    assert "\nFAILED " in result.stdout, f"{survived}: no test failed\n{result.stdout[-1500:]}"
