"""NVRTC, which CuPy compiles with, accepts every source without a warning; no GPU is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import nvrtc

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "kernels" / "cuda").glob("*.cu"))
KERNEL = 'extern "C" __global__ void f(int n, REAL* x)\n{\n    int i = threadIdx.x;\n    %s\n}\n'
SPILL = """
    REAL a[64];
    for (int k = 0; k < 64; ++k) a[k] = x[64 * i + k];
    for (int j = 0; j < n; ++j)
        for (int k = 0; k < 64; ++k) a[k] = a[(k + 1) % 64] * a[k] + 1;
    for (int k = 0; k < 64; ++k) x[64 * i + k] = a[k];
"""
FAULTS = {  # name -> (source, dtype, what the compiler says)
    "double": (KERNEL % "if (i < n) x[i] = 0.2 * x[i];", "float32", "double precision"),
    "spill": (
        KERNEL.replace("void f", "void __launch_bounds__(1024) f") % SPILL, "float32", "spilled"),
    "syntax": (KERNEL % "x[i] = ;", "float64", "expected an expression"),
    "header": ("#include <cstdio>\n" + KERNEL % "", "float64", "could not open source file"),
    "unused": (KERNEL % "int unused;", "float64", "never referenced"),
}  # fmt: skip


pytestmark = pytest.mark.skipif(not nvrtc.is_there(), reason=nvrtc.MISSING)


def compiled(path, dtype):
    """The process that compiled the file, with the sources of this checkout."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.nvrtc", str(path), dtype]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_compiles_without_a_warning(path, dtype):
    result = compiled(path, dtype)
    assert result.returncode == 0, result.stdout + result.stderr


def test_there_are_sources():
    assert {path.stem for path in FILES} >= {"columns", "reduce", "pooling"}


def test_a_plain_kernel_passes(tmp_path):
    (tmp_path / "f.cu").write_text(KERNEL % "if (i < n) x[i] *= 2;")
    assert compiled(tmp_path / "f.cu", "float32").returncode == 0


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name, tmp_path):
    source, dtype, message = FAULTS[name]
    (tmp_path / "f.cu").write_text(source)
    result = compiled(tmp_path / "f.cu", dtype)
    assert result.returncode == 1, result.stderr
    assert message in result.stdout
    assert result.stdout.count("f.cu, ") == len(nvrtc.ARCHITECTURES)
