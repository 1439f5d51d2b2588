"""What a person reads when no GPU can be used."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import pytest

import minigan as mg
from minigan import backend, gpu

NAMED = {  # what each probe's message names, and its remedy
    "there is no NVIDIA driver, or no device, or the driver is too old": "nvidia-smi",
    "the GPU has no free memory": "CUDA_VISIBLE_DEVICES",
    "NVRTC or the CUDA headers may be missing": "minigan[cuda12]",
    "cuBLAS may be missing": "minigan[cuda12]",
    "minigan's own kernels do not run": "~/.cupy",
}


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(backend, "_module", backend._module)


@pytest.fixture
def probes(monkeypatch):
    """A CuPy that is installed, with all probes as if they had passed; returns their list."""
    cupy = types.ModuleType("cupy")
    cupy.__version__ = "14.2.0"
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    passing = [probe._replace(attempt=lambda cupy: None) for probe in gpu.PROBES]
    monkeypatch.setattr(gpu, "PROBES", passing)
    return passing


def test_cupy_that_is_not_installed(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)  # `import cupy` raises ImportError
    with pytest.raises(RuntimeError, match="needs CuPy, which cannot be imported") as error:
        mg.use("cupy")
    text = str(error.value)
    assert "minigan[cuda12]" in text and 'mg.use("numpy")' in text and text.count("\n") <= 4
    assert mg.use("auto") is np
    assert "auto chose numpy: the cupy backend needs CuPy" in capsys.readouterr().err


@pytest.mark.parametrize("which, named", list(enumerate(NAMED)), ids=list(NAMED))
def test_each_missing_part_is_named_with_its_remedy(which, named, probes, capsys):
    def fail(cupy):
        raise OSError("the library's\nown words")

    probes[which] = probes[which]._replace(attempt=fail)
    with pytest.raises(RuntimeError, match="no GPU can be used") as error:
        mg.use("cupy")
    text = str(error.value)
    assert named in text and NAMED[named] in text and 'mg.use("numpy")' in text
    assert "the library's own words" in text and text.count("\n") <= 4
    assert mg.use("auto") is np
    assert named in capsys.readouterr().err
    assert gpu.describe() == [f"GPU: {text}"]


def test_an_old_cupy_is_refused(probes):
    sys.modules["cupy"].__version__ = "13.6.0"
    with pytest.raises(RuntimeError, match=r"needs CuPy 14 or newer, this is 13\.6\.0"):
        mg.use("cupy")


def test_a_device_that_computes_wrongly_is_not_used():
    with pytest.raises(RuntimeError, match="instead of"):
        gpu._agree(types.SimpleNamespace(get=lambda: np.ones(2)), [1, 2])


def test_cupy_without_a_driver():
    """The true CuPy, where it is installed without a GPU, in a process of its own."""
    pytest.importorskip("cupy", reason="CuPy is not installed")
    code = "import minigan as mg; mg.use('auto'); print(mg.xp.__name__); mg.use('cupy')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        pytest.skip("there is a GPU here")
    assert done.stdout == "numpy\n"
    assert "there is no NVIDIA driver, or no device" in done.stderr
