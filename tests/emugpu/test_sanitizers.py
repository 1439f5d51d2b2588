"""Each planted fault is found by its sanitizer, at its line; correct kernels pass."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from . import sanitize

HERE = Path(__file__).parent
SCRIPT = HERE / "launch_fault.py"

ROOT = HERE.parents[1]
PROJECT = HERE / "project_kernels.py"

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("rig")]

FAULTS = [  # sanitizer, kernel, blocks, what the sanitizer calls it
    ("address", "global_write", 2, "heap-buffer-overflow"),
    ("address", "global_read", 1, "heap-buffer-overflow"),
    ("address", "shared_bounds", 1, "out of bounds"),
    ("address", "overflow", 1, "signed integer overflow"),
    ("thread", "read_before_write", 1, "data race"),
    ("thread", "write_before_read", 1, "data race"),
    ("thread", "between_blocks", 2, "data race"),
]
CORRECT = ["copy", "reverse", "rounds", "shuffles", "atomics"]


def line_of(fault: str) -> int:
    lines = (HERE / "faults.cu").read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if line.endswith(f"// {fault}"))


def run(sanitizer: str, kernel: str, blocks: int) -> subprocess.CompletedProcess[str]:
    return sanitize.run(SCRIPT, sanitizer, kernel, str(blocks))


@pytest.mark.slow
@pytest.mark.parametrize(("sanitizer", "kernel", "blocks", "what"), FAULTS)
def test_finds(sanitizer: str, kernel: str, blocks: int, what: str) -> None:
    result = run(sanitizer, kernel, blocks)
    assert result.returncode == sanitize.FOUND, result.stderr
    assert what in result.stderr
    assert f"cu:{line_of(kernel)}" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
@pytest.mark.parametrize("kernel", CORRECT)
def test_passes(sanitizer: str, kernel: str) -> None:
    result = run(sanitizer, f"correct_{kernel}", 2)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("ran ")


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_the_kernels_of_cupy_pass(sanitizer: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import cupy\n"
        "cupy.cuda.set_allocator(None)\n"
        "x = cupy.arange(600, dtype='f4').reshape(20, 30)\n"
        "y = (x @ x.T).mean(0) + x[x > 300].sum() + cupy.concatenate([x, x], 1).var()\n"
        "print(float(y.sum()), x.argmax().get())\n"
    )
    result = sanitize.run(script, sanitizer)
    assert result.returncode == 0, result.stderr


def project(sanitizer: str, how_many: str) -> None:
    """Nothing is found, and every kernel of every .cu file was launched."""
    from minigan.kernels.gpu import launch

    result = sanitize.run(PROJECT, sanitizer, str(ROOT), how_many)
    assert result.returncode == 0, result.stderr
    dtypes = ("float32",) if how_many == "once" else ("float32", "float64")
    kernels = {f"{file} {name}" for file in launch.files() for name in launch.kernels(file)}
    wanted = {f"launched {kernel} {dtype}" for kernel in kernels for dtype in dtypes}
    assert set(result.stdout.splitlines()) == wanted


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_the_kernels_of_the_project_pass(sanitizer: str) -> None:
    project(sanitizer, "once")


@pytest.mark.slow
@pytest.mark.parametrize(("sanitizer", "how_many"), [("address", "all"), ("thread", "few")])
def test_the_kernels_of_the_project_pass_on_more_shapes(sanitizer: str, how_many: str) -> None:
    project(sanitizer, how_many)
