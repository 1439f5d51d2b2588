"""Every fault planted in the kernels on CuPy arrays must be caught by the rung that it names."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import nvrtc
from tests.emugpu import sanitize

from .gpu_mutants import GPU_MUTANTS
from .test_mutants import ROOT, copy_sources, line_of

TESTS = {  # the files of a rung that pytest runs
    "nvrtc": ["test_nvrtc.py"],
    "values": ["test_gpu.py", "test_gpu_conv.py"],
    "order": ["test_gpu_order.py"],
    "launch": ["test_gpu_launch.py"],
}
SANITIZERS = ("address", "thread")
UNRELATED = re.compile(r"ImportError|ModuleNotFoundError|FileNotFoundError|RigError")
ids = pytest.mark.parametrize(
    "mutant", GPU_MUTANTS, ids=lambda m: f"{m.rung}: {Path(m.file).name}: {m.old.strip()[:30]}"
)


@pytest.fixture
def copy(tmp_path):
    """The sources and tests; the emulated device stays where it is, and so does its cache."""
    copy_sources(tmp_path)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns(
        "__pycache__", "emugpu", "mutation", "oracles", "golden", "run", "layers"))  # fmt: skip
    (tmp_path / "tests" / "emugpu").symlink_to(ROOT / "tests" / "emugpu")
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run_rung(root, rung, select=""):
    """The process that runs one rung on the sources under root."""
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"}
    env.pop("MINIGAN_TESTS", None)
    if rung in SANITIZERS:
        project = root / "tests" / "emugpu" / "project_kernels.py"
        return sanitize.run(project, rung, str(root), "once")
    paths = [str(Path("tests", "kernels", name)) for name in TESTS[rung]]
    device = [] if rung == "nvrtc" else ["--device", "emulated"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *device]
    if select:
        command += ["-k", select]
    return subprocess.run(
        [*command, *paths], cwd=root, env=env, capture_output=True, text=True, timeout=300
    )


def selection(mutant):
    """Of the compiler's rung: the file alone, in the precision whose findings are errors."""
    return f"{Path(mutant.file).stem} and float32" if mutant.rung == "nvrtc" else mutant.tests


def needs(rung):
    """Skip where the rung cannot run."""
    if importlib.util.find_spec("cupy") is None or (rung == "nvrtc" and not nvrtc.is_there()):
        pytest.skip(nvrtc.MISSING)


def test_there_are_enough_mutants_on_every_rung():
    assert len(set(GPU_MUTANTS)) == len(GPU_MUTANTS) >= 60
    counts = {rung: sum(m.rung == rung for m in GPU_MUTANTS) for rung in (*TESTS, *SANITIZERS)}
    assert sum(counts.values()) == len(GPU_MUTANTS) and min(counts.values()) >= 2


def test_mutants_stand_in_every_source():
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "kernels" / "cuda").glob("*.cu")}
    assert sources <= {mutant.file for mutant in GPU_MUTANTS}


@ids
def test_the_text_of_a_mutant_stands_once(mutant):
    assert line_of(mutant.file, mutant.old) > 0
    assert mutant.new != mutant.old


@pytest.mark.mutation
@pytest.mark.parametrize("rung", [*TESTS, *SANITIZERS])
def test_the_unchanged_sources_pass(rung, copy):
    needs(rung)
    result = run_rung(copy, rung)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert " passed" in result.stdout or "launched" in result.stdout


@pytest.mark.mutation
@ids
def test_caught(mutant, copy):
    needs(mutant.rung)
    line = line_of(mutant.file, mutant.old)
    path = copy / mutant.file
    path.write_text(path.read_text().replace(mutant.old, mutant.new))
    result = run_rung(copy, mutant.rung, selection(mutant))
    said = result.stdout + result.stderr
    survived = f"SURVIVED {mutant.file}:{line}: {mutant.old!r} -> {mutant.new!r}"
    assert result.returncode == (sanitize.FOUND if mutant.rung in SANITIZERS else 1), (
        f"{survived}\n{said[-1500:]}"
    )
    other = f"{survived}: the {mutant.rung} rung failed for another reason\n{said[-1500:]}"
    assert re.search(mutant.reason, said) and not UNRELATED.search(said), other
