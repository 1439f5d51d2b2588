"""The array-module switch, as far as it goes without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import minigan as mg
from minigan import backend

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(backend, "_module", backend._module)
    monkeypatch.delenv("MINIGAN_BACKEND", raising=False)


def test_use_numpy():
    assert mg.use("numpy") is np and mg.xp is np


def test_unknown_backends():
    with pytest.raises(ValueError, match="'torch' is unknown; choose 'numpy', 'cupy' or 'auto'"):
        mg.use("torch")


@pytest.mark.parametrize("value, good", [("", True), (" numpy ", True), ("tpu", False)])
def test_the_environment_variable(value, good, monkeypatch):
    monkeypatch.setattr(backend, "_module", None)
    monkeypatch.setenv("MINIGAN_BACKEND", value)
    if good:
        assert mg.xp is np
    else:
        with pytest.raises(ValueError, match="'tpu' is unknown"):
            backend.xp()


def test_use_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("MINIGAN_BACKEND", "tpu")
    mg.use("numpy")
    assert mg.xp is np


def test_arrays_go_home():
    a = np.arange(3)
    assert mg.to_numpy(a) is a
    assert mg.to_numpy([1, 2]).tolist() == [1, 2]
    away = types.SimpleNamespace(get=lambda: a)
    assert mg.to_numpy(away) is a
    assert mg.asarray([1, 2], dtype="float32").dtype == np.float32
    assert backend.home(a) is np


@pytest.mark.parametrize("dtype", ["float32", np.float64, np.dtype("complex128"), complex])
def test_dtypes_of_models(dtype):
    assert backend.check_dtype(dtype) == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "int8", np.complex64, "abc", 3, None])
def test_other_dtypes(dtype):
    with pytest.raises(TypeError, match="is not one of float32, float64, complex128"):
        backend.check_dtype(dtype)


def test_cupy_is_imported_only_when_it_is_asked_for():
    code = "import sys, minigan; minigan.xp; print('cupy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"MINIGAN_BACKEND": ""},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "False", done.stderr
